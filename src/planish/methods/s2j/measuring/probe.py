"""A gap in two seconds: the demonstration's measurement, of one model after another.

    before = probe("embedded:reasoner", items, config, step=step)
    after = probe("hf:./judge", items, config, frozen=before.questions, step=step)
    change(before, after, "gap")           # over the same questions, paired

Draws, estimates and interventions are those of stage `gap`, without its cache and its resume.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Items
from planish.methods.s2j.measuring.drawing import Drawing
from planish.methods.s2j.measuring.estimating import Frozen, Samples, estimate
from planish.methods.s2j.measuring.intervening import (
    intervention_report,
    make_interventions,
    plan_interventions,
)
from planish.methods.s2j.measuring.records import (
    GapReport,
    GapRow,
    Intervention,
    JudgeSample,
    SolveSample,
)
from planish.methods.s2j.prompts import solving_template
from planish.models import load
from planish.models.base import Steps
from planish.stats import Estimate, paired, ratio

__all__ = [
    "CELLS",
    "CLAIMS_READ",
    "RATES",
    "Claim",
    "Probe",
    "Rate",
    "change",
    "claims",
    "num_calls",
    "probe",
]

Rate = Literal[
    "gap", "inner_gap", "judge_accuracy", "solve_rate", "in_judge_rate", "follow_rate", "copy_rate"
]  # fmt: skip

Expected = Literal["falls", "rises", "does not fall", "does not rise"]

RATES: dict[str, str] = {
    "gap": "gap on what the base solves",
    "inner_gap": "gap below a right solution",
    "judge_accuracy": "judges right (per verdict)",
    "both_right": "judges right in both orders",
    "solve_rate": "solves alone",
    "in_judge_rate": "solves inside a judgment",
    "follow_rate": "verdict follows the solution",
    "copy_rate": "copies where both are wrong",
    "coverage": "coverage (judgments read)",
}

CELLS: dict[str, tuple[str, str]] = {
    "right_right": ("right", "right"),
    "right_wrong": ("right", "wrong"),
    "wrong_right": ("wrong", "right"),
    "wrong_wrong": ("wrong", "wrong"),
}
"""Judgments by (own solution, verdict)."""


@dataclass(frozen=True)
class Probe:
    """One model on the items: its draws, its numbers, a row per item."""

    model: str
    report: GapReport
    rows: tuple[GapRow, ...]
    samples: Samples
    made: tuple[Intervention, ...]
    seed: int

    @property
    def questions(self) -> Frozen:
        """Those that it solves, to hold another model to."""
        return Frozen(self.model, frozenset(row.item_id for row in self.rows if row.in_q_tau))

    @property
    def rates(self) -> dict[str, Estimate]:
        """Every one of `RATES`, with its interval over questions."""
        sampled, wrong = self.report.sampled, self.report.slices["both_wrong"]
        elsewhere = {
            "gap": sampled.gap_frozen,
            "follow_rate": self.report.interventions.follow_rate,
            "copy_rate": wrong.copied,
        }
        return {name: elsewhere.get(name) or getattr(sampled, name) for name in RATES}

    @property
    def cells(self) -> dict[str, Estimate]:
        """The share of every cell of `CELLS` among the judgments that could be read."""
        counts = [row.inner_counts for row in self.rows if row.slice == "one_right"]
        totals = [float(sum(count.values())) for count in counts]
        return {
            name: ratio([count.get(name, 0) for count in counts], totals, seed=self.seed)
            for name in CELLS
        }

    def by_item(self, rate: Rate) -> dict[str, float | None]:
        """A rate of every item that it is about; None where an item cannot tell."""
        if rate == "follow_rate":
            return _shares((each.item_id, each.followed) for each in self.made if _swaps(each))
        if rate == "solve_rate":
            drawn = [each for each in self.samples.solves if each.purpose == "report"]
            return _shares((each.item_id, each.correct) for each in drawn if self._asked(each))
        told, judged = _TOLD[rate], [each for each in self.samples.judgments if not each.greedy]
        if rate == "copy_rate":
            return _shares((each.item_id, told(each)) for each in judged if not self._asked(each))
        about = {row.item_id for row in self.rows if row.in_frozen_q_tau or rate != "gap"}
        return _shares(
            (each.item_id, told(each))
            for each in judged
            if self._asked(each) and each.item_id in about
        )

    def _asked(self, each: SolveSample | JudgeSample) -> bool:
        """Whether a draw is of an item with one right candidate."""
        return each.item_id in self._one_right

    @cached_property
    def _one_right(self) -> frozenset[str]:
        return frozenset(row.item_id for row in self.rows if row.slice == "one_right")


def _swaps(each: Intervention) -> bool:
    return each.kind == "swap"


def _wrong(each: JudgeSample) -> bool | None:
    return None if each.verdict_correct is None else not each.verdict_correct


_TOLD: dict[Rate, Callable[[JudgeSample], bool | None]] = {
    "gap": _wrong,
    "inner_gap": lambda each: _wrong(each) if each.solution_correct else None,
    "judge_accuracy": lambda each: each.verdict_correct,
    "in_judge_rate": lambda each: each.solution_correct,
    "copy_rate": lambda each: each.copied if each.came else None,
}


def _shares(told: Iterable[tuple[str, bool | None]]) -> dict[str, float | None]:
    """The share of yes among what is known, by item."""
    found: dict[str, list[bool]] = {}
    for name, value in told:
        known = found.setdefault(name, [])
        if value is not None:
            known.append(value)
    return {name: statistics.fmean(values) if values else None for name, values in found.items()}


def change(before: Probe, after: Probe, rate: Rate, *, share: float = 1.0) -> Estimate:
    """By how much a rate grew, over the items that both models tell it of.

    Args:
        before: who it is compared with.
        after: the other.
        rate: which one.
        share: of the rate before that is taken away: 0.5 asks whether a gap was halved.
    """
    scaled: Mapping[str, float | None] = {
        item: None if value is None else share * value
        for item, value in before.by_item(rate).items()
    }
    return paired(scaled, after.by_item(rate), seed=after.seed).difference


@dataclass(frozen=True)
class Claim:
    """What the demonstration says, fixed before looking, and what came.

    Args:
        key: by which `--json` names the difference.
        text: of the claim.
        compared: what is subtracted from what.
        held: whether the difference bears it out; a difference without an interval does not
            prove a change.
    """

    key: str
    text: str
    compared: str
    difference: Estimate
    held: bool

    @property
    def shown(self) -> str:
        """The difference with its sign."""
        value, low, high = self.difference.value, self.difference.low, self.difference.high
        if value is None:
            return "n/a"
        return f"{value:+.3f}" + ("" if low is None else f" [{low:+.3f}, {high:+.3f}]")


CLAIMS_READ = (
    "A claim of a change holds where the whole interval is on its side of 0; a claim that nothing "
    "became worse fails only where the whole interval is on the other side."
)


def claims(before: Probe, additive: Probe, solve_only: Probe) -> list[Claim]:
    """What rewarding solution and verdict changes, and what rewarding the solution alone does."""

    def trained(key: str, text: str, rate: Rate, expected: Expected) -> Claim:
        told = change(before, additive, rate)
        return _claim(key, text, "additive - before", told, expected)

    halved = change(before, additive, "gap", share=0.5)
    alone, apart = change(before, solve_only, "gap"), change(solve_only, additive, "gap")
    return [
        trained("gap_change", "additive narrows the gap", "gap", "falls"),
        _claim(
            "gap_minus_half",
            "additive more than halves it",
            "additive - half of before",
            halved,
            "falls",
        ),
        _claim(
            "gap_change_solve_only",
            "solve only does not narrow it",
            "solve only - before",
            alone,
            "does not fall",
        ),
        _claim(
            "gap_minus_solve_only",
            "additive ends below solve only",
            "additive - solve only",
            apart,
            "falls",
        ),
        trained("follow_change", "additive follows its solution more", "follow_rate", "rises"),
        trained("copy_change", "additive copies no more", "copy_rate", "does not rise"),
        trained("solve_change", "additive solves alone no worse", "solve_rate", "does not fall"),
    ]


def _claim(key: str, text: str, compared: str, told: Estimate, expected: Expected) -> Claim:
    falls = told.high is not None and told.high < 0
    rises = told.low is not None and told.low > 0
    held = {
        "falls": falls,
        "rises": rises,
        "does not fall": told.value is not None and not falls,
        "does not rise": told.value is not None and not rises,
    }
    return Claim(key, text, compared, told, held[expected])


def num_calls(items: Items, config: Config) -> int:
    """Replies that `probe` draws before its interventions, for a bar that tells what is left."""
    one_right, every = len(items.of("one_right")), len(items)
    different = len({item.example.prompt for item in items.items})
    solves = (one_right + different) * config.solves + different
    return solves + 2 * every * (config.judgments + 1)


def probe(
    model: str,
    items: Items,
    config: Config,
    *,
    frozen: Frozen | None = None,
    step: Callable[[], None] = lambda: None,
) -> Probe:
    """Lets a model solve, judge, and go on from other solutions than its own.

    Args:
        model: which.
        items: of a task, some of them with two wrong candidates.
        config: how.
        frozen: the questions that the base model solves; None: this model is the base.
        step: called for every reply before the interventions.
    """
    ask = Drawing(load(model), items, solving_template(config.template), Steps(step))
    one_right = items.of("one_right")
    solves = [
        *ask.solves(one_right, config.choosing, "choose"),
        *ask.solves(items.items, config.reporting, "report"),
        *ask.solves(items.items, config.greedy, "greedy"),
    ]
    judgments = [
        *ask.judgments(items.items, config.judging),
        *ask.judgments(items.items, config.greedy, greedy=True),
    ]
    ask.watcher = None
    planned, left_out = plan_interventions(ask, one_right[: config.interventions], judgments)
    made = make_interventions(ask, planned, config.greedy)
    samples = Samples(items.items, solves, judgments)
    report, rows = estimate(samples, model=model, config=config, frozen=frozen)
    told = intervention_report(made, left_out=left_out, seed=config.seed)
    return Probe(
        model=model,
        report=report.model_copy(update={"interventions": told}),
        rows=tuple(rows),
        samples=samples,
        made=tuple(made),
        seed=config.seed,
    )
