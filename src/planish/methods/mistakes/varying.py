"""Inputs made of inputs: equal elements, both ends, an argument that another one speaks of.

    vary(([3, 1, 2], 5), random.Random(0))  # such as ([3, 1, 2], 3) or ([3, 3, 2], 5)

Independent draws seldom hit what code gets wrong: a number that is the length of the list beside
it, a word that occurs in the sentence, two equal neighbours. Types stay as they are all the way
down, so whoever has a description asks it whether the value is still one of its own.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["vary"]

_DEEP = 4  # places further down are left alone


def vary(arguments: tuple[Any, ...], source: random.Random) -> tuple[Any, ...]:
    """Other arguments of the same types: one place changed, or set in relation to another.

    Args:
        arguments: plain values; they are not changed.
    """
    if not arguments:
        return arguments
    places = list(_places(arguments))
    if len(places) > 1 and source.random() < 0.4:
        path, _ = source.choice(places)
        found = [
            each for each in _related(arguments, path) if _same_type(each, _at(arguments, path))
        ]
        if found:
            return tuple(_put(arguments, path, source.choice(found)))
    # Arguments themselves as often as what is in them.
    shallow = [place for place in places if len(place[0]) == 1]
    path, value = source.choice(shallow if source.random() < 0.6 else places)
    return tuple(_put(arguments, path, _other(value, source)))


# ---- places ----------------------------------------------------------------------------------

_Path = tuple[Any, ...]


def _places(value: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    if path:
        yield path, value
    if len(path) >= _DEEP:
        return
    if isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _places(each, (*path, index))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, (*path, key))


def _at(value: Any, path: _Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _put(value: Any, path: _Path, new: Any) -> Any:
    if not path:
        return new
    step, *rest = path
    inner = _put(value[step], tuple(rest), new)
    if isinstance(value, dict):
        return {key: inner if key == step else each for key, each in value.items()}
    return type(value)(inner if index == step else each for index, each in enumerate(value))


def _same_type(left: Any, right: Any) -> bool:
    return type(left) is type(right)


# ---- relations -------------------------------------------------------------------------------


def _related(arguments: tuple[Any, ...], path: _Path) -> list[Any]:
    """What other arguments say about this place: lengths, elements, pieces, sums."""
    found: list[Any] = []
    for other, value in _places(arguments):
        if other[0] == path[0] and len(path) == 1:
            continue
        if other != path:
            found.append(value)
        if isinstance(value, str | list | tuple | dict | set):
            found += [len(value), len(value) - 1, len(value) + 1]
        if isinstance(value, str) and value:
            half = len(value) // 2
            found += [value[:half], value[half:], value[0], value[-1], value[::-1]]
        if isinstance(value, list) and value:
            found += [list(value[:-1]), list(value[1:]), value[::-1], *value]
            if all(type(each) is int for each in value):
                found += [sum(value), max(value), min(value)]
        if isinstance(value, dict):
            found += [*value, *value.values()]
        if type(value) is int:
            found += [value - 1, value + 1, value * 2, -value]
    return found


# ---- one value -------------------------------------------------------------------------------


def _other(value: Any, source: random.Random) -> Any:
    change = _CHANGES.get(type(value))
    return value if change is None else change(value, source)


def _integer(value: int, source: random.Random) -> int:
    return source.choice((0, 1, 2, -1, value + 1, value - 1, -value, 2 * value, value // 2))


def _number(value: float, source: random.Random) -> float:
    near = (value + 1.0, value - 1.0, value + 0.5, value - 0.5)
    return source.choice((0.0, 1.0, 0.0 - value, 2 * value, float(round(value)), *near))


def _boolean(value: bool, _source: random.Random) -> bool:
    return not value


def _text(value: str, source: random.Random) -> str:
    if not value:
        return source.choice(("a", " ", "A", "0"))
    cut, put = sorted((source.randrange(len(value)), source.randrange(len(value))))
    made = (
        "",
        value[0],
        value[::-1],
        value + value[::-1],
        value + value,
        value.swapcase(),
        value.upper(),
        value.lower(),
        "".join(sorted(value)),
        value[0] * len(value),
        value[:cut] + value[cut + 1 :],
        value[:cut] + value[cut] + value[cut:],
        value[:cut] + value[put:] + value[cut:put],
        value[:cut] + value[put] + value[cut + 1 :],
        " " + value,
        value + " ",
    )
    return source.choice(made)


def _list(value: list[Any], source: random.Random) -> list[Any]:
    if not value:
        return value
    first, second = source.randrange(len(value)), source.randrange(len(value))
    swapped = list(value)
    swapped[first], swapped[second] = swapped[second], swapped[first]
    equal = list(value)
    equal[first] = value[second]
    made: list[list[Any]] = [
        [],
        [value[first]],
        value[::-1],
        value + value,
        [value[first]] * len(value),
        value[:first] + value[first + 1 :],
        [*value, value[first]],
        [*value[:first], value[first], *value[first:]],
        swapped,
        equal,
    ]
    with contextlib.suppress(TypeError):  # elements that have no order
        made += [sorted(value), sorted(value, reverse=True)]
    return source.choice(made)


def _dict(value: dict[Any, Any], source: random.Random) -> dict[Any, Any]:
    if not value:
        return value
    keys = list(value)
    one, other = source.choice(keys), source.choice(keys)
    made: tuple[dict[Any, Any], ...] = (
        {},
        {one: value[one]},
        {key: each for key, each in value.items() if key != one},
        dict(reversed(list(value.items()))),
        {**value, one: value[other]},
    )
    return source.choice(made)


def _set(value: set[Any], source: random.Random) -> set[Any]:
    if not value:
        return value
    one = source.choice(sorted(value, key=repr))
    return source.choice((set(), {one}, value - {one}))


_CHANGES: dict[type, Callable[[Any, random.Random], Any]] = {
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _text,
    list: _list,
    dict: _dict,
    set: _set,
}
