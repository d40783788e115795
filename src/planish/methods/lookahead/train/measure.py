"""Scores against the full set of candidates, where positives are a few in a hundred.

    judged = [Judged(positive_NC, candidate_NC, mass_NC)]
    quality = measure(judged, logits, threshold=0.5, budgets=(0.1,))
    quality["recall@0.1"], quality["f1"]

A balanced sample would show a far better F1 (specification, traps). Budgets are shares of the
candidates, sinks and recent chunks excluded. N tokens, C chunks of a document, P pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from planish.stats.calibration import expected_calibration_error

__all__ = [
    "Judged",
    "Mode",
    "best_shift",
    "choose_layers",
    "combine",
    "measure",
    "objective",
    "pairs",
    "rate_shift",
    "share",
    "top_share",
]

Mode = Literal["max", "mean"]
"""How the scores of several layers are joined."""

_CALIBRATION_PAIRS = 200_000
_WORTH = 0.002


@dataclass(frozen=True)
class Judged:
    """What is known of a document's tokens.

    Args:
        mass_NC: attention mass of each chunk over the token's window.
    """

    positive_NC: Tensor
    candidate_NC: Tensor
    mass_NC: Tensor


def measure(
    judged: Sequence[Judged],
    logits: Sequence[Tensor],
    *,
    threshold: float,
    budgets: Sequence[float],
) -> dict[str, float | None]:
    """Quality of logits over the candidates of each token.

    Args:
        logits: [N,C] of each document.

    Returns:
        f1, precision, recall and kept (share of the candidates above the threshold); best_f1
        over all thresholds; calibration_error; for each budget B, `recall@B` and `mass@B`, means
        over tokens that need something or whose candidates hold mass. None: nothing to measure.
    """
    logits_P = pairs(logits, judged)
    positive_P = pairs([one.positive_NC for one in judged], judged)
    above_P = torch.sigmoid(logits_P) > threshold
    hits = float((above_P & positive_P).sum())
    wanted, kept = float(positive_P.sum()), float(above_P.sum())
    found: dict[str, float | None] = {
        "f1": 2 * hits / (wanted + kept) if wanted + kept else None,
        "precision": hits / kept if kept else None,
        "recall": hits / wanted if wanted else None,
        "kept": kept / len(logits_P) if len(logits_P) else None,
        "best_f1": best_shift(logits_P, positive_P, threshold)[1],
        "calibration_error": _calibration(logits_P, positive_P),
    }
    for budget in budgets:
        recalls: list[Tensor] = []
        masses: list[Tensor] = []
        for one, logits_NC in zip(judged, logits, strict=True):
            top_NC = top_share(logits_NC, one.candidate_NC, budget)
            recalls.append(share(one.positive_NC.float(), top_NC))
            masses.append(share(one.mass_NC * one.candidate_NC, top_NC))
        found[f"recall@{budget:g}"] = _mean(recalls)
        found[f"mass@{budget:g}"] = _mean(masses)
    return found


def top_share(logits_NC: Tensor, candidate_NC: Tensor, budget: float) -> Tensor:
    """The highest `ceil(budget * candidates)` of each token's candidates; ties to the later."""
    num_chunks = logits_NC.shape[1]
    room_N = torch.ceil(candidate_NC.sum(1) * budget - 1e-9)
    # A stable ascending sort, read from its end, gives the later of two equal ones first.
    order_NC = logits_NC.masked_fill(~candidate_NC, -math.inf).argsort(dim=1, stable=True).flip(1)
    within_NC = torch.arange(num_chunks, device=room_N.device) < room_N[:, None]
    top_NC = torch.zeros_like(candidate_NC).scatter_(1, order_NC, within_NC)
    return top_NC & candidate_NC


