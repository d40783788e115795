"""What may stay on the device while a model decodes, and what a window of decoding cost.

    >>> Budget(max_chunks=32, recent_tokens=64, sink_tokens=16).interval
    64

Token counts are positions of a row's sequence; bytes are counted, never estimated.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Budget", "Bytes", "WindowRecord"]


class Budget(BaseModel):
    """How much of the history stays on the device, and how often that is decided again.

    Attributes:
        threshold: a chunk whose score is above it is kept.
        max_chunks: chunks on the device at most, sinks and recent ones included; the lowest
            scores go first. None: as many as pass the threshold.
        min_chunks: chunks kept at least, the highest scores first, even below the threshold;
            arms whose scores have no natural threshold are compared with
            `min_chunks == max_chunks`.
        sink_tokens: first tokens that always stay.
        recent_tokens: last tokens that always stay.
        interval: tokens between two decisions.
        mode: how the scored layers are joined.
        fallback_ratio: a request whose share of chunks above the threshold, among those that
            could be evicted, exceeds this turns dense for good. None: never.
        sticky: chunks once kept are never evicted.
        dense_queries: a forward pass over more new tokens than this (a prompt, another turn)
            sees the whole history; fewer (one token, a speculation) see what is resident.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    max_chunks: int | None = Field(default=None, ge=1)
    min_chunks: int = Field(default=0, ge=0)
    sink_tokens: int = Field(default=0, ge=0)
    recent_tokens: int = Field(default=8192, ge=1)
    interval: int = Field(default=64, ge=1)
    mode: Literal["max", "mean"] = "max"
    fallback_ratio: float | None = Field(default=None, gt=0.0, le=1.0)
    sticky: bool = False
    dense_queries: int = Field(default=32, ge=1)


class Bytes(BaseModel):
    """Where the bytes of a row's cache are.

    Attributes:
        resident: of the row's own tokens on the device, in all memory layers.
        digest: of what is held on the device to score by.
        host: of blocks in the store; what rows share counts for the first of them.
        allocated: the row's share of the device's buffers, free slots and padding included.
    """

    model_config = ConfigDict(frozen=True)

    resident: int = 0
    digest: int = 0
    host: int = 0
    allocated: int = 0


class WindowRecord(BaseModel):
    """One decision for one request, `interval` tokens long.

    Attributes:
        request: row of the batch.
        step: tokens in the row's history when it was decided.
        num_chunks: complete chunks of the history.
        kept: chunks on the device from here on, sinks and recent ones included.
        thresholded: chunks whose score passed the threshold.
        moved_bytes: bytes copied from the host to the device for this decision.
        bytes: what lies where afterwards.
        score_ms: milliseconds that scoring the batch took.
        fallback: the request is dense from here on.
    """

    model_config = ConfigDict(frozen=True)

    request: int
    step: int
    num_chunks: int
    kept: int
    thresholded: int
    moved_bytes: int
    bytes: Bytes
    score_ms: float
    fallback: bool = False
