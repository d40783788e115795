"""What is run together comes to what it comes to by itself, and gains nothing by it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import test_sandbox_escapes as escapes
from sandbox_jobs import LOCKED

from planish.tasks.sandbox import ExecResult, Job, Limits, Sandbox
from planish.tasks.sandbox.ahead import planned
from planish.tasks.sandbox.judging import judge
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.together import Together, joinable
from planish.tasks.sandbox.work import run_job

TESTS = """def check(candidate):
    assert candidate([1, 2]) == 2
    assert candidate([3]) == 1
    assert candidate([]) == 0
"""

PROGRAMS = {
    "right": "def f(x):\n    return len(x)\n",
    "wrong at the first": "def f(x):\n    return 7\n",
    "wrong at the last": "def f(x):\n    return len(x) or 9\n",
    "late behind a wrong one": "def f(x):\n    while len(x) < 2:\n        pass\n    return 7\n",
    "late behind a right one": "def f(x):\n    while len(x) < 2:\n        pass\n    return 2\n",
    "late while it is loaded": "while True:\n    pass\n",
    "bursts behind a wrong one": "def f(x):\n    return 7 if x[1:] else [0] * 10**9\n",
    "bursts behind a right one": "def f(x):\n    return 2 if x[1:] else [0] * 10**9\n",
    "raises behind a wrong one": "def f(x):\n    return 7 if x[1:] else x[9]\n",
    "raises behind a right one": "def f(x):\n    return 2 if x[1:] else x[9]\n",
    "raises while it is loaded": "def f(x):\n    return len(x)\n\n\nf(1)\n",
    "changes its argument": "def f(x):\n    n = len(x)\n    x.append(5)\n    return n\n",
    "keeps its argument": "a = []\n\n\ndef f(x):\n    a.append(x)\n    return len(a[-1])\n",
    "counts its calls": "n = 3\n\n\ndef f(x):\n    global n\n    n -= 1\n    return n\n",
    "counts and is wrong": "n = 0\n\n\ndef f(x):\n    global n\n    n += 1\n    return n\n",
    "another type": "def f(x):\n    return float(len(x))\n",
    "no plain value": "def f(x):\n    return (one for one in x)\n",
    "no plain value later": "def f(x):\n    return 2 if x[1:] else f\n",
    "goes deep": "def f(x):\n    return f(x)\n",
    "goes deep later": "def f(x):\n    return 2 if x[1:] else f(x)\n",
    "says much": "def f(x):\n    return 'a' * 300_000\n",
    "says much later": "def f(x):\n    return 2 if x[1:] else ['b' * 900] * 5_000\n",
    "no such function": "def g(x):\n    return len(x)\n",
    "no function": "f = 2\n",
    "no Python": "def f(x:\n",
    "prints": "def f(x):\n    print('x' * 100)\n    return len(x)\n",
    "prints while it is loaded": "print('a', 1.5)\n\n\ndef f(x):\n    return len(x)\n",
    "prints without an end": "def f(x):\n    print(x, end='', flush=True)\n    return len(x)\n",
    "prints behind a wrong one": "def f(x):\n    print(x)\n    return 7\n",
    "prints and raises": "def f(x):\n    print(x)\n    return 2 if x[1:] else x[9]\n",
    "prints and is no function": "print('a')\nf = 2\n",
    "prints by another spelling": "def f(x):\n    \uff50rint(x)\n    return len(x)\n",
    "prints odd letters": "def f(x):\n    print('\\ud800\u00e9\u20ac' * 9, x)\n    return len(x)\n",
    "prints into nothing": "def f(x):\n    print(x, file=x)\n    return len(x)\n",
    "prints more than is kept": "def f(x):\n    print('\u20ac' * 700)\n    return len(x)\n",
    "prints floods": "def f(x):\n    for _ in range(9999):\n        print('x' * 99)\n",
    "prints deep": "def f(x):\n    print(len(x))\n    return f(x)\n",
    "prints and is warned": "import re\n\n\ndef f(x):\n    re.compile('[[a]')\n    print(1)\n"
    "    return len(x)\n",
    "is warned": "import re\n\n\ndef f(x):\n    re.compile('[[a]')\n    return len(x)\n",
    "formats": "def f(x):\n    return len('{0:>{1}} {a_b!r}'.format(1, len(x), a_b=2)) - 4\n",
    "ends its process": "import os\n\n\ndef f(x):\n    os._exit(0)\n",
    "answers by itself": "import os\n\n\ndef f(x):\n    os.write(3, b'\\0\\0\\0\\2{}')\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    with Sandbox(workers=2) as made:
        yield made


@pytest.fixture
def pair() -> Iterator[Pair]:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    made = Pair(LOCKED[0])
    yield made
    made.close()


def job(key: str, code: str = "", seconds: float = 2.5, tests: str = TESTS, **more: Any) -> Job:
    code = code or PROGRAMS[key]
    limits = Limits(seconds=seconds, **more)
    return Job(key=key, code=code, entry_point="f", tests=tests, limits=limits)


def run_together(pair: Pair, jobs: Any) -> tuple[list[ExecResult | None], int | None]:
    line = Together(pair)
    assert line.begin(jobs) is None
    outcome = line.finish()
    assert outcome is not None
    assert line.finish() is None
    return outcome.results, outcome.late


def told(results: list[ExecResult]) -> list[dict[str, Any]]:
    hidden = {"wall_s", "cpu_s", "max_rss_mb"}
    return [one.model_dump(exclude=hidden) for one in results]


def test_nothing_but_the_time_tells_whether_programs_were_run_together(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [job(key) for key in PROGRAMS]
    jobs += [job("right", "def f(x):\n    return len(x)\n") for _ in range(9)]
    together = box.run(jobs, retry=False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    assert told(together) == told(box.run(jobs, retry=False))
    statuses = {one.key: one.status for one in together}
    assert statuses["right"] == statuses["counts its calls"] == "pass"
    assert statuses["late behind a wrong one"] == statuses["bursts behind a wrong one"]
    assert statuses["late behind a wrong one"] == "wrong_value"


@pytest.mark.parametrize("most", [0, 1, 2, 7, 2_000])
def test_of_what_is_printed_the_same_end_is_kept(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    jobs = [job(key, output_bytes=most) for key in PROGRAMS if key.startswith("prints")]
    assert sum(one.joins for one in _tasks(box, jobs)) == len(jobs)
    together = box.run(jobs, retry=False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    assert told(together) == told(box.run(jobs, retry=False))
    assert any(one.stdout_tail for one in together) == (most > 0)


def test_to_print_takes_as_much_memory_together_as_alone(pair: Pair) -> None:
    code = (
        "def f(x):\n    held = bytearray({0} << 20)\n    try:\n        print('x' * 25_000_000)\n"
        "    except MemoryError:\n        return 9\n    return len(x)\n"
    )
    statuses = []
    for size in range(25, 100, 6):
        one = job(str(size), code.format(size), seconds=20, memory_mb=128)
        (together,), _ = run_together(pair, [(one, planned(TESTS))])
        statuses.append(run_job(pair, one).status)
        assert together is None or together.status == statuses[-1]
    assert set(statuses) == {"pass", "wrong_value"}


def test_what_one_program_prints_is_not_told_of_the_next(pair: Pair) -> None:
    jobs = [(job(key), planned(TESTS)) for key in ("prints", "right", "prints")]
    results, _ = run_together(pair, jobs)
    assert [one and one.stdout_tail for one in results] == [
        f"{'x' * 100}\n" * 3,
        "",
        f"{'x' * 100}\n" * 3,
    ]


DEEPEST = """def g(n):
    try:
        return g(n + 1)
    except RecursionError:
        return n


