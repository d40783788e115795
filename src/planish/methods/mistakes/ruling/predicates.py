"""Plain properties of inputs, one of which may tell failing from passing ones.

separating(observation.failing, observation.passing)  # Predicate("argument 1 is empty", ...)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

from planish.methods.mistakes.data import Seen
from planish.tasks.sandbox.values import dumps, loads

__all__ = ["Predicate", "properties", "separating"]

_ENOUGH = 3
"""Failing inputs below which a property that they share says little."""


@dataclass(frozen=True)
class Predicate:
    """A property that every failing input has.

    Args:
        words: after "where"; passing: share of the inputs with it that do not fail.
        strength: 0 to 1, from how few passing inputs have it.
    """

    words: str
    passing: float
    strength: float


def separating(
    failing: Sequence[Seen], passing: Sequence[Seen], answers: bool = False
) -> Predicate | None:
    """The property that all failing inputs have and the fewest passing ones; None where none is.

    Args:
        answers: properties of what is expected and not of the arguments.
    """
    if not failing or not passing:
        return None
    wrong = [set(_of(seen, answers)) for seen in failing]
    right = [set(_of(seen, answers)) for seen in passing]
    shared = set.intersection(*wrong)
    if not shared:
        return None
    best = min(shared, key=lambda words: (sum(words in each for each in right), words))
    among = sum(best in each for each in right)
    without = 1 - among / len(right)
    few = min(1.0, len(failing) / _ENOUGH)
    if without <= 0.5:
        return None
    return Predicate(best, among / (among + len(failing)), (2 * without - 1) * few)


def _of(seen: Seen, answers: bool) -> Iterator[str]:
    if answers:
        yield from properties(loads(seen.expected), "the answer")
        return
    given = loads(seen.arguments)
    if isinstance(given, list):  # by name as well
        given = (*given[0], *given[1].values())
    names = [f"argument {at}" for at in range(1, len(given) + 1)]
    for name, value in zip(names, given, strict=True):
        yield from properties(value, name)
    for (one, left), (other, right) in combinations(zip(names, given, strict=True), 2):
        if dumps(left) == dumps(right):
            yield f"{one} equals {other}"
        if isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            if len(left) == len(right):
                yield f"{one} is as long as {other}"
            if right and any(dumps(each) == dumps(right) for each in left):
                yield f"{one} holds {other}"
        elif isinstance(right, list | tuple) and any(dumps(each) == dumps(left) for each in right):
            yield f"{other} holds {one}"
        elif isinstance(left, list | tuple) and any(dumps(each) == dumps(right) for each in left):
            yield f"{one} holds {other}"


def properties(value: Any, name: str) -> Iterator[str]:
    """What can be said of one value in a few words."""
    if value is None or isinstance(value, bool):
        yield f"{name} is {value}"
    elif isinstance(value, int | float):
        yield from _of_number(value, name)
    elif isinstance(value, str | list | tuple | set | dict):
        if len(value) < 3:
            yield f"{name} has {len(value)} elements" if value else f"{name} is empty"
        if isinstance(value, str):
            yield from _of_text(value, name)
        elif isinstance(value, list | tuple):
            yield from _of_list(value, name)


def _of_number(value: float, name: str) -> Iterator[str]:
    if value in (-1, 0, 1, 2):
        yield f"{name} is {value:g}"
    if value < 0:
        yield f"{name} is negative"
    if value == int(value) if abs(value) < 1e15 else False:
        yield f"{name} is even" if int(value) % 2 == 0 else f"{name} is odd"


def _of_text(value: str, name: str) -> Iterator[str]:
    if value != value.strip():
        yield f"{name} has space at an end"
    if any(each.isdigit() for each in value):
        yield f"{name} has digits"
    if any(each.isupper() for each in value):
        yield f"{name} has capitals"
    if "  " in value:
        yield f"{name} has two spaces together"
    for mark in sorted({each for each in value if not each.isalnum()})[:12]:
        yield f"{name} has {mark!r}"


def _of_list(value: Sequence[Any], name: str) -> Iterator[str]:
    texts = [dumps(each) for each in value]
    if len(set(texts)) < len(texts):
        yield f"{name} has equal elements"
    if len(texts) > 1 and any(one == other for one, other in pairwise(texts)):
        yield f"{name} has equal neighbours"
    if len(texts) > 1 and texts[0] == texts[-1]:
        yield f"{name} ends as it starts"
    for each in {word for one in value for word in _plain(one)}:
        yield f"{name} has an element that is {each}"


def _plain(value: Any) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        yield str(value)
    elif isinstance(value, int | float):
        if value == 0:
            yield "0"
        elif value < 0:
            yield "negative"
    elif isinstance(value, str | list | tuple | dict) and not value:
        yield "empty"
