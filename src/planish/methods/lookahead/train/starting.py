"""A start from the backbone's own queries, with chunk keys in its key space (ours).

    start_from_queries(retriever, projection, header)
    start_from_native(retriever, weights)

A head of the indexer then scores a chunk by what a head of the backbone would look for, without
positions. E hidden, R rank, H heads of the indexer, D head width of the backbone, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from planish.methods.lookahead.data import Header
from planish.models.memory.scorer import HEAD_DIM
from planish.records import BadInput

__all__ = ["start_from_native", "start_from_queries"]

_PLAIN = 64
"""Dimensions of a key that are not rotated; what has no position goes there."""


@torch.no_grad()
def start_from_queries(retriever: Any, projection: Tensor | None, header: Header) -> None:
    """Sets the query tower to the backbone's query projection, and the chunk tower to match.

    Only the first dimensions of wide heads, the first key/value heads and as many heads as the
    indexer has are taken; through a rank below E goes the best approximation of that rank.

    Args:
        retriever: towers of one layer.
        projection: [heads*D,E] of the backbone; None: it was not dumped.

    Raises:
        BadInput: there is no projection.
    """
    if projection is None:
        raise BadInput(
            "the dump holds no query projection of this layer", where="--init", fix="use random"
        )
    width = min(header.head_dim, _PLAIN)
    kv_heads = min(header.num_kv_heads, _PLAIN // width)
    groups = header.num_heads // header.num_kv_heads
    weights = projection.view(header.num_heads, header.head_dim, -1)[:, :width]
    query, chunk = retriever.query, retriever.chunk
    num_heads = query.wq_b.weight.shape[0] // HEAD_DIM
    wanted = query.wq_b.weight.new_zeros(num_heads, HEAD_DIM, header.hidden_size)
    # Heads of all key/value groups in turn, so that a few heads see all of them.
    order = [kv * groups + place for place in range(groups) for kv in range(kv_heads)]
    for head in range(num_heads):
        source = order[head % len(order)]
        begin = source // groups * width
        wanted[head, begin : begin + width] = weights[source].to(wanted)
    rank = query.wq_a.weight.shape[0]
    left, values, right = torch.linalg.svd(wanted.flatten(0, 1).float(), full_matrices=False)
    kept = min(rank, int((values > values[0] * 1e-6).sum()))
    query.wq_a.weight[:kept] = right[:kept].to(query.wq_a.weight)
    query.wq_b.weight.zero_()
    query.wq_b.weight[:, :kept] = (left[:, :kept] * values[:kept]).to(query.wq_b.weight)
    query.q_norm_weight.fill_(1.0)
    chunk.weight.zero_()
    for kv in range(kv_heads):
        for place in range(width):
            chunk.weight[kv * width + place, kv * header.head_dim + place] = 1.0


@torch.no_grad()
def start_from_native(retriever: Any, weights: Mapping[str, Tensor]) -> None:
    """Copies a native indexer in, so that the first scores are its own.

    Published: it is copied, the rest random. Here the rest begins silent (ours): further dimensions
    between the projections are empty, further gates zero; the norm and the gates are scaled to
    what they now are averages of.

    Args:
        weights: by the names of the published format.

    Raises:
        BadInput: there are none, or the indexer is smaller.
    """
    if not weights:
        raise BadInput(
            "the dump holds no native indexer of this layer", where="--init", fix="use random"
        )
    query = retriever.query
    rank, num_heads = len(weights["wq_a.weight"]), len(weights["weights_proj.weight"])
    most_rank, most_heads = len(query.wq_a.weight), len(query.weights_proj.weight)
    if rank > most_rank or num_heads > most_heads:
        raise BadInput(
            f"the native indexer has rank {rank} and {num_heads} heads",
            where="--init",
            fix=f"give at least --rank {rank} --num-heads {num_heads}",
        )
    query.wq_a.weight[rank:] = 0.0
    query.wq_a.weight[:rank] = weights["wq_a.weight"]
    query.q_norm_weight[:rank] = weights["q_norm_weight"] * (rank / most_rank) ** 0.5
    query.wq_b.weight[: num_heads * HEAD_DIM, :rank] = weights["wq_b.weight"]
    query.weights_proj.weight[num_heads:] = 0.0
    query.weights_proj.weight[:num_heads] = (
        weights["weights_proj.weight"] * (most_heads / num_heads) ** 0.5
    )
