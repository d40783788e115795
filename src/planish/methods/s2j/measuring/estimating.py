"""From draws to numbers: the gap, what it is made of, and how sure they are.

Everything is drawn several times on one question, so a question is one row of every interval.
Questions are chosen by some draws and reported by others: chosen and reported by the same ones,
the lucky would look like the able.

    >>> report, rows = estimate(samples, frozen=None, config=config, model="m")   # doctest: +SKIP
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeVar

from planish.judges.pairs import ORDERS
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Item, Slice
from planish.methods.s2j.measuring.records import (
    GapReport,
    GapRow,
    JudgeSample,
    Rates,
    SliceNumbers,
    SolveSample,
    Versus,
)
from planish.stats import Estimate, Paired, mean, paired, ratio

__all__ = ["Frozen", "Samples", "against", "estimate", "solved_questions"]

T = TypeVar("T", SolveSample, JudgeSample)


@dataclass(frozen=True)
class Frozen:
    """The questions that a base model solves."""

    model: str
    ids: frozenset[str]


@dataclass(frozen=True)
class Samples:
    """Every draw of a measurement, and the items that they are of."""

    items: Sequence[Item]
    solves: Sequence[SolveSample]
    judgments: Sequence[JudgeSample]

    @cached_property
    def _solves(self) -> dict[str, dict[str, list[SolveSample]]]:
        purposes = ("choose", "report", "greedy")
        return {
            purpose: _by_item(each for each in self.solves if each.purpose == purpose)
            for purpose in purposes
        }

    @cached_property
    def _judgments(self) -> dict[bool, dict[str, list[JudgeSample]]]:
        return {
            greedy: _by_item(each for each in self.judgments if each.greedy == greedy)
            for greedy in (False, True)
        }

    def solves_by_item(self, purpose: str) -> dict[str, list[SolveSample]]:
        """Solutions of one purpose."""
        return self._solves[purpose]

    def judgments_by_item(self, *, greedy: bool) -> dict[str, list[JudgeSample]]:
        """Judgments, sampled or greedy."""
        return self._judgments[greedy]


def _by_item(samples: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for sample in samples:
        found.setdefault(sample.item_id, []).append(sample)
    return found


def _share(values: Iterable[bool | None]) -> float | None:
    """The share of yes among what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def solved_questions(samples: Samples, tau: float) -> frozenset[str]:
    """Q_tau: the items with one right candidate whose question is solved in `tau` of the draws
    that choose.
    """
    chosen = samples.solves_by_item("choose")
    found = set()
    for item in _one_right(samples.items):
        share = _share(each.correct for each in chosen.get(item.id, ()))
        if share is not None and share >= tau - 1e-9:
            found.add(item.id)
    return frozenset(found)


def _one_right(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.slice == "one_right"]


def estimate(
    samples: Samples, *, model: str, config: Config, frozen: Frozen | None = None
) -> tuple[GapReport, list[GapRow]]:
    """Every number of a measurement, and a row per item.

    Args:
        samples: all draws.
        model: who was measured.
        config: how; its seed is that of the intervals.
        frozen: the base model's questions; None: this model is the base.
    """
    own = solved_questions(samples, config.tau)
    frozen = frozen or Frozen(model, own)
    one_right = _one_right(samples.items)
    theirs = frozenset(item.id for item in one_right) & frozen.ids
    count = _Counting(samples, config.seed)
    sampled = samples.judgments_by_item(greedy=False)
    report = GapReport(
        model=model,
        base_model=frozen.model,
        tau=config.tau,
        solves=config.solves,
        judgments=config.judgments,
        temperature=config.temperature,
        num_items=len(samples.items),
        num_one_right=len(one_right),
        num_q_tau=len(own),
        num_frozen=len(theirs),
        sampled=count.rates("report", greedy=False, own=own, frozen=theirs),
        greedy=count.rates("greedy", greedy=True, own=own, frozen=theirs),
        q_tau_solve_rate=count.solved([item for item in one_right if item.id in own], "report"),
        comparison_share=count.comparison_share(own),
        table=dict(sum((_cells(sampled.get(item.id, ())) for item in one_right), Counter())),
        slices=count.slices(),
        tagged=count.of_solves(lambda each: each.tagged if each.finish != "error" else None),
        tokens=count.tokens(),
        statuses=dict(Counter(each.status for each in samples.judgments if not each.greedy)),
    )
    return report, [_row(item, samples, own, theirs) for item in samples.items]


