"""What a person sees of a measurement: tables on the screen, and a page with the raw words."""

from __future__ import annotations

from planish.judges.templates import question_text
from planish.methods.s2j.measuring.gap_tables import (
    VERDICTS,
    Measured,
    cell,
    counted,
    intervention_table,
    sentences,
    shown_rates,
    slice_table,
    switch_sentence,
    table_2x2,
    versus_table,
)
from planish.methods.s2j.measuring.records import KINDS, GapReport
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report

__all__ = ["show", "write_report"]

_SHOWN = 20  # judgments printed in full; records.jsonl holds them all
_EXCERPT = 4000


def show(found: Measured, screen: Screen) -> None:
    """The tables that a person reads, without a headline below the coverage floor."""
    report = found.report
    screen.table(
        ("", f"sampled at {report.temperature:g}", "greedy"),
        [
            (name, *(cell(found, rates, key) for rates in (report.sampled, report.greedy)))
            for key, name in shown_rates(found).items()
        ],
        title=counted(found),
    )
    for line in sentences(found):
        screen.say(line)
    columns, rows = table_2x2(found)
    screen.table(columns, rows, title="sampled judgments by solution and verdict")
    columns, rows = slice_table(report)
    screen.table(
        columns,
        rows,
        title="the solution with candidates in sight, and whether it copies a wrong one",
    )
    columns, rows = intervention_table(report)
    screen.table(columns, rows, title="judgments that go on from another solution")
    if line := switch_sentence(report):
        screen.say(line)
    if report.versus is not None:
        screen.table(*versus_table(report.versus), title=f"against {report.versus.model}, paired")


def write_report(run: Run, found: Measured) -> None:
    """The page of a run."""
    from planish.runs.plots import interval_plot

    report, plan = found.report, found.plan
    page = Report(
        f"{plan.model}: what it solves, and what it judges",
        subtitle=f"{plan.source}, {plan.solves} solutions and {plan.judgments} judgments per order "
        f"at temperature {plan.temperature:g}",
        run=run,
        tiny=plan.is_tiny,
    )
    if found.covered:
        frozen = {"gap on the base's questions": report.sampled.gap_frozen}
        page.numbers(
            {
                "gap": report.sampled.gap,
                **({} if plan.base is None else frozen),
                "inner gap": report.sampled.inner_gap,
                "context tax": report.sampled.context_tax,
                "judges right": report.sampled.judge_accuracy,
                "verdict follows the solution": report.interventions.follow_rate,
            }
        )
    page.section("Solving and judging", "\n".join(f"- {line}" for line in sentences(found)))
    shown = [
        (name, getattr(report.sampled, key), None)
        for key, name in shown_rates(found).items()
        if getattr(report.sampled, key).value is not None and (found.covered or key not in VERDICTS)
    ]
    page.figure(
        interval_plot(shown),
        "Rates with 95 % intervals over questions.",
        "Dots with intervals for each rate",
    )
    page.table(
        ("", "sampled", "greedy"),
        [
            (name, *(cell(found, rates, key) for rates in (report.sampled, report.greedy)))
            for key, name in shown_rates(found).items()
        ],
        caption=counted(found),
    )
    columns, rows = table_2x2(found)
    page.section(
        "Solution and verdict",
        "A right verdict below a wrong solution is luck: with two candidates half of them are "
        "right whatever was understood.",
    )
    page.table(columns, rows)
    columns, rows = slice_table(report)
    page.section(
        "The candidates in sight",
        "Where both candidates are wrong, nothing right can be copied. `by chance`: how often a "
        "solution that never saw the candidates answers as a wrong one does.",
    )
    page.table(columns, rows)
    _add_interventions(page, report)
    if report.versus is not None:
        page.section(f"Against {report.versus.model}", "On the items that both were measured on.")
        page.table(*versus_table(report.versus))
    _add_judgments(page, found)
    page.save(run.report_path)


def _add_interventions(page: Report, report: GapReport) -> None:
    from planish.runs.plots import interval_plot

    kinds, left_out = report.interventions.kinds, sorted(report.interventions.left_out.items())
    if not kinds:
        if left_out:
            page.section(
                "Does the verdict follow the solution?", "No judgment could be gone on with."
            )
            page.table(("left out because", "count"), left_out)
        return
    told = "\n".join(f"- `{kind}`: {KINDS[kind]}" for kind in kinds)
    page.section(
        "Does the verdict follow the solution?",
        "Each greedy judgment was cut behind its solution, another one was put in its place, and "
        "the model wrote the rest.\n\n" + told,
    )
    rows = [(f"{kind}: verdict changed", each.changed, None) for kind, each in kinds.items()]
    rows += [
        (f"{kind}: names that candidate", each.followed, None)
        for kind, each in kinds.items()
        if each.followed.value is not None
    ]
    page.figure(
        interval_plot([row for row in rows if row[1].value is not None]),
        "What putting in another solution did to the verdict, with 95 % intervals over questions.",
        "Dots with intervals for each intervention",
    )
    page.table(*intervention_table(report), caption=switch_sentence(report))
    if left_out:
        page.table(("left out because", "count"), left_out)


def _add_judgments(page: Report, found: Measured) -> None:
    """Wrong verdicts below right solutions: what the inner gap looks like."""
    cases = {item.id: item.case for item in found.samples.items}
    wrong = [
        each
        for each in found.samples.judgments
        if not each.greedy and each.solution_correct and each.verdict_correct is False
    ][:_SHOWN]
    if not wrong:
        return
    page.section(
        "Right solution, wrong verdict",
        f"The first {len(wrong)}, in the model's own words. records.jsonl holds every draw.",
    )
    for each in wrong:
        case = cases[each.item_id]
        parts = [f"question: {question_text(case.example.prompt)}"]
        parts += [
            f"reply {letter}: {text}" for letter, text in zip("AB", case.replies, strict=True)
        ]
        parts.append(f"judgment, order {each.order}:\n{each.text}")
        page.details(
            f"{each.item_id}: gold {case.gold}, verdict {each.verdict}",
            "\n\n".join(part[:_EXCERPT] for part in parts),
        )
