"""The dials of the room: how pairs are built, what the gates ask for, how models are asked.

>>> Config.paper().repeats
1
"""

from __future__ import annotations

from typing import Annotated, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.records import Sampling

__all__ = ["REPEATS", "Asking", "Building", "Config", "Gates"]

REPEATS = 64
"""Replies to one call, at most."""


class _Dials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@Parameter(name="*")
class Gates(_Dials):
    """What an edited picture must keep to.

    Pixel differences are the largest over the three channels, in levels of 255.
    """

    margin: int = Field(
        3,
        ge=0,
        le=64,
        description="Pixels by which the mask is widened before anything is outside.",
    )
    noise: int = Field(
        16,
        ge=0,
        le=254,
        description="A generative edit may shift a pixel outside by this many levels.",
    )
    leak_share: float = Field(
        0.002, ge=0, lt=1, description="Share of pixels outside that may differ by more than noise."
    )
    leak_patch: float = Field(
        0.0003,
        ge=0,
        lt=1,
        description="Share of pixels outside that one patch of clearly other colours may take.",
    )
    leak_mean: float = Field(
        3.0,
        ge=0,
        description="Mean difference outside, in levels, that a generative edit may make.",
    )
    min_changed: float = Field(
        0.02, gt=0, le=1, description="Share of the mask that must differ by more than noise."
    )
    min_ssim: float = Field(
        0.85, gt=0, le=1, description="Mean structural similarity outside the mask, at least."
    )
    text_points: float = Field(
        5.0, gt=0, description="Points from chance that the words alone may tell."
    )


@Parameter(name="*")
class Building(_Dials):
    """How a bench is built."""

    size: int = Field(512, ge=256, le=1024, description="Pixels a side of every scene.")
    seed: Annotated[int, Parameter(name="--seed")] = Field(
        0, ge=0, lt=1 << 31, description="Seed of scenes, options and edits."
    )
    workers: int | None = Field(None, ge=1, description="Processes; by default one a core.")


@Parameter(name="*")
class Asking(_Dials):
    """How a model is asked: what `planish vfaith run` uses of `Config`."""

    temperature: float = Field(0.0, ge=0, le=100, description="0 is greedy.")
    max_tokens: int = Field(1024, ge=1, description="Of a reply, its reasoning included.")
    repeats: int = Field(1, ge=1, le=REPEATS, description="Replies to each question and picture.")
    retries: int = Field(
        1, ge=0, description="Times that calls which brought no reply are made again at the end."
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this share of usable pairs no headline is printed."
    )
    seed: int = Field(0, ge=0, lt=1 << 31, description="Seed of the draws.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded viewers: a letter is all they say."""
        return cls(max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small vision-language model on one machine."""
        return cls(max_tokens=512)

    @classmethod
    def paper(cls) -> Self:
        """As near to arXiv 2506.11571 as what is known of it allows; most of it is ours."""
        return cls(
            temperature=0.0,  # not given in what we know of the paper; ours
            max_tokens=4096,  # the paper: zero-shot chain of thought; the number is ours
            repeats=1,  # ours: not known
            retries=1,  # ours
            min_coverage=0.9,  # ours
            seed=0,  # ours
        )

    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return Sampling(
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            n=self.repeats,
            seed=self.seed,
        )


class Config(Asking):
    """How a model is asked, and how its replies are counted."""

    min_ratio_items: int = Field(
        20, ge=1, description="A ratio with a smaller denominator is not printed."
    )
    resamples: int = Field(10_000, ge=200, description="Bootstrap draws of an interval.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded viewers."""
        return cls(**Asking.tiny().model_dump(), resamples=2_000)

    @classmethod
    def laptop(cls) -> Self:
        """A small vision-language model on one machine."""
        return cls(**Asking.laptop().model_dump())

    @classmethod
    def paper(cls) -> Self:
        """As near to arXiv 2506.11571 as what is known of it allows; see `Asking.paper`."""
        return cls(
            **Asking.paper().model_dump(),
            min_ratio_items=20,  # ours
            resamples=10_000,  # ours: the paper gives no intervals
        )
