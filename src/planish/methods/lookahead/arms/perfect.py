"""What no arm can beat: choices made from the future.

    OracleScorer(needed_BTC, mass_BTC, start_B)       what the dense model attends to next
    TaskOracleScorer(needed_BTC, start_B)             what the task says its answer needs next

`needed_BTC[:, t]` belongs to the token at position `start + t`: the last token of the prompt is
t = 0, and the rest is the dense model's own greedy continuation.

Shape suffixes: B rows, T tokens, C chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.methods.lookahead.arms.scorers import BaseScorer

if TYPE_CHECKING:
    from planish.models.memory.scoring import Moment

__all__ = ["OracleScorer", "TaskOracleScorer", "union"]


def union(needed_BTC: Tensor, first_B: Tensor, interval: int) -> Tensor:
    """How many of the `interval` tokens from `first` on need each chunk: shape (B, C), int.

    Tokens before the first and after the last one that is known need nothing.
    """
    num_tokens = needed_BTC.shape[1]
    token_T = torch.arange(num_tokens, device=needed_BTC.device)
    first_B = first_B.to(needed_BTC.device)
    inside_BT = (token_T >= first_B[:, None]) & (token_T < first_B[:, None] + interval)
    return (needed_BTC & inside_BT[:, :, None]).sum(1)


class OracleScorer(BaseScorer):
    """The chunks that the next `interval` tokens of a dense run need, by the labels' own rule.

    Where more are needed than may stay, those with most attention mass stay; where fewer, the
    room is filled by mass. A new choice acts from the next token, so token t sees t + 1 and on.

    Args:
        needed_BTC: bool, per token of the dense continuation.
        mass_BTC: attention mass of the same tokens, or None: the number of tokens in need.
        start_B: position of the first of these tokens.
    """

    name = "oracle"

    def __init__(self, needed_BTC: Tensor, mass_BTC: Tensor | None, start_B: Tensor) -> None:
        super().__init__()
        if mass_BTC is not None and mass_BTC.shape != needed_BTC.shape:
            raise BadInput(
                f"needs of shape {tuple(needed_BTC.shape)}, masses of {tuple(mass_BTC.shape)}",
                where=f"arm {self.name}",
            )
        self.needed_BTC, self.mass_BTC, self.start_B = needed_BTC, mass_BTC, start_B

    def _score(self, moment: Moment) -> Tensor:
        num_chunks, interval = moment.cache.num_chunks, self.budget.interval
        next_B = moment.positions_B.to(self.start_B.device) - self.start_B + 1
        counts_BC = union(self.needed_BTC, next_B, interval)
        weight_BC = counts_BC.float()
        if self.mass_BTC is not None:
            weight_BC = self._mass(next_B, interval)
        share_BC = weight_BC / weight_BC.amax(-1, keepdim=True).clamp(min=1e-20)
        low = self.budget.threshold
        scores_BC = torch.where(
            counts_BC > 0, low + (1 - low) * (0.01 + 0.99 * share_BC), low * 0.99 * share_BC
        )
        padded = torch.zeros(len(scores_BC), num_chunks, device=moment.positions_B.device)
        shared = min(num_chunks, scores_BC.shape[1])
        padded[:, :shared] = scores_BC[:, :shared].to(padded)
        return padded

    def _mass(self, next_B: Tensor, interval: int) -> Tensor:
        assert self.mass_BTC is not None
        token_T = torch.arange(self.mass_BTC.shape[1], device=self.mass_BTC.device)
        next_B = next_B.to(self.mass_BTC.device)
        inside_BT = (token_T >= next_B[:, None]) & (token_T < next_B[:, None] + interval)
        return (self.mass_BTC * inside_BT[:, :, None]).sum(1)

    def reorder(self, indices: Tensor) -> None:
        """Futures go with their rows."""
        super().reorder(indices)
        indices = indices.to(self.needed_BTC.device)
        self.needed_BTC, self.start_B = self.needed_BTC[indices], self.start_B[indices]
        if self.mass_BTC is not None:
            self.mass_BTC = self.mass_BTC[indices]


class TaskOracleScorer(OracleScorer):
    """The chunks that hold what the answer is made of, as the task tells it."""

    name = "oracle-task"

    def __init__(self, needed_BTC: Tensor, start_B: Tensor) -> None:
        super().__init__(needed_BTC, None, start_B)
