from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import CodeTask, Observation, RunRecord
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.observing.differences import (
    Difference,
    Relation,
    common_relation,
    first_difference,
    relation,
    relations,
)
from planish.methods.mistakes.observing.lines import suspicion
from planish.methods.mistakes.observing.normalisers import normalised
from planish.methods.mistakes.observing.observe import Known, observe, observe_many
from planish.methods.mistakes.observing.shrinking import Answers
from planish.methods.mistakes.observing.simpler import simpler, size
from planish.methods.mistakes.observing.structure import ast_diff
from planish.tasks.sandbox import ExecResult, Job, Limits, Sandbox
from planish.tasks.sandbox.values import dumps, loads, same
from support.programs import CODES, task, tasks

LIMITS = Limits(seconds=2.0)
DIALS = Diagnosing(inputs=16, failing=4)

_PLAIN = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-50, 50),
        st.floats(-9, 9).map(lambda value: round(value, 2)),
        st.text("aB, 1", max_size=5),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
        st.sets(st.integers(0, 9), max_size=3),
    ),
    max_leaves=6,
)
_NUMBERS = st.lists(st.integers(-99, 99), min_size=3, max_size=8, unique=True)


_RUNS = st.lists(st.sets(st.integers(1, 6)), max_size=5)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(accept="fork", workers=1) as made:
        yield made


def _look(box: Any, name: str, code: str, **dials: int) -> Observation:
    run = RunRecord(task_id=name, model="m", code=code)
    chosen = DIALS.model_copy(update=dials)
    return observe(task(name), run, box, dials=chosen, limits=LIMITS)


# ---- values ----------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(_PLAIN, _PLAIN)
def test_the_first_difference_is_a_place_where_they_differ(one: Any, other: Any) -> None:
    found = first_difference(one, other)
    assert (found is None) == same(one, other)
    if found is not None and not found.missing and not found.extra:
        for step in found.path:
            one, other = one[step], other[step]
        assert same(one, found.expected)
        assert same(other, found.got)
        assert not same(one, other)


def test_a_difference_tells_what_is_missing_and_what_is_too_much() -> None:
    assert first_difference([1, {"a": 2}], [1, {"a": 3}]) == Difference((1, "a"), 2, 3)
    assert first_difference([1, 2], [1]) == Difference((1,), 2, None, missing=True)
    assert first_difference({"a": 1}, {"a": 1, "b": 2}) == Difference(("b",), None, 2, extra=True)
    assert first_difference("abc", "abd") == Difference((2,), "c", "d")
    assert first_difference(1.0, 1.0 + 1e-12, tolerance=1e-9) is None


@settings(max_examples=80, deadline=None)
@given(_PLAIN, _PLAIN)
def test_relations_are_of_values_that_differ(one: Any, other: Any) -> None:
    kinds = {each.kind for each in relations(one, other)}
    assert ("equal" in kinds) == same(one, other)
    assert kinds == {"equal"} or "equal" not in kinds


@settings(max_examples=60, deadline=None)
@given(_NUMBERS, st.integers(1, 2), st.integers(3, 9))
def test_what_was_done_to_a_list_is_recognised(numbers: list[int], few: int, times: int) -> None:
    def found(got: Any) -> set[tuple[str, str, bool]]:
        return {(each.kind, each.name, each.inside) for each in relations(numbers, got)}

    assert ("prefix", str(few), False) in found(numbers[:-few])
    assert ("suffix", str(few), False) in found(numbers[few:])
    assert ("longer_end", "1", False) in found([*numbers, 100])
    assert ("reversed", "", False) in found(numbers[::-1])
    assert ("rotated", "1", False) in found(numbers[1:] + numbers[:1])
    assert ("shifted", "1", False) in found([100, *numbers[:-1]])
    assert ("permutation", "", False) in found([*numbers[2:], *numbers[:2]])
    assert ("extra", "1", False) in found([numbers[0], 100, *numbers[1:]])
    assert ("offset", str(few), True) in found([number + few for number in numbers])
    if 0 not in numbers:
        assert ("ratio", str(times), True) in found([times * number for number in numbers])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5, unique=True), st.integers(3, 99))
