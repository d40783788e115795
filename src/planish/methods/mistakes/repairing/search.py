"""Tries changes of one place in the sandbox, and keeps every one that mends the program.

    search = repair(task, code, observation, box, dials=Diagnosing(), limits=Limits())

A change is first tried on two failing inputs; one that mends any of them on all inputs of the
observation; and one that agrees on more than before under the task's tests. Whatever then passes
the tests, or agrees with the reference on every input, is a repair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import CodeTask, Observation, Repair, Search, Seen
from planish.methods.mistakes.jobs import Box, call_job, entry_of, test_job
from planish.methods.mistakes.repairing.agreeing import Measure
from planish.methods.mistakes.repairing.diffs import unified
from planish.methods.mistakes.repairing.effort import Effort
from planish.methods.mistakes.repairing.mutants import isolated, mutants
from planish.methods.mistakes.repairing.ranking import Found, ranked
from planish.methods.mistakes.repairing.screening import screened
from planish.methods.mistakes.repairing.site import Change, Example
from planish.tasks.sandbox.contract import ExecResult, Limits
from planish.tasks.sandbox.values import loads

__all__ = ["repair"]

BATCH = 192
"""Changes that are tried together; what they cost is looked at in between."""

FIRST = 2
"""Failing inputs on which a change is tried first."""

_QUICK, _SLOW = 0.1, 0.3
"""Shares of the time of a program that a change may take on one of the first inputs."""


def repair(
    task: CodeTask,
    code: str,
    observation: Observation,
    box: Box,
    *,
    dials: Diagnosing,
    limits: Limits,
    progress: Callable[[int], None] | None = None,
) -> Search:
    """Looks for every repair.

    Args:
        task: whose tests have the last word.
        code: that fails.
        observation: of running it; without failing inputs the tests alone decide.
        box: an open sandbox.
        dials: `mutants` and `repair_seconds` bound the search.
        limits: of one program.
        progress: called with the number of changes tried so far.

    Returns:
        Repairs, best first; `complete` is False where the search was stopped by a bound, or changes
        took longer than they were given, and `cut` says which. No clock decides (`effort.py`): the
        search is the same on a busy machine, and on one with other cores.
    """
    trying = _Trying(task, code, observation, box, dials, limits, progress)
    if trying.outside():
        return trying.told()
    examples = [_example(seen) for seen in observation.failing]
    trying.one_by_one(mutants(trying.base, entry_of(task), examples, observation.suspicion))
    return trying.told()


def _example(seen: Seen) -> Example:
    call = seen.call
    got = loads(call.value) if call.status == "value" and call.value is not None else None
    given = loads(seen.arguments)
    if isinstance(given, list):  # by name as well
        given = (*given[0], *given[1].values())
    return Example(given, loads(seen.expected), got, call.status == "value")


@dataclass
class _Trying:
    """A search under way.

    Args:
        base: the code without what only tries it out.
        late: changes that took too long on the first inputs.
    """

    task: CodeTask
    code: str
    observation: Observation
    box: Box
    dials: Diagnosing
    limits: Limits
    progress: Callable[[int], None] | None
    found: list[Found] = field(default_factory=list)
    late: list[Change] = field(default_factory=list)
    tried: int = 0
    cut: str = ""

    def __post_init__(self) -> None:
        self.base = isolated(self.code)
        self.measure = Measure.of(self.observation, self.task.tolerance)
        self.inputs = [*self.observation.failing, *self.observation.passing]
        self.effort = Effort(self.box, self.dials.repair_seconds)
        self._wanted: dict[str, str | None] | None = None

    def told(self) -> Search:
        """What was found."""
        repairs = ranked(self.found, self.observation.suspicion)
        return Search(repairs=repairs, tried=self.tried, complete=not self.cut, cut=self.cut)

    def _short(self, how: str) -> None:
        """The first thing that was left out is told."""
        self.cut = self.cut or how

    # ---- what is tried

    def outside(self) -> bool:
        """Whether the program is right once nothing but the function is run."""
        if self.base == self.code:
            return False
        self.tried += 1
        if not self._passes([self.base])[0]:
            return False
        agreement = self._agreements([self.base])[0] if self.inputs else 0
        if agreement < len(self.inputs):  # tests that are too weak say nothing here
            return False
        lines = zip(self.code.splitlines(), self.base.splitlines(), strict=False)
        line = next((at for at, (old, new) in enumerate(lines, 1) if old != new), 1)
        removed = [
            old
            for old, new in zip(self.code.splitlines(), self.base.splitlines(), strict=False)
            if old != new
        ]
        told = Repair(
            operator="module_level",
            categories=(),
            role="statement",
            line=line,
            before="\n".join(removed),
            after="",
            diff=unified(self.code, self.base),
            passes_tests=True,
            agreement=agreement,
            inputs=len(self.inputs),
        )
        self.found.append(Found(told))
        return True

    def one_by_one(self, changes: Iterator[Change]) -> None:
        """Tries changes until a bound is reached; those that were too slow once more at the end."""
        while True:
            room = min(BATCH, self.dials.mutants - self.tried)
            over = self.effort.over if room > 0 else f"at {self.tried:,} changes (--mutants)"
            if over:
                if next(changes, None) is not None:
                    self._short(over)
                break
            batch = list(islice(changes, room))
            if not batch:
                break
            self.tried += len(batch)
            self._settle(self._screened(batch))
            if self.progress is not None:
                self.progress(self.tried)
        late, self.late = self.late, []
        while late:
            if over := self.effort.over:
                self._short(over)
                return
            batch, late = late[:BATCH], late[BATCH:]
            self._settle(self._screened(batch, slow=True))

    def _screened(self, batch: Sequence[Change], slow: bool = False) -> list[Change]:
        """Those that mend one of the first failing inputs."""
        left, kept = list(batch), list[Change]()
        limits = self.limits.model_copy(
            update={"seconds": self.limits.seconds * (_SLOW if slow else _QUICK)}
        )
        for seen in self._first():
            codes = [each.code for each in left]
            calls = screened(self.task, codes, seen.arguments, self.effort, limits)
            wrong: list[Change] = []
            for change, call in zip(left, calls, strict=True):
                if self.measure.right(seen, call):
                    kept.append(change)
                elif call.status != "timeout":
                    wrong.append(change)
                    if call.status == "not_run":
                        self._short("where changes could not be run")
                elif slow:
                    self._short("where changes ran out of time")
                else:
                    self.late.append(change)
            left = wrong
        return kept if self.observation.failing else left

    def _first(self) -> list[Seen]:
        """The smallest failing input, and one of which something else is expected."""
        failing = self.observation.failing
        others = [seen for seen in failing[1:] if seen.expected != failing[0].expected]
        return [*failing[:1], *(others or failing[1:])[: FIRST - 1]]

    def _settle(self, changes: Sequence[Change]) -> None:
        """Tries what is left on every input and under the tests."""
        before = len(self.observation.passing)
        if self.inputs:
            counts = self._agreements([each.code for each in changes])
        else:
            counts = [1] * len(changes)
        better = [(n, each) for n, each in zip(counts, changes, strict=True) if n > before]
        if not self.inputs:
            better = [(0, each) for each in changes]
        passes = self._passes([each.code for _, each in better])
        for (agreement, change), passed in zip(better, passes, strict=True):
            everywhere = bool(self.inputs) and agreement == len(self.inputs)
            if passed or everywhere:
                self.found.append(self._repair(change, agreement, passed))

    def _repair(self, change: Change, agreement: int, passed: bool) -> Found:
        told = Repair(
            operator=change.operator,
            categories=tuple(dict.fromkeys(change.categories)),
            role=change.role,
            line=change.line,
            before=change.before,
            after=change.after,
            diff=unified(self.base, change.code),
            passes_tests=passed,
            agreement=agreement,
            inputs=len(self.inputs),
        )
        return Found(told, change.wide)

    # ---- the sandbox

    def _run(self, codes: Sequence[str], asked: Sequence[Seen], limits: Limits) -> list[ExecResult]:
        inputs = [seen.arguments for seen in asked]
        jobs = [
            call_job(self.task, code, f"{self.observation.key}#{at}", inputs, limits)
            for at, code in enumerate(codes)
        ]
        return self._told_by(self.effort.run(jobs))

    def _told_by(self, results: list[ExecResult]) -> list[ExecResult]:
        """Where the sandbox failed, a change was not tried."""
        if any(result.status == "sandbox_error" for result in results):
            self._short("where the sandbox failed")
        return results

    def _agreements(self, codes: Sequence[str]) -> list[int]:
        """On so many inputs each program agrees with the reference."""
        limits = self.limits.model_copy(update={"call_seconds": self.limits.seconds / 4})
        return [
            sum(
                self.measure.right(seen, call)
                for seen, call in zip(self.inputs, result.per_input, strict=False)
            )
            for result in self._run(codes, self.inputs, limits)
        ]

    def _passes(self, codes: Sequence[str]) -> list[bool]:
        """Whether each program passes the task's tests, or gives what the reference gives."""
        if not codes:
            return []
        jobs = [
            test_job(self.task, code, f"{self.observation.key}#{at}", self.limits)
            for at, code in enumerate(codes)
        ]
        results = self.effort.run(jobs)
        self._told_by(results)
        if self.task.tests:
            return [result.status == "pass" for result in results]
        wanted = self._expected()
        return [
            result.status == "pass"
            and all(
                (value := wanted.get(call.arguments)) is not None
                and call.value is not None
                and self.measure.agree(value, call.value)
                for call in result.per_input
            )
            for result in results
        ]

    def _expected(self) -> dict[str, str | None]:
        """What the reference returns on the inputs that are the task's tests."""
        if self._wanted is None:
            job = test_job(self.task, self.task.reference, self.observation.key, self.limits)
            (result,) = self.box.run([job])
            self._wanted = {call.arguments: call.value for call in result.per_input}
        return self._wanted
