"""The records of the room. Bulk tensors lie in safetensors; JSON Lines hold references to them.

    dump.json                 `Header`: backbone, layers, chunk size, pooling, dtype
    records.jsonl             `DumpRecord`, one for a stretch of tokens of a document and a layer
    documents/NAME.safetensors
        starts [C]            position where each complete chunk of the document starts
        positions [N]         of the sampled tokens, rising
        stretch [N]           number of the stretch of consecutive tokens that a token is in
        features.LAYER [C,F]  pooled un-rotated keys, stored once for the document; of a model
                              with keys of chunks their records of 132 bytes, uint8
        hidden.LAYER [N,E]    what enters the layer's attention module at a sampled token
        mass.values [N,M,S]   attention mass of a chunk, mean over heads, in each memory layer
        head.values [N,M,S]   the same, the largest over heads
        mass.chunks, head.chunks [N,M,S]  which chunks; absent where S is every chunk
        mass.total, head.total [N,M]  mass of every complete chunk; absent like the above
        needs [W,2]           position of a query and a chunk that the task knows it needs; absent
                              where the task does not tell
        needs.span [2]        first and last position of which the task tells
    projections.safetensors   the backbone's query projections of the scored layers, if they fit;
                              LAYER.NAME: its native indexers, where it has them

C chunks, N sampled tokens, F features, E hidden, M memory layers, S chunks with a mass, W needs.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field

from planish.records import Record

__all__ = [
    "DUMP",
    "RECORDS",
    "SEEN",
    "TRAINING",
    "DumpRecord",
    "EvalRecord",
    "Header",
    "LabelRecord",
    "Need",
    "file_name",
    "layer_name",
]

DUMP, RECORDS = "dump.json", "records.jsonl"

TRAINING, SEEN = "training.json", ("train", "validation")
"""Beside an indexer: how it was trained. Under these two names it lists the documents that it has
seen, by digest, so that no report is made on them."""

Need = tuple[int, int, int]
"""Index of an answer token, and the span [begin, end) of prompt tokens that it needs."""


def layer_name(index: int) -> str:
    """What a transformer layer is called in dumps and indexers."""
    return f"l{index}"


class Header(Record):
    """What all documents of a dump have in common.

    Attributes:
        model: the backbone as it was named, and its revision.
        backbone: fingerprint that an indexer for it is checked against.
        layers: scored layers, by transformer index.
        memory_layers: layers whose attention mass is kept, in the order of M.
        features: width F of a chunk's features.
        keys: what they are: "pooled" by us, or the model's "own" keys of chunks, frozen. Of these
            num_heads and head_dim are of the model's own indexer.
        dtype: of hidden states, features and mass.
        top_chunks: S at most; 0: every chunk.
        max_bytes: cap on the folder's size; None: no cap.
        task: where the documents came from; split: which of its splits.
    """

    version: Literal[1] = 1
    model: str
    revision: str = ""
    backbone: dict[str, Any]
    layers: tuple[int, ...]
    memory_layers: tuple[int, ...]
    hidden_size: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    num_kv_heads: int = Field(ge=1)
    head_dim: int = Field(ge=1)
    features: int = Field(ge=1)
    keys: Literal["pooled", "own"] = "pooled"
    chunk_tokens: int = Field(ge=1)
    pooling: Literal["mean", "mean-min-max"]
    dtype: Literal["float32", "bfloat16", "float16"]
    top_chunks: int = Field(ge=0)
    continuation: int = Field(ge=0)
    prompt_runs: int = Field(ge=0)
    run_tokens: int = Field(ge=1)
    max_bytes: int | None = None
    task: str = ""
    split: str = "train"
    seed: int = 0


class DumpRecord(Record):
    """A stretch of consecutive sampled tokens of one document, in one scored layer.

    One record for a stretch, because one for every token would outweigh what it refers to.

    Attributes:
        id: "DOCUMENT/STRETCH/LAYER".
        digest: hash of the document's prompt tokens: two dumps with the same one overlap.
        part, parts: this is number `part` of the `parts` records of its document; a document
            counts only when all are there.
        position: of the first token; tokens: how many follow one another.
        length: tokens of the document, continuation included; prompt: those of the prompt.
        hidden: file, tensor and rows that hold the hidden states.
        chunk_keys_ref: file and tensor of the chunks' features.
        mass_per_layer_ref: file and tensor prefix of the attention mass.
    """

    id: str
    document_id: str
    digest: str
    part: int
    parts: int
    split: str
    backbone: str
    revision: str
    layer: str
    position: int
    tokens: int
    length: int
    prompt: int
    hidden: str
    chunk_keys_ref: str
    chunk_tokens: int
    mass_per_layer_ref: str


class LabelRecord(Record):
    """What one token needs in the window that starts with it.

    Attributes:
        dump_id: of the stretch's record (without its layer), and the token's position.
        positives: chunks, rising; layer_counts: layers that agree on each, at most in the window.
        negatives: how many other chunks could be evicted then.
        rule: its name and dials.
    """

    dump_id: str
    positives: tuple[int, ...]
    layer_counts: tuple[int, ...]
    negatives: int
    rule: dict[str, Any]


class EvalRecord(Record):
    """One document decoded by one arm; None is what could not be measured.

    Attributes:
        length: tokens of context. kv_fraction: resident and digest bytes over those of dense.
        logit_kl: mean over steps of KL(dense, arm), in nats.
    """

    task: str
    seed: int
    document_id: str = ""
    length: int
    arm: str
    correct: float | None = None
    kv_fraction: float | None = None
    logit_kl: float | None = None


def file_name(document_id: str, digest: str) -> str:
    """A file for a document: readable, and never two documents in one file."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", document_id).strip(".-")[:48] or "document"
    return f"documents/{readable}-{digest[:12]}.safetensors"
