"""The numbers of a measurement by name, and the tables that screen and page share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planish.judges.pages import covered
from planish.methods.s2j.data import Slice
from planish.methods.s2j.measuring.estimating import Samples
from planish.methods.s2j.measuring.gap_plan import Plan
from planish.methods.s2j.measuring.records import (
    GapReport,
    GapRow,
    Intervention,
    Rates,
    Versus,
)
from planish.records import Cost
from planish.runs.console import flat
from planish.stats import Estimate, Paired

__all__ = [
    "VERDICTS",
    "Measured",
    "cell",
    "counted",
    "headline",
    "intervention_table",
    "sentences",
    "shown_rates",
    "slice_table",
    "switch_sentence",
    "table_2x2",
    "versus_table",
]

Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]

_NAMES: dict[str, str] = {
    "gap": "gap on what it solves",
    "gap_frozen": "gap on what the base solves",
    "inner_gap": "inner gap (own solution right)",
    "luck_rate": "right verdict, own solution wrong",
    "context_tax": "context tax (alone - in judgment)",
    "solve_rate": "solves alone",
    "in_judge_rate": "solves inside a judgment",
    "judge_accuracy": "judges right (per verdict)",
    "both_right": "judges right in both orders",
    "consistency": "same verdict in both orders",
    "first_slot": "first-slot rate (0.5 is fair)",
    "coverage": "coverage (judgments read)",
}
VERDICTS = {"gap", "gap_frozen", "inner_gap", "luck_rate", "judge_accuracy", "both_right", "consistency"}  # fmt: skip  # noqa: E501
_SLICES: dict[Slice, str] = {
    "one_right": "one right",
    "both_wrong": "both wrong",
    "both_right": "both right",
}


@dataclass(frozen=True)
class Measured:
    """A measurement as it is shown."""

    plan: Plan
    report: GapReport
    rows: Sequence[GapRow]
    samples: Samples
    made: Sequence[Intervention]
    dropped: dict[str, int]
    unknown: dict[str, int]
    cost: Cost

    @property
    def covered(self) -> bool:
        """Whether enough was read for a headline."""
        return covered(self.report.sampled.coverage, self.plan.min_coverage)


def headline(found: Measured) -> dict[str, Any]:
    """The numbers by the names that `--json` and run.json use."""
    report = found.report
    sampled, wrong = report.sampled, report.slices.get("both_wrong")
    nothing = Estimate(value=None)
    return {
        **{name: getattr(sampled, name) for name in _NAMES},
        "follow_rate": report.interventions.follow_rate,
        "switch_rate": report.interventions.switch_rate,
        "comparison_share": report.comparison_share,
        "q_tau_solve_rate": report.q_tau_solve_rate,
        "copy_rate": wrong.copied if wrong else nothing,
        "copy_rate_solo": wrong.copied_solo if wrong else nothing,
        "both_wrong_solve_rate": wrong.solve_rate if wrong else nothing,
        "both_wrong_in_judge_rate": wrong.in_judge_rate if wrong else nothing,
        "tagged": report.tagged,
        "model": report.model,
        "base_model": report.base_model,
        "tau": report.tau,
        "solves": report.solves,
        "judgments": report.judgments,
        "temperature": report.temperature,
        "num_items": report.num_items,
        "num_one_right": report.num_one_right,
        "num_q_tau": report.num_q_tau,
        "num_frozen": report.num_frozen,
        "table": report.table,
        "statuses": report.statuses,
        "greedy": flat({name: getattr(report.greedy, name) for name in _NAMES}),
        "slices": {
            name: flat({part: getattr(numbers, part) for part in type(numbers).model_fields})
            for name, numbers in report.slices.items()
        },
        "interventions": {
            kind: flat({part: getattr(numbers, part) for part in type(numbers).model_fields})
            for kind, numbers in report.interventions.kinds.items()
        },
        "interventions_left_out": report.interventions.left_out,
        "tokens": flat(report.tokens),
        "versus": _versus(report.versus),
        "dropped": found.dropped,
        "ungraded": found.unknown,
        "cost": found.cost.model_dump(),
    }


_COMPARED = {
    "judge_accuracy": "judges right (mean over items)",
    "gap_frozen": "gap on what the base solves",
    "both_right": "right in both orders, greedy",
    "solve_rate": "solves alone",
}


def _versus(versus: Versus | None) -> dict[str, Any] | None:
    if versus is None:
        return None
    found: dict[str, Any] = {"model": versus.model}
    for name in _COMPARED:
        compared: Paired = getattr(versus, name)
        found[name] = {
            **flat({"difference": compared.difference}),
            "before": compared.mean_a,
            "after": compared.mean_b,
            "n": compared.n,
            "left_out": compared.left_out,
            "mcnemar": compared.mcnemar.model_dump() if compared.mcnemar else None,
        }
    return found


def shown_rates(found: Measured) -> dict[str, str]:
    """The rates by key: without a base, its questions are the model's own."""
    return {
        key: name
        for key, name in _NAMES.items()
        if key != "gap_frozen" or found.plan.base is not None
    }


