"""The dials of judging, synthesis, labelling and improving, each with three presets.

>>> Config.paper().template
'rise'
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeVar

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.aggregate import Aggregate
from planish.judges.overlap import NEAR
from planish.judges.pairs import Contrast
from planish.judges.prompted import Orders, PairwiseJudge, Reading
from planish.models.base import LanguageModel
from planish.records import Sampling

__all__ = [
    "Config",
    "Format",
    "ImproveConfig",
    "LabelConfig",
    "Preset",
    "SynthesisConfig",
    "SynthesisStage",
    "resolve",
]

Format = Literal["auto", "judgebench", "rewardbench", "planish"]
Preset = Literal["tiny", "laptop", "paper"]
SynthesisStage = Literal["sft", "dpo"]


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
        None, ge=0, description="0 is greedy; by default 0 for one sample, 1 for more."
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
            template="diverse",  # (second-hand): role, language, criteria, form; texts (our choice)
            samples=None,  # 8 for dpo (second-hand); 1 for sft (our choice)
            temperature=None,  # 0 for one sample, 1 for eight (our choice)
            max_tokens=4096,  # (public code): the authors' own runs, reward-bench #218
            length_ratio=1.5,  # similar lengths (second-hand); the number (our choice)
            pairs_per_item=4,  # (our choice)
            from_orders="both",  # (our choice): swapped copies (public code), hard set in one order
            balance=True,  # (our choice)
            require_solution=False,  # (our choice): items of the paper hold no target
            prefer="any",  # (our choice): supported is ours, and needs judgments that solve first
            near_duplicate=0.6,  # (our choice)
            min_coverage=0.9,  # (our choice)
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
            template="rise",  # paper: public code, no system turn, Chinese prompt, [[A]] / [[B]]
            reading="text",  # paper: public code
            judge_samples=1,  # paper: public code
            judge_temperature=0.0,  # paper: public code
            judge_max_tokens=4096,  # paper: the authors' own runs, reward-bench #218
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


C = TypeVar("C", bound=BaseModel)


def resolve(preset: Preset | None, given: C) -> C:
    """A preset with the flags that were given on top of it."""
    if preset is None:
        return given
    base: C = getattr(type(given), preset)()
    return base.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})
