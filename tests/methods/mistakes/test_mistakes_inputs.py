from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.drawing import draw, draw_many
from planish.methods.mistakes.inferring import holding, infer
from planish.methods.mistakes.kinds import kinds_of
from planish.methods.mistakes.seeded import drawn_by
from planish.methods.mistakes.varying import vary
from planish.tasks.sandbox import Limits, Sandbox
from planish.tasks.sandbox.values import dumps, loads
from support.programs import task

LIMITS = Limits(seconds=2.0)

_PARTS = st.sampled_from([{"kind": "choice", "of": ["ab", "c ", ""]}, {"kind": "integer"}])
_SIZES = st.fixed_dictionaries({"min_size": st.integers(0, 2), "max_size": st.integers(2, 5)})
_KEYS: list[dict[str, Any]] = [
    {"kind": "integer", "min": -3, "max": 300},
    {"kind": "number", "min": -1.5, "max": 2.25, "digits": 1},
    {"kind": "boolean"},
    {"kind": "none"},
    {"kind": "text", "alphabet": "ab ", "max_size": 4},
    {"kind": "choice", "of": ["x", 2, 2.5, None, True]},
]
_SIMPLE = st.sampled_from([*_KEYS, {"kind": "choice", "of": [[1], {"a": 2}]}])


def _wrapped(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.builds(lambda of, sizes: {"kind": "list", "of": of, **sizes}, inner, _SIZES),
        st.builds(lambda of: {"kind": "list", "of": of, "unique": True}, inner),
        st.builds(lambda of: {"kind": "tuple", "of": of}, st.lists(inner, max_size=3)),
        st.builds(lambda of: {"kind": "one_of", "of": of}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda keys, values: {"kind": "dict", "keys": keys, "values": values},
            st.sampled_from(_KEYS),
            inner,
        ),
        st.builds(lambda of: {"kind": "set", "of": of}, st.sampled_from(_KEYS)),
        st.builds(
            lambda of, between, sizes: {"kind": "joined", "of": of, "separator": between, **sizes},
            _PARTS,
            st.sampled_from(["", " ", ", "]),
            _SIZES,
        ),
    )


def admits(strategy: Sequence[Any], arguments: tuple[Any, ...]) -> bool:
    kinds = kinds_of(strategy)
    return len(kinds) == len(arguments) and all(
        kind.admits(each) for kind, each in zip(kinds, arguments, strict=True)
    )


DESCRIPTIONS = st.recursive(_SIMPLE, _wrapped, max_leaves=4)

_PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-1000, 1000),
        st.floats(-100, 100).map(lambda value: round(value, 2)),
        st.text("ab, -1", max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
        st.sets(st.integers(0, 9), max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(accept="fork", workers=1) as made:
        yield made


# ---- descriptions ----------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_a_description_draws_it_admits(data: st.DataObject) -> None:
    strategy = data.draw(st.lists(DESCRIPTIONS, max_size=2))
    drawn = st.tuples(*(kind.drawn() for kind in kinds_of(strategy, "here")))
    assert admits(strategy, data.draw(drawn))


@pytest.mark.parametrize(
    ("of", "separator", "text", "right"),
    [
        (["ab", ""], "", "ab", True),  # "ab" and an empty one
        (["ab", ""], "", "", True),
        (["ab", "c"], "", "ab", False),
        (["ab", "c"], "", "abc", True),
        (["ab", ""], "", "ababab", False),  # three parts at least
        (["ab", ""], " ", "ab", False),
        (["ab", ""], " ", "ab ", True),
        (["ab", ""], " ", "", False),
    ],
)
def test_joined_text_may_hold_empty_parts(
    of: list[str], separator: str, text: str, right: bool
) -> None:
    choice = {"kind": "choice", "of": of}
    joined = {"kind": "joined", "of": choice, "separator": separator, "min_size": 2, "max_size": 2}
    assert admits([joined], (text,)) == right


@pytest.mark.parametrize(
    ("description", "other"),
    [
        ({"kind": "integer", "min": 0, "max": 5}, [6, -1, 1.0, True]),
        ({"kind": "number", "digits": 1}, [1, 0.25, float("nan")]),
        ({"kind": "boolean"}, [1, None]),
        ({"kind": "text", "alphabet": "ab", "min_size": 1}, ["", "c", b"a"]),
        ({"kind": "list", "of": {"kind": "integer"}, "unique": True}, [[1, 1], (1,), [None]]),
        ({"kind": "tuple", "of": [{"kind": "integer"}]}, [(), (1, 2), [1]]),
        ({"kind": "choice", "of": [1, "a"]}, [True, 1.0, "b"]),
        (
            {"kind": "joined", "of": {"kind": "integer"}, "separator": "-", "min_size": 2},
            ["1", "1-", "01-2", "1-x"],
        ),
    ],
)
def test_a_description_refuses_what_it_does_not_draw(
    description: dict[str, Any], other: list[Any]
) -> None:
    assert not any(admits([description], (value,)) for value in other)


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        ("integers", "one description for each argument"),
        ([{"kind": "integr"}], "integr"),
        ([{"kind": "none"}, {"kind": "integer", "min": 3, "max": 1}], "argument 2"),
        ([{"kind": "list"}], "of"),
        ([{"kind": "text", "size": 3}], "size"),
        ([{"kind": "text", "alphabet": ""}], "empty"),
        ([{"kind": "set", "of": {"kind": "boolean"}, "min_size": 3}], "3 different ones of 2"),
        ([{"kind": "set", "of": {"kind": "list", "of": {"kind": "none"}}}], "in a set"),
        ([{"kind": "number", "max": float("inf")}], "finite"),
        ([7], "argument 1"),
    ],
)
def test_a_strategy_that_cannot_be_read_is_refused_with_its_place(strategy: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        kinds_of(strategy, "tasks.jsonl:3")
    assert str(caught.value).startswith("tasks.jsonl:3")


def test_draws_depend_on_the_seed_alone_and_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = kinds_of([{"kind": "list", "of": {"kind": "integer", "min": -9, "max": 10**6}}])
    state = random.getstate()
    first = drawn_by(kinds, 40, seed=1)
    random.seed(5)
    assert drawn_by(kinds, 40, seed=1) == first != drawn_by(kinds, 40, seed=2)
    random.setstate(state)
    assert not list(tmp_path.iterdir())
    numbers = {number for (values,) in first for number in values}
    assert {0, -9, 10**6} <= numbers  # boundaries are met, and so is what lies between
    assert any(1000 < number < 900_000 for number in numbers)


# ---- without a description -------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_PLAIN, _PLAIN), min_size=1, max_size=6))
def test_an_inferred_strategy_admits_what_it_was_read_off(seen: list[tuple[Any, ...]]) -> None:
    strategy = infer(seen)
    assert strategy is not None
    assert all(admits(strategy, each) for each in seen)
    assert all(law(each) for law in holding(seen) for each in seen)


def test_nothing_is_inferred_from_nothing_or_from_what_has_no_kind() -> None:
    assert infer([]) is None
    assert infer([(b"bytes",)]) is None


def test_what_holds_for_all_inputs_is_held_to_be_meant() -> None:
    seen = [([1, 2, 5], 1), ([0, 3, 4, 9], 2), ([2, 6, 7], 0)]
    laws = holding(seen)
    assert all(law(([1, 2, 3], 1)) for law in laws)
    assert not all(law(([3, 1, 2], 1)) for law in laws)  # not sorted
    assert not all(law(([1, 2, 3], 3)) for law in laws)  # no place of the list
    assert holding(seen[:2]) == ()


@settings(max_examples=100, deadline=None)
@given(st.tuples(_PLAIN, _PLAIN), st.integers(0, 99))
def test_varied_arguments_keep_their_types_and_leave_the_others_alone(
    arguments: tuple[Any, ...], seed: int
) -> None:
    before = copy.deepcopy(arguments)
    varied = vary(arguments, random.Random(seed))
    assert repr(arguments) == repr(before)
    assert [type(each) for each in varied] == [type(each) for each in arguments]
    dumps(varied)


def test_varied_arguments_speak_of_each_other() -> None:
    source = random.Random(0)
    found = {dumps(vary(([7, 7, 9, 4], 100), source)) for _ in range(400)}
    assert {dumps(([7, 7, 9, 4], number)) for number in (4, 3, 9)} <= found


# ---- drawing ---------------------------------------------------------------------------------


def test_inputs_are_distinct_keep_the_precondition_and_begin_with_those_of_the_tests(
    box: Sandbox,
) -> None:
    middle = task("middle")
    inputs = draw(middle, 30, 0, box, LIMITS)
    assert len(set(inputs)) == len(inputs) == 30
    assert inputs[0] == dumps((["a"],))
    arguments = [loads(each) for each in inputs]
    assert all(len(words) > 0 for (words,) in arguments)
    assert all(admits(middle.strategy or (), each) for each in arguments[5:])
    assert draw(middle, 30, 0, box, LIMITS) == inputs
    assert draw(middle, 30, 1, box, LIMITS) != inputs


def test_other_tasks_change_no_draws(box: Sandbox) -> None:
    both = draw_many([task("doubled"), task("share")], 12, 0, box, LIMITS)
    assert [each.inputs for each in both] == [
        draw(task(name), 12, 0, box, LIMITS) for name in ("doubled", "share")
    ]
    assert all(call.value is not None for each in both for call in each.calls)


def test_inputs_on_which_the_reference_raises_hangs_or_may_not_be_asked_are_out(
    box: Sandbox,
) -> None:
    picky = CodeTask(
        task_id="picky",
        entry_point="f",
        prompt="",
        reference=("def f(n):\n    while n == 3:\n        pass\n    return 1 // (n - 5)\n"),
        tests="def check(candidate):\n    assert candidate(6) == 1\n",
        strategy=({"kind": "integer", "min": 0, "max": 8},),
        precondition="def precondition(n):\n    return 1 // (n - 2) is not None and n != 7\n",
    )
    limits = LIMITS.model_copy(update={"call_seconds": 0.1})
    assert {loads(each)[0] for each in draw(picky, 50, 0, box, limits)} == {0, 1, 4, 6, 8}


def test_a_task_without_a_strategy_gets_inputs_like_those_of_its_tests(box: Sandbox) -> None:
    inputs = draw(task("doubled").model_copy(update={"strategy": None}), 25, 0, box, LIMITS)
    assert len(inputs) > 15
    assert all(type(n) is int and -5 <= n <= 4 for each in inputs for n in loads(each)[0])


def test_a_task_whose_strategy_cannot_be_read_is_bad_input(box: Sandbox) -> None:
    wrong = task("doubled").model_copy(update={"strategy": ({"kind": "lists"},)})
    with pytest.raises(BadInput, match="lists"):
        draw(wrong, 5, 0, box, LIMITS)


def test_a_slow_reference_has_the_time_of_its_task(box: Sandbox) -> None:
    """Not that of any program, in which it would answer nothing."""
    slow = CodeTask(
        task_id="slow",
        entry_point="f",
        prompt="",
        reference="import time\n\n\ndef f(n):\n    time.sleep(0.3)\n    return n\n",
        tests="def check(candidate):\n    assert candidate(6) == 6\n",
        strategy=({"kind": "integer", "min": 0, "max": 8},),
    )
    short, long = (LIMITS.model_copy(update={"seconds": each}) for each in (0.4, 20.0))
    assert draw_many([slow], 4, 0, box, short)[0].calls == ()
    assert len(draw_many([slow], 4, 0, box, lambda task: long)[0].calls) == 4
