"""What a person sees of the training-free baselines: the tables, and the report.

show(plan, asking, asked, results, summary, screen)
write_report(run, plan, asking, asked, results, summary)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.methods.s2j.measuring.arms import NAMES, ArmRow, Asking, Baseline, has_grammar
from planish.methods.s2j.measuring.baselines import Asked
from planish.methods.s2j.measuring.baselines_plan import Plan
from planish.methods.s2j.measuring.baselines_results import ArmResult
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate

__all__ = ["show", "write_report"]

_SHOWN, _EXCERPT = 12, 4000
_SHORT: dict[Baseline, str] = {
    **NAMES,
    "own_answer": "own answer",
    "gold_answer": "gold answer",
    "vote": "vote",
}
"""For tables that would be too wide otherwise."""


def show(
    plan: Plan,
    asking: Asking,
    asked: Asked,
    results: Sequence[ArmResult],
    summary: Mapping[str, Any],
    screen: Screen,
) -> None:
    """The tables that a person reads, without headlines below the coverage floor."""
    screen.table(
        ("", "calls right", "both orders", "read", f"{_unit(asked)} an item"),
        [
            (
                result.name,
                *(
                    str(each) if _covered(result, plan) else "below the floor"
                    for each in (result.accuracy, result.both_right)
                ),
                _share(result.coverage),
                f"{result.tokens.value or 0:.1f}",
            )
            for result in results
        ],
        title=f"{plan.model} on {plan.source}: {results[0].num_items} items, both orders, "
        f"{plan.judgments} judgments each",
    )
    screen.table(
        ("minus template", "calls right", "both orders", "alone right", "p (Holm)"),
        [
            (
                _SHORT[result.arm],
                _gain(result.accuracy_gain) if _comparable(result, results, plan) else "n/a",
                _gain(result.both_right_gain) if _comparable(result, results, plan) else "n/a",
                _only(result),
                "n/a" if result.p_holm is None else f"{result.p_holm:.3g}",
            )
            for result in results[1:]
        ],
        title="on the same items",
    )
    screen.numbers(
        {
            "its own answer is right": summary["own_answer_solve_rate"],
            "calls right beside a right one": summary["own_answer_accuracy_where_right"],
            "calls right beside a wrong one": summary["own_answer_accuracy_where_wrong"],
        },
        title=NAMES["own_answer"],
    )
    for line in _lines(plan, asking, asked, results):
        screen.say(line)


def _lines(plan: Plan, asking: Asking, asked: Asked, results: Sequence[ArmResult]) -> list[str]:
    """What must be known to read the tables right."""
    by_arm = {result.arm: result for result in results}
    unit, cost = _unit(asked), by_arm["vote"].tokens.value or 0
    coins = sum(row.coins for row in asked.rows["vote"])
    orders = 2 * by_arm["vote"].num_items
    vote = f"The vote counts {asked.votes} plain judgments per order, {cost:.1f} {unit} an item"
    vote += f" against {asked.budget:.1f} of the dearer of the two arms that solve"
    if asked.capped:
        vote += f": --most-votes {asking.most_votes} allows no more, so this is less than equal"
    lines = [f"{vote}; {coins} of {orders} votes were drawn and decided by a coin."]
    if has_grammar(asking.solving):
        lines.append(
            f"The template {asking.solving.name} has no place for a reference: it was put where "
            "the judge's own solution would stand, and template only forces the verdict at once."
        )
    if asked.by_words:
        lines.append("The model counts no tokens: words stand in for them.")
    if "gold_answer" not in by_arm:
        lines.append("No item has a gold answer: gold as reference could not be asked.")
    elif by_arm["gold_answer"].num_items < results[0].num_items:
        lines.append(
            f"gold as reference: the {by_arm['gold_answer'].num_items} items with a gold answer."
        )
    low = [result.name for result in results if not _covered(result, plan)]
    if low:
        lines.append(
            f"Coverage below the floor {plan.min_coverage:g}, no headline: {', '.join(low)}."
        )
    return lines


def _unit(asked: Asked) -> str:
    return "words" if asked.by_words else "tokens"


def _covered(result: ArmResult, plan: Plan) -> bool:
    return result.coverage.value is not None and result.coverage.value >= plan.min_coverage


def _comparable(result: ArmResult, results: Sequence[ArmResult], plan: Plan) -> bool:
    return _covered(result, plan) and _covered(results[0], plan)


def _share(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.3f}"


def _gain(estimate: Estimate | None) -> str:
    if estimate is None or estimate.value is None:
        return "n/a"
    bounds = "" if estimate.low is None else f" [{estimate.low:+.3f}, {estimate.high:+.3f}]"
    return f"{estimate.value:+.3f}{bounds}"


def _only(result: ArmResult) -> str:
    """Items where this arm alone is right in both orders, against those where the first is."""
    test = result.mcnemar
    return "n/a" if test is None else f"{test.only_b} to {test.only_a}"


def write_report(
    run: Run,
    plan: Plan,
    asking: Asking,
    asked: Asked,
    results: Sequence[ArmResult],
    summary: Mapping[str, Any],
) -> Path:
    """Writes `report.html` into the run's folder."""
    from planish.runs.plots import interval_plot

    report = Report(
        f"{plan.model}: what judging gains without training",
        subtitle=f"{plan.source}, {results[0].num_items} items, both orders, "
        f"{plan.judgments} judgments each, temperature {plan.temperature:g}",
        claim="A judge that was trained has to beat what the untrained one gains by being asked "
        "better, at the same number of tokens.",
        note="Intervals are 95 %, bootstrapped over items; all judgments of an item are one "
        "observation.",
        run=run,
        tiny=plan.is_tiny,
    )
    covered = [result for result in results if _covered(result, plan)]
    report.numbers({result.name: result.accuracy for result in covered})
    report.text("\n\n".join(_lines(plan, asking, asked, results)))
    if covered:
        report.figure(
            interval_plot([(result.name, result.accuracy, None) for result in covered]),
            "Calls that name the right candidate, both orders together.",
            "Dots with intervals for each arm",
        )
        report.figure(
            interval_plot([(result.name, result.both_right, None) for result in covered]),
            "Judgments that are right in both orders.",
            "Dots with intervals for each arm",
        )
    _add_tables(report, plan, asked, results, summary)
    _add_items(report, asked)
    return report.save(run.report_path)


