"""What chooses chunks: one interface for the trained indexer and for every arm it is compared with.

    scorer = IndexerScorer(MemoryIndexer.from_pretrained(folder))
    with lookahead(model, scorer, budget): ...

A scorer listens to the history as it grows, keeps digests of it on the device, and is asked once
in a window.

Shape suffixes: B rows, E hidden, C chunks, K key/value heads, L history, D head width, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.models.memory.layer import Listener

if TYPE_CHECKING:
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.budget import Budget
    from planish.models.memory.cache import LookaheadCache
    from planish.models.memory.indexer import MemoryIndexer

__all__ = ["ChunkScorer", "FollowsCache", "IndexerScorer", "Moment"]

TURNED_TOKENS = 2048
"""Tokens whose keys are turned back at once: copies in float32 are several times the keys."""


@dataclass(frozen=True)
class Moment:
    """What a scorer may look at.

    Attributes:
        hidden: layer -> (B, E), what entered its attention module at the last token.
        positions_B: of the last token, no padding counted.
        cache: the whole history.
        backbone: the model's attention.
    """

    hidden: Mapping[int, Tensor]
    positions_B: Tensor
    cache: LookaheadCache
    backbone: Backbone


@runtime_checkable
class ChunkScorer(Listener, Protocol):
    """Tells which chunks the next window needs.

    Attributes:
        name: as reports call it.
        layers: whose hidden states `score` wants.
    """

    name: str
    layers: tuple[int, ...]

    def prepare(self, backbone: Backbone, budget: Budget, chunk_tokens: int) -> None:
        """Called before the first chunk is told of; refuses what does not fit."""

    def score(self, moment: Moment) -> Tensor:
        """Scores in [0, 1] of every complete chunk: shape (B, C)."""
        ...

    def digest_bytes(self) -> list[int]:
        """Bytes held on the device to score by, per row."""
        ...


@runtime_checkable
class FollowsCache(Protocol):
    """A scorer that has to know the cache while it listens, for the padding of its rows."""

    def follow(self, cache: LookaheadCache) -> None:
        """This is the cache whose chunks come next."""


class IndexerScorer:
    """A trained `MemoryIndexer`, with one record of 132 bytes per chunk and scored layer.

    Args:
        indexer: one that was trained for this backbone and chunk size.
    """

    name = "lookahead"

    def __init__(self, indexer: MemoryIndexer) -> None:
        self.indexer = indexer
        self.layers = tuple(indexer.layer_indices)
        self._names = dict(zip(indexer.layer_indices, indexer.layers, strict=True))
        self._cache: LookaheadCache | None = None
        self._records: dict[int, _Growing] = {}

    def prepare(self, backbone: Backbone, budget: Budget, chunk_tokens: int) -> None:
        """See `ChunkScorer`.

        Raises:
            BadInput: the indexer was built for another backbone or chunk size, or a layer that
                it scores is no full-attention layer.
        """
        self.indexer.check(backbone.fingerprint(), chunk_tokens)
        wrong = sorted(set(self.layers) - set(backbone.memory_layers))
        if wrong:
            raise BadInput(
                f"it scores layer {wrong[0]}, which is no full-attention layer here",
                where="indexer",
                fix="train one for this model",
            )
        self.indexer.to(backbone.decoder.device)
        self._backbone, self._budget, self._chunk_tokens = backbone, budget, chunk_tokens

    def follow(self, cache: LookaheadCache) -> None:
        """See `FollowsCache`."""
        self._cache = cache

    @torch.no_grad()
    def chunks(self, layer: int, keys_BKLD: Tensor, first_chunk: int) -> None:
        """Makes the records of new chunks from their keys, turned back to position 0."""
        if layer not in self._names:
            return
        rows, length, tokens = len(keys_BKLD), keys_BKLD.shape[2], self._chunk_tokens
        padding_B = torch.zeros(rows, dtype=torch.int64)
        if self._cache is not None and len(self._cache.padding_B):
            padding_B = self._cache.padding_B
        begin = first_chunk * tokens
        index_L = torch.arange(begin, begin + length)
        positions_BL = (index_L - padding_B[:, None]).to(keys_BKLD.device)
        size = max(1, TURNED_TOKENS // (rows * tokens)) * tokens
        parts = [slice(place, place + size) for place in range(0, length, size)]
        features_BCF = torch.cat(
            [self._features(layer, keys_BKLD[:, :, part], positions_BL[:, part]) for part in parts],
            dim=1,
        )
        starts_BC = positions_BL[:, ::tokens].clamp(min=0)
        records_BC = self.indexer.compress(self._names[layer], features_BCF, starts_BC)
        self._records.setdefault(layer, _Growing()).write(records_BC, first_chunk)

    def _features(self, layer: int, keys_BKLD: Tensor, positions_BL: Tensor) -> Tensor:
        """Of whole chunks: shape (B, C, F)."""
        from planish.models.memory.digests import pool

        flat_BKLD = self._backbone.rotate(layer, keys_BKLD, positions_BL.clamp(min=0), inverse=True)
        pooling = self.indexer.config.pooling
        return pool(flat_BKLD, positions_BL >= 0, self._chunk_tokens, pooling)

    @torch.no_grad()
    def score(self, moment: Moment) -> Tensor:
        """See `ChunkScorer`."""
        hidden = {self._names[layer]: moment.hidden[layer] for layer in self.layers}
        records = {self._names[layer]: self._records[layer].view() for layer in self.layers}
        scores = self.indexer.score(hidden, records, moment.positions_B)
        scores_BC: Tensor = self.indexer.ensemble(scores, mode=self._budget.mode)
        return scores_BC

    def digest_bytes(self) -> list[int]:
        """The buffers of records, free places included."""
        buffers = [growing.buffer for growing in self._records.values()]
        rows = len(buffers[0]) if buffers else 0
        return [sum(buffer.nbytes for buffer in buffers) // rows] * rows if rows else []

    def reorder(self, indices: Tensor) -> None:
        """Records go with their rows."""
        for growing in self._records.values():
            growing.buffer = growing.buffer[indices.to(growing.buffer.device)]

    def crop(self, num_chunks: int) -> None:
        """Records of what is cut off go."""
        for growing in self._records.values():
            growing.count = min(growing.count, num_chunks)

    def reset(self) -> None:
        """A new sequence begins."""
        self._records = {}


class _Growing:
    """Records of a layer, appended to: shape (B, C, 132)."""

    def __init__(self) -> None:
        self.buffer = torch.zeros(0, 0, 0, dtype=torch.uint8)
        self.count = 0

    def write(self, records_BC: Tensor, first: int) -> None:
        """From chunk `first` on, these; nothing is left of what was there."""
        self.count = first + records_BC.shape[1]
        if self.count > self.buffer.shape[1]:
            rows, _, width = records_BC.shape
            room = max(self.count + 8, self.count * 9 // 8)
            larger = records_BC.new_zeros(rows, room, width)
            if first:
                larger[:, :first] = self.buffer[:, :first]
            self.buffer = larger
        self.buffer[:, first : self.count] = records_BC

    def view(self) -> Tensor:
        """The records that count."""
        return self.buffer[:, : self.count]
