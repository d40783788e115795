"""Who proposes edits, and the tokens that proposing may cost.

    budget = Budget(total=200_000, per_round=20_000)
    if budget.reserve(worst_case):
        reply = ask()
        budget.settle(worst_case, reply.usage)

The worst case is set aside before a call and settled after it, so that a call is made only where
its whole cost fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from planish.methods.cowork.data import Diagnosis, GateResult, Patch
from planish.methods.cowork.skills import Library

__all__ = ["Budget", "History", "Proposer"]


class Budget:
    """Tokens for proposing, in total and per round.

    Attributes:
        spent: tokens settled until now.
        overrun: tokens that calls cost beyond their worst case. Zero, unless a server counts more
            tokens than a prompt has bytes; what it counted is charged all the same.
    """

    def __init__(self, total: int, per_round: int | None = None) -> None:
        if total < 0 or (per_round is not None and per_round < 0):
            raise ValueError("a budget cannot be negative")
        self.total = total
        self.per_round = total if per_round is None else per_round
        self.spent = 0
        self.overrun = 0
        self._held = 0
        self._before = 0

    @property
    def spent_in_round(self) -> int:
        """Tokens settled since the round began."""
        return self.spent - self._before

    @property
    def left(self) -> int:
        """Tokens that can be set aside now; never negative."""
        free = min(self.total - self.spent, self.per_round - self.spent_in_round)
        return max(0, free - self._held)

    def begin_round(self) -> None:
        """A new round has its own allowance; what the last one did not use is gone."""
        self._before = self.spent

    def reserve(self, tokens: int) -> bool:
        """Sets the worst case of one call aside; False, and nothing happens, if it does not fit."""
        if tokens < 0:
            raise ValueError("a call cannot cost fewer than 0 tokens")
        if tokens > self.left:
            return False
        self._held += tokens
        return True

    def settle(self, reserved: int, used: int) -> None:
        """Gives back what was set aside and charges what the call cost.

        Raises:
            ValueError: more is given back than was set aside, or a negative cost.
        """
        if not 0 <= reserved <= self._held or used < 0:
            raise ValueError(f"cannot settle {used} tokens of {reserved}: {self._held} are held")
        self._held -= reserved
        self.spent += used
        self.overrun += max(0, used - reserved)


@dataclass
class History:
    """What an evolution knows beyond the last round; the loop keeps it up to date.

    Args:
        anchor: the last library that total drift is measured from.
        original: the library that the evolution began with; its locked nodes stay.
        best: the best library until now, and its mean score.
        metrics: one mapping per round, oldest first.
    """

    anchor: Library | None = None
    original: Library | None = None
    best: Library | None = None
    best_score: float | None = None
    metrics: list[Mapping[str, float]] = field(default_factory=list)


class Proposer(Protocol):
    """Anything that proposes edits; the embedded one and a model are used in the same way."""

    @property
    def name(self) -> str:
        """Goes into the patches."""
        ...

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        """Patches of this library, the most promising first; none where it has no idea."""
        ...

    def learn(self, result: GateResult) -> None:
        """What the gate said of one of its patches."""
        ...
