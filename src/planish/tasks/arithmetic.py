"""Arithmetic as replies write it: steps `3 + 4 = 7`, or whole expressions, done with given numbers.

>>> steps = written_steps("First 3 + 4 = 7, then 7 * 5 = 35.")
>>> followed(steps, (3, 4, 5)).value
Fraction(35, 1)
>>> followed(written_steps(r"\\boxed{(3 + 4) \\times 5}"), (3, 4, 5)).value
Fraction(35, 1)
>>> followed(written_steps("3 + 5 = 9"), (3, 5)).why
'3 + 5 is 8, not 9'

Nothing is evaluated but numbers, `+ - * /` and brackets, exactly and of bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

__all__ = ["Outcome", "Step", "followed", "written_steps"]

_TAIL_CHARS = 4000  # an answer stands at the end
_MAX_CHARS = 300  # of one step
_MAX_TOKENS = 64
_MAX_DIGITS = 9

_Tree: TypeAlias = "int | tuple[str, _Tree, _Tree]"

_STEP = re.compile(r"[0-9+\-*/()= \t]+")
_TWO_NUMBERS = re.compile(r"[0-9][^0-9]*[+\-*/][^0-9]*[0-9]")
_TOKEN = re.compile(r"[0-9]+|[-+*/()]")
_MARKED = re.compile(r"<answer>([^<]*)</answer>|\\boxed\{([^{}]*)\}")
_LIST_MARK = re.compile(r"(?m)^[ \t]*(?:[-*•]|[0-9]{1,2}[.)])[ \t]+")
_WHOLE_DECIMAL = re.compile(r"(?<=[0-9])\.0+(?![0-9])")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")

# What people, models and LaTeX write for the four operators and brackets. Bold marks are blanks.
_SPELLINGS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\left": "",
    r"\right": "",
    **dict.fromkeys((r"\(", r"\)", r"\[", r"\]", "**"), " "),
}
_SPELLED = re.compile("|".join(map(re.escape, _SPELLINGS)))
_CHARACTERS = str.maketrans({"×": "*", "·": "*", "⋅": "*", "÷": "/", "−": "-", "–": "-"})


class _Illegal(Exception):
    """Why a step cannot be done."""


@dataclass(frozen=True)
class Step:
    """One step as it was read.

    Args:
        text: as written.
        tree: what is done; None where it is no expression.
        equals: what that is said to be.
    """

    text: str
    tree: _Tree | None
    equals: tuple[_Tree, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of following steps.

    Args:
        value: of the last step; None where a step cannot be followed.
        text: everything as one expression, operands of sums and products in one order.
        unused: how many of the numbers are left beside the last value.
        why: why a step cannot be followed.
    """

    value: Fraction | None
    text: str
    unused: int = 0
    why: str = ""


def written_steps(reply: str) -> list[Step]:
    """The steps of a reply's end, in their order; those in `<answer>` or `\\boxed` if any are.

    A step is a stretch of numbers, operators and brackets with an operator between two numbers.
    """
    tail = reply[-_TAIL_CHARS:]
    cut = len(reply) > len(tail)
    marked = [match for match in _MARKED.finditer(tail) if any(match.groups())]
    if marked:
        tail, cut = next(filter(None, marked[-1].groups())), False
    tail = tail.translate(_CHARACTERS)
    tail = _SPELLED.sub(lambda match: _SPELLINGS[match[0]], tail)
    tail = _DECIMAL.sub("?", _WHOLE_DECIMAL.sub("", _LIST_MARK.sub("", tail)))
    return [
        # What was cut at its beginning might have said something else.
        Step(match[0].strip(), None) if cut and match.start() == 0 else _read(match[0].strip())
        for match in _STEP.finditer(tail)
        if _TWO_NUMBERS.search(match[0])
    ]


def _read(text: str) -> Step:
    try:
        if len(text) > _MAX_CHARS:
            raise _Illegal
        parts = [_parse(part) for part in text.split("=")]
    except _Illegal:
        return Step(text, None)
    # `35 = (3 + 4) * 5` does the same as `(3 + 4) * 5 = 35`.
    done = next((number for number, part in enumerate(parts) if not isinstance(part, int)), 0)
    return Step(text, parts[done], tuple(parts[:done] + parts[done + 1 :]))


def _parse(text: str) -> _Tree:
    tokens = _TOKEN.findall(text)
    if not tokens or len(tokens) > _MAX_TOKENS:
        raise _Illegal
    tree, end = _sum(tokens, 0)
    if end < len(tokens):
        raise _Illegal
    return tree


def _sum(tokens: Sequence[str], at: int) -> tuple[_Tree, int]:
    tree, at = _product(tokens, at)
    while at < len(tokens) and tokens[at] in "+-":
        operator = tokens[at]
        right, at = _product(tokens, at + 1)
        tree = (operator, tree, right)
    return tree, at


def _product(tokens: Sequence[str], at: int) -> tuple[_Tree, int]:
    tree, at = _atom(tokens, at)
    while at < len(tokens) and tokens[at] in "*/":
        operator = tokens[at]
        right, at = _atom(tokens, at + 1)
        tree = (operator, tree, right)
    return tree, at


def _atom(tokens: Sequence[str], at: int) -> tuple[_Tree, int]:
    if at == len(tokens):
        raise _Illegal
    token = tokens[at]
    if token == "(":
        tree, at = _sum(tokens, at + 1)
        if at == len(tokens) or tokens[at] != ")":
            raise _Illegal
        return tree, at + 1
    if not token.isdigit() or len(token) > _MAX_DIGITS:
        raise _Illegal
    return int(token), at + 1


def followed(steps: Sequence[Step], numbers: Sequence[int]) -> Outcome:
    """Does the steps one after another; each takes its numbers away and adds its result.

    A step may use the given numbers and earlier results, each once, and what it is said to equal
    must be true.
    """
    pool = [(Fraction(number), str(number)) for number in numbers]
    try:
        for step in steps:
            if step.tree is None:
                raise _Illegal(f"{step.text[:60]!r} is no expression")
            value, text = _evaluate(step.tree, pool)
            for claim in step.equals:
                said, _ = _evaluate(claim, None)
                if said != value:
                    raise _Illegal(f"{_outer(text)} is {value}, not {said}")
            pool.append((value, text))
    except _Illegal as error:
        text = ", ".join(step.text for step in steps)
        return Outcome(value=None, text=" ".join(text.split())[:_MAX_CHARS], why=str(error))
    value, text = pool[-1]
    return Outcome(value=value, text=_outer(text), unused=len(pool) - 1)


def _evaluate(tree: _Tree, pool: list[tuple[Fraction, str]] | None) -> tuple[Fraction, str]:
    """The value and canonical text of a tree, whose numbers are taken from the pool if any."""
    if isinstance(tree, int):
        if pool is None:
            return Fraction(tree), str(tree)
        for place, (value, _) in enumerate(pool):
            if value == tree:
                return pool.pop(place)
        raise _Illegal(f"there is no {tree} to use")
    operator, *sides = tree
    (left, left_text), (right, right_text) = (_evaluate(side, pool) for side in sides)
    if operator in "+*" and (left, left_text) > (right, right_text):
        left, left_text, right, right_text = right, right_text, left, left_text
    text = f"({left_text} {operator} {right_text})"
    if operator == "+":
        return left + right, text
    if operator == "-":
        return left - right, text
    if operator == "*":
        return left * right, text
    if right == 0:
        raise _Illegal(f"{_outer(text)} divides by zero")
    return left / right, text


def _outer(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text
