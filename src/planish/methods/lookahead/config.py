"""The dials of the room: what is dumped, what counts as needed, how the indexer is trained.

>>> Config.paper().chunk_tokens
4
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "RANKING", "Config", "Dumping", "Initial", "Loss", "Negatives", "RuleName", "Tokens",
    "Training",
]  # fmt: skip

RuleName = Literal["mass", "head", "needs"]
Loss = Literal["bce", "focal", "softmax", "infonce"]
Tokens = Literal["all", "decisions"]
RANKING: tuple[Loss, ...] = ("softmax", "infonce")
"""Losses that tell which chunks are needed most, and not how likely each is."""

Negatives = Literal["uniform", "all"]
Initial = Literal["random", "queries"]


class _Dials(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@Parameter(name="*")
class Dumping(_Dials):
    """What `planish lookahead dump` keeps of every document."""

    chunk_tokens: int = Field(32, ge=1, le=4096, description="Tokens of history in one chunk.")
    pooling: Literal["mean", "mean-min-max"] = Field(
        "mean", description="How the un-rotated keys of a chunk become its features."
    )
    max_layers: int = Field(
        8, ge=1, description="Scored layers, evenly spread over those with full attention."
    )
    continuation: int = Field(
        256, ge=0, description="Tokens that the model itself decodes after a prompt, at most."
    )
    prompt_runs: int = Field(1, ge=0, description="Stretches of a prompt that are sampled, too.")
    run_tokens: int = Field(
        128, ge=1, description="Tokens of such a stretch; longer than the window of the labels."
    )
    top_chunks: int = Field(
        0, ge=0, description="Keep the mass of so many chunks a token and layer; 0: of all."
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float16", description="Of hidden states, features and mass in the dump."
    )
    batch_size: int = Field(8, ge=1, description="Prompts that are continued at once.")
    piece_tokens: int = Field(
        2048, ge=1, description="Tokens of one forward pass over a long document."
    )
    seed: Annotated[int, Parameter(name="--seed")] = Field(
        0, ge=0, lt=1 << 31, description="Seed of examples and of the sampled stretches."
    )

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reader, which answers in records of eight words, on one core."""
        return cls(
            chunk_tokens=4,
            pooling="mean-min-max",
            continuation=66,
            prompt_runs=0,
            run_tokens=96,
            dtype="float32",
            batch_size=32,
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small language model (0.5-3B) with up to 32K tokens on one machine."""
        return cls(batch_size=1, top_chunks=256)

    @classmethod
    def paper(cls) -> Self:
        """As near to arXiv 2606.09079 as an ordinary backbone allows."""
        return cls(
            chunk_tokens=4,  # public code: one compressed key for 4 tokens
            pooling="mean",  # ours: the published key is the backbone's own compressed one
            max_layers=8,  # public code: 8 layers trained, 3 kept
            continuation=1024,  # ours: not known
            prompt_runs=4,  # ours: not known
            run_tokens=512,  # ours: not known
            top_chunks=2048,  # ours: four times the cap on positives
            dtype="bfloat16",  # section 2.3 of the specification: bf16
            batch_size=1,  # ours: changes no number
            piece_tokens=8192,  # ours: changes no number
            seed=0,  # ours
        )


@Parameter(name="*")
class Training(_Dials):
    """What counts as needed, and how `planish lookahead train` learns to tell it."""

    rule: RuleName = Field(
        "mass",
        description="Needed is what gathers attention mass over layers, what any head looks at, "
        "or what the task knows.",
    )
    mass: float = Field(0.6, gt=0, lt=1, description="Rule mass: cumulative share in a layer.")
    among: Literal["history", "evictable"] = Field(
        "history", description="Rule mass: of all chunks' mass, or without sinks and recent ones."
    )
    min_layers: int | None = Field(
        None, ge=1, description="Rule mass: layers that must agree; by default 3 of 21."
    )
    head_mass: float = Field(0.3, gt=0, lt=1, description="Rule head: what one head must give.")
    interval: int = Field(64, ge=1, description="Tokens that a decision must serve.")
    tokens: Tokens = Field(
        "all",
        description="Learned from: all that were sampled, or those at which decoding decides, "
        "were each stretch a reply.",
    )
    stride: int | None = Field(
        None,
        ge=1,
        description="Tokens between two decisions that are learned from; by default the interval.",
    )
    sink_tokens: int = Field(0, ge=0, description="First tokens, which stay without a label.")
    recent_tokens: int = Field(128, ge=1, description="Last tokens, which stay without a label.")
    max_positives: int = Field(512, ge=1, description="Needed chunks of one token, at most.")

    rank: int = Field(128, ge=1, description="Width between the two query projections.")
    num_heads: int = Field(8, ge=1, description="Heads of the indexer.")
    init: Initial = Field(
        "random",
        description="Or start from the backbone's own query projection, where it fits, or from "
        "its native indexer.",
    )
    loss: Loss = Field(
        "bce",
        description="softmax ranks: a needed chunk against all that are not; infonce is an "
        "ablation.",
    )
    gamma: float = Field(2.0, ge=0, description="Of the focal loss.")
    negatives: Negatives = Field(
        "uniform", description="Drawn anew each epoch, or every chunk of the document."
    )
    negative_ratio: float = Field(3.0, gt=0, description="Uniform negatives for one positive.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Taken from both labels.")
    layer_weights: Annotated[bool, Parameter(negative="")] = Field(
        False, description="Positives weigh 0.5 to 2 by how many layers agree."
    )
    common_share: float = Field(
        0.8, gt=0, le=1, description="A chunk needed by a larger share of its document's tokens..."
    )
    common_weight: float = Field(0.5, gt=0, le=1, description="...weighs so much.")

    epochs: int = Field(4, ge=1, description="Passes over the sampled tokens, at most.")
    batch_size: int = Field(64, ge=1, description="Tokens of one step.")
    learning_rate: float = Field(1e-4, gt=0, description="Of AdamW, with a cosine schedule.")
    weight_decay: float = Field(0.01, ge=0, description="Of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped there.")
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the steps in which it rises.")
    bf16: Annotated[bool, Parameter(negative="")] = Field(
        False, description="Mixed precision, on a GPU that has it."
    )
    patience: int = Field(3, ge=1, description="Epochs without a better score before it stops.")
    validation_share: float = Field(
        0.2, gt=0, lt=1, description="Of the documents, where the dump has no split gate."
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="Above it a chunk is kept.")
    budgets: tuple[float, ...] = Field(
        (0.05, 0.1, 0.15, 0.25), description="Shares of evictable chunks for recall@budget."
    )
    aim: float = Field(0.1, gt=0, le=1, description="The budget that stops the training early.")
    calibrate: Literal["f1", "rate", "none"] = Field(
        "f1", description="The bias is set on validation: best F1, or the rate of positives."
    )
    keep_layers: int = Field(3, ge=1, description="Layers of the result, chosen on validation.")
    seed: Annotated[int, Parameter(name="--seed")] = Field(
        0, ge=0, lt=1 << 31, description="Seed of weights, batches and negatives."
    )

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reader: what `building.py` makes the indexer with that ships.

        Its tasks know which words an answer needs, and its own attention is too diffuse to tell.
        """
        return cls(
            rule="needs",
            tokens="decisions",
            stride=8,  # of an answer's records; what is asked at its end only, knows only its end
            recent_tokens=16,
            sink_tokens=0,
            rank=128,
            num_heads=16,
            init="random",
            loss="softmax",
            negatives="all",
            epochs=4,
            batch_size=32,
            learning_rate=3e-3,
            warmup=0.05,
            patience=10,
            validation_share=0.05,
        )

    @classmethod
    def laptop(cls) -> Self:
        """A small language model (0.5-3B)."""
        return cls(
            recent_tokens=512, sink_tokens=64, among="evictable", rank=256, learning_rate=5e-4
        )

    @classmethod
    def paper(cls) -> Self:
        """As near to arXiv 2606.09079 as what is known of it allows."""
        return cls(
            rule="mass",  # ours: attention mass; published: the native indexer's own logits
            mass=0.6,  # public code
            among="history",  # public code
            min_layers=None,  # public code: 3 of 21, scaled
            head_mass=0.3,  # ours
            interval=64,  # paper
            sink_tokens=0,  # public code: launch script
            recent_tokens=8192,  # public code
            max_positives=512,  # public code
            rank=2048,  # public code
            num_heads=128,  # public code
            init="random",  # public code, where there is no native indexer
            loss="focal",  # public code
            gamma=2.0,  # public code
            negatives="uniform",  # public code
            negative_ratio=3.0,  # public code
            label_smoothing=0.0,  # public code: an option
            layer_weights=True,  # public code: 0.5-2.0
            common_share=0.8,  # public code
            common_weight=0.5,  # public code
            epochs=5,  # public code: 3-5
            batch_size=64,  # public code
            learning_rate=1e-4,  # public code
            weight_decay=0.01,  # public code
            max_grad_norm=1.0,  # public code
            warmup=0.0,  # ours: not known
            bf16=True,  # public code
            patience=3,  # ours
            validation_share=0.2,  # ours
            threshold=0.5,  # public code
            budgets=(0.05, 0.1, 0.15, 0.25),  # ours
            aim=0.1,  # paper: about a tenth of the memory
            calibrate="f1",  # ours
            keep_layers=3,  # public code
            seed=0,  # ours
        )


class Config(Dumping, Training):
    """All dials of the room."""

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reader."""
        return cls(**(Dumping.tiny().model_dump() | Training.tiny().model_dump()))

    @classmethod
    def laptop(cls) -> Self:
        """A small language model on one machine."""
        return cls(**(Dumping.laptop().model_dump() | Training.laptop().model_dump()))

    @classmethod
    def paper(cls) -> Self:
        """As near to arXiv 2606.09079 as what is known of it allows; see the two parts."""
        return cls(**(Dumping.paper().model_dump() | Training.paper().model_dump()))
