"""Reading a verdict out of a completion, or saying why it cannot be read.

A verdict is a well-formed label in double brackets on the last line that holds one. Thinking
is skipped, candidates are never looked at, and a reply that names two different labels on its
last verdict line is `conflicting`, not whichever came last.

    >>> from planish.judges.templates import named
    >>> from planish.records import Completion
    >>> parse(Completion(text="Both try. [[A]]? No:\\n[[B]]"), named("plain")).label
    'B'
"""

from __future__ import annotations

import re
from collections.abc import Callable

from planish.judges.base import ParsedReply, Status, letter
from planish.judges.templates import LABEL, Template, normal_label
from planish.records import Completion

__all__ = [
    "PARSERS",
    "Parser",
    "hide_thinking",
    "parse",
    "parse_arena_hard",
    "parse_rm_r1",
    "solution_in",
]

Parser = Callable[[Completion, Template, int], ParsedReply]

_THINK = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_REFUSAL = re.compile(
    r"\b(?:I(?:'m| am) (?:sorry|unable)|I (?:can(?:no|')t|can not|won't|will not|must decline))\b"
    r"|as an AI\b|抱歉|无法(?:协助|回答|提供)",
    re.IGNORECASE,
)
_REFUSAL_WINDOW = 300
_RM_R1_TAIL = 80
_ARENA_HARD = re.compile(r"\[\[([AB<>=]+)\]\]")
_ARENA_HARD_SLOTS = {"A>B": "A", "B>A": "B", "A=B": "tie"}


def hide_thinking(text: str) -> str:
    """The text with its thinking blanked out, every other character where it was.

    An opener that never closes hides the rest: the budget ran out while thinking. A closer
    without an opener hides what stands before it, since chat templates may have written the
    opener; but not if the only label stands there, where the closer is just a leaked tag.
    """
    hidden: list[tuple[int, int]] = []
    opened: int | None = None
    for tag in _THINK.finditer(text):
        if not tag[1]:
            opened = tag.start() if opened is None else opened
        elif opened is not None:
            hidden.append((opened, tag.end()))
            opened = None
        elif LABEL.search(text, tag.end()) or not LABEL.search(text, 0, tag.start()):
            hidden.append((0, tag.end()))
    if opened is not None:
        hidden.append((opened, len(text)))
    for start, end in hidden:
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


def _unread(completion: Completion, distinct: tuple[str, ...] = ()) -> ParsedReply:
    """A reply without a verdict: why not."""
    status: Status = "no_verdict"
    if completion.finish == "error":
        status = "transport"
    elif completion.finish == "length":
        status = "truncated"
    elif _REFUSAL.search(completion.text[:_REFUSAL_WINDOW]):
        status = "refused"
    return ParsedReply(status=status, distinct_labels=distinct)


def solution_in(text: str, template: Template) -> str | None:
    """What stands between the template's marks, thinking left out; None where they are missing."""
    if template.solution is None:
        return None
    opening, closing = template.solution
    text = hide_thinking(text)
    start = text.find(opening)
    end = text.find(closing, start + len(opening)) if start >= 0 else -1
    return text[start + len(opening) : end].strip() if end >= 0 else None


def parse(completion: Completion, template: Template, num_replies: int = 2) -> ParsedReply:
    """Reads a verdict of `template`'s kind.

    Args:
        completion: the raw reply.
        template: its kind and labels are the menu.
        num_replies: how many slots were offered to a "pick" or "ranking" template.

    Returns:
        A `ParsedReply` in the prompt frame; its status says why there is no verdict.
    """
    if completion.finish == "error":
        return _unread(completion)
    text = hide_thinking(completion.text)
    found = list(LABEL.finditer(text))
    if not found:
        return _unread(completion)
    distinct = tuple(dict.fromkeys(normal_label(match[1]) for match in found))
    last = found[-1]
    line_start = text.rfind("\n", 0, last.start()) + 1
    on_line = [match for match in found if match.start() >= line_start]
    if len({normal_label(match[1]) for match in on_line}) > 1:
        return ParsedReply(status="conflicting", distinct_labels=distinct)
    reading = _read(normal_label(last[1]), template, num_replies)
    return reading.model_copy(
        update={
            "span": last.span(),
            "distinct_labels": distinct,
            "tail_chars": len(text) - last.end(),
            "solution": solution_in(completion.text, template),
        }
    )


def _read(label: str, template: Template, num_replies: int) -> ParsedReply:
    """One normal label against the menu."""
    if template.kind == "choice":
        slot = template.labels.get(f"[[{label}]]")
        if slot is None:
            return ParsedReply(status="off_menu")
        return ParsedReply(status="tie" if slot == "tie" else "ok", label=slot)
    if template.kind == "score":
        low, high = template.scale
        try:
            score = float(label)
        except ValueError:
            return ParsedReply(status="off_menu", kind="score")
        if not low <= score <= high:
            return ParsedReply(status="off_menu", kind="score")
        return ParsedReply(status="ok", kind="score", score=score)
    slots = [letter(index) for index in range(num_replies)]
    if template.kind == "pick":
        if label not in slots:
            return ParsedReply(status="off_menu")
        return ParsedReply(status="ok", label=label)
    order = tuple(label.split(">"))
    if sorted(order) != slots:
        return ParsedReply(status="off_menu", kind="ranking")
    return ParsedReply(status="ok", kind="ranking", label=order[0], ranking=order)


def parse_arena_hard(
    completion: Completion, template: Template, num_replies: int = 2
) -> ParsedReply:
    """As Arena-Hard and JudgeBench read it: null unless exactly one distinct raw label.

    The whole text counts, thinking included; `A>>B` and `A>B` are different raw labels.
    """
    found = [match for match in _ARENA_HARD.finditer(completion.text) if match[1]]
    distinct = tuple(dict.fromkeys(match[1] for match in found))
    if not distinct:
        return _unread(completion)
    if len(distinct) > 1:
        return ParsedReply(status="conflicting", distinct_labels=distinct)
    slot = _ARENA_HARD_SLOTS.get(distinct[0].replace(">>", ">"))
    if slot is None:
        return ParsedReply(status="off_menu", distinct_labels=distinct)
    return ParsedReply(
        status="tie" if slot == "tie" else "ok",
        label=slot,
        span=found[-1].span(),
        distinct_labels=distinct,
        tail_chars=len(completion.text) - found[-1].end(),
    )


def parse_rm_r1(completion: Completion, template: Template, num_replies: int = 2) -> ParsedReply:
    """As RM-R1 reads it: `[[A]]` or `[[B]]` in the last 80 characters, void if both are there."""
    tail_start = max(0, len(completion.text) - _RM_R1_TAIL)
    tail = completion.text[tail_start:]
    slots = tuple(slot for slot in ("A", "B") if f"[[{slot}]]" in tail)
    if not slots:
        return _unread(completion)
    if len(slots) > 1:
        return ParsedReply(status="conflicting", distinct_labels=slots)
    label = f"[[{slots[0]}]]"
    start = tail_start + tail.rindex(label)
    return ParsedReply(
        status="ok",
        label=slots[0],
        span=(start, start + len(label)),
        distinct_labels=slots,
        tail_chars=len(completion.text) - start - len(label),
    )


PARSERS: dict[str, Parser] = {
    "planish": parse,
    "arena_hard": parse_arena_hard,
    "rm_r1": parse_rm_r1,
}
"""Parsers by name, for `--parse`."""
