"""Files of indexers: the published ones, and ours, which say more about themselves.

    weights, config = read("indexer/")
    write("indexer/", weights, config)

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
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from planish.errors import BadInput
from planish.models.memory.digests import WIDTH, Pooling
from planish.models.memory.scorer import Rope
from planish.records import explain

__all__ = ["SETTINGS", "WEIGHTS", "IndexerConfig", "Weights", "read", "write"]

WEIGHTS, SETTINGS = "indexer.safetensors", "indexer.json"
REQUIRED = ("wq_a.weight", "wq_b.weight", "q_norm_weight", "weights_proj.weight")
OPTIONAL = ("bias", "chunk.weight")

Weights = dict[str, dict[str, Tensor]]
"""Layer -> name -> float32 tensor."""

_KEY = re.compile(r"retrievers\.([^.]+)\.(.+)")


class IndexerConfig(BaseModel):
    """What an indexer is and what it was trained for; `indexer.json`.

    Attributes:
        hidden_size: E; rank: R; num_heads: H; head_dim: always 128.
        chunk_tokens: tokens of history in one chunk.
        pooling: how a chunk's keys become features; features: F, 0 without a chunk tower.
        rope: how queries and chunk keys turn with their position.
        layers: names of the scored layers; published: whether they are ordinals among the
            compressed-attention layers of DeepSeek-V4 (l10 is layer 22).
        backbone: fingerprint of the model it was trained for; {} for a published file, which
            does not tell.
        mode: how layers are joined.
        notes: anything else worth keeping, such as the budget it was validated with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hidden_size: int = Field(ge=1)
    rank: int = Field(default=512, ge=1)
    num_heads: int = Field(default=16, ge=1)
    head_dim: Literal[128] = 128
    chunk_tokens: int = Field(default=16, ge=1)
    pooling: Pooling = "mean-min-max"
    features: int = Field(default=0, ge=0)
    rope: Rope = Rope()
    layers: tuple[str, ...] = ()
    published: bool = False
    backbone: dict[str, Any] = Field(default_factory=dict)
    mode: Literal["max", "mean"] = "max"
    notes: dict[str, Any] = Field(default_factory=dict)


