"""Draws the samples of every arm with the same seeds, runs them, and judges the reasons.

    outcomes = intervene(plans, model, box, references, Intervening(samples=40))
    [report.reason for report in outcomes[0].reports if report.holds]

The unchanged prompt is drawn first: a reason is tried where that passes rarely enough, and about as
often in both halves of its samples. A sample that could not be drawn, or that the sandbox could not
run, is counted and is no failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from planish.judges.recording import lost_kinds
from planish.methods.mistakes.config import Intervening
from planish.methods.mistakes.data import REASONS, Arm, CodeTask, Intervention, Reason, ReasonReport
from planish.methods.mistakes.jobs import Box, References, agree, call_job, test_job
from planish.methods.mistakes.reasoning.edits import code_in
from planish.methods.mistakes.reasoning.effects import Count, Trial, judge, stable, unready
from planish.methods.mistakes.reasoning.failures import Call
from planish.methods.mistakes.reasoning.planning import ArmPlan, TaskPlan
from planish.models.base import LanguageModel, Watcher
from planish.records import Completion, Record, Sampling
from planish.tasks.sandbox.contract import ExecResult, Job, Level

__all__ = ["Outcome", "Sample", "intervene", "sampling_of"]


class Sample(Record):
    """One draw of one arm.

    Args:
        sample: its number; seed: of this draw, the same in every arm.
        status: of the tests, or "no_reply"; score: None where nothing can be said.
        held_out: score on inputs that neither prompt nor edit shows; None where it is not asked.
        code: as it was run; sandbox_level: in which; None where there was nothing to run.
        lost: kind of failure for which no reply came; "" where one did.
    """

    task_id: str
    reason: Reason | None
    arm: Arm
    sample: int
    seed: int
    status: str
    score: float | None
    held_out: float | None = None
    code: str = ""
    sandbox_level: Level | None = None
    lost: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one task.

    Args:
        lost: samples for which no reply came; a later visit asks for them again.
        unedited: edits for which no reply came, likewise.
    """

    task_id: str
    samples: tuple[Sample, ...]
    interventions: tuple[Intervention, ...]
    reports: tuple[ReasonReport, ...]
    lost: int
    unedited: int = 0


def sampling_of(dials: Intervening) -> Sampling:
    """How every arm is drawn: the same number, the same seeds."""
    return Sampling(
        temperature=dials.temperature,
        max_tokens=dials.max_tokens,
        n=dials.samples,
        seed=dials.seed,
    )


def intervene(
    plans: Sequence[TaskPlan],
    model: LanguageModel,
    box: Box,
    references: References,
    dials: Intervening,
    *,
    watcher: Watcher | None = None,
) -> list[Outcome]:
    """Draws the unchanged prompts, then the arms of what is left to try, and judges.

    Both are one batch of calls and one of the sandbox. An arm that is not drawn, because its reason
    cannot be tried on this model, has no samples.

    Args:
        model: that has failed; wrap it into a cache to keep its replies.
        watcher: hears of every reply.

    Raises:
        BadInput: so few samples that nothing could be found.
    """
    drawing = _Drawing(model, _Scorer(box, references), dials, watcher)
    tried = [plan for plan in plans if plan.tried]
    drawing.draw([(plan, plan.arms[0]) for plan in tried])
    drawing.draw(
        [
            (plan, arm)
            for plan in tried
            for ready in [_ready(plan, drawing.samples(plan), dials)]
            for arm in plan.arms[1:]
            if arm.reason in ready
        ]
    )
    return [_outcome(plan, drawing.samples(plan), dials) for plan in plans]


_Scored = tuple[ArmPlan, Sample, dict[Reason, float | None]]
"""An arm, a sample of it, and its scores on what is held out for each reason."""


