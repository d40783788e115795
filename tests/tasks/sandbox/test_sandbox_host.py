from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from sandbox_jobs import (
    ENDLESS,
    LOCKED,
    RIGHT,
    SHORT,
    TESTS,
    below,
    with_inputs,
    with_tests,
)

from planish.errors import BadInput
from planish.tasks.sandbox import (
    ExecResult,
    Job,
    Limits,
    Sandbox,
    SourceFile,
    dumps,
    limits_for,
)
from planish.tasks.sandbox.child import SandboxError
from planish.tasks.sandbox.host import _AHEAD, _disturbed
from planish.tasks.sandbox.levels import why_not
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.process import Server
from planish.tasks.sandbox.work import _Trial, run_job


@pytest.fixture(scope="module", params=LOCKED)
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(level=request.param, workers=2) as made:
        yield made


@pytest.fixture(scope="module")
def first() -> Iterator[Sandbox]:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    with Sandbox(workers=1) as made:
        yield made


def test_every_status_comes_with_its_level(box: Sandbox) -> None:
    programs = {
        "pass": RIGHT,
        "wrong_value": "def f(x):\n    return x\n",
        "exception": "def f(x):\n    return x / 0\n",
        "syntax": "def f(x:\n",
        "no_entry": "def g(x):\n    return x\n",
        "timeout": ENDLESS,
        "oom": "def f(x):\n    return [0] * 10**9\n",
    }
    jobs = [
        Job(
            key=status,
            code=code,
            entry_point="f",
            tests=TESTS,
            limits=SHORT if status == "timeout" else Limits(seconds=10),
        )
        for status, code in programs.items()
    ]
    results = box.run(jobs, retry=False)
    assert [one.key for one in results] == list(programs)
    assert [one.status for one in results] == list(programs)
    assert {one.sandbox_level for one in results} == {box.level}
    assert {one.python for one in results} == {sys.version.split()[0]}
    assert results[2].line == 2
    assert results[2].exception == "ZeroDivisionError"
    assert all(one.wall_s > 0 and one.cpu_s > 0 and one.max_rss_mb > 1 for one in results)


def test_tests_that_fail_by_themselves_say_nothing_about_the_candidate(first: Sandbox) -> None:
    broken = Job(key="1", code=RIGHT, entry_point="f", tests="def check(candidate:\n")
    gone = Job(key="2", code=RIGHT, entry_point="f", tests="import os\nos._exit(0)\n")
    for result in first.run([broken, gone]):
        assert result.status == "harness"
        assert result.score is None
        assert result.why


def test_inputs_go_on_in_a_new_process_after_one_that_hangs(first: Sandbox) -> None:
    code = "def f(x):\n    while x in (1, 3):\n        pass\n    return [x]\n"
    job = with_inputs(code, *range(5), limits=Limits(seconds=10, call_seconds=0.3))
    (result,) = first.run([job], retry=False)
    statuses = [one.status for one in result.per_input]
    assert statuses == ["value", "timeout", "value", "timeout", "value"]
    assert result.status == "timeout"
    assert [one.value for one in result.per_input][::2] == ["[0]", "[2]", "[4]"]


def test_a_program_that_never_lives_is_given_up(first: Sandbox) -> None:
    job = with_inputs("import os\n\n\ndef f(x):\n    os._exit(0)\n", *range(7))
    (result,) = first.run([job])
    statuses = [one.status for one in result.per_input]
    assert statuses == ["exception"] * 4 + ["not_run"] * 3
    assert result.exception == "ProcessEnded"


def test_what_is_no_plain_data_is_told_as_such(first: Sandbox) -> None:
    (result,) = first.run([with_inputs("def f(x):\n    return object()\n", 1)])
    assert result.per_input[0].status == "unknown_type"
    assert result.status == "wrong_value"


@pytest.mark.parametrize(
    "frame",
    [
        b'{"verdict": {"status": "pass"}}',
        b'{"status": "value", "value": "4", "verdict": {"status": "pass"}}',
        b"[" * 100_000,
        b"{}",
        b"\xff\xfe",
    ],
)
def test_what_a_candidate_writes_where_messages_go_never_passes(
    first: Sandbox, frame: bytes
) -> None:
    code = (
        "import os, struct\n"
        f"frame = {frame!r}\n"
        "for number in range(3, 64):\n"
        "    try:\n"
        "        os.write(number, struct.pack('>I', len(frame)) + frame)\n"
        "    except OSError:\n"
        "        pass\n"
        "def f(x):\n    return 5\n"
    )
    (result, after) = first.run([with_tests(code), with_tests(RIGHT)])
    assert result.status in ("exception", "wrong_value")
    assert after.status == "pass"


