"""What the benchmarks of `lookahead` decode with: a random model, a random indexer, random KV.

    size = Size()
    model = build(size)
    with begun("lookahead", model, size, 32_768, budget) as arm:
        seconds = arm.steps(64)

Speed and bytes depend on shapes, not on what a model learned; what chunks are worth keeping is
measured elsewhere. Every arm gets the same keys and values, drawn anew from (layer, place). The
lookahead arms are filled in pieces and evict on the way, so that a long history needs no room on
the device that it will not use; a real prompt is dense until the first decision.

Shape suffixes: B rows, K key/value heads, L history, D head width.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from planish.models.memory.attach import Session, lookahead
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from planish.models.memory.scoring import IndexerScorer
from planish.models.memory.store import HostStore

PIECE = 4096
ARMS = ("dense", "in order", "offloading", "lookahead")
"""DynamicCache; our buffers, nothing evicted; DynamicCache that offloads; ours."""


@dataclass(frozen=True)
class Size:
    """Of a Qwen3-shaped model; by default the one that the issue of a CPU is decided on."""

    layers: int = 12
    hidden: int = 512
    heads: int = 8
    kv_heads: int = 4
    width: int = 64
    intermediate: int = 1536
    vocabulary: int = 32_000
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    chunk_tokens: int = 64
    scored: int = 3
    rank: int = 256
    indexer_heads: int = 16

    @property
    def token_bytes(self) -> int:
        """Of the keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.width * self.dtype.itemsize

    def __str__(self) -> str:
        return (
            f"{self.layers} layers of width {self.hidden}, {self.heads} heads, {self.kv_heads} of "
            f"keys and values, {self.width} wide, {str(self.dtype).removeprefix('torch.')}"
        )


def build(size: Size, seed: int = 0) -> Any:
    """A random model."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        head_dim=size.width,
        max_position_embeddings=1 << 21,
        tie_word_embeddings=True,
        attn_implementation="sdpa",
    )
    with torch.device(size.device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(size.dtype)
        try:
            model = Qwen3ForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
    return model.eval()


def random_indexer(backbone: Backbone, size: Size, seed: int = 0) -> MemoryIndexer:
    """Of a middle layer, one after two thirds, and the last one."""
    memory = backbone.memory_layers
    last = len(memory) - 1
    chosen = sorted({memory[round(last * place)] for place in (1.0, 0.66, 0.5)[: size.scored]})
    config = IndexerConfig(
        hidden_size=size.hidden,
        rank=size.rank,
        num_heads=size.indexer_heads,
        chunk_tokens=size.chunk_tokens,
        pooling="mean",
        features=size.kv_heads * size.width,
        backbone=backbone.fingerprint(),
    )
    indexer = MemoryIndexer.new(config, tuple(f"l{index}" for index in chosen), seed)
    return indexer.to(size.device).eval()


def pieces(size: Size, length: int, layer: int, rows: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Keys and values (B, K, L, D) of a layer; as large as a normed key is."""
    for begin in range(0, length, PIECE):
        drawn = torch.Generator(size.device).manual_seed(layer * 1_000_003 + begin)
        shape = (2, rows, size.kv_heads, min(PIECE, length - begin), size.width)
        keys, values = torch.randn(shape, generator=drawn, device=size.device).to(size.dtype)
        yield keys, values


def recent(size: Size, budget: Budget, rows: int, chunks: int) -> Tensor:
    """Bool (B, C): as many of the last chunks as may stay."""
    keep_BC = torch.zeros(rows, chunks, dtype=torch.bool)
    keep_BC[:, max(0, chunks - (budget.max_chunks or chunks)) :] = True
    return keep_BC


def fill(
    cache: Any,
    size: Size,
    length: int,
    *,
    rows: int = 1,
    budget: Budget | None = None,
    at_once: bool = False,
):
    """Writes a history; with a budget it is evicted on the way, unless all is written at once."""
    if at_once or not isinstance(cache, LookaheadCache):
        for layer in range(size.layers):
            whole = [
                torch.cat(each, 2) for each in zip(*pieces(size, length, layer, rows), strict=True)
            ]
            cache.update(*whole, layer)
            del whole
        return
    cache.prepared = budget is not None  # no pass is run: what was evicted stays away
    for parts in zip(
        *(pieces(size, length, layer, rows) for layer in range(size.layers)), strict=True
    ):
        for layer, (keys, values) in enumerate(parts):
            cache.update(keys, values, layer)
        if budget is not None:
            cache.apply(recent(size, budget, rows, cache.num_chunks))
    cache.prepared = False