def _add_tables(
    report: Report,
    plan: Plan,
    asked: Asked,
    results: Sequence[ArmResult],
    summary: Mapping[str, Any],
) -> None:
    report.section("Every arm")
    report.table(
        ("", "calls right", "both orders", "read"),
        [
            (
                result.name,
                *(
                    each if _covered(result, plan) else "below the floor"
                    for each in (result.accuracy, result.both_right)
                ),
                result.coverage,
            )
            for result in results
        ],
    )
    report.table(
        ("", "first slot", f"{_unit(asked)} an item", "read in"),
        [
            (
                result.name,
                result.first_slot,
                result.tokens,
                result.prompt_tokens,
            )
            for result in results
        ],
        caption="First slot: verdicts that name whatever stood first; 0.5 is fair. Cost: to judge "
        "an item in both orders once, written and read in, with the solution that was asked for "
        "before it.",
    )
    report.section(
        "Against template only",
        "Each item is compared with itself. The exact McNemar test counts the items where only "
        "one of the two arms is right in both orders at its first judgment (the vote: at its "
        "vote); p is adjusted over the arms by Holm's method.",
    )
    report.table(
        ("", "calls right", "both orders", "items", "only this one", "only template", "p (Holm)"),
        [
            (
                result.name,
                *(
                    each if each is not None and _comparable(result, results, plan) else "n/a"
                    for each in (result.accuracy_gain, result.both_right_gain)
                ),
                result.num_compared,
                result.mcnemar.only_b if result.mcnemar else "n/a",
                result.mcnemar.only_a if result.mcnemar else "n/a",
                "n/a" if result.p_holm is None else f"{result.p_holm:.3g}",
            )
            for result in results[1:]
        ],
    )
    report.section("Its own answer as the reference")
    report.numbers(
        {
            "its own answer is right": summary["own_answer_solve_rate"],
            "calls right beside a right one": summary["own_answer_accuracy_where_right"],
            "calls right beside a wrong one": summary["own_answer_accuracy_where_wrong"],
        }
    )
    statuses = sorted({status for result in results for status in result.statuses})
    report.section("Where verdicts were lost")
    report.table(
        ("calls", *statuses),
        [
            (result.name, *(result.statuses.get(status, 0) for status in statuses))
            for result in results
        ],
        caption="Only ok and tie carry a verdict.",
    )


def _add_items(report: Report, asked: Asked) -> None:
    """The first items where plain judging and judging beside the own answer differ."""
    plain = {row.item_id: row for row in asked.rows["template_only"]}
    differ = [row for row in asked.rows["own_answer"] if row.right != plain[row.item_id].right]
    if not differ:
        return
    report.section(
        "Where the own answer changed a verdict",
        "The first of them; records.jsonl holds every item of every arm.",
    )
    for row in differ[:_SHOWN]:
        parts = [f"reference: {row.reference}", *_told(plain[row.item_id]), *_told(row)]
        report.details(
            f"{row.item_id}: its own answer is {_RIGHT[row.reference_right]}",
            "\n\n".join(part[:_EXCERPT] for part in parts),
        )


_RIGHT = {True: "right", False: "wrong", None: "unknown"}


def _told(row: ArmRow) -> list[str]:
    return [
        f"{NAMES[row.arm]}, {order}: {verdict}\n{text}"
        for order, texts in row.texts.items()
        for text, verdict in zip(
            texts, ("no verdict" if r is None else _RIGHT[r] for r in row.right[order]), strict=True
        )
    ]