def counted(found: Measured) -> str:
    """What the rates are over."""
    report = found.report
    text = f"{report.num_one_right} pairs with one right candidate, {report.num_q_tau} solved"
    return text if found.plan.base is None else f"{text}, {report.num_frozen} by the base"


def cell(found: Measured, rates: Rates, key: str) -> str:
    """A rate as text; none of verdicts below the coverage floor."""
    if key in VERDICTS and not covered(rates.coverage, found.plan.min_coverage):
        return "below the floor"
    return str(getattr(rates, key))


def sentences(found: Measured) -> list[str]:
    """What the table cannot say."""
    report, plan = found.report, found.plan
    lines = []
    if not found.covered:
        lines.append(
            f"coverage {report.sampled.coverage} is below the floor {plan.min_coverage:g}: no "
            "headline. The statuses say what could not be read."
        )
    lines.append(
        f"solved: {_tau(plan)} solutions are right; in fresh draws such questions are solved at "
        f"{report.q_tau_solve_rate}"
    )
    if report.comparison_share.value is not None and found.covered:
        lines.append(
            f"of the wrong verdicts on them, {report.comparison_share} stand below a right "
            "solution of its own"
        )
    statuses = ", ".join(f"{name} {count}" for name, count in sorted(report.statuses.items()))
    tokens = ", ".join(f"{name} {_mean(each)}" for name, each in report.tokens.items())
    lines.append(f"statuses: {statuses}; mean tokens: {tokens}")
    if report.tagged.value is not None and report.tagged.value < 1:
        lines.append(
            f"solutions inside the marks that were asked for: {report.tagged}; of the others the "
            "whole text was graded"
        )
    came = [each for each in found.samples.judgments if each.came and not each.greedy]
    bare = sum(each.solution is None for each in came)
    if bare:
        lines.append(
            f"{bare} of {len(came)} judgments hold no solution between the marks: they count as "
            "not solved, and into the context tax"
        )
    if found.unknown:
        why, count = max(found.unknown.items(), key=lambda each: each[1])
        lines.append(f"{sum(found.unknown.values())} answers could not be graded ({count}: {why})")
    return lines


def _tau(plan: Plan) -> str:
    return f"all of {plan.solves}" if plan.tau == 1 else f"{plan.tau:.0%} of {plan.solves}"


def _mean(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.1f}"


def table_2x2(found: Measured) -> Table:
    """Sampled judgments by solution and verdict."""
    table = found.report.table
    total = sum(table.values())

    def cell(solution: str, verdict: str) -> str:
        count = table.get(f"{solution}_{verdict}", 0)
        return f"{count} ({count / total:.1%})" if total else "0"

    rows = [
        (f"own solution {solution}", *(cell(solution, verdict) for verdict in ("right", "wrong")))
        for solution in ("right", "wrong")
    ]
    return ("", "verdict right", "verdict wrong"), rows if total else []


def slice_table(report: GapReport) -> Table:
    """The solution with such candidates in sight."""
    columns = ("candidates", "pairs", "solves alone", "in a judgment", "copies", "by chance")
    rows = [
        (
            _SLICES[name],
            str(each.num_items),
            _short(each.solve_rate),
            str(each.in_judge_rate),
            str(each.copied),
            _short(each.copied_solo),
        )
        for name, each in report.slices.items()
    ]
    return columns, rows


def _short(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.3f}"


def intervention_table(report: GapReport) -> Table:
    """What every kind of intervention did."""
    columns = ("put in", "judgments", "read", "verdict changed", "verdict right", "follows it")
    rows = [
        (
            kind,
            str(each.num_made),
            _short(each.read),
            str(each.changed),
            _short(each.right),
            str(each.followed),
        )
        for kind, each in report.interventions.kinds.items()
    ]
    return columns, rows


def switch_sentence(report: GapReport) -> str:
    """Swaps without those that put nothing new in; "" where there are none."""
    rate = report.interventions.switch_rate
    if rate.value is None:
        return ""
    return f"swaps whose answer is not that of its own solution: {rate} name that candidate"


def versus_table(versus: Versus) -> Table:
    """This model against its base, paired."""
    rows: list[tuple[str, ...]] = []
    for key, name in _COMPARED.items():
        each: Paired = getattr(versus, key)
        before, after = ("n/a" if x is None else f"{x:.3f}" for x in (each.mean_a, each.mean_b))
        test = f"{each.mcnemar.p_value:.3g}" if each.mcnemar else ""
        rows.append((name, before, after, _signed(each.difference), str(each.n), test))
    return ("", "base", "model", "difference", "items", "exact p"), rows


def _signed(estimate: Estimate) -> str:
    if estimate.value is None:
        return "n/a"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.3f}"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
