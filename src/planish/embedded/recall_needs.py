"""What teaches the tiny reader to know which chunks of a context it will need next.

    indexer = new_indexer(hidden_size, key_size, seed)
    needs = needs_of(documents, draw)
    loss = needs_loss(model.model, indexer, hidden_states, needs)

A hidden state from which the next need can be read, and keys from which it can be read what a
chunk holds, are the precondition of any lookahead. Large models plan ahead, and DeepSeek-V4 learns
the keys of its chunks together with the rest; a tiny model has to be asked to. So an indexer of
its own is trained along with it, on what enters each layer but the first, and thrown away
afterwards. The one that ships never sees the reader's weights move (`planish lookahead train`).

Shapes: B batch, T tokens, E hidden, F features, C chunks, Q places where is asked.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from planish.models.memory.digests import pool
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer, Retriever
from planish.models.memory.ranking import ranking_loss
from planish.models.memory.scorer import Rope, agreement
from planish.tasks.recall.grammar import RECORD_WORDS, Document

__all__ = ["CHUNK", "PLANNED", "WINDOW", "Needs", "needs_loss", "needs_of", "new_indexer"]

PLANNED = (1, 2, 3)
"""Layers whose input tells what will be needed, and whose keys tell what a chunk holds."""

CHUNK = 4
"""Words of a chunk."""

WINDOW = 64
"""Words of the answer that are planned ahead."""

_ASKED = 4  # places of each answer
_KEY_WORDS = 3  # of a record: its key is matched by what comes behind, which is what is read


@dataclass(frozen=True)
class Needs:
    """Places in documents, and which chunks the next words of the answer stand in.

    Args:
        row_Q, place_Q: the document of a batch, and the word in it.
        needed_QC: by those words. held_QC: chunks that lie in the document's context.
    """

    row_Q: Tensor
    place_Q: Tensor
    needed_QC: Tensor
    held_QC: Tensor


def needs_of(documents: Sequence[Document], draw: random.Random) -> Needs:
    """The question's end of each document whose answer is found in records, and words behind it."""
    num_chunks = max(len(document.context) // CHUNK for document in documents)
    rows: list[int] = []
    places: list[int] = []
    needed: list[Tensor] = []
    held: list[Tensor] = []
    for row, document in enumerate(documents):
        if min(document.needs) < 0:  # it hangs on all of the context
            continue
        num_words = RECORD_WORDS * len(document.needs)
        inside = torch.arange(num_chunks) < len(document.context) // CHUNK
        for ahead in (0, *(draw.randrange(1, num_words) for _ in range(_ASKED - 1))):
            behind = -(-(ahead + WINDOW) // RECORD_WORDS)
            chunks = torch.zeros(num_chunks, dtype=torch.bool)
            for start in document.needs[ahead // RECORD_WORDS : behind]:
                first, last = start + _KEY_WORDS, start + RECORD_WORDS - 1
                chunks[first // CHUNK : last // CHUNK + 1] = True
            rows.append(row)
            places.append(len(document.context) + len(document.question) - 1 + ahead)
            needed.append(chunks & inside)
            held.append(inside)
    empty = torch.zeros(0, num_chunks, dtype=torch.bool)
    return Needs(
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(places, dtype=torch.long),
        torch.stack(needed) if needed else empty,
        torch.stack(held) if held else empty,
    )


def new_indexer(hidden_size: int, key_size: int, seed: int) -> MemoryIndexer:
    """An untrained indexer of every planned layer.

    Args:
        hidden_size, key_size: of the reader: widths of a state and of all keys of a token.
    """
    config = IndexerConfig(
        hidden_size=hidden_size,
        rank=128,
        num_heads=8,
        chunk_tokens=CHUNK,
        pooling="mean-min-max",
        features=3 * key_size,
        rope=Rope(dim=2),
    )
    return MemoryIndexer.new(config, tuple(f"l{layer}" for layer in PLANNED), seed)


def needs_loss(
    model: Any, indexer: MemoryIndexer, hidden_states: Sequence[Tensor], needs: Needs
) -> Tensor:
    """How badly the indexer ranks the needed chunks: the mean over the planned layers.

    Args:
        model: the reader without its head. hidden_states: what enters each of its layers, (B,T,E).
    """
    if not len(needs.row_Q):
        return torch.zeros(())
    num_chunks = needs.held_QC.shape[1]
    retrievers: Any = indexer.retrievers
    losses = []
    for layer in PLANNED:
        block = model.layers[layer]
        normed_BTE = block.input_layernorm(hidden_states[layer])
        keys_BTF = block.self_attn.k_proj(normed_BTE[:, : num_chunks * CHUNK])
        logits_QC = _logits(retrievers[f"l{layer}"], normed_BTE, keys_BTF, needs)
        losses.append(ranking_loss(logits_QC, needs.needed_QC.float(), needs.held_QC.float()))
    return torch.stack(losses).mean()


def _logits(retriever: Retriever, normed_BTE: Tensor, keys_BTF: Tensor, needs: Needs) -> Tensor:
    """Of each place with each chunk of its document. These layers turn no keys."""
    valid_BT = torch.ones(keys_BTF.shape[:2], dtype=torch.bool)
    features_BCF = pool(keys_BTF[:, None], valid_BT, CHUNK, "mean-min-max")
    starts_BC = torch.arange(0, keys_BTF.shape[1], CHUNK).expand(features_BCF.shape[:2])
    assert retriever.chunk is not None
    keys_BCD = retriever.chunk(features_BCF, starts_BC)
    queries_QHD, gates_QH = retriever.query(normed_BTE[needs.row_Q, needs.place_Q], needs.place_Q)
    return agreement(queries_QHD, gates_QH, keys_BCD[needs.row_Q]) + retriever.bias
