"""An arm decodes: freely, or along the dense reply.

    found = decode(model, backbone, run, scorer, budget, chunk_tokens, greedy)
    found.replies, found.resident, found.windows

The prompt is not read again: each arm gets its own cache, filled with what the dense run read.

Shape suffixes: B rows, T steps, C chunks, V vocabulary, K key/value heads, L history, D head width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from planish.methods.lookahead.evaluate.compressed import Unmoved, behind
from planish.methods.lookahead.evaluate.dense import DenseRun, Greedy, Prefilled, finite
from planish.models.memory.attach import lookahead
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, Bytes, WindowRecord
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.scoring import ChunkScorer
from planish.sampling import kl

__all__ = ["Decoded", "decode", "filled"]


@dataclass
class Decoded:
    """What an arm did, step by step.

    Attributes:
        replies, steps_B: as in a dense run; along the dense reply, its own.
        chosen_BT: the token that each step chooses.
        resident: per step, chunks (B, C) that it could attend to.
        bytes: per step, what lay where afterwards, by row.
        windows: decisions.
        kl_BT: KL(dense, arm) of each step, in nats; None where the arm decoded freely.
        scanned: of each decision, bytes of each row read over the link to score.
    """

    replies: list[list[int]]
    steps_B: list[int]
    chosen_BT: Tensor
    resident: list[Tensor]
    bytes: list[list[Bytes]]
    windows: list[WindowRecord]
    kl_BT: Tensor | None = None
    scanned: Sequence[Sequence[int]] = ()

    def decisions(self, row: int, prompt: int) -> list[int]:
        """Steps behind which a row's chunks were chosen."""
        return [each.step - prompt for each in self.own(row, prompt)]

    def turned(self, row: int, prompt: int) -> int | None:
        """Step behind which a row turned dense."""
        last = self.own(row, prompt)[-1:]
        return last[0].step - prompt if last and last[0].fallback else None

    def own(self, row: int, prompt: int) -> list[WindowRecord]:
        """A row's decisions, as if it had been alone.

        Without those of a reply that had ended, or had turned dense, while others went on.
        """
        behind = prompt + self.steps_B[row]
        mine = [each for each in self.windows if each.request == row and each.step < behind]
        dense = [place for place, each in enumerate(mine) if each.fallback]
        return mine[: dense[0] + 1] if dense else mine


def filled(
    backbone: Backbone, prefilled: Prefilled, scorer: ChunkScorer, budget: Budget, chunk_tokens: int
) -> LookaheadCache:
    """A cache that stands behind the prompt, everything resident."""
    cache = LookaheadCache(backbone, chunk_tokens=chunk_tokens, budget=budget, listener=scorer)
    cache.see_padding(None, len(prefilled.prompt_BT))
    for index in range(backbone.num_layers):
        if index in prefilled.keys_values:
            keys_BKLD, values_BKLD = prefilled.keys_values[index]
            cache.update(keys_BKLD, values_BKLD, index)
        else:
            cache.layers[index] = copy.deepcopy(prefilled.others[index])
    return cache


@contextmanager
def _behind(
    backbone: Backbone,
    prefilled: Prefilled,
    scorer: ChunkScorer,
    budget: Budget,
    chunk_tokens: int,
    watch: Callable[[WindowRecord], None],
) -> Iterator[tuple[Any, Any]]:
    """A cache behind the prompt, and who says what of it is there: of most models the cache."""
    if isinstance(backbone, Unmoved):
        with behind(backbone, prefilled, scorer, budget, watch) as both:
            yield both
        return
    with lookahead(backbone.model, scorer, budget, on_window=watch, chunk_tokens=chunk_tokens):
        cache = filled(backbone, prefilled, scorer, budget, chunk_tokens)
        yield cache, cache


def decode(
    model: Any,
    backbone: Backbone,
    run: DenseRun,
    scorer: ChunkScorer,
    budget: Budget,
    chunk_tokens: int,
    *,
    eos_ids: Sequence[int],
    max_tokens: Sequence[int],
    forced: bool,
) -> Decoded:
    """Decodes a batch under an arm.

    Args:
        forced: feeds the dense reply, and measures what the arm would have said; or else what
            the arm itself chose.
    """
    greedy = Greedy(eos_ids, max_tokens)
    windows: list[WindowRecord] = []
    resident: list[Tensor] = []
    held: list[list[Bytes]] = []
    chosen: list[Tensor] = []
    distances: list[Tensor] = []
    token_B = run.prefilled.prompt_BT[:, -1]
    begun = _behind(backbone, run.prefilled, scorer, budget, chunk_tokens, windows.append)
    with torch.inference_mode(), begun as (cache, lying):
        step = 0
        while step < run.fed_BT.shape[1] if forced else not greedy.over:
            if forced:
                token_B = run.fed_BT[:, step]
            resident.append(lying.resident_BC.cpu().clone())
            output = model(input_ids=token_B[:, None], past_key_values=cache, use_cache=True)
            logits_BV = finite(output.logits[:, -1].float())
            token_B = logits_BV.argmax(-1)
            chosen.append(token_B.cpu())
            held.append(lying.bytes_per_row())
            if forced and run.logits_TBV is not None:
                distances.append(kl(run.logits_TBV[step], logits_BV, "forward").cpu())
            if not forced:
                greedy.take(token_B)
            step += 1
    return Decoded(
        replies=run.replies if forced else greedy.replies,
        steps_B=run.steps_B.tolist() if forced else greedy.steps_B,
        chosen_BT=torch.stack(chosen, 1),
        resident=resident,
        bytes=held,
        windows=windows,
        kl_BT=torch.stack(distances, 1) if distances else None,
        scanned=getattr(scorer, "scanned", ()),
    )
