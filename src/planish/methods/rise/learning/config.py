"""The dials of learning to judge: how rows are made, and how a judge is trained on them.

>>> TrainConfig.paper().alpha
1.0
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.overlap import NEAR
from planish.judges.pairs import Contrast
from planish.records import Sampling
from planish.training.dials import TrainingDials
from planish.training.rows import Kind

__all__ = ["PAPER_MODELS", "DpoConfig", "SynthesisConfig", "SynthesisStage", "TrainConfig"]

SynthesisStage = Literal["sft", "dpo"]

PAPER_MODELS = ("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-32B")
"""What `TrainConfig.paper()` is for: the Base models, not Instruct (public code)."""


@Parameter(name="*")
class SynthesisConfig(BaseModel):
    """How training rows are made from pairs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field(
        "diverse", description="diverse: one of 360 prompts per item; or a template for all."
    )
    samples: int | None = Field(
        None, ge=1, description="Draws per order; by default 1 (stage sft) or 8 (stage dpo)."
    )
    temperature: float | None = Field(
        None, ge=0, le=100, description="0 is greedy; by default 0 for one sample, 1 for more."
    )
    max_tokens: int = Field(2048, ge=1, description="Budget of one judgment.")
    length_ratio: float = Field(
        1.5, ge=1, description="Stage sft: drop items whose candidates differ more in length."
    )
    pairs_per_item: int = Field(4, ge=1, description="Stage dpo: at most so many pairs an item.")
    from_orders: Literal["both", "failed"] = Field(
        "both", description="Stage dpo: pairs of a hard item from both orders, or the failed ones."
    )
    balance: bool = Field(
        True, description="Drop the surplus of one gold slot, and of longer or shorter chosen."
    )
    require_solution: Annotated[bool, Parameter(negative="")] = Field(
        False, description="A kept or chosen judgment must also solve the item right."
    )
    prefer: Contrast = Field(
        "any",
        description="Stage dpo: supported takes pairs whose chosen judgment rests on a solution "
        "that leads to the right verdict more often, over all draws, than the rejected one's.",
    )
    near_duplicate: float = Field(
        NEAR, gt=0, le=1, description="Shared word runs from which two questions count as one."
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this share of readable judgments nothing is made."
    )
    seed: int = Field(0, ge=0, description="Seed of prompts, draws, what the balance drops.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar, drawn at temperature 1."""
        return cls(template="chain", temperature=1.0, max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: shorter judgments."""
        return cls(max_tokens=1024)

    @classmethod
    def paper(cls) -> Self:
        """As far as the authors tell how they made their two sets."""
        return cls(
            template="diverse",  # second-hand: role, language, criteria, form; texts our choice
            samples=None,  # 8 for dpo (second-hand); 1 for sft (our choice)
            temperature=None,  # 0 for one sample, 1 for eight (our choice)
            max_tokens=4096,  # public code: the authors' own runs, reward-bench #218
            length_ratio=1.5,  # second-hand: similar lengths; the number our choice
            pairs_per_item=4,  # our choice
            from_orders="both",  # our choice: swapped copies are public code, hard set in one order
            balance=True,  # our choice
            require_solution=False,  # our choice: items of the paper hold no target
            prefer="any",  # our choice: supported is ours, and needs judgments that solve first
            near_duplicate=0.6,  # our choice
            min_coverage=0.9,  # our choice
        )

    def num_samples(self, stage: SynthesisStage) -> int:
        """Draws per order: one judgment of a teacher, eight of the model to be improved."""
        return self.samples or {"sft": 1, "dpo": 8}[stage]

    def sampling(self, stage: SynthesisStage) -> Sampling:
        """How judgments are drawn."""
        temperature = self.temperature
        if temperature is None:
            temperature = 0.0 if self.num_samples(stage) == 1 else 1.0
        return Sampling(temperature=temperature, max_tokens=self.max_tokens, seed=self.seed)


class _Sft(BaseModel):
    sft_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of SFT.")
    sft_epochs: float = Field(2.0, gt=0, description="Times that SFT sees every row.")
    sft_steps: int | None = Field(None, ge=1, description="Steps of SFT, in place of epochs.")
    sft_batch_size: int = Field(64, ge=1, description="Rows a step, over all processes.")


class _Dpo(BaseModel):
    dpo_learning_rate: float = Field(1e-6, gt=0, description="Peak learning rate of DPO.")
    dpo_epochs: float = Field(1.0, gt=0, description="Times that DPO sees every pair.")
    dpo_steps: int | None = Field(None, ge=1, description="Steps of DPO, in place of epochs.")
    dpo_batch_size: int = Field(64, ge=1, description="Pairs a step, over all processes.")
    beta: float = Field(0.1, gt=0, description="DPO's hold on the reference model.")
    alpha: float = Field(1.0, ge=0, description="Weight of NLL on the chosen; 0 is DPO alone.")
    preference_weight: float = Field(
        1.0, ge=0, description="Weight of the DPO term; 0 is NLL on the chosen alone."
    )


class _Scalar(BaseModel):
    scalar_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate of a head.")
    scalar_epochs: float = Field(1.0, gt=0, description="Times that the head sees every pair.")
    scalar_steps: int | None = Field(None, ge=1, description="Its steps, in place of epochs.")
    scalar_batch_size: int = Field(64, ge=1, description="Pairs a step, over all processes.")


class _Common(TrainingDials):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schedule: Literal["linear", "cosine", "constant"] = Field(
        "cosine", description="How the learning rate falls."
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps in which it rises.")
    max_length: int | None = Field(
        None, ge=2, description="Longest row allowed, in tokens; by default what the model holds."
    )
    save_every: int = Field(100, ge=1, description="Steps between checkpoints to resume from.")
    near_duplicate: float = Field(
        NEAR, gt=0, le=1, description="Shared word runs from which two questions count as one."
    )
    seed: int = Field(0, ge=0, lt=1 << 32, description="Seed of row order, adapters and dropout.")


@Parameter(name="*")
class DpoConfig(_Common, _Dpo):
    """The dials of a training that is DPO alone."""


@Parameter(name="*")
class TrainConfig(_Common, _Scalar, _Dpo, _Sft):
    """How a judge is trained: stage 1 is SFT, stage 2 is DPO with an NLL term on the chosen.

    Stage scalar is the baseline of both: a Bradley-Terry reward head on the pairs themselves.
    """

    @classmethod
    def tiny(cls) -> Self:
        """The embedded models in the toy world, on one core (measured: benchmarks/bench_rise)."""
        return cls(
            sft_learning_rate=2e-4,
            sft_steps=75,
            sft_batch_size=32,
            dpo_learning_rate=2e-4,
            dpo_steps=125,
            dpo_batch_size=32,
            beta=1.0,
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

    @staticmethod
    def own_dials(stage: Kind) -> frozenset[str]:
        """The dials that only this stage heeds."""
        groups: dict[Kind, type[BaseModel]] = {"sft": _Sft, "dpo": _Dpo, "scalar": _Scalar}
        return frozenset(groups[stage].model_fields)

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
