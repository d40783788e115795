"""The dials of measuring with three presets.

>>> Config.paper().template
'solve_first'
"""

from __future__ import annotations

from typing import Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.records import BadInput, Sampling

__all__ = ["PAPER_MODEL", "Config"]

PAPER_MODEL = "Qwen/Qwen2.5-7B-Instruct"
"""The headline base of the paper (second-hand), which `Config.paper()` is for."""

_FRESH = 1_000_003  # between the seeds of draws that must not be the same


@Parameter(name="*")
class Config(BaseModel):
    """How solving and judging are measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field(
        "solve_first", description="A prompt that asks for a solution, then a verdict; or a file."
    )
    solves: int = Field(
        8, ge=1, description="Solutions per question to choose by, and as many to report."
    )
    judgments: int = Field(4, ge=1, description="Judgments per order.")
    temperature: float = Field(0.7, ge=0, le=100, description="Of all draws; 0 is greedy.")
    tau: float = Field(
        1.0, gt=0, le=1, description="A question counts as solved from this share of solutions on."
    )
    max_tokens: int = Field(2048, ge=1, description="Budget of one solution or judgment.")
    both_wrong: int = Field(
        100, ge=0, description="Questions of a task that are judged with two wrong candidates too."
    )
    interventions: int = Field(
        100,
        ge=0,
        description="Items whose own solution is replaced, to see if the verdict follows.",
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this coverage no headline is printed."
    )
    seed: int = Field(0, ge=0, description="Seed of items, draws and intervals.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar, drawn at temperature 1."""
        return cls(template="chain", temperature=1.0, max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: fewer and shorter draws."""
        return cls(solves=4, judgments=2, max_tokens=1024, both_wrong=50, interventions=50)

    @classmethod
    def paper(cls) -> Self:
        """As far as the paper tells how it measures, on `PAPER_MODEL`."""
        return cls(
            template="solve_first",  # paper: solution, comparison, verdict; the words our choice
            solves=8,  # our choice: not stated
            judgments=4,  # our choice: not stated; both orders are ours too
            temperature=0.7,  # our choice: not stated
            tau=1.0,  # our choice: "can solve" is not quantified
            max_tokens=4096,  # our choice: not stated
            both_wrong=100,  # our choice: the paper has no such slice
            interventions=100,  # our choice: the paper does not intervene
            min_coverage=0.9,  # our choice
        )

    def check_draws(self) -> None:
        """Refuses draws that cannot differ.

        Raises:
            BadInput: several draws at temperature 0.
        """
        for name in ("solves", "judgments"):
            if self.temperature == 0 and getattr(self, name) > 1:
                raise BadInput(
                    "several samples at temperature 0 are all the same",
                    where=f"--{name}",
                    fix="raise --temperature or take one sample",
                )

    @property
    def judging(self) -> Sampling:
        """How judgments are drawn."""
        return self._drawn(self.judgments, 0)

    @property
    def choosing(self) -> Sampling:
        """How the solutions are drawn that decide which questions count as solved."""
        return self._drawn(self.solves, 0)

    @property
    def reporting(self) -> Sampling:
        """How the solutions are drawn that are reported: chosen by luck, those above look better
        than they are.
        """
        return self._drawn(self.solves, 1)

    @property
    def greedy(self) -> Sampling:
        """The likeliest reply, once."""
        return Sampling(temperature=0.0, max_tokens=self.max_tokens, seed=self.seed)

    def _drawn(self, number: int, round: int) -> Sampling:
        return Sampling(
            n=number,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed + _FRESH * round,
        )
