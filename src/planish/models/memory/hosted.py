"""The host's side of a cache: which chunk is which block of the store, and transfers both ways.

A move goes layer by layer: a layer's chunks are written to the store, then its buffers take on the
new order, and only then comes the next one, so that no more is held twice than one layer. A failure
in between takes the layers before it back; what left them is in the store by then.

Beside a GPU, what comes back travels on a stream of its own; each layer waits for its part when it
is used next.

Shape suffixes: B rows, C chunks, L history, K key/value heads, D head width, N chunks to be moved.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from planish.models.memory.layer import Coming, LookaheadLayer
from planish.models.memory.layout import Layout, Moves, Order, planned
from planish.models.memory.pages import return_free_pages
from planish.models.memory.store import BlockShape, HostStore

__all__ = ["Hosted"]

STAGED_BYTES = 4 << 20
"""Keys and values that are copied at once between a layer's buffers and the store."""


@dataclass(frozen=True, eq=False)
class _Leaving:
    """Chunks that are not in the store yet: row, number, frame and new block of each."""

    rows_N: Tensor
    chunks_N: Tensor
    frames_N: Tensor
    ids_N: Tensor


@dataclass(frozen=True, eq=False)
class _WayBack:
    """What takes a move back in the layers that it has reached."""

    order: Order
    moves: Moves
    slots: int | None
    leaving: _Leaving


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
        self._way_back: _WayBack | None = None

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

    def move(
        self, order: Order, keep_BC: Tensor, frame_BC: Tensor, moves: Moves, slots: int | None
    ) -> Tensor:
        """Brings every layer into a new order, one by one; bytes copied to the device, per row.

        Args:
            order: the new one.
            keep_BC: bool, chunks that are on the device then; others are written to the store.
            frame_BC: where chunks are now, -1 where they are not.
            moves: what goes where.
            slots: of new buffers, None where the old ones are used again.

        Raises:
            BadInput: the store is full; nothing has changed. After any other failure, too,
                everything is as it was. Should taking back fail as well, `settle` tries again.
        """
        self._begin(order, keep_BC, frame_BC, moves, slots)
        try:
            self._layer_by_layer(order, moves, slots)
        except BaseException:
            with suppress(Exception):  # what went wrong first is what is told
                self.settle()
            raise
        self._layout.order = order
        self.settle()
        return self._moved_bytes(moves, len(keep_BC))

    def settle(self) -> None:
        """Takes back a move that was cut short, if there is one; may itself be cut short."""
        back = self._way_back
        if back is None:
            return
        if back.order is self._layout.order:  # it reached all layers
            for layer in self._layers:
                layer.own = None
            self._way_back = None
            return
        side = self._side_stream()
        for place, layer in enumerate(self._layers):
            layer.wait()
            with nullcontext() if side is None else torch.cuda.stream(side):
                layer.change()
                if layer.own is not None:
                    layer.rearranged(back.moves, back.slots, self._coming(back.moves, place))
                    layer.change()
            self._sent(layer, side)
            layer.show_if_ready()
        leaving = back.leaving
        self._ids_BC[leaving.rows_N, leaving.chunks_N] = -1
        self._way_back = None
        self.store.release(leaving.ids_N)

    def rearrange(self, moves: Moves, slots: int | None, rows: int) -> Tensor:
        """As `move`, where what lies on the device is cut off and cannot be taken back.

        All that may fail is done for all layers before any of them changes. New buffers lie beside
        the old ones until then. The new order is to be set by the caller.
        """
        side = self._side_stream() if len(moves.recall_ids_N) else None
        try:
            for place in range(len(self._layers)):
                self._prepare(place, moves, slots, side)
        except BaseException:
            for layer in self._layers:
                layer.drop_change()
            raise
        for layer in self._layers:
            with nullcontext() if side is None else torch.cuda.stream(side):
                layer.change()
            self._sent(layer, side)
        return self._moved_bytes(moves, rows)

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
        frame_BC = layer.order.frame_of(len(padded_BC), chunks)[rows_B]
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
            last = used[:, :, begin + layer.order.offset :]
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

    def _begin(
        self, order: Order, keep_BC: Tensor, frame_BC: Tensor, moves: Moves, slots: int | None
    ) -> None:
        """Blocks for what is not in the store yet, and the way back, before anything changes."""
        ids_BC = self.ids(*keep_BC.shape)
        rows_N, chunks_N = ((frame_BC >= 0) & ~keep_BC & (ids_BC < 0)).nonzero(as_tuple=True)
        ids_N = rows_N
        if len(rows_N):
            self.store.bind(self.shape(), pinned=self._layers[0].device.type == "cuda")
            ids_N = self.store.reserve(len(rows_N))
        known_BC = ids_BC.clone()
        known_BC[rows_N, chunks_N] = ids_N
        before, after, tokens = moves.tail
        there_BC = order.frame_of(*keep_BC.shape).masked_fill(~keep_BC, -1)
        self._way_back = _WayBack(
            order,
            planned(frame_BC >= 0, there_BC, frame_BC, known_BC, (after, before, tokens)),
            None if slots is None else self._layers[0].buffers[0].shape[2],
            _Leaving(rows_N, chunks_N, frame_BC[rows_N, chunks_N], ids_N),
        )
        ids_BC[rows_N, chunks_N] = ids_N

    def _layer_by_layer(self, order: Order, moves: Moves, slots: int | None) -> None:
        side = self._side_stream() if len(moves.recall_ids_N) else None
        for place, layer in enumerate(self._layers):
            before = sum(buffer.nbytes for buffer in layer.buffers)
            self._save(place)
            self._prepare(place, moves, slots, side, order)
            with nullcontext() if side is None else torch.cuda.stream(side):
                layer.change()
            self._sent(layer, side)
            if layer.device.type == "cpu" and sum(each.nbytes for each in layer.buffers) < before:
                return_free_pages()  # or what leaves would still be there beside its copy

    def _save(self, place: int) -> None:
        """Writes one layer of what leaves to the store."""
        assert self._way_back is not None
        layer, leaving, size = self._layers[place], self._way_back.leaving, self._at_once()
        layer.wait()
        for begin in range(0, len(leaving.ids_N), size):
            part = slice(begin, begin + size)
            states = layer.frames(leaving.rows_N[part], leaving.frames_N[part])
            self.store.write(leaving.ids_N[part], place, *states)

    def _prepare(
        self,
        place: int,
        moves: Moves,
        slots: int | None,
        side: torch.cuda.Stream | None,
        order: Order | None = None,
    ) -> None:
        layer = self._layers[place]
        layer.wait()
        if side is not None:
            for buffer in layer.buffers:
                buffer.record_stream(side)
        with nullcontext() if side is None else torch.cuda.stream(side):
            layer.rearranged(moves, slots, self._coming(moves, place), order)

    def _sent(self, layer: LookaheadLayer, side: torch.cuda.Stream | None) -> None:
        """The next use of the layer waits for what was sent on the side."""
        if side is None:
            return
        layer.ready = side.record_event()
        for buffer in layer.buffers:
            buffer.record_stream(torch.cuda.current_stream(layer.device))

    def _coming(self, moves: Moves, place: int) -> Iterator[Coming]:
        """What comes back into a layer, in parts of `STAGED_BYTES`."""
        assert bool((moves.recall_ids_N >= 0).all()), "a chunk is neither here nor there"
        size, device = self._at_once(), self._layers[place].device
        for begin in range(0, len(moves.recall_ids_N), size):
            part = slice(begin, begin + size)
            states = self.store.gather(moves.recall_ids_N[part], place)
            states = states.to(device, non_blocking=True)
            yield moves.recall_rows_N[part], moves.recall_targets_N[part], states

    def _at_once(self) -> int:
        """Chunks of one layer that are copied together."""
        return max(1, STAGED_BYTES * len(self._layers) // self.shape().nbytes)

    def _moved_bytes(self, moves: Moves, rows: int) -> Tensor:
        return torch.bincount(moves.recall_rows_N, minlength=rows) * self.shape().nbytes

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
