"""The dials of training a judge with three presets, and the plan of one run.

>>> TrainConfig.paper().alpha
1.0
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.overlap import NEAR
from planish.methods.rise.config import Preset
from planish.records import BadInput
from planish.runs.info import config_of, read_info
from planish.training.launch import num_processes
from planish.training.rows import Kind, data_file

__all__ = [
    "PAPER_MODELS",
    "Given",
    "Plan",
    "Stage",
    "TrainConfig",
    "make_plan",
    "model_path",
    "remade_plan",
    "resolve_training",
    "resumed_plan",
]

Stage = Literal["sft", "dpo", "both", "scalar"]

PAPER_MODELS = ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-32B")
"""What `paper()` is for: the Base models, not Instruct (public code)."""


@Parameter(name="*")
class TrainConfig(BaseModel):
    """How a judge is trained: stage 1 is SFT, stage 2 is DPO with an NLL term on the chosen.

    Stage scalar is the baseline of both: a Bradley-Terry reward head on the pairs themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sft_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of SFT.")
    sft_epochs: float = Field(2.0, gt=0, description="Times that SFT sees every row.")
    sft_steps: int | None = Field(None, ge=1, description="Steps of SFT, in place of epochs.")
    sft_batch_size: int = Field(64, ge=1, description="Rows a step, over all processes.")
    dpo_learning_rate: float = Field(1e-6, gt=0, description="Peak learning rate of DPO.")
    dpo_epochs: float = Field(1.0, gt=0, description="Times that DPO sees every pair.")
    dpo_steps: int | None = Field(None, ge=1, description="Steps of DPO, in place of epochs.")
    dpo_batch_size: int = Field(64, ge=1, description="Pairs a step, over all processes.")
    beta: float = Field(0.1, gt=0, description="DPO's hold on the reference model.")
    alpha: float = Field(1.0, ge=0, description="Weight of NLL on the chosen; 0 is DPO alone.")
    preference_weight: float = Field(
        1.0, ge=0, description="Weight of the DPO term; 0 is NLL on the chosen alone."
    )
    scalar_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of a head.")
    scalar_epochs: float = Field(1.0, gt=0, description="Times that the head sees every pair.")
    scalar_steps: int | None = Field(None, ge=1, description="Its steps, in place of epochs.")
    scalar_batch_size: int = Field(64, ge=1, description="Pairs a step, over all processes.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "cosine", description="How the learning rate falls."
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps in which it rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    max_length: int | None = Field(
        None, ge=2, description="Longest row allowed, in tokens; by default what the model holds."
    )
    micro_batch_size: int | None = Field(
        None, ge=1, description="Rows at once on one device; by default all of its share."
    )
    gradient_checkpointing: bool | None = Field(
        None, description="Recompute activations to save memory; by default on GPUs only."
    )
    weights: Literal["float32", "bfloat16"] | None = Field(
        None, description="Weights in memory; by default float32, bfloat16 for LoRA on a GPU."
    )
    lora: Annotated[bool, Parameter(negative="")] = Field(
        False, description="Train a low-rank adapter and merge it at the end."
    )
    lora_rank: int = Field(16, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(32, ge=1, description="Scale of the adapter.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    save_every: int = Field(100, ge=1, description="Steps between checkpoints to resume from.")
    near_duplicate: float = Field(
        NEAR, gt=0, le=1, description="Shared word runs from which two questions count as one."
    )
    seed: int = Field(0, ge=0, description="Seed of row order, adapters and dropout.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner in the toy world, on one core."""
        return cls(
            sft_learning_rate=5e-4,
            sft_epochs=3,
            sft_batch_size=32,
            dpo_learning_rate=3e-4,
            dpo_steps=150,
            dpo_batch_size=32,
            scalar_learning_rate=1e-3,
            scalar_epochs=3,
            scalar_batch_size=32,
            schedule="linear",
            warmup=0.05,
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model (0.5-3B) with LoRA on one machine."""
        return cls(
            lora=True,
            sft_learning_rate=2e-4,
            sft_epochs=2,
            sft_batch_size=16,
            dpo_learning_rate=2e-5,
            dpo_epochs=1,
            dpo_batch_size=16,
            scalar_learning_rate=1e-4,
            scalar_batch_size=16,
            micro_batch_size=1,
        )

    @classmethod
    def paper(cls) -> Self:
        """RISE-Judge on `PAPER_MODELS`: two stages on full weights.

        The learning rates, beta and the weight of the NLL term are not public.
        """
        return cls(
            lora=False,  # our choice: not stated
            sft_learning_rate=1e-5,  # our choice: not stated
            sft_epochs=2,  # our choice: not stated
            sft_batch_size=128,  # our choice: not stated
            dpo_learning_rate=5e-7,  # our choice: not stated
            dpo_epochs=1,  # our choice: not stated
            dpo_batch_size=128,  # our choice: not stated
            beta=0.1,  # our choice: TRL's example of Iterative RPO
            alpha=1.0,  # second-hand: DPO with NLL is best; the weight is our choice, as beta
            preference_weight=1.0,  # paper: stage 2 is DPO
            scalar_learning_rate=2e-6,  # our choice: the paper trains no head of its own
            scalar_epochs=1,  # our choice: a head overfits in a second one
            scalar_batch_size=128,  # our choice: as the other stages
            schedule="cosine",  # our choice: not stated
            warmup=0.03,  # our choice: not stated
            weight_decay=0.0,  # our choice: not stated
            max_grad_norm=1.0,  # our choice: not stated
            max_length=None,  # our choice: nothing is cut; the longest row decides
            micro_batch_size=1,  # our choice: the same numbers at any value
            save_every=50,  # our choice: changes no number
            near_duplicate=0.6,  # our choice
        )

    def num_steps(self, stage: Kind, num_rows: int) -> int:
        """Optimizer steps of a stage."""
        given: int | None = getattr(self, f"{stage}_steps")
        if given is not None:
            return given
        per_epoch = math.ceil(num_rows / self.batch_size(stage))
        epochs: float = getattr(self, f"{stage}_epochs")
        return math.ceil(epochs * per_epoch)

    def batch_size(self, stage: Kind) -> int:
        """Rows a step of a stage."""
        size: int = getattr(self, f"{stage}_batch_size")
        return size


def resolve_training(preset: Preset | None, given: TrainConfig) -> TrainConfig:
    """A preset with the flags that were given on top of it."""
    if preset is None:
        return given
    base: TrainConfig = getattr(TrainConfig, preset)()
    changes = {name: getattr(given, name) for name in given.model_fields_set}
    return TrainConfig(**(base.model_dump() | changes))


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
    config = resolve_training(given.preset, given.config)
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
        data={stage: str(path) for stage, path in found.items()},
        data_sha256={stage: _sha256(path) for stage, path in found.items()},
        out=str(given.out),
        num_processes=num_processes(),
        report_pairs=tuple(str(path.resolve()) for path in given.report_pairs),
        report_sha256=tuple(map(_sha256, given.report_pairs)),
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


def model_path(spec: str, option: str = "--model") -> str:
    """The folder or Hub id of a model that can be trained; `option` is what named it.

    Raises:
        BadInput: another kind of model, or options, which training sets itself.
    """
    from planish.embedded import path as embedded

    scheme, _, target = spec.partition(":")
    if scheme not in ("hf", "embedded") or not target or "?" in target:
        raise BadInput(
            f"{spec!r} cannot be trained",
            where=option,
            fix="name a local model without options: hf:PATH-OR-ID or embedded:reasoner",
        )
    return str(embedded(target)) if scheme == "embedded" else str(Path(target).expanduser())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="check the path"
        ) from None


def resumed_plan(folder: Path, given: Given) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    return remade_plan(config_of(read_info(folder), "rise", "train", Plan), given)


def remade_plan(before: Plan, given: Given) -> Plan:
    """A plan of before with whatever was given again, and what its files hold now."""
    settings = {name: getattr(before, name) for name in TrainConfig.model_fields}
    changes = {name: getattr(given.config, name) for name in given.config.model_fields_set}
    if given.preset is not None:
        changes = resolve_training(given.preset, given.config).model_dump()
    data = {stage: Path(path) for stage, path in before.data.items()}
    return make_plan(
        Given(
            model=given.model or before.model,
            sft=given.sft or data.get("sft"),
            dpo=given.dpo or data.get("dpo"),
            out=given.out or Path(before.out),
            stage=given.stage or ("both" if len(before.stages) == 2 else before.stages[0]),
            preset=None,
            config=TrainConfig(**(settings | changes)),
            report_pairs=given.report_pairs or tuple(map(Path, before.report_pairs)),
            scalar=given.scalar or data.get("scalar"),
        )
    )
