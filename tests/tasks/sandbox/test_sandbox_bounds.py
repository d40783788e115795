"""What is counted, what starts afresh, and what a program may keep of the host."""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from sandbox_jobs import (
    LOCKED,
    PROJECT,
    RIGHT,
    TESTS,
    with_inputs,
    with_tests,
)

from planish.tasks.sandbox import (
    Job,
    Limits,
    Sandbox,
    SourceFile,
    loads,
    room,
    work,
)


@pytest.fixture(scope="module")
def first() -> Iterator[Sandbox]:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    with Sandbox(workers=1) as made:
        yield made


def test_printed_text_of_all_processes_together_stays_within_the_limit(first: Sandbox) -> None:
    code = "import os\ndef f(x):\n    print('\u00e9' * 500, flush=True)\n    os._exit(0)\n"
    job = with_inputs(code, 1, 2, 3, 4, limits=Limits(seconds=10, output_bytes=101))
    (result,) = first.run([job])
    assert result.stdout_tail == "\u00e9" * 50 + "\n"
    assert len(result.stdout_tail.encode()) <= 101


@pytest.mark.parametrize(
    "fields",
    [
        {"seconds": 0},
        {"seconds": math.inf},
        {"seconds": math.nan},
        {"seconds": 86_401},
        {"call_seconds": -1},
        {"memory_mb": 0},
        {"memory_mb": 1 << 50},
        {"output_bytes": -1},
        {"output_bytes": 65_537},
        {"processes": 0},
    ],
)
def test_limits_that_limit_nothing_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Limits(**fields)  # type: ignore[arg-type]


def test_answers_that_fill_the_hosts_memory_are_not_kept(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.work.MAX_KEPT", 2500)
    code = "def f(x):\n    if x == 3:\n        raise ValueError(x)\n    return 'x' * 1000\n"
    (result,) = first.run([with_inputs(code, *range(5))])
    statuses = [one.status for one in result.per_input]
    assert statuses == ["value", "value", "unknown_type", "exception", "unknown_type"]
    assert "2,500 characters" in result.per_input[2].message
    assert result.score == 0.0


def test_what_reading_an_answer_takes_is_the_candidates_time(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(text: str) -> object:
        time.sleep(0.4)
        return loads(text)

    monkeypatch.setattr("planish.tasks.sandbox.answers.loads", slow)
    job = with_inputs("def f(x):\n    return x\n", *range(8), limits=Limits(seconds=1))
    (result,) = first.run([job], retry=False)
    statuses = [one.status for one in result.per_input]
    assert result.status == "timeout"
    assert statuses[0] == "value"
    assert statuses.count("value") <= 3
    assert statuses[-1] == "not_run"


LENGTH = "def f(x):\n    return len(x)\n"
EMPTIES = "def f(x):\n    n = len(x)\n    x.clear()\n    return n\n"


@pytest.mark.parametrize(
    ("head", "rows", "files"),
    [
        ("from shop import data", "data.ROWS", PROJECT),
        ("import calendar", "calendar.mdays", ()),
        ("import os\nos.mkdir('scratch')", "[1]", ()),
    ],
)
def test_tests_start_afresh_for_every_candidate(
    first: Sandbox, head: str, rows: str, files: tuple[SourceFile, ...]
) -> None:
    size = {"data.ROWS": 3, "calendar.mdays": 13, "[1]": 1}[rows]
    tests = f"{head}\ndef check(candidate):\n    assert candidate({rows}) == {size}\n"
    jobs = [
        Job(key="1", code=code, entry_point="f", tests=tests, files=files, limits=Limits(seconds=9))
        for code in (LENGTH, EMPTIES, LENGTH)
    ]
    assert [one.status for one in first.run(jobs)] == ["pass"] * 3


def test_plain_tests_share_a_process_and_others_end_with_their_job(first: Sandbox) -> None:
    shared = first._pairs[0]._shared
    first.run([with_tests(RIGHT)])
    tester = shared["tester"].child
    first.run([with_tests(RIGHT)])
    assert first._pairs[0]._shared["tester"].child is tester
    first.run([with_tests(RIGHT).model_copy(update={"tests": "import os\n" + TESTS})])
    assert "tester" not in first._pairs[0]._shared


def test_plain_tests_of_other_tasks_share_a_process_and_see_nothing_of_each_other(
    first: Sandbox,
) -> None:
    head = "def check(candidate):\n    global seen\n    seen = 7\n    assert candidate(2) == {}\n"
    other = "def check(candidate):\n    candidate(2)\n    assert seen == 7\n"
    fours = with_tests(RIGHT).model_copy(update={"tests": head.format(4)})
    fives = with_tests(RIGHT).model_copy(update={"tests": head.format(5)})
    nosy = with_tests(RIGHT).model_copy(update={"tests": other})
    (four,) = first.run([fours])
    tester = first._pairs[0]._shared["tester"].child
    (five,) = first.run([fives])
    assert first._pairs[0]._shared["tester"].child is tester
    (named,) = first.run([nosy])
    assert [one.status for one in (four, five, named)] == ["pass", "wrong_value", "harness"]
    assert "NameError" in named.why
    assert "expected" not in five.why
    assert "== 5" in five.why


def test_tests_that_break_in_a_used_process_are_run_in_a_new_one(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    first.run([with_tests(RIGHT)])
    verdicts = []

    def broken(message: dict[str, object], why: str) -> dict[str, object]:
        told = work_verdict(message, why)
        verdicts.append(told["status"])
        return {"status": "harness", "why": "no memory"} if len(verdicts) == 1 else told

    work_verdict = work.verdict_of
    monkeypatch.setattr(work, "verdict_of", broken)
    tester = first._pairs[0]._shared["tester"].child
    (result,) = first.run([with_tests(RIGHT)])
    assert result.status == "pass"
    assert verdicts == ["pass", "pass"]
    assert first._pairs[0]._shared["tester"].child is not tester


@pytest.mark.parametrize(("walls", "user", "counted"), [(0, 1000, 0), (0, 0, 1), (1, 1000, 1)])
def test_without_walls_the_other_processes_of_a_user_are_not_counted(
    monkeypatch: pytest.MonkeyPatch, walls: bool, user: int, counted: bool
) -> None:
    limited: list[int] = []
    monkeypatch.setattr(room.resource, "setrlimit", lambda which, _: limited.append(which))
    monkeypatch.setattr(room.os, "geteuid", lambda: user)
    for name in ("give_up_privileges", "filter_calls", "hide_memory"):
        monkeypatch.setattr(room.kernel, name, lambda: None)
    room.lock(dict(Limits()), walls=bool(walls))
    assert (resource.RLIMIT_NPROC in limited) == bool(counted)
    assert resource.RLIMIT_AS in limited
