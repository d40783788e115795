"""The plain data that every room shares, and JSON Lines in and out.

Records are frozen pydantic models because they reach the disk; behaviour lives elsewhere.

    >>> chat = (Message(role="user", content="2 + 2?"),)
    >>> Example(id="sum-1", prompt=chat, target="4").target
    '4'
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import PydanticSerializationError

from planish.errors import BadInput

__all__ = [
    "BadInput",
    "Chat",
    "Completion",
    "Cost",
    "Example",
    "Failure",
    "Message",
    "Pair",
    "Record",
    "Sampling",
    "TokenScores",
    "Usage",
    "Verdict",
    "read_jsonl",
    "read_records",
    "read_table",
    "replacing",
    "user",
    "without_nulls",
    "write_jsonl",
    "write_text",
]


class Record(BaseModel):
    """Base of everything that is written to disk: frozen, and unknown fields are refused.

    NaN and infinities are written as strings, which the same float fields read back: JSON has
    no name for them, and as null a line could not be read again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Message(Record):
    """One turn of a chat. `images` are file paths or `data:` URLs, in reading order."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    images: tuple[str, ...] = ()


Chat = tuple[Message, ...]


def user(content: str) -> Chat:
    """The shortest chat: one user turn."""
    return (Message(role="user", content=content),)


class Example(Record):
    """One item of a task: what is asked, and what a right answer is (None where nobody knows)."""

    id: str
    prompt: Chat
    target: JsonValue = None
    meta: dict[str, JsonValue] = Field(default_factory=dict)


class Sampling(Record):
    """How to decode. `temperature=0` is greedy; `seed` makes sample i use `seed + i`.

    `logprobs` asks for the log-probability of every generated token, at temperature 1, where
    the backend can tell it.
    """

    temperature: float = Field(default=1.0, ge=0, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1)
    n: int = Field(default=1, ge=1)
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False


class Usage(Record):
    """What a call cost: tokens in, tokens out, and seconds of wall clock."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Failure(Record):
    """One attempt that brought no reply: `kind` is short and countable ("http 429", "timeout")."""

    attempt: int
    kind: str
    message: str = ""
    retry_after: float | None = None


class Completion(Record):
    """One reply of a model.

    `finish` is "stop" (the model ended), "length" (cut at `max_tokens`) or "error" (no reply
    after every retry: `text` is empty). `failures` holds the attempts before this one, so that
    a reply that came on the third try says so.
    """

    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    finish: Literal["stop", "length", "error"] = "stop"
    usage: Usage = Usage()
    failures: tuple[Failure, ...] = ()


class Cost(Record):
    """What calls cost. A call is one finished reply; failed attempts come on top."""

    calls: int = 0
    failed_attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, completions: Iterable[Completion]) -> Cost:
        """The sum over completions."""
        made = list(completions)
        return cls(
            calls=len(made),
            failed_attempts=sum(len(completion.failures) for completion in made),
            prompt_tokens=sum(completion.usage.prompt_tokens for completion in made),
            completion_tokens=sum(completion.usage.completion_tokens for completion in made),
            seconds=sum(completion.usage.seconds for completion in made),
        )

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            **{name: getattr(self, name) + getattr(other, name) for name in Cost.model_fields}
        )


