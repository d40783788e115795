"""The page of a training.

page(run, plan, lesson, rows, summary)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planish.methods.lookahead.running.train import Layer, Plan
    from planish.methods.lookahead.train.lessons import Lesson
    from planish.runs import Run

__all__ = ["page", "value_of"]


def page(
    run: Run, plan: Plan, lesson: Lesson, rows: Sequence[Layer], summary: Mapping[str, Any]
) -> None:
    """Saves the page of a run: numbers, layers, curves.

    Args:
        rows: the trained layers.
    """
    from planish.runs.plots import Series, line_plot
    from planish.runs.report import Report

    report = Report(
        "Which chunks will the next tokens need?",
        f"A memory indexer trained on {len(lesson.train.documents)} documents, chosen on "
        f"{len(lesson.validation.documents)} others. Rule {plan.rule}, windows of "
        f"{plan.interval} tokens, loss {plan.loss}.",
        note="Every number is over the full set of candidates: chunks that are neither sinks "
        "nor recent. Budgets are shares of these candidates. Intervals are over the validation "
        "documents, on which bias and layers were chosen, too.",
        run=run,
        tiny=lesson.header.hidden_size < 512,
    )
    report.numbers(dict(summary))
    names = ["best_f1", f"recall@{plan.aim:g}", f"mass@{plan.aim:g}", "calibration_error"]
    report.section("By layer").table(
        ["layer", *names, "epochs"],
        [[row.layer, *(row.quality.get(name) for name in names), len(row.curve)] for row in rows],
    )
    series = [
        Series(
            row.layer, [point["step"] for point in row.curve], [p["objective"] for p in row.curve]
        )
        for row in rows
        if len(row.curve) > 1
    ]
    if series:
        figure = line_plot(series, xlabel="step", ylabel="best F1 and recall, mean", ylim=(0, 1))
        report.section("Training").figure(figure, "On validation, after each epoch.")
    budgets = sorted({*plan.budgets, plan.aim})
    curve = [
        Series(
            what,
            budgets,
            [value_of(summary.get(f"{what}@{budget:g}")) or 0.0 for budget in budgets],
        )
        for what in ("recall", "mass")
    ]
    report.section("Recall against the budget").figure(
        line_plot(curve, xlabel="share of the candidates", ylabel="share kept", ylim=(0, 1)),
        "Needed chunks and attention mass that the highest scores hold.",
    )
    report.save(run.report_path)


def value_of(number: Any) -> float | None:
    """Of an estimate, or of what has no interval."""
    found: float | None = getattr(number, "value", number)
    return found
