"""Files of indexers: the published ones, and ours, which say more about themselves.

    weights, settings = read("indexer/")
    write("indexer/", weights, settings)

A published file is one safetensors with `retrievers.LAYER.{wq_a.weight, wq_b.weight, q_norm_weight,
weights_proj.weight}`. Ours is a folder with such a file, in which a layer may also have `bias` and
`chunk.weight`, and with `indexer.json`. Tensors under `io.` are examples for tests, not weights.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from planish.errors import BadInput
from planish.models.memory.digests import WIDTH

__all__ = ["OPTIONAL", "REQUIRED", "SETTINGS", "WEIGHTS", "Weights", "read", "shapes", "write"]

WEIGHTS, SETTINGS = "indexer.safetensors", "indexer.json"
REQUIRED = ("wq_a.weight", "wq_b.weight", "q_norm_weight", "weights_proj.weight")
OPTIONAL = ("bias", "chunk.weight")

Weights = dict[str, dict[str, Tensor]]
"""Layer -> name -> float32 tensor."""

_KEY = re.compile(r"retrievers\.([^.]+)\.(.+)")


def read(path: str | Path) -> tuple[Weights, dict[str, Any] | None]:
    """The weights of an indexer, in float32, and its settings where it has any.

    Args:
        path: a folder with `indexer.safetensors` or one other safetensors file, or a file.

    Raises:
        BadInput: nothing is there, it cannot be read, or keys are missing, extra or misshapen;
            the message names the first of them.
    """
    path = Path(path).expanduser()
    file = _file(path)
    weights: Weights = {}
    extra: list[str] = []
    try:
        with safe_open(str(file), "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118 - it is no dictionary
                if key.startswith("io."):
                    continue
                match = _KEY.fullmatch(key)
                if match is None or match[2] not in REQUIRED + OPTIONAL:
                    extra.append(key)
                    continue
                weights.setdefault(match[1], {})[match[2]] = tensors.get_tensor(key).float()
    except (SafetensorError, OSError) as error:
        raise BadInput(f"cannot be read as safetensors ({error})", where=str(file)) from None
    if extra:
        raise BadInput(f"unknown key {extra[0]!r}", where=str(file), fix=_EXPECTED)
    if not weights:
        raise BadInput("holds no indexer", where=str(file), fix=_EXPECTED)
    shapes(weights, where=str(file))
    return weights, _settings(path)


_EXPECTED = "expected are retrievers.LAYER.{" + ", ".join(REQUIRED + OPTIONAL) + "}"


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise BadInput(
            "no such indexer", where=str(path), fix="name a folder or a safetensors file"
        )
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise BadInput(
            f"holds {len(found)} safetensors files", where=str(path), fix=f"name {WEIGHTS} itself"
        )
    return found[0]


def _settings(path: Path) -> dict[str, Any] | None:
    file = path / SETTINGS
    if not path.is_dir() or not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"cannot be read ({error})", where=str(file)) from None
    if not isinstance(found, dict):
        raise BadInput("is no JSON object", where=str(file))
    return found


def shapes(weights: Mapping[str, Mapping[str, Tensor]], *, where: str) -> tuple[int, int, int]:
    """Hidden size, rank and heads, which all layers must share.

    Raises:
        BadInput: a key is missing, has a shape that contradicts the others, or is not finite.
    """
    common: tuple[int, int, int] | None = None
    for layer, tensors in weights.items():
        for name in REQUIRED:
            if name not in tensors:
                raise BadInput(f"retrievers.{layer}.{name} is missing", where=where)
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()):
                raise BadInput(f"retrievers.{layer}.{name} is not finite", where=where)
        first = tensors["wq_a.weight"]
        if first.dim() != 2:
            _misshapen(layer, "wq_a.weight", first, "[rank, hidden]", where)
        rank, hidden = first.shape
        gates = tensors["weights_proj.weight"]
        if gates.dim() != 2 or gates.shape[1] != hidden:
            _misshapen(layer, "weights_proj.weight", gates, f"[heads, {hidden}]", where)
        heads = gates.shape[0]
        expected: dict[str, tuple[int, ...]] = {
            "wq_b.weight": (heads * WIDTH, rank),
            "q_norm_weight": (rank,),
        }
        for name, shape in expected.items():
            if tuple(tensors[name].shape) != shape:
                _misshapen(layer, name, tensors[name], str(list(shape)), where)
        bias, chunk = tensors.get("bias"), tensors.get("chunk.weight")
        if bias is not None and bias.numel() != 1:
            _misshapen(layer, "bias", bias, "one number", where)
        if chunk is not None and (chunk.dim() != 2 or chunk.shape[0] != WIDTH):
            _misshapen(layer, "chunk.weight", chunk, f"[{WIDTH}, features]", where)
        if common is not None and common != (hidden, rank, heads):
            raise BadInput(
                f"layer {layer} has hidden size, rank and heads {(hidden, rank, heads)}, "
                f"another has {common}",
                where=where,
            )
        common = hidden, rank, heads
    if common is None:
        raise BadInput("holds no layer", where=where)
    return common


def _misshapen(layer: str, name: str, tensor: Tensor, expected: str, where: str) -> None:
    raise BadInput(
        f"retrievers.{layer}.{name} has shape {list(tensor.shape)}",
        where=where,
        fix=f"it should be {expected}",
    )


def write(folder: str | Path, weights: Mapping[str, Mapping[str, Tensor]], settings: str) -> Path:
    """Writes both files, each under its name only when it is whole; the settings come last.

    Args:
        settings: the text of `indexer.json`.

    Raises:
        BadInput: the folder cannot be written to.
    """
    folder = Path(folder)
    flat = {
        f"retrievers.{layer}.{name}": tensor.detach().to("cpu", torch.float32).contiguous()
        for layer, tensors in weights.items()
        for name, tensor in tensors.items()
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
            save_file(flat, os.path.join(scratch, WEIGHTS), metadata={"format": "pt"})
            Path(scratch, SETTINGS).write_text(settings + "\n", encoding="utf-8")
            for name in (WEIGHTS, SETTINGS):
                os.chmod(os.path.join(scratch, name), 0o644)  # safetensors writes private files
                os.replace(os.path.join(scratch, name), folder / name)
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror})", where=str(folder)) from None
    return folder
