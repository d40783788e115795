"""What a search costs, reckoned from what was run: the same on an idle machine and on a busy one.

    effort = Effort(box, seconds=10)
    effort.run(jobs)
    effort.over         # "" while there is some left

A clock would let the load of the machine, and the number of its cores, decide which changes are
tried, and so what a program is called. Here a program that is loaded, a call and a call that hangs
have fixed prices, about what each takes on one core (the mean over searches of the split "train",
changes themselves counted). Where programs compute far longer than that, their processor time
counts in place of the price. A clock is only looked at to end what is out of all proportion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from planish.methods.mistakes.jobs import Box
from planish.methods.mistakes.repairing.screening import is_pack, once
from planish.tasks.sandbox.contract import ExecResult, Job

__all__ = ["CALL", "PROGRAM", "SCREENED", "Effort", "price"]

SCREENED = 0.001
"""Seconds for a change that is made, loaded in a pack and called once."""

PROGRAM, CALL = 0.003, 0.0001
"""Seconds for a program that is loaded alone, and for each call of it."""

SLOW = 4.0
"""So many times the price may a job compute before its processor time counts: no load of the
machine makes a quick program look so slow."""

NET = 10.0
"""So many times the seconds may pass on the clock."""


class Effort:
    """A sandbox that counts.

    Args:
        box: where jobs are run.
        seconds: that may be spent, reckoned.
    """

    def __init__(self, box: Box, seconds: float) -> None:
        self.box = box
        self.seconds = seconds
        self.spent = 0.0
        self._until = monotonic() + NET * seconds

    @property
    def over(self) -> str:
        """What the search was stopped by, in words; "" while it may go on."""
        if self.spent >= self.seconds:
            return f"after {self.seconds:g} s of reckoned work (--repair-seconds)"
        if monotonic() >= self._until:
            return f"by the clock, after {NET * self.seconds:g} s: the machine was very busy"
        return ""

    def run(
        self, jobs: Sequence[Job], *, progress: Callable[[int, int], None] | None = None
    ) -> list[ExecResult]:
        """Runs jobs once each, and counts what they cost."""
        results = once(self.box, list(jobs))
        self.spent += sum(price(job, result) for job, result in zip(jobs, results, strict=True))
        return results


def price(job: Job, result: ExecResult) -> float:
    """Seconds that a job counts for; nothing in it is measured unless the job computes for long."""
    calls = [call.status for call in result.per_input if call.status != "not_run"]
    late = calls.count("timeout")
    each = SCREENED if is_pack(job) else CALL
    told = PROGRAM + each * len(calls) + late * (job.limits.call_seconds or job.limits.seconds)
    if result.status == "timeout" and not late:  # while it was loaded, or its tests went on
        told += job.limits.seconds
    return result.cpu_s if result.cpu_s > SLOW * told else told
