"""A transformers cache whose full-attention layers keep some chunks on the device, the rest on the
host.

    cache = LookaheadCache(Backbone.of(model), chunk_tokens=64, budget=Budget())
    model(ids_BT, past_key_values=cache)          # dense, as with a DynamicCache
    cache.apply(keep_BC)                          # evicts and recalls
    model(next_B1, past_key_values=cache, attention_mask=...)   # see `attach`, which does all this

All memory layers of a row hold the same chunks; sliding-window layers are transformers' own. While
nothing is evicted it is a `DynamicCache`, masks included. Afterwards lengths stay logical, and
`mask` says which slot each new token may see. Nothing is ever lost: what is dropped from the
device was written to the store before.

Shape suffixes: B rows, T tokens, L history, C chunks, K key/value heads, D head width, S slots,
F frames, Q queries, N chunks to be moved.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import Cache

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, Bytes
from planish.models.memory.layer import Layout, Listener, LookaheadLayer, Moves
from planish.models.memory.store import BlockShape, HostStore

__all__ = ["LookaheadCache"]


class LookaheadCache(Cache):  # type: ignore[misc]
    """Keys and values of a batch.

    Args:
        backbone: the model's full-attention layers.
        chunk_tokens: tokens that are evicted and recalled together.
        budget: says how much room the buffers need between two decisions.
        store: where evicted chunks go; by default memory without a cap.
        listener: told of complete chunks, of rows that change places and of what is cut off.

    Attributes:
        padding_B: on the host, padding tokens at the left of each row.
        dense_B: on the host, rows that are never evicted from again.
        moved_B: on the host, bytes that the last `apply` or `recall_all` copied to the device.
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
        self._layout = Layout(
            chunk_tokens, budget.interval + budget.dense_queries, listener=listener
        )
        layers = DynamicCache(config=backbone.decoder.config).layers
        self._memory = [LookaheadLayer(index, self._layout) for index in backbone.memory_layers]
        for layer in self._memory:
            layers[layer.index] = layer
        super().__init__(layers=layers)
        self.recording = False
        """Whether tokens may be taken back, as in assisted decoding."""
        self._forget()

    def _forget(self) -> None:
        self.padding_B = torch.zeros(0, dtype=torch.int64)
        self.dense_B = torch.zeros(0, dtype=torch.bool)
        self.moved_B = torch.zeros(0, dtype=torch.int64)
        self._ids_BC = torch.zeros(0, 0, dtype=torch.int64)
        self._index_BS: Tensor | None = None
        self._masked = False
        self._holes_BL: Tensor | None = None
        self._stream: torch.cuda.Stream | None = None

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
        first = self._memory[0]
        return 0 if first.is_empty else len(first.keys)

    @property
    def length(self) -> int:
        """Tokens so far, padding included, wherever they lie."""
        return self._memory[-1].length

    @property
    def num_chunks(self) -> int:
        """Complete chunks so far."""
        return self.length // self.chunk_tokens

    @property
    def in_order(self) -> bool:
        """Whether nothing is evicted, so that masks are those of a `DynamicCache`."""
        return self._layout.in_order

    @property
    def has_padding(self) -> bool:
        """Whether there is padding, at the left or within."""
        return self._holes_BL is not None or bool(self.padding_B.any())

    @property
    def resident_BC(self) -> Tensor:
        """Bool, on the host: which complete chunks are on the device; of padding alone, none."""
        return self._frame_of() >= 0

    @property
    def block_bytes(self) -> int:
        """Bytes of one chunk in all memory layers."""
        return self._shape().nbytes

    def bytes_per_row(self) -> list[Bytes]:
        """What lies where, counted: see `Bytes`. Sliding-window layers are left out."""
        if not self.num_rows:
            return []
        shape = self._shape()
        token = shape.nbytes // shape.tokens
        digests = getattr(self.listener, "digest_bytes", list)()
        digests = digests or [0] * self.num_rows
        allocated = sum(each.keys.nbytes + each.values.nbytes for each in self._memory)
        host_B = self._host_blocks() * shape.nbytes
        return [
            Bytes(
                resident=int(tokens) * token,
                allocated=allocated // self.num_rows,
                digest=digest,
                host=int(host),
            )
            for tokens, digest, host in zip(self._tokens_B(), digests, host_B, strict=True)
        ]

    def chunk_keys(self, layer: int, row: int | None = None) -> Tensor:
        """Keys [B,K,L,D] of a memory layer in order of index, wherever they lie.

        Args:
            layer: index in the model.
            row: that row alone, B = 1.
        """
        return self._whole(layer, row)[0]

    def full(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B,K,L,D] of a memory layer; padding that was evicted is zero."""
        return self._whole(layer, None)

    # ---- forward passes

    def see_padding(self, attention_mask_BL: Tensor | None, rows: int) -> None:
        """Reads the padding off the mask of a forward pass.

        Padding at the left is no part of the history. Padding behind it, as between two turns of
        a batch, has places and positions like tokens, and is seen by none.

        Args:
            attention_mask_BL: 1 or True at tokens, of all tokens so far; None: no padding.
            rows: of the batch.
        """
        if len(self.dense_B) != rows:
            self.dense_B = torch.zeros(rows, dtype=torch.bool)
        self.padding_B, self._holes_BL = torch.zeros(rows, dtype=torch.int64), None
        if attention_mask_BL is None:
            return
        mask_BL = attention_mask_BL.bool().cpu()
        self.padding_B = (~mask_BL).int().cumprod(1).sum(1)
        holes_BL = ~mask_BL & (torch.arange(mask_BL.shape[1]) >= self.padding_B[:, None])
        if bool(holes_BL.any()):
            self._holes_BL = holes_BL.to(self._device())

    def needs_mask(self, query_length: int) -> bool:
        """Whether any new token must not see one of the slots."""
        return query_length > 1 or self._masked or self._holes_BL is not None

    def mask(self, query_length: int, attention_mask_BL: Tensor | None = None) -> Tensor:
        """Who sees what in the next forward pass: bool (B, 1, Q, S), S slots after it.

        Each new token sees the resident set, the tail, and the new tokens up to itself.

        Args:
            query_length: new tokens.
            attention_mask_BL: of the whole sequence, for a cache whose padding was not seen yet.
        """
        if attention_mask_BL is not None and not self.length:
            self.see_padding(attention_mask_BL, len(attention_mask_BL))
        device = self._device()
        rows = max(self.num_rows, len(self.padding_B), 1)
        begin, end = self._layout.tail_chunk * self.chunk_tokens, self.length + query_length
        index_BS = torch.arange(begin, end, device=device).expand(rows, -1)
        if self._layout.num_frames:
            index_BS = torch.cat([self._frame_index(), index_BS], dim=1)
        padding_B = self._padding().to(device)
        # A slot that holds nothing has index -1, which is before any row's first token.
        seen_BS = index_BS >= padding_B[:, None]
        if self._holes_BL is not None:
            known = self._holes_BL.shape[1]
            holes_BS = self._holes_BL.gather(1, index_BS.clamp(min=0, max=known - 1))
            seen_BS = seen_BS & ~(holes_BS & (index_BS < known))
        query_Q = torch.arange(self.length, end, device=device)
        return (seen_BS[:, None] & (index_BS[:, None] <= query_Q[:, None]))[:, None]

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
            BadInput: the store is full; nothing has changed.
        """
        rows, chunks = self.num_rows, self.num_chunks
        if tuple(keep_BC.shape) != (rows, chunks):
            raise BadInput(
                f"{tuple(keep_BC.shape)} decisions for {rows} rows of {chunks} chunks",
                where="LookaheadCache.apply",
                fix="decide on every complete chunk",
            )
        padded_BC = self._padded_BC(chunks)
        keep_BC = (keep_BC.cpu().bool() | self.dense_of()[:, None]) & ~padded_BC
        if bool((keep_BC | padded_BC).all()):
            return self.recall_all()
        frame_BC = self._frame_of()
        self._save((frame_BC >= 0) & ~keep_BC & ~padded_BC)
        tail = self.length - chunks * self.chunk_tokens
        return self._lay_out(keep_BC, frame_BC, tail)

    def recall_all(self) -> int:
        """Brings everything back, in order of index. Returns the bytes copied to the device."""
        if self._layout.in_order:
            self.moved_B = torch.zeros(self.num_rows, dtype=torch.int64)
            return 0
        chunks, layout = self.num_chunks, self._layout
        keep_BC = ~self._padded_BC(chunks)
        frame_BC = self._frame_of()
        chunk_BC = torch.arange(chunks).expand(self.num_rows, -1)
        tail = self.length - chunks * self.chunk_tokens
        slots = self._slots(chunks)
        moves = self._moves(keep_BC, frame_BC, chunk_BC, chunks, tail)
        moved = self._carry_out(moves, slots)
        layout.frames_BF, layout.tail_chunk = torch.zeros(self.num_rows, 0, dtype=torch.int64), 0
        self._index_BS, self._masked = None, False
        return moved

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
        for layer in self.layers:
            if not isinstance(layer, LookaheadLayer):
                layer.crop(tokens_to_remove)
        if not tokens_to_remove:
            return
        length = self.length + tokens_to_remove
        chunks, rest = divmod(length, self.chunk_tokens)
        if chunks < self._layout.tail_chunk:
            self._uncover(chunks, rest)
        for memory in self._memory:
            memory.length = length
        if self._holes_BL is not None:
            self._holes_BL = self._holes_BL[:, :length] if length else None
        ids_BC = self._ids_BC[:, chunks:]
        self.store.release(ids_BC[ids_BC >= 0])
        self._ids_BC = self._ids_BC[:, :chunks].clone()
        if self.listener is not None:
            self.listener.crop(chunks)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i is from now on what row `beam_idx[i]` was."""
        if torch.equal(beam_idx.cpu(), torch.arange(self.num_rows)):
            return
        for layer in self.layers:
            if not isinstance(layer, LookaheadLayer):
                layer.reorder_cache(beam_idx)
        self._change_rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every row `repeats` times."""
        for layer in self.layers:
            if not isinstance(layer, LookaheadLayer):
                layer.batch_repeat_interleave(repeats)
        self._change_rows(torch.arange(self.num_rows).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Only these rows, in this order."""
        for layer in self.layers:
            if not isinstance(layer, LookaheadLayer):
                layer.batch_select_indices(indices)
        if indices.dtype == torch.bool:
            indices = indices.nonzero()[:, 0]
        self._change_rows(indices)

    def activate_past_recording(self) -> None:
        """See `Cache`: tokens may be taken back from now on."""
        self.recording = True
        super().activate_past_recording()

    def reset(self) -> None:
        """Forgets everything, in the store too."""
        super().reset()
        self.store.release(self._ids_BC[self._ids_BC >= 0])
        self._layout.frames_BF = torch.zeros(0, 0, dtype=torch.int64)
        self._layout.tail_chunk = 0
        self.recording = False
        self._forget()
        if self.listener is not None:
            self.listener.reset()

    def dense_of(self) -> Tensor:
        """`dense_B`, of a cache whose padding was never seen too."""
        return self.dense_B if len(self.dense_B) else torch.zeros(self.num_rows, dtype=torch.bool)

    # ---- counting

    def _shape(self) -> BlockShape:
        first = self._memory[0]
        _, heads, _, width = first.keys.shape
        return BlockShape(len(self._memory), heads, self.chunk_tokens, width, first.dtype)

    def _device(self) -> torch.device:
        first = self._memory[0]
        device: torch.device = torch.device("cpu") if first.is_empty else first.device
        return device

    def _padding(self) -> Tensor:
        return self.padding_B if len(self.padding_B) else torch.zeros(max(self.num_rows, 1)).long()

    def _padded_BC(self, chunks: int) -> Tensor:
        """Chunks that hold padding alone."""
        ends_C = (torch.arange(chunks) + 1) * self.chunk_tokens
        return ends_C <= self._padding()[:, None]

    def _frame_of(self) -> Tensor:
        chunks = self.num_chunks
        frame_BC = self._layout.frame_of(self.num_rows, chunks)
        return frame_BC.masked_fill(self._padded_BC(chunks), -1)

    def _tokens_B(self) -> Tensor:
        """Tokens of each row that are on the device."""
        begins_C = torch.arange(self.num_chunks) * self.chunk_tokens
        own_BC = (begins_C + self.chunk_tokens - self._padding()[:, None]).clamp(
            max=self.chunk_tokens
        )
        whole_B = (own_BC * self.resident_BC).sum(1)
        rest = self.length - self.num_chunks * self.chunk_tokens
        return whole_B + (self.length - self._padding()).clamp(max=rest)

    def _host_blocks(self) -> Tensor:
        """Blocks of each row in the store; what rows share counts for the first of them."""
        counts_B = torch.zeros(self.num_rows, dtype=torch.int64)
        seen = torch.zeros(0, dtype=torch.int64)
        for row, ids_C in enumerate(self._ids_BC):
            ids_N = ids_C[ids_C >= 0]
            new_N = ids_N[~torch.isin(ids_N, seen)]
            counts_B[row] = len(new_N)
            seen = torch.cat([seen, new_N])
        return counts_B

    def _frame_index(self) -> Tensor:
        """Index of each slot before the tail, -1 where it holds nothing: shape (B, S)."""
        if self._index_BS is None:
            frames_BF = self._layout.frames_BF
            index_BFT = frames_BF[:, :, None] * self.chunk_tokens + torch.arange(self.chunk_tokens)
            index_BFT = index_BFT.masked_fill(frames_BF[:, :, None] < 0, -1)
            self._index_BS = index_BFT.flatten(1).to(self._device())
        return self._index_BS

    # ---- moving

    def _ids(self, chunks: int) -> Tensor:
        """Numbers in the store, -1 where a chunk is not there: shape (B, C)."""
        known = self._ids_BC.shape[1]
        if known < chunks or len(self._ids_BC) != self.num_rows:
            ids_BC = torch.full((self.num_rows, chunks), -1, dtype=torch.int64)
            if known:
                ids_BC[:, :known] = self._ids_BC
            self._ids_BC = ids_BC
        return self._ids_BC

    def _save(self, evicted_BC: Tensor) -> None:
        """Writes what is not in the store yet."""
        ids_BC = self._ids(evicted_BC.shape[1])
        rows_N, chunks_N = (evicted_BC & (ids_BC < 0)).nonzero(as_tuple=True)
        if not len(rows_N):
            return
        self.store.bind(self._shape(), pinned=self._device().type == "cuda")
        ids_N = self.store.reserve(len(rows_N))
        frames_N = self._frame_of()[rows_N, chunks_N]
        for place, layer in enumerate(self._memory):
            layer.wait()
            self.store.write(ids_N, place, *layer.frames(rows_N, frames_N))
        ids_BC[rows_N, chunks_N] = ids_N

    def _lay_out(
        self, keep_BC: Tensor, frame_BC: Tensor, tail: int, last_BC: Tensor | None = None
    ) -> int:
        """Packs the kept chunks into the first frames; those that can stay where they are do."""
        rows, chunks = keep_BC.shape
        num_frames = int(keep_BC.sum(1).max()) if chunks else 0
        target_BC = torch.full_like(frame_BC, -1)
        frames_BF = torch.full((rows, num_frames), -1, dtype=torch.int64)
        for row in range(rows):
            staying_C = keep_BC[row] & (frame_BC[row] >= 0) & (frame_BC[row] < num_frames)
            coming_N = (keep_BC[row] & ~staying_C).nonzero()[:, 0]
            target_BC[row, staying_C] = frame_BC[row, staying_C]
            free_F = torch.ones(num_frames, dtype=torch.bool)
            free_F[frame_BC[row, staying_C]] = False
            target_BC[row, coming_N] = free_F.nonzero()[: len(coming_N), 0]
            kept_N = keep_BC[row].nonzero()[:, 0]
            frames_BF[row, target_BC[row, kept_N]] = kept_N
        moves = self._moves(keep_BC, frame_BC, target_BC, num_frames, tail)
        if last_BC is not None:
            moves = self._with_last(moves, last_BC, frame_BC, num_frames)
        moved = self._carry_out(moves, self._new_slots(num_frames))
        layout = self._layout
        layout.frames_BF, layout.tail_chunk = frames_BF, chunks
        self._index_BS = None
        padding_B1 = self._padding()[:, None]
        self._masked = bool((frames_BF * self.chunk_tokens < padding_B1).any()) or bool(
            (padding_B1 > chunks * self.chunk_tokens).any()
        )
        return moved

    def _moves(
        self, keep_BC: Tensor, frame_BC: Tensor, target_BC: Tensor, num_frames: int, tail: int
    ) -> Moves:
        ids_BC = self._ids(keep_BC.shape[1])
        here_BC = keep_BC & (frame_BC >= 0)
        staying_BC = here_BC & (frame_BC == target_BC)
        moving_BC, coming_BC = here_BC & ~staying_BC, keep_BC & ~here_BC
        chunks = keep_BC.shape[1]
        before = chunks * self.chunk_tokens + self._layout.offset
        return Moves(
            rows_N=moving_BC.nonzero()[:, 0],
            sources_N=frame_BC[moving_BC],
            targets_N=target_BC[moving_BC],
            tail=(before, num_frames * self.chunk_tokens, tail),
            recall_rows_N=coming_BC.nonzero()[:, 0],
            recall_ids_N=ids_BC[:, :chunks][coming_BC],
            recall_targets_N=target_BC[coming_BC],
            num_frames=num_frames,
            kept_rows_N=staying_BC.nonzero()[:, 0],
            kept_frames_N=frame_BC[staying_BC],
        )

    def _carry_out(self, moves: Moves, slots: int | None) -> int:
        assert bool((moves.recall_ids_N >= 0).all()), "a chunk is neither here nor there"
        side = self._side_stream()
        for place, layer in enumerate(self._memory):
            recalled = self._recaller(moves, place) if len(moves.recall_ids_N) else None
            layer.wait()
            if side is None or recalled is None:
                layer.rearrange(moves, slots, recalled)
                continue
            with torch.cuda.stream(side):
                layer.rearrange(moves, slots, recalled)
                layer.ready = side.record_event()
            for buffer in (layer.keys, layer.values):
                buffer.record_stream(torch.cuda.current_stream(layer.device))
        counts_B = torch.bincount(moves.recall_rows_N, minlength=self.num_rows)
        self.moved_B = counts_B * self._shape().nbytes
        return int(self.moved_B.sum())

    def _recaller(self, moves: Moves, place: int) -> Callable[[], Tensor]:
        def recall() -> Tensor:
            states = self.store.gather(moves.recall_ids_N, place)
            return states.to(self._device(), non_blocking=True)

        return recall

    def _side_stream(self) -> torch.cuda.Stream | None:
        """A stream of its own for transfers, behind what was computed so far; None on the CPU."""
        device = self._device()
        if device.type != "cuda":
            return None
        if self._stream is None:
            self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        return self._stream

    def _slots(self, num_frames: int) -> int:
        """Slots of a buffer for so many frames, the unfinished chunk and what may be appended."""
        tokens = self.chunk_tokens
        return (num_frames + 1 + -(-self._layout.spare // tokens)) * tokens

    def _new_slots(self, num_frames: int) -> int | None:
        """Slots of new buffers, or None where the old ones are neither too small nor too large."""
        there, wanted = self._memory[0].keys.shape[2], self._slots(num_frames)
        least = (num_frames + 1) * self.chunk_tokens + self.budget.interval
        return None if least <= there <= wanted * 5 // 4 else wanted

    def _uncover(self, chunks: int, rest: int) -> None:
        """Makes the chunk that a crop cuts through the end of the tail, wherever it lies."""
        length = chunks * self.chunk_tokens + rest
        frame_BC = self._frame_of()
        recent_C = (
            torch.arange(chunks) + 1
        ) * self.chunk_tokens > length - self.budget.recent_tokens
        keep_BC = ((frame_BC[:, :chunks] >= 0) | recent_C) & ~self._padded_BC(chunks)
        cut_BC = frame_BC[:, chunks : chunks + 1] if rest else None
        self._lay_out(keep_BC, frame_BC[:, :chunks], 0, cut_BC)

    def _with_last(self, moves: Moves, cut_B1: Tensor, frame_BC: Tensor, num_frames: int) -> Moves:
        """Adds the chunk that is cut through, as the frame behind all others."""
        chunk = frame_BC.shape[1]
        padded_B = self._padded_BC(chunk + 1)[:, chunk]
        here_B = (cut_B1[:, 0] >= 0) & ~padded_B
        there_B = ~here_B & ~padded_B
        rows_N, back_N = here_B.nonzero()[:, 0], there_B.nonzero()[:, 0]
        end = torch.tensor(num_frames)
        return Moves(
            rows_N=torch.cat([moves.rows_N, rows_N]),
            sources_N=torch.cat([moves.sources_N, cut_B1[rows_N, 0]]),
            targets_N=torch.cat([moves.targets_N, end.expand(len(rows_N))]),
            tail=moves.tail,
            recall_rows_N=torch.cat([moves.recall_rows_N, back_N]),
            recall_ids_N=torch.cat([moves.recall_ids_N, self._ids_BC[back_N, chunk]]),
            recall_targets_N=torch.cat([moves.recall_targets_N, end.expand(len(back_N))]),
            num_frames=num_frames,
            kept_rows_N=moves.kept_rows_N,
            kept_frames_N=moves.kept_frames_N,
        )

    def _change_rows(self, indices_B: Tensor) -> None:
        for layer in self._memory:
            layer.change_rows(indices_B)
        indices_B = indices_B.cpu()
        if len(self._ids_BC):
            before_BC, self._ids_BC = self._ids_BC, self._ids_BC[indices_B]
            self.store.retain(self._ids_BC[self._ids_BC >= 0])
            self.store.release(before_BC[before_BC >= 0])
        if len(self._layout.frames_BF):
            self._layout.frames_BF = self._layout.frames_BF[indices_B]
        if len(self.padding_B):
            self.padding_B, self.dense_B = self.padding_B[indices_B], self.dense_B[indices_B]
        if self._holes_BL is not None:
            self._holes_BL = self._holes_BL[indices_B.to(self._holes_BL.device)]
        if self._index_BS is not None:
            self._index_BS = self._index_BS[indices_B.to(self._index_BS.device)]
        if self.listener is not None:
            self.listener.reorder(indices_B)

    def _whole(self, layer: int, row: int | None) -> tuple[Tensor, Tensor]:
        place = self.backbone.memory_layers.index(layer)
        memory = self._memory[place]
        memory.wait()
        used = memory.used()
        rows_B = torch.arange(self.num_rows)
        if row is not None:
            used = (used[0][row : row + 1], used[1][row : row + 1])
            rows_B = rows_B[row : row + 1]
        if self._layout.in_order:
            return used
        return self._gathered(memory, place, rows_B, used)

    def _gathered(
        self, memory: LookaheadLayer, place: int, rows_B: Tensor, used: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        chunks, tokens = memory.length // self.chunk_tokens, self.chunk_tokens
        frame_BC = self._layout.frame_of(self.num_rows, chunks)[rows_B]
        real_BC = ~self._padded_BC(chunks)[rows_B]
        whole: list[Tensor] = []
        row_N, chunk_N = (real_BC & (frame_BC >= 0)).nonzero(as_tuple=True)
        here = memory.frames(rows_B[row_N], frame_BC[row_N, chunk_N])
        back_N, gone_N = (real_BC & (frame_BC < 0)).nonzero(as_tuple=True)
        there = None
        if len(back_N):
            there = self.store.gather(self._ids_BC[rows_B[back_N], gone_N], place)
        for part, view in enumerate(used):
            _, heads, _, width = view.shape
            full = view.new_zeros(len(rows_B), heads, chunks + 1, tokens, width)
            frames = full.transpose(1, 2)
            device = view.device
            frames[row_N.to(device), chunk_N.to(device)] = here[part]
            if there is not None:
                frames[back_N.to(device), gone_N.to(device)] = there[part].to(device)
            flat = full.flatten(2, 3)[:, :, : memory.length]
            begin = chunks * tokens
            flat[:, :, begin:] = view[:, :, begin + self._layout.offset :]
            whole.append(flat)
        return whole[0], whole[1]
