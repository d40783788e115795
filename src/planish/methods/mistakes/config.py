"""The dials of the room, with three presets.

>>> Config.paper().intervening.samples
40
"""

from __future__ import annotations

from typing import Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.records import Sampling
from planish.tasks.sandbox.contract import MAX_MEMORY_MB, Level, Limits

__all__ = [
    "Config",
    "Detecting",
    "DetectorName",
    "Diagnosing",
    "Generating",
    "Intervening",
    "Sandboxing",
]


DetectorName = Literal["rules", "direct", "evidence", "react"]


class _Dials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sandboxing(_Dials):
    """Where code is run, and what it may use."""

    accept_level: Level = Field(
        "unshare",
        description="The weakest sandbox that will do: bwrap, unshare, or fork (no walls).",
    )
    seconds: float = Field(
        4.0,
        gt=0,
        le=600,
        description="For one program; where its reference is slow, four times that.",
    )
    memory_mb: int = Field(1024, ge=128, le=MAX_MEMORY_MB, description="MiB for one program.")
    workers: int | None = Field(
        None, ge=1, le=1024, description="Programs at once; by default one a core."
    )

    def limits(self) -> Limits:
        """As the sandbox takes them."""
        return Limits(seconds=self.seconds, memory_mb=self.memory_mb)


class Generating(_Dials):
    """How code is asked for."""

    samples: int = Field(5, ge=1, le=10_000, description="Programs for each task.")
    temperature: float = Field(0.8, ge=0, le=100, description="Of the draws; 0 is greedy.")
    max_tokens: int = Field(1024, ge=1, description="Budget of one program.")
    seed: int = Field(0, ge=0, description="Seed of draws and intervals.")

    @classmethod
    def tiny(cls) -> Self:
        """The package's own tasks: seconds on two cores."""
        return cls(samples=4)

    @classmethod
    def laptop(cls) -> Self:
        """A small model on one machine."""
        return cls(samples=3)

    @classmethod
    def paper(cls) -> Self:
        """Greedy, one program for each task; our choice, since the paper is silent."""
        return cls(samples=1, temperature=0.0)

    def sampling(self) -> Sampling:
        """As models take it."""
        return Sampling(
            temperature=self.temperature, max_tokens=self.max_tokens, n=self.samples, seed=self.seed
        )


class Diagnosing(_Dials):
    """How much is run to find out what is wrong."""

    inputs: int = Field(
        120, ge=1, le=100_000, description="Inputs on which candidate and reference are run."
    )
    failing: int = Field(
        8, ge=1, le=1000, description="Failing inputs that are kept, shrunk ones first."
    )
    mutants: int = Field(
        4000, ge=0, le=10_000_000, description="Changes of one place that are tried at most."
    )
    repair_seconds: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="Work of one search, reckoned in seconds of a core; no clock decides.",
    )
    threshold: float = Field(0.45, ge=0, le=1, description="Below this confidence: abstain.")

    @classmethod
    def tiny(cls) -> Self:
        """The package's own tasks: seconds on two cores."""
        return cls(inputs=60, mutants=1500, repair_seconds=10)

    @classmethod
    def laptop(cls) -> Self:
        """The defaults."""
        return cls()

    @classmethod
    def paper(cls) -> Self:
        """The defaults; the paper runs nothing, so the numbers are ours."""
        return cls()


class Detecting(_Dials):
    """What a model may spend on one failed program."""

    detector: DetectorName = Field(
        "rules", description="rules, direct (a model), evidence (with evidence), react (tools)."
    )
    calls: int = Field(12, ge=1, description="Calls of the model for one program.")
    tokens: int = Field(20_000, ge=1, description="Tokens of the model for one program.")
    detect_max_tokens: int = Field(1024, ge=1, description="Budget of one reply.")


class Intervening(_Dials):
    """How reasons are tried."""

    samples: int = Field(40, ge=2, le=10_000, description="Programs for each arm.")
    alpha: float = Field(0.05, ge=1e-4, lt=1, description="Level after Holm.")
    max_base_rate: float = Field(0.8, gt=0, le=1, description="Above it there is nothing to mend.")
    temperature: float = Field(0.8, ge=0, le=100, description="Of the draws.")
    max_tokens: int = Field(1024, ge=1, description="Budget of one program.")
    seed: int = Field(0, ge=0, description="Seed of draws and inputs; the same for every arm.")

    @classmethod
    def tiny(cls) -> Self:
        """The defaults: fewer programs for each arm show no effect."""
        return cls()

    @classmethod
    def laptop(cls) -> Self:
        """A small model on one machine: power 0.8 at 5 % for one reason."""
        return cls(samples=28)

    @classmethod
    def paper(cls) -> Self:
        """Ours: power 0.8 for 0.2 -> 0.6 at Holm's first step; the paper intervenes nowhere."""
        return cls(samples=40)


@Parameter(name="*")
class Config(_Dials):
    """What the presets set, at once; each stage takes its own part."""

    generating: Generating = Generating()
    diagnosing: Diagnosing = Diagnosing()
    intervening: Intervening = Intervening()

    @classmethod
    def tiny(cls) -> Self:
        """The package's own tasks: seconds on two cores."""
        return cls(
            generating=Generating.tiny(),
            diagnosing=Diagnosing.tiny(),
            intervening=Intervening.tiny(),
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small model on one machine."""
        return cls(
            generating=Generating.laptop(),
            diagnosing=Diagnosing.laptop(),
            intervening=Intervening.laptop(),
        )

    @classmethod
    def paper(cls) -> Self:
        """As far as the paper is known."""
        return cls(
            generating=Generating.paper(),
            diagnosing=Diagnosing.paper(),
            intervening=Intervening.paper(),
        )
