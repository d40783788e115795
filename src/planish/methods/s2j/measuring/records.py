"""What is kept of a measurement: every draw, every item, and the numbers.

A part that nobody can know is None: a call that brought no reply, a grader that failed, an item
without a gold answer. A reply without an answer in it is not solved, and one without a verdict is
not scored.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from planish.judges.base import SCORED, Status
from planish.judges.pairs import Order
from planish.methods.s2j.data import Slice
from planish.records import Record
from planish.stats import Estimate, Paired

__all__ = [
    "KINDS",
    "GapReport",
    "GapRow",
    "Intervention",
    "InterventionReport",
    "JudgeSample",
    "Kind",
    "KindNumbers",
    "Purpose",
    "Rates",
    "SliceNumbers",
    "SolveSample",
    "Versus",
]

Purpose = Literal["choose", "report", "greedy"]
Finish = Literal["stop", "length", "error"]

Kind = Literal["swap", "corrupt", "remove", "gold", "same"]

KINDS: dict[Kind, str] = {
    "swap": "the solution of the candidate that the verdict did not name",
    "corrupt": "a wrong solution that fits neither candidate",
    "remove": "nothing between the marks",
    "gold": "the right candidate's solution",
    "same": "its own solution again (control)",
}
"""What is put in the place of a judgment's own solution."""


class SolveSample(Record):
    """One solution, drawn without any candidate in sight.

    Args:
        purpose: to choose the questions that count as solved, to report the rate, or greedy.
        answer: as the grader read it.
        correct: None where no reply came or the grader failed.
        tagged: whether the answer stood inside the marks that were asked for.
        copied: whether it answers as a wrong candidate does, which it never saw.
    """

    item_id: str
    purpose: Purpose
    sample_idx: int
    seed: int | None
    text: str
    answer: str | None = None
    correct: bool | None
    finish: Finish
    temperature: float
    tagged: bool = True
    copied: bool = False
    num_tokens: int = 0
    why: str = ""


class JudgeSample(Record):
    """One judgment with a solution of its own.

    Args:
        order: which candidate stood first.
        solution: between the marks; None where there is none.
        solution_correct: None where no reply came, the grader failed, or there is no gold answer.
        verdict: in the frame of the case; None where there is none.
        verdict_correct: None where there is no verdict, or no right one.
        num_solution_tokens: told from the solution's share of the words.
        copied: whether the solution answers as a wrong candidate does.
    """

    item_id: str
    order: Order
    sample_idx: int
    greedy: bool = False
    seed: int | None
    text: str
    solution: str | None
    solution_correct: bool | None
    verdict: str | None
    verdict_correct: bool | None
    status: Status
    num_solution_tokens: int
    num_total_tokens: int
    copied: bool
    temperature: float
    why: str = ""

    @property
    def scored(self) -> bool:
        """Whether it holds a verdict."""
        return self.status in SCORED

    @property
    def came(self) -> bool:
        """Whether there was a reply at all."""
        return self.status != "transport"

    @property
    def first_slot(self) -> bool | None:
        """Whether the verdict names the first slot; None without a decision."""
        return self.verdict == self.order[0] if self.verdict in ("A", "B") else None


class GapRow(Record):
    """One item, all of its draws together.

    Args:
        n_solve, n_judge: solutions of the report that could be graded, judgments with a verdict.
        solve_rate: of the report's draws.
        choose_rate: of the draws that decide whether it counts as solved.
        judge_rate: right verdicts among those that were read.
        in_judge_rate: right solutions among the judgments that came.
        both_right: whether the greedy verdicts of both orders are right.
        inner_counts: judgments by solution (right, wrong) and verdict (right, wrong).
    """

    item_id: str
    slice: Slice
    n_solve: int
    n_judge: int
    solve_rate: float | None
    choose_rate: float | None
    judge_rate: float | None
    in_judge_rate: float | None
    both_right: bool | None
    in_q_tau: bool
    in_frozen_q_tau: bool
    inner_counts: dict[str, int]


