"""Several judges as one: by majority, or one judge per case in turn.

Panel([small_judge, other_judge, third_judge]).judge(cases)
Panel(judges, mode="cyclic").judge(cases)     # the price of one judge, the taste of three
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from planish.judges.base import Case, Judgment, verdict_of
from planish.judges.prompted import PairwiseJudge
from planish.records import BadInput, Verdict

__all__ = ["Panel"]


class Panel:
    """A panel of pairwise judges.

    Args:
        judges: at least two.
        mode: "vote" takes the majority of the judges' outcomes and asks a judge only about the
            cases that it could still change; "cyclic" gives every case to one judge, by a hash
            of its id, so that the same case meets the same judge in every run.
    """

    def __init__(
        self, judges: Sequence[PairwiseJudge], mode: Literal["vote", "cyclic"] = "vote"
    ) -> None:
        if len(judges) < 2:
            raise BadInput("a panel needs at least two judges", where="panel")
        self.judges, self.mode = list(judges), mode

    @property
    def name(self) -> str:
        """The judges' names."""
        return f"panel of {', '.join(judge.name for judge in self.judges)}"

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """One verdict per case; `score` is reply A's share of the judges."""
        return [verdict_of(judgment, self.name) for judgment in self.judgments(cases)]

    def judgments(self, cases: Sequence[Case]) -> list[Judgment]:
        """One judgment per case, with the calls of every judge that was asked."""
        heard: dict[str, list[Judgment]] = {case.id: [] for case in cases}
        for turn, judge in enumerate(self.judges):
            for judgment in judge.judgments(self._share(cases, heard, turn)):
                heard[judgment.case_id].append(judgment)
        return [_pooled(case.id, heard[case.id]) for case in cases]

    def _share(
        self, cases: Sequence[Case], heard: dict[str, list[Judgment]], turn: int
    ) -> list[Case]:
        """The cases that this judge is asked about."""
        if self.mode == "cyclic":
            return [case for case in cases if _hashed(case.id) % len(self.judges) == turn]
        remaining = len(self.judges) - turn
        return [case for case in cases if abs(_lead(heard[case.id])) <= remaining]


def _hashed(case_id: str) -> int:
    return int.from_bytes(
        hashlib.sha256(case_id.encode("utf-8", "surrogatepass")).digest()[:8], "big"
    )


def _lead(judgments: Sequence[Judgment]) -> int:
    return sum((each.outcome == "A") - (each.outcome == "B") for each in judgments)


def _pooled(case_id: str, judgments: Sequence[Judgment]) -> Judgment:
    scored = [judgment for judgment in judgments if judgment.score is not None]
    lead = _lead(scored)
    consistent = [each.consistent for each in judgments if each.consistent is not None]
    return Judgment(
        case_id=case_id,
        outcome=("A" if lead > 0 else "B" if lead < 0 else "tie") if scored else None,
        score=0.5 + lead / (2 * len(scored)) if scored else None,
        margin=abs(lead) / len(scored) if scored else None,
        consistent=all(consistent) if consistent else None,
        votes=tuple(vote for each in judgments for vote in each.votes),
        statuses=tuple(status for each in judgments for status in each.statuses),
        calls=tuple(call for each in judgments for call in each.calls),
    )