"""


def test_neither_programs_nor_tests_recurse_deeper_together_than_alone(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = "def check(candidate):\n    assert candidate(1) == 0\n"
    jobs = [
        job("called", DEEPEST + "def f(x):\n    return g(0)\n", tests=one),
        job("loaded", DEEPEST + "y = g(0)\n\n\ndef f(x):\n    return y\n", tests=one),
    ]
    deep = "def g(n):\n    return n and g(n - 1)\n\n\n"
    straight = "def check(candidate):\n    assert candidate(1) == g({0})\n"
    zero = "def f(x):\n    return 0\n"
    jobs.append(
        job(
            "printing",
            DEEPEST.replace("return g", "print(n)\n        return g")
            + "def f(x):\n    return g(0)\n",
            tests=one,
        )
    )
    jobs += [job(str(n), zero, tests=deep + straight.format(n)) for n in range(970, 1000)]
    assert all(one.joins for one in _tasks(box, jobs))
    together = box.run(jobs, retry=False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    assert told(together) == told(box.run(jobs, retry=False))
    assert {one.status for one in together[3:]} == {"pass", "wrong_value"}


def test_recorded_runs_come_to_the_same(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from planish.methods.mistakes.jobs import check_references, test_job
    from planish.methods.mistakes.loading import load_runs, load_tasks

    folders = [folder / "shared/data/mistakes" for folder in Path(__file__).parents]
    data = next((one for one in folders if one.is_dir()), None)
    if data is None:
        pytest.skip("the recorded runs are not here")
    tasks = {task.task_id: task for task in load_tasks(str(data / "humaneval_tasks.jsonl.gz"))}
    runs = load_runs(data / "recorded_runs_a.jsonl.gz", tuple(tasks.values()))[::13]
    references = check_references(tasks.values(), box, Limits())
    jobs = [
        test_job(task, run.code, run.key, references.limits(task))
        for run in runs
        if (task := tasks[run.task_id])
    ]
    together = box.run(jobs)
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    assert told(together) == told(box.run(jobs))
    assert [one.status == "pass" for one in together] == [run.recorded_pass for run in runs]


def test_attacks_come_to_the_same(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [
        Job(key=name, code=one.program, entry_point="f", tests=escapes.TESTS, limits=one.limits)
        for name, one in escapes.ATTACKS.items()
    ]
    tasks = _tasks(box, jobs)
    jobs = [one.job for one in tasks if one.joins]  # the others are not run together at all
    assert 1 <= len(jobs) < len(escapes.ATTACKS)
    together = box.run(jobs, retry=False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    assert told(together) == told(box.run(jobs, retry=False))
    assert "pass" not in {one.status for one in together}


def test_those_beside_one_that_hangs_have_their_results_and_it_is_remembered(pair: Pair) -> None:
    keys = ["right", "wrong at the last", "late behind a right one", "right"]
    started = time.monotonic()
    results, late = run_together(pair, [(job(key, seconds=60), planned(TESTS)) for key in keys])
    assert [one and one.status for one in results] == ["pass", "wrong_value", None, None]
    assert late == 2
    assert time.monotonic() - started < 30
    assert "candidate" not in pair._shared
    again, late = run_together(pair, [(job("right"), planned(TESTS))])
    assert ([one and one.status for one in again], late) == (["pass"], None)


def test_a_host_that_comes_late_gives_no_program_more_time_than_it_may_have(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def f(x):\n    for _ in range({0}):\n        pass\n    return len(x)\n"
    monkeypatch.setattr("planish.tasks.sandbox.together._PROGRAM_SECONDS", 60.0)
    jobs = [job("short", code.format(1)), job("long", code.format(10**7), seconds=0.1)]
    results, late = run_together(pair, [(one, planned(TESTS)) for one in jobs])
    assert ([one and one.status for one in results], late) == (["pass", None], None)


def test_tests_that_want_memory_are_run_again_by_themselves(pair: Pair) -> None:
    tests = "def check(candidate):\n    assert len(candidate(1) * 10**10) == 1\n"
    jobs = [job("text", "def f(x):\n    return 'a'\n", tests=tests)]
    results, _ = run_together(pair, [(one, planned(tests)) for one in jobs])
    assert results == [None]


def test_after_one_that_was_slow_its_tests_are_asked_one_by_one(box: Sandbox) -> None:
    tasks = list(_tasks(box, [job("late behind a right one"), job("right")]))
    assert [one.joins for one in tasks] == [True, True]
    tasks[0].tests.slow = True
    assert [one.joins for one in tasks] == [False, False]


def _tasks(box: Sandbox, jobs: list[Job]) -> Iterator[Any]:
    known: dict[Any, Any] = {}
    for place, one in enumerate(jobs):
        yield box._read(None, place, one, False, known)  # type: ignore[arg-type]


@pytest.mark.parametrize("key", ["ends its process", "answers by itself"])
def test_only_programs_that_are_tame_are_told_of_more_than_one_call(box: Sandbox, key: str) -> None:
    assert [one.joins for one in _tasks(box, [job(key)])] == [False]


@pytest.mark.parametrize(
    "tests",
    [
        "def check(candidate):\n    for _ in range(2):\n        assert candidate([1, 2]) == 2\n",
        "import os\n" + TESTS,
    ],
)
def test_only_straight_and_tame_tests_are_known_beforehand(box: Sandbox, tests: str) -> None:
    assert [one.joins for one in _tasks(box, [job("right", tests=tests)])] == [False]


def test_jobs_that_are_watched_call_by_call_are_run_by_themselves() -> None:
    assert joinable(job("right"))
    assert not joinable(job("right", seconds=0.5))
    assert not joinable(job("right", call_seconds=1.0))
    assert not joinable(job("right").model_copy(update={"trace": True}))


@pytest.mark.parametrize("module", ["a/../b.py", "/b.py", "b.py"])
def test_what_lies_elsewhere_is_run_by_itself_and_its_path_is_looked_at(module: str) -> None:
    assert not joinable(job("right").model_copy(update={"module": module}))


PEEKING = """import gc
import os
import sys
def f(x):
    seen = [repr(one) for one in gc.get_objects() if type(one) is not type(sys)]
    frame = sys._getframe()
    while frame:
        seen.append(repr(frame.f_locals))
        frame = frame.f_back
    for number in range(3, 9):
        try:
            os.set_blocking(number, False)
            seen.append(repr(os.read(number, 65536)))
        except OSError:
            pass
        try:
            os.set_blocking(number, True)
        except OSError:
            pass
    return any(''.join(map(chr, (52, 50, 52, 50))) in one for one in seen)
