"""The host's side of a cache: which chunk is which block of the store, and transfers both ways.

Beside a GPU, what comes back travels on a stream of its own; each layer waits for its part when it
is used next.

Shape suffixes: B rows, C chunks, L history, K key/value heads, D head width, N chunks to be moved.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from planish.models.memory.layer import LookaheadLayer
from planish.models.memory.layout import Layout, Moves
from planish.models.memory.store import BlockShape, HostStore

__all__ = ["Hosted"]


class Hosted:
    """Blocks of one cache.

    Args:
        store: where they are.
        layers: the memory layers, in order.
        layout: what lies where on the device.
    """

    def __init__(self, store: HostStore, layers: Sequence[LookaheadLayer], layout: Layout) -> None:
        self.store, self._layers, self._layout = store, layers, layout
        self._held: list[Tensor] = [torch.zeros(0, 0, dtype=torch.int64)]
        # A store may serve many caches: what one of them held is free again when it is gone.
        weakref.finalize(self, _free, store, self._held).atexit = False
        self.forget()

    def forget(self) -> None:
        """No chunk is in the store."""
        self._ids_BC = torch.zeros(0, 0, dtype=torch.int64)
        self._stream: torch.cuda.Stream | None = None

    @property
    def _ids_BC(self) -> Tensor:
        return self._held[0]

    @_ids_BC.setter
    def _ids_BC(self, ids_BC: Tensor) -> None:
        self._held[0] = ids_BC

    def shape(self) -> BlockShape:
        """Of one chunk in all memory layers."""
        _, heads, _, width = self._layers[0].buffers[0].shape
        tokens = self._layout.chunk_tokens
        return BlockShape(len(self._layers), heads, tokens, width, self._layers[0].dtype)

    def ids(self, rows: int, chunks: int) -> Tensor:
        """Numbers in the store, -1 where a chunk is not there: shape (B, C), on the host."""
        known = self._ids_BC.shape[1]
        if known < chunks or len(self._ids_BC) != rows:
            ids_BC = torch.full((rows, max(chunks, known)), -1, dtype=torch.int64)
            ids_BC[: len(self._ids_BC), :known] = self._ids_BC
            self._ids_BC = ids_BC
        return self._ids_BC[:, :chunks]

    def blocks_per_row(self, rows: int) -> Tensor:
        """Blocks of each row; what rows share counts for the first of them."""
        counts_B = torch.zeros(rows, dtype=torch.int64)
        seen_N = torch.zeros(0, dtype=torch.int64)
        for row, ids_C in enumerate(self._ids_BC):
            ids_N = ids_C[ids_C >= 0]
            new_N = ids_N[~torch.isin(ids_N, seen_N)]
            counts_B[row] = len(new_N)
            seen_N = torch.cat([seen_N, new_N])
        return counts_B

    # ---- both ways

    def save(self, evicted_BC: Tensor, frame_BC: Tensor) -> None:
        """Writes what is not in the store yet.

        Raises:
            BadInput: the store is full; nothing was written.
        """
        ids_BC = self.ids(*evicted_BC.shape)
        rows_N, chunks_N = (evicted_BC & (ids_BC < 0)).nonzero(as_tuple=True)
        if not len(rows_N):
            return
        self.store.bind(self.shape(), pinned=self._layers[0].device.type == "cuda")
        ids_N = self.store.reserve(len(rows_N))
        frames_N = frame_BC[rows_N, chunks_N]
        try:
            for place, layer in enumerate(self._layers):
                layer.wait()
                keys_NKTD, values_NKTD = layer.frames(rows_N, frames_N)
                self.store.write(ids_N, place, keys_NKTD, values_NKTD)
        except BaseException:
            self.store.release(ids_N)
            raise
        ids_BC[rows_N, chunks_N] = ids_N

    def carry_out(self, moves: Moves, slots: int | None, rows: int) -> Tensor:
        """Brings every layer into a new order; bytes copied to the device, per row.

        All that may fail is done for all layers before any of them changes, because they share one
        layout. New buffers lie beside the old ones until then.
        """
        assert bool((moves.recall_ids_N >= 0).all()), "a chunk is neither here nor there"
        recalls = len(moves.recall_ids_N) > 0
        side = self._side_stream() if recalls else None
        changes = []
        for place, layer in enumerate(self._layers):
            layer.wait()
            if side is not None:
                for buffer in layer.buffers:
                    buffer.record_stream(side)
            with nullcontext() if side is None else torch.cuda.stream(side):
                states = self._recalled(moves, place) if recalls else None
                changes.append(layer.rearranged(moves, slots, states))
        for layer, change in zip(self._layers, changes, strict=True):
            if side is None:
                change()
                continue
            with torch.cuda.stream(side):
                change()
                layer.ready = side.record_event()
            for buffer in layer.buffers:
                buffer.record_stream(torch.cuda.current_stream(layer.device))
        counts_B = torch.bincount(moves.recall_rows_N, minlength=rows)
        return counts_B * self.shape().nbytes

    def whole(
        self, place: int, rows_B: Tensor, padded_BC: Tensor, *, parts: int = 2
    ) -> tuple[Tensor, ...]:
        """Keys and values (B, K, L, D) of these rows in one layer, in order of index.

        Args:
            parts: 1 for the keys alone: no value is read, copied or sent over the link.
        """
        layer, tokens = self._layers[place], self._layout.chunk_tokens
        chunks = padded_BC.shape[1]
        real_BC = ~padded_BC[rows_B]
        frame_BC = self._layout.frame_of(len(padded_BC), chunks)[rows_B]
        rows_N, chunks_N = (real_BC & (frame_BC >= 0)).nonzero(as_tuple=True)
        here = layer.frames(rows_B[rows_N], frame_BC[rows_N, chunks_N], parts=parts)
        away_N, gone_N = (real_BC & (frame_BC < 0)).nonzero(as_tuple=True)
        there = None
        if len(away_N):
            ids_N = self._ids_BC[rows_B[away_N], gone_N]
            there = self.store.gather(ids_N, place, parts=parts)
        found = []
        for part, used in enumerate(layer.used()[:parts]):
            _, heads, _, width = used.shape
            framed = used.new_zeros(len(rows_B), heads, chunks + 1, tokens, width)
            by_frame = framed.transpose(1, 2)
            by_frame[rows_N.to(used.device), chunks_N.to(used.device)] = here[part]
            if there is not None:
                coming = there[part].to(used.device)
                by_frame[away_N.to(used.device), gone_N.to(used.device)] = coming
            whole = framed.flatten(2, 3)[:, :, : layer.length]
            begin = chunks * tokens
            last = used[:, :, begin + self._layout.offset :]
            whole[:, :, begin:] = last[rows_B.to(used.device)]
            found.append(whole)
        return tuple(found)

    # ---- what becomes of the history

    def crop(self, chunks: int) -> None:
        """Only the first chunks are left."""
        gone_BC = self._ids_BC[:, chunks:]
        self.store.release(gone_BC[gone_BC >= 0])
        self._ids_BC = self._ids_BC[:, :chunks].clone()

    def change_rows(self, indices_B: Tensor) -> None:
        """Row i is from now on what row `indices[i]` was; blocks are shared, not copied."""
        if not len(self._ids_BC):
            return
        before_BC, self._ids_BC = self._ids_BC, self._ids_BC[indices_B]
        self.store.retain(self._ids_BC[self._ids_BC >= 0])
        self.store.release(before_BC[before_BC >= 0])

    # ---- transfer

    def _recalled(self, moves: Moves, place: int) -> Tensor:
        states = self.store.gather(moves.recall_ids_N, place)
        return states.to(self._layers[place].device, non_blocking=True)

    def _side_stream(self) -> torch.cuda.Stream | None:
        """A stream for transfers, behind what was computed so far; None on the CPU."""
        device = self._layers[0].device
        if device.type != "cuda":
            return None
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))
        return self._stream


def _free(store: HostStore, held: list[Tensor]) -> None:
    """Releases what a cache that is gone held, unless the store is closed."""
    ids_N = held[0][held[0] >= 0]
    if store.num_blocks:
        store.release(ids_N)
