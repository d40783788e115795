"""Simpler values of the same types: fewer elements, smaller numbers, plainer letters.

list(simpler(([7, 3],)))  # ([],), ([3],), ([7],), ([0, 3],), ...
size(([],)) < size(([3],)) < size(([7],))  # True
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from planish.tasks.sandbox.values import dumps

__all__ = ["simpler", "size"]

_WHOLE = 24  # of sequences up to here every piece is tried to be left out
_LETTERS = "a0 A"


def size(value: Any) -> tuple[float, float, str]:
    """Sorts values: how much there is, how far from zero, and then by text."""
    much, far = _measure(value)
    return much, far, dumps(value)


def _measure(value: Any) -> tuple[float, float]:
    if isinstance(value, str):
        return len(value), float(sum(map(ord, value)))
    if isinstance(value, bool):
        return 0, float(value)
    if isinstance(value, int | float):
        # Whole numbers before others, positive ones before negative ones.
        far = min(abs(value), 1e12) if value == value else 1e12
        return 0, far + 0.5 * (value < 0) + 0.25 * (far % 1 != 0)
    if isinstance(value, dict):
        inner: list[Any] = [*value, *value.values()]
    elif isinstance(value, list | tuple | set):
        inner = list(value)
    else:
        return 0, 0.0
    parts = [_measure(each) for each in inner]
    return len(inner) + sum(much for much, _ in parts), sum(far for _, far in parts)


def simpler(value: Any) -> Iterator[Any]:
    """Values of the same type that are smaller by `size`, the boldest first; some may repeat."""
    least = _measure(value)
    for each in _changed(value):
        measure = _measure(each)
        if measure < least or (measure == least and dumps(each) < dumps(value)):
            yield each


def _changed(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield False
    elif isinstance(value, int):
        yield from (0, 1, 2, -value, value // 2, value - 10, value - 1, value + 1, value + 10)
    elif isinstance(value, float):
        yield from (0.0, 1.0, 2.0, 0.0 - value)
        if value == value and abs(value) < 1e15:
            yield from (float(round(value)), round(value, 1), float(value // 2))
            yield from (value - 1.0, value + 1.0)
    elif isinstance(value, str):
        yield from ("".join(piece) for piece in _pieces(value))
        for letter in _LETTERS:
            yield from (
                value[:at] + letter + value[at + 1 :] for at in range(min(len(value), _WHOLE))
            )
    elif isinstance(value, list):
        yield from (list(piece) for piece in _pieces(value))
        yield from (list(each) for each in _within(value))
    elif isinstance(value, tuple):
        yield from (tuple(each) for each in _within(list(value)))
    elif isinstance(value, set):
        yield from (set(piece) for piece in _pieces(sorted(value, key=size)))
    elif isinstance(value, dict):
        items = list(value.items())
        yield from (dict(piece) for piece in _pieces(items))
        for at, each in _within_each([one for _, one in items]):
            yield {key: each if number == at else one for number, (key, one) in enumerate(items)}


def _pieces(value: Any) -> Iterator[Any]:
    """Without one piece, long pieces first."""
    whole = len(value)
    lengths = range(whole, 0, -1)
    if whole > _WHOLE:
        lengths = [whole, whole // 2, whole // 4, whole // 8, 2, 1]  # type: ignore[assignment]
    for length in lengths:
        step = 1 if whole <= _WHOLE else max(1, length)
        for start in range(0, whole - length + 1, step):
            yield [*value[:start], *value[start + length :]]


def _within(value: list[Any]) -> Iterator[list[Any]]:
    for at, each in _within_each(value):
        yield [*value[:at], each, *value[at + 1 :]]


def _within_each(value: list[Any]) -> Iterator[tuple[int, Any]]:
    """One element at a time made simpler, the boldest change of each first."""
    waiting = [(at, simpler(each)) for at, each in enumerate(value[:_WHOLE])]
    while waiting:
        left = []
        for at, changes in waiting:
            each = next(changes, None)
            if each is not None:
                yield at, each
                left.append((at, changes))
        waiting = left