def test_pairs_share_the_number_that_lies_between_them(numbers: list[int], by: int) -> None:
    offset = common_relation([(number, number + by) for number in numbers])
    ratio = common_relation([(number, by * number) for number in numbers])
    assert offset == Relation("offset", str(by))
    assert ratio == Relation("ratio", str(by))
    assert common_relation([(each, by * each) for each in numbers] + [(5000, 5001 * by)]) is None


def test_one_pair_tells_only_of_numbers_that_somebody_may_have_meant() -> None:
    assert relation(7, 23) is None
    assert relation(7, 8) == Relation("offset", "1")
    assert relation(60, 1) == Relation("ratio", "1/60")
    assert relation(0.1, 0.1 * 100) == Relation("ratio", "100")
    assert common_relation([(3, 3)]) is None
    assert common_relation([(7, 23), (7, 23)]) is None


@pytest.mark.parametrize(
    ("name", "expected", "got"),
    [
        ("int/float", [1, 2], [1.0, 2.0]),
        ("list/tuple", [(1, 2)], [[1, 2]]),
        ("strip", ["a"], ["a "]),
        ("space", "a b", "a  b"),
        ("case", {"x": "Ada"}, {"x": "ADA"}),
        ("punctuation", "a, b", "a;b"),
        ("padding", "07:05", "7:5"),
        ("str", [12], ["12"]),
        ("join/split", "1 2", [1, 2]),
        ("round", 2.68, 2.675),
        ("round", [1.0, 2.33], [1.0, 7 / 3]),
        ("truncate", 2.66, 8 / 3),
        ("unique", [1, 1, 2], [1, 2]),
    ],
)
def test_a_normaliser_makes_equal_what_is_only_written_otherwise(
    name: str, expected: Any, got: Any
) -> None:
    assert name in list(normalised(expected, got))
    assert name in list(normalised(got, expected))
    assert not list(normalised(expected, expected))


def test_what_differs_in_more_than_its_form_has_no_normaliser() -> None:
    for expected, got in (("Ada", "Bob"), (2.68, 2.7001), ([1, 2], [2, 1]), (1, 2), ("7", "70")):
        assert not list(normalised(expected, got))


# ---- code and lines --------------------------------------------------------------------------


def test_code_is_compared_by_statements_and_by_structure() -> None:
    code = "def f(a):\n    '''Says what.'''\n    b = 1\n    if a:\n        b += a\n    return b\n"
    swapped = "def f(a):\n    if a:\n        b += a\n    b = 1\n    return b\n"
    assert ast_diff(code, code).share == 1.0
    assert not ast_diff(code, code).reordered
    assert ast_diff(code, swapped).reordered
    assert ast_diff(code, swapped).share == 1.0
    other = ast_diff(code, code.replace("b += a", "b -= a"))
    assert not other.reordered
    assert 0.9 < other.share < 1.0
    assert ast_diff(code, "import re\nf = re.compile('x').match\n").share < 0.4
    assert ast_diff(code, "def f(a:\n").share == 0.0
    assert (
        ast_diff("    def f(self):\n        return 1\n", "def f(self):\n    return 1\n").share == 1
    )


@given(
    st.lists(st.sets(st.integers(1, 6)), max_size=5),
    st.lists(st.sets(st.integers(1, 6)), max_size=5),
)
def test_suspicion_is_a_share_and_one_where_only_failing_inputs_go(
    failing: list[set[int]], passing: list[set[int]]
) -> None:
    found = suspicion(failing, passing)
    told = [lines for lines in failing if lines]
    for line, share in found.items():
        assert 0.0 <= share <= 1.0 + 1e-12
        only = all(line in lines for lines in told) and not any(line in one for one in passing)
        assert (share > 1 - 1e-9) == (only and bool(told))
        assert (share == 0.0) == (not any(line in lines for lines in failing))


