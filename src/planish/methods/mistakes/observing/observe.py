"""Runs a candidate beside the reference: on which inputs they differ, and which lines those run.

    observation = observe(task, run, box, dials=Diagnosing(), limits=Limits())
    observations = observe_many([(task, run), ...], box, dials=Diagnosing(), limits=Limits())

Lines in an observation are those of the generated code, not of the module around it. A failing
input is one that a caller may ask, on which the reference returns a value and the candidate returns
another one, raises, hangs, or returns what is not plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import CodeTask, Observation, RunRecord, Seen
from planish.methods.mistakes.drawing import Drawn, call_all, draw_many
from planish.methods.mistakes.jobs import Box, References, call_job, check_references, test_job
from planish.methods.mistakes.observing.comparing import Leniency, leniency, manner, verdict
from planish.methods.mistakes.observing.lines import suspicion
from planish.methods.mistakes.observing.shrinking import Answers, Start, shrink_many
from planish.methods.mistakes.observing.simpler import size
from planish.tasks.sandbox.contract import CallResult, ExecResult, Limits
from planish.tasks.sandbox.values import loads

__all__ = ["UNASKED", "Known", "observe", "observe_many"]

CHUNK = 16
"""Programs that are observed together."""

STARTS = 2
"""Failing inputs of one program that are made small."""

UNASKED = "no input could be tried: none was found that a caller may ask"
"""Why there is no failing input of a task whose precondition allows none of what was drawn."""

_LAST = 8  # calls of the tests before they ended, among them the one that they did not like
_PATIENCE = 4  # a call may take this share of the time of a job


@dataclass
class Known:
    """What was found out about tasks, so that it is not found out again for the next program.

    Args:
        references: that passed; drawn: task -> its inputs; answers: of references.
    """

    references: References
    answers: Answers
    drawn: dict[str, Drawn] = field(default_factory=dict)


def observe(
    task: CodeTask,
    run: RunRecord,
    box: Box,
    *,
    dials: Diagnosing,
    limits: Limits,
    seed: int = 0,
    known: Known | None = None,
) -> Observation:
    """One program; see `observe_many`."""
    pairs = [(task, run)]
    return observe_many(pairs, box, dials=dials, limits=limits, seed=seed, known=known)[0]


def observe_many(
    pairs: Sequence[tuple[CodeTask, RunRecord]],
    box: Box,
    *,
    dials: Diagnosing,
    limits: Limits,
    seed: int = 0,
    known: Known | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Observation]:
    """Runs every program under its tests and on drawn inputs, and makes failing inputs small.

    Args:
        pairs: tasks and the code for them.
        box: an open sandbox.
        dials: `inputs` and `failing` are used.
        limits: of one program.
        seed: of the inputs.
        known: what earlier calls found out about tasks; with the same dials, limits and seed.
        progress: called with (done, total) programs.

    Returns:
        One for each pair, in order. `failing` holds those that were made small first, `passing`
        every input on which candidate and reference agree.

    Raises:
        BadInput: a reference fails its own tests, or a strategy cannot be read.
    """
    if known is None:
        known = Known(References(limits), Answers(box, limits))
    observations: list[Observation] = []
    for first in range(0, len(pairs), CHUNK):
        part = pairs[first : first + CHUNK]
        _prepare([task for task, _ in part], box, dials.inputs, seed, known)
        cases = [_Case(task, run, known) for task, run in part]
        _test(cases, box)
        _call(cases, box)
        _shrink(cases, box, dials.failing)
        observations += [case.told(dials.failing) for case in cases]
        if progress is not None:
            progress(len(observations), len(pairs))
    return observations


def _prepare(tasks: Sequence[CodeTask], box: Box, number: int, seed: int, known: Known) -> None:
    """References and inputs of tasks that are new."""
    fresh = list({t.task_id: t for t in tasks if t.task_id not in known.drawn}.values())
    known.references = check_references(
        fresh, box, known.references.base, known=known.references.results
    )
    drawn = draw_many(fresh, number, seed, box, known.references.limits)
    for task, each in zip(fresh, drawn, strict=True):
        known.drawn[task.task_id] = each
        known.answers.add(task, each.calls)


# ---- one program -----------------------------------------------------------------------------


@dataclass
class _Case:
    """A program under observation.

    Args:
        tested: under its tests; wanted: arguments -> the reference's call.
        calls: the candidate's, on every input; small: failing inputs that were made small.
    """

    task: CodeTask
    run: RunRecord
    known: Known
    tested: ExecResult | None = None
    wanted: dict[str, CallResult] = field(default_factory=dict)
    calls: list[CallResult] = field(default_factory=list)
    small: list[Seen] = field(default_factory=list)
    leniency: Leniency = "equal"

    @property
    def limits(self) -> Limits:
        """Of one job on inputs: a call that hangs leaves time for others."""
        whole = self.known.references.limits(self.task)
        return whole.model_copy(update={"call_seconds": whole.seconds / _PATIENCE})

    @property
    def status(self) -> str:
        """Of the tests."""
        return self.tested.status if self.tested else "sandbox_error"

    @property
    def callable(self) -> bool:
        """Whether there is anything to call."""
        return self.status not in ("syntax", "no_entry", "sandbox_error")

    def split(self) -> tuple[list[Seen], list[Seen]]:
        """Failing and passing inputs."""
        failing: list[Seen] = []
        passing: list[Seen] = []
        for call in self.calls:
            wanted = self.wanted[call.arguments]
            right = verdict(call, wanted, self.task.tolerance, self.leniency)
            if right is not None:
                seen = Seen(expected=wanted.value or "", call=call)
                (passing if right else failing).append(seen)
        return failing, passing

    def settle(self, calls: list[CallResult]) -> None:
        """Takes the calls; differences of type count only where there are no others."""
        self.calls = calls
        if self.tested is not None:
            self.leniency = leniency(self.tested, self.wanted, self.task.tolerance)
        if self.status == "wrong_value" and self.leniency == "equal" and not self.split()[0]:
            self.leniency = "typed"

    def told(self, most: int) -> Observation:
        """What there is to tell, with at most so many failing inputs."""
        failing, passing = self.split()
        lines = suspicion(
            [self._own(seen).call.lines for seen in failing],
            [self._own(seen).call.lines for seen in passing],
        )
        small = list({seen.arguments: seen for seen in self.small}.values())
        rest = [seen for seen in _by_size(failing) if seen.arguments not in _texts(small)]
        failing = (small + rest)[:most]
        exception, message, line = self._raised(failing)
        return Observation(
            key=self.run.key,
            status=self.status,
            exception=exception,
            message=message,
            line=line,
            failing=tuple(map(self._own, failing)),
            passing=tuple(map(self._own, passing)),
            suspicion=lines,
            why=self._why(failing, passing),
        )

    def _raised(self, failing: Sequence[Seen]) -> tuple[str | None, str, int | None]:
        """The exception of the tests, or else of the first failing input that has one."""
        if self.tested and self.tested.status not in ("pass", "wrong_value", "harness"):
            told: ExecResult | CallResult = self.tested
        else:
            raising = [seen.call for seen in failing if seen.call.exception]
            if not raising:
                return None, "", None
            told = raising[0]
        return told.exception, told.message, self._line(told.line)

    def _why(self, failing: Sequence[Seen], passing: Sequence[Seen]) -> str:
        if failing or not self.tested:
            return ""
        if not self.callable or self.status == "harness":
            said = (self.tested.why, self.tested.message)
            return next((each for each in said if each), self.status)
        if not passing:
            return UNASKED if not self.wanted else "no input could be tried: no call was made"
        if self.status == "pass":
            return f"it passes its tests, and returns what the reference does on {len(passing)}"
        return (
            f"its tests fail ({self.status}), but on all {len(passing)} inputs that could be tried "
            "it returns what the reference returns"
        )

    def _line(self, line: int | None) -> int | None:
        """Of the code; None for lines of the module around it."""
        if line is None:
            return None
        own = self.task.offset(line)
        return own if 1 <= own <= self.run.code.strip("\n").count("\n") + 1 else None

    def _own(self, seen: Seen) -> Seen:
        own = [each for line in seen.call.lines if (each := self._line(line)) is not None]
        update = {"line": self._line(seen.call.line), "lines": tuple(own)}
        return seen.model_copy(update={"call": seen.call.model_copy(update=update)})


def _by_size(seen: Sequence[Seen]) -> list[Seen]:
    return sorted(seen, key=lambda each: size(loads(each.arguments)))


def _texts(seen: Sequence[Seen]) -> set[str]:
    return {each.arguments for each in seen}


# ---- the steps -------------------------------------------------------------------------------


def _test(cases: Sequence[_Case], box: Box) -> None:
    jobs = [
        test_job(case.task, case.run.code, case.run.key, case.known.references.limits(case.task))
        for case in cases
    ]
    for case, result in zip(cases, box.run(jobs), strict=True):
        case.tested = case.known.references.settle(case.task, result)


def _call(cases: Sequence[_Case], box: Box) -> None:
    """On the inputs that were drawn, and on those at which the tests stopped."""
    ready = [case for case in cases if case.callable]
    inputs = []
    for case in ready:
        last = case.tested.per_input[-_LAST:] if case.tested else ()
        drawn = case.known.drawn[case.task.task_id].inputs
        inputs.append(list(dict.fromkeys([*drawn, *(call.arguments for call in last)])))
    answers = ready[0].known.answers if ready else None
    if answers is None:
        return
    pairs = [(case.task, each) for case, each in zip(ready, inputs, strict=True)]
    for case, wanted in zip(ready, answers.look_up(pairs), strict=True):
        case.wanted = wanted
    trying = [case for case in ready if case.wanted]
    jobs = [
        call_job(case.task, case.run.code, case.run.key, list(case.wanted), case.limits, trace=True)
        for case in trying
    ]
    for case, calls in zip(trying, call_all(box, jobs, again=1), strict=True):
        case.settle(calls)


def _shrink(cases: Sequence[_Case], box: Box, most: int) -> None:
    starts: list[tuple[_Case, Start]] = []
    for case in cases:
        failing, _ = case.split()
        # Smallest first, one for each way of failing, then the others.
        ways: dict[str, list[Seen]] = {}
        for seen in _by_size(failing):
            ways.setdefault(manner(seen.call), []).append(seen)
        firsts = [seen for each in ways.values() for seen in each[:1]]
        others = [seen for each in ways.values() for seen in each[1:]]
        fits = case.known.drawn[case.task.task_id].fits
        for seen in (firsts + others)[: min(STARTS, most)]:
            if seen.call.status == "timeout":
                case.small.append(seen)  # every try would cost the whole patience
                continue
            start = Start(case.task, case.run.code, seen, fits, case.limits, case.leniency)
            starts.append((case, start))
    if starts:
        shrunk = shrink_many([start for _, start in starts], box, cases[0].known.answers)
        for (case, _), seen in zip(starts, shrunk, strict=True):
            case.small.append(seen)
