"""The plan of one training: what decides its result, and how a run goes on with it.

plan = make_plan(Given(model="embedded:reasoner", task="chain:3", arm="additive", ...))
plan.arm, plan.template
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.judges.formats import Format
from planish.judges.templates import template_name
from planish.methods.s2j.learning.config import ONLINE, TrainArm, TrainConfig
from planish.methods.s2j.origin import preset_for, source_of
from planish.records import BadInput
from planish.runs.info import config_of, read_info
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.training.job import check_lora, check_vllm, model_path
from planish.training.launch import num_processes

__all__ = ["Given", "Plan", "make_plan", "resumed_plan"]


@dataclass(frozen=True)
class Given:
    """The options as they were typed."""

    model: str | None
    task: str | None
    pairs: Path | None
    arm: TrainArm | None
    out: Path | None
    preset: Preset | None
    config: TrainConfig
    format: Format | None = None
    report_pairs: tuple[Path, ...] = ()


class Plan(TrainConfig):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    arm: TrainArm
    model: str
    model_fingerprint: str
    task: str | None
    pairs: str | None
    format: Format
    data_sha256: str | None
    out: str
    num_processes: int
    report_pairs: tuple[str, ...] = ()
    report_sha256: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """Where the items come from, for messages."""
        return self.pairs or f"task {self.task}"


def make_plan(given: Given, typed: TrainConfig | None = None) -> Plan:
    """The plan that the options make.

    Args:
        given: all of them.
        typed: the dials among them that somebody typed, where others come from a run of before.

    Raises:
        BadInput: an option is missing, has no effect, or names nothing that can be used.
    """
    if given.model is None or given.arm is None or given.out is None:
        missing = {"--model": given.model, "--arm": given.arm, "--out": given.out}
        raise BadInput(
            "is missing",
            where=next(name for name, value in missing.items() if value is None),
            fix="give it, or --resume RUN to go on with a run",
        )
    source = source_of(given.task, given.pairs, given.format)
    from planish.models.local_loading import fingerprint

    preset = preset_for(given.model, given.config, given.preset)
    config = resolve(preset, given.config)
    path = model_path(given.model)
    plan = Plan(
        **config.model_dump(exclude={"template"}),
        template=template_name(config.template),
        arm=given.arm,
        model=given.model,
        model_fingerprint=fingerprint(path, None) if Path(path).is_dir() else "hub",
        **source,
        out=str(given.out.resolve()),
        num_processes=num_processes(),
        report_pairs=tuple(str(path.resolve()) for path in given.report_pairs),
        report_sha256=tuple(map(digest, given.report_pairs)),
    )
    _check(plan, given.config if typed is None else typed)
    return plan


def _check(plan: Plan, typed: TrainConfig) -> None:
    check_lora(plan, typed)
    idle = sorted(typed.model_fields_set & plan.idle_dials(plan.arm))
    if idle:
        raise BadInput(
            f"has no effect in arm {plan.arm}", where=_option(idle[0]), fix="leave it out"
        )
    if plan.arm in ONLINE:
        _check_rewards(plan)
    if plan.pairs is not None and plan.both_wrong:
        raise BadInput(
            "is for tasks: a file holds what items it holds",
            where="--both-wrong",
            fix="leave it out",
        )


def _check_rewards(plan: Plan) -> None:
    weights = plan.reward_weights
    used = {"judge_only": weights.judge, "solve_only": weights.solve}.get(plan.arm, 1.0)
    if used == 0:
        name = f"{plan.arm.removesuffix('_only')}_weight"
        raise BadInput(
            f"is 0 and arm {plan.arm} rewards nothing else", where=_option(name), fix="raise it"
        )
    check_vllm(plan)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def resumed_plan(folder: Path, given: Given) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before = config_of(read_info(folder), "s2j", "train", Plan)
    pairs = None if before.pairs is None else Path(before.pairs)
    again = Given(
        model=given.model or before.model,
        task=given.task or (None if given.pairs else before.task),
        pairs=given.pairs or (None if given.task else pairs),
        arm=given.arm or before.arm,
        out=given.out or Path(before.out),
        preset=None,
        config=regiven(before, given.config, given.preset),
        format=given.format or (before.format if before.pairs else None),
        report_pairs=given.report_pairs or tuple(map(Path, before.report_pairs)),
    )
    return make_plan(again, given.config)
