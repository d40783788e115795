"""How sure a training's numbers are: intervals over the documents that it was chosen on.

    found = by_document(judged, logits, quality, threshold=0.5, budgets=(0.1,), seed=0)
    found["recall@0.1"]     # an Estimate with the same value as in `quality`

Tokens of one document need the same chunks, so documents are resampled, whole. Bias and layers were
chosen on these very documents; what that flatters no interval holds. N tokens, C chunks of a
document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from planish.methods.lookahead.train.measure import Judged, best_shift, pairs, share, top_share
from planish.stats import Estimate, ratio

__all__ = ["by_document"]

Sums = list[tuple[float, float]]
"""Of each document what is over, and what is below the line of a ratio."""


def by_document(
    judged: Sequence[Judged],
    logits: Sequence[Tensor],
    quality: Mapping[str, float | None],
    *,
    threshold: float,
    budgets: Sequence[float],
    seed: int = 0,
) -> dict[str, Estimate | float | None]:
    """The measures of `measure` with 95 % bootstrap intervals by document (ours).

    That of best_f1 takes the threshold as given that is best over all documents.

    Args:
        logits: [N,C] of each document.
        quality: from `measure`, with the same threshold and budgets.

    Returns:
        What is in `quality`, in its order; what is no ratio over tokens stays a number.
    """
    shift = best_shift(
        pairs(logits, judged), pairs([one.positive_NC for one in judged], judged), threshold
    )[0]
    sums: dict[str, Sums] = {}
    for one, logits_NC in zip(judged, logits, strict=True):
        told = _counts(one, logits_NC, threshold) | _best(one, logits_NC, threshold, shift)
        for budget in budgets:
            top_NC = top_share(logits_NC, one.candidate_NC, budget)
            told[f"recall@{budget:g}"] = _summed(share(one.positive_NC.float(), top_NC))
            told[f"mass@{budget:g}"] = _summed(share(one.mass_NC * one.candidate_NC, top_NC))
        for name, both in told.items():
            sums.setdefault(name, []).append(both)
    return {
        name: value if value is None or name not in sums else _estimate(sums[name], seed)
        for name, value in quality.items()
    }


def _counts(one: Judged, logits_NC: Tensor, threshold: float) -> dict[str, tuple[float, float]]:
    above_NC = (torch.sigmoid(logits_NC) > threshold) & one.candidate_NC
    hits, kept, wanted = _hits(one, above_NC)
    return {
        "f1": (2 * hits, wanted + kept),
        "precision": (hits, kept),
        "recall": (hits, wanted),
        "kept": (kept, float(one.candidate_NC.sum())),
    }


def _best(
    one: Judged, logits_NC: Tensor, threshold: float, shift: float
) -> dict[str, tuple[float, float]]:
    above_NC = (torch.sigmoid(logits_NC.double() + shift) > threshold) & one.candidate_NC
    hits, kept, wanted = _hits(one, above_NC)
    return {"best_f1": (2 * hits, wanted + kept)}


def _hits(one: Judged, above_NC: Tensor) -> tuple[float, float, float]:
    positive_NC = one.positive_NC & one.candidate_NC
    hits = (above_NC & positive_NC).sum()
    return float(hits), float(above_NC.sum()), float(positive_NC.sum())


def _summed(values_N: Tensor) -> tuple[float, float]:
    return float(values_N.double().sum()), float(len(values_N))


def _estimate(sums: Sums, seed: int) -> Estimate:
    # Shares of masses may pass 1 in their last place, and then they were no rates.
    tops = [min(top, bottom) for top, bottom in sums]
    return ratio(tops, [bottom for _, bottom in sums], seed=seed)