@dataclass
class _Drawing:
    """What was drawn so far."""

    model: LanguageModel
    scorer: _Scorer
    dials: Intervening
    watcher: Watcher | None
    replies: dict[str, list[tuple[ArmPlan, int, Completion]]] = field(default_factory=dict)

    def draw(self, arms: Sequence[tuple[TaskPlan, ArmPlan]]) -> None:
        """Asks for the samples of these arms, and runs them."""
        if not arms:
            return
        chats = [arm.chat for _, arm in arms]
        drawn = self.model.generate(chats, sampling_of(self.dials), watcher=self.watcher)
        for (plan, arm), completions in zip(arms, drawn, strict=True):
            for number, completion in enumerate(completions):
                self.scorer.add(plan, arm, completion)
                kept = self.replies.setdefault(plan.task.task_id, [])
                kept.append((arm, number, completion))
        self.scorer.run()

    def samples(self, plan: TaskPlan) -> list[_Scored]:
        """Those of a task, scored by all that is known of it."""
        return [
            (arm, *self.scorer.sample(plan, arm, number, self.dials.seed + number, completion))
            for arm, number, completion in self.replies.get(plan.task.task_id, [])
        ]


class _Scorer:
    """Runs every different piece of code once, under the tests and on what is held out."""

    def __init__(self, box: Box, references: References) -> None:
        self.box, self.references = box, references
        self.jobs: dict[tuple[str, str, Reason | None], Job] = {}
        self.plans: dict[str, TaskPlan] = {}
        self.results: dict[tuple[str, str, Reason | None], ExecResult] = {}
        self.codes: dict[tuple[str, str, str], str] = {}
        self.several: set[str] = set()

    def code(self, plan: TaskPlan, arm: ArmPlan, completion: Completion) -> str:
        place = plan.task.task_id, arm.key, completion.text
        if place not in self.codes:
            self.codes[place] = code_in(completion.text, plan.task, arm.prompt, arm.name)
        return self.codes[place]

    def asked(self, plan: TaskPlan, arm: ArmPlan) -> tuple[Reason, ...]:
        """Whose held-out inputs the arm is scored on: its own reason's, the original on all."""
        if arm.reason is None:
            return tuple(plan.calls)
        return (arm.reason,) if arm.reason in plan.calls else ()

    def add(self, plan: TaskPlan, arm: ArmPlan, completion: Completion) -> None:
        if completion.finish == "error":
            return
        task, code = plan.task, self.code(plan, arm, completion)
        self.plans[task.task_id] = plan
        limits = self.references.limits(task)
        for reason in (None, *self.asked(plan, arm)):
            place = task.task_id, code, reason
            if place in self.jobs:
                continue
            key = f"{task.task_id}|{len(self.jobs)}"
            if reason is None:
                self.jobs[place] = test_job(task, code, key, limits)
            else:
                inputs = [call.arguments for call in plan.calls[reason]]
                self.jobs[place] = call_job(task, code, key, inputs, limits)

    def run(self) -> None:
        """Runs what was not run before, and sees for which tasks the tests take other answers."""
        keys = [key for key in self.jobs if key not in self.results]
        results = self.box.run([self.jobs[key] for key in keys]) if keys else []
        for key, result in zip(keys, results, strict=True):
            plan = self.plans[key[0]]
            settled = self.references.settle(plan.task, result) if key[2] is None else result
            self.results[key] = settled
            if key[2] is None and _answers_otherwise(settled, plan):
                self.several.add(key[0])

    def sample(
        self, plan: TaskPlan, arm: ArmPlan, number: int, seed: int, completion: Completion
    ) -> tuple[Sample, dict[Reason, float | None]]:
        known = {
            "task_id": plan.task.task_id,
            "reason": arm.reason,
            "arm": arm.arm,
            "sample": number,
            "seed": seed,
        }
        held: dict[Reason, float | None] = dict.fromkeys(self.asked(plan, arm))
        if completion.finish == "error":
            (kind,) = lost_kinds([completion])
            lost = {**known, "status": "no_reply", "score": None, "lost": kind}
            return Sample.model_validate(lost), held
        code = self.code(plan, arm, completion)
        result = self.results[plan.task.task_id, code, None]
        for reason in held:
            made = self.results[plan.task.task_id, code, reason]
            several = plan.task.task_id in self.several
            passed = several and result.score == 1.0
            held[reason] = 1.0 if passed else _on_held_out(made, plan.calls[reason], plan.task)
        told = {
            "status": result.status,
            "score": result.score,
            "code": code,
            "sandbox_level": result.sandbox_level,
        }
        if arm.reason is not None and held:
            told["held_out"] = held[arm.reason]
        return Sample.model_validate({**known, **told}), held


