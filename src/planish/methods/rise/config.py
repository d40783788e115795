"""The dials of judging with three presets.

The dials of each other part stand beside it: `judging/evaluation_plan.py`, `learning/config.py`,
`teaching/config.py`.

>>> Config.paper().template
'rise'
"""

from __future__ import annotations

from typing import Annotated, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.aggregate import Aggregate
from planish.judges.prompted import Orders, PairwiseJudge, Reading
from planish.models.base import LanguageModel
from planish.records import Sampling

__all__ = ["Config"]


@Parameter(name="*")
class Config(BaseModel):
    """How cases are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field("plain", description="Shipped template, or a file of your own.")
    orders: Orders = Field("both", description="Which reply stands first.")
    aggregate: Aggregate = Field("vote", description="How calls become one outcome.")
    reading: Reading = Field(
        "text", description="Parse the text, or read P(A) directly or after the reasoning."
    )
    samples: int = Field(1, ge=1, description="Draws per order.")
    temperature: float | None = Field(
        None, ge=0, le=100, description="0 is greedy; by default 0 for one sample, 0.7 for more."
    )
    max_tokens: int = Field(2048, ge=1, description="Budget of one judgment.")
    parse_retries: int = Field(0, ge=0, description="Ask again where no verdict can be read.")
    stop_early: Annotated[bool, Parameter(negative="")] = Field(
        False, description="With several samples, stop once the vote cannot change."
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this coverage no headline is printed."
    )
    seed: int = Field(0, ge=0, description="Seed of orders, draws and intervals.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar, drawn at temperature 1."""
        return cls(template="chain", temperature=1.0, max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: short judgments, unreadable ones asked again."""
        return cls(template="plain", max_tokens=1024, parse_retries=1)

    @classmethod
    def paper(cls) -> Self:
        """RISE-Judge on RewardBench, as its authors ran it."""
        return cls(
            template="rise",  # public code: no system turn, Chinese prompt, [[A]] / [[B]]
            max_tokens=4096,  # authors (reward-bench #218); the harness default is 2048
            temperature=0.0,  # public code
            orders="both",  # ours: the harness asks in one unseeded order
            samples=1,  # public code
            parse_retries=0,  # public code: no second try
        )

    def judge(self, model: LanguageModel) -> PairwiseJudge:
        """The judge that these dials describe."""
        temperature = self.temperature
        if temperature is None:
            temperature = 0.0 if self.samples == 1 else 0.7
        return PairwiseJudge(
            model,
            self.template,
            orders=self.orders,
            aggregate=self.aggregate,
            reading=self.reading,
            samples=self.samples,
            sampling=Sampling(temperature=temperature, max_tokens=self.max_tokens),
            seed=self.seed,
            parse_retries=self.parse_retries,
            stop_early=self.stop_early,
        )
