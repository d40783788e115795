"""Which chunks the next tokens need: labels from attention mass, one head's look, or the task.

    labels = label(document, Rule(name="head", head_mass=0.3), Limits(chunk_tokens=16))
    labels.positive_NC, labels.known_N

Pure: tensors in, tensors out. A token whose window cannot be judged is not labelled; it is left
out and counted, never taken for one that needs nothing.

N sampled tokens, M memory layers, C chunks, S chunks with a mass, W needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Labels",
    "Limits",
    "Mass",
    "Rule",
    "Sampled",
    "dense",
    "evictable",
    "golden_by_head",
    "golden_by_mass",
    "label",
    "window_mass",
    "window_max",
]

PUBLISHED_SHARE = 3 / 21
"""Layers that must agree (arXiv 2606.09079, public code)."""


@dataclass(frozen=True)
class Rule:
    """What counts as needed.

    Args:
        name: "mass": the smallest set of chunks that holds the share `mass` of a layer's
            attention, in at least `min_layers` layers; "head": any head gives the chunk more
            than `head_mass`; "needs": the task knows.
        among: rule mass: the share of all chunks' mass ("history"), or of those that could be
            evicted.
        min_layers: None: 3 of 21, scaled to the layers that there are.
    """

    name: Literal["mass", "head", "needs"] = "mass"
    mass: float = 0.6
    among: Literal["history", "evictable"] = "history"
    min_layers: int | None = None
    head_mass: float = 0.3

    def layers(self, num_layers: int) -> int:
        """Layers that must agree, of so many."""
        if self.name != "mass":
            return 1
        wanted = self.min_layers or max(1, round(num_layers * PUBLISHED_SHARE))
        return min(wanted, num_layers)


@dataclass(frozen=True)
class Limits:
    """The dials of decoding that decide which chunks have a label at all."""

    chunk_tokens: int
    interval: int = 64
    sink_tokens: int = 0
    recent_tokens: int = 128
    max_positives: int = 512


@dataclass(frozen=True)
class Mass:
    """Attention mass by chunk, of every chunk or of the largest.

    Args:
        values_NMS: not negative. chunks_NMS: which chunks; None: chunk s is in place s.
        num_chunks: C.
        total_NM: mass on all complete chunks, also on those that were left out; None: all are in.
    """

    values_NMS: Tensor
    num_chunks: int
    chunks_NMS: Tensor | None = None
    total_NM: Tensor | None = None


@dataclass(frozen=True)
class Sampled:
    """The sampled tokens of one document.

    Args:
        positions_N: rising. stretch_N: tokens of one stretch follow one another.
        length: tokens of the document.
        needs_W2: position of a query and the chunk it needs; None: the task does not tell.
        needs_span: first and last position of which the task tells; None: all.
    """

    positions_N: Tensor
    stretch_N: Tensor
    length: int
    mass: Mass
    head: Mass
    needs_W2: Tensor | None = None
    needs_span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Labels:
    """Labels of a document's sampled tokens.

    Args:
        positive_NC: needed in the window that starts with the token; False where not candidate.
        candidate_NC: complete by then, and neither sink nor recent: what can be evicted at all.
        counts_NC: layers that agree, at most over the window.
        known_N: whether the token could be labelled.
    """

    positive_NC: Tensor
    candidate_NC: Tensor
    counts_NC: Tensor
    known_N: Tensor


def evictable(positions_N: Tensor, num_chunks: int, limits: Limits) -> Tensor:
    """Chunks that may be evicted when the token at a position has been decoded.

    As in decoding: the history is `position + 1` tokens long; a chunk that holds a sink token or
    one of the recent tokens stays, and one that is not complete is no chunk yet.

    Returns:
        bool [N,C].
    """
    start_C = torch.arange(num_chunks, device=positions_N.device) * limits.chunk_tokens
    length_N1 = positions_N.long().unsqueeze(1) + 1
    old_NC = start_C + limits.chunk_tokens <= length_N1 - limits.recent_tokens
    return old_NC & (start_C >= limits.sink_tokens)


def dense(mass: Mass) -> Tensor:
    """The mass of every chunk, 0 where it was not kept: [N,M,C] float32."""
    values = mass.values_NMS.float()
    if mass.chunks_NMS is None:
        return values
    whole = values.new_zeros(*values.shape[:2], mass.num_chunks)
    return whole.scatter_add_(2, mass.chunks_NMS.long(), values)


def golden_by_mass(values_NMC: Tensor, share: float, total_NM: Tensor | None = None) -> Tensor:
    """The smallest set of chunks, the largest first, that holds `share` of each layer's mass.

    Args:
        values_NMC: not negative.
        total_NM: what the share is of; by default the sum over C.

    Returns:
        bool [N,M,C]; ties go to the earlier chunk, and no mass means no chunk.
    """
    values = values_NMC.double()
    total_NM1 = (values.sum(-1) if total_NM is None else total_NM.double()).unsqueeze(-1)
    sorted_NMC, order_NMC = values.sort(dim=-1, descending=True, stable=True)
    before_NMC = sorted_NMC.cumsum(-1) - sorted_NMC
    # What rounding leaves between a sum and the share must not add a chunk.
    wanted_NMC = (before_NMC < share * total_NM1 - 1e-12) & (sorted_NMC > 0)
    return torch.zeros_like(wanted_NMC).scatter_(-1, order_NMC, wanted_NMC)


def golden_by_head(values_NMC: Tensor, head_mass: float) -> Tensor:
    """Chunks to which some head gives more than `head_mass`; `values_NMC` is the largest head's."""
    return values_NMC > head_mass


