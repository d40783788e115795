"""One memory layer of the cache: keys and values in slots on the device, see `layout`.

Shape suffixes: B rows, L history, K key/value heads, D head width, F frames, S slots, T tokens of
a chunk, N chunks to be moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from planish.errors import BadInput
from planish.models.memory.layout import Layout, Moves, Order

__all__ = ["Coming", "Listener", "LookaheadLayer"]

Coming = tuple[Tensor, Tensor, Tensor]
"""Frames from the store: rows_N, frames_N, and keys and values (2, N, K, T, D) on the device."""


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


class LookaheadLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """Keys and values of one memory layer. Made by `LookaheadCache`.

    Args:
        index: of the layer in the model.
        layout: shared by all memory layers.

    Attributes:
        length: tokens of the history, wherever they lie.
        buffers: all slots of keys and of values, those not in use too; none before the first
            token. `keys` and `values` are views of the slots in use.
        ready: recorded behind a transfer that is under way; the next use waits for it.
        own: its order, where a move has reached this layer and not yet all others.
    """

    is_sliding = False
    is_croppable = True
    supports_early_init = False

    def __init__(self, index: int, layout: Layout) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.index, self.layout = index, layout
        self.length = 0
        self.buffers: list[Tensor] = []
        self.ready: torch.cuda.Event | None = None
        self.own: Order | None = None
        self._change: tuple[Callable[[], list[Tensor]], Order | None] | None = None

    # ---- what transformers asks for

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """See `CacheLayerMixin`; makes empty buffers."""
        if key_states.shape != value_states.shape:
            raise BadInput("keys and values differ in shape", where=f"layer {self.index}")
        rows, heads, _, width = key_states.shape
        self.dtype, self.device = key_states.dtype, key_states.device
        self.buffers = [key_states.new_zeros(rows, heads, 0, width) for _ in range(2)]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes new tokens behind the tail and returns views of all slots in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.wait()
        used, new = self.num_used, key_states.shape[2]
        if used + new > self.buffers[0].shape[2]:
            self._grow(used + new)
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            # A cache is no part of a graph: what is written outlives the pass.
            buffer[:, :, used : used + new] = states.detach()
        before, self.length = self.length, self.length + new
        self.show()
        if self.layout.listener is not None:
            self._tell(before // self.layout.chunk_tokens)
        return self.used()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Slots after the next forward pass, and no offset."""
        return self.num_used + query_length, 0

    def get_seq_length(self) -> int:
        """Tokens of the history, wherever they lie."""
        return self.length

    def get_max_length(self) -> int:
        """There is none."""
        return -1

    def reset(self) -> None:
        """Forgets everything."""
        self.keys = self.values = self.ready = self.own = self._change = None
        self.buffers = []
        self.is_initialized, self.length = False, 0

    # ---- what the cache asks for

    @property
    def order(self) -> Order:
        """What lies where in this layer."""
        return self.layout.order if self.own is None else self.own

    @property
    def num_used(self) -> int:
        """Slots in use, the same in every row."""
        return self.length + self.order.offset

    def used(self) -> tuple[Tensor, Tensor]:
        """Views of the slots in use: keys and values (B, K, S, D)."""
        keys, values = (buffer[:, :, : self.num_used] for buffer in self.buffers)
        return keys, values

    def show(self) -> None:
        """Brings `keys` and `values` up to date."""
        self.keys, self.values = self.used()

    def show_if_ready(self) -> None:
        """As `show`, unless a transfer is under way."""
        if self.ready is None:
            self.show()

    def wait(self) -> None:
        """Lets the current stream wait for a transfer that is under way."""
        if self.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(self.ready)
            self.ready = None

    def frames(self, rows_N: Tensor, frames_N: Tensor, *, parts: int = 2) -> list[Tensor]:
        """Copies of these frames: keys and values of shape (N, K, T, D); with 1 part, keys."""
        rows_N, frames_N = rows_N.to(self.device), frames_N.to(self.device)
        return [self._framed(buffer)[rows_N, frames_N] for buffer in self.buffers[:parts]]

    def rearranged(
        self, moves: Moves, slots: int | None, recalled: Iterable[Coming], own: Order | None = None
    ) -> None:
        """Makes ready a new order: nothing changes before `change`.

        Args:
            moves: what goes where.
            slots: of new buffers; None: the old ones are used again.
            recalled: the frames that come back. New buffers take them one by one.
            own: the new order, where the other layers do not have it yet; None: the layout's.
        """
        # What moves is read before anything is written: old and new places may overlap.
        before, after, count = moves.tail
        tails = [old[:, :, before : before + count] for old in self.buffers]
        moving = [(moves.rows_N, moves.sources_N, moves.targets_N)]
        new = self.buffers
        if slots is None:
            tails = [tail.clone() for tail in tails]
        else:
            # Zeros: slots that a row does not use are masked, but they must be numbers.
            new = [old.new_zeros(*old.shape[:2], slots, old.shape[3]) for old in self.buffers]
            moving.append((moves.kept_rows_N, moves.kept_frames_N, moves.kept_frames_N))

        def write(rows_N: Tensor, targets_N: Tensor, states: Sequence[Tensor]) -> None:
            for buffer, part in zip(new, states, strict=True):
                self._framed(buffer)[rows_N, targets_N] = part

        def arriving() -> Iterator[tuple[Tensor, Tensor, Sequence[Tensor]]]:
            for rows_N, sources_N, targets_N in moving:
                if len(rows_N):
                    states = self.frames(rows_N, sources_N)
                    yield rows_N.to(self.device), targets_N.to(self.device), states
            for rows_N, targets_N, coming in recalled:
                yield rows_N.to(self.device), targets_N.to(self.device), tuple(coming)

        writes = []
        if slots is None:
            writes = list(arriving())
        else:  # nobody sees them yet
            for each in arriving():
                write(*each)

        def change() -> list[Tensor]:
            for each in writes:
                write(*each)
            for buffer, tail in zip(new, tails, strict=True):
                buffer[:, :, after : after + count] = tail
            return new

        self._change = change, own

    def change(self) -> None:
        """Carries out what was made ready, if anything was. An interrupted one may be repeated."""
        if self._change is None:
            return
        change, own = self._change
        self.keys = self.values = None
        self.buffers = change()
        self.own, self._change = own, None

    def drop_change(self) -> None:
        """What was made ready is not carried out."""
        self._change = None

    def change_rows(self, indices_B: Tensor) -> None:
        """Row i is from now on what row `indices[i]` was."""
        if not self.buffers:
            return
        self.wait()
        indices_B = indices_B.to(self.device)
        used = self.num_used
        for part, buffer in enumerate(self.buffers):
            if len(indices_B) == len(buffer):
                buffer[:, :, :used] = buffer[:, :, :used].index_select(0, indices_B)
            else:
                self.buffers[part] = buffer.index_select(0, indices_B)
        self.show()

    def _framed(self, buffer: Tensor) -> Tensor:
        """The same memory as (B, F, K, T, D)."""
        rows, heads, _, width = buffer.shape
        return buffer.view(rows, heads, -1, self.layout.chunk_tokens, width).transpose(1, 2)

    def _grow(self, needed: int) -> None:
        """Longer buffers; by a quarter once there is something, so that appending stays cheap."""
        tokens, used = self.layout.chunk_tokens, self.num_used
        slots = max(needed + self.layout.spare, self.buffers[0].shape[2] * 5 // 4)
        slots = -(-slots // tokens) * tokens
        self.keys = self.values = None
        for part, old in enumerate(self.buffers):
            new = old.new_zeros(*old.shape[:2], slots, old.shape[3])
            new[:, :, :used] = old[:, :, :used]
            self.buffers[part] = new

    def _tell(self, first: int) -> None:
        layout, listener = self.layout, self.layout.listener
        last = self.length // layout.chunk_tokens
        if last > first and listener is not None:
            begin = first * layout.chunk_tokens + self.order.offset
            end = last * layout.chunk_tokens + self.order.offset
            listener.chunks(self.index, self.buffers[0][:, :, begin:end], first)
