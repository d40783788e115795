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
from itertools import islice
from types import TracebackType
from typing import Self

from planish.tasks.sandbox.contract import ExecResult, Job, Level
from planish.tasks.sandbox.levels import choose
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.tame import tame
from planish.tasks.sandbox.work import KILLED, run_job

__all__ = ["Sandbox"]

Progress = Callable[[int, int], None]

_AT_ONCE = 64
"""Jobs of a worker that a stream runs before it hands them out."""


class _Batch:
    """Jobs that are run together, and what came of them."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[int, ExecResult]] = queue.SimpleQueue()
        self.stopped = False


_Task = tuple[_Batch, int, Job, bool, bool]


def _disturbed(result: ExecResult) -> bool:
    """Whether other processes of the machine may be why it failed."""
    if result.status == "timeout":
        return True
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
        self._one_batch = threading.Lock()
        self._closed = False

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
                more at the end, alone, so that a busy machine makes no failures.
        """
        todo = list(jobs)
        with self._one_batch:
            self._start()
            done: dict[int, ExecResult] = {}
            # jobs with the same tests one after the other: their tester can stay as it is
            places: dict[str, int] = {}
            order = [places.setdefault(job.tests, len(places)) for job in todo]
            ordered = sorted(enumerate(todo), key=lambda one: order[one[0]])
            self._work(ordered, done, len(todo), progress)
            again_alone = [i for i in range(len(todo)) if _disturbed(done[i])] if retry else []
            for index in again_alone:
                again: dict[int, ExecResult] = {}
                self._work([(index, todo[index])], again, 1, None)
                done[index] = again[index].model_copy(update={"retried": True})
        return [done[index] for index in range(len(todo))]

    def stream(self, jobs: Iterable[Job], *, retry: bool = True) -> Iterator[ExecResult]:
        """Runs jobs as they come, and yields what came of them in their order.

        Args:
            jobs: to run; not all of them are in memory at once.
            retry: as in `run`, after every few of them.
        """
        left = iter(jobs)
        while some := list(islice(left, _AT_ONCE * self.workers)):
            yield from self.run(some, retry=retry)

    def close(self) -> None:
        """Ends every process of the sandbox; a job that still runs is lost."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for pair in self._pairs:
            pair.stop()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        while len(self._threads) < self.workers:
            pair = self._pairs[len(self._threads)]
            thread = threading.Thread(target=self._serve, args=(pair,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, pair: Pair) -> None:
        try:
            while (task := self._tasks.get()) is not None:
                batch, index, job, shared, plain = task
                if not batch.stopped:
                    batch.results.put((index, self._result(pair, job, shared, plain)))
        finally:
            pair.close()

    def _result(self, pair: Pair, job: Job, shared: bool, plain: bool) -> ExecResult:
        try:
            return run_job(pair, job, shared=shared, plain_tests=plain)
        except Exception as error:  # a thread that ended would leave its batch waiting for ever
            pair.close()
            return ExecResult(
                key=job.key,
                status="sandbox_error",
                why=f"{type(error).__name__}: {error}",
                sandbox_level=self.level,
                python=platform.python_version(),
                seed=job.seed,
            )

    def _work(
        self,
        jobs: Iterable[tuple[int, Job]],
        done: dict[int, ExecResult],
        total: int,
        progress: Progress | None,
    ) -> None:
        batch = _Batch()
        count = 0
        plain: dict[tuple[str, str], bool] = {}  # jobs mostly come with the same tests
        try:
            for index, job in jobs:
                # here, and not by the workers: threads that read code disturb one another
                shared = not job.files and tame(job.code)
                tests = (job.tests, job.support)
                if tests not in plain:
                    plain[tests] = all(map(tame, tests))
                self._tasks.put((batch, index, job, shared, not job.files and plain[tests]))
                count += 1
            for number in range(count):
                index, result = batch.results.get()
                done[index] = result
                if progress is not None:
                    progress(number + 1, total)
        finally:
            batch.stopped = True
