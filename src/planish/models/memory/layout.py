"""Which chunk lies in which frame of the device's buffers, and how one order becomes another.

A buffer is a row of frames of `chunk_tokens` slots. The first frames hold chunks in any order
(keys are rotated already, so order is of no matter); behind them lies the tail, tokens in order of
index, the last of which are still being written. Before anything was evicted all is tail.

Index = place in the padded sequence; position = index minus the row's padding. All tensors here
are on the host.

Shape suffixes: B rows, C chunks, F frames, N chunks to be moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from planish.models.memory.layer import Listener

__all__ = ["Layout", "Moves", "Order", "packed", "planned"]


def _no_frames(rows: int = 0) -> Tensor:
    return torch.zeros(rows, 0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Order:
    """What lies where.

    Attributes:
        chunk_tokens: tokens of a chunk, slots of a frame.
        frames_BF: the chunk in each frame before the tail, -1 where there is none.
        tail_chunk: the chunk that the tail begins with.
    """

    chunk_tokens: int
    frames_BF: Tensor = field(default_factory=_no_frames)
    tail_chunk: int = 0

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
        """Where each chunk lies, -1 where it does not: shape (B, C)."""
        # One place more, for what frames hold that is none of these chunks.
        where_BC = torch.full((rows, num_chunks + 1), -1, dtype=torch.int64)
        if self.num_frames:
            frame_BF = torch.arange(self.num_frames).expand(rows, -1)
            chunk_BF = self.frames_BF.where(self.frames_BF >= 0, num_chunks)
            where_BC.scatter_(1, chunk_BF.clamp(max=num_chunks), frame_BF)
        tail_C = torch.arange(self.tail_chunk, num_chunks)
        where_BC[:, self.tail_chunk : num_chunks] = tail_C - self.tail_chunk + self.num_frames
        return where_BC[:, :num_chunks]

    def tail_slot(self, length: int) -> int:
        """First slot of the unfinished chunk behind so many tokens."""
        return length // self.chunk_tokens * self.chunk_tokens + self.offset


class Layout:
    """What all memory layers share.

    Args:
        chunk_tokens: tokens of a chunk, slots of a frame.
        spare: slots to be kept free behind the tail when a buffer is made.
        listener: told of complete chunks.

    Attributes:
        order: the same in all of them, except in the middle of a move.
    """

    def __init__(self, chunk_tokens: int, spare: int, listener: Listener | None = None) -> None:
        self.chunk_tokens, self.spare, self.listener = chunk_tokens, spare, listener
        self.order = Order(chunk_tokens)

    def in_order(self, rows: int) -> Order:
        """All is tail."""
        return Order(self.chunk_tokens, _no_frames(rows))

    def slots(self, num_frames: int) -> int:
        """Slots of a buffer for so many frames, the unfinished chunk and what may be appended."""
        return (num_frames + 1 + -(-self.spare // self.chunk_tokens)) * self.chunk_tokens

    def new_slots(self, there: int, num_frames: int, more: int) -> int | None:
        """Slots of new buffers, or None where the old ones are neither too small nor too large.

        Args:
            there: slots of the old ones.
            num_frames: that they would have to hold.
            more: tokens that they would have to hold besides.
        """
        wanted, least = self.slots(num_frames), (num_frames + 1) * self.chunk_tokens + more
        return None if least <= there <= wanted * 5 // 4 else wanted


@dataclass(frozen=True)
class Moves:
    """What a new order asks of a buffer.

    Attributes:
        rows_N, sources_N, targets_N: frames that move within the device.
        kept_rows_N, kept_frames_N: frames that stay where they are.
        recall_rows_N, recall_ids_N, recall_targets_N: frames that come back from the store.
        tail: first slot of the unfinished chunk, before and after, and its tokens.
    """

    rows_N: Tensor
    sources_N: Tensor
    targets_N: Tensor
    kept_rows_N: Tensor
    kept_frames_N: Tensor
    recall_rows_N: Tensor
    recall_ids_N: Tensor
    recall_targets_N: Tensor
    tail: tuple[int, int, int]

    def with_last(self, frame_B: Tensor, ids_B: Tensor, real_B: Tensor, target: int) -> Moves:
        """One more frame in each row, behind all others.

        Args:
            frame_B: where the chunk lies now, -1 where it is in the store.
            ids_B: its number there.
            real_B: rows in which it is more than padding.
            target: the frame it goes to.
        """
        here_N = (real_B & (frame_B >= 0)).nonzero()[:, 0]
        back_N = (real_B & (frame_B < 0)).nonzero()[:, 0]
        end_B = torch.full_like(frame_B, target)
        return replace(
            self,
            rows_N=torch.cat([self.rows_N, here_N]),
            sources_N=torch.cat([self.sources_N, frame_B[here_N]]),
            targets_N=torch.cat([self.targets_N, end_B[here_N]]),
            recall_rows_N=torch.cat([self.recall_rows_N, back_N]),
            recall_ids_N=torch.cat([self.recall_ids_N, ids_B[back_N]]),
            recall_targets_N=torch.cat([self.recall_targets_N, end_B[back_N]]),
        )


def packed(keep_BC: Tensor, frame_BC: Tensor) -> tuple[Tensor, Tensor]:
    """Kept chunks in the first frames; those that lie there already stay where they are.

    Args:
        keep_BC: bool.
        frame_BC: where each chunk lies now, -1 where it does not.

    Returns:
        target_BC, the new frame of each kept chunk, else -1; frames_BF, the same told by frame.
    """
    rows, chunks = keep_BC.shape
    num_frames = int(keep_BC.sum(1).max()) if rows and chunks else 0
    target_BC = torch.full_like(frame_BC, -1)
    frames_BF = torch.full((rows, num_frames), -1, dtype=torch.int64)
    for row in range(rows):
        staying_C = keep_BC[row] & (frame_BC[row] >= 0) & (frame_BC[row] < num_frames)
        coming_N = (keep_BC[row] & ~staying_C).nonzero()[:, 0]
        free_F = torch.ones(num_frames, dtype=torch.bool)
        free_F[frame_BC[row, staying_C]] = False
        target_BC[row, staying_C] = frame_BC[row, staying_C]
        target_BC[row, coming_N] = free_F.nonzero()[: len(coming_N), 0]
        kept_N = keep_BC[row].nonzero()[:, 0]
        frames_BF[row, target_BC[row, kept_N]] = kept_N
    return target_BC, frames_BF


def planned(
    keep_BC: Tensor,
    frame_BC: Tensor,
    target_BC: Tensor,
    ids_BC: Tensor,
    tail: tuple[int, int, int],
) -> Moves:
    """The moves that bring every kept chunk to its target, from the device or from the store."""
    here_BC = keep_BC & (frame_BC >= 0)
    staying_BC = here_BC & (frame_BC == target_BC)
    moving_BC, coming_BC = here_BC & ~staying_BC, keep_BC & ~here_BC
    return Moves(
        rows_N=moving_BC.nonzero()[:, 0],
        sources_N=frame_BC[moving_BC],
        targets_N=target_BC[moving_BC],
        kept_rows_N=staying_BC.nonzero()[:, 0],
        kept_frames_N=frame_BC[staying_BC],
        recall_rows_N=coming_BC.nonzero()[:, 0],
        recall_ids_N=ids_BC[coming_BC],
        recall_targets_N=target_BC[coming_BC],
        tail=tail,
    )
