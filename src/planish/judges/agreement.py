"""How well judgments agree with gold: accuracy, order, coverage, length, calibration, cost.

Two modes divide the same counts differently.

    official  every case counts, as JudgeBench does: what could not be read is not right
    honest    a case counts where the verdicts that the number needs are there; coverage says
              how many those are

Intervals are bootstrapped over cases: both orders of one case are one observation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from planish.judges.aggregate import vote_sum
from planish.judges.base import SCORED, Case, Judgment
from planish.records import BadInput, Cost, Record
from planish.stats import (
    Estimate,
    LengthSlope,
    brier,
    cohen_kappa,
    expected_calibration_error,
    krippendorff_alpha,
    length_slope,
    ratio,
)

__all__ = ["Agreement", "Mode", "agreement", "case_scores", "cost_of", "coverage_of"]

Mode = Literal["official", "honest"]


class Agreement(Record):
    """Judgments against gold. Every rate lies in [0, 1] and carries its interval.

    Args:
        coverage: share of calls that brought a verdict (an answer that was asked for again
            counts once).
        first_parse_rate: the same, before anything was asked for again.
        call_accuracy: calls with a verdict that name the gold reply, both orders together.
        vote_accuracy: the sign of the summed votes names the gold reply; a sum of 0 does not.
        accuracy: the judgment's own outcome (by its aggregation) is the gold one.
        both_right: every order, on its own, names the gold reply.
        consistency: every order says the same, ties included.
        order_alpha: Krippendorff's alpha between the orders, A / B / tie as categories.
        margin: how far the winner is ahead, in [0, 1], on average.
        first_slot_rate: decisive calls that named whatever stood in the first slot; 0.5 is fair.
        tie_rate: calls that said tie, among those with a verdict.
        kappa: Cohen's kappa between outcome and gold; None where gold is always the same.
        length_slope: sway of length on the choice, gold controlled; 0 is none.
        calibration_error, brier: of the judgments' share for reply A.
        counts: the numbers behind the rates.
        statuses: calls by status.
        by_subset: vote accuracy per subset.
    """

    mode: Mode
    num_cases: int
    coverage: Estimate
    first_parse_rate: Estimate
    call_accuracy: Estimate
    vote_accuracy: Estimate
    accuracy: Estimate
    both_right: Estimate
    consistency: Estimate
    first_slot_rate: Estimate
    tie_rate: Estimate
    margin: Estimate
    order_alpha: float | None
    kappa: Estimate
    length_slope: LengthSlope
    calibration_error: float | None
    brier: float | None
    cost: Cost
    counts: dict[str, int]
    statuses: dict[str, int]
    by_subset: dict[str, Estimate]


class _Row:
    """What one case contributes: a few small integers, so that the sums stay cheap."""

    __slots__ = (
        "all_scored",
        "both_right",
        "by_order",
        "decisive",
        "first_read",
        "first_slot",
        "outcome_right",
        "right",
        "same",
        "scored",
        "slots",
        "ties",
        "vote",
        "vote_right",
    )

    def __init__(self, gold: str, judgment: Judgment) -> None:
        by_order: dict[tuple[int, ...], list[str | None]] = {}
        self.slots = self.scored = self.first_read = 0
        self.decisive = self.first_slot = self.ties = self.right = 0
        for call, vote, status in zip(
            judgment.calls, judgment.votes, judgment.statuses, strict=True
        ):
            self.slots += call.attempt == 0
            by_order.setdefault(call.perm, []).append(vote)
            if status not in SCORED:
                continue
            self.scored += 1
            self.first_read += call.attempt == 0
            self.right += vote == gold
            if vote == "tie":
                self.ties += 1
            elif vote is not None:
                self.decisive += 1
                self.first_slot += ord(vote) - ord("A") == call.perm[0]
        self.vote = _named(judgment.votes)
        self.vote_right = self.vote == gold
        self.by_order = outcomes = [_named(votes) for votes in by_order.values()]
        several = len(outcomes) > 1
        self.all_scored = several and None not in outcomes
        self.both_right = several and all(outcome == gold for outcome in outcomes)
        self.same = self.all_scored and len(set(outcomes)) == 1
        self.outcome_right = judgment.outcome == gold


def _named(votes: Sequence[str | None]) -> str | None:
    """What a group of votes adds up to; None where none of them could be read."""
    if all(vote is None for vote in votes):
        return None
    total = vote_sum(votes)
    return "A" if total > 0 else "B" if total < 0 else "tie"


def agreement(
    cases: Sequence[Case],
    judgments: Sequence[Judgment],
    *,
    mode: Mode = "honest",
    seed: int = 0,
    confidence: float = 0.95,
) -> Agreement:
    """Compares pairwise judgments with the cases' gold.

    Args:
        cases: with gold "A", "B" or "tie".
        judgments: one per case, in the same order.
        mode: what the rates are divided by, see the module.
        seed: of the bootstrap.
        confidence: of the intervals of the rates.

    Raises:
        BadInput: no case, or a case without gold or with a judgment of another case.
    """
    golds = _golds(cases, judgments)
    rows = [_Row(gold, judgment) for gold, judgment in zip(golds, judgments, strict=True)]
    everyone = [1] * len(rows)
    official = mode == "official"
    several = [any(len({c.perm for c in j.calls}) > 1 for j in judgments)] * len(rows)
    voted = everyone if official else [int(row.vote is not None) for row in rows]
    judged = everyone if official else [int(j.score is not None) for j in judgments]
    paired = [int(flag) for flag in several] if official else [int(row.all_scored) for row in rows]

    def rate(tops: Sequence[float], bottoms: Sequence[int]) -> Estimate:
        return ratio(tops, bottoms, seed=seed, confidence=confidence)

    scored = [row.scored for row in rows]
    return Agreement(
        mode=mode,
        num_cases=len(rows),
        coverage=rate(scored, [row.slots for row in rows]),
        first_parse_rate=rate([row.first_read for row in rows], [row.slots for row in rows]),
        call_accuracy=rate([row.right for row in rows], scored),
        vote_accuracy=rate([int(row.vote_right) for row in rows], voted),
        accuracy=rate([int(row.outcome_right) for row in rows], judged),
        both_right=rate(
            [int(row.both_right and ok) for row, ok in zip(rows, paired, strict=True)], paired
        ),
        consistency=rate([int(row.same) for row in rows], paired),
        first_slot_rate=rate([row.first_slot for row in rows], [row.decisive for row in rows]),
        tie_rate=rate([row.ties for row in rows], scored),
        margin=rate(
            [judgment.margin or 0.0 for judgment in judgments],
            [int(judgment.margin is not None) for judgment in judgments],
        ),
        order_alpha=krippendorff_alpha(_by_order(rows)) if any(several) else None,
        kappa=_kappa(golds, judgments, seed, confidence),
        length_slope=_length_slope(cases, golds, judgments),
        **_calibration(golds, judgments),
        cost=cost_of(judgments),
        counts=_counts(rows),
        statuses=dict(Counter(status for j in judgments for status in j.statuses)),
        by_subset=_by_subset(cases, rows, voted, seed, confidence),
    )


def case_scores(case: Case, judgment: Judgment) -> dict[str, int | None]:
    """One case as 0 and 1; None where the verdicts that a score needs are not there.

    Returns:
        `right`, by the judgment's outcome, and `both_right` for a pair asked in both orders.
    """
    gold = case.gold or ""
    scores = {"right": None if judgment.score is None else int(judgment.outcome == gold)}
    row = _Row(gold, judgment) if len(case.replies) == 2 else None
    if row is not None and len(row.by_order) > 1:
        scores["both_right"] = int(row.both_right) if row.all_scored else None
    return scores


def coverage_of(judgments: Sequence[Sequence[Judgment]], *, seed: int = 0) -> Estimate:
    """Share of calls that brought a verdict or a rating, over cases with one or more judgments."""
    scored = [
        sum(status in SCORED for judgment in case for status in judgment.statuses)
        for case in judgments
    ]
    slots = [
        sum(call.attempt == 0 for judgment in case for call in judgment.calls) for case in judgments
    ]
    return ratio(scored, slots, seed=seed)


def cost_of(judgments: Iterable[Judgment]) -> Cost:
    """What the calls of judgments cost together."""
    return Cost.of(call.completion for judgment in judgments for call in judgment.calls)


def _golds(cases: Sequence[Case], judgments: Sequence[Judgment]) -> list[str]:
    if not cases:
        raise BadInput("no case to compare with", where="agreement")
    golds = []
    for case, judgment in zip(cases, judgments, strict=True):
        if case.id != judgment.case_id:
            raise BadInput(f"holds a judgment of {judgment.case_id}", where=f"case {case.id}")
        if len(case.replies) != 2:
            raise BadInput(
                f"holds {len(case.replies)} replies; these metrics are about pairs",
                where=f"case {case.id}",
            )
        if case.gold not in ("A", "B", "tie"):
            raise BadInput(
                "has no gold label", where=f"case {case.id}", fix='give it "A", "B" or "tie"'
            )
        golds.append(case.gold)
    return golds


def _counts(rows: Sequence[_Row]) -> dict[str, int]:
    right = sum(row.vote_right for row in rows)
    zero = sum(row.vote in (None, "tie") and not row.vote_right for row in rows)
    return {
        "vote_right": right,
        "vote_wrong": len(rows) - right - zero,
        "vote_zero": zero,
        "both_right": sum(row.both_right for row in rows),
        "same_decision": sum(row.same for row in rows),
        "both_scored": sum(row.all_scored for row in rows),
        "first_slot": sum(row.first_slot for row in rows),
        "decisive": sum(row.decisive for row in rows),
        "unscored": sum(row.slots - row.scored for row in rows),
        "calls": sum(row.slots for row in rows),
    }


def _by_order(rows: Sequence[_Row]) -> list[list[str | None]]:
    """One rater per order: what it said about every case."""
    orders = max(len(row.by_order) for row in rows)
    return [
        [row.by_order[order] if order < len(row.by_order) else None for row in rows]
        for order in range(orders)
    ]


def _kappa(
    golds: Sequence[str], judgments: Sequence[Judgment], seed: int, confidence: float
) -> Estimate:
    pairs = [
        (gold, judgment.outcome)
        for gold, judgment in zip(golds, judgments, strict=True)
        if judgment.outcome is not None
    ]
    # With one gold label there is no agreement beyond chance to speak of.
    if len({gold for gold, _ in pairs}) < 2:
        return Estimate(value=None)
    return cohen_kappa(
        [gold for gold, _ in pairs], [said for _, said in pairs], seed=seed, confidence=confidence
    )


def _length_slope(
    cases: Sequence[Case], golds: Sequence[str], judgments: Sequence[Judgment]
) -> LengthSlope:
    rows = [
        (judgment.outcome == "A", len(case.replies[0]), len(case.replies[1]), gold)
        for case, gold, judgment in zip(cases, golds, judgments, strict=True)
        if judgment.outcome in ("A", "B") and all(case.replies)
    ]
    return length_slope(
        [chose for chose, *_ in rows],
        [float(a) for _, a, _, _ in rows],
        [float(b) for _, _, b, _ in rows],
        [gold for *_, gold in rows],
    )


def _calibration(golds: Sequence[str], judgments: Sequence[Judgment]) -> dict[str, float | None]:
    rows = [
        (judgment.score, float(gold == "A"))
        for gold, judgment in zip(golds, judgments, strict=True)
        if judgment.score is not None and gold in ("A", "B")
    ]
    shares, outcomes = [share for share, _ in rows], [outcome for _, outcome in rows]
    return {
        "calibration_error": expected_calibration_error(shares, outcomes),
        "brier": brier(shares, outcomes),
    }


def _by_subset(
    cases: Sequence[Case], rows: Sequence[_Row], voted: Sequence[int], seed: int, confidence: float
) -> dict[str, Estimate]:
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        if case.subset:
            groups.setdefault(case.subset, []).append(index)
    return {
        subset: ratio(
            [int(rows[index].vote_right) for index in indices],
            [voted[index] for index in indices],
            seed=seed,
            confidence=confidence,
        )
        for subset, indices in sorted(groups.items())
    }
