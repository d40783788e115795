"""The plan of one training: what decides its result, and how a run goes on with it.

plan = make_plan(Given(model="hf:./base", sft=Path("data"), out=Path("judge"), ...))
plan.stages, plan.data_sha256
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from planish.methods.rise.learning.config import TrainConfig
from planish.records import BadInput
from planish.runs.info import config_of, read_info
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.training.job import model_path
from planish.training.launch import num_processes
from planish.training.rows import Kind, data_file

__all__ = [
    "Given",
    "Plan",
    "Stage",
    "check_stages",
    "make_plan",
    "remade_plan",
    "resumed_plan",
]

Stage = Literal["sft", "dpo", "both", "scalar"]


@dataclass(frozen=True)
class Given:
    """The options as they were typed."""

    model: str | None
    sft: Path | None
    dpo: Path | None
    out: Path | None
    stage: Stage | None
    preset: Preset | None
    config: TrainConfig
    report_pairs: tuple[Path, ...] = ()
    scalar: Path | None = None


class Plan(TrainConfig):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    model: str
    model_fingerprint: str
    stages: tuple[Kind, ...]
    data: dict[Kind, str]
    data_sha256: dict[Kind, str]
    out: str
    num_processes: int
    report_pairs: tuple[str, ...] = ()
    report_sha256: tuple[str, ...] = ()


def make_plan(given: Given) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: an option is missing, or names nothing that can be trained or read.
    """
    if given.model is None or given.out is None:
        raise BadInput(
            "is missing",
            where="--model" if given.model is None else "--out",
            fix="give it, or --resume RUN to go on with a run",
        )
    from planish.models.local_loading import fingerprint

    paths: dict[Kind, Path | None] = {
        "sft": given.sft,
        "dpo": given.dpo,
        "scalar": given.scalar,
    }
    stages = _stages(given.stage, paths)
    found: dict[Kind, Path] = {}
    for stage in stages:
        rows = paths[stage]
        if rows is None:
            raise BadInput("is missing", where=f"--{stage}", fix=f"stage {stage} needs its rows")
        found[stage] = data_file(rows, stage)
    config = resolve(given.preset, given.config)
    if "dpo" in stages and config.alpha == config.preference_weight == 0:
        raise BadInput(
            "is 0 and so is --preference-weight: there is nothing to learn",
            where="--alpha",
            fix="raise one of them",
        )
    path = model_path(given.model)
    return Plan(
        **config.model_dump(),
        model=given.model,
        model_fingerprint=fingerprint(path, None) if Path(path).is_dir() else "hub",
        stages=stages,
        data={stage: str(path.resolve()) for stage, path in found.items()},
        data_sha256={stage: digest(path) for stage, path in found.items()},
        out=str(given.out.resolve()),
        num_processes=num_processes(),
        report_pairs=tuple(str(path.resolve()) for path in given.report_pairs),
        report_sha256=tuple(map(digest, given.report_pairs)),
    )


def _stages(stage: Stage | None, paths: Mapping[Kind, Path | None]) -> tuple[Kind, ...]:
    given = tuple(name for name, path in paths.items() if path is not None)
    if "scalar" in given and (len(given) > 1 or stage not in (None, "scalar")):
        raise BadInput(
            "makes another kind of judge than SFT and DPO do", where="--scalar", fix="give it alone"
        )
    if stage == "both":
        return ("sft", "dpo")
    if stage is not None:
        return (stage,)
    if not given:
        raise BadInput(
            "no rows to train on", where="--sft", fix="give --sft, --dpo or both, or --scalar"
        )
    return given


def check_stages(plan: Plan, typed: TrainConfig) -> None:
    """Refuses dials of a stage that does not run; a preset may set them.

    Raises:
        BadInput: with the first of them.
    """
    others: tuple[Kind, ...] = ("sft", "dpo", "scalar")
    for stage in others:
        idle = sorted(typed.model_fields_set & typed.own_dials(stage))
        if idle and stage not in plan.stages:
            raise BadInput(
                f"has no effect without stage {stage}",
                where=f"--{idle[0].replace('_', '-')}",
                fix="train that stage, or leave it out",
            )


def resumed_plan(folder: Path, given: Given) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    return remade_plan(config_of(read_info(folder), "rise", "train", Plan), given)


def remade_plan(before: Plan, given: Given) -> Plan:
    """A plan of before with whatever was given again, and what its files hold now."""
    data = {stage: Path(path) for stage, path in before.data.items()}
    return make_plan(
        Given(
            model=given.model or before.model,
            sft=given.sft or data.get("sft"),
            dpo=given.dpo or data.get("dpo"),
            out=given.out or Path(before.out),
            stage=given.stage or ("both" if len(before.stages) == 2 else before.stages[0]),
            preset=None,
            config=regiven(before, given.config, given.preset),
            report_pairs=given.report_pairs or tuple(map(Path, before.report_pairs)),
            scalar=given.scalar or data.get("scalar"),
        )
    )
