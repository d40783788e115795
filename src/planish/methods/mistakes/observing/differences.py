"""How a value differs from the one that was expected, and code from its reference.

    relation([1, 2, 3], [1, 2])  # Relation("prefix", "1")
    common_relation([(3, 6), (5, 10)])  # Relation("ratio", "2")
    first_difference([1, {"a": 2}], [1, {"a": 3}]).path  # (1, "a")

All of it is pure: plain values in, plain records out. Two numbers always have an offset and a
ratio, so that one pair tells only about those that somebody may have put there by mistake (1, 2,
10, 1/2); several pairs tell about any that they share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from planish.methods.mistakes.observing.normalisers import normalised
from planish.tasks.sandbox.values import dumps, same

__all__ = [
    "Difference",
    "Relation",
    "common_relation",
    "first_difference",
    "relation",
    "relations",
]

_SMALL = 1e-9
_SIMPLE = frozenset(
    {Fraction(n) for n in (-1, 2, 3, 4, 10, 60, 100, 1000)}
    | {Fraction(1, n) for n in (2, 3, 4, 10, 60, 100, 1000)}
)
_MISSING = object()


@dataclass(frozen=True)
class Difference:
    """The first place where two values differ.

    Args:
        path: indices and keys that lead there; empty for the values themselves.
        expected, got: what is there; None with `missing` or `extra` where one has no such place.
    """

    path: tuple[Any, ...]
    expected: Any
    got: Any
    missing: bool = False
    extra: bool = False


@dataclass(frozen=True, order=True)
class Relation:
    """What was expected, as seen from what came.

    Args:
        kind: "equal"; "normaliser" (equal after `name`); "nothing" (None came); "negated";
            "offset", "ratio" (`name` is the number); "reversed"; "shifted" (by `name` places, the
            others lost); "rotated"; "prefix", "suffix", "piece" (`name` elements of what was
            expected are missing); "longer_end", "longer_start" (`name` too many);
            "permutation"; "missing", "extra" (elements, `name` of them); "wrapped".
        name: see there.
        inside: it holds of each element that differs, not of the whole value.
    """

    kind: str
    name: str = ""
    inside: bool = False


def first_difference(expected: Any, got: Any, tolerance: float = 0.0) -> Difference | None:
    """Where two plain values part, in the order of the expected one; None where they are the same.

    Args:
        tolerance: by which floats may differ, relative and absolute.
    """
    return _first(expected, got, tolerance, ())


def _first(expected: Any, got: Any, tolerance: float, path: tuple[Any, ...]) -> Difference | None:
    if same(expected, got, tolerance=tolerance):
        return None
    if type(expected) is type(got):
        if isinstance(expected, list | tuple):
            for index, (one, other) in enumerate(zip(expected, got, strict=False)):
                if found := _first(one, other, tolerance, (*path, index)):
                    return found
            return _longer(expected, got, (*path, min(len(expected), len(got))))
        if isinstance(expected, dict):
            for key, one in expected.items():
                if key not in got:
                    return Difference((*path, key), one, None, missing=True)
                if found := _first(one, got[key], tolerance, (*path, key)):
                    return found
            for key, other in got.items():
                if key not in expected:
                    return Difference((*path, key), None, other, extra=True)
        if isinstance(expected, str):
            pairs = zip(expected, got, strict=False)
            parted = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
            if parted is not None:
                return Difference((*path, parted), expected[parted], got[parted])
            return _longer(expected, got, (*path, min(len(expected), len(got))))
    return Difference(path, expected, got)


def _longer(expected: Any, got: Any, path: tuple[Any, ...]) -> Difference:
    if len(expected) > len(got):
        return Difference(path, expected[len(got)], None, missing=True)
    return Difference(path, None, got[len(expected)], extra=True)


def relation(expected: Any, got: Any) -> Relation | None:
    """The first relation that says something by itself; None where there is none."""
    return next((each for each in relations(expected, got) if _telling(each)), None)


def common_relation(pairs: Sequence[tuple[Any, Any]]) -> Relation | None:
    """The first relation that all pairs of expected and got share.

    Pairs that are equal say nothing. An offset or a ratio that is not simple must be shared by at
    least two pairs with different expectations.
    """
    differing = [pair for pair in pairs if not same(*pair)]
    if not differing:
        return None
    each = [list(relations(*pair)) for pair in differing]
    several = len({dumps(expected) for expected, _ in differing}) > 1
    for found in each[0]:
        if all(found in others for others in each[1:]) and (several or _telling(found)):
            return found
    return None


def relations(expected: Any, got: Any) -> Iterator[Relation]:
    """Every relation that holds, the most specific ones first."""
    if same(expected, got):
        yield Relation("equal")
        return
    if got is None:
        yield Relation("nothing")
        return
    yield from (Relation("normaliser", name) for name in normalised(expected, got))
    yield from _scalars(expected, got)
    if isinstance(expected, str | list | tuple) and type(expected) is type(got):
        yield from _sequences(expected, got)
    elif isinstance(expected, set | dict) and type(expected) is type(got):
        yield from _members(Counter(map(_key, expected)), Counter(map(_key, got)))
    yield from _wrapped(expected, got)
    yield from _inside(expected, got)


def _telling(found: Relation) -> bool:
    if found.kind == "offset":
        return abs(Fraction(found.name)) in (1, 2)
    if found.kind == "ratio":
        return Fraction(found.name) in _SIMPLE
    return True


# ---- numbers ---------------------------------------------------------------------------------


def _scalars(expected: Any, got: Any) -> Iterator[Relation]:
    if type(expected) is bool and type(got) is bool:
        yield Relation("negated")
        return
    if not (_number(expected) and _number(got)):
        return
    offset, ratio = _short(got, expected, "-"), _short(got, expected, "/")
    simple = ratio is not None and ratio in _SIMPLE
    if offset is not None and not (simple and abs(offset) > 2):
        yield Relation("offset", str(offset))
    if ratio is not None:
        yield Relation("ratio", str(ratio))
    if offset is not None and simple and abs(offset) > 2:
        yield Relation("offset", str(offset))


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < 1e15


def _short(got: float, expected: float, operation: str) -> Fraction | None:
    """Difference or ratio as a fraction of small parts, so that float noise does not show."""
    if operation == "/" and not expected:
        return None
    exact = (
        Fraction(got) / Fraction(expected)
        if operation == "/"
        else Fraction(got) - Fraction(expected)
    )
    short = exact.limit_denominator(10_000)
    close = float(abs(short - exact)) <= _SMALL * max(1.0, float(abs(exact)))
    return short if close and (operation == "-" or short) else None


# ---- sequences -------------------------------------------------------------------------------


def _sequences(expected: Any, got: Any) -> Iterator[Relation]:
    one, other = [_key(each) for each in expected], [_key(each) for each in got]
    if not one and not other:
        return
    less, more = len(one) - len(other), len(other) - len(one)
    if less == 0:
        if other == one[::-1]:
            yield Relation("reversed")
        yield from _moved(one, other)
    elif less > 0:
        if one[: len(other)] == other:
            yield Relation("prefix", str(less))
        if one[less:] == other:
            yield Relation("suffix", str(less))
        if any(one[at : at + len(other)] == other for at in range(1, less)) and other:
            yield Relation("piece", str(less))
    else:
        if other[: len(one)] == one:
            yield Relation("longer_end", str(more))
        if other[more:] == one:
            yield Relation("longer_start", str(more))
    yield from _members(Counter(one), Counter(other))


def _moved(one: list[str], other: list[str]) -> Iterator[Relation]:
    for by in range(1, min(3, len(one))):
        for step in (by, -by):
            if other == one[step:] + one[:step]:
                yield Relation("rotated", str(step))
    for by in range(1, min(3, len(one) - 1)):
        if other[by:] == one[:-by]:
            yield Relation("shifted", str(by))
        if other[:-by] == one[by:]:
            yield Relation("shifted", str(-by))


def _members(one: Counter[str], other: Counter[str]) -> Iterator[Relation]:
    less, more = one - other, other - one
    if not less and not more:
        yield Relation("permutation")
    elif not more:
        yield Relation("missing", str(less.total()))
    elif not less:
        yield Relation("extra", str(more.total()))


def _key(value: Any) -> str:
    return value if type(value) is str and len(value) == 1 else dumps(value)


def _wrapped(expected: Any, got: Any) -> Iterator[Relation]:
    for outer, inner, name in ((got, expected, "got"), (expected, got, "expected")):
        if isinstance(outer, list | tuple) and len(outer) == 1 and same(outer[0], inner):
            yield Relation("wrapped", name)


def _inside(expected: Any, got: Any) -> Iterator[Relation]:
    """What the elements that differ have in common."""
    if (
        type(expected) is not type(got)
        or not expected
        or len(_values(expected)) != len(_values(got))
    ):
        return
    if isinstance(expected, dict) and list(map(_key, expected)) != list(map(_key, got)):
        return
    if isinstance(expected, list | tuple | dict):
        pairs = zip(_values(expected), _values(got), strict=True)
        differing = [pair for pair in pairs if not same(*pair)]
        if not differing or len(differing) > 200:
            return
        rest = [set(relations(*pair)) for pair in differing[1:]]
        for found in relations(*differing[0]):
            if all(found in each for each in rest) and found.kind != "normaliser":
                yield Relation(found.kind, found.name, inside=True)


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else [_MISSING]
