"""How well a token's query and a chunk's key agree: the published maths, in its exact order.

    queries_BHD = rotated(project(hidden_BE), positions_B)
    logits_BC = agreement(queries_BHD, gates_BH, keys_BCD)

The order of roundings is part of the definition: a query passes through bfloat16 before it is
rotated, angles are float32, and everything else is float32. Section 2.1 of the specification;
arXiv 2606.09079 (public code).

Shape suffixes: B queries, H heads, D head width (128), C chunks.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["HEAD_DIM", "Rope", "agreement", "gate_scale", "hadamard", "rms_norm", "rotate"]

HEAD_DIM = 128
_EPS = 1e-6
_AT_ONCE = {"cpu": 1 << 20}  # products of heads with chunks that are held at a time


class Rope(BaseModel):
    """YaRN (arXiv 2309.00071) without magnitude scaling, over the last `dim` dimensions.

    Attributes:
        dim: rotated dimensions; base, factor, original_length, beta_fast, beta_slow: YaRN's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(default=64, ge=2, le=HEAD_DIM, multiple_of=2)
    base: float = Field(default=160_000.0, gt=1)
    factor: float = Field(default=16.0, ge=1)
    original_length: int = Field(default=65_536, ge=1)
    beta_fast: float = Field(default=32.0, gt=0)
    beta_slow: float = Field(default=1.0, gt=0)

    def frequencies(self) -> Tensor:
        """Radians per position of each pair of dimensions: float32, shape (dim / 2,)."""
        return _frequencies(self)


# What is remembered is an ordinary float32 tensor on the processor, whatever the first caller's
# modes and defaults were: a tensor of inference mode could never be trained with.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def _frequencies(rope: Rope) -> Tensor:
    def turns(beta: float) -> float:
        """The pair of dimensions that turns `beta` times within the original length."""
        wave = rope.original_length / (beta * 2 * math.pi)
        return rope.dim * math.log(wave) / (2 * math.log(rope.base))

    half = rope.dim // 2
    low = max(math.floor(turns(rope.beta_fast)), 0)
    high = min(math.ceil(turns(rope.beta_slow)), rope.dim - 1)
    pairs = torch.arange(half, dtype=torch.float32, device="cpu")
    plain = 1.0 / rope.base ** (2 * pairs / rope.dim)
    ramp = ((pairs - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain / rope.factor * ramp + plain * (1 - ramp)


def rotate(states: Tensor, positions: Tensor, rope: Rope) -> Tensor:
    """Turns the last `rope.dim` dimensions by their position; neighbours are a pair.

    Args:
        states: (..., D); positions: whole numbers, shaped like `states` without its last axis, or
            broadcastable to that.

    Returns:
        Float32, whatever the type of `states`: the caller rounds.
    """
    angles = positions.to(torch.float32)[..., None] * rope.frequencies().to(states.device)
    still, turned = states[..., : -rope.dim], states[..., -rope.dim :]
    pairs = torch.complex(turned[..., 0::2].float(), turned[..., 1::2].float())
    turned = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    return torch.cat([still.float(), turned], dim=-1)


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _sylvester(width: int) -> Tensor:
    matrix = torch.ones(1, 1, dtype=torch.float32, device="cpu")
    while len(matrix) < width:
        matrix = torch.cat(
            [torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)]
        )
    return matrix / math.sqrt(width)


def hadamard(states: Tensor) -> Tensor:
    """`states @ Hadamard / sqrt(D)` in float32, rows in Sylvester's order; D a power of two."""
    return states.float() @ _sylvester(states.shape[-1]).to(states.device)


def rms_norm(states: Tensor, weight: Tensor) -> Tensor:
    """Root-mean-square norm with an epsilon of 1e-6."""
    scale = torch.rsqrt(states.square().mean(-1, keepdim=True) + _EPS)
    return states * scale * weight


def gate_scale(num_heads: int) -> float:
    """What gates are multiplied with: 128^-0.5 * H^-0.5."""
    return float(HEAD_DIM**-0.5 * num_heads**-0.5)


def agreement(queries_BHD: Tensor, gates_BH: Tensor, keys_BCD: Tensor) -> Tensor:
    """`sum_h gate * relu(key . query)`: shape (B, C).

    Chunks are taken in pieces, so that nothing of size B*H*C is ever held; with gradients, a
    piece is computed again on the way back.

    Args:
        keys_BCD: (B, C, D), or (C, D) where all queries look at the same chunks.
    """
    keys = keys_BCD if keys_BCD.dim() == 3 else keys_BCD[None]
    rows, heads, _ = queries_BHD.shape
    step = max(1, _AT_ONCE.get(keys.device.type, 1 << 24) // max(1, rows * heads))
    if keys.shape[1] <= step:
        return _piece(queries_BHD, gates_BH, keys)
    pieces = [
        checkpoint(_piece, queries_BHD, gates_BH, part, use_reentrant=False)
        if torch.is_grad_enabled()
        else _piece(queries_BHD, gates_BH, part)
        for part in torch.split(keys, step, dim=1)
    ]
    return torch.cat(pieces, dim=1)


def _piece(queries_BHD: Tensor, gates_BH: Tensor, keys_BCD: Tensor) -> Tensor:
    products_BHC = (queries_BHD @ keys_BCD.transpose(1, 2)).relu()
    return (gates_BH[:, None] @ products_BHC)[:, 0]
