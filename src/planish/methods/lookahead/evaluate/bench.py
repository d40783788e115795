"""The model on the bench: its sizes, what a share buys an arm, and under which budget it decodes.

bench = Bench(model, tokenizer, indexer=indexer, settings=Settings(interval=32))
bench.chunks_for(Play("quest", 0.1), prompt=2048, max_tokens=50)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from planish.errors import BadInput
from planish.methods.lookahead.arms.making import digest_of
from planish.methods.lookahead.arms.shares import Shape, affordable, growth
from planish.methods.lookahead.evaluate.compressed import EntryShape, Unmoved
from planish.methods.lookahead.evaluate.settings import ARMS, DEFAULTS, Settings
from planish.models.local_loading import opened
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget
from planish.models.memory.deepseek import DeepseekMemory
from planish.models.memory.native_topk import is_deepseek

__all__ = ["Bench", "Play", "plays"]

_DEFAULT_CHUNK = 16


@dataclass(frozen=True)
class Play:
    """An arm at a share of the dense bytes."""

    arm: str
    fraction: float


def plays(arms: Sequence[str], fractions: Sequence[float]) -> list[Play]:
    """Every arm at every share; dense once.

    Raises:
        BadInput: no arm, an unknown one, one named twice, no share, or one outside (0, 1].
    """
    for arm in arms:
        if arm not in ARMS:
            raise BadInput(f"no arm is called {arm!r}", where="arms", fix=f"use {', '.join(ARMS)}")
    if not arms or len(set(arms)) < len(arms):
        raise BadInput("name each arm once, and at least one", where="arms")
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise BadInput(f"{fraction:g} is no share", where="fractions", fix="use 0.05, 0.1, ...")
    choosing = [arm for arm in arms if arm != "dense"]
    if (choosing and not fractions) or len(set(fractions)) < len(fractions):
        raise BadInput("name each share once, and at least one", where="fractions")
    found = [Play(arm, fraction) for fraction in fractions for arm in choosing]
    return found + ([Play("dense", 1.0)] if "dense" in arms else [])


class Bench:
    """A model with all that is the same for its documents.

    Args:
        indexer: of the arm lookahead; its chunk size is everybody's.
        eos_ids: tokens that end a reply; by default what model and tokenizer say.

    Attributes:
        compressed: whether it is DeepSeek-V4; see `evaluate.compressed`.

    Raises:
        BadInput: no full-attention layers, or an indexer for another model or chunk size.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        indexer: Any = None,
        settings: Settings = DEFAULTS,
        eos_ids: Sequence[int] | None = None,
    ) -> None:
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.indexer = indexer
        self.eos_ids = opened(model, tokenizer).eos_ids if eos_ids is None else tuple(eos_ids)
        self.compressed = is_deepseek(model)
        self.backbone: Backbone
        self.shape: Shape
        if self.compressed:
            self.backbone, self.shape = Unmoved(model), EntryShape.of(model)
            self.chunk_tokens = self._chunk_tokens(self.shape.chunk_tokens)
            if indexer is not None:
                DeepseekMemory(model, indexer, Budget())  # refuses what does not fit
                indexer.to(model.device)
            return
        self.backbone = Backbone.of(model)
        self.chunk_tokens = self._chunk_tokens()
        if indexer is not None:
            indexer.check(self.backbone.fingerprint(), self.chunk_tokens)
        self.shape = Shape(
            num_layers=len(self.backbone.memory_layers),
            num_kv_heads=self.backbone.num_kv_heads,
            head_dim=self.backbone.head_dim,
            element_bytes=model.dtype.itemsize,
            chunk_tokens=self.chunk_tokens,
        )

    def _chunk_tokens(self, native: int | None = None) -> int:
        """Of a chunk; `native`: the model itself says."""
        wanted = self.settings.chunk_tokens
        if native is not None and wanted not in (None, native):
            raise BadInput(
                f"a chunk of this model is {native} tokens, not {wanted}",
                where="--chunk-tokens",
                fix="leave it out",
            )
        if native is not None:
            return native
        trained = None if self.indexer is None else int(self.indexer.config.chunk_tokens)
        if wanted and trained and wanted != trained:
            raise BadInput(
                f"the indexer was trained on chunks of {trained} tokens, not {wanted}",
                where="--chunk-tokens",
                fix="leave it out",
            )
        return wanted or trained or _DEFAULT_CHUNK

    def chunks_for(self, play: Play, prompt: int, max_tokens: int) -> int | None:
        """Chunks that a share buys an arm; None where sinks and recent tokens do not fit."""
        scored = 0 if self.indexer is None else len(self.indexer.layers)
        digest = digest_of(play.arm, self.shape, scored_layers=scored)
        chunks = affordable(
            self.shape,
            play.fraction,
            prompt_tokens=prompt,
            num_chunks=(prompt + max_tokens) // self.chunk_tokens,
            growth=growth(self.settings.interval, self.chunk_tokens),
            # Records of entries lie in no buffer that grows ahead of them.
            digest=replace(digest, ahead=False) if self.compressed else digest,
        )
        return None if chunks is None or chunks < self.always() else chunks

    def always(self) -> int:
        """Chunks that sinks and recent tokens take at most."""
        sinks, recent = self.settings.sink_tokens, self.settings.recent_tokens
        return -(-sinks // self.chunk_tokens) + -(-recent // self.chunk_tokens)

    def budget(self, arm: str, chunks: int) -> Budget:
        """What an arm may do with its chunks: the same for all, but for what it is by nature."""
        settings = self.settings
        fills = settings.fill if arm == "lookahead" else arm != "snapkv"
        return Budget(
            threshold=settings.threshold,
            max_chunks=chunks,
            min_chunks=chunks if fills else 0,
            sink_tokens=settings.sink_tokens,
            recent_tokens=settings.recent_tokens,
            interval=settings.interval,
            mode=settings.mode,
            fallback_ratio=settings.fallback_ratio if arm == "lookahead" else None,
        )