Spent = tuple[float, float]
"""Seconds on the clock, and of the processor."""


@dataclass
class Arm:
    """One way to decode behind one history."""

    name: str
    model: Any
    cache: Any
    token_B1: Tensor
    session: Session | None = None

    def steps(self, count: int) -> list[Spent]:
        """Decodes greedily; what each token took."""
        device = self.token_B1.device
        taken = []
        with torch.inference_mode():
            for _ in range(count):
                begun_at = time.perf_counter(), time.process_time()
                output = self.model(
                    input_ids=self.token_B1, past_key_values=self.cache, use_cache=True
                )
                self.token_B1 = output.logits[:, -1:].argmax(-1)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                taken.append((time.perf_counter() - begun_at[0], time.process_time() - begun_at[1]))
        return taken

    @property
    def score_seconds(self) -> float:
        """That all decisions' scores took, the scan of the digests included."""
        if self.session is None:
            return 0.0
        rows = {record.request for record in self.session.windows}
        return sum(each.score_ms for each in self.session.windows) / max(1, len(rows)) / 1e3

    @property
    def device_share(self) -> float:
        """Buffers, free slots and digests included, over what a dense cache holds; at most."""
        token = self.model.config
        dense = (
            2 * token.num_hidden_layers * token.num_key_value_heads * token.head_dim
        ) * self.model.dtype.itemsize
        windows = self.session.windows if self.session is not None else []
        shares = [
            (each.bytes.allocated + each.bytes.digest) / (each.step * dense) for each in windows
        ]
        return max(shares, default=1.0)


@contextmanager
def begun(
    name: str,
    model: Any,
    size: Size,
    length: int,
    budget: Budget,
    *,
    rows: int = 1,
    store: HostStore | None = None,
    at_once: bool = False,
) -> Iterator[Arm]:
    """An arm behind a history of `length` tokens.

    Args:
        name: one of `ARMS`.
        model: of this arm alone if it is "lookahead": a session takes no other cache.
        store: of the chunks that are not on the device.
        at_once: the history is dense until the first decision, as behind a prompt.
    """
    token_B1 = torch.full((rows, 1), 7, device=size.device)
    with ExitStack() as stack, torch.inference_mode():
        if name in ("dense", "offloading"):
            cache = DynamicCache(config=model.config, offloading=name == "offloading")
            fill(cache, size, length, rows=rows)
            yield Arm(name, model, cache, token_B1)
            return
        backbone = Backbone.of(model)
        kept = {"chunk_tokens": size.chunk_tokens, "budget": budget, "store": store}
        if name == "in order":
            cache = LookaheadCache(backbone, **kept)
            fill(cache, size, length, rows=rows)
            yield Arm(name, model, cache, token_B1)
            return
        scorer = IndexerScorer(random_indexer(backbone, size))
        tokens = size.chunk_tokens
        session = stack.enter_context(
            lookahead(model, scorer, budget, store=store, chunk_tokens=tokens)
        )
        cache = LookaheadCache(backbone, **kept, listener=scorer)
        fill(cache, size, length, rows=rows, budget=budget, at_once=at_once)
        yield Arm(name, model, cache, token_B1, session)


def in_turns(
    arms: list[Arm], rounds: int, count: int | Mapping[str, int]
) -> dict[str, list[list[Spent]]]:
    """What each arm's tokens took, round by round; who begins changes every round.

    Args:
        count: tokens of a round; by arm where they differ.
    """
    found: dict[str, list[list[Spent]]] = {arm.name: [] for arm in arms}
    for number in range(rounds):
        first = number % len(arms)
        for arm in arms[first:] + arms[:first]:
            tokens = count if isinstance(count, int) else count[arm.name]
            found[arm.name].append(arm.steps(tokens))
    return found
