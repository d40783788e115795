"""A transformers cache whose full-attention layers keep some chunks on the device, the rest on the
host.

    cache = LookaheadCache(Backbone.of(model), chunk_tokens=64, budget=Budget())
    model(ids_BT, past_key_values=cache)          # dense, as with a DynamicCache
    cache.apply(keep_BC)                          # evicts and recalls
    cache.prepared = True                         # the mask is made here:
    model(next_B1, past_key_values=cache, attention_mask=...)   # see `attach`, which does all this

All memory layers of a row hold the same chunks; sliding-window layers are transformers' own. While
nothing is evicted it is a `DynamicCache`, masks included. Afterwards lengths stay logical, and
`mask` says which slot each new token may see. Nothing is ever lost: what is dropped from the
device was written to the store before. A pass that no session prepares gets everything back first,
because transformers' own masks know of no absent chunk.

Shape suffixes: B rows, T tokens, L history, C chunks, K key/value heads, D head width, S slots,
F frames, Q queries, N chunks to be moved.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache, DynamicLayer

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, Bytes
from planish.models.memory.hosted import Hosted
from planish.models.memory.layer import Listener, LookaheadLayer
from planish.models.memory.layout import Layout, Order, packed, planned
from planish.models.memory.store import HostStore
from planish.models.memory.visibility import Visibility

__all__ = ["LookaheadCache"]


class LookaheadCache(Cache):
    """Keys and values of a batch.

    Args:
        backbone: the model's full-attention layers.
        chunk_tokens: tokens that are evicted and recalled together.
        budget: says how much room the buffers need between two decisions.
        store: where evicted chunks go; by default memory without a cap.
        listener: told of complete chunks, of rows that change places and of what is cut off.

    Attributes:
        dense_B: on the host, rows that are never evicted from again.
        moved_B: on the host, bytes that the last `apply` or `recall_all` copied to the device.
        recording: tokens may be taken back, as in assisted decoding.
        prepared: whoever runs the next pass gives it masks of what is resident. Else the pass is
            one over the whole history.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        chunk_tokens: int,
        budget: Budget,
        store: HostStore | None = None,
        listener: Listener | None = None,
    ) -> None:
        if chunk_tokens < 1:
            raise BadInput(f"chunks of {chunk_tokens} tokens", where="memory", fix="use at least 1")
        self.backbone, self.budget, self.chunk_tokens = backbone, budget, chunk_tokens
        self.store = HostStore() if store is None else store
        spare = budget.interval + budget.dense_queries
        self._layout = Layout(chunk_tokens, spare, listener=listener)
        layers = DynamicCache(config=backbone.decoder.config).layers
        self._memory = [LookaheadLayer(index, self._layout) for index in backbone.memory_layers]
        for layer in self._memory:
            layers[layer.index] = layer
        super().__init__(layers=layers)
        self._others: list[Any] = [each for each in layers if isinstance(each, DynamicLayer)]
        self._hosted = Hosted(self.store, self._memory, self._layout)
        self.prepared = False
        self._forget()

    def _forget(self) -> None:
        self._visibility = Visibility(self._layout)
        self.dense_B = torch.zeros(0, dtype=torch.bool)
        self.moved_B = torch.zeros(0, dtype=torch.int64)
        self.recording = False

    # ---- what it is

    @property
    def listener(self) -> Listener | None:
        """Who is told of the history."""
        return self._layout.listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._layout.listener = listener

    @property
    def num_rows(self) -> int:
        """Rows of the batch; 0 before the first forward pass."""
        buffers = self._memory[0].buffers
        return len(buffers[0]) if buffers else 0

    @property
    def length(self) -> int:
        """Tokens so far, padding included, wherever they lie."""
        return self._memory[-1].length

    @property
    def num_chunks(self) -> int:
        """Complete chunks so far."""
        return self.length // self.chunk_tokens

    @property
    def padding_B(self) -> Tensor:
        """Padding tokens at the left of each row, on the host; empty before any mask was seen."""
        return self._visibility.padding_B

    @property
    def has_padding(self) -> bool:
        """Whether there is padding, at the left or within."""
        return self._visibility.has_padding

    @property
    def in_order(self) -> bool:
        """Whether nothing is evicted, so that masks are those of a `DynamicCache`."""
        return self._layout.order.in_order

    @property
    def resident_BC(self) -> Tensor:
        """Bool, on the host: which complete chunks are on the device; of padding alone, none."""
        return self._frame_of() >= 0

    @property
    def block_bytes(self) -> int:
        """Bytes of one chunk in all memory layers; 0 before the first forward pass."""
        return self._hosted.shape().nbytes if self.num_rows else 0

    def bytes_per_row(self) -> list[Bytes]:
        """What lies where, counted: see `Bytes`. Sliding-window layers are left out."""
        rows = self.num_rows
        if not rows:
            return []
        token = self.block_bytes // self.chunk_tokens
        digests = getattr(self.listener, "digest_bytes", list)() or [0] * rows
        allocated = sum(each.nbytes for layer in self._memory for each in layer.buffers) // rows
        host_B = self._hosted.blocks_per_row(rows) * self.block_bytes
        return [
            Bytes(resident=tokens * token, allocated=allocated, digest=digest, host=host)
            for tokens, digest, host in zip(
                self._tokens_B().tolist(), digests, host_B.tolist(), strict=True
            )
        ]

    def chunk_keys(self, layer: int, row: int | None = None) -> Tensor:
        """Keys [B,K,L,D] of a memory layer in order of index, wherever they lie; no value moves.

        Args:
            layer: index in the model.
            row: that row alone, B = 1.
        """
        return self._whole(layer, row, parts=1)[0]

    def full(self, layer: int) -> tuple[Tensor, ...]:
        """Keys and values [B,K,L,D] of a memory layer; padding that was evicted is zero."""
        return self._whole(layer, None, parts=2)

    # ---- forward passes

    def see_padding(self, attention_mask_BL: Tensor | None, rows: int) -> None:
        """Reads the padding off the mask of a forward pass: see `Visibility`.

        Args:
            attention_mask_BL: 1 or True at tokens, of all tokens so far; None: no padding.
            rows: of the batch.
        """
        if len(self.dense_B) != rows:
            self.dense_B = torch.zeros(rows, dtype=torch.bool)
        self._visibility.read(attention_mask_BL, rows)

    def needs_mask(self, query_length: int) -> bool:
        """Whether any new token must not see one of the slots."""
        return self._visibility.needs_mask(query_length)

    def mask(self, query_length: int, attention_mask_BL: Tensor | None = None) -> Tensor:
        """Who sees what in the next forward pass: bool (B, 1, Q, S), S slots after it.

        Each new token sees the resident set, the tail, and the new tokens up to itself.

        Args:
            query_length: new tokens.
            attention_mask_BL: of the whole sequence, for a cache that was not shown it yet.
        """
        if attention_mask_BL is not None:
            self.see_padding(attention_mask_BL, len(attention_mask_BL))
        rows = self.num_rows or len(self.padding_B) or 1
        device = self._memory[0].device if self.num_rows else torch.device("cpu")
        return self._visibility.mask(self.length, query_length, rows, device)

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """See `Cache`. Where transformers makes the mask, everything has to be there."""
        self._complete()
        sizes: tuple[int, int] = super().get_mask_sizes(query_length, layer_idx)
        return sizes

    def update(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """See `Cache`."""
        self._hosted.settle()
        self._complete()
        return super().update(*args, **kwargs)

    # ---- eviction and recall

    def apply(self, keep_BC: Tensor) -> int:
        """Leaves these chunks on the device, and no others.

        What goes is written to the store first, where it is not there already; what comes back is
        copied from there. Rows in `dense_B` keep all. The chunk that is being written stays.

        Args:
            keep_BC: bool, complete chunks.

        Returns:
            Bytes that were copied to the device.

        Raises:
            BadInput: the store is full; nothing has changed. After any other failure, too,
                everything is as it was.
        """
        self._hosted.settle()
        rows, chunks = self.num_rows, self.num_chunks
        if tuple(keep_BC.shape) != (rows, chunks):
            raise BadInput(
                f"{tuple(keep_BC.shape)} decisions for {rows} rows of {chunks} chunks",
                where="LookaheadCache.apply",
                fix="decide on every complete chunk",
            )
        padded_BC = self._visibility.padded_chunks(rows, chunks)
        keep_BC = keep_BC.cpu().bool() & ~padded_BC
        if len(self.dense_B):
            keep_BC |= self.dense_B[:, None] & ~padded_BC
        if bool((keep_BC | padded_BC).all()):
            return self.recall_all()
        frame_BC = self._frame_of()
        target_BC, order = self._packed(keep_BC, frame_BC)
        return self._move(order, keep_BC, frame_BC, target_BC, self._slots(order.num_frames))

    def recall_all(self) -> int:
        """Brings everything back, in order of index. Returns the bytes copied to the device."""
        self._hosted.settle()
        rows, chunks = self.num_rows, self.num_chunks
        self.moved_B = torch.zeros(rows, dtype=torch.int64)
        if self.in_order:
            return 0
        keep_BC = ~self._visibility.padded_chunks(rows, chunks)
        target_BC = torch.arange(chunks).expand(rows, -1)
        order = self._layout.in_order(rows)
        return self._move(order, keep_BC, self._frame_of(), target_BC, self._layout.slots(chunks))

    # ---- what generation does to a cache

    def crop(self, tokens_to_remove: int) -> None:
        """Takes back the last `-tokens_to_remove` tokens, also where they are on the host.

        Raises:
            BadInput: a positive number, or more tokens than there are.
        """
        if tokens_to_remove > 0 or -tokens_to_remove > self.length:
            raise BadInput(
                f"{tokens_to_remove} for a history of {self.length} tokens",
                where="LookaheadCache.crop",
                fix="give minus the number of tokens to take back",
            )
        self._hosted.settle()
        for layer in self._others:
            layer.crop(tokens_to_remove)
        if not tokens_to_remove:
            return
        length = self.length + tokens_to_remove
        chunks, rest = divmod(length, self.chunk_tokens)
        if chunks < self._layout.order.tail_chunk:
            self._uncover(chunks, rest)
        for memory in self._memory:
            memory.length = length
            memory.show()
        self._hosted.crop(chunks)
        self._visibility.crop(length)
        if self.listener is not None:
            self.listener.crop(chunks)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i is from now on what row `beam_idx[i]` was."""
        if torch.equal(beam_idx.cpu(), torch.arange(self.num_rows)):
            return
        self._hosted.settle()
        for layer in self._others:
            layer.reorder_cache(beam_idx)
        self._change_rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times."""
        self._hosted.settle()
        for layer in self._others:
            layer.batch_repeat_interleave(repeats)
        self._change_rows(torch.arange(self.num_rows).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Only these rows, in this order."""
        self._hosted.settle()
        for layer in self._others:
            layer.batch_select_indices(indices)
        rows_B = torch.arange(self.num_rows, device=indices.device)
        self._change_rows(rows_B[indices])

    def activate_past_recording(self) -> None:
        """See `Cache`: tokens may be taken back from now on."""
        self.recording = True
        super().activate_past_recording()  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Forgets everything, in the store too."""
        super().reset()  # type: ignore[no-untyped-call]
        self._hosted.crop(0)
        self._hosted.forget()
        self._layout.order = self._layout.in_order(0)
        self._forget()
        if self.listener is not None:
            self.listener.reset()

    # ---- within

    def _complete(self) -> None:
        if not (self.prepared or self.in_order):
            self.recall_all()

    def _frame_of(self) -> Tensor:
        rows, chunks = self.num_rows, self.num_chunks
        frame_BC = self._layout.order.frame_of(rows, chunks)
        return frame_BC.masked_fill(self._visibility.padded_chunks(rows, chunks), -1)

    def _tokens_B(self) -> Tensor:
        """Own tokens of each row that are on the device."""
        padding_B = self._visibility.padding(self.num_rows)
        ends_C = (torch.arange(self.num_chunks) + 1) * self.chunk_tokens
        own_BC = (ends_C - padding_B[:, None]).clamp(max=self.chunk_tokens)
        rest_B = (self.length - padding_B).clamp(max=self.length % self.chunk_tokens)
        return (own_BC * self.resident_BC).sum(1) + rest_B

    def _packed(self, keep_BC: Tensor, frame_BC: Tensor) -> tuple[Tensor, Order]:
        """Kept chunks in the first frames: the frame of each, and the order that this is."""
        target_BC, frames_BF = packed(keep_BC, frame_BC)
        return target_BC, Order(self.chunk_tokens, frames_BF, keep_BC.shape[1])

    def _move(
        self, order: Order, keep_BC: Tensor, frame_BC: Tensor, target_BC: Tensor, slots: int | None
    ) -> int:
        ids_BC = self._hosted.ids(*keep_BC.shape)
        before, after = (each.tail_slot(self.length) for each in (self._layout.order, order))
        tail = (before, after, self.length % self.chunk_tokens)
        moves = planned(keep_BC, frame_BC, target_BC, ids_BC, tail)
        self.moved_B = self._hosted.move(order, keep_BC, frame_BC, moves, slots)
        self._show()
        return int(self.moved_B.sum())

    def _show(self) -> None:
        for layer in self._memory:
            layer.show_if_ready()

    def _slots(self, num_frames: int) -> int | None:
        there = self._memory[0].buffers[0].shape[2]
        return self._layout.new_slots(there, num_frames, self.budget.interval)

    def _uncover(self, chunks: int, rest: int) -> None:
        """Makes the chunk that a crop cuts through the end of the tail, wherever it lies."""
        recent = chunks * self.chunk_tokens + rest - self.budget.recent_tokens
        frame_BC = self._frame_of()
        recent_C = (torch.arange(chunks) + 1) * self.chunk_tokens > recent
        keep_BC = (frame_BC[:, :chunks] >= 0) | recent_C
        keep_BC &= ~self._visibility.padded_chunks(self.num_rows, chunks)
        rows, frame_BC, cut_B = self.num_rows, frame_BC[:, :chunks], frame_BC[:, chunks]
        target_BC, order = self._packed(keep_BC, frame_BC)
        num_frames, ids_BC = order.num_frames, self._hosted.ids(rows, self.num_chunks)
        tail = (order.tail_slot(self.length), num_frames * self.chunk_tokens, 0)
        moves = planned(keep_BC, frame_BC, target_BC, ids_BC[:, :chunks], tail)
        if rest:
            real_B = ~self._visibility.padded_chunks(rows, chunks + 1)[:, chunks]
            moves = moves.with_last(cut_B, ids_BC[:, chunks], real_B, num_frames)
        self.moved_B = self._hosted.rearrange(moves, self._slots(num_frames), rows)
        self._layout.order = order
        self._show()

    def _change_rows(self, indices_B: Tensor) -> None:
        for layer in self._memory:
            layer.change_rows(indices_B)
        indices_B = indices_B.cpu()
        self._hosted.change_rows(indices_B)
        order = self._layout.order
        if len(order.frames_BF):
            self._layout.order = replace(order, frames_BF=order.frames_BF[indices_B])
        self._visibility.change_rows(indices_B)
        if len(self.dense_B):
            self.dense_B = self.dense_B[indices_B]
        if self.listener is not None:
            self.listener.reorder(indices_B)

    def _whole(self, layer: int, row: int | None, *, parts: int) -> tuple[Tensor, ...]:
        place = self.backbone.memory_layers.index(layer)
        memory, rows_B = self._memory[place], torch.arange(self.num_rows)
        memory.wait()
        if row is not None:
            rows_B = rows_B[row : row + 1]
        if memory.order.in_order:
            used = memory.used()[:parts]
            return used if row is None else tuple(each[rows_B] for each in used)
        chunks = memory.length // self.chunk_tokens
        padded_BC = self._visibility.padded_chunks(self.num_rows, chunks)
        return self._hosted.whole(place, rows_B, padded_BC, parts=parts)
