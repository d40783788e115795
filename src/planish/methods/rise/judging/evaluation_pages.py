"""What a person sees of an evaluation: tables on the screen, and the report with raw replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from planish.judges.benches import BenchResult, is_rated
from planish.judges.pages import add_agreement, add_cases, covered
from planish.methods.rise.judging.evaluation import (
    Evaluation,
    Outcome,
    beside,
    board_rows,
    rates_of,
    statuses,
)
from planish.methods.rise.judging.evaluation_plan import Plan
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Paired

__all__ = ["show", "write_report"]

_HIDDEN = "below the floor"
_HEADLINES = ("accuracy", "call accuracy", "both orders right", "consistency")
_SHOWN = 20  # unsolved questions printed in full; records.jsonl holds them all
_EXCERPT = 4000


# --- the screen --------------------------------------------------------------------------------


def _change(found: Paired | None) -> tuple[str, str]:
    """A paired difference, and the p of its exact test."""
    if found is None or found.difference.value is None:
        return "", ""
    low, high = found.difference.low, found.difference.high
    interval = "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"
    test = f"{found.mcnemar.p_value:.3g}" if found.mcnemar else "n/a"
    return f"{found.difference.value:+.3f}{interval}", test


def _left_out(found: Paired | None) -> str:
    if found is None or not found.left_out:
        return ""
    return f"; {found.left_out} scored by one model only and left out of the difference"


def show(found: Evaluation, floor: float, screen: Screen) -> None:
    """The tables that a person reads, without a headline below the coverage floor."""
    for name in found.after.benches:
        _show_bench(found, name, floor, screen)
    if found.after.ability:
        _show_ability(found, floor, screen)
    if found.after.metrics():
        _show_metrics(found, floor, screen)


def _columns(found: Evaluation) -> tuple[str, ...]:
    return ("", "model", *(("before", "difference", "p") if found.before else ()))


def _show_bench(found: Evaluation, name: str, floor: float, screen: Screen) -> None:
    results = [outcome.benches[name] for outcome in found.outcomes]
    rates = [rates_of(result) for result in results]
    hidden = [not covered(result.coverage, floor) for result in results]
    changes = {
        "accuracy": found.bench(name),
        "both orders right": found.bench(name, "both_right"),
    }
    rows = []
    for rate in dict.fromkeys(rate for side in rates for rate in side):
        cells = [
            _HIDDEN if below and rate in _HEADLINES else str(side.get(rate, "n/a"))
            for side, below in zip(rates, hidden, strict=True)
        ]
        change = ("", "") if any(hidden) else _change(changes.get(rate))
        rows.append((rate, *cells, *(change if found.before else ())))
    sides = [beside(result) for result in results]
    for rate in sides[0]:
        cells = [side.get(rate, "n/a") for side in sides]
        rows.append((rate, *cells, *(("", "") if found.before else ())))
    result = results[0]
    screen.table(
        _columns(found), rows, title=f"{name}: {result.num_cases} cases, {result.mode} counting"
    )
    for outcome, below in zip(found.outcomes, hidden, strict=True):
        _say_calls(outcome, name, below, floor, screen)
    if left_out := _left_out(changes["accuracy"]):
        screen.say(f"{name}{left_out}")
    if result.boards and not any(hidden):
        modes = ("official", "honest")
        before = tuple(f"before, {mode}" for mode in modes) if found.before else ()
        screen.table(("RewardBench's own, %", *modes, *before), board_rows(results))
        missing = result.boards["honest"]["subsets_missing"]
        if missing:
            screen.say(
                f"{len(missing)} of the benchmark's subsets are not in these cases (first: "
                f"{missing[0]}): not comparable with published scores."
            )


def _say_calls(outcome: Outcome, name: str, below: bool, floor: float, screen: Screen) -> None:
    result, cost = outcome.benches[name], outcome.benches[name].cost
    if below:
        screen.say(
            f"{outcome.name}: coverage {result.coverage} is below the floor "
            f"{floor:g}: no headline. The statuses say what could not be read."
        )
    tokens = (cost.prompt_tokens + cost.completion_tokens) / result.num_cases
    screen.say(
        f"{outcome.name}: unscored {result.unscored} of {result.num_cases} cases; statuses of "
        f"{result.calls} calls: {statuses(result)}; {cost.failed_attempts} failed attempts, "
        f"{tokens:.0f} tokens and {cost.seconds / result.num_cases:.2g} s a case"
    )


def _show_ability(found: Evaluation, floor: float, screen: Screen) -> None:
    rows = []
    for name in found.after.ability:
        results = [outcome.ability[name] for outcome in found.outcomes]
        change = _change(found.task(name)) if found.before else ()
        rows.append((name, *(str(result.rate) for result in results), *change))
    screen.table(_columns(found), rows, title="general ability: share solved")
    for outcome in found.outcomes:
        for name, result in outcome.ability.items():
            counts = ", ".join(f"{what} {count}" for what, count in result.counts.items() if count)
            screen.say(
                f"{outcome.name} on {name}: coverage {result.coverage}; {counts} of "
                f"{result.num_examples}"
            )
    _say_sentences(found, list(found.after.ability), floor, screen)


def _show_metrics(found: Evaluation, floor: float, screen: Screen) -> None:
    rows = []
    for name, metric in found.after.metrics().items():
        before = found.before.metrics().get(name) if found.before else None
        cells = [str(each.value) if each else "n/a" for each in (metric, before)]
        change = _change(found.metric(name)) if found.before else ()
        rows.append((name, *cells[: len(found.outcomes)], *change))
    screen.table(_columns(found), rows, title="lm-evaluation-harness")
    _say_sentences(found, list(found.after.metrics()), floor, screen)


def _say_sentences(found: Evaluation, names: Sequence[str], floor: float, screen: Screen) -> None:
    for name in names if found.before else ():
        screen.say(found.sentence(name, floor=floor))


# --- the report --------------------------------------------------------------------------------


def write_report(run: Run, found: Evaluation, plan: Plan) -> Path:
    """Writes `report.html` into the run's folder."""
    against = f", beside {plan.before}" if plan.before else ""
    report = Report(
        f"{plan.model}, evaluated",
        subtitle=", ".join([*found.after.benches, *found.after.ability]) + against,
        claim="A judge that was trained is better than before only if it is on the same cases, in "
        "both orders, and can still do what it could.",
        note="Intervals are 95 %, bootstrapped over cases; differences are paired by case, p is "
        "McNemar's exact test. What could not be scored is counted, never zero.",
        run=run,
        tiny=plan.is_tiny,
    )
    if found.benches:
        _add_benches(report, found, plan.min_coverage)
    if found.after.ability:
        _add_ability(report, found, plan.min_coverage)
    if found.after.metrics():
        _add_metrics(report, found, plan.min_coverage)
    _add_costs(report, found)
    for bench in found.benches:
        result = found.after.benches[bench.name]
        if result.agreement is not None:
            report.section(f"{bench.name}: pairs")
            add_agreement(report, result.agreement, plan.min_coverage)
        cases = [case for case in bench.cases if not is_rated(case)]
        judgments = [result.judgments[case.id] for case in cases]
        add_cases(report, cases, judgments, f"{bench.name}: where it went wrong")
    _add_unsolved(report, run, found)
    return report.save(run.report_path)


