"""Lists of n replies: how well picks agree with gold, and ratings of every reply on its own.

    judgments = ListwiseJudge(model, mode="cyclic").judgments(cases)
    print(list_agreement(cases, judgments).accuracy)

Where several replies are right, nothing can be picked: each reply is rated, and a prompt counts as
right when every right reply is rated above every wrong one (RewardBench 2's Ties).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from planish.judges.agreement import Mode, case_scores, cost_of, coverage_of
from planish.judges.base import Case, Judgment, letter
from planish.judges.scalar import is_scalar, rewards_of
from planish.records import BadInput, Cost, Record
from planish.stats import Estimate, ratio

__all__ = ["ListAgreement", "list_agreement", "rated_right", "rating_cases", "ratings_of"]


class ListAgreement(Record):
    """Judgments of lists against gold; rates lie in [0, 1] and carry their interval.

    Args:
        coverage: share of calls that brought a verdict.
        accuracy: the reply with most points is the gold one.
        every_order_right: every rotation, on its own, names the gold reply; None with one order.
        consistency: every rotation names the same reply; None with one order.
        first_slot_rate: decisive calls that named whatever stood in the first slot.
        fair_first_slot: what that is for a judge without a lean: 1/n, or 0.5 for duels.
        margin: how far the winner is ahead, in [0, 1], on average.
        counts: the numbers behind the rates.
        statuses: calls by status.
        by_subset: accuracy per subset.
    """

    mode: Mode
    num_cases: int
    coverage: Estimate
    accuracy: Estimate
    every_order_right: Estimate
    consistency: Estimate
    first_slot_rate: Estimate
    fair_first_slot: float | None
    margin: Estimate
    cost: Cost
    counts: dict[str, int]
    statuses: dict[str, int]
    by_subset: dict[str, Estimate]


def list_agreement(
    cases: Sequence[Case], judgments: Sequence[Judgment], *, mode: Mode = "honest", seed: int = 0
) -> ListAgreement:
    """Compares judgments of lists with the cases' gold.

    Args:
        cases: with the gold reply's letter.
        judgments: one per case, in the same order.
        mode: "official" counts every case, "honest" those that could be scored.
        seed: of the bootstrap.

    Raises:
        BadInput: no case, or a judgment of another case.
    """
    if not cases:
        raise BadInput("no case to compare with", where="list agreement")
    for case, judgment in zip(cases, judgments, strict=True):
        if case.id != judgment.case_id:
            raise BadInput(f"holds a judgment of {judgment.case_id}", where=f"case {case.id}")
    both = list(zip(cases, judgments, strict=True))
    right = [case_scores(case, judgment)["right"] for case, judgment in both]
    counted = [int(mode == "official" or score is not None) for score in right]
    orders = [_orders(case, judgment) for case, judgment in both]
    named = [[vote for vote in votes if vote is not None] for votes in orders]
    whole = [
        int(len(votes) > 1 and len(read) == len(votes))
        for votes, read in zip(orders, named, strict=True)
    ]
    several = [int(len(votes) > 1) for votes in orders] if mode == "official" else whole
    decisive, first, fair = _slots(judgments)

    def rate(tops: Sequence[float], bottoms: Sequence[int]) -> Estimate:
        return ratio(tops, bottoms, seed=seed)

    return ListAgreement(
        mode=mode,
        num_cases=len(cases),
        coverage=coverage_of([[judgment] for judgment in judgments], seed=seed),
        accuracy=rate([score or 0 for score in right], counted),
        every_order_right=rate(
            [
                int(bool(ok) and set(read) == {case.gold})
                for case, ok, read in zip(cases, whole, named, strict=True)
            ],
            several,
        ),
        consistency=rate(
            [int(bool(ok) and len(set(read)) == 1) for ok, read in zip(whole, named, strict=True)],
            several,
        ),
        first_slot_rate=rate(first, decisive),
        fair_first_slot=fmean(fair) if fair else None,
        margin=rate(
            [judgment.margin or 0.0 for judgment in judgments],
            [int(judgment.margin is not None) for judgment in judgments],
        ),
        cost=cost_of(judgments),
        counts={
            "right": sum(score == 1 for score in right),
            "wrong": sum(score == 0 for score in right),
            "unscored_cases": sum(score is None for score in right),
            "first_slot": sum(first),
            "decisive": sum(decisive),
        },
        statuses=dict(Counter(status for j in judgments for status in j.statuses)),
        by_subset=_by_subset(cases, right, counted, seed),
    )


def _orders(case: Case, judgment: Judgment) -> list[str | None]:
    """What each order that shows the whole list says, ties among its samples included."""
    by_order: dict[tuple[int, ...], list[str | None]] = {}
    for call, vote in zip(judgment.calls, judgment.votes, strict=True):
        if len(call.perm) == len(case.replies):
            by_order.setdefault(call.perm, []).append(vote)
    return [_most_named(votes) for votes in by_order.values()]


def _most_named(votes: Sequence[str | None]) -> str | None:
    counts = Counter(vote for vote in votes if vote is not None).most_common(2)
    if not counts:
        return None
    return "tie" if len(counts) == 2 and counts[0][1] == counts[1][1] else counts[0][0]


def _slots(judgments: Sequence[Judgment]) -> tuple[list[int], list[int], list[float]]:
    """Per judgment, decisive calls and those that named the first slot; of every call, 1/n."""
    decisive, first, fair = [], [], []
    for judgment in judgments:
        shown = [
            (call, vote)
            for call, vote in zip(judgment.calls, judgment.votes, strict=True)
            if len(call.perm) > 1  # a reply that is looked at alone stands in no slot
        ]
        votes = [(call, vote) for call, vote in shown if vote is not None and vote != "tie"]
        decisive.append(len(votes))
        first.append(sum(vote == letter(call.perm[0]) for call, vote in votes))
        fair += [1 / len(call.perm) for call, _ in shown]
    return decisive, first, fair


def _by_subset(
    cases: Sequence[Case], right: Sequence[int | None], counted: Sequence[int], seed: int
) -> dict[str, Estimate]:
    groups: dict[str, list[int]] = {}
    for index, case in enumerate(cases):
        if case.subset:
            groups.setdefault(case.subset, []).append(index)
    return {
        subset: ratio([right[i] or 0 for i in places], [counted[i] for i in places], seed=seed)
        for subset, places in sorted(groups.items())
    }


def rating_cases(case: Case) -> list[Case]:
    """One case per reply, to be rated alone: `tied:3#0`, `tied:3#1`, ..."""
    return [
        Case(
            example=case.example.model_copy(update={"id": f"{case.id}#{index}"}),
            replies=(reply,),
        )
        for index, reply in enumerate(case.replies)
    ]


def ratings_of(case: Case, judged: Mapping[str, Judgment]) -> tuple[float | None, ...]:
    """The ratings of a case's replies, from the judgments of its `rating_cases` by id.

    Of a reward head they are the rewards themselves, whose margins a benchmark may compare.
    """
    return tuple(_rating(judged[each.id]) for each in rating_cases(case))


def _rating(judgment: Judgment) -> float | None:
    if judgment.calls and is_scalar(judgment.calls[0].model):
        return rewards_of(judgment)[0]
    return judgment.score


def rated_right(ratings: Sequence[float | None], num_correct: int) -> int | None:
    """Whether every right reply (they come first) is above every wrong one; None: one is missing.

    >>> rated_right([0.9, 0.8, 0.1], 2), rated_right([0.9, 0.1, 0.1], 2), rated_right([None], 1)
    (1, 0, None)
    """
    known = [rating for rating in ratings if rating is not None]
    if len(known) < len(ratings):
        return None
    return int(min(known[:num_correct]) > max(known[num_correct:]))
