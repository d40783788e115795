"""DeepSeek-V4's compressed attention within a set of chunks that a memory indexer chose.

    with lookahead(model, MemoryIndexer.from_pretrained(path), budget) as memory:
        model.generate(ids_BT, max_new_tokens=256)
    memory.windows

`attach.lookahead` makes a `DeepseekMemory` where the model is one; it may be made by its name, too.

What the compressed path is (transformers' `models/deepseek_v4`). A layer's cache is a sliding
window of ordinary keys plus, in "compressed_sparse_attention" layers, two growing lists:
`compressed_kv["compressor"]` [B,C,D], one entry for each `compress_rate` (4) tokens, key and value
in one, rotated by the position of its first token; and `compressed_kv["indexer"]` [B,C,128], the
key that the layer's own indexer looks it up by. Tokens that do not fill an entry yet wait in
`buffer_kv`; each entry also reads the previous one's tokens (`overlap_kv`). A token's indexer
scores all C keys, takes the best `index_topk`, and attention sees its window and those entries.
"heavily_compressed_attention" layers see all of their entries, one for 128 tokens.

A chunk is one entry. Its digest is the indexer key in the published record of 132 bytes. The
published keys went through a Hadamard matrix, which transformers leaves out because it cancels
between its own queries and keys; here it is applied before packing.

What this does and does not do: absentees cannot be attended to in any compressed-sparse layer
(see `native_topk`), so answers are those of a server that keeps them on the host. The entries
themselves stay where transformers puts them; `WindowRecord.kept` says how many a server would
need, and bytes are those that really lie on the device. Section 2.2 of the specification;
arXiv 2606.09079.

Shape suffixes: B rows, T tokens, C chunks, D width of an entry, E hidden.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from planish.errors import BadInput
from planish.models.memory.backbone import entering
from planish.models.memory.budget import Budget, Bytes, WindowRecord
from planish.models.memory.digests import pack
from planish.models.memory.entries import Entries
from planish.models.memory.native_topk import NativeTopK
from planish.models.memory.scorer import hadamard
from planish.models.memory.selection import check_budget, choose

if TYPE_CHECKING:
    from planish.models.memory.indexer import MemoryIndexer

__all__ = ["Blind", "DeepseekMemory"]

Blind = Callable[[Tensor, int], Tensor]
"""Scores (B, C) of so many entries for the tokens at positions (B,), without a look at either."""


class DeepseekMemory:
    """A context manager in which a DeepSeek-V4 model attends to resident chunks only.

    A prompt (more new tokens than `budget.dense_queries`, or a new cache) sees everything. After
    the first short pass that follows, and then every `budget.interval` tokens, all chunks are
    scored; the new set acts from the next token. Chunks completed since then are resident.

    Args:
        model: a `DeepseekV4ForCausalLM`.
        indexer: in the published format; its layers must be compressed-sparse ones of the model.
            Or who chooses blindly, such as chance, to be compared with.
        budget: its tokens count as in ordinary models, a chunk being `compress_rate` tokens.
        on_window: called with each record.

    Attributes:
        windows: one record for each decision and row.
        fallbacks: requests that turned dense.
        resident_BC: the set in force, None while everything is seen.

    Raises:
        BadInput: another model; an indexer for other layers, sizes or chunks; padding, a cache
            without compressed entries (when the pass begins).
    """

    def __init__(
        self,
        model: Any,
        indexer: MemoryIndexer | Blind,
        budget: Budget,
        *,
        on_window: Callable[[WindowRecord], None] | None = None,
    ) -> None:
        self._native = NativeTopK(model)
        self._decoder = model.get_decoder()
        self.model, self.budget = model, budget
        self._blind: Any = None if hasattr(indexer, "score") else indexer
        self.indexer: Any = indexer if self._blind is None else None
        self.chunk_tokens = int(model.config.compress_rates["compressed_sparse_attention"])
        self.windows: list[WindowRecord] = []
        self.on_window, self.fallbacks = on_window, 0
        check_budget(budget, self.chunk_tokens)
        self._scored: dict[str, int] = {}
        if self.indexer is not None:
            self._check(model.config)
            self._scored = self._layers()
        self._stack = ExitStack()
        self._followed: weakref.WeakSet[Any] = weakref.WeakSet()
        self._hidden: dict[int, Tensor] = {}
        self._records: dict[int, Tensor] = {}
        self._resident_BC: Tensor | None = None
        self._dense_B: Tensor | None = None
        self._cache: Any = None
        self._due = self._prompt = True
        self._length = self._tokens = self._since = 0
        self._start(None)

    @property
    def resident_BC(self) -> Tensor | None:
        """True for chunks that may be attended to; None while everything is seen."""
        return self._resident_BC

    @property
    def dense_B(self) -> Tensor:
        """True for requests that turned dense."""
        return torch.zeros(0, dtype=torch.bool) if self._dense_B is None else self._dense_B

    @property
    def num_chunks(self) -> int:
        """Entries of the text that was read last, in each compressed-sparse layer."""
        if self._cache is None:
            return 0
        entries = self._cache.layers[self._native.layers[0]].compressed_kv["compressor"]
        return 0 if entries is None else int(entries.shape[1])

    def kept_per_row(self) -> list[int]:
        """How many of them each row may attend to: what a server would hold on its device."""
        if self._resident_BC is None:
            return []
        newer = self.num_chunks - self._resident_BC.shape[1]
        return [int(kept) + newer for kept in self._resident_BC.sum(1)]

    def bytes_per_row(self) -> list[Bytes]:
        """What lies on the device of the text that was read last: all entries, and digests."""
        if self._cache is None:
            return []
        return [self._lying(self._cache)] * len(self._cache.layers[0].keys)

    def new_cache(self) -> DynamicCache:
        """An empty cache, as the model would make it: to be kept from turn to turn."""
        return DynamicCache(config=self.model.config)

    def __enter__(self) -> Self:
        """Sets the hooks."""
        with ExitStack() as stack:
            stack.enter_context(self._native.attached())
            for layer in self._scored.values():
                attention = self._decoder.layers[layer].self_attn
                hook = attention.register_forward_pre_hook(self._keep(layer), with_kwargs=True)
                stack.callback(hook.remove)
            before = self._decoder.register_forward_pre_hook(self._before, with_kwargs=True)
            stack.callback(before.remove)
            after = self._decoder.register_forward_hook(self._after, with_kwargs=True)
            stack.callback(after.remove)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes them, whatever happened."""
        self._stack.close()
        self._start(None)
        for cache in self._followed:
            vars(cache).pop("reorder_cache", None)
        self._followed.clear()

    # -- around a forward pass ----------------------------------------------------------------

    def _keep(self, layer: int) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            # A view would hold the prompt.
            self._hidden[layer] = entering(args, kwargs)[:, -1].detach().clone()

        return keep

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        mask = kwargs.get("attention_mask")
        if isinstance(mask, Tensor) and mask.ndim == 2 and not bool(mask.all()):
            # The model's own entries begin at the first column, padding included.
            raise BadInput(
                "the batch is padded, which DeepSeek-V4's compressed entries do not allow for",
                where="attention_mask",
                fix="give rows of equal length, or one at a time",
            )
        cache = kwargs.get("past_key_values")
        length = 0 if cache is None else cache.get_seq_length()
        if cache is None or cache is not self._cache or length < self._length:
            self._start(cache)
        ids = kwargs.get("input_ids", args[0] if args else None)
        tokens = (ids if ids is not None else kwargs["inputs_embeds"]).shape[1]
        self._tokens, self._length = tokens, length + tokens
        if length == 0 or tokens > self.budget.dense_queries:
            self._resident_BC, self._due, self._prompt = None, True, True
        else:
            self._prompt = False
        self._native.resident_BC = self._resident_BC

    def _after(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        cache = kwargs.get("past_key_values")
        if cache is None:
            cache = getattr(output, "past_key_values", None)
        if cache is None or self._prompt:
            # A cache that the model made by itself is the one of the passes to come.
            if cache is not None and cache is not self._cache:
                self._follow(cache)
            return
        self._since += self._tokens
        if self._due or self._since >= self.budget.interval:
            self._decide(cache)
            self._due, self._since = False, 0

    def _start(self, cache: Any) -> None:
        self._records = {}
        self._resident_BC = self._dense_B = None
        self._native.resident_BC = None
        self._due, self._prompt, self._since = True, True, 0
        self._length = self._tokens = 0
        self._hidden.clear()
        self._cache = None
        if cache is not None:
            self._follow(cache)

    def _follow(self, cache: Any) -> None:
        """Beams change places in the cache; what belongs to a row has to go with it."""
        self._cache = cache
        if cache in self._followed:
            return
        self._followed.add(cache)
        there = weakref.ref(cache)  # what the cache itself holds must not hold the cache

        def reorder_cache(beam_idx: Tensor) -> None:
            caller: Any = there()
            type(caller).reorder_cache(caller, beam_idx)
            if caller is self._cache:
                self._reorder(beam_idx)

        cache.reorder_cache = reorder_cache

    def _reorder(self, rows_B: Tensor) -> None:
        def moved(states: Tensor) -> Tensor:
            return states.index_select(0, rows_B.to(states.device))

        self._records = {layer: moved(records) for layer, records in self._records.items()}
        if self._resident_BC is not None:
            self._resident_BC = moved(self._resident_BC)
        if self._dense_B is not None:
            self._dense_B = moved(self._dense_B)

    # -- a decision ---------------------------------------------------------------------------

    def _decide(self, cache: Any) -> None:
        began = time.perf_counter()
        entries = self._keys(cache, self._native.layers[0])
        if entries is None or not entries.shape[1]:
            return
        rows, chunks, device = *entries.shape[:2], entries.device
        positions_B = torch.full((rows,), self._length - 1, device=device)
        if self._blind is None:
            records = {name: self._digests(cache, layer) for name, layer in self._scored.items()}
            hidden = {name: self._hidden[layer] for name, layer in self._scored.items()}
            scores = self.indexer.score(hidden, records, positions_B)
            scores_BC = self.indexer.ensemble(scores, mode=self.budget.mode)
        else:
            scores_BC = self._blind(positions_B, chunks)
        milliseconds = (time.perf_counter() - began) * 1000
        before_BC = torch.zeros(rows, chunks, dtype=torch.bool, device=device)
        if self._resident_BC is not None:
            known = self._resident_BC.shape[1]
            before_BC[:, :known] = self._resident_BC
            before_BC[:, known:] = True
        choice = choose(
            scores_BC,
            num_chunks_B=torch.full((rows,), chunks, device=device),
            first_chunk_B=torch.zeros(rows, dtype=torch.long, device=device),
            budget=self.budget,
            chunk_tokens=self.chunk_tokens,
            length=self._length,
            resident_before=before_BC,
        )
        fallback_B = choice.fallback_B.to(device)
        known_B = torch.zeros_like(fallback_B) if self._dense_B is None else self._dense_B
        dense_B = known_B | fallback_B
        self.fallbacks += int((dense_B & ~known_B).sum())
        self._dense_B = dense_B
        self._resident_BC = choice.keep_BC.to(device) | dense_B[:, None]
        self._record(cache, choice.thresholded_B, milliseconds)

    def _record(self, cache: Any, thresholded_B: Tensor, milliseconds: float) -> None:
        assert self._resident_BC is not None
        assert self._dense_B is not None
        lying = self._lying(cache)
        chunks = self._resident_BC.shape[1]
        for row, kept_C in enumerate(self._resident_BC):
            record = WindowRecord(
                request=row,
                step=self._length,
                num_chunks=chunks,
                kept=int(kept_C.sum()),
                thresholded=int(thresholded_B[row]),
                moved_bytes=0,
                bytes=lying,
                score_ms=milliseconds,
                fallback=bool(self._dense_B[row]),
            )
            self.windows.append(record)
            if self.on_window is not None:
                self.on_window(record)

    def _lying(self, cache: Any) -> Bytes:
        """Of one row: every entry, attended to or not, and the records that are scored."""
        entries = [
            states
            for layer in self._native.layers
            for states in cache.layers[layer].compressed_kv.values()
            if states is not None
        ]
        records = self._records.values()
        rows = len(cache.layers[0].keys)
        return Bytes(
            resident=sum(states.nbytes for states in entries) // rows,
            digest=sum(each.nbytes for each in records) // rows,
        )

    def _digests(self, cache: Any, layer: int) -> Tensor:
        """Records of all chunks of a layer; each is packed once, as entries never change."""
        entries = self._keys(cache, layer)
        assert entries is not None
        done = self._records.get(layer)
        known = 0 if done is None else done.shape[1]
        new = pack(hadamard(entries[:, known:].float())) if entries.shape[1] > known else None
        parts = [part for part in (done, new) if part is not None]
        self._records[layer] = torch.cat(parts, dim=1)
        return self._records[layer]

    def _keys(self, cache: Any, layer: int) -> Tensor | None:
        """What the entries of a layer are looked up by; None before the first is complete."""
        kept = getattr(cache.layers[layer], "compressed_kv", None)
        if kept is None:
            raise BadInput(
                "it keeps no compressed entries",
                where="past_key_values",
                fix="leave it out, or give DynamicCache(config=model.config)",
            )
        keys: Tensor | None = kept["indexer"]
        return keys

    def _layers(self) -> dict[str, int]:
        return dict(zip(self.indexer.layers, self.indexer.layer_indices, strict=True))

    def _check(self, config: Any) -> None:
        where = "indexer"
        sparse = self._native.layers
        other = [i for i in self.indexer.layer_indices if i not in sparse]
        if other:
            raise BadInput(
                f"it scores layers {', '.join(map(str, other))}, which are not compressed-sparse",
                where=where,
                fix=f"use one for layers among {', '.join(map(str, sparse))}",
            )
        settings = self.indexer.config
        if settings.backbone:
            self.indexer.check(Entries(self.model).fingerprint(), self.chunk_tokens)
        if settings.features:
            raise BadInput(
                "it makes keys of its own for chunks, and this model has keys already",
                where=where,
                fix="use one in the published format",
            )
        for what, wanted, found in (
            ("hidden size", config.hidden_size, settings.hidden_size),
            ("width of a chunk's key", config.index_head_dim, settings.head_dim),
            ("tokens of a chunk", self.chunk_tokens, settings.chunk_tokens),
        ):
            if wanted != found:
                raise BadInput(
                    f"its {what} is {found}, the model's is {wanted}",
                    where=where,
                    fix="use an indexer that was trained for this model",
                )
