"""Who stays: scores become the set of chunks that is on the device until the next decision.

    >>> scores_BC = torch.tensor([[0.1, 0.9, 0.2, 0.3]])
    >>> budget = Budget(recent_tokens=4, max_chunks=2)
    >>> choose(scores_BC, torch.tensor([4]), torch.tensor([0]), budget, 4, 16).keep_BC.tolist()
    [[False, True, False, True]]

Shape suffixes: B rows, C chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.models.memory.budget import Budget

__all__ = ["Choice", "check_budget", "choose"]


@dataclass(frozen=True)
class Choice:
    """One decision for a batch.

    Attributes:
        keep_BC: bool, the chunks that stay or come back.
        thresholded_B: evictable chunks whose score passed the threshold.
        fallback_B: bool, rows so much of whose history is wanted that they turn dense.
    """

    keep_BC: Tensor
    thresholded_B: Tensor
    fallback_B: Tensor


def check_budget(budget: Budget, chunk_tokens: int) -> None:
    """Refuses a cap that the sinks and the recent window alone would break.

    Raises:
        BadInput: `recent_tokens` and `sink_tokens` need more chunks than `max_chunks`, or more
            chunks are to be kept than may be.
    """
    cap = budget.max_chunks
    if cap is None:
        return
    recent, sink = -(-budget.recent_tokens // chunk_tokens), -(-budget.sink_tokens // chunk_tokens)
    if recent + sink > cap:
        raise BadInput(
            f"{budget.recent_tokens} recent and {budget.sink_tokens} sink tokens are "
            f"{recent + sink} chunks of {chunk_tokens}, above the cap of {cap}",
            where="budget",
            fix="raise max_chunks, or lower recent_tokens or sink_tokens",
        )
    if budget.min_chunks > cap:
        raise BadInput(
            f"min_chunks={budget.min_chunks} is above max_chunks={cap}",
            where="budget",
            fix="lower min_chunks",
        )


def choose(
    scores_BC: Tensor,
    num_chunks_B: Tensor,
    first_chunk_B: Tensor,
    budget: Budget,
    chunk_tokens: int,
    length: int,
    resident_before: Tensor | None = None,
    *,
    padding_B: Tensor | None = None,
) -> Choice:
    """The chunks of the next window.

    Kept are the sinks, the recent window and every score above the threshold (arXiv 2606.09079);
    with `sticky` also what is on the device now. `min_chunks` fills up with the highest scores,
    `max_chunks` drops the lowest; sinks and recent chunks never go, sticky ones after all others.
    Of equal scores the later chunk stays.

    Args:
        scores_BC: of all complete chunks.
        num_chunks_B: complete chunks of each row.
        first_chunk_B: the first chunk of each row that is not padding alone.
        budget: the dials.
        chunk_tokens: tokens of a chunk.
        length: tokens so far, padding included.
        resident_before: bool (B, C), for `sticky`.
        padding_B: padding tokens of each row; by default `first_chunk_B` chunks of it.

    Raises:
        BadInput: a score is not finite, or sinks and recent window are above the cap.
    """
    if not bool(torch.isfinite(scores_BC).all()):
        raise BadInput(
            "a score is not a finite number", where="scorer", fix="check the indexer's weights"
        )
    chunks_C = torch.arange(scores_BC.shape[1], device=scores_BC.device)
    first_B1, last_B1 = first_chunk_B[:, None], num_chunks_B[:, None]
    padding_B1 = first_B1 * chunk_tokens if padding_B is None else padding_B[:, None]
    valid_BC = (chunks_C >= first_B1) & (chunks_C < last_B1)
    sink_BC = chunks_C * chunk_tokens < padding_B1 + budget.sink_tokens
    if not budget.sink_tokens:  # a chunk that begins in the padding is no sink
        sink_BC = torch.zeros_like(valid_BC)
    recent_C = (chunks_C + 1) * chunk_tokens > length - budget.recent_tokens
    must_BC = valid_BC & (sink_BC | recent_C)
    evictable_BC = valid_BC & ~must_BC
    above_BC = evictable_BC & (scores_BC > budget.threshold)
    sticky_BC = torch.zeros_like(must_BC)
    if budget.sticky and resident_before is not None:
        sticky_BC = evictable_BC & resident_before
    above_B = above_BC.sum(1)
    fallback_B = torch.zeros_like(above_B, dtype=torch.bool)
    if budget.fallback_ratio is not None:
        fallback_B = above_B > budget.fallback_ratio * evictable_BC.sum(1)
    wanted_B = (must_BC | above_BC | sticky_BC).sum(1).clamp(min=budget.min_chunks)
    if budget.max_chunks is not None:
        _check_cap(must_BC.sum(1), budget)
        wanted_B = wanted_B.clamp(max=budget.max_chunks)
    # Invalid chunks come last, however many are wanted.
    group_BC = 2 * must_BC.int() + sticky_BC.int() - (~valid_BC).int()
    keep_BC = _first(scores_BC, group_BC, wanted_B) & valid_BC
    return Choice(keep_BC, above_B, fallback_B)


def _first(scores_BC: Tensor, group_BC: Tensor, count_B: Tensor) -> Tensor:
    """The first `count` by group, then score, then lateness: bool (B, C)."""
    scores_BC, group_BC = scores_BC.flip(1), group_BC.flip(1)
    order_BC = scores_BC.argsort(dim=1, descending=True, stable=True)
    by_group_BC = group_BC.gather(1, order_BC).argsort(dim=1, descending=True, stable=True)
    order_BC = order_BC.gather(1, by_group_BC)
    rank_C = torch.arange(scores_BC.shape[1], device=scores_BC.device)
    chosen_BC = torch.zeros_like(scores_BC, dtype=torch.bool)
    return chosen_BC.scatter(1, order_BC, rank_C < count_B[:, None]).flip(1)


def _check_cap(must_B: Tensor, budget: Budget) -> None:
    most = int(must_B.max()) if len(must_B) else 0
    if budget.max_chunks is not None and most > budget.max_chunks:
        raise BadInput(
            f"sinks and recent window are {most} chunks, above the cap of {budget.max_chunks}",
            where="budget",
            fix="raise max_chunks; a padded row may need one chunk more for its sinks",
        )
