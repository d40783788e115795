"""Values survive the journey, typed, and nothing that a class overrides is called on the way."""

from __future__ import annotations

import collections
import enum
import itertools
import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.tasks.sandbox.quick import quick
from planish.tasks.sandbox.values import (
    MAX_CHARS,
    MAX_DEPTH,
    UnknownType,
    _Writer,
    dumps,
    loads,
    same,
)

surrogates = st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010)
texts = st.text() | st.text(alphabet=surrogates | st.characters())
hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | texts
    | st.binary()
    | st.builds(range, st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([-2, 1, 3])),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.sets(hashable, max_size=4)
    ),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """Types all the way down, with which equality is typed."""
    if isinstance(value, list | tuple):
        return type(value), [shape(one) for one in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(shape(one)) for one in value)
    if isinstance(value, dict):
        return dict, [(shape(key), shape(one)) for key, one in value.items()]
    return type(value), repr(value)


@given(values)
def test_small_values_have_the_text_that_the_careful_way_writes(value: Any) -> None:
    careful = _Writer()
    careful.write(value, 0)
    assert quick(value) in (None, "".join(careful.pieces))


def test_a_small_list_that_is_held_many_times_over_is_not_small() -> None:
    assert quick(([1, -2.5, "a\n", True, None],)) == '{"tuple":[[1,-2.5,"a\\n",true,null]]}'
    many = ["x" * 900] * 900
    for _ in range(3):
        many = [many] * 900
    started = time.thread_time()
    assert quick(many) is None
    assert time.thread_time() - started < 0.5
    assert quick([[[[[1]]]]]) is None
    assert quick(float("nan")) is None


@given(values)
def test_a_value_comes_back_with_its_types(value: Any) -> None:
    text = dumps(value)
    back = loads(text)
    assert shape(back) == shape(value)
    assert dumps(back) == text
    assert text.isascii()
    assert same(back, loads(text))


@given(values, values)
def test_same_is_equality_of_texts_but_for_order_and_zero(left: Any, right: Any) -> None:
    assert same(left, right) == same(right, left)
    if dumps(left) == dumps(right):
        assert same(left, right)
    if same(left, right):
        assert type(left) is type(right)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_read_or_refused_with_a_value_error(text: str) -> None:
    try:
        value = loads(text)
    except ValueError:
        return
    assert same(loads(dumps(value)), value)


TAGS = ["int", "float", "complex", "str", "bytes"]
TAGS += ["tuple", "dict", "set", "frozenset", "range", "other"]

_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(TAGS),
            inner,
            min_size=1,
            max_size=2,
        )
    ),
    max_leaves=10,
)


@given(_trees)
def test_forged_trees_are_read_or_refused_with_a_value_error(tree: Any) -> None:
    try:
        value = loads(json.dumps(tree))
    except ValueError:
        return
    assert same(loads(dumps(value)), value)


def trap(*_arguments: Any, **_named: Any) -> Any:
    raise AssertionError("an overridden method was called")


OVERRIDDEN = {
    *("__eq__", "__hash__", "__iter__", "__len__", "__getitem__", "__repr__", "__str__", "__int__"),
    *("__float__", "__index__", "__bool__", "__reduce__", "__reduce_ex__", "__contains__"),
    *("__format__", "__getattribute__", "items", "keys", "values", "bit_length", "hex"),
}


class Meta(type):
    __instancecheck__ = __subclasscheck__ = __hash__ = __eq__ = trap


@pytest.mark.parametrize(
    "plain", [[1, [2]], (1, "a"), {"a": 1}, {1, 2}, frozenset({1}), 7, 2.5, 1 + 2j, "text", b"ab"]
)
def test_subclasses_travel_as_their_base_and_are_asked_nothing(plain: Any) -> None:
    base: Any = type(plain)
    hostile: Any = Meta("Hostile", (base,), dict.fromkeys(OVERRIDDEN, trap))
    made = base.__new__(hostile, plain)
    if isinstance(plain, list | dict | set):
        base.__init__(made, plain)
    assert dumps([made]) == dumps([plain])