def test_a_message_without_end_is_refused(first: Sandbox) -> None:
    code = "import os\nos.write(3, b'\\xff' * 1000)\ndef f(x):\n    return 4\n"
    (result,) = first.run([with_tests(code)])
    assert result.status == "exception"


@pytest.mark.parametrize(
    "told",
    [
        '"status": "value", "value": "5", "used": "%s"',
        '"status": "exception", "exception": "E", "kinds": [], "message": "%s"',
    ],
)
def test_no_message_of_a_candidate_is_too_long_for_its_verdict(first: Sandbox, told: str) -> None:
    head, tail = ("{" + told + "}").split("%s")
    code = (
        "import os, struct\n"
        "def f(x):\n"
        f"    data = ({head!r} + '\\u00e9' * 8_000_000 + {tail!r}).encode()\n"
        "    data = struct.pack('>I', len(data)) + data\n"
        "    while data:\n"
        "        data = data[os.write(3, data):]\n"
        "    return 5\n"
    )
    (result,) = first.run([with_tests(code)])
    assert result.status in ("wrong_value", "exception")
    assert result.score == 0.0


def test_nothing_of_a_program_outlives_it(box: Sandbox) -> None:
    box.run([with_tests(RIGHT), with_tests(RIGHT)])
    before = below(os.getpid())
    code = (
        "import os, signal, time\n"
        "def f(x):\n"
        "    for number in range(1, 32):\n"
        "        if number not in (signal.SIGKILL, signal.SIGSTOP):\n"
        "            signal.signal(number, signal.SIG_IGN)\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            time.sleep(60)\n"
        "    return 2 * x\n"
    )
    (result,) = box.run([with_tests(code)])
    assert result.status == "pass"
    assert below(os.getpid()) <= before


def test_an_end_takes_little_longer_than_the_limit(box: Sandbox) -> None:
    box.run([with_tests(RIGHT), with_tests(RIGHT)])
    code = "import os\ndef f(x):\n    os.fork()\n    while True:\n        pass\n"
    started = time.monotonic()
    (result,) = box.run([with_tests(code, limits=SHORT)], retry=False)
    assert result.status == "timeout"
    assert time.monotonic() - started < SHORT.seconds + 3


