"""A random indexer saved beside a tiny checkpoint.

folder = save_checkpoint(tmp_path / "model", "qwen3", max_positions=2048)
indexer = save_indexer(tmp_path / "indexer", folder)
model, published = save_compressed(tmp_path)        # DeepSeek-V4
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHUNK = 4
"""Tokens of a chunk."""


def save_indexer(folder: Path, checkpoint: Path, *, seed: int = 0, **changes: Any) -> Path:
    """An indexer that scores the last full-attention layer of a saved model; see `MemoryIndexer`.

    Args:
        changes: to its config.
    """
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
    from support.backbones import load

    backbone = Backbone.of(load(checkpoint))
    config = IndexerConfig(
        **{
            "hidden_size": backbone.hidden_size,
            "rank": 8,
            "num_heads": 4,
            "chunk_tokens": CHUNK,
            "pooling": "mean",
            "features": backbone.num_kv_heads * backbone.head_dim,
            "backbone": backbone.fingerprint(),
            **changes,
        }
    )
    layers = (f"l{backbone.memory_layers[-1]}",)
    return MemoryIndexer.new(config, layers, seed=seed).save_pretrained(folder)


def publish(model: Any, path: Path) -> Path:
    """A file in the published format, filled with the weights of the model's own indexers."""
    from safetensors.torch import save_file

    weights = {}
    for ordinal, layer in enumerate((2, 4)):
        attention = model.model.layers[layer].self_attn
        own, name = attention.compressor.indexer, f"retrievers.l{ordinal}"
        weights[f"{name}.wq_a.weight"] = attention.q_a_proj.weight
        weights[f"{name}.q_norm_weight"] = attention.q_a_norm.weight
        weights[f"{name}.wq_b.weight"] = own.q_b_proj.weight
        weights[f"{name}.weights_proj.weight"] = own.scorer.weights_proj.weight
    save_file({key: value.detach().clone() for key, value in weights.items()}, path)
    return path


def save_compressed(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A DeepSeek-V4 checkpoint with a tokenizer, and beside it an indexer as they are published.

    Args:
        changes: to the model's config.
    """
    from support import backbones
    from support.checkpoints import make_tokenizer

    model, tokenizer = backbones.build("deepseek-v4", vocab_size=300, **changes), make_tokenizer()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return folder / "model", publish(model, folder / "published.safetensors")
