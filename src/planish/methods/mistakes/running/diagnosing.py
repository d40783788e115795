"""Failures under diagnosis: each program once, run, mended, ruled on, and kept.

queue = unique(failed_runs)
work = Work(plan, 0, made, box, tasks, references, screen, speaker, at_once=True)
work.run(queue)
work.cases          # key of the run -> Diagnosed
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import (
    CodeTask,
    Diagnosed,
    Diagnosis,
    Observation,
    RunRecord,
    Search,
)
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.loading.sources import tree_text
from planish.methods.mistakes.observing.observe import Known, observe_many
from planish.methods.mistakes.observing.shrinking import Answers
from planish.methods.mistakes.repairing.search import repair
from planish.methods.mistakes.ruling.signals import signals
from planish.records import Record
from planish.runs import Run, read_rows
from planish.runs.console import Screen

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["CHUNK", "FAILURE", "Queued", "Speaker", "Work", "by_task", "unique"]

CHUNK = 16
"""Programs that are observed together, and of which a model is asked together."""

FAILURE = "failure"
"""Kind of record; of several with one id the last counts."""

Speaker = Callable[[Sequence[Diagnosed], Callable[[], None]], list[Diagnosis]]
"""Cases, and what to call as each is settled -> what each is."""

_NOTHING_TO_CALL = {
    "syntax": "it is no Python: the categories are of code that runs",
    "no_entry": "it does not define the function: the categories are of code that runs",
}


class Queued(Record):
    """A program that failed: one run that has it, and the keys of all that do."""

    run: RunRecord
    copies: tuple[str, ...]


def unique(runs: Iterable[RunRecord]) -> list[Queued]:
    """Each program of a task once, in the order in which it first comes up.

    Two programs are the same where Python reads the same tree, whatever their layout and comments;
    of what is no Python, where the text is the same.
    """
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        found.setdefault((run.task_id, tree_text(run.code)), []).append(run)
    return [Queued(run=same[0], copies=tuple(run.key for run in same)) for same in found.values()]


def by_task(queue: Iterable[Queued]) -> dict[str, list[str]]:
    """Task -> the code of its programs."""
    found: dict[str, list[str]] = {}
    for each in queue:
        found.setdefault(each.run.task_id, []).append(each.run.code)
    return found


@dataclass
class Work:
    """A run under way.

    Args:
        dials: how much is run; seed: of the inputs.
        made: its folder.
        speaker: says what programs are that were looked at, in order; calls its second argument as
            each is settled.
        at_once: it costs nothing, and speaks of each program as soon as that was looked at.
        right: task -> programs that pass its tests, beside which failing ones are laid.
        cases: what came so far, by key.
    """

    dials: Diagnosing
    seed: int
    made: Run
    box: Sandbox
    tasks: Mapping[str, CodeTask]
    references: References
    screen: Screen
    speaker: Speaker
    at_once: bool
    right: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cases: dict[str, Diagnosed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = Known(self.references, Answers(self.box, self.references.limits))

    def run(self, queue: Sequence[Queued]) -> None:
        """Diagnoses whatever is not finished; what the sandbox failed at is tried again."""
        wanted = {each.run.key for each in queue}
        for row in read_rows(self.made.path, FAILURE):
            if row.id in wanted:
                self.cases[row.id] = row.read(Diagnosed)
        todo = [each for each in queue if not self._finished(each.run.key)]
        if len(todo) < len(queue):
            self.screen.note(f"{len(queue) - len(todo)} of {len(queue)} programs were there before")
        with self.screen.progress("failures are diagnosed", len(todo)) as step:
            for first in range(0, len(todo), CHUNK):
                self._chunk(todo[first : first + CHUNK], step)

    def _finished(self, key: str) -> bool:
        case = self.cases.get(key)
        return case is not None and case.could_run and not _open(case)

    def _seen(self, key: str) -> bool:
        return key in self.cases and self.cases[key].could_run

    def _chunk(self, chunk: Sequence[Queued], step: Callable[[], None]) -> None:
        fresh = [each for each in chunk if not self._seen(each.run.key)]
        began = time.monotonic()
        observed = observe_many(
            [(self.tasks[each.run.task_id], each.run) for each in fresh],
            self.box,
            dials=self.dials,
            limits=self.references.base,
            seed=self.seed,
            known=self.known,
        )
        shared = (time.monotonic() - began) / max(1, len(fresh))
        for each, observation in zip(fresh, observed, strict=True):
            case = self._look(each, observation, shared)
            self._keep(case)
            if case.diagnosis is not None:
                step()
        waiting = [case for each in chunk if _open(case := self.cases[each.run.key])]
        if waiting:
            for case, diagnosis in zip(waiting, self.speaker(waiting, step), strict=True):
                self._keep(case.model_copy(update={"diagnosis": diagnosis}))

    def _look(self, queued: Queued, observation: Observation, seconds: float) -> Diagnosed:
        """Looks for repairs and evidence, and lets a speaker speak that costs nothing."""
        task, code, key = self.tasks[queued.run.task_id], queued.run.code, queued.run.key
        began = time.monotonic()
        case = Diagnosed(
            run=queued.run,
            copies=queued.copies,
            observation=observation,
            sandbox_level=self.box.level,
        )
        if why := _silent(observation):
            return case.model_copy(update={"diagnosis": _abstention(key, why), "seconds": seconds})
        limits = self.references.limits(task)
        search = repair(task, code, observation, self.box, dials=self.dials, limits=limits)
        right = self.right.get(queued.run.task_id, ())
        evidence = signals(task, code, observation, search, right)
        case = case.model_copy(update={"search": search, "evidence": evidence})
        if _beside(search):
            why = "the function is right: what fails is code of the module that only tries it"
            diagnosis: Diagnosis | None = _abstention(key, why)
        else:
            diagnosis = self.speaker([case], _nothing)[0] if self.at_once else None
        spent = seconds + time.monotonic() - began
        return case.model_copy(update={"diagnosis": diagnosis, "seconds": spent})

    def _keep(self, case: Diagnosed) -> None:
        self.made.record(FAILURE, case, id=case.run.key)
        self.cases[case.run.key] = case


def _open(case: Diagnosed) -> bool:
    """Whether the detector is still to be asked: it was not, or brought no reply."""
    return case.diagnosis is None or case.diagnosis.lost


def _nothing() -> None:
    """A step that nobody sees."""


def _silent(observation: Observation) -> str:
    """Why nothing can be said of a program, or ""."""
    status = observation.status
    if status in _NOTHING_TO_CALL:
        return _NOTHING_TO_CALL[status]
    if status in ("sandbox_error", "harness"):
        return f"it could not be run ({status}): {observation.why}".removesuffix(": ")
    if status == "pass" and not observation.failing:
        return f"it does not fail: {observation.why}".removesuffix(": ")
    return ""


def _beside(search: Search) -> bool:
    """Whether nothing but code beside the function is wrong."""
    return any(each.operator == "module_level" for each in search.repairs[:1])


def _abstention(key: str, why: str) -> Diagnosis:
    return Diagnosis(key=key, detector="rules", abstained=True, why=why)
