"""Makes failing inputs small, those of many programs at once.

    small = shrink_many([Start(task, code, seen, fits)], box, limits, reference)

Hypothesis shrinks one input by one call at a time, and here a call is a round trip to another
process. So all simpler inputs of a round are tried in one job, of all programs in one batch, and
the simplest that still fails in the same way starts the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from planish.methods.mistakes.data import CodeTask, Seen
from planish.methods.mistakes.drawing import allowed, call_all
from planish.methods.mistakes.jobs import Box, LimitsOf, call_job
from planish.methods.mistakes.observing.comparing import Leniency, manner, verdict
from planish.methods.mistakes.observing.simpler import simpler, size
from planish.tasks.sandbox.contract import CallResult, Limits
from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["ROUNDS", "Answers", "Start", "shrink_many"]

ROUNDS = 12
"""An input is made smaller so many times at most."""

WIDTH = 40
"""Simpler inputs that are tried in one round."""


@dataclass
class Answers:
    """What references return, kept for all programs of a task.

    Args:
        limits: of the whole of a task's calls at once, for all tasks or for each.
        known: task and arguments -> the call; None where a caller may not ask.
    """

    box: Box
    limits: Limits | LimitsOf
    known: dict[tuple[str, str], CallResult | None] = field(default_factory=dict)

    def add(self, task: CodeTask, calls: Sequence[CallResult]) -> None:
        """Keeps calls that were made already."""
        self.known.update({(task.task_id, call.arguments): call for call in calls})

    def look_up(
        self, pairs: Sequence[tuple[CodeTask, Sequence[str]]]
    ) -> list[dict[str, CallResult]]:
        """For each task and some of its inputs, the reference's calls; without those ruled out."""
        missing: dict[str, tuple[CodeTask, dict[str, None]]] = {}
        for task, inputs in pairs:
            for each in inputs:
                if (task.task_id, each) not in self.known:
                    missing.setdefault(task.task_id, (task, {}))[1][each] = None
        asked = [(task, list(inputs)) for task, inputs in missing.values()]
        for (task, inputs), calls in zip(
            asked, allowed(asked, self.box, self.limits) if asked else [], strict=True
        ):
            self.known.update({(task.task_id, each): None for each in inputs})
            self.add(task, calls)
        found = []
        for task, inputs in pairs:
            looked = {each: self.known[task.task_id, each] for each in inputs}
            found.append({each: call for each, call in looked.items() if call is not None})
        return found


@dataclass
class Start:
    """A failing input that is to be made small.

    Args:
        code: of the candidate.
        seen: the input; what it is made into is put here.
        fits: whether arguments are of the task's kinds.
        limits: of one job.
        tried: inputs that need not be tried again.
    """

    task: CodeTask
    code: str
    seen: Seen
    fits: Callable[[tuple[Any, ...]], bool]
    limits: Limits
    leniency: Leniency = "equal"
    tried: set[str] = field(default_factory=set)

    def offers(self) -> list[str]:
        """Simpler inputs that were not tried yet, the boldest first."""
        arguments = loads(self.seen.arguments)
        if type(arguments) is not tuple:  # passed by name
            return []
        found: list[str] = []
        for each in simpler(arguments):
            try:
                text = dumps(each)
            except UnknownType:
                continue
            if text in self.tried:
                continue
            self.tried.add(text)
            if self.fits(each):
                found.append(text)
                if len(found) == WIDTH:
                    break
        return found

    def take(self, calls: Sequence[CallResult], wanted: dict[str, CallResult]) -> None:
        """Goes on from the simplest input that fails as the first one did."""
        failing = [
            Seen(expected=wanted[call.arguments].value or "", call=call)
            for call in calls
            if manner(call) == manner(self.seen.call)
            and verdict(call, wanted[call.arguments], self.task.tolerance, self.leniency) is False
        ]
        smallest = min(failing, key=lambda seen: size(loads(seen.arguments)), default=None)
        if smallest is not None:
            self.seen = smallest


def shrink_many(starts: Sequence[Start], box: Box, answers: Answers) -> list[Seen]:
    """The smallest failing input found from each start, within the precondition.

    Args:
        box: an open sandbox; at most three batches of jobs a round, for all starts together.
        answers: of the references; they are asked for what they do not know.
    """
    active = list(starts)
    for _ in range(ROUNDS):
        offers = [(start, offer) for start in active if (offer := start.offers())]
        if not offers:
            break
        wanted = answers.look_up([(start.task, offer) for start, offer in offers])
        trying = [(start, known) for (start, _), known in zip(offers, wanted, strict=True) if known]
        jobs = [
            call_job(start.task, start.code, "shrinking", list(known), start.limits, trace=True)
            for start, known in trying
        ]
        for (start, known), calls in zip(trying, call_all(box, jobs, again=1), strict=True):
            start.take(calls, known)
        # One without anything new to try is done; one that stood still may have more to try.
        active = [start for start, _ in offers]
    return [start.seen for start in starts]
