"""What `planish lookahead generate` records of a reply, and what a run of them comes to.

replies = list(run.records(REPLY, Reply))
summary_of(replies, lost=0)["device_share"]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.models.memory.budget import Budget, WindowRecord
from planish.records import BadInput, Completion, Record
from planish.runs.console import Screen

__all__ = [
    "REPLY", "STAYS", "Parting", "Reply", "Window", "all_kept", "read_document", "readable",
    "short", "show", "summary_of", "token_bytes",
]  # fmt: skip

REPLY = "reply"
"""Kind of the records."""

STAYS = (
    "nothing is moved: DeepSeek-V4's entries stay where transformers puts them, and the digests "
    "come on top; kept is what attention may choose from, and what a server would hold"
)
"""What is told of a model whose memory restricts attention and moves nothing."""

_LONGEST = 24
SHOWN = 8
"""Replies of a run that are a row each in the table at its end."""


class Window(WindowRecord):
    """A decision, and what a dense cache would hold at the same time, in bytes."""

    dense_bytes: int

    @property
    def share(self) -> float:
        """Bytes on the device, digests included, against dense."""
        return (self.bytes.resident + self.bytes.digest) / self.dense_bytes


class Parting(Record):
    """Where dense decoding of the same prompt goes another way.

    Args:
        place: of the first token that differs; None: the replies are the same.
        dense: the dense reply; seconds: that it took, the prompt included.
    """

    place: int | None
    dense: str
    seconds: float


class Reply(Record):
    """A request that was answered.

    Args:
        windows: the decisions, in order; none in a reply of one token.
        decode_tokens, decode_seconds: behind the first decision, so that reading the prompt does
            not count.
    """

    id: str
    completion: Completion
    windows: tuple[Window, ...] = ()
    decode_tokens: int = 0
    decode_seconds: float = 0.0
    check: Parting | None = None

    @property
    def share(self) -> float | None:
        """Mean share of dense bytes on the device over the decisions."""
        return _mean([window.share for window in self.windows])

    @property
    def fallback(self) -> bool:
        """Whether it ended dense."""
        return bool(self.windows) and self.windows[-1].fallback

    @property
    def moved(self) -> int:
        """Bytes that came back from the host."""
        return sum(window.moved_bytes for window in self.windows)


def read_document(path: Path) -> str:
    """The text of a file.

    Raises:
        BadInput: it cannot be read, is no text, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="check the path"
        ) from None
    except UnicodeDecodeError:
        raise BadInput("is no text in UTF-8", where=str(path), fix="convert it") from None
    if not text.strip():
        raise BadInput("is empty", where=str(path), fix="name a file with text")
    return text.rstrip("\n")


def token_bytes(backbone: Any) -> int:
    """Bytes of keys and values of one token in all memory layers."""
    width = backbone.num_kv_heads * backbone.head_dim * backbone.model.dtype.itemsize
    return int(2 * len(backbone.memory_layers) * width)


def summary_of(replies: Sequence[Reply], lost: int, *, moves: bool = True) -> dict[str, Any]:
    """The numbers of a run; None for what could not be measured.

    Args:
        lost: prompts that brought no reply.
        moves: whether what is not kept leaves the device; where not, the share that is kept is
            told besides the bytes, which say that everything is there.
    """
    windows = [window for reply in replies for window in reply.windows]
    seconds = sum(reply.decode_seconds for reply in replies)
    tokens = sum(reply.decode_tokens for reply in replies)
    made = sum(reply.completion.usage.completion_tokens for reply in replies)
    summary = {
        "replies": len(replies),
        "errors": lost,
        **({} if moves else {"kept_share": _mean([w.kept / w.num_chunks for w in windows])}),
        "device_share": _mean([reply.share for reply in replies if reply.share is not None]),
        "device_share_max": max((window.share for window in windows), default=None),
        "host_share": _mean([window.bytes.host / window.dense_bytes for window in windows]),
        "moved_bytes_per_token": sum(reply.moved for reply in replies) / made if made else None,
        "score_ms": _mean([window.score_ms for window in windows]),
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "fallbacks": sum(reply.fallback for reply in replies),
    }
    checks = [reply.check for reply in replies if reply.check is not None]
    if checks:
        summary["same_as_dense"] = sum(each.place is None for each in checks)
        summary["seconds_against_dense"] = _ratio(replies)
    return summary


def _ratio(replies: Sequence[Reply]) -> float | None:
    """Seconds of whole requests, prompts included, against dense."""
    both = [
        (reply.completion.usage.seconds, reply.check.seconds) for reply in replies if reply.check
    ]
    dense = sum(theirs for _, theirs in both)
    return sum(ours for ours, _ in both) / dense if dense else None


def show(replies: Sequence[Reply], screen: Screen) -> None:
    """A table with a row for each of the first replies."""
    columns = ["request", "tokens", "kept", "device", "host", "of dense", "tokens/s", "fallback"]
    checked = any(reply.check for reply in replies)
    rows = []
    for reply in replies[:SHOWN]:
        usage, last = reply.completion.usage, reply.windows[-1] if reply.windows else None
        row = [short(reply.id), f"{usage.prompt_tokens} + {usage.completion_tokens}"]
        row.append("n/a" if last is None else f"{last.kept} of {last.num_chunks}")
        row.append("n/a" if last is None else readable(last.bytes.resident + last.bytes.digest))
        row.append("n/a" if last is None else readable(last.bytes.host))
        row.append("n/a" if reply.share is None else f"{reply.share:.1%}")
        speed = reply.decode_seconds and reply.decode_tokens / reply.decode_seconds
        row += [f"{speed:.1f}" if speed else "n/a", "yes" if reply.fallback else "no"]
        if reply.check is not None:
            place = reply.check.place
            row.append("same" if place is None else f"parts at token {place + 1}")
        rows.append(row)
    screen.table([*columns, "dense reply"] if checked else columns, rows)
    if len(replies) > SHOWN:
        screen.say(f"and {len(replies) - SHOWN} more in records.jsonl")


def all_kept(replies: Sequence[Reply], budget: Budget) -> str:
    """Why no decision of any reply evicted anything, in a line; empty where one did."""
    windows = [window for reply in replies for window in reply.windows]
    if not windows or any(each.kept < each.num_chunks or each.fallback for each in windows):
        return ""
    tokens = max(each.step for each in windows)
    always = budget.recent_tokens + budget.sink_tokens
    if always >= tokens:
        sinks = f"first {budget.sink_tokens} and the " if budget.sink_tokens else ""
        return (
            f"nothing was evicted: the {sinks}last {budget.recent_tokens} tokens always stay, and "
            f"no decision met more than {tokens}; lower --recent"
        )
    most = max(each.num_chunks for each in windows)
    if budget.min_chunks >= most:  # one that ranks fills its cap
        why = f"--chunks {budget.min_chunks} holds all of the {most} chunks; lower it"
    else:
        why = f"every score is above {budget.threshold:g}; raise --threshold or give --chunks"
    return f"nothing was evicted: {why}"


def short(id: str) -> str:
    """An id that leaves room for the columns beside it.

    >>> short("a-document-with-a-long-name")
    'a-document-with-a-long-…'
    """
    return id if len(id) <= _LONGEST else f"{id[: _LONGEST - 1]}…"


def readable(count: int) -> str:
    """Bytes for people.

    >>> readable(1_536_000)
    '1.5 MB'
    """
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _mean(numbers: Sequence[float]) -> float | None:
    """None where there is nothing to be averaged."""
    return sum(numbers) / len(numbers) if numbers else None
