"""The dials of teaching a policy: how its replies are labelled, and how it is compared.

>>> LabelConfig.paper().margin
0.25
"""

from __future__ import annotations

from typing import Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.prompted import PairwiseJudge, Reading
from planish.models.base import LanguageModel
from planish.records import Sampling

__all__ = ["ASKING", "ImproveConfig", "LabelConfig"]

ASKING = frozenset(
    {"mode", "template", "reading", "judge_samples", "judge_temperature", "judge_max_tokens"}
)
"""Dials of labelling that say how a judge is asked: a reward head is asked nothing."""


@Parameter(name="*")
class LabelConfig(BaseModel):
    """How the replies of a policy are drawn, scored and paired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=2, description="Replies of the policy per prompt.")
    temperature: float = Field(1.0, gt=0, le=100, description="Temperature of the policy.")
    max_tokens: int = Field(1024, ge=1, description="Budget of one reply of the policy.")
    mode: Literal["duels", "pointwise"] = Field(
        "duels", description="Every two replies in both orders, or a rating of each."
    )
    template: str | None = Field(
        None, description="Shipped template, or a file; by default plain (duels) or rating."
    )
    reading: Reading = Field(
        "text", description="Duels: parse the text, or read P(A) directly or after the reasoning."
    )
    judge_samples: int = Field(1, ge=1, description="Judgments per order, or per reply.")
    judge_temperature: float | None = Field(
        None, ge=0, le=100, description="0 is greedy; by default 0 for one sample, 0.7 for more."
    )
    judge_max_tokens: int = Field(2048, ge=1, description="Budget of one judgment.")
    margin: float = Field(
        0.25, gt=0, le=1, description="Best and worst score must be so far apart (0 to 1)."
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this share of readable judgments nothing is made."
    )
    seed: int = Field(0, ge=0, description="Seed of prompts, draws and random labels.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar."""
        return cls(template="chain", max_tokens=16, judge_max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: fewer and shorter replies and judgments."""
        return cls(samples=4, max_tokens=512, judge_max_tokens=1024)

    @classmethod
    def paper(cls) -> Self:
        """As far as the authors tell how their judge labelled pairs for internal policies."""
        return cls(
            samples=8,  # our choice: not stated
            temperature=1.0,  # our choice: not stated
            max_tokens=4096,  # our choice: not stated
            mode="duels",  # second-hand: the judge compares two replies
            template="rise",  # public code: no system turn, Chinese prompt, [[A]] / [[B]]
            reading="text",  # public code
            judge_samples=1,  # public code
            judge_temperature=0.0,  # public code
            judge_max_tokens=4096,  # authors (reward-bench #218)
            margin=0.25,  # our choice: not stated
            min_coverage=0.9,  # our choice
        )


@Parameter(name="*")
class ImproveConfig(BaseModel):
    """How a policy is compared before and after its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(500, ge=1, description="Prompts of the task's report split.")
    samples: int = Field(1, ge=1, description="Replies per prompt, before and after.")
    temperature: float | None = Field(
        None, ge=0, le=100, description="0 is greedy; by default 0 for one sample, 1 for more."
    )
    max_tokens: int = Field(1024, ge=1, description="Budget of one reply of the policy.")
    template: str = Field("plain", description="Prompt of the other judge, or a file.")
    judge_max_tokens: int = Field(2048, ge=1, description="Budget of one judgment.")
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this share of readable duels there is no win rate."
    )

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar."""
        return cls(template="chain", max_tokens=16, judge_max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: fewer prompts, shorter replies."""
        return cls(limit=200, max_tokens=512, judge_max_tokens=1024)

    @classmethod
    def paper(cls) -> Self:
        """The authors' policies and benchmarks are internal: every number is ours."""
        return cls(
            limit=500,  # our choice: not stated
            samples=1,  # our choice: not stated
            temperature=0.0,  # our choice: not stated
            max_tokens=4096,  # our choice: not stated
            template="plain",  # our choice: not the prompt that the labels were made with
            judge_max_tokens=4096,  # our choice: as the labelling judge has
            min_coverage=0.9,  # our choice
        )

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn, but for the seed."""
        temperature = self.temperature
        if temperature is None:
            temperature = 0.0 if self.samples == 1 else 1.0
        return Sampling(temperature=temperature, max_tokens=self.max_tokens, n=self.samples)

    def judging(self, model: LanguageModel, seed: int) -> PairwiseJudge:
        """The other judge; each order weighs the same."""
        sampling = Sampling(temperature=0.0, max_tokens=self.judge_max_tokens)
        return PairwiseJudge(model, self.template, aggregate="mean", sampling=sampling, seed=seed)
