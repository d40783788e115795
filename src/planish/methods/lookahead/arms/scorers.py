"""The arms that could be built: each scores every complete chunk of the history.

    with lookahead(model, QuestScorer(backbone.memory_layers), budget): ...

Where an arm's scores have no natural threshold they are ranks; give it a budget with
`min_chunks == max_chunks`. `SnapKVScorer` wants `min_chunks == 0`: what it evicts is gone.

Shape suffixes: B rows, T tokens, E hidden, H heads, K key/value heads, D head width, L history,
C chunks, Q queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.methods.lookahead.arms.maths import (
    drawn,
    extremes,
    observed_votes,
    per_chunk,
    quest_bound,
    ranked,
)

if TYPE_CHECKING:
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.budget import Budget
    from planish.models.memory.cache import LookaheadCache
    from planish.models.memory.scoring import Moment

__all__ = [
    "BaseScorer",
    "LastQueryScorer",
    "OmniKVScorer",
    "QuestScorer",
    "RandomScorer",
    "RecencyScorer",
    "SnapKVScorer",
]


class BaseScorer(ABC):
    """What the arms share: no digests, nothing to listen to.

    Attributes:
        name: as typed after `--arms`.
        layers: whose hidden states `score` wants.
        scanned: of each decision, bytes of each row read from the host to score.
    """

    name = ""
    layers: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.scanned: list[list[int]] = []
        self.num_rows = 0

    def prepare(self, backbone: Backbone, budget: Budget, chunk_tokens: int) -> None:
        """Called once, before the first forward pass."""
        self.backbone, self.budget, self.chunk_tokens = backbone, budget, chunk_tokens

    def score(self, moment: Moment) -> Tensor:
        """Scores in [0, 1] of every complete chunk: shape (B, C)."""
        self.num_rows = len(moment.positions_B)
        return self._score(moment)

    @abstractmethod
    def _score(self, moment: Moment) -> Tensor:
        """What `score` returns."""

    def digest_bytes(self) -> list[int]:
        """Bytes held on the device to score by, per row."""
        return [0] * self.num_rows

    def chunks(self, layer: int, keys_BKLD: Tensor, first_chunk: int) -> None:
        """New complete chunks of a memory layer, keys as cached."""
        self.num_rows = len(keys_BKLD)

    def reorder(self, indices: Tensor) -> None:
        """Rows change places, are repeated or leave."""
        self.num_rows = len(indices)

    def crop(self, num_chunks: int) -> None:  # noqa: B027 - most keep nothing of a chunk
        """Only the first chunks are left."""

    def reset(self) -> None:
        """A new sequence begins."""
        self.num_rows = 0


class RecencyScorer(BaseScorer):
    """The later, the better: a sliding window with sinks (StreamingLLM, arXiv 2309.17453)."""

    name = "recency"

    def _score(self, moment: Moment) -> Tensor:
        cache = moment.cache
        return ranked(
            torch.arange(cache.num_chunks, device=moment.positions_B.device)
            .expand(self.num_rows, -1)
            .float()
        )


class RandomScorer(BaseScorer):
    """Chance.

    Args:
        seed: of the draws.
        requests: a name per row; by default its number.
    """

    name = "random"

    def __init__(self, seed: int = 0, requests: Sequence[str] | None = None) -> None:
        super().__init__()
        self.seed = seed
        self.requests = None if requests is None else list(requests)

    def _score(self, moment: Moment) -> Tensor:
        steps = [int(step) for step in moment.positions_B]
        requests = self.requests or [str(row) for row in range(len(steps))]
        scores_BC = drawn(self.seed, requests, steps, moment.cache.num_chunks)
        return ranked(scores_BC.to(moment.positions_B.device))

    def reorder(self, indices: Tensor) -> None:
        """Rows keep the names they were given."""
        super().reorder(indices)
        if self.requests is not None:
            self.requests = [self.requests[int(index)] for index in indices]


class LastQueryScorer(BaseScorer):
    """Attention mass of the last token's queries over everything, mean over heads and layers.

    It reads every key, also those on the host: nothing for the device's memory, much for the
    link, and `scanned` counts it. The best that can be done from one query alone.

    Args:
        layers: memory layers that take part.
    """

    name = "last-query"

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)

    def _score(self, moment: Moment) -> Tensor:
        masses = [self.mass(moment, layer) for layer in self.layers]
        self.scanned.append(self._read(moment))
        return ranked(torch.stack(masses).mean(0))

    def _read(self, moment: Moment) -> list[int]:
        return [each // 2 for each in self._absent(moment.cache)]  # keys without values

    def _absent(self, cache: LookaheadCache) -> list[int]:
        """Bytes of keys and values, in the layers that take part, that are not on the device."""
        price = cache.block_bytes * len(self.layers) // len(self.backbone.memory_layers)
        return [int(absent) * price for absent in (~cache.resident_BC).sum(1)]

    def mass(self, moment: Moment, layer: int) -> Tensor:
        """Share of the attention that each chunk gets, mean over heads: shape (B, C)."""
        weights_BHQL = attention(
            moment.backbone,
            moment.cache,
            layer,
            moment.hidden[layer][:, None],
            moment.positions_B[:, None],
        )
        weights_BL = weights_BHQL[:, :, 0].mean(1)
        return per_chunk(weights_BL, self.chunk_tokens, moment.cache.num_chunks)


class OmniKVScorer(LastQueryScorer):
    """Filter layers keep all their keys and values and choose for the rest (arXiv 2412.07077).

    Here the filter layers attend to what the others attend to, and only choose from the rest:
    the bytes of it are counted as digests. "-like", for that reason.
    """

    name = "omnikv"

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__(layers)
        self._cache: LookaheadCache | None = None

    def _score(self, moment: Moment) -> Tensor:
        self._cache = moment.cache
        return super()._score(moment)

    def _read(self, moment: Moment) -> list[int]:
        return [0] * self.num_rows

    def digest_bytes(self) -> list[int]:
        """Keys and values of the filter layers, of the chunks that are not resident anyway."""
        if self._cache is None:
            return super().digest_bytes()
        return self._absent(self._cache)

    def reset(self) -> None:
        """A new sequence begins."""
        super().reset()
        self._cache = None


class QuestScorer(BaseScorer):
    """The bound of `quest_bound` in every memory layer, softmaxed per head, mean over both.

    Quest loads pages per head and step (arXiv 2406.10774); one choice for all heads, for a
    window, is ours. Its digests are two keys per chunk and layer.
    """

    name = "quest"

    def __init__(self, layers: Sequence[int]) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self._digests: dict[int, tuple[Tensor, Tensor]] = {}

    def chunks(self, layer: int, keys_BKLD: Tensor, first_chunk: int) -> None:
        """Keeps the extremes of the new chunks."""
        super().chunks(layer, keys_BKLD, first_chunk)
        if layer not in self.layers:
            return
        new = extremes(keys_BKLD, self.chunk_tokens)
        if first_chunk:
            old = self._digests[layer]
            low, high = (
                torch.cat([before[:, :, :first_chunk], after], dim=2)
                for before, after in zip(old, new, strict=True)
            )
            new = low, high
        self._digests[layer] = new

    def _score(self, moment: Moment) -> Tensor:
        num_chunks = moment.cache.num_chunks
        first_B = moment.cache.padding_B.to(moment.positions_B.device) // self.chunk_tokens
        chunks_C = torch.arange(num_chunks, device=moment.positions_B.device)
        padding_BC = chunks_C[None] < first_B[:, None]
        joined = []
        for layer in self.layers:
            hidden_BTE, positions_BT = moment.hidden[layer][:, None], moment.positions_B[:, None]
            queries_BHD = moment.backbone.queries(layer, hidden_BTE, positions_BT)[:, :, 0]
            low_BKCD, high_BKCD = self._digests[layer]
            scaling = scaling_of(moment.backbone, layer)
            bounds_BHC = quest_bound(queries_BHD, low_BKCD, high_BKCD, scaling)
            # Keys of padding mean nothing; they must take no share of the softmax.
            bounds_BHC = bounds_BHC.masked_fill(padding_BC[:, None], torch.finfo().min)
            joined.append(bounds_BHC.softmax(-1).mean(1))
        return ranked(torch.stack(joined).mean(0))

    def digest_bytes(self) -> list[int]:
        """Two keys per chunk and layer."""
        each = sum(
            tensor[0].numel() * tensor.element_size()
            for digest in self._digests.values()
            for tensor in digest
            if len(tensor)
        )
        return [each] * self.num_rows

    def reorder(self, indices: Tensor) -> None:
        """Digests go with their rows."""
        super().reorder(indices)
        self._map(lambda each: each[indices.to(each.device)])

    def crop(self, num_chunks: int) -> None:
        """Digests of what is cut off go."""
        self._map(lambda each: each[:, :, :num_chunks])

    def reset(self) -> None:
        """A new sequence begins."""
        super().reset()
        self._digests = {}

    def _map(self, change: Callable[[Tensor], Tensor]) -> None:
        self._digests = {
            layer: (change(low), change(high)) for layer, (low, high) in self._digests.items()
        }


class SnapKVScorer(BaseScorer):
    """The attention of the prompt's last tokens chooses once; what is evicted never comes back.

    `observe` must be called with the hidden states of those tokens, all but the very last, before
    the first decision.
    Tokens of the reply are kept, as in SnapKV, for as long as the budget's cap allows; they
    drive out the lowest chunks of the prompt (arXiv 2404.14469).

    Args:
        layers: memory layers that take part.
        kernel: tokens that votes are smoothed over.
    """

    name = "snapkv"

    def __init__(self, layers: Sequence[int], kernel: int = 7) -> None:
        super().__init__()
        self._wanted, self.kernel = tuple(layers), kernel
        self._seen: tuple[Mapping[int, Tensor], Tensor] | None = None
        self._votes_BC: Tensor | None = None

    def observe(self, hidden: Mapping[int, Tensor], positions_BQ: Tensor) -> None:
        """The observation window.

        Args:
            hidden: layer -> (B, Q, E), what entered its attention module.
            positions_BQ: of these tokens.
        """
        self._seen = hidden, positions_BQ

    def _score(self, moment: Moment) -> Tensor:
        cache = moment.cache
        if self._votes_BC is None:
            self._votes_BC = self._vote(moment)
        votes_BC = self._votes_BC
        # Above the threshold all of them, so that the cap alone decides; replies come first.
        low = self.budget.threshold + (1 - self.budget.threshold) * 0.01
        kept_BC = low + (0.99 - low) * ranked(votes_BC)
        scores_BC = kept_BC.new_full((self.num_rows, cache.num_chunks), 1.0)
        shared = min(votes_BC.shape[1], cache.num_chunks)
        scores_BC[:, :shared] = kept_BC[:, :shared]
        return scores_BC.masked_fill(~cache.resident_BC.to(scores_BC.device), 0.0)

    def _vote(self, moment: Moment) -> Tensor:
        # What was observed may be the end of another prompt.
        if self._seen is None or not torch.equal(
            self._seen[1][:, -1].cpu(), moment.positions_B.cpu() - 1
        ):
            raise BadInput(
                "the end of the prompt was not observed",
                where="arm snapkv",
                fix="call observe(hidden, positions) before the first decision",
            )
        hidden, positions_BQ = self._seen
        votes = []
        for layer in self._wanted:
            weights = attention(moment.backbone, moment.cache, layer, hidden[layer], positions_BQ)
            votes_BL = observed_votes(weights, self.kernel).mean(1)
            votes.append(per_chunk(votes_BL, self.chunk_tokens, moment.cache.num_chunks))
        return torch.stack(votes).mean(0)

    def reorder(self, indices: Tensor) -> None:
        """Votes go with their rows."""
        super().reorder(indices)
        if self._votes_BC is not None:
            self._votes_BC = self._votes_BC[indices.to(self._votes_BC.device)]
        if self._seen is not None:
            hidden, positions_BQ = self._seen
            self._seen = (
                {layer: each[indices.to(each.device)] for layer, each in hidden.items()},
                positions_BQ[indices.to(positions_BQ.device)],
            )

    def reset(self) -> None:
        """A new sequence begins; what was observed of it stays."""
        super().reset()
        self._votes_BC = None


def attention(
    backbone: Backbone, cache: LookaheadCache, layer: int, hidden_BTE: Tensor, positions_BT: Tensor
) -> Tensor:
    """Attention of these tokens to the whole history, wherever it lies: shape (B, H, T, L).

    No token attends to padding or to what came after it.
    """
    keys_BKLD = cache.chunk_keys(layer)
    padding_B = cache.padding_B.to(positions_BT.device)
    index_L = torch.arange(keys_BKLD.shape[2], device=positions_BT.device)
    index_BT = positions_BT + padding_B[:, None]
    allowed_BTL = (index_L >= padding_B[:, None, None]) & (index_L <= index_BT[:, :, None])
    queries_BHTD = backbone.queries(layer, hidden_BTE, positions_BT)
    return backbone.attention_weights(layer, queries_BHTD, keys_BKLD, allowed_BTL)


def scaling_of(backbone: Backbone, layer: int) -> float:
    """What the module multiplies products of queries and keys by."""
    module = backbone.attention(layer)
    return float(getattr(module, "scaling", backbone.head_dim**-0.5))
