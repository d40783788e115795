"""A random indexer saved beside a tiny checkpoint.

folder = save_checkpoint(tmp_path / "model", "qwen3", max_positions=2048)
indexer = save_indexer(tmp_path / "indexer", folder)
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