_LAST_BITS = 1e-9  # of a float: the order of a sum is no mistake


def _answers_otherwise(result: ExecResult, plan: TaskPlan) -> bool:
    """Whether code passes the tests with another answer than the reference's to a test's input.

    What may be answered in several ways is only known to the tests.
    """
    known = {call.arguments: call.value for call in plan.failures.calls}
    tolerance = max(plan.task.tolerance, _LAST_BITS)
    return result.score == 1.0 and any(
        call.value is not None
        and call.arguments in known
        and not agree(call.value, known[call.arguments], tolerance)
        for call in result.per_input
    )


def _on_held_out(made: ExecResult, calls: Sequence[Call], task: CodeTask) -> float | None:
    """1.0 where every held-out input gives the reference's value; None where it was not run."""
    if made.score is None:
        return None
    tolerance = max(task.tolerance, _LAST_BITS)
    right = len(made.per_input) == len(calls) and all(
        call.value is not None and agree(call.value, wanted.value, tolerance)
        for call, wanted in zip(made.per_input, calls, strict=False)
    )
    return float(right)


# ---- counting --------------------------------------------------------------------------------


def _count(scores: Sequence[float | None]) -> Count:
    known = [score for score in scores if score is not None]
    return Count(sum(score == 1.0 for score in known), len(known), len(scores) - len(known))


def _scores(
    drawn: Sequence[_Scored], arm: Arm, reason: Reason | None, on: Reason | None
) -> list[float | None]:
    """Of an arm, on what is held out for a reason, or by the tests (None)."""
    own = [each for each in drawn if each[0].arm == arm and each[0].reason == reason]
    return [held[on] if on in held and on is not None else one.score for _, one, held in own]


def _steady(scores: Sequence[float | None]) -> bool:
    return stable([score == 1.0 for score in scores if score is not None])


def _ready(plan: TaskPlan, drawn: Sequence[_Scored], dials: Intervening) -> set[Reason]:
    """Reasons that can be tried, by what the unchanged prompt has brought."""
    found: set[Reason] = set()
    for reason in plan.tried:
        base = _scores(drawn, "original", None, reason if reason in plan.calls else None)
        if not unready(_count(base), not _steady(base), dials.max_base_rate):
            found.add(reason)
    return found


def _outcome(plan: TaskPlan, drawn: Sequence[_Scored], dials: Intervening) -> Outcome:
    trials = []
    for reason in REASONS:
        if reason in plan.why:
            trials.append(Trial(reason, why=plan.why[reason]))
            continue
        on = reason if reason in plan.calls else None
        base = _scores(drawn, "original", None, on)
        trials.append(
            Trial(
                reason,
                edit=_count(_scores(drawn, "edit", reason, on)),
                placebo=_count(_scores(drawn, "placebo", reason, on)),
                base=_count(base),
                unstable=not _steady(base),
            )
        )
    reports = judge(plan.task.task_id, trials, alpha=dials.alpha, max_base_rate=dials.max_base_rate)
    arms = plan.arms if plan.tried else ()
    counts = {
        arm.key: _count(
            _scores(drawn, arm.arm, arm.reason, arm.reason if arm.reason in plan.calls else None)
        )
        for arm in arms
    }
    return Outcome(
        task_id=plan.task.task_id,
        samples=tuple(sample for _, sample, _ in drawn),
        interventions=tuple(
            _intervention(arm, counts.get(arm.key, Count(0, 0)), dials.seed)
            for arm in (*arms, *plan.refused)
        ),
        reports=reports,
        lost=sum(sample.status == "no_reply" for _, sample, _ in drawn),
        unedited=plan.lost,
    )


def _intervention(arm: ArmPlan, count: Count, seed: int) -> Intervention:
    return Intervention(
        task_id=arm.task.task_id,
        reason=arm.reason,
        arm=arm.arm,
        edit_diff=arm.diff,
        edit_hash=arm.digest,
        n=count.n + count.unscored,
        passes=count.passes,
        unscored=count.unscored,
        leak_check=arm.leak,
        seed=seed,
    )
