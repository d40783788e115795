"""One memory layer of the cache: slots on the device, and the layout that all layers share.

A buffer is a row of frames of `chunk_tokens` slots. The first frames hold chunks in any order
(keys are rotated already, so order is of no matter); behind them lies the tail, tokens in order of
index, the last of which is still being written. Before anything was evicted all is tail.

Index = place in the padded sequence; position = index minus the row's padding.

Shape suffixes: B rows, L history, K key/value heads, D head width, F frames, S slots, T tokens of
a chunk, N chunks to be moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from planish.errors import BadInput

__all__ = ["Layout", "Listener", "LookaheadLayer", "Moves"]


class Listener(Protocol):
    """Who wants to know what becomes of the history, to keep digests of it."""

    def chunks(self, layer: int, keys_BKLD: Tensor, first_chunk: int) -> None:
        """New complete chunks of a memory layer, from `first_chunk` on, keys as cached."""

    def reorder(self, indices: Tensor) -> None:
        """Row i is from now on what row `indices[i]` was."""

    def crop(self, num_chunks: int) -> None:
        """Only the first chunks are left."""

    def reset(self) -> None:
        """A new sequence begins."""


@dataclass
class Layout:
    """Which chunk lies in which frame, the same in all memory layers.

    Attributes:
        chunk_tokens: tokens of a chunk, slots of a frame.
        spare: slots to be kept free behind the tail when a buffer is made.
        frames_BF: on the host, the chunk in each frame before the tail, -1 where there is none.
        tail_chunk: the chunk that the tail begins with.
        listener: told of complete chunks.
    """

    chunk_tokens: int
    spare: int
    frames_BF: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    tail_chunk: int = 0
    listener: Listener | None = None

    @property
    def num_frames(self) -> int:
        """Frames before the tail."""
        return self.frames_BF.shape[1]

    @property
    def offset(self) -> int:
        """Slot of a token of the tail, minus its index."""
        return (self.num_frames - self.tail_chunk) * self.chunk_tokens

    @property
    def in_order(self) -> bool:
        """Whether every index is its own slot: nothing is evicted, masks are transformers' own."""
        return self.num_frames == 0 and self.tail_chunk == 0

    def frame_of(self, rows: int, num_chunks: int) -> Tensor:
        """Where each chunk lies, -1 where it does not: shape (B, C), on the host."""
        where_BC = torch.full((rows, num_chunks + 1), -1, dtype=torch.int64)
        if self.num_frames:
            frame_F = torch.arange(self.num_frames).expand(rows, -1)
            target_BF = self.frames_BF.where(self.frames_BF >= 0, num_chunks)
            where_BC.scatter_(1, target_BF.clamp(max=num_chunks), frame_F)
        tail = torch.arange(self.tail_chunk, num_chunks)
        where_BC[:, self.tail_chunk : num_chunks] = tail - self.tail_chunk + self.num_frames
        return where_BC[:, :num_chunks]


@dataclass(frozen=True)
class Moves:
    """What a new layout asks of a buffer; all on the host.

    Attributes:
        rows_N, sources_N, targets_N: frames that move within the device.
        tail: first slot of the unfinished chunk, before and after, and its tokens.
        recall_rows_N, recall_ids_N, recall_targets_N: frames that come back from the host.
        num_frames: frames before the tail, afterwards.
        kept_rows_N, kept_frames_N: frames that stay where they are.
    """

    rows_N: Tensor
    sources_N: Tensor
    targets_N: Tensor
    tail: tuple[int, int, int]
    recall_rows_N: Tensor
    recall_ids_N: Tensor
    recall_targets_N: Tensor
    num_frames: int
    kept_rows_N: Tensor
    kept_frames_N: Tensor


