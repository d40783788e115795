"""The graders of a file of questions: what a reply answers, and whether that is the target.

>>> example = Example(id="1", prompt=user("2 + 2?"), target="B", meta={"grader": "choice"})
>>> grade(example, "(A) is odd, so the answer is (B).").score
1.0
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal

from planish.records import Example, Verdict
from planish.tasks.mathematics import TAIL_CHARS, can_parse, plain_number, same_answer

__all__ = ["Grader", "default_grader", "grade", "right_reply", "wrong_replies"]

Grader = Literal["math", "choice", "exact"]

# Words are no products of variables, and dates and times no sums: an expression of plain letters
# needs a digit or an operator beside single letters, or LaTeX that says so.
_EXPRESSION = re.compile(
    r"(?=.*[0-9+*/^=<>])(?:(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z])|[-0-9+*/^=<>()\[\]{}.,!% ])+"
)
_LATEX = re.compile(
    r"\$.+\$|\\(?:boxed|[dt]?frac|sqrt|pi|cdot|times|pm|infty|left|begin)\b", re.DOTALL
)
_DATE = re.compile(r"\d+(?:-\d+){2}")

_END = r"(?![\w'’])"
# "A" and "I" are words as well: they are choices only where the sentence does not go on from them.
_STATED = r"(?:[B-HJ]" + _END + r"|[AI](?=\s*(?:[^\w\s'’]|\Z|\n|because\b|since\b|as\b)))"
_MARKS = r"[\s*_(\[{$\"]*(?:\\boxed\{|\\text\{)*\(?"
_COMMITTED = re.compile(
    r"\\boxed\{\s*(?:\\(?:text|textbf|mathrm|mathbf)\{)?\s*\(?([A-Ja-j])\)?[.\s]*\}"
    r"|(?i:\b(?:answer|choice|option)\s*(?:(?:is|would be|should be|must be|:|=)\s*:?))"
    r"(?:\s*(?i:option|choice))?" + _MARKS + r"(" + _STATED + r")"
    r"|(?m:^[ \t*_(\[]*([A-Ja-j])[ \t.*_)\]]*$)"
)
_MENTIONED = re.compile(
    r"\(([A-Ja-j])\)|\[\[?([A-J])\]|\*\*([A-J])\*\*|(?i:\b(?:answer|choice|option))\s+("
    + _STATED
    + r")"
)


def default_grader(target: str) -> Grader:
    """The grader that a target suggests."""
    text = target.strip()
    if re.fullmatch(r"[A-J]", text):
        return "choice"
    if plain_number(text) is not None:
        return "math"
    looks = bool(_LATEX.search(text) or _EXPRESSION.fullmatch(text)) and len(text) <= TAIL_CHARS
    return "math" if looks and not _DATE.fullmatch(text) and can_parse(text) else "exact"


def grade(example: Example, reply: str, *, by: str = "") -> Verdict:
    """Compares a reply with the example's target; None where there is nothing to compare.

    The grader stands in `example.meta`; without one the target tells it.
    """
    target = str(example.target)
    grader = example.meta.get("grader") or default_grader(target)
    if grader == "math":
        return same_answer(target, reply, by=by)
    answer = _choice(reply[-TAIL_CHARS:]) if grader == "choice" else _last_line(reply)
    if answer is None:
        why = "no choice in the reply" if reply.strip() else "the reply is empty"
        return Verdict(score=None, why=why, by=by)
    right = answer == target if grader == "choice" else _plain(target) in (answer, _plain(reply))
    why = "" if right else f"the answer is {target}"
    return Verdict(score=float(right), extracted=answer, why=why, by=by)


def _choice(reply: str) -> str | None:
    """The last letter that the reply commits itself to, else the last that it mentions."""
    for pattern in (_COMMITTED, _MENTIONED):
        found = [next(filter(None, match.groups())) for match in pattern.finditer(reply)]
        if found:
            return str(found[-1]).upper()
    return None


def _last_line(reply: str) -> str | None:
    lines = reply.split("\n")
    return next((_plain(line) for line in reversed(lines) if line.strip()), None)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def right_reply(example: Example) -> str:
    """A reply that must verify."""
    target = str(example.target)
    grader = example.meta.get("grader") or default_grader(target)
    if grader == "choice":
        return f"The answer is ({target})."
    if grader == "exact" or "$" in target or "\\boxed" in target:
        return target
    return f"\\boxed{{{target}}}"


def wrong_replies(example: Example, others: Sequence[Example]) -> Iterator[str]:
    """Replies that are most likely wrong, the most plausible first; the caller checks them."""
    target = str(example.target)
    grader = example.meta.get("grader") or default_grader(target)
    if grader == "choice":
        choices = example.meta.get("choices")
        number = len(choices) if isinstance(choices, list) else 4
        letters = "ABCDEFGHIJ"[: max(number, 2)]
        start = letters.find(target) + 1
        for letter in letters[start:] + letters[: max(start - 1, 0)]:
            yield f"The answer is ({letter})."
        return
    value = plain_number(target) if grader == "math" else None
    if value is not None:
        following = Decimal(value.numerator) / Decimal(value.denominator) + 1
        yield f"\\boxed{{{following:f}}}"
    for other in others:
        if (other.meta.get("grader") or default_grader(str(other.target))) == grader:
            yield right_reply(other)
    yield f"not {target}" if grader == "exact" else "\\boxed{987654321}"
    yield "\\boxed{123456789}"