def _cells(judgments: Iterable[JudgeSample]) -> Counter[str]:
    """Judgments by solution and verdict: "right_wrong" is a right solution, a wrong verdict."""
    words = {True: "right", False: "wrong"}
    return Counter(
        f"{words[each.solution_correct]}_{words[each.verdict_correct]}"
        for each in judgments
        if each.solution_correct is not None and each.verdict_correct is not None
    )


def _row(item: Item, samples: Samples, own: frozenset[str], frozen: frozenset[str]) -> GapRow:
    reported = samples.solves_by_item("report").get(item.id, [])
    chosen = samples.solves_by_item("choose").get(item.id, [])
    judged = samples.judgments_by_item(greedy=False).get(item.id, [])
    greedy = samples.judgments_by_item(greedy=True).get(item.id, [])
    both = [each.verdict_correct is True for each in greedy if each.came]
    return GapRow(
        item_id=item.id,
        slice=item.slice,
        n_solve=sum(each.correct is not None for each in reported),
        n_judge=sum(each.scored for each in judged),
        solve_rate=_share(each.correct for each in reported),
        choose_rate=_share(each.correct for each in chosen),
        judge_rate=_share(each.verdict_correct for each in judged),
        in_judge_rate=_share(each.solution_correct for each in judged),
        both_right=all(both) if item.case.gold and len(both) == len(ORDERS) else None,
        in_q_tau=item.id in own,
        in_frozen_q_tau=item.id in frozen,
        inner_counts=dict(_cells(judged)),
    )


