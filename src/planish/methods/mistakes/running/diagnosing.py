"""Failures under diagnosis: each program once, run, mended, ruled on, and kept.

queue = unique(failed_runs)
work = Work(plan, made, box, tasks, references, screen)
work.run(queue)
work.cases          # key of the run -> Diagnosed
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import (
    CodeTask,
    Diagnosis,
    Evidence,
    Observation,
    RunRecord,
    Search,
)
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.loading.sources import parse
from planish.methods.mistakes.observing.observe import Known, observe_many
from planish.methods.mistakes.observing.shrinking import Answers
from planish.methods.mistakes.repairing.search import repair
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.signals import signals
from planish.methods.mistakes.showing.diagnosed import Diagnosed
from planish.records import Record
from planish.runs import Run, read_rows
from planish.runs.console import Screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from planish.tasks.sandbox import Sandbox

__all__ = ["CHUNK", "FAILURE", "Queued", "Work", "unique"]

CHUNK = 16
"""Programs that are observed together, and of which a model is asked together."""

FAILURE = "failure"
"""Kind of record; of several with one id the last counts."""

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
        found.setdefault((run.task_id, _tree(run.code)), []).append(run)
    return [Queued(run=same[0], copies=tuple(run.key for run in same)) for same in found.values()]


def _tree(code: str) -> str:
    tree = parse(code)
    if tree is not None:
        try:
            return ast.dump(tree)
        except (RecursionError, MemoryError):
            pass
    return code


@dataclass
class Work:
    """A run under way.

    Args:
        dials: how much is run; seed: of the inputs.
        made: its folder.
        speaker: says what seen programs are, in order; None: the rules do.
        cases: what came so far, by key.
    """

    dials: Diagnosing
    seed: int
    made: Run
    box: Sandbox
    tasks: Mapping[str, CodeTask]
    references: References
    screen: Screen
    speaker: Callable[[Sequence[Diagnosed]], list[Diagnosis]] | None = None
    cases: dict[str, Diagnosed] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.known = Known(self.references, Answers(self.box, self.references.base))

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
        return case is not None and case.diagnosis is not None and case.could_run

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
        waiting = [case for each in chunk if (case := self.cases[each.run.key]).diagnosis is None]
        if waiting and self.speaker is not None:
            for case, diagnosis in zip(waiting, self.speaker(waiting), strict=True):
                self._keep(case.model_copy(update={"diagnosis": diagnosis}))
                step()

    def _look(self, queued: Queued, observation: Observation, seconds: float) -> Diagnosed:
        """Looks for repairs, and lets the rules speak where no model is to."""
        task, code, key = self.tasks[queued.run.task_id], queued.run.code, queued.run.key
        began = time.monotonic()
        case = Diagnosed(
            run=queued.run,
            copies=queued.copies,
            observation=observation,
            sandbox_level=self.box.level,
        )
        if why := _silent(observation):
            diagnosis: Diagnosis | None = _abstention(key, why)
            return case.model_copy(update={"diagnosis": diagnosis, "seconds": seconds})
        limits = self.references.limits(task)
        search = repair(task, code, observation, self.box, dials=self.dials, limits=limits)
        evidence = signals(task, code, observation, search)
        if self.speaker is None or _beside(search):
            diagnosis = self._ruled(key, search, evidence)
        else:
            diagnosis = None
        found = {
            "search": search,
            "evidence": evidence,
            "diagnosis": diagnosis,
            "seconds": seconds + time.monotonic() - began,
        }
        return case.model_copy(update=found)

    def _ruled(self, key: str, search: Search, evidence: tuple[Evidence, ...]) -> Diagnosis:
        if _beside(search):
            return _abstention(
                key, "the function is right: what fails is code of the module that only tries it"
            )
        return rank(key, evidence, threshold=self.dials.threshold)

    def _keep(self, case: Diagnosed) -> None:
        self.made.record(FAILURE, case, id=case.run.key)
        self.cases[case.run.key] = case


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