def window_max(values_NC: Tensor, stretch_N: Tensor, interval: int) -> Tensor:
    """The largest value of each column over [token, token + interval - 1] of its stretch."""
    num = values_NC.shape[0]
    best_NC = values_NC.clone()
    reach, width = 1, min(interval, num)
    # Windows of twice the length from two of half, as in a sparse table.
    while reach < width:
        step = min(reach, width - reach)
        same_N1 = (stretch_N[step:] == stretch_N[:-step]).unsqueeze(1)
        ahead_NC = torch.where(same_N1, best_NC[step:], best_NC[:-step])
        best_NC = torch.cat([torch.maximum(best_NC[:-step], ahead_NC), best_NC[num - step :]])
        reach += step
    return best_NC


def window_mass(mass: Mass, stretch_N: Tensor, interval: int) -> Tensor:
    """Mean mass over the layers, summed over each token's window: [N,C]."""
    layer_mean_NC = dense(mass).mean(1).double()
    zero_1C = layer_mean_NC.new_zeros(1, mass.num_chunks)
    sums_NC = torch.cat([zero_1C, layer_mean_NC.cumsum(0)])
    end_N = _window_end(stretch_N, interval)
    begin_N = torch.arange(len(stretch_N), device=stretch_N.device)
    return (sums_NC[end_N] - sums_NC[begin_N]).clamp_min(0.0).float()


def label(sampled: Sampled, rule: Rule, limits: Limits) -> Labels:
    """The labels of one document (arXiv 2606.09079; rules "head" and "needs" are ours).

    A token is known when its window lies in its stretch, or ends with the document, and when
    the mass that was kept suffices to judge every token of the window. More positives than
    `limits.max_positives` are cut to those that most layers agree on, the later chunk first.
    """
    num_chunks = sampled.mass.num_chunks
    candidate_NC = evictable(sampled.positions_N, num_chunks, limits)
    if rule.name == "needs":
        counts_NC, judged_N = _needed(sampled)
    else:
        counts_NC, judged_N = _looked_at(sampled, rule, candidate_NC)
    counts_NC = window_max(counts_NC, sampled.stretch_N, limits.interval)
    missed_N1 = window_max((~judged_N).int().unsqueeze(1), sampled.stretch_N, limits.interval)
    known_N = _whole_window(sampled, limits.interval) & (missed_N1.squeeze(1) == 0)
    num_layers = sampled.mass.values_NMS.shape[1]
    positive_NC = (counts_NC >= rule.layers(num_layers)) & candidate_NC
    positive_NC = _capped(positive_NC, counts_NC, limits.max_positives)
    return Labels(positive_NC & known_N.unsqueeze(1), candidate_NC, counts_NC, known_N)