class TokenScores(Record):
    """Log-probabilities (natural log, temperature 1) of the tokens of a given reply.

    `greedy` says whether each token was the likeliest one; None where the backend cannot tell.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    greedy: bool | None = None

    @property
    def total(self) -> float:
        """Log-probability of the whole reply."""
        return sum(self.logprobs)


class Verdict(Record):
    """What a judge or a grader says. `score=None` means *could not be scored*, never zero."""

    score: float | None
    label: str | None = None
    extracted: str | None = None
    why: str = ""
    by: str = ""


class Pair(Record):
    """A preference: for this prompt, `chosen` is better than `rejected`."""

    prompt: Chat
    chosen: str
    rejected: str
    meta: dict[str, JsonValue] = Field(default_factory=dict)


R = TypeVar("R", bound=BaseModel)


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[Any]:
    """A file's lines, unpacked where its name or its first two bytes say that it is packed."""
    with path.open("rb") as file:
        if path.suffix != ".gz" and not file.peek(2).startswith(b"\x1f\x8b"):
            yield file
            return
        with gzip.open(file, "rb") as unpacked:
            yield unpacked


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads JSON Lines, plain or gzip, as (line number from 1, object). Blank lines are skipped.

    Raises:
        BadInput: no such file, a folder, not text, broken JSON or a line that is not an object;
            the message names the file and the line.
    """
    path = Path(path)
    number = 0
    try:
        with _open_text(path) as lines:
            for number, raw in enumerate(lines, 1):
                where = f"{path}:{number}"
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError as error:
                    raise BadInput(
                        f"not UTF-8 text (byte {error.start} of the line)",
                        where=where,
                        fix="save the file as UTF-8",
                    ) from None
                if not line:
                    continue
                try:
                    value = json.loads(line)
                except (json.JSONDecodeError, RecursionError) as error:
                    why = getattr(error, "msg", "nested too deep")
                    raise BadInput(
                        f"broken JSON ({why})", where=where, fix="mend or remove the line"
                    ) from None
                except ValueError as error:
                    raise BadInput(
                        f"broken JSON ({error})", where=where, fix="mend or remove the line"
                    ) from None
                if not isinstance(value, dict):
                    raise BadInput(
                        f"expected a JSON object, found {type(value).__name__}",
                        where=where,
                        fix="write one {...} per line",
                    )
                yield number, value
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInput(
            f"broken gzip file ({error})", where=f"{path}:{number + 1}", fix="fetch it again"
        ) from None
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="check the path"
        ) from None


def read_table(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Reads parquet (by its ending) or JSON Lines as (row number from 1, object).

    Raises:
        BadInput: as `read_jsonl`, or not a parquet file.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        yield from read_jsonl(path)
        return
    import pyarrow
    from pyarrow import parquet

    if not path.is_file():
        raise BadInput("no such file", where=str(path), fix="check the path")
    try:
        rows = parquet.ParquetFile(path).read().to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise BadInput(
            f"not a parquet file ({error})", where=str(path), fix="write it again"
        ) from None
    yield from enumerate(rows, 1)


def without_nulls(value: Any) -> Any:
    """A column of `read_table`; a chat's turns without the fields that parquet filled with nulls.

    >>> without_nulls([{"role": "user", "content": "2 + 2?", "images": None}])
    [{'role': 'user', 'content': '2 + 2?'}]
    """
    if not isinstance(value, list):
        return value
    return [
        {name: part for name, part in turn.items() if part is not None}
        if isinstance(turn, dict)
        else turn
        for turn in value
    ]


def explain(error: ValidationError) -> str:
    """The first complaint of a pydantic error, in one short line: `field: what is wrong`."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = len(error.errors()) - 1
    what = first["msg"].removeprefix("Value error, ")  # of a rule of ours: it speaks for itself
    line = f"{place}: {what}" if place else what
    return f"{line} (and {more} more)" if more else line


def read_records(path: str | os.PathLike[str], kind: type[R]) -> Iterator[R]:
    """Reads one record of `kind` per line.

    Raises:
        BadInput: as `read_jsonl`, and for a line that is not such a record.
    """
    for number, value in read_jsonl(path):
        try:
            yield kind.model_validate(value)
        except ValidationError as error:
            raise BadInput(
                f"not a {kind.__name__}: {explain(error)}", where=f"{path}:{number}"
            ) from None


@contextlib.contextmanager
def replacing(path: Path, *, text: bool = False, sync: bool = True) -> Iterator[Any]:
    """A temporary file beside `path` that takes its name only when everything was written.

    Args:
        text: it takes text, written as UTF-8; else bytes.
        sync: wait until the disk has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}.", suffix=".tmp")
    try:
        opened = os.fdopen(handle, "w", encoding="utf-8") if text else os.fdopen(handle, "wb")
        with opened as out:
            yield out
            if sync:
                out.flush()
                os.fsync(out.fileno())
        # mkstemp makes files private; results are meant to be read by others.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def to_json(value: BaseModel | Mapping[str, Any]) -> str:
    """One line of JSON for a record or a mapping."""
    try:
        if isinstance(value, BaseModel):
            return value.model_dump_json()
        line = json.dumps(value, ensure_ascii=False)
        line.encode()
    except (UnicodeEncodeError, PydanticSerializationError):
        # Half a surrogate pair, which JSON can hold and UTF-8 cannot.
        plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
        return json.dumps(plain)
    return line


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[BaseModel | Mapping[str, Any]]) -> int:
    """Writes records or mappings, one per line, all or nothing. Returns how many."""
    count = 0
    with replacing(Path(path), text=True) as out:
        for row in rows:
            out.write(to_json(row) + "\n")
            count += 1
    return count


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a whole text file, all or nothing."""
    with replacing(Path(path), text=True) as out:
        out.write(text)
