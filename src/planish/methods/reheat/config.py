"""The dials of diagnosis, reheating and the loop, with three presets each.

>>> ReheatConfig.paper().reheat_temperature
1.2
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from planish.training.dials import TrainingDials, VllmDials

__all__ = ["PAPER_MODEL", "Config", "LoopConfig", "ReheatConfig"]

PAPER_MODEL = "Qwen/Qwen3-4B-Base"
"""The smaller of the paper's two bases, which `paper()` is for."""


class _Probing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_tokens: int = Field(2048, ge=1, description="Budget of one reply.")
    probe_prompts: int = Field(64, ge=1, description="Prompts of the gate split to probe on.")
    report_prompts: int = Field(200, ge=1, description="Prompts of the report split to report on.")
    batch_size: int = Field(16, ge=1, description="Replies drawn at once where vLLM does not.")
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of prompts, draws and intervals.")


class _Telling(BaseModel):
    samples: int = Field(8, ge=2, description="Replies to each prompt of the report.")
    collapse_ratio: float = Field(
        0.67,
        gt=0,
        le=1,
        description="Below this share of the reference entropy a policy counts as collapsed.",
    )


@Parameter(name="*")
class Config(_Telling, _Probing):
    """How a policy is looked at."""

    @classmethod
    def tiny(cls) -> Self:
        """The embedded walkers."""
        return cls(max_tokens=9, batch_size=256, samples=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small model (0.5-3B) on one machine."""
        return cls(max_tokens=512, report_prompts=64)

    @classmethod
    def paper(cls) -> Self:
        """As the paper evaluates, but at top-p 1: a cut tail hides what reheating changes."""
        return cls(
            max_tokens=8192,  # paper
            samples=8,  # paper: avg@8, pass@8
            probe_prompts=64,  # our choice: the paper reads the entropy off its rollouts
            report_prompts=500,  # paper: MATH-500
            collapse_ratio=0.67,  # paper: reheated below 0.08 nats, until above 0.12
            batch_size=16,  # our choice: changes no number
            seed=0,  # our choice
        )


class _Training(VllmDials, TrainingDials):
    save_every: int = Field(10, ge=1, description="Steps between checkpoints to resume from.")
    prompts: int = Field(20_000, ge=1, description="Prompts of the train split; fewer if fewer.")


class _Reheating(BaseModel):
    reheat_temperature: float = Field(
        1.2, gt=0, le=10, description="Of the teacher; above 1 it warms."
    )
    teacher: str = Field(
        "frozen", description="frozen, live (the paper's), or refresh:K: the policy K steps ago."
    )
    anchor: str | None = Field(
        None,
        description="Warm towards this earlier checkpoint (hf:PATH-OR-ID), not towards chance.",
    )
    trains: Literal["all", "final_norm"] = Field(
        "all",
        description="All weights, or the norm before the head: as warm, and no ranking moves.",
    )
    direction: Literal["fkl", "rkl"] = Field(
        "fkl", description="KL(teacher || policy), or the reverse."
    )
    inverse: Annotated[bool, Parameter(negative="")] = Field(
        False, description="Cool instead: a temperature below 1, to check reversibility."
    )
    reheat_learning_rate: float = Field(1e-6, gt=0, description="Learning rate of the reheating.")
    reheat_prompts: int = Field(32, ge=1, description="Different prompts a step of reheating.")
    reheat_rollouts: int = Field(1, ge=1, description="Rollouts of each of them.")
    max_steps: int = Field(30, ge=1, description="Reheating ends after so many steps.")
    stop_ratio: float = Field(
        1.0, gt=0, description="Reheating is done at this share of the reference entropy."
    )
    ceiling_ratio: float = Field(
        2.0, gt=0, description="Above this share of it the last step is taken back."
    )
    max_kl: float = Field(
        0.02, gt=0, description="The gate: mean token KL in nats from the policy of before."
    )
    min_top10: float = Field(
        0.95, ge=0, le=1, description="The gate: share of the ten likeliest tokens that stay."
    )
    min_agreement: float = Field(
        0.96, ge=0, le=1, description="The gate: tokens whose likeliest token stays."
    )

    @field_validator("teacher")
    @classmethod
    def _known(cls, value: str) -> str:
        kind, _, steps = value.partition(":")
        if value in ("frozen", "live"):
            return value
        if kind == "refresh" and steps.isascii() and steps.isdigit() and int(steps) > 0:
            return value
        raise ValueError("use frozen, live, or refresh:K with K steps")


@Parameter(name="*")
class ReheatConfig(_Reheating, _Training, _Probing):
    """How a policy is reheated."""

    @classmethod
    def tiny(cls) -> Self:
        """The embedded walkers, on one core (measured: our pilot)."""
        return cls(**_TINY)

    @classmethod
    def laptop(cls) -> Self:
        """A small model (0.5-3B) with LoRA on one machine."""
        return cls(max_tokens=512, report_prompts=64, reheat_learning_rate=1e-5, lora=True)

    @classmethod
    def paper(cls) -> Self:
        """TS-OPSD on `PAPER_MODEL`, on full weights."""
        return cls(**_PAPER)


@Parameter(name="*")
class LoopConfig(ReheatConfig, _Telling):
    """How reinforcement learning and reheating take turns."""

    steps: int = Field(200, ge=1, description="Steps of reinforcement learning, over all rounds.")
    rounds: int = Field(
        1, ge=0, description="Reheat at most so often; 0 is reinforcement learning alone."
    )
    learning_rate: float = Field(1e-6, gt=0, description="Learning rate of the RL.")
    prompts_per_step: int = Field(16, ge=1, description="Different prompts a step of RL.")
    rollouts: int = Field(8, ge=2, description="Rollouts of each of them.")
    temperature: float = Field(1.0, gt=0, le=100, description="Of the RL's rollouts.")
    clip_high: float = Field(0.28, gt=0, description="Upper clip of the RL's ratio (DAPO).")
    kl: float = Field(0.0, ge=0, description="Weight of the KL from the first model in RL.")
    warmup_steps: int = Field(0, ge=0, description="Steps in which the RL's learning rate rises.")
    hold_down: float = Field(
        1.0,
        gt=0,
        le=1,
        description="After a reheating RL learns at this share of its rate: the warmth lasts.",
    )
    hold_delta: float = Field(
        0.0,
        ge=0,
        description="After a reheating RL gets a bonus that holds the entropy at the stop level; "
        "its weight moves by so much a step. 0: none.",
    )
    patience: int = Field(3, ge=1, description="Probes running below the level that trigger.")
    probe_every: int = Field(10, ge=1, description="Steps of RL between two probes.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded walkers, on one core (measured: our pilot)."""
        # Shares of the entropy early in the RL, which is half of the walker's own.
        return cls(
            **_TINY | {"stop_ratio": 0.8, "ceiling_ratio": 1.6},
            collapse_ratio=0.4,
            samples=16,
            steps=300,
            learning_rate=1e-3,
            prompts_per_step=32,
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small model (0.5-3B) with LoRA on one machine."""
        return cls(
            max_tokens=512,
            report_prompts=64,
            reheat_learning_rate=1e-5,
            learning_rate=1e-5,
            lora=True,
        )

    @classmethod
    def paper(cls) -> Self:
        """DAPO, TS-OPSD, DAPO on `PAPER_MODEL`, on full weights."""
        return cls(
            **_PAPER,
            samples=8,  # paper: avg@8, pass@8
            collapse_ratio=0.67,  # paper: reheated below 0.08 nats, until above 0.12
            steps=540,  # paper: 2 epochs of DAPO-Math-17K at 64 prompts
            rounds=1,  # paper
            learning_rate=2e-6,  # paper
            prompts_per_step=64,  # paper
            rollouts=8,  # paper
            temperature=1.0,  # paper
            clip_high=0.28,  # paper
            kl=0.0,  # paper
            warmup_steps=10,  # paper
            hold_down=1.0,  # paper: the resumed RL is unchanged
            hold_delta=0.0,  # paper: as above
            patience=3,  # our choice: the paper's trigger is absolute, below 0.08 nats
            probe_every=10,  # our choice
        )


_TINY = {
    "max_tokens": 9,
    "batch_size": 256,
    "reheat_temperature": 2.0,
    "trains": "final_norm",
    "reheat_learning_rate": 2e-2,
    "reheat_prompts": 32,
    "reheat_rollouts": 8,
    "max_steps": 60,
    "stop_ratio": 0.33,
    "ceiling_ratio": 0.8,
    "max_kl": 0.3,
    "save_every": 20,
}

_PAPER = {
    "max_tokens": 8192,  # paper; 4096 while reheating
    "probe_prompts": 64,  # our choice
    "report_prompts": 500,  # paper: MATH-500
    "prompts": 20_000,  # paper: DAPO-Math-17K, all of it
    "reheat_temperature": 1.2,  # paper
    "teacher": "live",  # paper
    "direction": "fkl",  # paper
    "trains": "all",  # paper
    "reheat_learning_rate": 1e-6,  # paper
    "reheat_prompts": 1024,  # paper: effective batch
    "reheat_rollouts": 1,  # our choice: not stated
    "max_steps": 30,  # our choice; paper: steps 6 (4B) and 15 (8B) kept
    "stop_ratio": 1.0,  # paper: the early stable RL level
    "ceiling_ratio": 2.0,  # our choice
    "max_kl": 0.02,  # our choice
    "min_top10": 0.95,  # our choice
    "min_agreement": 0.96,  # our choice
    "schedule": "constant",  # paper
    "weight_decay": 0.1,  # paper, of RL
    "max_grad_norm": 1.0,  # paper, of RL
    "micro_batch_size": 1,  # our choice: the same numbers at any value
    "save_every": 5,  # our choice: changes no number
}
