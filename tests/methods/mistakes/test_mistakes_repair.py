"""The search for repairs: what it finds, in which order, and what stops it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import MARKER, CodeTask, Observation, Repair, Search, Seen
from planish.methods.mistakes.jobs import call_job, entry_of, test_job
from planish.methods.mistakes.repairing.agreeing import Measure
from planish.methods.mistakes.repairing.diffs import size, unified
from planish.methods.mistakes.repairing.ranking import Found, consensus, ranked
from planish.methods.mistakes.repairing.screening import screened
from planish.methods.mistakes.repairing.search import repair
from planish.tasks.sandbox import CallResult, ExecResult, Job, Limits, Sandbox, SourceFile
from planish.tasks.sandbox.values import dumps

LIMITS = Limits(seconds=2.0)
DIALS = Diagnosing(mutants=600, repair_seconds=30)

ADULT = "def adult(age):\n    return age >= 18\n"
TESTS = (
    "def check(candidate):\n    assert candidate(18) is True\n    assert candidate(3) is False\n"
)
AGES = [(age,) for age in (18, 0, 17, 19, 40)]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(accept="fork", workers=1) as made:
        yield made


def task_of(reference: str, entry: str, tests: str = "", **more: Any) -> CodeTask:
    return CodeTask(
        task_id="own/t", entry_point=entry, prompt="", reference=reference, tests=tests, **more
    )


ADULTS = task_of(ADULT, "adult", TESTS)


def looked(
    box: Sandbox, task: CodeTask, code: str, arguments: Sequence[tuple[Any, ...]], **more: Any
) -> Observation:
    """Reference and code on the same inputs."""
    inputs = [dumps(each) for each in arguments]
    jobs = [call_job(task, each, "k", inputs, LIMITS) for each in (task.reference, code)]
    right, wrong = box.run(jobs)
    calls = wrong.per_input or [CallResult(arguments=each, status="not_run") for each in inputs]
    seen = [
        Seen(expected=one.value or "", call=two)
        for one, two in zip(right.per_input, calls, strict=True)
    ]
    same = [each.call.value == each.expected for each in seen]
    return Observation(
        key="k",
        status="wrong_value",
        failing=tuple(each for each, equal in zip(seen, same, strict=True) if not equal),
        passing=tuple(each for each, equal in zip(seen, same, strict=True) if equal),
        **more,
    )


def searched(
    box: Sandbox,
    task: CodeTask,
    code: str,
    arguments: Sequence[tuple[Any, ...]],
    dials: Diagnosing = DIALS,
    **more: Any,
) -> Search:
    observation = looked(box, task, code, arguments)
    return repair(task, code, observation, box, dials=dials, limits=LIMITS, **more)


# ---- what is found ---------------------------------------------------------------------------


def test_the_slip_of_the_pen_is_the_best_repair(box: Sandbox) -> None:
    code = ADULT.replace(">=", ">")
    found = searched(box, ADULTS, code, AGES)
    best = found.repairs[0]
    assert found.complete
    assert found.tried > 20
    assert (best.operator, best.categories, best.role) == ("comparator", ("CE",), "condition")
    assert (best.line, best.before, best.after) == (2, "age > 18", "age >= 18")
    assert (best.agreement, best.inputs, best.passes_tests, best.edits) == (5, 5, True, 1)
    assert "-    return age > 18\n+    return age >= 18" in best.diff


def test_every_repair_is_kept_and_the_search_is_the_same_again(box: Sandbox) -> None:
    code = ADULT.replace(">=", ">")
    one, two = (searched(box, ADULTS, code, AGES) for _ in range(2))
    assert one == two
    assert {"age >= 18", "age > 17"} <= {
        each.after if " " in each.after else f"age > {each.after}" for each in one.repairs
    }


def test_passing_the_tests_is_not_being_right(box: Sandbox) -> None:
    tests = "def check(candidate):\n    assert candidate(18) is True\n"
    found = searched(box, task_of(ADULT, "adult", tests), ADULT.replace(">=", ">"), AGES)
    counts = [each.agreement for each in found.repairs]
    assert all(each.passes_tests for each in found.repairs)
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 5


def test_a_crash_of_code_that_only_tries_the_module_out_is_no_mistake_of_it(box: Sandbox) -> None:
    found = searched(box, ADULTS, ADULT + "\nprint(adult('x'))\n", AGES)
    (only,) = found.repairs
    assert (only.operator, only.categories, only.line) == ("module_level", (), 4)
    assert only.before == "print(adult('x'))"
    assert only.agreement == 5


def test_code_that_only_tries_the_module_out_is_not_in_the_diff(box: Sandbox) -> None:
    code = ADULT.replace(">=", ">") + "\nprint(adult(3))\n"
    found = searched(box, ADULTS, code, AGES)
    assert found.repairs[0].after == "age >= 18"
    assert "print" not in found.repairs[0].diff


def test_the_lines_of_the_observation_bound_the_search(box: Sandbox) -> None:
    code = "def adult(age):\n    if age < 0:\n        return False\n    return age > 18\n"
    observation = looked(box, ADULTS, code, AGES, suspicion={2: 0.4, 4: 0.9})
    found = repair(ADULTS, code, observation, box, dials=DIALS, limits=LIMITS)
    assert found.complete
    assert found.repairs[0].line == 4
    everywhere = searched(box, ADULTS, code, AGES)
    assert found.tried < everywhere.tried


def test_without_failing_inputs_the_tests_decide(box: Sandbox) -> None:
    observation = Observation(key="k", status="wrong_value", why="nothing could be tried")
    code = ADULT.replace(">=", ">")
    dials = Diagnosing(mutants=30)
    found = repair(ADULTS, code, observation, box, dials=dials, limits=LIMITS)
    assert found.repairs
    assert all((each.passes_tests, each.inputs) == (True, 0) for each in found.repairs)


def test_a_task_whose_tests_are_inputs(box: Sandbox) -> None:
    task = task_of(ADULT, "adult", inputs=tuple(dumps(each) for each in AGES))
    found = searched(box, task, ADULT.replace(">=", ">"), AGES[:2])
    assert found.repairs[0].passes_tests
    assert found.repairs[0].after == "age >= 18"
    loose = [each for each in found.repairs if not each.passes_tests]
    assert all(each.agreement == each.inputs for each in loose)


def test_a_difference_of_type_alone_is_looked_for_as_such(box: Sandbox) -> None:
    task = task_of("def half(n):\n    return n // 2\n", "half", inputs=(dumps((4,)), dumps((8,))))
    found = searched(box, task, "def half(n):\n    return n / 2\n", [(4,), (8,)])
    assert {"MOFE", "MFLE"} >= {each.categories[0] for each in found.repairs}
    assert any(each.after == "n // 2" for each in found.repairs)


def test_a_function_within_a_project(box: Sandbox) -> None:
    task = task_of(
        "def adult(age):\n    return age >= LIMIT\n",
        "shop.rules:adult",
        "def check(candidate):\n    assert candidate(18) is True\n",
        files=(
            SourceFile(path="shop/__init__.py", text=""),
            SourceFile(path="shop/limits.py", text="LIMIT = 18\n"),
        ),
        module="shop/rules.py",
        template=f"from shop.limits import LIMIT\n\n\n{MARKER}\n",
    )
    assert entry_of(task) == "adult"
    found = searched(box, task, "def adult(age):\n    return age > LIMIT\n", AGES)
    assert (found.repairs[0].line, found.repairs[0].after) == (2, "age >= LIMIT")


def test_arguments_that_are_given_by_name(box: Sandbox) -> None:
    inputs = [dumps([(), {"age": age}]) for age in (18, 3)]
    code = ADULT.replace(">=", ">")
    (result,) = box.run([call_job(ADULTS, code, "k", inputs, LIMITS)])
    right = [
        Seen(expected=dumps(value), call=call)
        for value, call in zip((True, False), result.per_input, strict=True)
    ]
    observation = Observation(
        key="k", status="wrong_value", failing=tuple(right[:1]), passing=tuple(right[1:])
    )
    found = repair(ADULTS, code, observation, box, dials=DIALS, limits=LIMITS)
    assert found.repairs[0].after == "age >= 18"


# ---- what stops it ---------------------------------------------------------------------------


@pytest.mark.parametrize("mutants", [0, 7])
def test_the_number_of_changes_is_kept(box: Sandbox, mutants: int) -> None:
    dials = Diagnosing(mutants=mutants)
    found = searched(box, ADULTS, ADULT.replace(">=", ">"), AGES, dials)
    assert (found.tried, found.complete) == (mutants, False)
    assert found.cut == f"at {mutants} changes (--mutants)"


HANGS = "def f(n):\n    i = 0\n    while i < n:\n        i += 2\n    return i + 1\n"
HANGING = task_of(HANGS.replace(" + 1\n", "\n"), "f", inputs=(dumps((4,)), dumps((6,))))


class Busy:
    """The same sandbox on a machine that is busy: all takes several times as long."""

    def __init__(self, box: Sandbox, clock: list[float]) -> None:
        self.box, self.clock = box, clock
        self.jobs = 0

    def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
        self.jobs += len(jobs)
        self.clock[0] += 3.0
        done = self.box.run(jobs, progress=progress, retry=False)
        return [
            each.model_copy(update={"wall_s": 9 * each.wall_s, "cpu_s": 1.5 * each.cpu_s})
            for each in done
        ]


def test_a_busy_machine_tries_the_same_changes_and_finds_the_same(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dials = Diagnosing(repair_seconds=2.0)
    idle = searched(box, HANGING, HANGS, [(4,), (6,), (8,)], dials)
    assert idle.tried > 1
    assert (idle.complete, idle.cut) == (False, "after 2 s of reckoned work (--repair-seconds)")
    observation = looked(box, HANGING, HANGS, [(4,), (6,), (8,)])
    clock = [0.0]
    monkeypatch.setattr("planish.methods.mistakes.repairing.effort.monotonic", lambda: clock[0])
    monkeypatch.setattr("planish.methods.mistakes.repairing.effort.NET", 1e6)
    busy = Busy(box, clock)
    assert repair(HANGING, HANGS, observation, busy, dials=dials, limits=LIMITS) == idle
    assert busy.jobs > 1
    assert clock[0] > dials.repair_seconds


def test_a_clock_ends_what_is_out_of_all_proportion(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    observation = looked(box, HANGING, HANGS, [(4,), (6,), (8,)])
    clock = [0.0]
    monkeypatch.setattr("planish.methods.mistakes.repairing.effort.monotonic", lambda: clock[0])
    monkeypatch.setattr("planish.methods.mistakes.repairing.effort.NET", 0.05)
    dials = Diagnosing(repair_seconds=40)
    found = repair(HANGING, HANGS, observation, Busy(box, clock), dials=dials, limits=LIMITS)
    assert found.cut == "by the clock, after 2 s: the machine was very busy"


def test_a_program_that_hangs_or_dies_takes_none_of_its_pack_along(box: Sandbox) -> None:
    bodies = ["return a", "while True: pass", "import os; os._exit(0)", "return -a", "1 / 0"] * 2
    codes = [f"def f(a):\n    {each}\n" for each in bodies]
    task = task_of(codes[0], "f", "def check(candidate):\n    pass\n")
    calls = screened(task, codes, dumps((7,)), box, Limits(seconds=0.3))
    assert [call.value for call in calls] == [dumps(7), None, None, dumps(-7), None] * 2
    assert {calls[1].status, calls[6].status} == {"timeout"}


HOSTILE = """
import builtins


