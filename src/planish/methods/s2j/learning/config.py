"""The dials of learning to judge by solving.

>>> TrainConfig.tiny().rollouts
4
"""

from __future__ import annotations

from typing import Literal, Self, get_args

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.overlap import NEAR
from planish.methods.s2j.config import PAPER_MODEL
from planish.methods.s2j.method import Arm, Weights
from planish.records import Sampling
from planish.training.dials import TrainingDials, VllmDials

__all__ = ["ONLINE", "PAPER_MODEL", "TrainArm", "TrainConfig"]

TrainArm = Literal["judge_only", "solve_only", "additive", "gated", "segment_credit", "dpo"]
ONLINE: tuple[Arm, ...] = get_args(Arm)
"""The arms that draw rollouts while they train."""


class _Online(VllmDials):
    judge_weight: float = Field(1.0, description="Weight of a right verdict.")
    solve_weight: float = Field(1.0, description="Weight of a right solution.")
    penalty: float = Field(0.5, description="What an output without the form costs.")
    min_solution_tokens: int = Field(
        0, ge=0, description="A shorter solution has not the form: for controls of equal length."
    )
    both_wrong: int = Field(
        0, ge=0, description="Items to mix in whose candidates are both wrong: no verdict counts."
    )
    alone: int = Field(
        0, ge=0, description="Questions to mix in that are solved alone, so that it is kept."
    )
    steps: int = Field(200, ge=1, description="Optimizer steps.")
    items_per_step: int = Field(16, ge=1, description="Items a step, each in both orders.")
    rollouts: int = Field(4, ge=2, description="Rollouts per order; both orders are one group.")
    learning_rate: float = Field(1e-6, gt=0, description="Peak learning rate.")
    kl: float = Field(0.0, ge=0, description="Weight of the KL divergence from the first model.")
    loss: Literal["dapo", "grpo", "bnpo", "dr_grpo"] = Field(
        "dapo", description="How token losses are averaged, in TRL's words."
    )
    scale: Literal["group", "batch", "none"] = Field(
        "group", description="By what deviation advantages are divided."
    )


class _Dpo(BaseModel):
    samples: int = Field(8, ge=2, description="Arm dpo: judgments drawn per item and order.")
    pairs_per_item: int = Field(4, ge=1, description="Arm dpo: at most so many pairs an item.")
    balance: bool = Field(
        True,
        description="Arm dpo: drop the surplus of one gold slot, and of longer or shorter chosen.",
    )
    dpo_learning_rate: float = Field(1e-6, gt=0, description="Arm dpo: peak learning rate of DPO.")
    dpo_epochs: float = Field(1.0, gt=0, description="Arm dpo: times that DPO sees every pair.")
    dpo_steps: int | None = Field(
        None, ge=1, description="Arm dpo: steps of DPO, in place of epochs."
    )
    dpo_batch_size: int = Field(64, ge=1, description="Arm dpo: pairs a step, over all processes.")
    beta: float = Field(0.1, gt=0, description="Arm dpo: DPO's hold on the reference model.")
    alpha: float = Field(
        1.0, ge=0, description="Arm dpo: weight of NLL on the chosen; 0 is DPO alone."
    )


@Parameter(name="*")
class TrainConfig(TrainingDials, _Dpo, _Online):
    """How a model learns to judge by solving first.

    The first dials are for the arms that draw while they train, the next ones for arm dpo.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    template: str = Field("solve_first", description="What asks for a solution and a verdict.")
    limit: int = Field(2000, ge=1, description="Items to learn from; fewer if there are fewer.")
    temperature: float = Field(1.0, gt=0, le=100, description="Of what is drawn.")
    max_tokens: int = Field(2048, ge=1, description="Budget of one judgment.")
    min_readable: float = Field(
        0.5, ge=0, le=1, description="Training stops once less of what is drawn has the form."
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps in which it rises.")
    near_duplicate: float = Field(
        NEAR, gt=0, le=1, description="Shared word runs from which two questions count as one."
    )
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of items, draws and adapters.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner in the toy world, on one core (measured: our pilot)."""
        return cls(
            template="chain",
            max_tokens=8,
            steps=200,
            items_per_step=24,
            rollouts=4,
            learning_rate=3e-4,
            dpo_learning_rate=5e-5,  # at 2e-4 the model unlearns to solve alone
            dpo_steps=300,
            dpo_batch_size=32,
            beta=1.0,
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model (0.5-3B) with LoRA on one machine."""
        return cls(
            max_tokens=1024,
            steps=100,
            items_per_step=4,
            rollouts=4,
            learning_rate=1e-5,
            dpo_learning_rate=2e-5,
            dpo_batch_size=16,
            micro_batch_size=1,
            lora=True,
        )

    @classmethod
    def paper(cls) -> Self:
        """Solve-to-Judge on `PAPER_MODEL`, on full weights.

        Its reward coefficients, optimizer settings and data counts are not public.
        """
        return cls(
            template="solve_first",  # paper: solution, then evaluation, then verdict; text ours
            judge_weight=1.0,  # our choice: both are rewarded (abstract), no coefficient is told
            solve_weight=1.0,  # our choice: as above
            penalty=0.5,  # our choice: not stated
            min_solution_tokens=0,  # our choice: not stated
            both_wrong=0,  # our choice: items with two wrong candidates are ours
            alone=0,  # our choice: questions to solve alone are ours
            limit=20_000,  # our choice: not stated
            steps=300,  # our choice: not stated
            items_per_step=64,  # our choice: not stated
            rollouts=4,  # our choice: eight an item, pooled over both orders
            learning_rate=1e-6,  # our choice: TRL's default
            kl=0.0,  # our choice: TRL's default
            loss="dapo",  # our choice: TRL's default; reinforcement learning is second-hand
            scale="group",  # our choice: TRL's default
            temperature=1.0,  # our choice: TRL's default
            max_tokens=4096,  # our choice: not stated
            min_readable=0.5,  # our choice
            samples=8,  # our choice: arm dpo is ours
            pairs_per_item=4,  # our choice: as above
            balance=True,  # our choice: as above
            dpo_learning_rate=5e-7,  # our choice: as above
            dpo_epochs=1,  # our choice: as above
            dpo_batch_size=128,  # our choice: as above
            beta=0.1,  # our choice: as above
            alpha=1.0,  # our choice: as above
            schedule="constant",  # our choice: not stated
            warmup=0.0,  # our choice: not stated
            weight_decay=0.0,  # our choice: not stated
            max_grad_norm=1.0,  # our choice: not stated
            micro_batch_size=1,  # our choice: the same numbers at any value
            lora=False,  # our choice: not stated
            save_every=25,  # our choice: changes no number
            near_duplicate=0.6,  # our choice
        )

    @staticmethod
    def idle_dials(arm: TrainArm) -> frozenset[str]:
        """The dials that this arm does not look at."""
        if arm == "dpo":
            return frozenset(_Online.model_fields)
        unused: dict[TrainArm, set[str]] = {
            "judge_only": {"solve_weight", "both_wrong"},
            "solve_only": {"judge_weight"},
            "gated": {"judge_weight", "solve_weight"},
        }
        return frozenset({*_Dpo.model_fields, *unused.get(arm, ())})

    @property
    def reward_weights(self) -> Weights:
        """What an output earns for its parts.

        Raises:
            BadInput: as `Weights`.
        """
        return Weights(self.judge_weight, self.solve_weight, self.penalty)

    @property
    def sampling(self) -> Sampling:
        """How judgments are drawn for arm dpo."""
        return Sampling(temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed)
