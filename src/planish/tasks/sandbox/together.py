"""Runs several jobs whose calls are known beforehand, with one word to each process.

    line = Together(Pair("unshare"))
    line.begin([(job, planned(job.tests))])                 # None: nothing was begun before
    (result,) = line.finish().results

Programs that are tame share a process, and tests that are a straight line make the same calls
whatever comes back (`ahead.py`). So the candidates' process is given several programs, each with
all of its calls, and the process of the tests is given the answers. A program has said its answers
and is swept away before the code of the next one is loaded (`trying.py`). While some programs run,
the tests of those before them are run.

Only what goes well is a result here: every call answered in little time, and a verdict on it. What
hangs, bursts, does not load or is asked something else is run again by itself, from the start and
in the usual way, so that it comes to what it always came to.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planish.tasks.sandbox.answers import clean, last, verdict_of
from planish.tasks.sandbox.child import Child, Gone, Late
from planish.tasks.sandbox.contract import ExecResult, Job
from planish.tasks.sandbox.pair import Pair
from planish.tasks.sandbox.speech import used, whole

__all__ = ["MAX_TOGETHER", "Outcome", "Together", "joinable"]

MAX_TOGETHER = 24

_PROGRAM_SECONDS = 0.5
"""A process that has said nothing for so long is not waited for. It is long for a machine that is
busy, and short beside the seconds that a program which hangs may take.
"""

_TESTS_SECONDS = 5.0

_SHORT = 2.0
"""Seconds below which a limit could be reached before anybody looks."""

_MODULE = Job.model_fields["module"].default

_SURE = ("pass", "wrong_value", "exception")


def joinable(job: Job) -> bool:
    """Whether a job that is tame may be run here: nothing of it is to be watched call by call, and
    its code lies where it mostly does.
    """
    limits = job.limits
    usual = job.module == _MODULE and not job.trace
    return limits.call_seconds is None and limits.seconds >= _SHORT and usual


_Jobs = Sequence[tuple[Job, tuple[str, ...]]]
"""Each with the calls that its tests are sure to make."""


@dataclass(frozen=True)
class Outcome:
    """What came of several jobs.

    Args:
        results: one for each job; None where it has to be run by itself.
        late: the place of the one that was not waited for.
    """

    results: list[ExecResult | None]
    late: int | None


class Together:
    """Runs several jobs, and then several others.

    Args:
        pair: of servers.
    """

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._tried: tuple[_Jobs, list[dict[str, Any]]] | None = None

    def begin(self, jobs: _Jobs) -> Outcome | None:
        """Runs programs, and meanwhile the tests of those that were begun before.

        Args:
            jobs: with the same limits of memory and processes; programs and tests are tame.

        Returns:
            What came of those before.

        Raises:
            SandboxError: the sandbox has failed.
        """
        child = _give(self.pair, jobs)
        before = self.finish()
        self._tried = (jobs, _hear(self.pair, child, jobs))
        return before

    def finish(self) -> Outcome | None:
        """Runs the tests of what was begun; returns what came of it.

        Raises:
            SandboxError: the sandbox has failed.
        """
        if self._tried is None:
            return None
        (jobs, said), self._tried = self._tried, None
        ready = [
            place
            for place, one in enumerate(said)
            if one.get("prepared") is True and type(one.get("answers")) is str
        ]
        results: list[ExecResult | None] = [None] * len(jobs)
        late = len(said) if len(said) < len(jobs) else None
        if not ready:
            return Outcome(results, late)
        started = time.monotonic()
        verdicts = _judge(self.pair, [(*jobs[place], said[place]["answers"]) for place in ready])
        share = (time.monotonic() - started) / len(ready)
        for place, verdict in zip(ready, verdicts, strict=False):
            results[place] = _result(self.pair, jobs[place][0], said[place], verdict, share)
        return Outcome(results, late)


def _give(pair: Pair, jobs: _Jobs) -> Child:
    """The candidates' process, which has been given the programs."""
    first = jobs[0][0]
    programs = [
        {
            "code": job.code,
            "entry_point": job.entry_point,
            "module": job.module,
            "seed": job.seed,
            "inputs": ahead,
        }
        for job, ahead in jobs
    ]
    message = {"files": [], "limits": dict(first.limits), "several": programs}
    return pair.candidate(first, message, tame=True, rounds=len(jobs))[0]


def _hear(pair: Pair, child: Child, jobs: _Jobs) -> list[dict[str, Any]]:
    """What it says of each program, until it says no more."""
    said: list[dict[str, Any]] = []
    try:
        while len(said) < len(jobs):
            before = len(said)
            child.rest(_PROGRAM_SECONDS)
            _listen(child, said, len(jobs))
            if len(said) == before:
                break
    except Gone:
        pass
    largest = max((_used(one)[1] for one in said), default=0.0)
    if len(said) < len(jobs) or pair.large(jobs[0][0], largest):
        pair.forget(child)
        child.end()
    return said


def _listen(child: Child, said: list[dict[str, Any]], most: int) -> None:
    try:
        while len(said) < most:
            said.append(child.receive(time.monotonic()))
    except Late:
        pass


def _judge(pair: Pair, answered: Sequence[tuple[Job, tuple[str, ...], str]]) -> list[Any]:
    """What the tests' process says of each program."""
    first = answered[0][0]
    trials = [
        {
            "tests": job.tests,
            "support": job.support,
            "seed": job.seed,
            "inputs": ahead,
            "answers": answers,
        }
        for job, ahead, answers in answered
    ]
    message: dict[str, Any] = {}
    try:
        tester = pair.judge(first, {"several": trials})
        message = tester.receive(time.monotonic() + _TESTS_SECONDS)
    except (Late, Gone):
        pair.let_go("tester")
    if pair.large(first, (used(message.get("own")) or (0.0, 0.0))[1]):
        pair.let_go("tester")
    verdicts = message.get("verdicts")
    return verdicts if type(verdicts) is list else []


def _result(
    pair: Pair, job: Job, said: dict[str, Any], message: Any, seconds: float
) -> ExecResult | None:
    if type(message) is not dict or message.get("astray") is not False:
        return None
    told = verdict_of(message, "")
    # answers to other programs lie beside it, and may be why memory is short
    if told["status"] not in _SURE or told["exception"] == "MemoryError":
        return None
    cpu_s, megabytes = _used(said)
    own = said.get("seconds")
    if cpu_s >= job.limits.seconds or type(own) is not float or not 0 <= own < job.limits.seconds:
        return None  # where nobody came to look for long, it may have had more time than it may
    return ExecResult(
        key=job.key,
        sandbox_level=pair.level,
        python=pair.python,
        seed=job.seed,
        cpu_s=cpu_s,
        max_rss_mb=megabytes,
        wall_s=seconds + own,
        stdout_tail=_printed(job, said.get("printed"), whole(message.get("asked"))),
        **told,
    )


def _printed(job: Job, texts: Any, asked: int | None) -> str:
    """What was printed until the tests asked no more, as the end of it comes through a pipe."""
    if type(texts) is not list or asked is None:
        return ""
    text = "".join(one for one in texts[: asked + 1] if type(one) is str)
    most = job.limits.output_bytes
    data = text.encode("utf-8", "replace")
    return last(clean(data[max(len(data) - most, 0) :].decode("utf-8", "replace")), most)


def _used(said: dict[str, Any]) -> tuple[float, float]:
    return used(said.get("used")) or (0.0, 0.0)
