"""The plan of improving a policy: that of its training, and how it is compared.

plan = make_plan(Given(policy="hf:./policy", pairs=Path("labels"), task="chain", ...))
plan.evaluation.judging(model, plan.seed)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.judges.templates import template_name
from planish.methods.rise.learning import training_plan
from planish.methods.rise.learning.config import TrainConfig
from planish.methods.rise.learning.training_plan import remade_plan
from planish.methods.rise.teaching.config import ImproveConfig
from planish.records import BadInput
from planish.runs.info import config_of, read_info
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.training.job import check_lora, model_path

__all__ = ["Given", "Plan", "make_plan", "resumed_plan"]


@dataclass(frozen=True)
class Given:
    """The options as they were typed."""

    policy: str | None
    pairs: Path | None
    out: Path | None
    task: str | None
    judge: str | None
    preset: Preset | None
    training: TrainConfig
    evaluation: ImproveConfig

    def for_training(self, config: TrainConfig, preset: Preset | None) -> training_plan.Given:
        """What the training is told."""
        return training_plan.Given(
            model=self.policy,
            sft=None,
            dpo=self.pairs,
            out=self.out,
            stage="dpo",
            preset=preset,
            config=config,
        )


class Plan(training_plan.Plan):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    task: str
    task_sha256: str | None
    judge: str | None
    judge_revision: str = ""
    template_hash: str = ""
    evaluation: ImproveConfig


def make_plan(given: Given) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: an option is missing, or names nothing that can be trained or read.
    """
    for name in ("policy", "pairs", "out", "task"):
        if getattr(given, name) is None:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix="give it, or --resume RUN to go on with a run",
            )
    assert given.policy is not None
    model_path(given.policy, "--policy")
    plan = training_plan.make_plan(given.for_training(given.training, given.preset))
    check_lora(plan, given.training)
    _check_judging(given.evaluation, given.judge)
    return _compared(plan, given, resolve(given.preset, given.evaluation))


def _check_judging(evaluation: ImproveConfig, judge: str | None) -> None:
    """Refuses dials that were typed for a judge that nobody named."""
    idle = sorted({"template", "judge_max_tokens"} & evaluation.model_fields_set)
    if idle and judge is None:
        raise BadInput(
            "has no effect without --judge",
            where=f"--{idle[0].replace('_', '-')}",
            fix="name another judge, or leave it out",
        )


def _compared(plan: training_plan.Plan, given: Given, evaluation: ImproveConfig) -> Plan:
    if evaluation.samples > 1 and evaluation.sampling.temperature == 0:
        raise BadInput(
            "several samples at temperature 0 are all the same",
            where="--samples",
            fix="raise --temperature or take one sample",
        )
    task = given.task or ""
    is_file = Path(task).is_file()
    return Plan(
        **plan.model_dump(),
        # Absolute, so that a run can be resumed from anywhere.
        task=str(Path(task).resolve()) if is_file else task,
        task_sha256=digest(Path(task)) if is_file else None,
        judge=given.judge,
        evaluation=evaluation.model_copy(update={"template": template_name(evaluation.template)}),
    )


def resumed_plan(folder: Path, given: Given) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before = config_of(read_info(folder), "rise", "improve", Plan)
    plan = remade_plan(before, given.for_training(given.training, given.preset))
    check_lora(plan, given.training)
    _check_judging(given.evaluation, given.judge or before.judge)
    again = Given(
        policy=given.policy or before.model,
        pairs=given.pairs,
        out=given.out,
        task=given.task or before.task,
        judge=given.judge or before.judge,
        preset=None,
        training=given.training,
        evaluation=given.evaluation,
    )
    evaluation = regiven(before.evaluation, given.evaluation, given.preset)
    return _compared(plan, again, evaluation)