@settings(max_examples=60, deadline=None)
@given(_PLAIN)
def test_simpler_values_are_smaller_and_of_the_same_type(value: Any) -> None:
    before = copy.deepcopy(value)
    for number, each in enumerate(simpler(value)):
        assert size(each) < size(value)
        assert type(each) is type(value)
        if number > 50:
            break
    assert repr(value) == repr(before)


# ---- running ---------------------------------------------------------------------------------


def test_a_failing_input_is_found_made_small_and_told_apart(box: Sandbox) -> None:
    wrong = (
        "def doubled(numbers):\n    rest = numbers[1:]\n    return [2 * each for each in rest]\n"
    )
    seen = _look(box, "doubled", wrong)
    assert seen.status == "wrong_value"
    assert seen.failing[0].arguments == dumps(([0],))
    assert len(seen.failing) == DIALS.failing
    assert [each.arguments for each in seen.passing] == [dumps(([],))]
    first = seen.failing[0]
    assert (first.expected, first.call.value, first.call.lines) == ("[0]", "[]", (2, 3))
    assert seen.suspicion[2] > 0.9
    assert not seen.why


def test_small_inputs_stay_within_the_precondition_and_fail_in_the_same_way(box: Sandbox) -> None:
    seen = _look(box, "middle", CODES["middle"][1][1])
    (words,) = loads(seen.failing[0].arguments)
    assert sorted(words) == ["a", "b"]  # of two equal words the wrong one is right
    assert all(loads(each.arguments)[0] for each in seen.failing + seen.passing)


def test_an_exception_has_its_line_and_suspicion_finds_the_branch(box: Sandbox) -> None:
    code = (
        "def share(part, whole):\n    if part > whole:\n        return 1 / (part - part)\n"
        "    return part / whole if whole else 0.0\n"
    )
    seen = _look(box, "share", code)
    assert (seen.status, seen.exception, seen.line) == ("exception", "ZeroDivisionError", 3)
    assert seen.failing
    assert {each.call.exception for each in seen.failing} == {"ZeroDivisionError"}
    assert max(seen.suspicion, key=lambda line: seen.suspicion[line]) == 3


def test_lines_in_a_project_are_those_of_the_code(box: Sandbox) -> None:
    code = (
        "def total(self):\n    cost = 0\n    for name in self.names:\n"
        "        cost += PRICES[name + 's']\n    return cost\n"
    )
    seen = _look(box, "tally", code)
    assert (seen.exception, seen.line) == ("KeyError", 4)
    assert set(seen.suspicion) == {2, 3, 4, 5}
    assert seen.failing[0].call.line == 4
    assert loads(seen.failing[0].arguments) in ((["pear"],), (["plum"],))


def test_an_input_on_which_it_hangs_is_a_failing_one(box: Sandbox) -> None:
    code = (
        "def doubled(numbers):\n    while len(numbers) > 1:\n        pass\n"
        "    return [2 * n for n in numbers]\n"
    )
    run = RunRecord(task_id="doubled", code=code)
    seen = observe(
        task("doubled"), run, box, dials=DIALS, limits=LIMITS.model_copy(update={"seconds": 0.8})
    )
    assert seen.status == "timeout"
    assert seen.failing
    assert {each.call.status for each in seen.failing} == {"timeout"}
    assert all(len(loads(each.arguments)[0]) > 1 for each in seen.failing)
    assert seen.passing


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def doubled(numbers:\n    return 1\n", "'(' was never closed"),
        ("def doubling(numbers):\n    return 1\n", "doubled is not there"),
    ],
)
def test_code_that_cannot_be_called_says_why(box: Sandbox, code: str, says: str) -> None:
    seen = _look(box, "doubled", code)
    assert not seen.failing
    assert not seen.passing
    assert says in seen.why