def best_shift(
    logits_P: Tensor, positive_P: Tensor, threshold: float
) -> tuple[float, float | None]:
    """What to add to all logits so that F1 above the threshold is best, and that F1."""
    wanted = float(positive_P.sum())
    if not wanted:
        return 0.0, None
    sorted_P, order_P = logits_P.double().sort(descending=True)
    hits_P = positive_P[order_P].double().cumsum(0)
    taken_P = torch.arange(1, len(sorted_P) + 1, device=sorted_P.device).double()
    f1_P = 2 * hits_P / (wanted + taken_P)
    # Equal logits are taken together or not at all.
    last_P = torch.ones_like(positive_P)
    last_P[:-1] = sorted_P[:-1] != sorted_P[1:]
    cut = int(f1_P.masked_fill(~last_P, -1.0).argmax())
    here = float(sorted_P[cut])
    below = float(sorted_P[cut + 1]) if cut + 1 < len(sorted_P) else here - 1.0
    return math.log(threshold / (1 - threshold)) - (here + below) / 2, float(f1_P[cut])


def rate_shift(logits_P: Tensor, positive_P: Tensor) -> float:
    """What to add to all logits so that the mean score is the rate of positives."""
    rate = float(positive_P.double().mean()) if len(positive_P) else 0.0
    if not 0 < rate < 1:
        return 0.0
    low, high = -60.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(torch.sigmoid(logits_P.double() + middle).mean()) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def objective(quality: dict[str, float | None], aim: float) -> float:
    """What training is stopped and layers are chosen by: best F1 and recall at the aim."""
    parts = (quality["best_f1"], quality[f"recall@{aim:g}"])
    return sum(part or 0.0 for part in parts) / len(parts)


def combine(by_layer: Sequence[Sequence[Tensor]], mode: Mode) -> list[Tensor]:
    """Logits of several layers as one, as decoding joins their scores ("max" or "mean")."""
    joined: list[Tensor] = []
    for parts in zip(*by_layer, strict=True):
        stacked = torch.stack(list(parts))
        if mode == "max":
            joined.append(stacked.amax(0))
        else:
            joined.append(torch.logit(torch.sigmoid(stacked.double()).mean(0), eps=1e-9).float())
    return joined


def choose_layers(
    judged: Sequence[Judged],
    logits: dict[str, list[Tensor]],
    *,
    most: int,
    threshold: float,
    aim: float,
) -> tuple[tuple[str, ...], Mode]:
    """Layers and how they are joined, the best on validation; a layer must be worth its bytes.

    Layers are added one by one, the best first, while the objective rises by 0.002 at least.
    """

    def score(names: tuple[str, ...], mode: Mode) -> float:
        joined = combine([logits[name] for name in names], mode)
        return objective(measure(judged, joined, threshold=threshold, budgets=(aim,)), aim)

    best: tuple[float, tuple[str, ...], Mode] = (-1.0, (), "max")
    modes: tuple[Mode, ...] = ("max", "mean")
    for mode in modes:
        chosen: tuple[str, ...] = ()
        reached = -1.0
        while len(chosen) < most and (others := [name for name in logits if name not in chosen]):
            value, name = max((score((*chosen, name), mode), name) for name in others)
            if chosen and value < reached + _WORTH:
                break
            chosen, reached = (*chosen, name), value
        if reached > best[0] + (_WORTH if best[1] else 0.0):
            best = (reached, chosen, mode)
    return tuple(name for name in logits if name in best[1]), best[2]


def pairs(values: Sequence[Tensor], judged: Sequence[Judged]) -> Tensor:
    """The values [N,C] of every document, candidates only, in one row."""
    return torch.cat([one[known.candidate_NC] for one, known in zip(values, judged, strict=True)])


def share(values_NC: Tensor, kept_NC: Tensor) -> Tensor:
    """Share of each row's sum that is kept; rows without a sum are left out."""
    total_N = values_NC.sum(1)
    return ((values_NC * kept_NC).sum(1) / total_N)[total_N > 0]


def _mean(parts: Sequence[Tensor]) -> float | None:
    whole = torch.cat(list(parts))
    return float(whole.double().mean()) if len(whole) else None


def _calibration(logits_P: Tensor, positive_P: Tensor) -> float | None:
    step = max(1, len(logits_P) // _CALIBRATION_PAIRS)
    scores = torch.sigmoid(logits_P[::step].double()).tolist()
    return expected_calibration_error(scores, positive_P[::step].double().tolist())
