"""Published indexer files of any size, and their scores by a slow reference in plain loops.

    path = write(tmp_path / "file.safetensors", Sizes(hidden=40, rank=6, heads=3), seed=1)
    tensors = load_file(path)
    scores(tensors, "l10")                      # (B, C) in numpy
    scores(tensors, "l10", Wrong(hadamard=False))

The reference shares no code with the package: it decodes float8 and rounds to bfloat16 bit by bit.
Shape suffixes: B queries, E hidden, R rank, H heads, D head width (128), C chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

WIDTH, TURNED = 128, 64


@dataclass(frozen=True)
class Sizes:
    """Of a file."""

    hidden: int = 40
    rank: int = 6
    heads: int = 3
    chunks: int = 17
    rows: int = 2
    layers: tuple[str, ...] = ("l10",)
    bias: bool = False


@dataclass(frozen=True)
class Wrong:
    """One way each to depart from the definition."""

    half_split: bool = False
    first_dimensions: bool = False
    yarn: bool = True
    hadamard: bool = True
    float64_angles: bool = False
    round_all: bool = True


def write(path: Path, sizes: Sizes, seed: int) -> Path:
    """A file of random bfloat16 weights, with examples and the reference's scores."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=generator) * scale

    tensors: dict[str, torch.Tensor] = {
        "io.hidden": normal(sizes.rows, sizes.hidden, scale=2.0),
        "io.positions": torch.randint(0, 150_000, (sizes.rows,), generator=generator),
        "io.compressed_k": _records(sizes, generator),
    }
    for layer in sizes.layers:
        shapes = {
            "wq_a.weight": normal(sizes.rank, sizes.hidden, scale=sizes.hidden**-0.5),
            "wq_b.weight": normal(sizes.heads * WIDTH, sizes.rank, scale=sizes.rank**-0.5),
            "q_norm_weight": 1 + normal(sizes.rank, scale=0.1),
            "weights_proj.weight": normal(sizes.heads, sizes.hidden, scale=sizes.hidden**-0.5),
        }
        if sizes.bias:
            shapes["bias"] = normal(1)
        for name, tensor in shapes.items():
            tensors[f"retrievers.{layer}.{name}"] = tensor.bfloat16()
    by_layer = [torch.from_numpy(scores(tensors, layer)).float() for layer in sizes.layers]
    for layer, scores_BC in zip(sizes.layers, by_layer, strict=True):
        tensors[f"io.scores.{layer}"] = scores_BC
    tensors["io.scores_max"] = torch.stack(by_layer).amax(0)
    tensors["io.scores_mean"] = torch.stack(by_layer).mean(0)
    save_file(tensors, str(path))
    return path


def _records(sizes: Sizes, generator: torch.Generator) -> torch.Tensor:
    """Any bytes but the two that are no number, and scales around those of unit keys."""
    shape = sizes.rows, sizes.chunks
    numbers = torch.randint(0, 256, (*shape, WIDTH), generator=generator).to(torch.uint8)
    numbers[(numbers & 0x7F) == 0x7F] = 0
    scale = torch.rand(*shape, 1, generator=generator) * 0.02 + 0.005
    return torch.cat([numbers, scale.view(torch.uint8)], dim=-1)


def scores(tensors: Any, layer: str, wrong: Wrong | None = None) -> np.ndarray:
    """What the file's examples score: (B, C)."""
    wrong = wrong or Wrong()

    def weight(name: str) -> np.ndarray:
        return tensors[f"retrievers.{layer}.{name}"].float().numpy().astype(np.float64)

    hidden_BE = tensors["io.hidden"].float().numpy().astype(np.float64)
    positions_B = tensors["io.positions"].tolist()
    records_BCW = tensors["io.compressed_k"].numpy()
    rows, chunks, _ = records_BCW.shape
    heads = len(tensors[f"retrievers.{layer}.weights_proj.weight"])
    bias = float(weight("bias").sum()) if f"retrievers.{layer}.bias" in tensors else 0.0
    mixing = np.array(
        [[(-1.0) ** (i & j).bit_count() for j in range(WIDTH)] for i in range(WIDTH)]
    ) / math.sqrt(WIDTH)
    result = np.zeros((rows, chunks))
    for b in range(rows):
        low_R = weight("wq_a.weight") @ hidden_BE[b]
        low_R = low_R / math.sqrt(float(np.mean(low_R**2)) + 1e-6) * weight("q_norm_weight")
        query_HD = (weight("wq_b.weight") @ low_R).reshape(heads, WIDTH)
        gate_H = weight("weights_proj.weight") @ hidden_BE[b] / math.sqrt(WIDTH * heads)
        for h in range(heads):
            query_D = _turned(query_HD[h], positions_B[b], wrong)
            query_HD[h] = mixing @ query_D if wrong.hadamard else query_D
        for c in range(chunks):
            key_D = _unpacked(records_BCW[b, c])
            total = bias
            for h in range(heads):
                total += gate_H[h] * max(0.0, float(key_D @ query_HD[h]))
            result[b, c] = 1 / (1 + math.exp(-total))
    return result


def _turned(query_D: np.ndarray, position: int, wrong: Wrong) -> np.ndarray:
    begin = 0 if wrong.first_dimensions else WIDTH - TURNED
    query_D = query_D.copy()
    seen = slice(None) if wrong.round_all else slice(begin, begin + TURNED)
    query_D[seen] = _bfloat16(query_D[seen])
    for pair, frequency in enumerate(frequencies(yarn=wrong.yarn, double=wrong.float64_angles)):
        angle = float(type(frequency)(position) * frequency)
        first, second = begin + 2 * pair, begin + 2 * pair + 1
        if wrong.half_split:
            first, second = begin + pair, begin + TURNED // 2 + pair
        x, y = query_D[first], query_D[second]
        query_D[first] = x * math.cos(angle) - y * math.sin(angle)
        query_D[second] = x * math.sin(angle) + y * math.cos(angle)
    query_D[seen] = _bfloat16(query_D[seen])
    return query_D


def frequencies(*, yarn: bool = True, double: bool = False) -> list[Any]:
    """Radians per position of the 32 pairs; the correction range, 15 to 25, is written out."""
    number: Any = np.float64 if double else np.float32
    found = []
    for pair in range(TURNED // 2):
        plain = number(1) / number(160_000.0 ** (2 * pair / TURNED))
        ramp = number(min(max((pair - 15) / 10, 0.0), 1.0)) if yarn else number(0)
        found.append(plain / number(16) * ramp + plain * (number(1) - ramp))
    return found


def _bfloat16(numbers: np.ndarray) -> np.ndarray:
    """Rounded to the nearest, ties to even, in the upper half of a float32."""
    bits = numbers.astype(np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def _unpacked(record_W: np.ndarray) -> np.ndarray:
    """Sign, four bits of exponent (bias 7), three of fraction; then a float32 scale."""
    [scale] = record_W[WIDTH:].copy().view("<f4")
    numbers = []
    for byte in record_W[:WIDTH].tolist():
        exponent, fraction = byte >> 3 & 15, byte & 7
        size = (1 + fraction / 8) * 2.0 ** (exponent - 7) if exponent else fraction / 8 * 2.0**-6
        numbers.append(-size if byte & 0x80 else size)
    return np.array(numbers) * float(scale)
