"""What a synthesis shows: the numbers of a run, the tables on the terminal, the report.

summary = summarize("dpo", len(cases), items, chosen, drops)
show(summary, screen)
write_report(run, summary, chosen, source="pairs.jsonl", teacher="embedded:reasoner")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from planish.judges.pairs import JudgePair, JudgeRow
from planish.methods.rise.learning.config import SynthesisStage
from planish.methods.rise.method import Drops, Item, Selection
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate, ratio

__all__ = ["Chosen", "show", "summarize", "write_report"]

Chosen = Selection[JudgeRow] | Selection[JudgePair]

_SHOWN, _EXCERPT = 5, 4000


def summarize(
    stage: SynthesisStage,
    num_pairs: int,
    items: Sequence[Item],
    chosen: Chosen,
    drops: Drops,
) -> dict[str, Any]:
    """The numbers of a run, by the names that `--json` and run.json use."""
    rows, draws = chosen.rows, [draw for item in items for draw in item.draws]
    right = [sum(draw.right is True for draw in item.draws) for item in items]
    read = [sum(draw.right is not None for draw in item.draws) for item in items]
    usage = [draw.completion.usage for draw in draws]
    found: dict[str, Any] = {
        "stage": stage,
        "num_pairs": num_pairs,
        "num_judged": len(items),
        "num_items": len({row.item_id for row in rows}),
        "num_rows": len(rows),
        "dropped_items": drops.counts,
        "num_dropped_items": drops.total,
        "num_rows_built": len(chosen.built),
        "dropped_rows": chosen.dropped_rows.counts,
        "gold_slots": _counts((row.gold for row in rows), ("A", "B")),
        "orders": _counts((row.order for row in rows), ("AB", "BA")),
        "num_templates": len({row.template_hash for row in rows}),
        "coverage": ratio(read, [len(item.draws) for item in items]),
        "call_accuracy": ratio(right, read),
        "statuses": dict(Counter(draw.status for draw in draws).most_common()),
        "prompt_tokens": sum(each.prompt_tokens for each in usage),
        "completion_tokens": sum(each.completion_tokens for each in usage),
    }
    lucky = _lucky_rate(items)
    if lucky is not None:
        found["lucky_rate"] = lucky
    if stage == "dpo":
        found["num_hard"] = len(chosen.hard)
        found["length_difference_built"] = _mean(row.length_difference for row in chosen.built)
        found["length_difference"] = _mean(row.length_difference for row in rows)
    return found


def _lucky_rate(items: Sequence[Item]) -> Estimate | None:
    """The share of judgments that name the gold although their own solution is wrong.

    Of those that hold a verdict and a solution that was checked; None where there are none.
    """
    checked = [
        [draw for draw in item.draws if draw.right is not None and draw.solved is not None]
        for item in items
    ]
    if not any(checked):
        return None
    lucky = [sum(bool(draw.right and not draw.solved) for draw in draws) for draws in checked]
    return ratio(lucky, [len(draws) for draws in checked])


def _counts(values: Iterable[str], names: Sequence[str]) -> dict[str, int]:
    counted = Counter(values)
    return {name: counted[name] for name in names}


def _mean(values: Iterable[int]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0


def _tables(summary: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    total = summary["num_pairs"]
    dropped = [(why, str(count)) for why, count in summary["dropped_items"].items()]
    return [
        (
            f"{total} pairs",
            [("bring rows", str(summary["num_items"])), *dropped],
        ),
        (
            "rows left out",
            [(why, str(count)) for why, count in summary["dropped_rows"].items()],
        ),
    ]


def _lucky(summary: dict[str, Any]) -> dict[str, Estimate]:
    """Under the name that a person reads; empty where no solution was checked."""
    found = summary.get("lucky_rate")
    return {} if found is None else {"right verdict, wrong solution": found}


def show(summary: dict[str, Any], screen: Screen) -> None:
    """What a person reads."""
    for title, rows in _tables(summary):
        screen.table(("", "count"), rows, title=title)
    screen.numbers(
        {
            "coverage (judgments read)": summary["coverage"],
            "judgments that name the gold": summary["call_accuracy"],
            **_lucky(summary),
        },
        title=f"{summary['num_rows']} rows",
    )
    slots, orders = summary["gold_slots"], summary["orders"]
    line = (
        f"gold in slot A {slots['A']}, B {slots['B']} · pairs as given {orders['AB']}, swapped "
        f"{orders['BA']} · {summary['num_templates']} prompts"
    )
    if "num_hard" in summary:
        line += (
            f" · {summary['num_hard']} hard items · chosen is longer by "
            f"{summary['length_difference']:+.1f} characters (built "
            f"{summary['length_difference_built']:+.1f})"
        )
    screen.say(line)


def write_report(
    run: Run, summary: dict[str, Any], chosen: Chosen, *, source: str, teacher: str
) -> None:
    """The page of a run: what was kept, what was not and why, and the first rows."""
    what = "Judgments that name the gold" if summary["stage"] == "sft" else "Right against wrong"
    report = Report(
        f"{what}: {summary['num_rows']} rows",
        subtitle=f"{source}, judged by {teacher}, stage {summary['stage']}",
        run=run,
        tiny=teacher.startswith(("embedded:", "scripted:")),
    )
    report.numbers(
        {
            "rows": summary["num_rows"],
            "items": summary["num_items"],
            "judgments read": summary["coverage"],
            "name the gold": summary["call_accuracy"],
            **_lucky(summary),
        }
    )
    for title, rows in _tables(summary):
        if rows:
            report.section(title[:1].upper() + title[1:])
            report.table(("", "count"), rows)
    report.section("Rows", f"The first {_SHOWN}, as they are trained on.")
    for row in chosen.rows[:_SHOWN]:
        replies = (
            [("completion", row.completion)]
            if isinstance(row, JudgeRow)
            else [("chosen", row.chosen), ("rejected", row.rejected)]
        )
        parts = [(turn.role, turn.content) for turn in row.prompt] + replies
        text = "\n\n".join(f"{name}: {part[:_EXCERPT]}" for name, part in parts)
        report.details(f"{row.item_id}, {row.order}, gold {row.gold}", text)
    report.save(run.report_path)