def adult(age):
    if age < 0:
        builtins.bool = lambda value: True
    return bool(age >= 20)
"""


def test_a_hostile_neighbour_in_a_pack_makes_no_repair(box: Sandbox) -> None:
    hostile = HOSTILE.replace("age < 0", "age > 0")
    wrong = HOSTILE.replace(">= 20", ">= 99")
    shared = screened(ADULTS, [wrong, hostile, wrong], dumps((18,)), box, LIMITS)
    assert [call.value for call in shared] == [dumps(False), dumps(True), dumps(True)]
    found = searched(box, ADULTS, HOSTILE, AGES)
    assert "18" in {each.after for each in found.repairs}
    for each in found.repairs:
        code = applied(HOSTILE, each.diff)
        (tested,) = box.run([test_job(ADULTS, code, "k", LIMITS)])
        assert (tested.status == "pass") is each.passes_tests
        failing = looked(box, ADULTS, code, AGES).failing
        assert len(AGES) - len(failing) == each.agreement
        assert each.passes_tests or not failing


def applied(code: str, diff: str) -> str:
    """The code with a unified diff."""
    old, new = code.splitlines(), list[str]()
    at = 0
    for text in diff.splitlines()[2:]:
        if text.startswith("@@"):
            start = int(text.split()[1].split(",")[0][1:]) - 1
            new += old[at:start]
            at = start
        elif text.startswith("+"):
            new.append(text[1:])
        else:
            assert old[at] == text[1:]
            new += [old[at]] if text.startswith(" ") else []
            at += 1
    return "\n".join([*new, *old[at:]]) + "\n"


@pytest.mark.parametrize(
    "code", ["def adult(:\n", "", "adult = 3\n", "\0", "def other():\n    1\n"]
)
def test_code_that_is_no_program_has_no_repairs(box: Sandbox, code: str) -> None:
    observation = Observation(key="k", status="syntax")
    found = repair(ADULTS, code, observation, box, dials=DIALS, limits=LIMITS)
    assert found.repairs == ()


class Broken:
    """A sandbox that runs nothing."""

    def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
        return [
            ExecResult(key=job.key, status="sandbox_error", sandbox_level="fork", python="")
            for job in jobs
        ]


def test_a_sandbox_that_fails_finds_nothing_and_stops_nothing(box: Sandbox) -> None:
    code = ADULT.replace(">=", ">") + "print(1)\n"
    observation = looked(box, ADULTS, code, AGES)
    found = repair(ADULTS, code, observation, Broken(), dials=DIALS, limits=LIMITS)
    assert found.repairs == ()
    assert not found.complete


# ---- which is best ---------------------------------------------------------------------------


def told(**more: Any) -> Repair:
    fields: dict[str, Any] = {
        "operator": "constant",
        "categories": ("MFLE",),
        "role": "arithmetic",
        "line": 1,
        "before": "a",
        "after": "b",
        "diff": "",
        "passes_tests": True,
        "agreement": 9,
        "inputs": 9,
    }
    return Repair(**{**fields, **more})


def test_agreement_counts_before_size_and_tests_before_agreement() -> None:
    large = Found(told(after="b" * 50), wide=2)
    less = Found(told(agreement=8))
    failing = Found(told(passes_tests=False))
    order = ranked([failing, less, large], {})
    assert order == (large.repair, less.repair, failing.repair)


def test_of_equal_repairs_a_slip_of_the_bound_comes_first() -> None:
    changes = [("0 <= n <= 9", after) for after in ("0 <= n != 9", "0 <= n == 9", "0 <= n < 9")]
    found = [
        Found(told(operator="comparator", before=old, after=new, diff=new)) for old, new in changes
    ]
    assert [each.after for each in ranked(found, {})] == [
        "0 <= n < 9",
        "0 <= n != 9",
        "0 <= n == 9",
    ]
    better = Found(told(operator="comparator", before="a < b", after="a > b", agreement=10))
    assert ranked([*found, better], {})[0] == better.repair


def test_the_suspicious_line_and_what_many_speak_for_come_first() -> None:
    near, far = Found(told(line=3)), Found(told(line=4))
    assert ranked([far, near], {3: 1.0})[0] == near.repair
    alone = Found(told(categories=("CE",), line=1))
    several = [Found(told(categories=("IOM",), line=line)) for line in (5, 6, 7)]
    assert ranked([alone, *several], {})[0].categories == ("IOM",)


found_repairs = st.lists(
    st.builds(
        Found,
        st.builds(
            told,
            line=st.integers(1, 5),
            agreement=st.integers(0, 9),
            passes_tests=st.booleans(),
            after=st.text("ab", max_size=5),
            categories=st.sampled_from([(), ("CE",), ("IOM", "CE"), ("MLA",)]),
            diff=st.uuids().map(str),
        ),
        st.integers(0, 2),
    ),
    max_size=7,
)


@given(found_repairs, st.randoms(use_true_random=False))
def test_the_order_of_repairs_does_not_depend_on_how_they_were_found(
    found: list[Found], random: Any
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    order = ranked(found, {2: 0.5})
    assert ranked(shuffled, {2: 0.5}) == order
    assert sorted(each.diff for each in order) == sorted(each.repair.diff for each in found)
    shares = consensus(found)
    assert not shares or abs(sum(shares.values()) - 1) < 1e-9


@given(st.text("abc"), st.text("abc"))
def test_sizes_of_changes(one: str, two: str) -> None:
    assert size(one, two) == size(two, one)
    assert (size(one, two) == 0) == (one == two)
    assert abs(len(one) - len(two)) <= size(one, two) <= max(len(one), len(two))


def test_a_diff_is_empty_where_nothing_changed() -> None:
    assert unified("a\nb\n", "a\nb\n") == ""
    assert "+c" in unified("a\nb\n", "a\nc\n").splitlines()


@pytest.mark.parametrize(
    ("expected", "got", "manner", "right"),
    [
        (1, 1.0, "equal", True),
        (1, 1.0, "typed", False),
        ((1, 2), [1, 2], "loose", True),
        ((1, 2), [1, 2], "equal", False),
        (0.1 + 0.2, 0.3, "typed", True),
        ("1", 1, "loose", False),
        ({1: (2,)}, {1: [2]}, "loose", True),
    ],
)
def test_measures(expected: Any, got: Any, manner: Any, right: bool) -> None:
    assert Measure(manner, 1e-9).agree(dumps(expected), dumps(got)) is right


def test_the_measure_is_that_of_the_observation() -> None:
    def seen(expected: Any, got: Any) -> Seen:
        call = CallResult(arguments=dumps((0,)), status="value", value=dumps(got))
        return Seen(expected=dumps(expected), call=call)

    def of(failing: list[Seen], passing: list[Seen]) -> str:
        told = Observation(key="", status="", failing=tuple(failing), passing=tuple(passing))
        return Measure.of(told, 0.0).manner

    assert of([seen(1, 2)], [seen(1, 1.0)]) == "equal"
    assert of([seen(1, 1.0)], [seen(1, 1)]) == "typed"
    assert of([seen(1, 2)], [seen((1,), [1])]) == "loose"