def _sides(found: Evaluation, name: str) -> Iterator[tuple[str, BenchResult]]:
    for label, outcome in zip(("model", "before"), found.outcomes, strict=False):
        yield f"{name}, {label}" if found.before else name, outcome.benches[name]


def _add_benches(report: Report, found: Evaluation, floor: float) -> None:
    from planish.runs.plots import interval_plot

    names = list(found.after.benches)
    open_ = [
        name
        for name in names
        if all(covered(outcome.benches[name].coverage, floor) for outcome in found.outcomes)
    ]
    report.section("Benches", _floor_text(found, floor))
    rows: list[tuple[Any, ...]] = []
    for name in names:
        change = found.bench(name) if name in open_ else None
        sides = [
            result.accuracy if covered(result.coverage, floor) else _HIDDEN
            for _, result in _sides(found, name)
        ]
        test = change.mcnemar if change else None
        more = (
            change.difference if change else "n/a",
            f"{test.p_value:.3g}" if test else "n/a",
            change.left_out if change else "n/a",
        )
        count = found.after.benches[name].num_cases
        rows.append((name, count, *sides, *(more if found.before else ())))
    extra = ("before", "difference", "p", "left out") if found.before else ()
    report.table(("bench", "cases", "accuracy", *extra), rows)
    sides_ = [side for name in names for side in _sides(found, name)]
    seen = [(label, result) for label, result in sides_ if covered(result.coverage, floor)]
    if seen:
        report.figure(
            interval_plot([(label, result.accuracy, None) for label, result in seen]),
            "Accuracy with 95 % intervals.",
            "Dots with intervals for each bench and model",
        )
    _add_details(report, sides_, floor)
    for name in names:
        if found.after.benches[name].boards:
            modes = ("official", "honest")
            before = tuple(f"before, {mode}" for mode in modes) if found.before else ()
            results = [result for _, result in _sides(found, name)]
            missing = results[0].boards["honest"]["subsets_missing"]
            report.table(
                (f"{name}: RewardBench's own, %", *modes, *before),
                board_rows(results),
                caption=f"{len(missing)} of the benchmark's subsets are not in these cases."
                if missing
                else "Every subset of the benchmark is there.",
            )


def _floor_text(found: Evaluation, floor: float) -> str:
    below = [
        f"- {outcome.name} on {name}: coverage {result.coverage}"
        for outcome in found.outcomes
        for name, result in outcome.benches.items()
        if not covered(result.coverage, floor)
    ]
    if not below:
        return f"Every coverage reaches the floor {floor:g}."
    return f"Below the coverage floor {floor:g}, so without a headline:\n\n" + "\n".join(below)


