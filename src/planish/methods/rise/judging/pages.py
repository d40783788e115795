"""What a person sees of the stages `judge` and `score`, beside the agreement itself.

write_report(run, cases, judgments, result, title="a judge", subtitle="pairs", min_coverage=0.9)
show_leaderboard(board, 0.9, screen)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.judges import Agreement, Case, Judgment
from planish.judges.pages import add_agreement, add_cases, covered
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report

__all__ = ["percent", "show_leaderboard", "show_parsers", "write_report"]


def write_report(
    run: Run,
    cases: Sequence[Case],
    judgments: Sequence[Judgment],
    result: Agreement,
    *,
    title: str,
    subtitle: str,
    min_coverage: float,
    parsers: Mapping[str, Mapping[str, int]] | None = None,
    tiny: bool = False,
) -> Path:
    """Writes `report.html` into the run's folder."""
    report = Report(
        title,
        subtitle=subtitle,
        claim="A judge is as good as what it says in both orders: a verdict that follows the slot "
        "is not a verdict.",
        note=f"Run {run.path.name}, seed {run.info.seed}. Intervals are 95 %, bootstrapped over "
        "cases; both orders of a case are one observation.",
        tiny=tiny,
    )
    add_agreement(report, result, min_coverage)
    if parsers:
        keys = ("agree", "resolved", "resolved_several_labels", "lost", "different", "calls")
        report.section("Reading the texts anew")
        report.table(
            ("parser", *(key.replace("_", " ") for key in keys)),
            [(name, *(counts[key] for key in keys)) for name, counts in parsers.items()],
            caption="Each parser against the recorded decisions. Resolved: the record is null, "
            "the parser reads a verdict.",
        )
    add_cases(report, cases, judgments)
    return report.save(run.report_path)


def show_leaderboard(board: dict[str, Any], min_coverage: float, screen: Screen) -> None:
    """RewardBench's own table; nothing for other pairs, no headline below the coverage floor."""
    if "rewardbench" not in board:
        return
    rows = [(f"  {name}", percent(value)) for name, value in board["subsets"].items()]
    if "sections" in board:
        rows += [(name, percent(value)) for name, value in board["sections"].items()]
    if covered(board["credit_coverage"], min_coverage):
        rows.append(("RewardBench", percent(board["rewardbench"])))
    screen.table(("RewardBench's own arithmetic", "score, %"), rows)
    missing = board["subsets_missing"]
    if missing:
        screen.say(
            f"{len(missing)} of the benchmark's subsets are not in these pairs (first: "
            f"{missing[0]}): not comparable with published scores."
        )


def percent(value: float | None) -> str:
    """A score in percent, as RewardBench prints it."""
    return "n/a" if value is None else f"{100 * value:.1f}"


def show_parsers(parsers: Mapping[str, Mapping[str, int]], source: str, screen: Screen) -> None:
    """How each parser's reading compares with the recorded decisions."""
    if not parsers:
        return
    screen.table(
        ("parser", "agrees", "reads a null", "of these several labels", "loses", "differs"),
        [
            (
                name + (" (used)" if name == source else ""),
                f"{counts['agree']} of {counts['calls']}",
                *(
                    str(counts[key])
                    for key in ("resolved", "resolved_several_labels", "lost", "different")
                ),
            )
            for name, counts in parsers.items()
        ],
        title="the texts read anew, against the recorded decisions",
    )
