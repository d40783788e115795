"""Whoever proposes, asked one after the other until one has an idea.

panel = Panel([ModelProposer(...), EmbeddedProposer(...)], Budget(200_000, 20_000))
patches = panel.ask(work, library, journal)
panel.learn(results)
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.cowork.data import GateResult, Patch
from planish.methods.cowork.improving.proposing import Budget, Proposer
from planish.methods.cowork.improving.rounds import Journal, Round, Work
from planish.methods.cowork.skills import Library

__all__ = ["Panel"]


class Panel:
    """Proposers in the order in which they are asked.

    Args:
        budget: tokens that all of them share.
    """

    def __init__(self, proposers: Sequence[Proposer], budget: Budget) -> None:
        self.proposers, self.budget = tuple(proposers), budget

    def ask(self, work: Work, library: Library, journal: Journal) -> list[Patch]:
        """The patches of the first that has any; what the others said goes into the notes."""
        assert work.diagnosis is not None
        self.budget.begin_round()
        patches: list[Patch] = []
        for proposer in self.proposers:
            patches = proposer.propose(work.diagnosis, library, self.budget)
            exchanges = getattr(proposer, "exchanges", ())
            work.asked.append(len(exchanges))
            for index, exchange in enumerate(exchanges):
                journal.note("exchange", f"{work.round}/{index}", exchange)
            if patches:
                break
            if reason := getattr(proposer, "reason", ""):
                work.notes.append(f"{proposer.name}: {reason}")
        return patches

    @property
    def is_out_of_tokens(self) -> bool:
        """Whether nobody is left who could be asked: the only one has no tokens for a call."""
        only = self.proposers[0] if len(self.proposers) == 1 else None
        return str(getattr(only, "reason", "")).startswith("budget")

    def learn(self, results: Sequence[GateResult]) -> None:
        """Tells everybody what the gate said, whoever proposed it."""
        for result in results:
            for proposer in self.proposers:
                proposer.learn(result)

    def catch_up(self, row: Round, library: Library) -> None:
        """Brings everybody to where a finished round left them; no model is asked again.

        Args:
            library: the one that was in use in that round.
        """
        self.budget.begin_round()
        for proposer, calls in zip(self.proposers, row.asked, strict=False):
            if hasattr(proposer, "skip"):
                proposer.skip(calls)
            else:  # what it draws at random goes on where it was
                proposer.propose(row.diagnosis, library, self.budget)
        self.budget.spent = row.standing.tokens
