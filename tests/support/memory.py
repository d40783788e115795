"""A scorer by chance for tests of the memory, and what a dense model says under the same absences.

    with lookahead(model, Chance(), budget, chunk_tokens=8) as session, Watched(model, 8) as seen:
        model.generate(...)
    seen.difference()          # of logits, to a dense forward pass with absent chunks masked

Shape suffixes: B rows, L history, Q new tokens, C chunks, V vocabulary.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import torch
from torch import Tensor


class Chance:
    """Scores that depend on a row's own steps and chunks, and on nothing else in the batch."""

    name = "chance"
    layers: tuple[int, ...] = ()

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.told: dict[int, Tensor] = {}
        self.moments: list[Any] = []

    def prepare(self, backbone: Any, budget: Any, chunk_tokens: int) -> None:
        self.chunk_tokens = chunk_tokens

    def chunks(self, layer: int, keys_BKLD: Tensor, first_chunk: int) -> None:
        begin = first_chunk * self.chunk_tokens
        before = self.told.get(layer, keys_BKLD[:, :, :0])
        assert before.shape[2] >= begin
        self.told[layer] = torch.cat([before[:, :, :begin], keys_BKLD], dim=2)

    def reorder(self, indices: Tensor) -> None:
        self.told = {layer: keys[indices] for layer, keys in self.told.items()}

    def crop(self, num_chunks: int) -> None:
        end = num_chunks * self.chunk_tokens
        self.told = {layer: keys[:, :, :end] for layer, keys in self.told.items()}

    def reset(self) -> None:
        self.told = {}

    def digest_bytes(self) -> list[int]:
        return []

    def score(self, moment: Any) -> Tensor:
        self.moments.append(moment)
        first_B = moment.cache.padding_B // self.chunk_tokens
        chunk_BC = torch.arange(moment.cache.num_chunks) - first_B[:, None]
        noise_BC = (moment.positions_B[:, None] * 12.9898 + chunk_BC * 78.233).double().sin()
        return self.scale * (noise_BC * 43758.5453).remainder(1.0).float()


