"""One small key per chunk: pooled from the chunk's keys, and kept in 132 bytes.

    records = pack(keys)                    # 128 float8 numbers and a float32 scale
    unpack(records).shape == keys.shape

Pooling is ours: keys are turned back to position 0 first, so that what a chunk holds does not
depend on where it stands. The record is the published one (arXiv 2606.09079, public code).

Shape suffixes: B rows, C chunks, K key/value heads, L tokens, D head width, F features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from planish.errors import BadInput

__all__ = ["RECORD_BYTES", "WIDTH", "Pooling", "pack", "pool", "unpack"]

Pooling = Literal["mean", "mean-min-max"]

WIDTH = 128
RECORD_BYTES = WIDTH + 4
_LARGEST = 448.0  # of float8_e4m3fn
# Between these scales, neither they nor 448 times them leave the range of float32.
_SCALES = float(torch.finfo(torch.float32).tiny), torch.finfo(torch.float32).max / 448.01


def pack(keys: Tensor) -> Tensor:
    """Keys as records.

    Args:
        keys: (..., 128) of any float type.

    Returns:
        uint8 of shape (..., 132).

    Raises:
        BadInput: another width, or a key that is not finite.
    """
    if keys.shape[-1] != WIDTH:
        raise BadInput(f"keys are {keys.shape[-1]} wide, not {WIDTH}", where="digest")
    keys = keys.float()
    largest = keys.abs().amax(-1, keepdim=True)
    if not bool(largest.isfinite().all()):
        raise BadInput("a chunk's key is not finite", where="digest")
    scale = (largest / _LARGEST).clamp(*_SCALES)
    small = (keys / scale).clamp(-_LARGEST, _LARGEST).to(torch.float8_e4m3fn)
    return torch.cat([small.view(torch.uint8), scale.contiguous().view(torch.uint8)], dim=-1)


def unpack(records: Tensor) -> Tensor:
    """The keys in records: float32 of shape (..., 128).

    Raises:
        BadInput: no uint8, another width, or a number that is none.
    """
    if records.dtype != torch.uint8 or records.shape[-1] != RECORD_BYTES:
        raise BadInput(
            f"records are {records.dtype} and {records.shape[-1]} wide",
            where="digest",
            fix=f"give uint8 of {RECORD_BYTES}: {WIDTH} float8_e4m3fn and a float32 scale",
        )
    # Always a copy: records may lie anywhere in something wider, and floats must be aligned.
    scale = records[..., WIDTH:].clone(memory_format=torch.contiguous_format).view(torch.float32)
    # A table, because torch's own conversion takes ten times as long on a processor.
    numbers = _table().to(records.device).index_select(0, records[..., :WIDTH].int().flatten())
    keys = numbers.view(*records.shape[:-1], WIDTH) * scale
    # Both ends of the range are NaN where any number is, in a tenth of the time of `isfinite`.
    if keys.numel() and not bool(torch.stack(keys.aminmax()).isfinite().all()):
        raise BadInput("a record holds a number that is not finite", where="digest")
    return keys


@lru_cache(maxsize=1)
@torch.inference_mode(False)
def _table() -> Tensor:
    """What each byte means."""
    return torch.arange(256, dtype=torch.uint8, device="cpu").view(torch.float8_e4m3fn).float()


def pool(keys_BKLD: Tensor, valid_BL: Tensor, chunk_tokens: int, pooling: Pooling) -> Tensor:
    """Features of chunks: the mean over a chunk's tokens, and its extremes if asked for.

    Args:
        keys_BKLD: keys turned back to position 0; L a multiple of `chunk_tokens`.
        valid_BL: False where a token is padding, which never counts.

    Returns:
        (B, C, F) in float32, F being K*D or three times that: mean, least, largest. A chunk of
        padding only gives zeros.

    Raises:
        BadInput: L is no multiple of `chunk_tokens`, or an unknown pooling.
    """
    rows, heads, length, width = keys_BKLD.shape
    if length % chunk_tokens:
        raise BadInput(f"{length} tokens are no whole chunks of {chunk_tokens}", where="pooling")
    if pooling not in ("mean", "mean-min-max"):
        raise BadInput(
            f"no pooling is called {pooling!r}", where="pooling", fix="use mean or mean-min-max"
        )
    chunks = length // chunk_tokens
    keys = keys_BKLD.float().transpose(1, 2).reshape(rows, chunks, chunk_tokens, heads * width)
    valid = valid_BL.reshape(rows, chunks, chunk_tokens, 1)
    some = valid.any(2)
    whole = bool(valid.all())
    counted = keys if whole else torch.where(valid, keys, 0)
    mean = counted.sum(2) / valid.sum(2).clamp(min=1)
    if pooling == "mean":
        return mean
    least = (keys if whole else keys.masked_fill(~valid, float("inf"))).amin(2)
    largest = (keys if whole else keys.masked_fill(~valid, float("-inf"))).amax(2)
    zero = torch.zeros((), device=keys.device)
    return torch.cat([mean, torch.where(some, least, zero), torch.where(some, largest, zero)], -1)