class Rates(Record):
    """The numbers of one way of drawing, over the items with one right candidate.

    Args:
        gap: wrong verdicts on the questions that the model itself solves (Q_tau).
        gap_frozen: wrong verdicts on the questions that the base model solves.
        inner_gap: wrong verdicts among the judgments whose own solution is right.
        luck_rate: right verdicts among the judgments whose own solution is wrong.
        context_tax: by how much the solution suffers from the candidates.
        solve_rate: right solutions without candidates; `in_judge_rate`: inside judgments.
        judge_accuracy: right verdicts among those that were read.
        both_right: chance that a judgment of either order is right; unread is not right.
        consistency: chance that judgments of both orders name the same candidate.
        first_slot: verdicts for the first slot among the decided.
        coverage: judgments with a verdict, among all.
    """

    gap: Estimate
    gap_frozen: Estimate
    inner_gap: Estimate
    luck_rate: Estimate
    context_tax: Estimate
    solve_rate: Estimate
    in_judge_rate: Estimate
    judge_accuracy: Estimate
    both_right: Estimate
    consistency: Estimate
    first_slot: Estimate
    coverage: Estimate


class SliceNumbers(Record):
    """What a model solves with such candidates in sight, and whom it copies.

    Args:
        copied: solutions inside judgments that answer as a wrong candidate does.
        copied_solo: the same of solutions by a model that never saw the candidates.
    """

    num_items: int
    solve_rate: Estimate
    in_judge_rate: Estimate
    difference: Estimate
    copied: Estimate
    copied_solo: Estimate


class Intervention(Record):
    """A judgment that went on from another solution than its own.

    Args:
        inserted: what was put in.
        named: the candidate whose solution that is, if it is one's.
        agrees: whether the judge's own solution had the same answer: nothing new was put in.
        followed: whether the new verdict names that candidate.
        right: whether it is the right one; None where it could not be read.
        text: what the model wrote behind the solution.
        why: why there is no verdict.
    """

    item_id: str
    order: Order
    kind: Kind
    inserted: str
    named: str | None
    agrees: bool
    verdict_before: str
    verdict_after: str | None
    followed: bool | None
    right: bool | None
    text: str
    why: str = ""

    @property
    def changed(self) -> bool | None:
        """Whether the verdict is another one; None where it could not be read."""
        return None if self.verdict_after is None else self.verdict_after != self.verdict_before


class KindNumbers(Record):
    """What one kind of intervention did."""

    num_items: int
    num_made: int
    read: Estimate
    changed: Estimate
    right: Estimate
    followed: Estimate


class InterventionReport(Record):
    """Whether verdicts follow the solution above them.

    Args:
        follow_rate: verdicts that name the candidate whose solution was put in, where the verdict
            had named the other one. A decorative solution scores near 0.
        switch_rate: the same where the judge's own solution had another answer. Where it had the
            same, the verdict went against its solution before and does so again: a judge with a
            smaller inner gap has a higher follow rate, but not for that a higher switch rate.
        left_out: why an intervention could not be made -> how often.
    """

    follow_rate: Estimate = Estimate(value=None)
    switch_rate: Estimate = Estimate(value=None)
    kinds: dict[Kind, KindNumbers] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)


class Versus(Record):
    """This model against the base model on the items that both were measured on."""

    model: str
    judge_accuracy: Paired
    solve_rate: Paired
    gap_frozen: Paired
    both_right: Paired


class GapReport(Record):
    """The numbers of a measurement.

    Args:
        tau, solves, judgments, temperature: how they were made (solves is K, judgments is M).
        base_model: whose questions are the frozen ones.
        num_q_tau, num_frozen: of the questions that the gaps are from.
        q_tau_solve_rate: solved questions in fresh draws: 1 but for those chosen by luck.
        comparison_share: of the wrong verdicts on questions that the model solves, those below a
            right solution of its own: it knew, and compared wrongly.
        table: sampled judgments by solution and verdict.
        tagged: solutions that stood inside the marks that were asked for.
        tokens: means of a solution, of the solution inside a judgment, and of a judgment.
    """

    model: str
    base_model: str
    tau: float
    solves: int
    judgments: int
    temperature: float
    num_items: int
    num_one_right: int
    num_q_tau: int
    num_frozen: int
    sampled: Rates
    greedy: Rates
    q_tau_solve_rate: Estimate
    comparison_share: Estimate
    table: dict[str, int]
    slices: dict[Slice, SliceNumbers]
    tagged: Estimate
    tokens: dict[str, Estimate]
    statuses: dict[str, int]
    interventions: InterventionReport = InterventionReport()
    versus: Versus | None = None
