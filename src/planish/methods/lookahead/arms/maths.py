"""Scores of chunks from queries and keys.

    scores_BC = ranked(quest_bound(queries_BHD, low_BKCD, high_BKCD, scaling).softmax(-1).mean(1))

Shape suffixes: B rows, H heads, K key/value heads, D head width, L history, C chunks, Q queries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from planish.errors import BadInput

__all__ = ["drawn", "extremes", "observed_votes", "per_chunk", "quest_bound", "ranked"]


def ranked(scores_BC: Tensor) -> Tensor:
    """The order of scores as numbers above 0 and below 1; of equal ones the later is higher.

    A budget with `min_chunks == max_chunks` then takes the highest, whatever the scale was.

    Raises:
        BadInput: a score that is not finite.
    """
    if not bool(torch.isfinite(scores_BC).all()):
        raise BadInput(
            "a chunk has no finite score",
            where="scores",
            fix="look for NaN or infinity in the model's keys or queries",
        )
    order_BC = scores_BC.argsort(dim=-1, stable=True)
    count = scores_BC.shape[-1]
    places_BC = torch.arange(1, count + 1, device=scores_BC.device, dtype=torch.float32)
    ranks_BC = torch.empty_like(scores_BC, dtype=torch.float32)
    ranks_BC.scatter_(-1, order_BC, (places_BC / (count + 1)).expand_as(ranks_BC))
    return ranks_BC


def per_chunk(mass_L: Tensor, chunk_tokens: int, num_chunks: int) -> Tensor:
    """Sums over the tokens of every complete chunk: shape (..., L) to (..., C)."""
    whole = mass_L[..., : num_chunks * chunk_tokens]
    return whole.reshape(*whole.shape[:-1], num_chunks, chunk_tokens).sum(-1)


def extremes(keys_BKLD: Tensor, chunk_tokens: int) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each dimension over each chunk: two of shape (B, K, C, D)."""
    num_rows, num_kv_heads, _, width = keys_BKLD.shape
    # One axis more: the tokens of a chunk, next to last.
    chunks = keys_BKLD.reshape(num_rows, num_kv_heads, -1, chunk_tokens, width)
    return chunks.amin(3), chunks.amax(3)


def quest_bound(queries_BHD: Tensor, low_BKCD: Tensor, high_BKCD: Tensor, scaling: float) -> Tensor:
    """No token of a chunk has a larger scaled product with the query than this: shape (B, H, C).

    Quest, arXiv 2406.10774, section 3.3.
    """
    num_rows, num_kv_heads, _, width = low_BKCD.shape
    # Heads that share keys and values stand next to one another.
    grouped = queries_BHD.float().reshape(num_rows, num_kv_heads, -1, width)
    above = grouped.clamp(min=0) @ high_BKCD.float().transpose(-1, -2)
    below = grouped.clamp(max=0) @ low_BKCD.float().transpose(-1, -2)
    return (above + below).flatten(1, 2) * scaling


def observed_votes(weights_BHQL: Tensor, kernel: int) -> Tensor:
    """Attention of a window of queries to each token, smoothed over neighbours: shape (B, H, L).

    SnapKV, arXiv 2404.14469: a token is kept with those around it, or what it begins is lost.

    Args:
        kernel: tokens that are averaged, an odd number.
    """
    votes_BHL = weights_BHQL.sum(-2)
    return torch.nn.functional.avg_pool1d(
        votes_BHL, kernel, stride=1, padding=kernel // 2, count_include_pad=False
    )


def drawn(seed: int, requests: Sequence[str], steps: Sequence[int], num_chunks: int) -> Tensor:
    """Random scores (B, C) that depend on the seed, the request and the step, not on the batch."""
    rows = []
    for request, step in zip(requests, steps, strict=True):
        digest = hashlib.sha256(f"{seed}\0{request}\0{step}".encode()).digest()
        source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        rows.append(torch.rand(num_chunks, generator=source))
    return torch.stack(rows) if rows else torch.empty(0, num_chunks)
