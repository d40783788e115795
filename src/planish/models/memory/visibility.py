"""Which slots a new token may see: padding, absent chunks, and the order of what is new.

Shape suffixes: B rows, L history, F frames, T tokens of a chunk, S slots, Q new tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from planish.models.memory.layout import Layout

__all__ = ["Visibility"]


class Visibility:
    """The masks of a cache.

    Padding at the left is no part of the history. Padding behind it, as between two turns of a
    batch, has places and positions as tokens have, and is seen by none.

    Args:
        layout: what lies where.

    Attributes:
        padding_B: on the host, padding tokens at the left of each row; empty before any mask.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.padding_B = torch.zeros(0, dtype=torch.int64)
        self._holes_BL: Tensor | None = None
        self._known = layout.order
        self._index_BS: Tensor | None = None
        self._partial = False

    @property
    def has_padding(self) -> bool:
        """Whether there is padding, at the left or within."""
        return self._holes_BL is not None or bool(self.padding_B.any())

    def read(self, attention_mask_BL: Tensor | None, rows: int) -> None:
        """Reads the padding off a mask of all tokens so far; None: there is none."""
        self.padding_B, self._holes_BL = torch.zeros(rows, dtype=torch.int64), None
        if attention_mask_BL is None:
            return
        absent_BL = ~attention_mask_BL.bool()
        self.padding_B = absent_BL.int().cumprod(1).sum(1).cpu()
        index_L = torch.arange(absent_BL.shape[1], device=absent_BL.device)
        holes_BL = absent_BL & (index_L >= self.padding_B[:, None].to(index_L.device))
        if bool(holes_BL.any()):
            self._holes_BL = holes_BL

    def padding(self, rows: int) -> Tensor:
        """`padding_B`; none, where no mask was ever read."""
        return self.padding_B if len(self.padding_B) else torch.zeros(rows, dtype=torch.int64)

    def padded_chunks(self, rows: int, chunks: int) -> Tensor:
        """Chunks that hold padding alone: bool (B, C), on the host."""
        ends_C = (torch.arange(chunks) + 1) * self._layout.chunk_tokens
        return ends_C <= self.padding(rows)[:, None]

    def needs_mask(self, queries: int) -> bool:
        """Whether any of the new tokens must not see one of the slots."""
        self._follow()
        return queries > 1 or self._partial or self._holes_BL is not None

    def mask(self, length: int, queries: int, rows: int, device: torch.device) -> Tensor:
        """Bool (B, 1, Q, S): each new token sees the resident set, and the tail up to itself."""
        order, end = self._layout.order, length + queries
        begin = order.tail_chunk * order.chunk_tokens
        index_BS = torch.arange(begin, end, device=device).expand(rows, -1)
        if order.num_frames:
            index_BS = torch.cat([self._frame_index(device), index_BS], dim=1)
        # A slot that holds nothing has index -1, which is before any row's first token.
        seen_BS = index_BS >= self.padding(rows).to(device)[:, None]
        if self._holes_BL is not None:
            known = self._holes_BL.shape[1]
            holes_BL = self._holes_BL.to(device)
            holes_BS = holes_BL.gather(1, index_BS.clamp(min=0, max=known - 1))
            seen_BS = seen_BS & ~(holes_BS & (index_BS < known))
        query_Q = torch.arange(length, end, device=device)
        return (seen_BS[:, None] & (index_BS[:, None] <= query_Q[:, None]))[:, None]

    def change_rows(self, indices_B: Tensor) -> None:
        """Row i is from now on what row `indices[i]` was; the layout's rows too."""
        if len(self.padding_B):
            self.padding_B = self.padding_B[indices_B]
        if self._holes_BL is not None:
            self._holes_BL = self._holes_BL[indices_B.to(self._holes_BL.device)]
        self._index_BS = None

    def crop(self, length: int) -> None:
        """Only so many tokens are left."""
        if self._holes_BL is not None:
            self._holes_BL = self._holes_BL[:, :length] if length else None
        self.padding_B = self.padding_B.clamp(max=length)

    def _follow(self) -> None:
        """Chunks may lie elsewhere than when it was last asked."""
        order = self._layout.order
        if order is self._known:
            return
        padding_B1 = self.padding(len(order.frames_BF))[:, None]
        starts_BF = order.frames_BF * order.chunk_tokens
        tail = order.tail_chunk * order.chunk_tokens
        self._partial = bool((starts_BF < padding_B1).any()) or bool((padding_B1 > tail).any())
        self._index_BS, self._known = None, order

    def _frame_index(self, device: torch.device) -> Tensor:
        """Index of each slot before the tail, -1 where it holds nothing: shape (B, S)."""
        self._follow()
        if self._index_BS is None:
            frames_BF1 = self._layout.order.frames_BF[:, :, None]
            tokens = self._layout.chunk_tokens
            index_BFT = frames_BF1 * tokens + torch.arange(tokens)
            self._index_BS = index_BFT.masked_fill(frames_BF1 < 0, -1).flatten(1).to(device)
        return self._index_BS
