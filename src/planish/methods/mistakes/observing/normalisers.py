"""Values that differ only in how they are written.

list(normalised("Ada", " ada"))  # [] : two things at once
list(normalised(2.68, 2.675))  # ["round"]
list(normalised([1, 2], (1, 2)))  # ["list/tuple"]
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from planish.tasks.sandbox.values import dumps, same

__all__ = ["NORMALISERS", "normalised"]

_SEPARATORS = ("", " ", ", ", ",", "\n", "; ", "-", "_", "/", "|")


def normalised(expected: Any, got: Any) -> Iterator[str]:
    """Names of the normalisers, each alone enough to make what came equal to what was expected.

    int/float, list/tuple, strip, space, case, punctuation, padding, str, join/split, round,
    truncate, unique. Values that are the same need none.
    """
    if same(expected, got):
        return
    for name, makes_equal in NORMALISERS.items():
        if makes_equal(expected, got):
            yield name


def _each(change: Callable[[Any], Any]) -> Callable[[Any, Any], bool]:
    """Equal once both were changed."""
    return lambda expected, got: same(change(expected), change(got))


def _deep(change: Callable[[Any], Any], value: Any) -> Any:
    """Every value that is no container, changed; the containers as they are."""
    if isinstance(value, list | tuple):
        return type(value)(_deep(change, each) for each in value)
    if isinstance(value, dict):
        return {_deep(change, key): _deep(change, each) for key, each in value.items()}
    if isinstance(value, set):
        return {_deep(change, each) for each in value}
    return change(value)


def _texts(change: Callable[[str], str]) -> Callable[[Any, Any], bool]:
    return _each(lambda value: _deep(lambda v: change(v) if type(v) is str else v, value))


def _plain(value: Any) -> Any:
    """True is 1 and 1.0 is 1."""
    if type(value) is bool:
        return int(value)
    if type(value) is float and math.isfinite(value) and value.is_integer():
        return int(value)
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_listed(each) for each in value]
    if isinstance(value, dict):
        return {key: _listed(each) for key, each in value.items()}
    return value


def _rounded(expected: Any, got: Any, reach: float) -> bool:
    """One of both is the other with fewer digits, at every place where they differ."""
    pairs = [(one, other) for one, other in _pairs(expected, got) if not same(one, other)]
    return bool(pairs) and any(
        all(_shorter(one, other, reach) for one, other in turned)
        for turned in (pairs, [(other, one) for one, other in pairs])
    )


def _shorter(short: Any, long: Any, reach: float) -> bool:
    """Whether they are no further apart than a last digit, or half of one where it was rounded."""
    kinds = (int, float)
    if type(short) not in kinds or type(long) not in kinds:
        return False
    fewer, more = _digits(short), _digits(long)
    if fewer is None or more is None or fewer >= more:
        return False
    # Half up and half to even are both meant, and floats lie a little off the half.
    return bool(abs(long - short) <= reach * 10.0**-fewer * (1 + 1e-9))


def _digits(value: float) -> int | None:
    """After the point, as it is written."""
    if not math.isfinite(value) or abs(value) > 1e12:
        return None
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def _pairs(expected: Any, got: Any) -> Iterator[tuple[Any, Any]]:
    """Values at the same places; none where the containers differ."""
    if isinstance(expected, list | tuple) and type(expected) is type(got):
        if len(expected) == len(got):
            for one, other in zip(expected, got, strict=True):
                yield from _pairs(one, other)
            return
    elif _same_keys(expected, got):
        for one, other in zip(expected.values(), got.values(), strict=True):
            yield from _pairs(one, other)
        return
    yield expected, got


def _same_keys(expected: Any, got: Any) -> bool:
    both = isinstance(expected, dict) and isinstance(got, dict)
    return both and list(map(dumps, expected)) == list(map(dumps, got))


def _as_text(expected: Any, got: Any) -> bool:
    return all(
        type(one) is not type(other) and str in (type(one), type(other)) and str(one) == str(other)
        for one, other in _pairs(expected, got)
        if not same(one, other)
    )


def _joined(expected: Any, got: Any) -> bool:
    """One is the text of the other's parts."""
    for text, parts in ((expected, got), (got, expected)):
        if type(text) is str and isinstance(parts, list | tuple):
            texts = [each if type(each) is str else str(each) for each in parts]
            return any(separator.join(texts) == text for separator in _SEPARATORS)
    return False


def _unique(expected: Any, got: Any) -> bool:
    if type(expected) is not type(got) or not isinstance(expected, list | tuple | str):
        return False
    one, other = (list(dict.fromkeys(map(dumps, value))) for value in (expected, got))
    return one == other


NORMALISERS: dict[str, Callable[[Any, Any], bool]] = {
    "int/float": _each(lambda value: _deep(_plain, value)),
    "list/tuple": _each(_listed),
    "strip": _texts(str.strip),
    "space": _texts(lambda text: "".join(text.split())),
    "case": _texts(str.casefold),
    "punctuation": _texts(lambda text: re.sub(r"[\W_]+", "", text)),
    "padding": _texts(lambda text: re.sub(r"\b0+(?=\d)", "", text)),
    "str": _as_text,
    "join/split": _joined,
    "round": lambda expected, got: _rounded(expected, got, 0.5),
    "truncate": lambda expected, got: _rounded(expected, got, 1.0),
    "unique": _unique,
}
"""Name -> whether it makes two values equal that are not, the narrowest first."""