def test_usual_subclasses() -> None:
    Point = collections.namedtuple("Point", "x y")

    class Colour(enum.IntEnum):
        RED = 3

    assert dumps(Point(1, 2)) == dumps((1, 2))
    assert dumps(Colour.RED) == "3"
    assert dumps(collections.Counter("aab")) == dumps({"a": 2, "b": 1})
    assert dumps(collections.defaultdict(list, {1: [2]})) == dumps({1: [2]})


class Liar:
    __class__ = int  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "value",
    [object(), int, len, bytearray(b"a"), iter([]), (x for x in "a"), Liar(), collections.deque()],
    ids=lambda value: type(value).__name__,
)
def test_everything_else_is_refused(value: Any) -> None:
    for around in (value, [value], {"a": (value,)}):
        with pytest.raises(UnknownType):
            dumps(around)


def test_what_is_inside_itself_too_deep_or_too_large_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.values.MAX_ITEMS", 5000)
    ring: list[Any] = []
    ring.extend([ring, ring])
    deep: Any = 0
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    doubled: Any = [0]
    for _ in range(60):
        doubled = [doubled, doubled]
    for value in (ring, deep, doubled, "x" * (MAX_CHARS + 1), 1 << (5 * MAX_CHARS)):
        with pytest.raises(UnknownType):
            dumps(value)
    assert loads(dumps(deep[0])) == deep[0]


def test_numbers_too_long_for_decimal_travel() -> None:
    value = 7**9000
    assert loads(dumps([value, -value])) == [value, -value]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "{}",
        '{"other":1}',
        '{"tuple":[1],"list":[2]}',
        '{"dict":[[[],1]]}',
        '{"dict":[[1,2],[true,3]]}',
        '{"set":[1,1]}',
        '{"range":[1,2,0]}',
        '{"str":[1114112]}',
        '{"bytes":3}',
        '{"int":7}',
        "[" * 150 + "]" * 150,
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_forged_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)


def test_members_made_to_collide_are_refused_at_once() -> None:
    step = (1 << 61) - 1  # whole numbers hash to their remainder by this
    text = ",".join(str(number * step) for number in range(1, 30_000))
    with pytest.raises(ValueError, match="collide"):
        loads('{"set":[' + text + "]}")


def test_few_members_made_to_collide_are_refused_too_and_honest_ones_are_not() -> None:
    step = (1 << 61) - 1
    alike = ",".join(str(number * step) for number in range(1, 66))
    others = ",".join(map(str, range(1000)))  # most of the members may be as they should
    for text in ('{"set":[' + alike + "]}", '{"set":[' + alike + "," + others + "]}"):
        with pytest.raises(ValueError, match="collide"):
            loads(text)
    honest = set(itertools.product([-2, -1, 0, 1, 2], repeat=4))  # -1 and -2 share a hash
    assert loads(dumps(honest)) == honest


def test_same_is_typed() -> None:
    for left, right in ((1, True), (1, 1.0), ([1], (1,)), ("a", b"a"), (None, False), ({1}, [1])):
        assert not same(left, right)
        assert not same([left], [right])
    assert not same({1: "a"}, {True: "a"})
    assert not same({1, 2}, {True, 2})
    assert same({1: "a", 2: "b"}, {2: "b", 1: "a"})
    assert same(math.nan, float("nan"))
    assert same({float("nan")}, {float("nan")})
    assert same([0.0, {0.0}], [-0.0, {-0.0}])
    assert same(complex(math.nan, 1), complex(math.nan, 1))
    with pytest.raises(UnknownType):
        same(object(), object())


@given(st.floats(-1e9, 1e9), st.floats(-1e-7, 1e-7))
def test_tolerance_is_relative_and_absolute(value: float, off: float) -> None:
    near = value + off * max(1.0, abs(value))
    assert same([value], [near], tolerance=1.01e-7)
    assert same({value, "a"}, {near, "a"}, tolerance=1.01e-7)
    assert not same(value, value + max(1.0, abs(value)) * 1e-3, tolerance=1e-4)


def test_tolerance_is_for_floats_only() -> None:
    assert not same(1, 2, tolerance=10.0)
    assert not same(1, 1.0, tolerance=10.0)
    assert not same(math.inf, 1e308, tolerance=0.5)
    assert same(1 + 1j, 1.0000001 + 1j, tolerance=1e-6)
