"""Runs programs where they can do no harm.

    with Sandbox() as box:
        results = box.run([Job(key="1", code=code, entry_point="double", tests=tests)])

Every worker owns two locked-up servers and runs one job after the other on them. What goes wrong
with a job, or with the sandbox, is a result and stops nothing.
"""

from __future__ import annotations

import os
import platform
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from planish.errors import BadInput
from planish.tasks.sandbox.contract import ExecResult, Job, Level
from planish.tasks.sandbox.levels import choose
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.tame import tame
from planish.tasks.sandbox.work import KILLED, run_job

__all__ = ["Sandbox"]

Progress = Callable[[int, int], None]

_AHEAD = 4
"""Jobs of a worker that have been read and wait."""

_HELD = 4096
"""Results that a stream keeps while it waits for one that comes before them."""

_MOST = 64_000_000
"""Characters of values in them."""


class _Batch:
    """Jobs that are run together, and what came of them."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[int, ExecResult]] = queue.SimpleQueue()
        self.stopped = False


_Task = tuple[_Batch, int, Job, bool, bool, bool]


def _disturbed(job: Job, result: ExecResult) -> bool:
    """Whether other processes of the machine may be why it failed."""
    if result.status == "timeout":
        # one that has computed for as long as it may was not kept waiting; of one call, who knows
        return job.limits.call_seconds is not None or result.cpu_s < job.limits.seconds
    return result.status == "oom" and KILLED in (
        result.message,
        *(call.message for call in result.per_input),
    )


class Sandbox:
    """A place where programs run.

    Args:
        accept: the weakest level that will do; `fork` isolates nothing.
        level: take this one and no other; it must be accepted too.
        workers: jobs at once; None: one for each core that this process may use.

    Raises:
        BadInput: no such level is to be had; the message tells what to install, and the flag that
            accepts less.
    """

    def __init__(
        self,
        *,
        accept: Level = "unshare",
        level: Level | None = None,
        workers: int | None = None,
    ) -> None:
        self.level: Level = choose(accept, level)
        """How well programs are locked up."""
        self.workers = workers or len(os.sched_getaffinity(0))
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._pairs = [Pair(self.level) for _ in range(self.workers)]
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._running = 0
        self._idle = threading.Condition()
        self._gate = threading.Lock()
        """Who has it may hand out jobs: nobody else does while one runs alone."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self,
        jobs: Iterable[Job],
        *,
        progress: Progress | None = None,
        retry: bool = True,
    ) -> list[ExecResult]:
        """Runs jobs, and returns what came of them in their order.

        Args:
            jobs: to run.
            progress: called with (done, total) after each job, in the calling thread; what is
                run once more comes after (total, total), and is not told of.
            retry: what timed out, or was killed for want of memory on the machine, is run once
                more at the end, alone, so that a busy machine makes no failures. What has used
                processor time of its own up to the limit is not: nobody kept it waiting.
        """
        todo = list(jobs)
        done: dict[int, ExecResult] = {}
        # jobs with the same tests one after the other: their tester has read them already
        places: dict[str, int] = {}
        order = [places.setdefault(job.tests, len(places)) for job in todo]
        ordered = sorted(enumerate(todo), key=lambda one: order[one[0]])
        for index, result in self._flow(iter(ordered), retry):
            done[index] = result
            if progress is not None:
                progress(len(done), len(todo))
        for index, job in enumerate(todo):
            if retry and _disturbed(job, done[index]):
                done[index] = self._alone(job)
        return [done[index] for index in range(len(todo))]

    def stream(self, jobs: Iterable[Job], *, retry: bool = True) -> Iterator[ExecResult]:
        """Runs jobs as they come, and yields what came of them in their order.

        Args:
            jobs: to run; not all of them are in memory at once.
            retry: as in `run`, but when it is the turn of the job.
        """
        waiting: dict[int, Job] = {}
        held: dict[int, ExecResult] = {}
        size = turn = 0

        def numbered() -> Iterator[tuple[int, Job]]:
            for index, job in enumerate(jobs):
                waiting[index] = job
                yield index, job

        def room() -> bool:
            return len(held) < _HELD and size < _MOST

        for index, result in self._flow(numbered(), retry, room):
            held[index] = result
            size += _size(result)
            while turn in held:  # behind one that takes long, others go on
                job, result = waiting.pop(turn), held.pop(turn)
                size -= _size(result)
                turn += 1
                yield self._alone(job) if retry and _disturbed(job, result) else result

    def close(self) -> None:
        """Ends every process of the sandbox; a job that still runs is lost."""
        with self._idle:
            self._closed = True
            for _ in self._threads:
                self._tasks.put(None)
        for pair in self._pairs:
            pair.stop()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _flow(
        self, jobs: Iterator[tuple[int, Job]], retry: bool, room: Callable[[], bool] = lambda: True
    ) -> Iterator[tuple[int, ExecResult]]:
        """Results as they come, of jobs that are read a little ahead of the workers.

        Args:
            jobs: with their numbers.
            retry: whether what comes late will be tried again.
            room: whether more may be begun; what has begun is waited for in any case.
        """
        self._start()
        batch = _Batch()
        plain: dict[tuple[str, str], bool] = {}  # jobs mostly come with the same tests
        flying = 0
        try:
            while True:
                while flying < _AHEAD * self.workers and room():
                    one = next(jobs, None)
                    if one is None:
                        break
                    self._put(self._read(batch, *one, retry, plain))
                    flying += 1
                if not flying:
                    return
                yield batch.results.get()
                flying -= 1
        finally:
            batch.stopped = True

    def _alone(self, job: Job) -> ExecResult:
        """Runs a job once more, while no other job runs."""
        batch = _Batch()
        task = self._read(batch, 0, job, False, {})
        with self._gate:
            with self._idle:
                self._idle.wait_for(lambda: not self._running)
            self._hand(task)
            _, result = batch.results.get()
        return result.model_copy(update={"retried": True})

    def _read(
        self, batch: _Batch, index: int, job: Job, retry: bool, plain: dict[tuple[str, str], bool]
    ) -> _Task:
        # here, and not by the workers: threads that read code disturb one another
        shared = not job.files and tame(job.code)
        tests = (job.tests, job.support)
        if tests not in plain:
            plain[tests] = all(map(tame, tests))
        return batch, index, job, shared, not job.files and plain[tests], retry

    def _put(self, task: _Task) -> None:
        with self._gate:
            self._hand(task)

    def _hand(self, task: _Task) -> None:
        with self._idle:
            if self._closed:
                task[0].results.put((task[1], self._failed(task[2], "the sandbox is closed")))
                return
            self._running += 1
            self._tasks.put(task)

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        with self._gate:
            while len(self._threads) < self.workers:
                pair = self._pairs[len(self._threads)]
                thread = threading.Thread(target=self._serve, args=(pair,), daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    raise BadInput(
                        f"{len(self._threads)} of {self.workers} workers begin, then: {error}",
                        where="sandbox",
                        fix="take fewer, --workers",
                    ) from None
                self._threads.append(thread)

    def _serve(self, pair: Pair) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                batch, index, job, shared, plain, retry = task
                if not batch.stopped:
                    batch.results.put((index, self._result(pair, job, shared, plain, retry)))
                with self._idle:
                    self._running -= 1
                    self._idle.notify_all()
        finally:
            pair.close()

    def _result(self, pair: Pair, job: Job, shared: bool, plain: bool, retry: bool) -> ExecResult:
        try:
            return run_job(pair, job, shared=shared, plain_tests=plain, tried_again=retry)
        except Exception as error:  # a thread that ended would leave its batch waiting for ever
            pair.close()
            return self._failed(job, f"{type(error).__name__}: {error}")

    def _failed(self, job: Job, why: str) -> ExecResult:
        return ExecResult(
            key=job.key,
            status="sandbox_error",
            why=why,
            sandbox_level=self.level,
            python=platform.python_version(),
            seed=job.seed,
        )


def _size(result: ExecResult) -> int:
    return sum(len(one.arguments) + len(one.value or "") for one in result.per_input)
