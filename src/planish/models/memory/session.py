"""What happens between a model and its memory, pass by pass: see `attach`, which makes sessions.

    kwargs = session.before(args, kwargs)       # cache and mask, before the decoder's pass
    session.after()                             # a decision, where one is due

Shape suffixes: B rows, L history, Q queries, S slots, E hidden.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, WindowRecord
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.pages import return_free_pages
from planish.models.memory.scoring import ChunkScorer, FollowsCache, Moment
from planish.models.memory.selection import check_budget, choose
from planish.models.memory.store import HostStore

__all__ = ["Session", "Watcher", "unsupported"]

Watcher = Callable[[WindowRecord], None]


class Session:
    """What happens between a model and its memory. Made by `lookahead`.

    Attributes:
        windows: one record per decision and request.
        cache: the one in use, None before the first forward pass.
        fallbacks: requests that turned dense.
    """

    def __init__(
        self,
        backbone: Backbone,
        scorer: ChunkScorer,
        budget: Budget,
        chunk_tokens: int,
        store: HostStore | None,
        on_window: Watcher | None,
    ) -> None:
        check_budget(budget, chunk_tokens)
        self.backbone, self.scorer, self.budget = backbone, scorer, budget
        self.chunk_tokens, self.store, self.on_window = chunk_tokens, store, on_window
        self.windows: list[WindowRecord] = []
        self.cache: LookaheadCache | None = None
        self._told: weakref.ref[LookaheadCache] | None = None  # whose history the scorer knows
        self.fallbacks = 0
        self._hidden: dict[int, Tensor] = {}
        self._waiting = True  # for the first decision behind a prompt
        self._decided = 0  # length at the last decision
        self._certain = 0  # tokens that no speculation takes back, those of this pass included
        self._last = -1  # the last of them among the new ones
        self._due = False
        scorer.prepare(backbone, budget, chunk_tokens)

    def new_cache(self) -> LookaheadCache:
        """An empty cache; the scorer begins anew with its first forward pass."""
        return LookaheadCache(
            self.backbone, chunk_tokens=self.chunk_tokens, budget=self.budget, store=self.store
        )

    # ---- around a forward pass

    def before(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Puts cache and mask into the arguments of a forward pass of the decoder."""
        self._due, self._hidden = False, {}
        cache = kwargs.get("past_key_values")
        if cache is None:
            use = kwargs.get("use_cache")
            if use is None:
                use = self.backbone.decoder.config.use_cache
            if not use:
                return kwargs
            cache = self.new_cache()
            kwargs = kwargs | {"past_key_values": cache}
        if not isinstance(cache, LookaheadCache):
            raise unsupported(type(cache).__name__)
        states = kwargs.get("inputs_embeds")
        if states is None:
            states = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        rows, queries = states.shape[:2]
        if cache is not self.cache:
            self._adopt(cache)
        mask_BL = kwargs.get("attention_mask")
        self._read_padding(cache, mask_BL, rows, queries)
        cache.prepared = True
        if queries > self.budget.dense_queries:
            cache.recall_all()
            self._waiting = True
        # Drafted tokens may be rejected, the first one of a pass is not.
        self._last = 0 if cache.recording else queries - 1
        self._certain = cache.length + self._last + 1
        self._due = self._is_due(cache, queries)
        if cache.in_order:
            return kwargs
        mask = self._masks(cache, mask_BL, rows, queries, kwargs.get("position_ids"))
        return kwargs | {"attention_mask": mask}

    def keep(self, layer: int, states_BTE: Tensor) -> None:
        """Remembers what enters an attention module at the last certain token, if it is wanted."""
        if self._due:
            self._hidden[layer] = states_BTE[:, self._last].detach().clone()

    def after(self) -> None:
        """Decides anew, if it is time."""
        if self.cache is None:
            return
        self.cache.prepared = False
        if self._due:
            self._due = False
            self._decide(self.cache)

    # ---- the cache

    def leave(self) -> None:
        """Nobody listens to the cache any more."""
        if self.cache is None:
            return
        self.cache.prepared = False  # also where a pass was cut short
        if self.cache.listener is self.scorer:
            self.cache.listener = None

    def _adopt(self, cache: LookaheadCache) -> None:
        """A cache that this session has not seen: the scorer is told its whole history."""
        if self.cache is not cache:
            self.leave()
        scorer = self.scorer
        # A cache of before may still name this scorer, which has heard of another one since.
        told = cache.listener is scorer and self._told is not None and self._told() is cache
        self.cache, self._waiting, self._decided = cache, True, 0
        if cache.chunk_tokens != self.chunk_tokens:
            self.chunk_tokens = cache.chunk_tokens
            check_budget(self.budget, self.chunk_tokens)
            scorer.prepare(self.backbone, self.budget, self.chunk_tokens)
            told = False
        if isinstance(scorer, FollowsCache):
            scorer.follow(cache)
        if told:
            return
        scorer.reset()
        cache.listener, self._told = scorer, weakref.ref(cache)
        end = cache.num_chunks * cache.chunk_tokens
        if end:
            for layer in self.backbone.memory_layers:
                scorer.chunks(layer, cache.chunk_keys(layer)[:, :, :end], 0)

    def _read_padding(self, cache: LookaheadCache, mask: Any, rows: int, queries: int) -> None:
        if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
            raise BadInput(
                "a mask of its own",
                where="attention_mask",
                fix="give the plain one, 1 for tokens and 0 for padding at the left",
            )
        if mask is not None and mask.shape[1] != cache.length + queries:
            raise BadInput(
                f"it covers {mask.shape[1]} of {cache.length + queries} tokens",
                where="attention_mask",
                fix="give that of the whole sequence, what is cached included",
            )
        if len(cache.padding_B) != rows:
            cache.see_padding(mask, rows)
        elif mask is not None:
            # A prompt in pieces may begin with padding alone.
            unfinished = bool((cache.padding_B == cache.length).any())
            if queries > 1 or unfinished:
                cache.see_padding(mask, rows)

    def _masks(
        self, cache: LookaheadCache, mask_BL: Tensor | None, rows: int, queries: int, positions: Any
    ) -> Any:
        """What the decoder takes: one mask, or one for each kind of layer."""
        decoder = self.backbone.decoder
        full: Tensor | None = None
        if cache.needs_mask(queries):
            full = cache.mask(queries)
            if decoder.config._attn_implementation == "eager":
                blocked = torch.finfo(decoder.dtype).min
                full = torch.zeros_like(full, dtype=decoder.dtype).masked_fill(~full, blocked)
        kinds = getattr(decoder.config, "layer_types", None)
        if kinds is None:
            return full
        if not cache.has_padding:
            mask_BL = None  # nothing to look up in it
        masks: dict[str, Any] = {"full_attention": full}
        makers: dict[str, Any] = LAYER_PATTERN_TO_MASK_FUNCTION_MAPPING
        for kind in set(kinds) - {"full_attention"}:
            masks[kind] = makers[kind](
                config=decoder.config,
                inputs_embeds=torch.empty(
                    rows, queries, 0, dtype=decoder.dtype, device=decoder.device
                ),
                attention_mask=mask_BL,
                past_key_values=cache,
                position_ids=positions,
            )
        return masks

    # ---- decisions

    def _is_due(self, cache: LookaheadCache, queries: int) -> bool:
        if queries > self.budget.dense_queries or not cache.length:
            return False
        if len(cache.dense_B) and bool(cache.dense_B.all()):
            return False
        if cache.length < self._decided:  # more was taken back than the last decision knew
            self._waiting = True
        if self._waiting:
            # A short piece of a prompt is no sign of decoding, a speculation is.
            return queries == 1 or cache.recording
        return self._certain - self._decided >= self.budget.interval

    def _decide(self, cache: LookaheadCache) -> None:
        first, self._waiting, self._decided = self._waiting, False, self._certain
        rows, chunks, tokens = cache.num_rows, cache.num_chunks, cache.chunk_tokens
        if not chunks:
            return
        device = self.backbone.decoder.device
        positions_B = self._certain - 1 - cache.padding_B.to(device)
        begin = time.perf_counter()
        scores_BC = self.scorer.score(Moment(self._hidden, positions_B, cache, self.backbone))
        scores_BC = scores_BC.float().cpu()  # also waits for it
        score_ms = (time.perf_counter() - begin) * 1e3
        if tuple(scores_BC.shape) != (rows, chunks):
            raise BadInput(
                f"scores of shape {tuple(scores_BC.shape)} for {rows} rows of {chunks} chunks",
                where=f"scorer {self.scorer.name}",
            )
        choice = choose(
            scores_BC,
            torch.full((rows,), chunks),
            cache.padding_B // tokens,
            self.budget,
            tokens,
            cache.length,
            # Behind a prompt everything is there, and nothing of it was chosen.
            cache.resident_BC if self.budget.sticky and not first else None,
            padding_B=cache.padding_B,
        )
        turned_B = choice.fallback_B & ~cache.dense_B
        before_B = cache.dense_B
        cache.dense_B = before_B | turned_B
        try:
            cache.apply(choice.keep_BC)
        except BaseException:
            cache.dense_B = before_B
            raise
        if first and device.type == "cpu":
            return_free_pages()  # what the prompt needed for a while
        self.fallbacks += int(turned_B.sum())
        self._hidden = {}
        self._record(cache, choice.thresholded_B, score_ms)

    def _record(self, cache: LookaheadCache, thresholded_B: Tensor, score_ms: float) -> None:
        kept_B = cache.resident_BC.sum(1)
        for row, lies in enumerate(cache.bytes_per_row()):
            record = WindowRecord(
                request=row,
                step=self._certain - int(cache.padding_B[row]),
                num_chunks=cache.num_chunks,
                kept=int(kept_B[row]),
                thresholded=int(thresholded_B[row]),
                moved_bytes=int(cache.moved_B[row]),
                bytes=lies,
                score_ms=score_ms,
                fallback=bool(cache.dense_B[row]),
            )
            self.windows.append(record)
            if self.on_window is not None:
                self.on_window(record)


def unsupported(what: str) -> BadInput:
    """What is said of a cache that keeps everything where it is."""
    return BadInput(
        f"{what} cannot evict chunks",
        where="lookahead",
        fix="give no cache, or one of a session; static, quantized and offloaded ones do not work",
    )