"""


def test_no_program_that_can_look_sees_a_later_argument(box: Sandbox) -> None:
    tests = "def check(candidate):\n    assert candidate(1) == 0\n    assert candidate(4242) == 1\n"
    (result,) = box.run([job("peeking", PEEKING, seconds=20, tests=tests)])
    assert len(planned(tests)) == 2
    assert result.status == "pass", result


FORGING = """import json
import os
import struct
answers = json.dumps([{"status": "value", "value": "2"}] * 3)
told = {"prepared": True, "answers": answers, "seconds": 0.0, "used": [0.0, 1.0]}
for _ in range(20):
    data = json.dumps(told).encode()
    os.write(3, struct.pack(">I", len(data)) + data)
def f(x):
    return 2
"""


@pytest.mark.parametrize(
    "code",
    [
        FORGING,
        "import os\nos.write(3, b'\\xff' * 999)\ndef f(x):\n    return 2\n",
        "import os\nos.close(3)\ndef f(x):\n    return 2\n",
        "import os\nos.close(4)\ndef f(x):\n    return 2\n",
        "import os\ndef f(x):\n    os.eventfd_write(4, 9)\n    return 2\n",
        "import os\ndef f(x):\n    os._exit(0)\n",
        "def f(x):\n    globals()['__builtins__'].len = None\n    return 2\n",
    ],
)
def test_one_that_was_wrongly_taken_for_tame_does_not_pass_and_stops_nothing(
    pair: Pair, code: str
) -> None:
    jobs = [(one, planned(TESTS)) for one in (job("right"), job("hostile", code))]
    results, _ = run_together(pair, jobs)
    assert results[0] is not None
    assert results[0].status == "pass"  # its answers had been said before the other was loaded
    assert results[1] is None or results[1].status != "pass"
    pair.let_go("candidate")
    again, _ = run_together(pair, jobs[:1])
    assert [one and one.status for one in again] == ["pass"]


PLAN = ['{"tuple":[1]}', '{"tuple":[2]}']
TWO = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(2) == 4\n"
RIGHT = [{"status": "value", "value": "2"}, {"status": "value", "value": "4"}]


@pytest.mark.parametrize(
    ("answers", "status", "astray"),
    [
        (RIGHT, "pass", False),
        ([*RIGHT, {"status": "value", "value": "9"}], "pass", False),
        (RIGHT[::-1], "wrong_value", False),
        ([{"status": "exception", "kinds": ["KeyError"], "exception": "KeyError"}], "exception", 0),
        (RIGHT[:1], "", True),
        ([RIGHT[0], 4], "", True),
        ([], "", True),
        ({}, "", True),
        (None, "", True),
    ],
)
def test_tests_judge_what_was_answered_to_what_they_ask(
    answers: Any, status: str, astray: bool
) -> None:
    trial = {"tests": TWO, "support": "", "seed": 0, "inputs": PLAN, "answers": json.dumps(answers)}
    told = judge(trial)
    assert told["astray"] == astray
    assert astray or told["verdict"]["status"] == status
    assert judge(trial | {"inputs": PLAN[::-1]})["astray"]
    assert judge(trial | {"answers": "[" * 100_000})["astray"]


def test_the_calls_of_one_are_not_taken_for_those_of_another(pair: Pair) -> None:
    other = TESTS.replace("[3]", "[4]")
    results, _ = run_together(
        pair, [(job("right"), planned(other)), (job("right"), planned(TESTS))]
    )
    assert [one and one.status for one in results] == [None, "pass"]


def test_what_the_library_keeps_of_some_tests_is_not_found_by_the_next(pair: Pair) -> None:
    tests = "import re\n\n\ndef check(candidate):\n    assert re.match(candidate(1), 'A', {0})\n"
    code = "def f(x):\n    return 'a'\n"
    jobs = [job(flag, code, tests=tests.format(flag)) for flag in ("2", "2.0")]
    results, _ = run_together(pair, [(one, planned(one.tests)) for one in jobs])
    assert [one and one.status for one in results] == ["pass", "wrong_value"]


def test_programs_that_need_a_process_of_their_own_come_last(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    put = Sandbox._put

    def watched(self: Sandbox, task: Any) -> None:
        order.append(task.job.key)
        put(self, task)

    monkeypatch.setattr(Sandbox, "_put", watched)
    keys = ["prints", "right", "ends its process", "wrong at the last"]
    results = box.run([job(key) for key in keys], retry=False)
    assert [one.key for one in results] == keys
    assert order == ["prints", "right", "wrong at the last", "ends its process"]