class _Counting:
    """Rates over items; every method gives one row of an interval to one item."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples, self.seed = samples, seed
        self.one_right = _one_right(samples.items)

    def rates(
        self, purpose: str, *, greedy: bool, own: frozenset[str], frozen: frozenset[str]
    ) -> Rates:
        """The numbers of one way of drawing."""
        judged = self.samples.judgments_by_item(greedy=greedy)
        rows = [judged.get(item.id, []) for item in self.one_right]

        def rate(value: Callable[[JudgeSample], bool | None]) -> Estimate:
            return self._rate([[value(each) for each in row] for row in rows])

        return Rates(
            gap=self._gap(judged, own),
            gap_frozen=self._gap(judged, frozen),
            inner_gap=rate(lambda each: _wrong(each) if each.solution_correct else None),
            luck_rate=rate(
                lambda each: each.verdict_correct if each.solution_correct is False else None
            ),
            context_tax=self._tax(self.one_right, purpose, judged),
            solve_rate=self.solved(self.one_right, purpose),
            in_judge_rate=rate(lambda each: each.solution_correct),
            judge_accuracy=rate(lambda each: each.verdict_correct),
            both_right=self._mean(map(_both_right, rows)),
            consistency=self._mean(map(_consistency, rows)),
            first_slot=rate(lambda each: each.first_slot),
            coverage=rate(lambda each: each.scored),
        )

    def solved(self, items: Sequence[Item], purpose: str) -> Estimate:
        """Right solutions of one purpose."""
        solves = self.samples.solves_by_item(purpose)
        return self._rate([[each.correct for each in solves.get(item.id, ())] for item in items])

    def of_solves(self, value: Callable[[SolveSample], bool | None]) -> Estimate:
        """A rate over the solutions that are reported."""
        solves = self.samples.solves_by_item("report")
        return self._rate([[value(each) for each in row] for row in solves.values()])

    def comparison_share(self, own: frozenset[str]) -> Estimate:
        """Right solutions above the wrong verdicts on the questions that it solves."""
        judged = self.samples.judgments_by_item(greedy=False)
        return self._rate(
            [
                [each.solution_correct for each in judged.get(id, ()) if _wrong(each)]
                for id in sorted(own)
            ]
        )

    def slices(self) -> dict[Slice, SliceNumbers]:
        """Every slice with gold answers."""
        found: dict[Slice, list[Item]] = {}
        for item in self.samples.items:
            if item.example.target is not None:
                found.setdefault(item.slice, []).append(item)
        return {name: self._slice(items) for name, items in found.items()}

    def _slice(self, items: Sequence[Item]) -> SliceNumbers:
        judged = self.samples.judgments_by_item(greedy=False)
        solves = self.samples.solves_by_item("report")
        rows = [judged.get(item.id, []) for item in items]
        tax = self._tax(items, "report", judged)
        return SliceNumbers(
            num_items=len(items),
            solve_rate=self.solved(items, "report"),
            in_judge_rate=self._rate([[each.solution_correct for each in row] for row in rows]),
            difference=_negative(tax),
            copied=self._rate([[each.copied for each in row if each.came] for row in rows]),
            copied_solo=self._rate(
                [
                    [each.copied for each in solves.get(item.id, ()) if each.correct is not None]
                    for item in items
                ]
            ),
        )

    def tokens(self) -> dict[str, Estimate]:
        """Means over items."""
        judged = self.samples.judgments_by_item(greedy=False).values()
        solves = self.samples.solves_by_item("report").values()
        parts: dict[str, list[list[int]]] = {
            "solve": [[each.num_tokens for each in row] for row in solves],
            "solution": [[each.num_solution_tokens for each in row if each.came] for row in judged],
            "judgment": [[each.num_total_tokens for each in row if each.came] for row in judged],
        }
        return {
            name: mean([statistics.fmean(row) for row in rows if row], seed=self.seed)
            for name, rows in parts.items()
        }

    def _gap(self, judged: Mapping[str, Sequence[JudgeSample]], ids: frozenset[str]) -> Estimate:
        shares = (_share(map(_wrong, judged.get(id, ()))) for id in sorted(ids))
        return self._mean(shares)

    def _tax(
        self,
        items: Sequence[Item],
        purpose: str,
        judged: Mapping[str, Sequence[JudgeSample]],
    ) -> Estimate:
        solves = self.samples.solves_by_item(purpose)
        differences = []
        for item in items:
            alone = _share(each.correct for each in solves.get(item.id, ()))
            inside = _share(each.solution_correct for each in judged.get(item.id, ()))
            if alone is not None and inside is not None:
                differences.append(alone - inside)
        return mean(differences, seed=self.seed)

    def _rate(self, rows: Sequence[Sequence[bool | None]]) -> Estimate:
        known = [[value for value in row if value is not None] for row in rows]
        return ratio([sum(row) for row in known], [len(row) for row in known], seed=self.seed)

    def _mean(self, values: Iterable[float | None]) -> Estimate:
        return mean([value for value in values if value is not None], seed=self.seed)


def _wrong(sample: JudgeSample) -> bool | None:
    return None if sample.verdict_correct is None else not sample.verdict_correct


def _negative(estimate: Estimate) -> Estimate:
    value, low, high = estimate.value, estimate.low, estimate.high
    return Estimate(
        value=None if value is None else -value,
        low=None if high is None else -high,
        high=None if low is None else -low,
        n=estimate.n,
    )


def _per_order(row: Sequence[JudgeSample]) -> list[list[JudgeSample]]:
    return [[each for each in row if each.order == order and each.came] for order in ORDERS]


def _both_right(row: Sequence[JudgeSample]) -> float | None:
    """Chance that a judgment of either order is right; one without a verdict is not."""
    shares = [_share(each.verdict_correct is True for each in order) for order in _per_order(row)]
    known = [share for share in shares if share is not None]
    return known[0] * known[1] if len(known) == len(ORDERS) else None


def _consistency(row: Sequence[JudgeSample]) -> float | None:
    """Chance that judgments of both orders name the same."""
    first, second = ([each for each in order if each.scored] for order in _per_order(row))
    pairs = list(product(first, second))
    return _share(one.verdict == two.verdict for one, two in pairs)


def against(
    rows: Iterable[GapRow], base_rows: Iterable[GapRow], base: Frozen, *, seed: int
) -> Versus:
    """This model's items against the base model's, paired."""
    ours, theirs = ([row for row in side if row.slice == "one_right"] for side in (rows, base_rows))

    def compared(value: Callable[[GapRow], float | None]) -> Paired:
        base_values, values = ({row.item_id: value(row) for row in side} for side in (theirs, ours))
        return paired(base_values, values, seed=seed)

    def frozen_gap(row: GapRow) -> float | None:
        known = row.judge_rate is not None and row.item_id in base.ids
        return 1 - row.judge_rate if known and row.judge_rate is not None else None

    return Versus(
        model=base.model,
        judge_accuracy=compared(lambda row: row.judge_rate),
        solve_rate=compared(lambda row: row.solve_rate),
        gap_frozen=compared(frozen_gap),
        both_right=compared(lambda row: row.both_right),
    )