def test_differences_of_type_count_only_where_the_tests_mind(box: Sandbox) -> None:
    floats = "def doubled(numbers):\n    return [2.0 * each for each in numbers]\n"
    assert not _look(box, "doubled", floats).failing  # equal, as == has it
    tuples = "def doubled(numbers):\n    return tuple(2 * each for each in numbers)\n"
    assert _look(box, "doubled", tuples).failing
    tests = "def check(candidate):\n    assert list(candidate([1, 2])) == [2, 4]\n"
    easy = task("doubled").model_copy(update={"tests": tests})
    run = RunRecord(task_id="doubled", code=tuples)
    assert not observe(easy, run, box, dials=DIALS, limits=LIMITS).failing
    tests = "def check(candidate):\n    assert repr(candidate([1, 2])) == '[2, 4]'\n"
    picky = task("doubled").model_copy(update={"tests": tests})
    run = RunRecord(task_id="doubled", code=floats)
    assert observe(picky, run, box, dials=DIALS, limits=LIMITS).failing


def test_tests_that_fail_without_a_failing_input_are_told_of(box: Sandbox) -> None:
    in_place = CodeTask(
        task_id="cleared",
        entry_point="f",
        prompt="",
        reference="def f(values):\n    values.clear()\n",
        tests=(
            "def check(candidate):\n    values = [1]\n    candidate(values)\n"
            "    assert not values\n"
        ),
    )
    run = RunRecord(task_id="cleared", code="def f(values):\n    pass\n")
    seen = observe(in_place, run, box, dials=DIALS, limits=LIMITS)
    assert not seen.failing
    assert "its tests fail (wrong_value)" in seen.why


def test_passing_the_tests_is_not_being_right(box: Sandbox) -> None:
    seen = _look(box, "doubled", "def doubled(numbers):\n    return [n + n for n in numbers][:2]\n")
    assert seen.status == "pass"
    assert loads(seen.failing[0].arguments) == ([0, 0, 0],)
    right = _look(box, "doubled", task("doubled").reference)
    assert not right.failing
    assert "passes its tests" in right.why


class _Counting:
    """A sandbox that keeps what it was asked, and may fail."""

    def __init__(self, box: Sandbox, broken: str = "") -> None:
        self.box = box
        self.broken = broken
        self.keys: list[str] = []

    def run(
        self, jobs: Sequence[Job], *, progress: Callable[[int, int], None] | None = None
    ) -> list[ExecResult]:
        self.keys += [job.key for job in jobs]
        return [
            result.model_copy(update={"status": "sandbox_error", "per_input": (), "why": "gone"})
            if job.key == self.broken
            else result
            for job, result in zip(jobs, self.box.run(jobs, progress=progress), strict=True)
        ]


def test_many_are_observed_as_one_is_and_tasks_are_looked_at_once(box: Sandbox) -> None:
    pairs = [
        (each, RunRecord(task_id=each.task_id, run=number, code=code))
        for each in tasks()
        for number, (_, code) in enumerate(CODES[each.task_id])
    ]
    counting, done = _Counting(box), []
    known = Known(References(LIMITS), Answers(counting, LIMITS))
    together = observe_many(
        pairs,
        counting,
        dials=DIALS,
        limits=LIMITS,
        known=known,
        progress=lambda number, total: done.append((number, total)),
    )
    assert [each.key for each in together] == [run.key for _, run in pairs]
    assert done[-1] == (len(pairs), len(pairs))
    counting.keys.clear()
    alone = [
        observe(*pair, counting, dials=DIALS, limits=LIMITS, known=known) for pair in pairs[::3]
    ]
    assert alone == together[::3]
    assert not {each.task_id for each in tasks()} & set(counting.keys)
    assert not [key for key in counting.keys if key.startswith(("reference", "precondition"))]


def test_a_sandbox_that_fails_says_nothing_about_the_code(box: Sandbox) -> None:
    run = RunRecord(task_id="doubled", code="def doubled(numbers):\n    return []\n")
    seen = observe(task("doubled"), run, _Counting(box, run.key), dials=DIALS, limits=LIMITS)
    assert (seen.status, seen.failing, seen.why) == ("sandbox_error", (), "gone")


def test_a_reference_that_fails_its_own_tests_is_bad_input(box: Sandbox) -> None:
    broken = task("doubled").model_copy(update={"reference": "def doubled(numbers):\n    pass\n"})
    with pytest.raises(BadInput, match="doubled"):
        observe(broken, RunRecord(task_id="doubled", code=""), box, dials=DIALS, limits=LIMITS)