def test_what_timed_out_is_run_once_more_alone(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[str] = []
    alone: list[bool] = []

    def watched(pair: Pair, job: Job, **given: bool) -> object:
        running.append(job.key)
        try:
            return run_job(pair, job, **given)
        finally:
            running.remove(job.key)
            alone.append(not running)

    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.run_job", watched)
    waiting = "import time\ndef f(x):\n    time.sleep(9)\n"
    jobs = [with_tests(waiting, limits=SHORT), with_tests(RIGHT)]
    late, fine = first.run(jobs)
    assert (late.status, late.retried) == ("timeout", True)
    assert (fine.status, fine.retried) == ("pass", False)
    assert len(alone) == 3
    assert alone[2]
    assert not first.run(jobs[:1], retry=False)[0].retried


@pytest.mark.skipif(bool(why_not("fork")), reason="the level fork is not to be had here")
def test_what_the_machine_killed_is_run_once_more_alone() -> None:
    killed = "import os\ndef f(x):\n    os.kill(os.getpid(), 9)\n"
    bursting = "def f(x):\n    return [0] * 10**9\n"
    with Sandbox(accept="fork", level="fork", workers=1) as box:  # behind walls it cannot do that
        jobs = [with_tests(killed), with_inputs(killed, 1), with_tests(bursting), with_tests(RIGHT)]
        results = box.run(jobs)
    assert [one.status for one in results] == ["oom", "oom", "oom", "pass"]
    assert [one.retried for one in results] == [True, True, False, False]


def test_a_fault_of_our_own_is_a_result_and_nobody_waits(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise SystemError("depth mismatch")

    with monkeypatch.context() as patch:
        patch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
        patch.setattr("planish.tasks.sandbox.worker.run_job", broken)
        results = first.run([with_tests(RIGHT)] * 5)
    assert {result.status for result in results} == {"sandbox_error"}
    assert "depth mismatch" in results[0].why
    assert [result.status for result in first.run([with_tests(RIGHT)])] == ["pass"]


def test_a_dead_server_is_started_again(first: Sandbox) -> None:
    first.run([with_tests(RIGHT)])
    for one in first._pairs[0]._servers.values():
        one._process.kill()
        one._process.wait()
    (result,) = first.run([with_tests(RIGHT)])
    assert result.status == "pass"


def test_a_server_that_never_starts_is_a_result(
    first: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SandboxError("no more processes")

    pair = Pair(first.level)
    monkeypatch.setattr(Server, "__init__", refuse)
    result = run_job(pair, with_tests(RIGHT))
    assert result.status == "sandbox_error"
    assert "no more processes" in result.why
    assert result.score is None


def test_project_files_are_there_and_cannot_be_changed(box: Sandbox) -> None:
    code = (
        "import os\nfrom shop import prices\nfrom shop.deep import more\n\n\n"
        "def f(x):\n"
        "    root = os.path.dirname(os.path.dirname(os.path.abspath(prices.__file__)))\n"
        "    tried = []\n"
        "    for act in (\n"
        "        lambda: open(prices.__file__, 'w'),\n"
        "        lambda: os.remove(prices.__file__),\n"
        "        lambda: os.rename(prices.__file__, root + '/other.py'),\n"
        "        lambda: open(root + '/new.py', 'x'),\n"
        "        lambda: os.chmod(prices.__file__, 0o777),\n"
        "        lambda: open('here.txt', 'w').write('x' * 100_000),\n"
        "    ):\n"
        "        try:\n"
        "            act()\n"
        "        except OSError:\n"
        "            tried.append(True)\n"
        "        else:\n"
        "            tried.append(False)\n"
        "    return [prices.PRICE + more.MORE, tried, __name__]\n"
    )
    files = (
        SourceFile(path="shop/prices.py", text="PRICE = 3\n"),
        SourceFile(path="shop/__init__.py", text=""),
        SourceFile(path="shop/deep/more.py", text="MORE = 4\n"),
    )
    job = with_inputs(code, 1, files=files, module="shop/cart.py")
    (result,) = box.run([job])
    assert result.per_input[0].value == '[7,[true,true,true,true,true,true],"shop.cart"]'


@pytest.mark.parametrize("path", ["../out.py", "/etc/passwd", "a\0b.py", "", "a/../../b.py"])
def test_a_path_out_of_the_project_is_refused(first: Sandbox, path: str) -> None:
    (result,) = first.run([with_tests(RIGHT, files=(SourceFile(path=path, text=""),))])
    assert result.status == "harness"
    assert "no path" in result.why


def test_printed_text_is_kept_to_its_end_only(first: Sandbox) -> None:
    code = (
        "def f(x):\n    for number in range(20_000):\n        print(number, 'y' * 50)\n"
        "    return 2 * x\n"
    )
    limits = Limits(seconds=20, output_bytes=100)
    (result,) = first.run([with_tests(code, limits=limits)])
    assert result.status == "pass"
    assert result.stdout_tail.endswith("19999 " + "y" * 50 + "\n")
    assert len(result.stdout_tail) == 100
    (silent,) = first.run([with_tests(code, limits=limits.model_copy(update={"output_bytes": 0}))])
    assert silent.stdout_tail == ""


def test_a_stream_keeps_the_order_and_progress_counts(first: Sandbox) -> None:
    jobs = [
        Job(key=str(number), code=RIGHT, entry_point="f", inputs=(dumps((number,)),))
        for number in range(70)
    ]
    results = list(first.stream(iter(jobs)))
    assert [one.per_input[0].value for one in results] == [str(2 * n) for n in range(70)]
    seen: list[tuple[int, int]] = []
    first.run(jobs[:3], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert first.run([]) == []


def test_what_computed_up_to_its_limit_is_not_run_again(box: Sandbox) -> None:
    for code in (ENDLESS, "import os\n" + ENDLESS):
        for job in (with_tests(code, limits=SHORT), with_inputs(code, 1, limits=SHORT)):
            (result,) = box.run([job])
            assert result.status == "timeout"
            if not result.retried:  # on a machine that is busy enough it was kept waiting
                assert result.cpu_s >= SHORT.seconds


@pytest.mark.parametrize(
    ("spent", "asked", "waited"),
    [
        ([0.9, 1.1], 2, [0.1]),  # a little more, and it has had its time
        ([0.6, 0.9, 1.0], 3, [0.4, 0.1]),
        ([0.6, 0.62], 2, [0.4]),  # it hardly computes: it waits, or is kept waiting
        ([0.4], 1, []),  # it was kept waiting for long
        ([1.0], 1, []),
    ],
)
def test_one_that_is_late_goes_on_until_it_has_had_its_own_time(
    spent: list[float], asked: int, waited: list[float]
) -> None:
    class Clock:
        def __init__(self) -> None:
            self.told = 0
            self.waits: list[float] = []

        def spent(self) -> float:
            self.told += 1
            return spent[self.told - 1]

        def ends_within(self, seconds: float) -> bool:
            self.waits.append(seconds)
            return False

    clock = Clock()
    job = with_tests(ENDLESS, limits=Limits(seconds=1))
    _Trial(Pair("fork"), job, False, False, False)._outlast(clock)  # type: ignore[arg-type]
    assert clock.told == 0  # nobody will try it again: there is nothing to show
    _Trial(Pair("fork"), job, False, False, True)._outlast(clock)  # type: ignore[arg-type]
    assert clock.told == asked
    assert clock.waits == pytest.approx(waited, abs=0.01)


@pytest.mark.parametrize(
    ("cpu", "call_seconds", "again"), [(0.9, None, True), (1.0, None, False), (1.0, 0.5, True)]
)
def test_only_who_may_have_been_kept_waiting_gets_another_chance(
    cpu: float, call_seconds: float | None, again: bool
) -> None:
    job = with_tests(RIGHT, limits=Limits(seconds=1, call_seconds=call_seconds))
    late = ExecResult(key="1", status="timeout", cpu_s=cpu, sandbox_level="fork", python="3")
    assert _disturbed(job, late) is again
    assert not _disturbed(job, late.model_copy(update={"status": "pass"}))


def test_a_stream_goes_on_behind_one_that_takes_long(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = threading.Event()

    def quick(pair: Pair, job: Job, **_: bool) -> ExecResult:
        if job.key == "0":
            assert many.wait(20)
        if job.key == "500":
            many.set()
        return ExecResult(key=job.key, status="pass", sandbox_level=pair.level, python="3")

    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.run_job", quick)
    jobs = (Job(key=str(one), code=RIGHT, entry_point="f", tests=TESTS) for one in range(600))
    assert [one.key for one in box.stream(jobs)] == [str(one) for one in range(600)]
    assert many.is_set()


def test_a_stream_keeps_no_more_than_its_share_behind_one_that_takes_long(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    idle = threading.Event()

    def quick(pair: Pair, job: Job, **_: bool) -> ExecResult:
        if job.key == "0":
            idle.wait(0.5)
        return ExecResult(key=job.key, status="pass", sandbox_level=pair.level, python="3")

    def jobs() -> Iterator[Job]:
        for one in range(200):
            read.append(one)
            yield Job(key=str(one), code=RIGHT, entry_point="f", tests=TESTS)

    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.run_job", quick)
    monkeypatch.setattr("planish.tasks.sandbox.host._HELD", 10)
    results = box.stream(jobs())
    assert next(results).key == "0"
    assert len(read) <= 10 + _AHEAD * box.workers
    assert len(list(results)) == 199


def test_jobs_may_be_run_while_a_stream_is_read_and_what_was_late_is_alone(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[str] = []
    beside: dict[str, list[list[str]]] = {}

    def watched(pair: Pair, job: Job, **_: bool) -> ExecResult:
        running.append(job.key)
        time.sleep(0.01)
        beside.setdefault(job.key, []).append(list(running))
        running.remove(job.key)
        status = "timeout" if job.key in ("3", "4") else "pass"
        return ExecResult(key=job.key, status=status, sandbox_level=pair.level, python="3")

    monkeypatch.setattr("planish.tasks.sandbox.worker.joinable", lambda _: False)
    monkeypatch.setattr("planish.tasks.sandbox.worker.run_job", watched)
    jobs = [Job(key=str(one), code=RIGHT, entry_point="f", tests=TESTS) for one in range(30)]
    for result in box.stream(iter(jobs)):
        assert result.retried == (result.key in ("3", "4"))
        (other,) = box.run([jobs[0].model_copy(update={"key": "other"})])
        assert other.status == "pass"
    assert beside["3"][1:] == [["3"]]
    assert beside["4"][1:] == [["4"]]


def test_a_sandbox_that_is_closed_while_a_stream_is_read_leaves_nobody_waiting() -> None:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    jobs = [
        Job(key=str(one), code=RIGHT, entry_point="f", tests=TESTS) for one in range(4 * _AHEAD)
    ]
    with Sandbox(workers=1) as made:
        results = made.stream(iter(jobs))
        first = next(results)
        made.close()
        rest = list(results)
    assert first.status == "pass"
    assert len(rest) == 4 * _AHEAD - 1
    assert rest[-1].status == "sandbox_error"
    assert "closed" in rest[-1].why


def test_workers_that_cannot_begin_are_told_and_those_that_did_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin, begun = threading.Thread.start, []

    def few(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    monkeypatch.setattr("planish.tasks.sandbox.host.choose", lambda *_: "fork")
    job = Job(key="1", code=RIGHT, entry_point="f", tests=TESTS)
    told = "2 of 5 workers begin, then: can't start new thread; take fewer, --workers"
    with Sandbox(workers=5) as made, pytest.raises(BadInput, match=told):
        made.run([job])
    assert not any(thread.is_alive() for thread in begun)


def test_a_slow_reference_raises_the_limit_and_a_fast_one_does_not() -> None:
    assert limits_for(0.1, Limits(seconds=4)).seconds == 4
    assert limits_for(3, Limits(seconds=4)).seconds == 12
    assert limits_for(1e9, Limits(seconds=4)).seconds == 86_400