def read(path: str | Path) -> tuple[Weights, IndexerConfig]:
    """The weights of an indexer, in float32, and its settings; a published file has none.

    Args:
        path: a folder with `indexer.safetensors` or one other safetensors file, or a file.

    Raises:
        BadInput: nothing is there, it cannot be read, keys are missing, extra or misshapen (the
            message names the first of them), or the settings contradict the weights.
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
        raise BadInput(
            f"cannot be read as safetensors ({error})", where=str(file), fix=_AGAIN
        ) from None
    if extra:
        raise BadInput(f"unknown key {extra[0]!r}", where=str(file), fix=_EXPECTED)
    if not weights:
        raise BadInput("holds no indexer", where=str(file), fix=_EXPECTED)
    sizes = _sizes(weights, where=str(file))
    return weights, _config(_settings(file), weights, sizes, file)


_EXPECTED = "expected are retrievers.LAYER.{" + ", ".join(REQUIRED + OPTIONAL) + "}"

_WRITTEN = "name the folder that `planish lookahead train` wrote, or a published file"
_AGAIN = "copy the indexer again, or train it anew"


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
    if not found:
        raise BadInput("holds no indexer", where=str(path), fix=_WRITTEN)
    if len(found) != 1:
        raise BadInput(
            f"holds {len(found)} safetensors files", where=str(path), fix="name one of them"
        )
    return found[0]


def _settings(weights: Path) -> dict[str, Any] | None:
    """Settings that lie beside a file of ours; a file of another name has none."""
    file = weights.with_name(SETTINGS)
    if weights.name != WEIGHTS or not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise BadInput(f"cannot be read ({error})", where=str(file), fix=_AGAIN) from None
    if not isinstance(found, dict):
        raise BadInput("is no JSON object", where=str(file))
    return found


def _config(
    settings: dict[str, Any] | None, weights: Weights, sizes: dict[str, int], file: Path
) -> IndexerConfig:
    """The settings that were saved, held against the weights; or what a published file tells."""
    if settings is None:
        if sizes["features"]:
            raise BadInput(
                f"holds chunk towers, but no {SETTINGS} lies beside it",
                where=str(file),
                fix="keep both in one folder: the size of chunks and the pooling are there",
            )
        # Layers in the order of their numbers, chunks as DeepSeek-V4 has them.
        layers = tuple(sorted(weights, key=lambda name: (len(name), name)))
        return IndexerConfig(**sizes, chunk_tokens=4, layers=layers, published=True)
    where = str(file.with_name(SETTINGS))
    try:
        config = IndexerConfig(**settings)
    except ValidationError as error:
        raise BadInput(explain(error), where=where) from None
    for name, size in sizes.items():
        if getattr(config, name) != size:
            raise BadInput(
                f"{name} is {getattr(config, name)}, but the weights have {size}", where=where
            )
    if set(config.layers) != set(weights):
        raise BadInput(
            f"names the layers {', '.join(config.layers)}, the weights {', '.join(weights)}",
            where=where,
        )
    return config


def _sizes(weights: Weights, *, where: str) -> dict[str, int]:
    """Hidden size, rank, heads and features, which all layers must share."""
    common: tuple[str, dict[str, int]] | None = None
    for layer, tensors in weights.items():
        sizes = _sizes_of(layer, tensors, where)
        if common is None:
            common = layer, sizes
        elif common[1] != sizes:
            name = next(name for name in sizes if sizes[name] != common[1][name])
            raise BadInput(
                f"retrievers.{layer} has a {name} of {sizes[name]}, retrievers.{common[0]} of "
                f"{common[1][name]}",
                where=where,
            )
    assert common is not None
    return common[1]


def _sizes_of(layer: str, tensors: Mapping[str, Tensor], where: str) -> dict[str, int]:
    for name in REQUIRED:
        if name not in tensors:
            raise BadInput(f"retrievers.{layer}.{name} is missing", where=where, fix=_EXPECTED)
    first, gates = tensors["wq_a.weight"], tensors["weights_proj.weight"]
    rank, hidden = first.shape if first.dim() == 2 else (0, 0)
    heads = gates.shape[0] if gates.dim() == 2 else 0
    features = tensors["chunk.weight"].shape[-1:].numel() if "chunk.weight" in tensors else 0
    expected: dict[str, tuple[str, bool]] = {
        "wq_a.weight": ("[rank, hidden size]", min(rank, hidden) > 0),
        "weights_proj.weight": (f"[heads, {hidden}]", heads > 0 and gates.shape[1] == hidden),
        "wq_b.weight": _exactly(tensors["wq_b.weight"], heads * WIDTH, rank),
        "q_norm_weight": _exactly(tensors["q_norm_weight"], rank),
    }
    if "bias" in tensors:
        expected["bias"] = "one number", tensors["bias"].numel() == 1
    if "chunk.weight" in tensors:
        whole = _exactly(tensors["chunk.weight"], WIDTH, features)[1] and features > 0
        expected["chunk.weight"] = f"[{WIDTH}, features]", whole
    for name, (shape, fits) in expected.items():
        if not fits:
            raise BadInput(
                f"retrievers.{layer}.{name} has shape {list(tensors[name].shape)}",
                where=where,
                fix=f"it should be {shape}",
            )
        if not bool(tensors[name].isfinite().all()):
            raise BadInput(f"retrievers.{layer}.{name} is not finite", where=where)
    return {"hidden_size": hidden, "rank": rank, "num_heads": heads, "features": features}


def _exactly(tensor: Tensor, *shape: int) -> tuple[str, bool]:
    return str(list(shape)), list(tensor.shape) == list(shape)


def write(
    folder: str | Path, weights: Mapping[str, Mapping[str, Tensor]], config: IndexerConfig
) -> Path:
    """Writes both files, each under its name only when it is whole; the settings come last.

    Raises:
        BadInput: the folder cannot be written to.
    """
    folder = Path(folder)
    flat = {
        f"retrievers.{layer}.{name}": tensor.detach().to("cpu", torch.float32).contiguous()
        for layer, tensors in weights.items()
        for name, tensor in tensors.items()
    }
    # safetensors writes private files, whatever the person's own mask says.
    umask = os.umask(0)
    os.umask(umask)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
            save_file(flat, os.path.join(scratch, WEIGHTS), metadata={"format": "pt"})
            Path(scratch, SETTINGS).write_text(
                config.model_dump_json(indent=1) + "\n", encoding="utf-8"
            )
            for name in (WEIGHTS, SETTINGS):
                os.chmod(os.path.join(scratch, name), 0o666 & ~umask)
                os.replace(os.path.join(scratch, name), folder / name)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInput(f"cannot be written ({why})", where=str(folder)) from None
    return folder
