"""Plain values as text and back, so that no object of a candidate's ever leaves its process.

    >>> dumps((1, [2.0, None], {"a": {3}}))
    '{"tuple":[1,[2.0,null],{"dict":[["a",{"set":[3]}]]}]}'
    >>> same(loads(dumps(float("nan"))), float("nan")), same(1, True)
    (True, False)

The text is JSON. None, booleans, whole numbers, finite floats, texts and lists are themselves; all
else is an object with one key that names its type. One value has one text: sets are sorted, dicts
keep their order. Values of a subclass (a defaultdict, a namedtuple, a list with an `__eq__` of its
own) are read by the base type's methods and travel as the base type.

Only the standard library is used here: the module also runs inside the sandbox.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as _quote
from typing import Any, NoReturn

from planish.tasks.sandbox.quick import quick

__all__ = ["MAX_CHARS", "MAX_DEPTH", "MAX_ITEMS", "UnknownType", "dumps", "loads", "same"]

MAX_DEPTH = 100
"""Containers inside each other; a container inside itself is deeper than any limit."""

MAX_ITEMS = 1_000_000
MAX_CHARS = 8_000_000

_PLAIN_BITS = 4096  # beyond about 14,000 bits Python refuses to write a number in decimal
_CROWD = 64  # so many members may share one hash before anybody waits for them


class UnknownType(TypeError):
    """The value is not plain data, or is too deep or too large to travel."""


class _Writer:
    """Collects the pieces of one text and counts them."""

    def __init__(self, signed_zero: bool = True) -> None:
        self.pieces: list[str] = []
        self.items = 0
        self.chars = 0
        self.signed_zero = signed_zero

    def put(self, piece: str) -> None:
        self.pieces.append(piece)
        self.chars += len(piece)
        if self.chars > MAX_CHARS:
            raise UnknownType(f"a value of more than {MAX_CHARS:,} characters")

    def write(self, value: Any, depth: int) -> None:
        self.items += 1
        if self.items > MAX_ITEMS:
            raise UnknownType(f"a value of more than {MAX_ITEMS:,} items")
        if depth > MAX_DEPTH:
            raise UnknownType(f"a value nested deeper than {MAX_DEPTH}, or inside itself")
        kind = type(value)
        # by identity and type(): a class may answer for its own hash, equality and kind
        writer = _WRITERS.get(id(kind))
        if writer is None:
            base = next((one for one in _BASES if issubclass(kind, one)), None)
            if base is None:
                raise UnknownType(f"a value of type {_name(kind)}")
            writer = _WRITERS[id(base)]
        writer(self, value, depth)

    def none(self, _value: Any, _depth: int) -> None:
        self.put("null")

    def boolean(self, value: Any, _depth: int) -> None:
        self.put("true" if value else "false")

    def whole(self, value: Any, _depth: int) -> None:
        bits = int.bit_length(value)
        if bits <= _PLAIN_BITS:
            self.put(int.__repr__(value))
        elif bits // 4 > MAX_CHARS:
            raise UnknownType(f"a number of {bits:,} bits")
        else:
            self.put('{"int":"' + int.__format__(value, "x") + '"}')

    def real(self, value: Any, _depth: int) -> None:
        text = float.__repr__(value)
        if text in ("nan", "inf", "-inf"):
            text = f'{{"float":"{text}"}}'
        elif text == "-0.0" and not self.signed_zero:
            text = "0.0"
        self.put(text)

    def imaginary(self, value: Any, depth: int) -> None:
        self.put('{"complex":[')
        # a nan of either sign is the same nan
        self.real(complex.real.__get__(value), depth)
        self.put(",")
        self.real(complex.imag.__get__(value), depth)
        self.put("]}")

    def text(self, value: Any, _depth: int) -> None:
        value = str.__str__(value)
        if len(value) > MAX_CHARS:
            raise UnknownType(f"a text of {len(value):,} characters")
        if value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value):
            self.put(_quote(value))
        else:  # two lone halves would come back as one character
            self.put('{"str":[' + ",".join(str(ord(one)) for one in value) + "]}")

    def octets(self, value: Any, _depth: int) -> None:
        if bytes.__len__(value) > MAX_CHARS:
            raise UnknownType(f"{bytes.__len__(value):,} bytes")
        self.put('{"bytes":"' + bytes.hex(value) + '"}')

    def sequence(self, value: Any, depth: int) -> None:
        self.put("[")
        self.row(list.__iter__(value), depth)
        self.put("]")

    def fixed(self, value: Any, depth: int) -> None:
        self.put('{"tuple":[')
        self.row(tuple.__iter__(value), depth)
        self.put("]}")

    def row(self, values: Any, depth: int) -> None:
        first = True
        for value in values:
            if not first:
                self.pieces.append(",")
            first = False
            self.write(value, depth + 1)

    def mapping(self, value: Any, depth: int) -> None:
        self.put('{"dict":[')
        first = True
        for key, held in dict.items(value):
            self.pieces.append("[" if first else ",[")
            first = False
            self.write(key, depth + 1)
            self.pieces.append(",")
            self.write(held, depth + 1)
            self.pieces.append("]")
        self.put("]}")

    def collection(self, value: Any, depth: int) -> None:
        self.unordered("set", set.__iter__(value), depth)

    def frozen(self, value: Any, depth: int) -> None:
        self.unordered("frozenset", frozenset.__iter__(value), depth)

    def unordered(self, name: str, values: Any, depth: int) -> None:
        outside, texts = self.pieces, []
        for value in values:
            self.pieces = []
            self.write(value, depth + 1)
            texts.append("".join(self.pieces))
        self.pieces = outside
        self.pieces.append(f'{{"{name}":[' + ",".join(sorted(texts)) + "]}")

    def span(self, value: Any, depth: int) -> None:
        self.put('{"range":[')
        self.row((value.start, value.stop, value.step), depth)
        self.put("]}")


_BASES: dict[type, Callable[[_Writer, Any, int], None]] = {
    type(None): _Writer.none,
    bool: _Writer.boolean,
    int: _Writer.whole,
    float: _Writer.real,
    complex: _Writer.imaginary,
    str: _Writer.text,
    bytes: _Writer.octets,
    list: _Writer.sequence,
    tuple: _Writer.fixed,
    dict: _Writer.mapping,
    set: _Writer.collection,
    frozenset: _Writer.frozen,
    range: _Writer.span,
}

_WRITERS = {id(base): writer for base, writer in _BASES.items()}


def _name(kind: type) -> str:
    try:
        return str.__str__(type.__dict__["__name__"].__get__(kind))
    except Exception:
        return "unknown"


def dumps(value: Any) -> str:
    """The one text of a plain value; nothing that the value's class overrides is called.

    Raises:
        UnknownType: it holds something else than None, bool, int, float, complex, str, bytes, list,
            tuple, dict, set, frozenset, range or a subclass of these; or is too deep or too large.
    """
    writer = _Writer()
    try:
        text = quick(value)
        if text is not None:
            return text
        writer.write(value, 0)
    except RuntimeError as error:  # changed by another thread, or deep below other calls
        raise UnknownType(f"a value that cannot be read: {type(error).__name__}") from None
    return "".join(writer.pieces)


def loads(text: str) -> Any:
    """The value of a text that `dumps` wrote; all types are exactly those named above.

    Raises:
        ValueError: the text is none of `dumps`.
    """
    if len(text) > MAX_CHARS * 2:
        raise ValueError(f"a value of {len(text):,} characters")
    try:
        value = _decode(text)
    except RecursionError:
        raise ValueError("a value nested too deep") from None
    except (TypeError, OverflowError) as error:
        raise ValueError(f"not a plain value: {error}") from None
    if text.count("[") > MAX_DEPTH:
        _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH + 1:
            raise ValueError(f"a value nested deeper than {MAX_DEPTH}")
        below: list[Any] = []
        for one in level:
            if isinstance(one, list | tuple | set | frozenset):
                below.extend(one)
            elif isinstance(one, dict):
                below.extend(one.keys())
                below.extend(one.values())
        level, depth = below, depth + 1


def _constant(name: str) -> NoReturn:
    raise ValueError(f"not a plain value: {name}")


def _tagged(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) != 1 or pairs[0][0] not in _READERS:
        raise ValueError(f"not a plain value: an object of {[key for key, _ in pairs]}"[:200])
    return _READERS[pairs[0][0]](pairs[0][1])


def _real(held: Any) -> float:
    if held not in ("nan", "inf", "-inf"):
        raise ValueError("not a plain value: a float")
    return float(held)


def _whole(held: Any) -> int:
    if type(held) is not str:
        raise ValueError("not a plain value: an int")
    return int(held, 16)


def _imaginary(held: Any) -> complex:
    real, imaginary = _row(held)
    if type(real) is not float or type(imaginary) is not float:
        raise ValueError("not a plain value: a complex")
    return complex(real, imaginary)


def _row(held: Any) -> list[Any]:
    if type(held) is not list:
        raise ValueError("not a plain value: no list where one belongs")
    return held


def _text(held: Any) -> str:
    return "".join(map(chr, _row(held)))


def _mapping(held: Any) -> dict[Any, Any]:
    rows = [_row(row) for row in _row(held)]
    _check_hashes([row[0] for row in rows if row])
    made = dict(rows)
    if len(made) != len(rows):
        raise ValueError("not a plain value: a key twice")
    return made


def _collection(held: Any) -> set[Any]:
    _check_hashes(_row(held))
    made = set(held)
    if len(made) != len(held):
        raise ValueError("not a plain value: a member twice")
    return made


def _check_hashes(members: list[Any]) -> None:
    # members that all share one hash would take hours to put together
    if len(members) <= _CROWD:
        return
    if max(Counter(map(hash, members)).values()) > _CROWD:
        raise ValueError("not a plain value: members made to collide")


_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _whole,
    "float": _real,
    "complex": _imaginary,
    "str": _text,
    "bytes": bytes.fromhex,
    "tuple": lambda held: tuple(_row(held)),
    "dict": _mapping,
    "set": _collection,
    "frozenset": lambda held: frozenset(_collection(held)),
    "range": lambda held: range(*_row(held)),
}


_decode = json.JSONDecoder(object_pairs_hook=_tagged, parse_constant=_constant).decode


def same(left: Any, right: Any, *, tolerance: float = 0.0) -> bool:
    """Whether two loaded values are equal, type by type.

    1 is neither True nor 1.0, a list is not a tuple, nan equals nan, 0.0 equals -0.0; the order of
    dicts does not count.

    Args:
        left: a plain value; right: another.
        tolerance: by which floats may differ, relative and absolute; in sets, only floats that
            are themselves the members.

    Raises:
        UnknownType: a value is not plain.
    """
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is float:
        return _close(left, right, tolerance)
    if kind is complex:
        return _close(left.real, right.real, tolerance) and _close(left.imag, right.imag, tolerance)
    if kind is list or kind is tuple:
        return len(left) == len(right) and all(
            same(one, other, tolerance=tolerance) for one, other in zip(left, right, strict=True)
        )
    if kind is dict:
        if len(left) != len(right):
            return False
        held = {_identity(key): value for key, value in right.items()}
        keys = [(_identity(key), value) for key, value in left.items()]
        return all(
            key in held and same(value, held[key], tolerance=tolerance) for key, value in keys
        )
    if kind is set or kind is frozenset:
        return len(left) == len(right) and _same_members(left, right, tolerance)
    if id(kind) not in _WRITERS:
        raise UnknownType(f"a value of type {_name(kind)}")
    return bool(left == right)


def _close(left: float, right: float, tolerance: float) -> bool:
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return left == right or math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)


def _identity(value: Any) -> str:
    writer = _Writer(signed_zero=False)
    writer.write(value, 0)
    return "".join(writer.pieces)


def _same_members(left: Any, right: Any, tolerance: float) -> bool:
    if sorted(map(_identity, left)) == sorted(map(_identity, right)):
        return True
    if not tolerance:
        return False
    numbers = [sorted(one for one in side if type(one) is float) for side in (left, right)]
    others = [{_identity(one) for one in side if type(one) is not float} for side in (left, right)]
    return others[0] == others[1] and same(*numbers, tolerance=tolerance)
