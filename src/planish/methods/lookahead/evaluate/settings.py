"""The dials of an evaluation.

>>> Settings(interval=32).rule
'head'
"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ARMS", "BUILDABLE", "DEFAULTS", "Arm", "Settings"]

Arm = Literal[
    "lookahead", "recency", "random", "last-query", "quest", "omnikv", "snapkv", "oracle",
    "oracle-task", "dense",
]  # fmt: skip

ARMS: tuple[Arm, ...] = (
    "lookahead", "recency", "random", "last-query", "quest", "omnikv", "snapkv", "oracle",
    "oracle-task", "dense",
)  # fmt: skip

BUILDABLE: tuple[Arm, ...] = ARMS[:7]
"""Those that see no future."""


@Parameter(name="*")
class Settings(BaseModel):
    """What may stay, how it is measured, and what counts as needed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    chunk_tokens: int | None = Field(
        None, ge=1, description="Tokens of a chunk; by default the indexer's, or 16."
    )
    interval: int = Field(64, ge=1, description="Tokens between two decisions.")
    recent_tokens: int = Field(16, ge=1, description="Last tokens, which always stay.")
    sink_tokens: int = Field(0, ge=0, description="First tokens, which always stay.")
    threshold: float = Field(0.5, gt=0, lt=1, description="Above it lookahead wants a chunk.")
    mode: Literal["max", "mean"] = Field("max", description="How scored layers are joined.")
    fallback_ratio: float | None = Field(
        None, gt=0, le=1, description="Lookahead turns dense above this share of wanted chunks."
    )
    fill: Annotated[bool, Parameter(negative="--no-fill")] = Field(
        True, description="Lookahead uses all its bytes, below the threshold too."
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Tokens of a reply; by default two more than the task's own."
    )
    batch_size: int = Field(8, ge=1, description="Documents of one length at once.")
    piece_tokens: int = Field(2048, ge=1, description="Tokens of one forward pass of a prompt.")
    observed: int = Field(32, ge=1, description="Last tokens of the prompt that snapkv looks at.")
    quality: Annotated[bool, Parameter(negative="--no-quality")] = Field(
        True, description="Measure recall, missed attention and KL along the dense reply, too."
    )
    rule: Literal["mass", "head"] = Field(
        "head", description="What is needed: any head's look, or cumulative mass over layers."
    )
    head_mass: float = Field(0.3, gt=0, lt=1, description="Rule head: what one head must give.")
    mass: float = Field(0.6, gt=0, lt=1, description="Rule mass: cumulative share in a layer.")
    min_layers: int | None = Field(
        None, ge=1, description="Rule mass: layers that must agree; by default 3 of 21."
    )


DEFAULTS = Settings()
