"""Runs tasks of the sandbox, one after the other, on a pair of servers.

    worker = Worker(Pair("unshare"))
    worker.run([task])
    worker.finish()                     # by now the task's batch has its result

Tasks that may be run together have their results a step later: their tests run while the next
programs do (`together.py`).
"""

from __future__ import annotations

import platform
import queue
from collections.abc import Sequence
from dataclasses import dataclass

from planish.tasks.sandbox.contract import ExecResult, Job, Level
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.tame import Tame
from planish.tasks.sandbox.together import Outcome, Together, joinable
from planish.tasks.sandbox.work import run_job

__all__ = ["Batch", "Task", "Tests", "Worker", "failed"]


class Batch:
    """Jobs that are run together, and what came of them."""

    def __init__(self) -> None:
        self.results: queue.SimpleQueue[tuple[int, ExecResult]] = queue.SimpleQueue()
        self.stopped = False


@dataclass
class Tests:
    """What is known of tests: whether they are tame, the calls that they are sure to make, and
    whether a program was slow to answer these.
    """

    plain: bool
    ahead: tuple[str, ...] = ()
    slow: bool = False


@dataclass(frozen=True)
class Task:
    """One job of a batch, as a worker gets it.

    Args:
        code: the program, where it is tame.
        retry: what comes late will be tried again.
    """

    batch: Batch
    index: int
    job: Job
    code: Tame | None
    tests: Tests
    retry: bool

    @property
    def joins(self) -> bool:
        """Whether it may be run together with others."""
        tests = self.tests
        return bool(tests.ahead) and bool(self.code) and not tests.slow and joinable(self.job)

    @property
    def shared(self) -> bool:
        """Whether its process may serve others, one after the other."""
        return self.code is not None and not self.code.prints


class Worker:
    """Does one task after the other.

    Args:
        pair: of servers.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._together = Together(pair)
        self._begun: Sequence[Task] = ()

    def run(self, tasks: Sequence[Task]) -> int:
        """Does tasks, all but their tests where they are run together.

        Args:
            tasks: one; or several that may be run together, under the same limits.

        Returns:
            How many have a result by now, of these and of those before.
        """
        if not tasks[0].joins or tasks[0].batch.stopped:
            done = self.finish()
            self._one_by_one(tasks)
            return done + len(tasks)
        before, self._begun = self._begun, tasks
        try:
            outcome = self._together.begin([(one.job, one.tests.ahead) for one in tasks])
        except Exception:  # what it is comes out when they are run by themselves
            self._fail()
            self._one_by_one([*before, *tasks])
            return len(before) + len(tasks)
        self._tell(before, outcome)
        return len(before)

    def finish(self) -> int:
        """Comes to an end with what was begun; returns how many tasks that were."""
        before, self._begun = self._begun, ()
        try:
            outcome = self._together.finish()
        except Exception:
            self._fail()
            outcome = None
        self._tell(before, outcome)
        return len(before)

    def _fail(self) -> None:
        self.pair.close()
        self._together, self._begun = Together(self.pair), ()

    def _tell(self, tasks: Sequence[Task], outcome: Outcome | None) -> None:
        """Tells results; tasks that have come to none are run by themselves."""
        if outcome is None:
            self._one_by_one(tasks)
            return
        if outcome.late is not None:
            tasks[outcome.late].tests.slow = True
        left = []
        for one, result in zip(tasks, outcome.results, strict=True):
            if result is None:
                left.append(one)
            else:
                one.batch.results.put((one.index, result))
        self._one_by_one(left)

    def _one_by_one(self, tasks: Sequence[Task]) -> None:
        for one in tasks:
            if not one.batch.stopped:
                one.batch.results.put((one.index, self._result(one)))

    def _result(self, task: Task) -> ExecResult:
        try:
            return run_job(
                self.pair,
                task.job,
                shared=task.shared,
                plain_tests=task.tests.plain,
                tried_again=task.retry,
            )
        except Exception as error:  # a thread that ended would leave its batch waiting for ever
            self.pair.close()
            return failed(task.job, self.pair.level, f"{type(error).__name__}: {error}")


def failed(job: Job, level: Level, why: str) -> ExecResult:
    """The result of a job that the sandbox could not run."""
    return ExecResult(
        key=job.key,
        status="sandbox_error",
        why=why,
        sandbox_level=level,
        python=platform.python_version(),
        seed=job.seed,
    )
