"""What the arms come to: rates with intervals, and each arm against the first on the same items.

    results = compare(asked.rows, seed=0)
    results[1].accuracy_gain, results[1].p_holm

An item is one row, however often it was judged. What was not read is neither right nor wrong: it
is missing from accuracy, and its arm was not right in both orders. Differences are over the items
that both arms have verdicts for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from planish.methods.s2j.measuring.arms import NAMES, ArmRow, Baseline
from planish.methods.s2j.measuring.baselines import Asked
from planish.records import Record
from planish.stats import Estimate, McNemar, holm, mean, paired, ratio

__all__ = ["ArmResult", "compare", "summarize"]


class ArmResult(Record):
    """One arm.

    Args:
        arm: which one.
        num_items: how many were asked about.
        accuracy: verdicts that name the gold, both orders together.
        both_right: chance that a judgment of either order names it; unread is not right.
        coverage: calls that brought a verdict; of the vote, orders.
        first_slot: verdicts that name whatever stood first; 0.5 is fair.
        tokens: written to judge one item in both orders once, all calls before it included.
        prompt_tokens: read for it.
        accuracy_gain: accuracy minus the first arm's, per item.
        both_right_gain: likewise.
        num_compared: items behind `accuracy_gain`.
        mcnemar: exact test of the first judgments' both_right; `only_a` counts the first arm.
        p_holm: its p-value, adjusted for the number of arms that are compared.
        statuses: of the calls.
    """

    arm: Baseline
    num_items: int
    accuracy: Estimate
    both_right: Estimate
    coverage: Estimate
    first_slot: Estimate
    tokens: Estimate
    prompt_tokens: Estimate
    accuracy_gain: Estimate | None = None
    both_right_gain: Estimate | None = None
    num_compared: int = 0
    mcnemar: McNemar | None = None
    p_holm: float | None = None
    statuses: dict[str, int]

    @property
    def name(self) -> str:
        """As people read it."""
        return NAMES[self.arm]


def compare(rows: Mapping[Baseline, Sequence[ArmRow]], *, seed: int = 0) -> list[ArmResult]:
    """Every arm, and all but the first against the first."""
    first = next(iter(rows.values()))
    results = [_result(arm, found, first, seed) for arm, found in rows.items()]
    tested = [result for result in results if result.mcnemar is not None]
    adjusted = holm([result.mcnemar.p_value for result in tested if result.mcnemar is not None])
    by_arm = dict(zip((result.arm for result in tested), adjusted, strict=True))
    return [result.model_copy(update={"p_holm": by_arm.get(result.arm)}) for result in results]


def _result(arm: Baseline, rows: Sequence[ArmRow], first: Sequence[ArmRow], seed: int) -> ArmResult:
    calls = [[right for found in row.right.values() for right in found] for row in rows]
    read = [sum(right is not None for right in each) for each in calls]
    both = [chance for row in rows if (chance := _both(row)) is not None]
    gains: dict[str, Any] = {}
    if rows is not first:
        accuracy = paired(_by_item(first, _accuracy), _by_item(rows, _accuracy), seed=seed)
        both_right = paired(_by_item(first, _both), _by_item(rows, _both), seed=seed)
        gains = {
            "accuracy_gain": accuracy.difference,
            "both_right_gain": both_right.difference,
            "num_compared": accuracy.n,
            "mcnemar": paired(
                _by_item(first, _first_both), _by_item(rows, _first_both), seed=seed
            ).mcnemar,
        }
    return ArmResult(
        arm=arm,
        num_items=len(rows),
        accuracy=ratio([sum(right is True for right in each) for each in calls], read, seed=seed),
        both_right=ratio(both, [1.0] * len(both), seed=seed),
        coverage=ratio(read, [len(each) for each in calls], seed=seed),
        first_slot=ratio(
            [row.first_slot for row in rows], [row.decisive for row in rows], seed=seed
        ),
        tokens=mean([row.completion_tokens for row in rows], seed=seed),
        prompt_tokens=mean([row.prompt_tokens for row in rows], seed=seed),
        statuses=dict(sum((Counter(row.statuses) for row in rows), Counter[str]())),
        **gains,
    )


def _both(row: ArmRow) -> float | None:
    """Chance that a judgment of either order is right; None where a call was lost."""
    if row.lost:
        return None
    return math.prod(sum(map(bool, found)) / len(found) for found in row.right.values())


def _first_both(row: ArmRow) -> float | None:
    return None if row.lost else float(all(found[0] for found in row.right.values()))


def _accuracy(row: ArmRow) -> float | None:
    read = [right for found in row.right.values() for right in found if right is not None]
    return sum(read) / len(read) if read else None


def _by_item(rows: Sequence[ArmRow], score: Any) -> dict[str, float | None]:
    return {row.item_id: score(row) for row in rows}


def summarize(asked: Asked, results: Sequence[ArmResult], *, seed: int = 0) -> dict[str, Any]:
    """The numbers of a run, by the names that `--json` and run.json use."""
    found: dict[str, Any] = {"num_items": results[0].num_items}
    for result in results:
        names = ("accuracy", "both_right", "coverage", "first_slot", "tokens", "prompt_tokens")
        found |= {f"{result.arm}_{name}": getattr(result, name) for name in names}
        if result.accuracy_gain is not None:
            found |= {
                f"{result.arm}_accuracy_gain": result.accuracy_gain,
                f"{result.arm}_both_right_gain": result.both_right_gain,
                f"{result.arm}_num_compared": result.num_compared,
                f"{result.arm}_mcnemar": result.mcnemar and result.mcnemar.model_dump(),
                f"{result.arm}_p_holm": result.p_holm,
            }
    own = asked.rows["own_answer"]
    known = [row.reference_right for row in own if row.reference_right is not None]
    found["own_answer_solve_rate"] = ratio([int(right) for right in known], [1] * len(known))
    for name, wanted in (("right", True), ("wrong", False)):
        shown = [row for row in own if row.reference_right is wanted]
        found[f"own_answer_accuracy_where_{name}"] = _rate(shown, seed)
    found |= {
        "votes_per_order": asked.votes,
        "votes_capped": asked.capped,
        "vote_coins": sum(row.coins for row in asked.rows["vote"]),
        "tokens_are_words": asked.by_words,
        "statuses": {result.arm: result.statuses for result in results},
    }
    return found


def _rate(rows: Sequence[ArmRow], seed: int) -> Estimate:
    """Verdicts of some items that name the gold."""
    calls = [[right for found in row.right.values() for right in found] for row in rows]
    return ratio(
        [sum(right is True for right in each) for each in calls],
        [sum(right is not None for right in each) for each in calls],
        seed=seed,
    )
