"""DeepSeek-V4 on the bench: its entries are chosen from and not moved, so a server is counted.

    backbone = Unmoved(model)
    with behind(backbone, prefilled, scorer, budget, watch) as (cache, held):
        model(input_ids=ids_BT, past_key_values=cache)

`DeepseekMemory` restricts what attention may choose from; the entries stay where transformers puts
them. What is told here as resident is what a server would hold that keeps the rest on its host, and
shares are of that; `allocated` is what really lies on the device, all of it. Only arms run that do
not read the keys of an ordinary cache; needs and missed attention are not measured. Ours.

Shape suffixes: B rows, C entries.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.methods.lookahead.arms.shares import Shape
from planish.methods.lookahead.evaluate.settings import Arm
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, Bytes, WindowRecord
from planish.models.memory.deepseek import DeepseekMemory
from planish.models.memory.entries import Entries
from planish.models.memory.scoring import ChunkScorer, IndexerScorer, Moment

if TYPE_CHECKING:
    from planish.methods.lookahead.evaluate.dense import Prefilled

__all__ = ["COUNTED", "THERE", "EntryShape", "Held", "Unmoved", "behind", "check_arms"]

THERE: tuple[Arm, ...] = ("lookahead", "recency", "random", "dense")
"""Arms that choose among entries; all others read the keys of an ordinary cache."""

COUNTED = (
    "nothing is moved: all of DeepSeek-V4's entries stay on the device; KV is what a server would "
    "hold that keeps the rest on its host, and needs are not measured"
)
"""What is told of its numbers."""


def check_arms(arms: Sequence[str]) -> None:
    """Refuses arms that read an ordinary cache.

    Raises:
        BadInput: naming them.
    """
    if other := [arm for arm in arms if arm not in THERE]:
        raise BadInput(
            f"not for DeepSeek-V4, whose compressed entries only an indexer reads: "
            f"{', '.join(other)}",
            where="--arms",
            fix=f"use --arms {','.join(THERE)}",
        )


class Unmoved(Entries):
    """DeepSeek-V4, seen as a model none of whose layers has keys that could be moved."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.memory_layers = ()


@dataclass(frozen=True)
class EntryShape(Shape):
    """The sizes of its entries: `head_dim` is of one, what it is looked up by included."""

    @classmethod
    def of(cls, model: Any) -> EntryShape:
        """Of all compressed-sparse layers."""
        config, kind = model.config, "compressed_sparse_attention"
        return cls(
            num_layers=list(config.layer_types).count(kind),
            num_kv_heads=1,
            head_dim=int(config.head_dim) + int(config.index_head_dim),
            element_bytes=model.dtype.itemsize,
            chunk_tokens=int(config.compress_rates[kind]),
        )

    @property
    def layer_token(self) -> int:
        """A token's part of an entry in one layer, rounded up."""
        return -(-self.num_kv_heads * self.head_dim * self.element_bytes // self.chunk_tokens)

    @property
    def chunk(self) -> int:
        """Bytes of an entry in all of them."""
        return self.num_layers * self.num_kv_heads * self.head_dim * self.element_bytes

    def dense(self, length: int) -> int:
        """Bytes of all entries of so many tokens."""
        return length // self.chunk_tokens * self.chunk


class Held:
    """What an arm may attend to, by the names that an ordinary cache has for it."""

    def __init__(self, memory: DeepseekMemory, shape: EntryShape, rows: int) -> None:
        self._memory, self._shape, self._rows = memory, shape, rows

    @property
    def resident_BC(self) -> Tensor:
        """Entries that may be chosen; those behind the last decision always are."""
        known_BC = self._memory.resident_BC
        if known_BC is None:
            return torch.ones(self._rows, self._memory.num_chunks, dtype=torch.bool)
        return known_BC

    def bytes_per_row(self) -> list[Bytes]:
        """Of a server, and under `allocated` of this device."""
        memory, entry = self._memory, self._shape.chunk
        kept = memory.kept_per_row() or [memory.num_chunks] * self._rows
        return [
            Bytes(resident=kept_here * entry, digest=lying.digest, allocated=lying.resident)
            for kept_here, lying in zip(kept, memory.bytes_per_row(), strict=True)
        ]


@contextmanager
def behind(
    backbone: Unmoved,
    prefilled: Prefilled,
    scorer: ChunkScorer,
    budget: Budget,
    watch: Callable[[WindowRecord], None],
) -> Iterator[tuple[Any, Held]]:
    """A cache that stands behind the prompt, and what an arm may attend to of it."""
    from transformers import DynamicCache

    model = backbone.model
    chooser: Any = scorer.indexer if isinstance(scorer, IndexerScorer) else _blind(scorer, backbone)
    cache = DynamicCache(config=backbone.decoder.config)
    for index, layer in prefilled.others.items():
        cache.layers[index] = copy.deepcopy(layer)
    with DeepseekMemory(model, chooser, budget, on_window=watch) as memory:
        yield cache, Held(memory, EntryShape.of(model), len(prefilled.prompt_BT))


def _blind(scorer: ChunkScorer, backbone: Backbone) -> Callable[[Tensor, int], Tensor]:
    """An arm that looks at nothing but how many entries there are."""

    def scores(positions_B: Tensor, num_chunks: int) -> Tensor:
        there: Any = SimpleNamespace(num_chunks=num_chunks)
        return scorer.score(Moment({}, positions_B, there, backbone))

    return scores
