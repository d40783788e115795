"""What the verdicts of the gate are called, and what they mean.

meaning("outrun")
"""

from __future__ import annotations

from planish.methods.cowork.improving.patches import CODES

__all__ = ["REASONS", "meaning"]

REASONS = {
    "accepted": "the gain is above 0 by its lower bound, and no cell loses too much",
    "ungated": "promoted without being judged; only where the gate is switched off",
    "no_gain": "the mean gain is 0 or below",
    "doubted": "no gain on the first rung, and little lost: it may come once more",
    "noisy_tie": "no episode went another way, or the gain cannot be told from luck",
    "cell_regressed": "a cell loses more than its budget, or a watched one loses",
    "uncovered_cell": "episodes failed, so that a cell cannot be told",
    "outrun": "another patch of the round was better after a rung",
    "budget_spent": "the ticks that are left do not pay for the next rung",
    "smoke_failed": "the library does not get through a short episode on each layout",
    "seen_before": "this library was rejected before",
    "reverted": "accepted, and taken back when fresh seeds showed it to be worse",
    **CODES,
}
"""Every reason of a `GateResult`; the codes of `skills.Unsound` come on top."""


def meaning(reason: str) -> str:
    """A reason in words."""
    return REASONS.get(reason, "the library would not be sound")
