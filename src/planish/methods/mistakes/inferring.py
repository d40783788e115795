"""A strategy for a task that has none, read off the inputs that its tests use.

    infer([([1, 2], 3), ([], 0)])  # a list of integers, then an integer
    holding([([1, 2], 1), ([1, 4], 2)])  # what is true of all of them, such as that it is sorted

Tests say what a caller may ask only by what they ask. So ranges are widened a little upwards and
never below a smallest value that is not negative, and whatever is true of every input seen (sorted,
no repeats, equally long, a number below a length) is held to be meant.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from pydantic import JsonValue

from planish.methods.mistakes.kinds import Strategy

__all__ = ["Law", "holding", "infer"]

_Description = dict[str, JsonValue]

_NONE: _Description = {"kind": "none"}

_SEPARATORS = (", ", ",", "; ", " ", "_", "-", "/", "\n")
_FEW = 6  # a vocabulary up to here is a set of words, not text
_ENOUGH = 3  # inputs that must agree before it is taken to be meant


def infer(arguments: Sequence[tuple[Any, ...]]) -> Strategy | None:
    """One description for each argument, wide enough for all inputs seen.

    Args:
        arguments: of the calls; of different lengths the most frequent one is taken.

    Returns:
        None where nothing was seen, or where a value is of no kind that can be described.
    """
    lengths = Counter(len(each) for each in arguments)
    if not lengths:
        return None
    length = lengths.most_common(1)[0][0]
    columns = zip(*(each for each in arguments if len(each) == length), strict=True)
    strategy = [_describe(list(column)) for column in columns]
    return None if None in strategy else tuple(each for each in strategy if each is not None)


def _describe(values: list[Any]) -> _Description | None:
    groups: dict[type, list[Any]] = {}
    for value in values:
        groups.setdefault(type(value), []).append(value)
    found: list[_Description] = []
    for kind, members in groups.items():
        reader = _READERS.get(kind)
        description = None if reader is None else reader(members)
        if description is None:
            return None
        found.append(description)
    if len(found) == 1:
        return found[0]
    return {"kind": "one_of", "of": list[JsonValue](found)}


def _widened(low: float, high: float) -> tuple[float, float]:
    more = max(1, math.ceil((high - low) / 10))
    return (low if low >= 0 else low - more), high + more


def _integer(values: list[int]) -> _Description:
    low, high = _widened(min(values), max(values))
    return {"kind": "integer", "min": int(low), "max": int(high)}


def _number(values: list[float]) -> _Description | None:
    finite = [value for value in values if math.isfinite(value)]
    if not finite or max(map(abs, finite)) > 1e15:
        return None
    low, high = _widened(min(finite), max(finite))
    digits = next((n for n in range(7) if all(round(v, n) == v for v in finite)), 6)
    return {"kind": "number", "min": low, "max": high, "digits": max(1, digits)}


def _text(values: list[str]) -> _Description:
    words = sorted(set(values))
    if len(words) <= _FEW and len(values) >= 3 * len(words):
        return {"kind": "choice", "of": list[JsonValue](words)}
    return _joined(values) or _letters(values)


def _letters(values: list[str]) -> _Description:
    sizes = [len(value) for value in values]
    return {
        "kind": "text",
        "alphabet": "".join(sorted({letter for value in values for letter in value})) or "a",
        "min_size": min(sizes),
        "max_size": max(sizes) + 2,
    }


def _joined(values: list[str]) -> _Description | None:
    """Text made of words or numbers, where most values are seen to be."""
    full = [value for value in values if value]
    for separator in _SEPARATORS:
        parts = [value.split(separator) for value in full]
        if sum(len(each) > 1 for each in parts) * 2 <= len(full) or not full:
            continue
        flat = [part for each in parts for part in each]
        sizes = [len(each) for each in parts] + [0] * (len(full) < len(values))
        return {
            "kind": "joined",
            "of": _part(flat),
            "separator": separator,
            "min_size": min(sizes),
            "max_size": max(sizes) + 1,
        }
    return None


def _part(parts: list[str]) -> _Description:
    words = sorted(set(parts))
    if all(part.isascii() and part.isdigit() and str(int(part)) == part for part in words):
        return _integer([int(part) for part in words])
    if len(words) <= 4 * _FEW:
        return {"kind": "choice", "of": list[JsonValue](words)}
    return _letters(words)


def _many(kind: str, values: list[Any]) -> _Description | None:
    sizes = [len(value) for value in values]
    inner = [each for value in values for each in value]
    of = _describe(inner) if inner else _NONE
    if of is None:
        return None
    more = 2 if inner else 0
    return {"kind": kind, "of": of, "min_size": min(sizes), "max_size": max(sizes) + more}


def _list(values: list[list[Any]]) -> _Description | None:
    return _many("list", values)


def _set(values: list[set[Any]]) -> _Description | None:
    found = _many("set", values)
    return found if found is None else {**found, "min_size": 0}


def _tuple(values: list[tuple[Any, ...]]) -> _Description | None:
    found: list[JsonValue] = []
    for size in sorted({len(value) for value in values}):
        alike = [value for value in values if len(value) == size]
        of = [_describe(list(column)) for column in zip(*alike, strict=True)]
        if None in of:
            return None
        found.append({"kind": "tuple", "of": list[JsonValue](of)})
    return {"kind": "one_of", "of": found} if len(found) > 1 else found[0]  # type: ignore[return-value]


def _dict(values: list[dict[Any, Any]]) -> _Description | None:
    sizes = [len(value) for value in values]
    keys = [key for value in values for key in value]
    if not keys:
        return {"kind": "dict", "keys": _NONE, "values": _NONE, "max_size": 0}
    of = _describe(keys), _describe([each for value in values for each in value.values()])
    if None in of:
        return None
    return {"kind": "dict", "keys": of[0], "values": of[1], "min_size": 0, "max_size": max(sizes)}


_READERS: dict[type, Callable[[list[Any]], _Description | None]] = {
    bool: lambda _values: {"kind": "boolean"},
    type(None): lambda _values: {"kind": "none"},
    int: _integer,
    float: _number,
    str: _text,
    list: _list,
    set: _set,
    tuple: _tuple,
    dict: _dict,
}


# ---- what is true of all inputs --------------------------------------------------------------

_Test = Callable[..., bool]


@dataclass(frozen=True)
class Law:
    """Something that was true of every input seen.

    Args:
        length: of the calls that it speaks of; places: of the arguments that it takes.
        speaks: whether it says anything about these; true: whether it holds then.
    """

    length: int
    places: tuple[int, ...]
    speaks: _Test
    true: _Test

    def concerns(self, arguments: tuple[Any, ...]) -> bool:
        """Whether it says anything about these arguments."""
        return len(arguments) == self.length and _safely(self.speaks, self._of(arguments))

    def __call__(self, arguments: tuple[Any, ...]) -> bool:
        """True for what it says nothing about."""
        return not self.concerns(arguments) or _safely(self.true, self._of(arguments))

    def _of(self, arguments: tuple[Any, ...]) -> list[Any]:
        return [arguments[place] for place in self.places]


def holding(arguments: Sequence[tuple[Any, ...]]) -> tuple[Law, ...]:
    """What is true of every input seen, and says something about at least a few of them."""
    if not arguments:
        return ()
    length = Counter(map(len, arguments)).most_common(1)[0][0]
    laws = [Law(length, (one,), *law) for one in range(length) for law in _SINGLE]
    for one, two in permutations(range(length), 2):
        laws += [Law(length, (one, two), *law) for law in _PAIRED]
    return tuple(
        law
        for law in laws
        if sum(map(law.concerns, arguments)) >= _ENOUGH and all(map(law, arguments))
    )


def _safely(test: _Test, values: list[Any]) -> bool:
    try:
        return bool(test(*values))
    except TypeError:
        return False


def _long(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) > 2


def _table(value: Any) -> bool:
    return _long(value) and all(isinstance(row, list) and row for row in value)


def _sequences(*values: Any) -> bool:
    return all(isinstance(value, list | tuple | str) for value in values)


def _numbers(*values: Any) -> bool:
    return all(type(value) in (int, float) for value in values)


def _place(number: Any, sequence: Any) -> bool:
    return type(number) is int and _sequences(sequence)


_SINGLE: tuple[tuple[_Test, _Test], ...] = (
    (_long, lambda value: list(value) == sorted(value)),
    (_long, lambda value: list(value) == sorted(value, reverse=True)),
    (_long, lambda value: len({repr(each) for each in value}) == len(value)),
    (_table, lambda value: len({len(row) for row in value}) == 1),
)

_PAIRED: tuple[tuple[_Test, _Test], ...] = (
    (_sequences, lambda one, two: len(one) <= len(two)),
    (_numbers, lambda one, two: one <= two),
    (_place, lambda number, sequence: number <= len(sequence)),
    (_place, lambda number, sequence: number < len(sequence)),
)