def _looked_at(sampled: Sampled, rule: Rule, candidate_NC: Tensor) -> tuple[Tensor, Tensor]:
    """Layers [N,C] in which a chunk is golden, and the tokens of which that can be told."""
    if rule.name == "head":
        golden_NMC = golden_by_head(dense(sampled.head), rule.head_mass)
        judged_N = _all_above(sampled.head, rule.head_mass)
        return golden_NMC.sum(1, dtype=torch.int32), judged_N
    values_NMC = dense(sampled.mass).double()
    left_out_NM = torch.zeros_like(values_NMC.sum(-1))
    if sampled.mass.total_NM is not None:
        left_out_NM = (sampled.mass.total_NM.double() - values_NMC.sum(-1)).clamp_min(0.0)
    if rule.among == "evictable":
        # Sinks and recent chunks are among the largest: what was left out is none of them.
        values_NMC = values_NMC * candidate_NC.unsqueeze(1)
    total_NM = values_NMC.sum(-1) + left_out_NM
    golden_NMC = golden_by_mass(values_NMC, rule.mass, total_NM)
    judged_N = (values_NMC.sum(-1) >= rule.mass * total_NM - 1e-12).all(1)
    return golden_NMC.sum(1, dtype=torch.int32), judged_N


def _all_above(head: Mass, head_mass: float) -> Tensor:
    """Tokens of which every chunk above `head_mass` was kept."""
    if head.chunks_NMS is None or head.values_NMS.shape[-1] == head.num_chunks:
        return torch.ones(len(head.values_NMS), dtype=torch.bool, device=head.values_NMS.device)
    return (head.values_NMS.float().amin(-1) <= head_mass).all(1)


def _needed(sampled: Sampled) -> tuple[Tensor, Tensor]:
    num, num_chunks = len(sampled.positions_N), sampled.mass.num_chunks
    counts_NC = torch.zeros(num, num_chunks, dtype=torch.int32, device=sampled.positions_N.device)
    if sampled.needs_W2 is None:
        return counts_NC, torch.zeros_like(sampled.positions_N, dtype=torch.bool)
    place_W = torch.searchsorted(
        sampled.positions_N.long(), sampled.needs_W2[:, 0].long().contiguous()
    )
    for place, (position, chunk) in zip(place_W.tolist(), sampled.needs_W2.tolist(), strict=True):
        here = place < num and int(sampled.positions_N[place]) == position
        if here and chunk < num_chunks:
            counts_NC[place, chunk] = 1
    low, high = sampled.needs_span or (0, sampled.length)
    return counts_NC, (sampled.positions_N >= low) & (sampled.positions_N <= high)


def _window_end(stretch_N: Tensor, interval: int) -> Tensor:
    """Place behind the last token of each token's window, within its stretch."""
    last_of = torch.searchsorted(stretch_N.contiguous(), stretch_N.contiguous(), right=True)
    wanted_N = torch.arange(len(stretch_N), device=stretch_N.device) + interval
    return torch.minimum(wanted_N, last_of)


def _whole_window(sampled: Sampled, interval: int) -> Tensor:
    end_N = _window_end(sampled.stretch_N, interval)
    begin_N = torch.arange(len(end_N), device=end_N.device)
    ends_document_N = sampled.positions_N[end_N - 1] == sampled.length - 1
    return (end_N - begin_N == interval) | ends_document_N


def _capped(positive_NC: Tensor, counts_NC: Tensor, most: int) -> Tensor:
    if positive_NC.shape[1] <= most:
        return positive_NC
    num_chunks = positive_NC.shape[1]
    # Distinct ranks: by layers first, then by place.
    rank_NC = counts_NC.long() * num_chunks + torch.arange(num_chunks, device=counts_NC.device)
    rank_NC = rank_NC.masked_fill(~positive_NC, -1)
    kept_NC = torch.zeros_like(positive_NC).scatter_(1, rank_NC.topk(most, dim=1).indices, True)
    return kept_NC & positive_NC


def layer_weight(counts: Tensor, num_layers: int) -> Tensor:
    """0.5 where few of the layers agree on a chunk, 2.0 where all do (public code)."""
    low, high = 0.5, 2.0
    share = counts.float() / max(num_layers, 1)
    return torch.clamp(low + (high - low) * share, low, high)
