"""A benchmark as one file of cases, and everything that one judge's judgments say about it.

    bench = Bench("judgebench", read_pairs("pairs.jsonl"))
    result = bench_result(bench, judgments, {})
    print(result.accuracy, result.agreement.both_right)

A file may hold pairs, lists with one best reply, and prompts with several right replies
(RewardBench 2's Ties), whose replies are rated one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

from planish.judges.agreement import (
    Agreement,
    Mode,
    agreement,
    case_scores,
    cost_of,
    coverage_of,
)
from planish.judges.base import Case, Judgment, Status
from planish.judges.formats import RecordedOutput
from planish.judges.formats.leaderboard import leaderboard
from planish.judges.formats.rewardbench import output_credit
from planish.judges.lists import (
    ListAgreement,
    list_agreement,
    rated_right,
    rating_cases,
    ratings_of,
)
from planish.records import BadInput, Cost
from planish.stats import Estimate, ratio

__all__ = ["Bench", "BenchResult", "bench_result", "is_rated"]


def is_rated(case: Case) -> bool:
    """Whether several replies are right, so that each has to be rated."""
    return case.gold is None and "num_correct" in case.example.meta


@dataclass(frozen=True)
class Bench:
    """Cases of one file.

    Raises:
        BadInput: a case that has neither a gold reply nor several right ones.
    """

    name: str
    cases: Sequence[Case]

    def __post_init__(self) -> None:
        for case in self.cases:
            if not is_rated(case) and case.gold is None:
                raise BadInput(
                    "has no gold label",
                    where=f"{self.name}, case {case.id}",
                    fix="give every case a gold label",
                )

    @cached_property
    def pairs(self) -> list[Case]:
        """Cases of two replies."""
        return [case for case in self.cases if not is_rated(case) and len(case.replies) == 2]

    @cached_property
    def lists(self) -> list[Case]:
        """Cases of more replies, one of which is best."""
        return [case for case in self.cases if not is_rated(case) and len(case.replies) != 2]

    @cached_property
    def rated(self) -> list[Case]:
        """Cases with several right replies."""
        return [case for case in self.cases if is_rated(case)]

    @cached_property
    def ratings(self) -> list[Case]:
        """One case for each reply that has to be rated."""
        return [each for case in self.rated for each in rating_cases(case)]


@dataclass(frozen=True)
class BenchResult:
    """One judge on one bench; rates lie in [0, 1] and carry their interval.

    Args:
        accuracy: the outcome is the gold reply; of rated prompts, every right reply is above
            every wrong one.
        coverage: share of calls that brought a verdict or a rating.
        agreement: of the pairs, where there are any.
        lists: of the lists, where there are any.
        boards: RewardBench's own arithmetic in each mode; empty for other files.
        scores: name of a score -> case -> 1, 0, or None where it could not be scored.
        judgments: by case, and of rated prompts by `case#reply`.
    """

    mode: Mode
    num_cases: int
    unscored: int
    accuracy: Estimate
    coverage: Estimate
    agreement: Agreement | None
    lists: ListAgreement | None
    boards: dict[Mode, dict[str, Any]]
    scores: dict[str, dict[str, int | None]]
    statuses: dict[Status, int]
    cost: Cost
    judgments: Mapping[str, Judgment] = field(repr=False)

    @property
    def calls(self) -> int:
        """Every call, those asked for again included."""
        return sum(self.statuses.values())

    @property
    def lost(self) -> int:
        """Calls that brought no reply."""
        return self.statuses.get("transport", 0)


def bench_result(
    bench: Bench, judged: Mapping[str, Judgment], *, mode: Mode = "honest", seed: int = 0
) -> BenchResult:
    """What judgments say about a bench.

    Args:
        bench: the cases.
        judged: a judgment for every pair, list and rating, by its case's id.
        mode: what the rates are divided by, see `planish.judges.agreement`.
        seed: of the intervals.
    """
    scores = _scores(bench, judged)
    right = [scores["right"][case.id] for case in bench.cases]
    groups = [
        [judged[each.id] for each in (rating_cases(case) if is_rated(case) else [case])]
        for case in bench.cases
    ]
    flat = [judgment for group in groups for judgment in group]

    def of(cases: Sequence[Case]) -> list[Judgment]:
        return [judged[case.id] for case in cases]

    return BenchResult(
        mode=mode,
        num_cases=len(bench.cases),
        unscored=sum(score is None for score in right),
        accuracy=ratio(
            [score or 0 for score in right],
            [int(mode == "official" or score is not None) for score in right],
            seed=seed,
        ),
        coverage=coverage_of(groups, seed=seed),
        agreement=agreement(bench.pairs, of(bench.pairs), mode=mode, seed=seed)
        if bench.pairs
        else None,
        lists=list_agreement(bench.lists, of(bench.lists), mode=mode, seed=seed)
        if bench.lists
        else None,
        boards=_boards(bench, judged, seed),
        scores=scores,
        statuses=dict(Counter(status for judgment in flat for status in judgment.statuses)),
        cost=cost_of(flat),
        judgments=judged,
    )


def _scores(bench: Bench, judged: Mapping[str, Judgment]) -> dict[str, dict[str, int | None]]:
    scores: dict[str, dict[str, int | None]] = {"right": {}}
    for case in bench.cases:
        if is_rated(case):
            ratings = ratings_of(case, judged)
            scores["right"][case.id] = rated_right(ratings, _num_correct(case))
            continue
        for name, score in case_scores(case, judged[case.id]).items():
            scores.setdefault(name, {})[case.id] = score
    return scores


def _num_correct(case: Case) -> int:
    return int(str(case.example.meta["num_correct"]))


def _boards(bench: Bench, judged: Mapping[str, Judgment], seed: int) -> dict[Mode, dict[str, Any]]:
    matched = [
        (
            case,
            RecordedOutput(case_id=case.id, line=0, scores=ratings_of(case, judged))
            if is_rated(case)
            else RecordedOutput(case_id=case.id, line=0, judgment=judged[case.id]),
        )
        for case in bench.cases
    ]
    modes: tuple[Mode, ...] = get_args(Mode)
    boards = {mode: leaderboard(matched, output_credit, mode, seed=seed) for mode in modes}
    return {mode: board for mode, board in boards.items() if board}
