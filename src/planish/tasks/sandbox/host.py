"""Runs programs where they can do no harm.

    with Sandbox() as box:
        results = box.run([Job(key="1", code=code, entry_point="double", tests=tests)])

Every worker owns two locked-up servers and runs one job after the other on them. What goes wrong
with a job, or with the sandbox, is a result and stops nothing.
"""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from planish.errors import BadInput
from planish.tasks.sandbox.ahead import planned
from planish.tasks.sandbox.contract import ExecResult, Job, Level
from planish.tasks.sandbox.glance import glance
from planish.tasks.sandbox.levels import choose
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.tame import read, tame
from planish.tasks.sandbox.together import MAX_TOGETHER
from planish.tasks.sandbox.work import KILLED
from planish.tasks.sandbox.worker import Batch, Task, Tests, Worker, failed

__all__ = ["Sandbox"]

Progress = Callable[[int, int], None]

_AHEAD = 72
"""Jobs of a worker that have been read and wait."""

_LATER = 500
"""Jobs that are put off, at most: workers wait while so many are read."""

_UNKNOWN = Tests(False)

_HELD = 4096
"""Results that a stream keeps while it waits for one that comes before them."""

_MOST = 64_000_000
"""Characters of values in them."""


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
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
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
        for index, result in self._flow(iter(ordered), retry, sort=True):
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
        self,
        jobs: Iterator[tuple[int, Job]],
        retry: bool,
        room: Callable[[], bool] = lambda: True,
        sort: bool = False,
    ) -> Iterator[tuple[int, ExecResult]]:
        """Results as they come, of jobs that are read a little ahead of the workers.

        Args:
            jobs: with their numbers.
            retry: whether what comes late will be tried again.
            room: whether more may be begun; what has begun is waited for in any case.
            sort: programs that need a process of their own come last, since each of them ends the
                one that others share.
        """
        self._start()
        batch = Batch()
        known: dict[tuple[str, str], Tests] = {}  # jobs mostly come with the same tests
        later: deque[Task] = deque()
        flying = 0
        try:
            while True:
                while flying < _AHEAD * self.workers and room():
                    one = next(jobs, None)
                    if one is not None:
                        task = self._read(batch, *one, retry, known)
                        if sort and not (task.shared or task.joins) and len(later) < _LATER:
                            later.append(task)
                            continue
                    elif later:
                        task = later.popleft()
                    else:
                        break
                    self._put(task)
                    flying += 1
                if not flying:
                    return
                yield batch.results.get()
                flying -= 1
        finally:
            batch.stopped = True

    def _alone(self, job: Job) -> ExecResult:
        """Runs a job once more, while no other job runs."""
        batch = Batch()
        task = self._read(batch, 0, job, False, {})
        with self._gate:
            with self._idle:
                self._idle.wait_for(lambda: not self._running)
            self._hand(task)
            _, result = batch.results.get()
        return result.model_copy(update={"retried": True})

    def _read(
        self,
        batch: Batch,
        index: int,
        job: Job,
        retry: bool,
        known: dict[tuple[str, str], Tests],
    ) -> Task:
        # here, and not by the workers: threads that read code disturb one another
        if job.files:
            return Task(batch, index, job, None, _UNKNOWN, retry)
        key = (job.tests, job.support)
        tests = known.get(key)
        if tests is None:
            plain = read(job.tests)
            tests = known[key] = (
                Tests(True, planned(job.tests, plain.tree))
                if plain is not None and not plain.prints and tame(job.support)
                else _UNKNOWN
            )
        return Task(batch, index, job, glance(job.code) or read(job.code), tests, retry)

    def _put(self, task: Task) -> None:
        with self._gate:
            self._hand(task)

    def _hand(self, task: Task) -> None:
        with self._idle:
            if self._closed:
                closed = failed(task.job, self.level, "the sandbox is closed")
                task.batch.results.put((task.index, closed))
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
        worker = Worker(pair)
        try:
            task = self._tasks.get()
            while task is not None:
                tasks, following = self._companions(task)
                self._note(worker.run(tasks))
                task = self._next(worker) if following is None else following
        finally:
            worker.finish()
            pair.close()

    def _next(self, worker: Worker) -> Task | None:
        """What a worker is to do; while nothing is there, it comes to an end with what it has."""
        try:
            return self._tasks.get_nowait()
        except queue.Empty:
            self._note(worker.finish())
            return self._tasks.get()

    def _note(self, done: int) -> None:
        if done:
            with self._idle:
                self._running -= done
                self._idle.notify_all()

    def _companions(self, task: Task) -> tuple[list[Task], Task | None]:
        """What is to be run together with a task, itself first; and one that comes after them."""
        tasks, limits = [task], task.job.limits
        most = min(MAX_TOGETHER, 1 + self._tasks.qsize() // self.workers) if task.joins else 1
        while len(tasks) < most:
            try:
                one = self._tasks.get_nowait()
            except queue.Empty:
                break
            if one is None:  # the end, which this worker still has to come to
                self._tasks.put(None)
                break
            its = one.job.limits
            alike = (its.memory_mb, its.processes) == (limits.memory_mb, limits.processes)
            if not one.joins or not alike:
                return tasks, one
            tasks.append(one)
        return tasks, None


def _size(result: ExecResult) -> int:
    return sum(len(one.arguments) + len(one.value or "") for one in result.per_input)