class Watched:
    """Follows what a model in a session could see and what it said; undone when left.

    Args:
        model: in a `lookahead` session already.
        chunk_tokens: of a chunk.
        dense_queries: of the budget.
    """

    def __init__(self, model: Any, chunk_tokens: int, dense_queries: int = 32) -> None:
        self.model, self.chunk_tokens, self.dense_queries = model, chunk_tokens, dense_queries
        self.ids_BL: Tensor | None = None
        self.evicted = 0
        """Pairs of a token and an index that it could not see."""
        self.holes_BL: Tensor | None = None
        """Padding behind tokens, which later tokens do not see."""
        self._handles: list[Any] = []
        self._cache: Any = None

    def __enter__(self) -> Watched:
        self._handles = [
            self.model.register_forward_pre_hook(self._before, with_kwargs=True),
            self.model.register_forward_hook(self._after, with_kwargs=True),
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def difference(self) -> float:
        """The largest difference of a logit to the dense forward pass."""
        assert self.ids_BL is not None
        expected_BLV = dense(
            self.model, self.ids_BL, self.seen_BLL, self.open_BLL, self.positions_BL
        )
        said = self.logits_BLV.isfinite()
        assert bool(said.any())
        return float((self.logits_BLV - expected_BLV)[said].abs().max())

    def _before(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        ids_BQ, cache = kwargs["input_ids"], kwargs["past_key_values"]
        rows, queries = ids_BQ.shape
        if cache is not self._cache:
            self._follow(cache, rows)
        if (mask_BL := kwargs.get("attention_mask")) is not None:
            self.padding_B = (1 - mask_BL).cumprod(1).sum(1)
        before, end = cache.length, cache.length + queries
        index = torch.arange(end)
        open_BL = index >= self.padding_B[:, None]
        if self.holes_BL is not None:
            open_BL[:, : self.holes_BL.shape[1]] &= ~self.holes_BL[:, :end]
        visible_BL = open_BL.clone()
        if queries <= self.dense_queries and before:
            resident_BC = cache.resident_BC
            covered = resident_BC.shape[1] * self.chunk_tokens
            visible_BL[:, :covered] &= resident_BC.repeat_interleave(self.chunk_tokens, 1)
        causal_QL = index[before:, None] >= index
        self.evicted += int(((open_BL & ~visible_BL)[:, None] & causal_QL).sum())
        self.seen_BLL = _taller(self.seen_BLL, visible_BL[:, None] & causal_QL)
        self.open_BLL = _taller(self.open_BLL, open_BL[:, None] & causal_QL)
        positions_BQ = kwargs.get("position_ids")
        if positions_BQ is None:
            positions_BQ = index[before:].expand(rows, -1)
        self.positions_BL = torch.cat([self.positions_BL, positions_BQ], dim=1)
        assert self.ids_BL is not None
        self.ids_BL = torch.cat([self.ids_BL, ids_BQ], dim=1)

    def _after(self, module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        assert self.ids_BL is not None
        rows, length = self.ids_BL.shape
        said_BQV = output.logits
        longer = said_BQV.new_full((rows, length, said_BQV.shape[2]), torch.nan)
        if self.logits_BLV.numel():
            longer[:, : self.logits_BLV.shape[1]] = self.logits_BLV
        longer[:, length - said_BQV.shape[1] :] = said_BQV
        # What padding says is nobody's business.
        longer[torch.arange(length) < self.padding_B[:, None]] = torch.nan
        self.logits_BLV = longer

    def _follow(self, cache: Any, rows: int) -> None:
        assert not cache.length, "watch a cache from its beginning"
        self._cache = cache
        self.padding_B = torch.zeros(rows, dtype=torch.int64)
        self.ids_BL = torch.zeros(rows, 0, dtype=torch.int64)
        self.positions_BL = torch.zeros(rows, 0, dtype=torch.int64)
        self.seen_BLL = self.open_BLL = torch.zeros(rows, 0, 0, dtype=torch.bool)
        self.logits_BLV = torch.zeros(rows, 0, 0)
        crop, reorder = cache.crop, cache.reorder_cache

        def cropped(tokens_to_remove: int) -> None:
            crop(tokens_to_remove)
            length = cache.length
            assert self.ids_BL is not None
            self.ids_BL, self.logits_BLV = self.ids_BL[:, :length], self.logits_BLV[:, :length]
            self.seen_BLL = self.seen_BLL[:, :length, :length]
            self.open_BLL = self.open_BLL[:, :length, :length]
            self.positions_BL = self.positions_BL[:, :length]

        def reordered(indices: Tensor) -> None:
            reorder(indices)
            assert self.ids_BL is not None
            self.ids_BL, self.logits_BLV = self.ids_BL[indices], self.logits_BLV[indices]
            self.seen_BLL, self.padding_B = self.seen_BLL[indices], self.padding_B[indices]
            self.positions_BL, self.open_BLL = self.positions_BL[indices], self.open_BLL[indices]

        cache.crop, cache.reorder_cache = cropped, reordered


@torch.no_grad()
def dense(
    model: Any, ids_BL: Tensor, seen_BLL: Tensor, open_BLL: Tensor, positions_BL: Tensor
) -> Tensor:
    """Logits (B, L, V) where each token's full attention sees only what it is told to see.

    Sliding windows see what is open to them. One forward pass, no cache, no session.
    """
    length = ids_BL.shape[1]
    index = torch.arange(length)
    # Padding must see something, or its values are no numbers.
    itself = torch.eye(length, dtype=torch.bool)
    masks = {"full_attention": seen_BLL | itself}
    kinds = getattr(model.config, "layer_types", None)
    if kinds is not None and "sliding_attention" in kinds:
        behind_LL = index[:, None] - index
        near_LL = behind_LL < model.config.sliding_window
        masks["sliding_attention"] = (open_BLL & near_LL) | itself
    ready = {kind: _ready(model, mask_BLL[:, None]) for kind, mask_BLL in masks.items()}
    mask: Any = ready if kinds is not None else ready["full_attention"]
    output = model(
        input_ids=ids_BL, attention_mask=mask, position_ids=positions_BL, use_cache=False
    )
    logits_BLV: Tensor = output.logits
    return logits_BLV


def _taller(before_BLL: Tensor, new_BQL: Tensor) -> Tensor:
    """What earlier tokens saw, and below it what the new ones see."""
    rows, queries, length = new_BQL.shape
    tall = torch.zeros(rows, length, length, dtype=torch.bool)
    tall[:, : length - queries, : length - queries] = before_BLL
    tall[:, length - queries :] = new_BQL
    return tall


def _ready(model: Any, mask_B1LL: Tensor) -> Tensor:
    if model.config._attn_implementation == "sdpa":
        return mask_B1LL
    blocked = torch.finfo(model.dtype).min
    return torch.zeros(mask_B1LL.shape, dtype=model.dtype).masked_fill(~mask_B1LL, blocked)
