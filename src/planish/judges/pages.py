"""What a person sees of a judge's agreement with gold: on the screen, and in a report.

    show_agreement(result, 0.9, Screen())
    add_agreement(report, result, 0.9)
    add_cases(report, cases, judgments)

Below the coverage floor no headline is shown anywhere: what was not read is not a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from planish.judges.agreement import Agreement
from planish.judges.base import Case, Judgment
from planish.judges.templates import question_text
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate

__all__ = ["add_agreement", "add_cases", "covered", "headline", "show_agreement"]

_SHOWN = 20  # cases whose calls are printed in full; records.jsonl holds them all
_EXCERPT = 4000
_SUBSETS = 40


def covered(coverage: Estimate, floor: float) -> bool:
    """Whether enough was read for a headline."""
    return coverage.value is not None and coverage.value >= floor


def headline(result: Agreement) -> dict[str, Any]:
    """The numbers of a run, by the names that `--json` and run.json use."""
    return {
        "num_cases": result.num_cases,
        "mode": result.mode,
        "vote_accuracy": result.vote_accuracy,
        "call_accuracy": result.call_accuracy,
        "both_right": result.both_right,
        "consistency": result.consistency,
        "first_slot_rate": result.first_slot_rate,
        "coverage": result.coverage,
        "first_parse_rate": result.first_parse_rate,
        "accuracy": result.accuracy,
        "tie_rate": result.tie_rate,
        "margin": result.margin,
        "order_alpha": result.order_alpha,
        "kappa": result.kappa,
        "length_slope": result.length_slope.slope,
        "calibration_error": result.calibration_error,
        "brier": result.brier,
        "counts": result.counts,
        "statuses": result.statuses,
        "cost": result.cost.model_dump(),
    }


def add_agreement(report: Report, result: Agreement, min_coverage: float) -> None:
    """The headline, the rates with their intervals, and where verdicts were lost."""
    from planish.runs.plots import interval_plot

    if covered(result.coverage, min_coverage):
        report.numbers(
            {
                "vote accuracy": result.vote_accuracy,
                "call accuracy": result.call_accuracy,
                "both orders right": result.both_right,
                "consistency": result.consistency,
                "first-slot rate": result.first_slot_rate,
                "coverage": result.coverage,
            }
        )
    else:
        report.text(
            f"Coverage {result.coverage} is below the floor {min_coverage:g}: no headline. The "
            "statuses below say what could not be read."
        )
    counts = result.counts
    report.section(
        "Verdicts and order",
        f"{result.num_cases} cases, {result.mode} counting. By vote {counts['vote_right']} right, "
        f"{counts['vote_wrong']} wrong, {counts['vote_zero']} undecided. Both orders named the "
        f"gold reply in {counts['both_right']}; the decision was the same in "
        f"{counts['same_decision']} of {counts['both_scored']} cases with both verdicts. The "
        f"first slot won {counts['first_slot']} of {counts['decisive']} decisive calls.",
    )
    rates = [
        ("vote accuracy", result.vote_accuracy, None),
        ("call accuracy", result.call_accuracy, None),
        ("both orders right", result.both_right, None),
        ("consistency", result.consistency, None),
        ("first-slot rate (0.5 is fair)", result.first_slot_rate, None),
        ("tie rate", result.tie_rate, None),
        ("coverage", result.coverage, None),
    ]
    report.figure(
        interval_plot([row for row in rates if row[1].value is not None]),
        "Rates with 95 % intervals.",
        "Dots with intervals for each rate",
    )
    if result.by_subset:
        subsets = list(result.by_subset.items())
        if len(subsets) <= _SUBSETS:
            report.figure(
                interval_plot([(name, rate, None) for name, rate in subsets]),
                "Vote accuracy by subset.",
                "Dots with intervals for each subset",
            )
        else:
            report.table(
                ("subset", "vote accuracy", "cases"),
                [(name, rate, rate.n) for name, rate in subsets],
            )
    report.table(
        ("status", "calls"),
        sorted(result.statuses.items(), key=lambda item: -item[1]),
        caption="Only ok and tie carry a verdict; nothing else is counted as one.",
    )
    slope, cost = result.length_slope, result.cost
    why = f" ({slope.why})" if slope.why else ""
    report.table(
        ("beside the accuracy", "value"),
        [
            ("length slope, gold controlled (0: none)", f"{slope.slope}{why}"),
            ("margin of the winner", str(result.margin)),
            ("Krippendorff's alpha between the orders", _number(result.order_alpha)),
            ("Cohen's kappa with gold", str(result.kappa)),
            ("calibration error of the share for A", _number(result.calibration_error)),
            ("Brier score of the share for A", _number(result.brier)),
            ("calls, failed attempts", f"{cost.calls}, {cost.failed_attempts}"),
            ("tokens in, out", f"{cost.prompt_tokens:,}, {cost.completion_tokens:,}"),
        ],
    )


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def add_cases(
    report: Report,
    cases: Sequence[Case],
    judgments: Sequence[Judgment],
    title: str = "Where it went wrong",
) -> None:
    """The first cases that went wrong or unread, each with its raw calls."""
    by_id = {judgment.case_id: judgment for judgment in judgments}
    failed = [case for case in cases if by_id[case.id].outcome != case.gold][:_SHOWN]
    if not failed:
        return
    report.section(
        title,
        f"The first {len(failed)} cases whose outcome is not the gold one, with the judge's own "
        "words. records.jsonl holds every call.",
    )
    for case in failed:
        judgment = by_id[case.id]
        parts = [f"question: {question_text(case.example.prompt)}"]
        parts += [f"reply {chr(65 + i)}: {reply}" for i, reply in enumerate(case.replies)]
        parts += [
            f"call, first slot {chr(65 + call.perm[0])}: {status}, says {vote}\n{call.text}"
            for call, status, vote in zip(
                judgment.calls, judgment.statuses, judgment.votes, strict=True
            )
        ]
        report.details(
            f"{case.id}: gold {case.gold}, outcome {judgment.outcome}",
            "\n\n".join(part[:_EXCERPT] for part in parts),
        )


def show_agreement(result: Agreement, min_coverage: float, screen: Screen) -> None:
    """The table that a person reads, without a headline below the coverage floor."""
    counts = result.counts
    enough = covered(result.coverage, min_coverage)
    rates = {
        "coverage (calls read)": result.coverage,
        "read at the first try": result.first_parse_rate,
        "first-slot rate (0.5 is fair)": result.first_slot_rate,
        "tie rate": result.tie_rate,
        "length slope (0 is none)": result.length_slope.slope,
    }
    if enough:
        rates = {
            "vote accuracy": result.vote_accuracy,
            "call accuracy": result.call_accuracy,
            "both orders right": result.both_right,
            "consistency": result.consistency,
            **rates,
        }
    screen.numbers(rates, title=f"{result.num_cases} cases, {result.mode} counting")
    if enough:
        screen.say(_counted(result))
    else:
        share = "n/a" if result.coverage.value is None else f"{result.coverage.value:.3f}"
        screen.say(
            f"coverage {share} is below the floor {min_coverage:g}: no headline. "
            "The statuses say what could not be read."
        )
    screen.say(
        f"unscored {counts['unscored']} of {counts['calls']} calls; statuses: {_listed(result)}"
    )
    cost = result.cost
    if cost.completion_tokens:
        per_case = (cost.prompt_tokens + cost.completion_tokens) / result.num_cases
        screen.say(
            f"cost: {cost.calls} calls, {cost.failed_attempts} failed attempts, "
            f"{per_case:.0f} tokens a case"
        )


def _listed(result: Agreement) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(result.statuses.items()))


def _counted(result: Agreement) -> str:
    """The counts behind the rates; those of both orders only where both were asked."""
    counts = result.counts
    lines = [
        f"vote right {counts['vote_right']}, wrong {counts['vote_wrong']}, zero "
        f"{counts['vote_zero']} · first slot {counts['first_slot']} of {counts['decisive']} "
        "decisive calls"
    ]
    if result.both_right.value is not None:
        lines.append(
            f"both orders right {counts['both_right']} · same decision {counts['same_decision']} "
            f"of {result.num_cases} ({counts['both_scored']} with both verdicts)"
        )
    return "\n".join(lines)