def _add_details(report: Report, sides: Sequence[tuple[str, BenchResult]], floor: float) -> None:
    """Order, coverage and what stands beside the accuracy: a row per bench and model."""
    tables = [
        (
            label,
            {
                rate: value
                for rate, value in rates_of(result).items()
                if rate != "accuracy"
                and not (rate in _HEADLINES and not covered(result.coverage, floor))
            },
        )
        for label, result in sides
    ]
    every = dict.fromkeys(name for _, rates in tables for name in rates)
    of_lists = [name for name in every if name.startswith("lists:")]
    for names in ([name for name in every if name not in of_lists], of_lists):
        rows = [(label, *(rates.get(name, "n/a") for name in names)) for label, rates in tables]
        if names:
            report.table(("bench", *names), rows)
    more = [(label, beside(result)) for label, result in sides]
    names = list(dict.fromkeys(name for _, values in more for name in values))
    if names:
        report.table(
            ("bench, its pairs", *names),
            [(label, *(values.get(name, "n/a") for name in names)) for label, values in more],
            caption="The slope is the sway of length on the choice, gold controlled; calibration "
            "error and Brier score are of the share for the first reply. " + _no_slopes(sides),
        )
    report.table(
        ("bench", "unscored cases", "cases", "calls by status"),
        [(label, result.unscored, result.num_cases, statuses(result)) for label, result in sides],
        caption="Only ok and tie carry a verdict; nothing else is counted as one.",
    )


def _no_slopes(sides: Sequence[tuple[str, BenchResult]]) -> str:
    """Why a bench has no slope, where that can be said."""
    return " ".join(
        f"{label}: {result.agreement.length_slope.why}."
        for label, result in sides
        if result.agreement is not None and result.agreement.length_slope.why
    )


def _add_ability(report: Report, found: Evaluation, floor: float) -> None:
    sentences = [f"- {found.sentence(name, floor=floor)}" for name in found.after.ability]
    report.section("General ability", "\n".join(sentences) if found.before else "")
    rows: list[tuple[Any, ...]] = []
    for name in found.after.ability:
        for label, outcome in zip(("model", "before"), found.outcomes, strict=False):
            result = outcome.ability[name]
            counts = ", ".join(f"{what} {count}" for what, count in result.counts.items() if count)
            rows.append(
                (f"{name}, {label}", result.num_examples, result.rate, result.coverage, counts)
            )
    report.table(
        ("task", "examples", "solved", "coverage", "replies"),
        rows,
        caption="An unreadable reply is not solved; a lost one is left out of the rate.",
    )
    if found.before:
        _add_changes(report, "task", [(name, found.task(name)) for name in found.after.ability])


def _add_metrics(report: Report, found: Evaluation, floor: float) -> None:
    metrics = found.after.metrics()
    sentences = [f"- {found.sentence(name, floor=floor)}" for name in metrics]
    report.section("lm-evaluation-harness", "\n".join(sentences) if found.before else "")
    rows = [
        (f"{name}, {label}", metric.num_documents, metric.value, metric.lost)
        for label, outcome in zip(("model", "before"), found.outcomes, strict=False)
        for name, metric in outcome.metrics().items()
    ]
    report.table(
        ("metric", "documents", "value", "lost"),
        rows,
        caption="Lost documents are left out of the means.",
    )
    if found.before:
        _add_changes(report, "metric", [(name, found.metric(name)) for name in metrics])


def _add_changes(report: Report, what: str, changes: Sequence[tuple[str, Paired | None]]) -> None:
    rows = [
        (
            name,
            change.difference if change else "n/a",
            f"{change.mcnemar.p_value:.3g}" if change and change.mcnemar else "n/a",
            change.n if change else "n/a",
            change.left_out if change else "n/a",
        )
        for name, change in changes
    ]
    report.table((what, "difference", "p", "paired", "left out"), rows)


def _add_costs(report: Report, found: Evaluation) -> None:
    report.section("Cost")
    rows = [
        (
            f"{name}, {label}",
            cost.calls,
            cost.failed_attempts,
            cost.prompt_tokens,
            cost.completion_tokens,
            cost.seconds,
        )
        for label, outcome in zip(("model", "before"), found.outcomes, strict=False)
        for name, cost in outcome.costs.items()
    ]
    report.table(("part", "calls", "failed attempts", "tokens in", "tokens out", "seconds"), rows)


def _add_unsolved(report: Report, run: Run, found: Evaluation) -> None:
    """The first questions that the model did not solve, with its own words."""
    from planish.tasks.ability import Solution

    solutions = list(run.records("solution", Solution)) if found.after.ability else []
    unsolved = [each for each in solutions if each.score != 1][:_SHOWN]
    lost = {name: result.lost for name, result in found.after.ability.items() if result.lost}
    if not unsolved and not lost:
        return
    report.section(
        "Questions that were not solved",
        f"The first {len(unsolved)}; records.jsonl holds every reply.",
    )
    for each in unsolved:
        said = f"{each.why}\n\n" if each.why else ""
        report.details(f"{each.example_id}: {each.status}", (said + each.text)[:_EXCERPT])
    for name, reasons in lost.items():
        lines = "\n".join(f"{example}: {why}" for example, why in reasons.items())
        report.details(f"{name}: {len(reasons)} without a reply", lines[:_EXCERPT])
