"""What was earned in the first and in the last steps, with intervals over items.

    earned = earnings(run.artifact("rewards.jsonl"), num_steps=200)
    earned.numbers()["judge_last"]

An item comes up several times in both orders; it is one row, whatever number of rollouts it has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from planish.methods.s2j.learning.rewarding import RewardRow, read_rewards
from planish.stats import Estimate, ratio

__all__ = ["WINDOW", "Earnings", "earnings"]

WINDOW = 10
"""Steps that are the first, and the last; fewer where both would meet."""

_NAMES = ("reward", "judge", "solve", "parse_rate", "tokens")
_SHOWN = 8


@dataclass
class _Sums:
    """Sum and count of one number per item."""

    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, item_id: str, value: float | None) -> None:
        if value is not None:
            self.sums[item_id] += value
            self.counts[item_id] += 1

    def estimate(self) -> Estimate:
        ids = list(self.sums)
        return ratio([self.sums[id] for id in ids], [float(self.counts[id]) for id in ids])


@dataclass(frozen=True)
class Earnings:
    """A file of rewards, summed up.

    Args:
        first: of the first steps, by name: reward, judge, solve, parse_rate and tokens of
            judgments; alone: right solutions of questions without candidates, if there were any.
        last: of the last ones.
        num_rollouts: in all.
        num_unknown: those that taught nothing, for nothing that is rewarded was known.
        num_unverified: those whose solution nobody could check.
        shown: some of the last step.
    """

    first: dict[str, Estimate]
    last: dict[str, Estimate]
    num_rollouts: int
    num_unknown: int
    num_unverified: int
    shown: Sequence[RewardRow]

    def numbers(self) -> dict[str, Any]:
        """As a summary has them."""
        return {
            **{
                f"{name}_{when}": values[name]
                for name in dict.fromkeys([*self.first, *self.last])
                for when, values in (("first", self.first), ("last", self.last))
                if name in values
            },
            "rollouts": self.num_rollouts,
            "without_reward": self.num_unknown,
            "unverified": self.num_unverified,
        }


def earnings(path: Path, *, num_steps: int) -> Earnings:
    """Sums a file of rewards up; it is read once, for it may be large."""
    window = max(1, min(WINDOW, num_steps // 2))
    first, last = _sides(), _sides()
    num_rollouts = num_unknown = num_unverified = 0
    shown: list[RewardRow] = []
    for row in read_rewards(path):
        num_rollouts += 1
        num_unknown += row.r_total is None
        num_unverified += bool(row.f) and row.s is None
        if row.step <= window:
            _add(first, row)
        if row.step > num_steps - window:
            _add(last, row)
        if row.step == num_steps and len(shown) < _SHOWN:
            shown.append(row)
    return Earnings(
        first=_estimates(first),
        last=_estimates(last),
        num_rollouts=num_rollouts,
        num_unknown=num_unknown,
        num_unverified=num_unverified,
        shown=shown,
    )


def _estimates(sums: dict[str, _Sums]) -> dict[str, Estimate]:
    return {name: each.estimate() for name, each in sums.items() if each.sums or name in _NAMES}


def _sides() -> dict[str, _Sums]:
    return {name: _Sums() for name in (*_NAMES, "alone")}


def _add(sums: dict[str, _Sums], row: RewardRow) -> None:
    if row.order == "alone":
        sums["alone"].add(row.item_id, row.s)
        return
    values = (row.r_total, row.j, row.s, row.f, float(row.num_tokens))
    for name, value in zip(_NAMES, values, strict=True):
        sums[name].add(row.item_id, value)