class LookaheadLayer(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one memory layer. Made by `LookaheadCache`.

    Args:
        index: of the layer in the model.
        layout: shared by all memory layers.
    """

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, index: int, layout: Layout) -> None:
        super().__init__()
        self.index, self.layout = index, layout
        self.length = 0
        self.ready: torch.cuda.Event | None = None
        """Recorded behind a transfer that is under way; the next use waits for it."""

    # ---- what transformers asks for

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """See `CacheLayerMixin`; makes empty buffers."""
        if key_states.shape != value_states.shape:
            raise BadInput(
                "keys and values differ in shape", where=f"layer {self.index}", fix="no memory can"
            )
        rows, heads, _, width = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = key_states.new_zeros(rows, heads, 0, width)
        self.values = value_states.new_zeros(rows, heads, 0, width)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes new tokens behind the tail and returns views of all slots in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.wait()
        new = key_states.shape[2]
        used = self.length + self.layout.offset
        if used + new > self.keys.shape[2]:
            self._grow(used, used + new)
        self.keys[:, :, used : used + new] = key_states
        self.values[:, :, used : used + new] = value_states
        before, self.length = self.length, self.length + new
        if self.layout.listener is not None:
            self._tell(before // self.layout.chunk_tokens)
        return self.used()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Slots after the next forward pass, and no offset."""
        return self.length + self.layout.offset + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens of the history, wherever they lie."""
        return self.length

    def get_max_length(self) -> int:
        """There is none."""
        return -1

    def reset(self) -> None:
        """Forgets everything."""
        self.keys = self.values = self.ready = None
        self.is_initialized, self.length = False, 0

    # ---- what the cache asks for

    @property
    def is_empty(self) -> bool:
        """Nothing was ever written."""
        return not self.is_initialized

    def used(self) -> tuple[Tensor, Tensor]:
        """Views of the slots in use."""
        slots = self.length + self.layout.offset
        return self.keys[:, :, :slots], self.values[:, :, :slots]

    def wait(self) -> None:
        """Lets the current stream wait for a transfer that is under way."""
        if self.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(self.ready)
            self.ready = None

    def frames(self, rows_N: Tensor, frames_N: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of these frames: keys and values of shape (N, K, T, D)."""
        rows_N, frames_N = rows_N.to(self.device), frames_N.to(self.device)
        return tuple(  # type: ignore[return-value]
            self._framed(each).transpose(1, 2)[rows_N, frames_N]
            for each in (self.keys, self.values)
        )

    def rearrange(
        self, moves: Moves, slots: int | None, recalled: Callable[[], Tensor] | None
    ) -> None:
        """Brings the buffers into a new layout.

        Args:
            moves: what goes where.
            slots: of new buffers; None: the old ones are used again.
            recalled: makes keys and values (2, N, K, T, D) of the frames that come back, on
                the device.
        """
        states = None if recalled is None else recalled()
        self.keys = self._rearranged(self.keys, moves, slots, None if states is None else states[0])
        self.values = self._rearranged(
            self.values, moves, slots, None if states is None else states[1]
        )

    def change_rows(self, indices_B: Tensor) -> None:
        """Row i is from now on what row `indices[i]` was."""
        if self.is_empty:
            return
        self.wait()
        indices_B = indices_B.to(self.device)
        slots = self.length + self.layout.offset
        for name in ("keys", "values"):
            buffer = getattr(self, name)
            if len(indices_B) == len(buffer):
                buffer[:, :, :slots] = buffer[:, :, :slots].index_select(0, indices_B)
            else:
                setattr(self, name, buffer.index_select(0, indices_B))

    def _rearranged(
        self, old: Tensor, moves: Moves, slots: int | None, states: Tensor | None
    ) -> Tensor:
        tokens, device = self.layout.chunk_tokens, old.device
        # What moves is read before anything is written: old and new frames may overlap.
        before, after, count = moves.tail
        tail = old[:, :, before : before + count]
        new = old
        pairs = [(moves.rows_N, moves.sources_N, moves.targets_N)]
        if slots is not None:
            # Zeros: slots that a row does not use are masked, but they must be numbers.
            new = old.new_zeros(*old.shape[:2], slots, old.shape[3])
            pairs.append((moves.kept_rows_N, moves.kept_frames_N, moves.kept_frames_N))
        elif count and before != after:
            tail = tail.clone()
        source = self._framed(old).transpose(1, 2)
        target = self._framed(new).transpose(1, 2)
        for rows_N, sources_N, targets_N in pairs:
            if len(rows_N):
                rows_N = rows_N.to(device)
                target[rows_N, targets_N.to(device)] = source[rows_N, sources_N.to(device)]
        if count and (slots is not None or before != after):
            new[:, :, after : after + count] = tail
        if states is not None:
            rows_N = moves.recall_rows_N.to(device)
            target[rows_N, moves.recall_targets_N.to(device)] = states
        assert new.shape[2] % tokens == 0
        return new

    def _framed(self, buffer: Tensor) -> Tensor:
        """The same memory as (B, K, F, T, D)."""
        return buffer.unflatten(2, (-1, self.layout.chunk_tokens))

    def _grow(self, used: int, needed: int) -> None:
        """Longer buffers; by a quarter once there is something, so that appending stays cheap."""
        tokens = self.layout.chunk_tokens
        slots = max(needed + self.layout.spare, self.keys.shape[2] * 5 // 4)
        slots = -(-slots // tokens) * tokens
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(*old.shape[:2], slots, old.shape[3])
            new[:, :, :used] = old[:, :, :used]
            setattr(self, name, new)

    def _tell(self, first: int) -> None:
        layout, listener = self.layout, self.layout.listener
        last = self.length // layout.chunk_tokens
        if last > first and listener is not None:
            begin = first * layout.chunk_tokens + layout.offset
            end = last * layout.chunk_tokens + layout.offset
            listener.chunks(self.index, self.keys[:, :, begin:end], first)
