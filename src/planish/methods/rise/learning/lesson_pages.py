"""What a lesson shows: its numbers, the table on the terminal, its part of the demo's page.

show_lesson(lesson, screen)
add_lesson(report, lesson)
"""

from __future__ import annotations

from typing import Any

from planish.methods.rise.learning.lesson import Lesson, Recipe
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate

__all__ = ["add_lesson", "lesson_numbers", "show_lesson", "verdict_on"]

_NAMES: dict[Recipe, str] = {
    "before": "the apprentice, untrained",
    "SFT": "after SFT on the first rows",
    "two stages": "after SFT, then DPO + NLL",
    "two stages, supported": "... with better supported pairs",
    "SFT, equal rows": "baseline: SFT on as many rows",
}


def verdict_on(difference: Estimate) -> str:
    """How two stages did against SFT alone: "beat", "lose to" or "tie with" it."""
    if difference.low is None or difference.high is None or difference.low <= 0 <= difference.high:
        return "tie with"
    return "beat" if difference.low > 0 else "lose to"


def lesson_numbers(lesson: Lesson) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    before, after = lesson.judged["before"], lesson.judged["two stages"]
    return {
        "judge_before": before.call_accuracy,
        "judge_sft": lesson.judged["SFT"].call_accuracy,
        "judge_sft_equal_rows": lesson.judged["SFT, equal rows"].call_accuracy,
        "judge_after": after.call_accuracy,
        "judge_both_right_before": before.both_right,
        "judge_both_right_after": after.both_right,
        "judge_coverage_after": after.coverage,
        "judge_gain": lesson.gain,
        "judge_minus_sft_equal_rows": lesson.against_sft,
        "judge_supported": lesson.judged["two stages, supported"].call_accuracy,
        "judge_supported_minus_sft_equal_rows": lesson.supported_against_sft,
        "judge_solve_before": lesson.solved["before"],
        "judge_solve_after": lesson.solved["after"],
        "judge_rows": lesson.rows,
        "judge_hard_items": lesson.hard,
    }


def _claim(lesson: Lesson) -> str:
    rows = lesson.rows
    return (
        f"Two stages ({rows['sft']} judgments of a teacher, then {rows['dpo']} pairs of the "
        f"judge's own) {verdict_on(lesson.against_sft)} SFT on {rows['alone']} judgments of the "
        f"teacher, with as many steps: {lesson.against_sft} of all calls. With pairs whose "
        f"solutions are better supported they {verdict_on(lesson.supported_against_sft)} it: "
        f"{lesson.supported_against_sft}."
    )


def show_lesson(lesson: Lesson, screen: Screen) -> None:
    """What a person reads."""
    screen.table(
        ("", "calls right", "both orders", "read"),
        [
            (
                text,
                str(lesson.judged[recipe].call_accuracy),
                str(lesson.judged[recipe].both_right),
                _share(lesson.judged[recipe].coverage),
            )
            for recipe, text in _NAMES.items()
        ],
        title=f"a judge is taught: {lesson.judged['before'].num_cases} held-out pairs, both orders",
    )
    screen.say(_claim(lesson))
    screen.say(f"Solving alone, before {lesson.solved['before']}, after {lesson.solved['after']}.")


def _share(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{estimate.value:.3f}"


def add_lesson(report: Report, lesson: Lesson) -> None:
    """The lesson's part of the demo's page."""
    from planish.runs.plots import interval_plot

    rows = lesson.rows
    report.section(
        "A judge is taught",
        "The teacher is right in three of four pairs, and half of its careless judgments pass for "
        f"right by luck. The apprentice learns {rows['sft']} of its judgments that name the gold "
        f"reply, then {rows['dpo']} pairs of its own, right against wrong, of the {lesson.hard} "
        "items that it fails in either order. Imitation keeps the teacher's luck; a preference "
        "takes it away, because careless judgments stand on both sides.",
    )
    report.figure(
        interval_plot(
            [(text, lesson.judged[recipe].call_accuracy, None) for recipe, text in _NAMES.items()]
        ),
        "Calls that name the gold reply, among those that were read.",
        "Dots with intervals for the judge before and after each recipe",
    )
    report.text(_claim(lesson))
    report.table(
        ("recipe", "calls right", "both orders right", "first slot", "read"),
        [
            (
                text,
                lesson.judged[recipe].call_accuracy,
                lesson.judged[recipe].both_right,
                lesson.judged[recipe].first_slot_rate,
                lesson.judged[recipe].coverage,
            )
            for recipe, text in _NAMES.items()
        ],
    )
    report.text(
        f"Questions solved alone: before {lesson.solved['before']}, after "
        f"{lesson.solved['after']}. Many seeds, the ablations and what a better teacher changes "
        "are in the room's README."
    )
