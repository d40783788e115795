"""What labelling shows: the numbers of a run, the tables on the terminal, the report.

summary = summarize(items, scored, rows, drops)
show(summary, screen)
write_report(run, summary, rows, policy="hf:./policy", judge="hf:./judge")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from planish.methods.rise.method import Drops
from planish.methods.rise.teaching.labelling import Item, why_unused
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate, mean, ratio
from planish.training.rewards import Scored

__all__ = ["show", "summarize", "write_report"]

_SHOWN, _EXCERPT = 10, 2000

Rows = Sequence[Mapping[str, Any]]


def summarize(
    items: Sequence[Item], scored: Sequence[Scored], rows: Rows, drops: Drops
) -> dict[str, Any]:
    """The numbers of a run, by the names that `--json` and run.json use."""
    came = [[draw.finish != "error" for draw in item.completions] for item in items]
    told = [[score for score in item.verified if score is not None] for item in items]
    has_verifier = any(told)
    num_came = [sum(each) for each in came]
    calls = [call for scores in scored for call in scores.calls]
    draws = [draw for item in items for draw in item.completions]
    unused = Counter(why for draw in draws if (why := why_unused(draw)) is not None)
    statuses = Counter(
        status for scores in scored for made in scores.judgments for status in made.statuses
    )
    return {
        "num_prompts": len(items),
        "num_rows": len(rows),
        "dropped_prompts": drops.counts,
        "num_dropped_prompts": drops.total,
        "dropped_replies": dict(unused.most_common()),
        "different_replies": mean([len(item.replies) for item in items]),
        "coverage": ratio(
            [scores.num_scored for scores in scored], [len(scores.judgments) for scores in scored]
        ),
        "statuses": dict(statuses.most_common()),
        "policy_solve_rate": ratio([each.count(1) for each in told], num_came)
        if has_verifier
        else Estimate(value=None),
        "verified": ratio([len(each) for each in told], num_came)
        if has_verifier
        else Estimate(value=None),
        **_label_numbers(rows),
        "policy_calls": len(draws),
        "policy_prompt_tokens": sum(draw.usage.prompt_tokens for draw in draws),
        "policy_completion_tokens": sum(draw.usage.completion_tokens for draw in draws),
        "judge_calls": len(calls),
        "judge_prompt_tokens": sum(call.usage.prompt_tokens for call in calls),
        "judge_completion_tokens": sum(call.usage.completion_tokens for call in calls),
    }


def _label_numbers(rows: Rows) -> dict[str, Any]:
    """How right the labels are, where a verifier knows both sides, and what they prefer."""
    sides = [(row["right_chosen"], row["right_rejected"]) for row in rows]
    known = [None not in side for side in sides]
    good = [side == (True, False) for side in sides]
    bad = [side == (False, True) for side in sides]
    one_right = [a or b for a, b in zip(good, bad, strict=True)]
    return {
        "label_accuracy": ratio(good, known),
        "label_not_worse": ratio(
            [yes and not wrong for yes, wrong in zip(known, bad, strict=True)], known
        ),
        "label_accuracy_decided": ratio(good, one_right),
        "margin": mean([row["margin"] for row in rows]),
        "length_difference": mean([row["chosen_chars"] - row["rejected_chars"] for row in rows]),
    }


_NAMES = {
    "coverage": "duels or ratings read",
    "policy_solve_rate": "replies of the policy that are right",
    "verified": "replies that the verifier can read",
    "label_accuracy": "chosen right and rejected wrong",
    "label_not_worse": "chosen at least as right",
    "label_accuracy_decided": "chosen right where one of them is",
    "margin": "margin",
    "length_difference": "chosen is longer by (characters)",
    "different_replies": "different replies a prompt",
}


def show(summary: Mapping[str, Any], screen: Screen) -> None:
    """What a person reads."""
    dropped = [(why, str(count)) for why, count in summary["dropped_prompts"].items()]
    screen.table(
        ("", "count"),
        [("bring a pair", str(summary["num_rows"])), *dropped],
        title=f"{summary['num_prompts']} prompts",
    )
    screen.numbers(
        {text: summary[name] for name, text in _NAMES.items()},
        title=f"{summary['num_rows']} pairs labelled by {summary['by']}",
    )
    for who in ("policy", "judge"):
        screen.say(_cost(summary, who))
    if summary["dropped_replies"]:
        why = ", ".join(f"{why} {count}" for why, count in summary["dropped_replies"].items())
        screen.say(f"replies that are not paired: {why}")


def _cost(summary: Mapping[str, Any], who: str) -> str:
    calls, read, written = (
        f"{summary[f'{who}_{name}']:,}" for name in ("calls", "prompt_tokens", "completion_tokens")
    )
    return f"{who}: {calls} calls, {read} tokens read, {written} written"


def write_report(
    run: Run, summary: Mapping[str, Any], rows: Rows, *, policy: str, judge: str
) -> None:
    """The page of a run: how good the labels are, what was dropped, and the first pairs."""
    report = Report(
        f"{summary['num_rows']} pairs of replies",
        subtitle=f"{policy}, labelled by {judge}",
        claim="Labels teach what they prefer. Where a verifier exists it tells how often that is "
        "the right reply; a length difference tells what else it may be.",
        run=run,
        tiny=policy.startswith(("embedded:", "scripted:")),
    )
    cards = ("label_accuracy", "label_accuracy_decided", "policy_solve_rate", "length_difference")
    report.numbers({"pairs": summary["num_rows"], **{_NAMES[n]: summary[n] for n in cards}})
    report.section("All numbers")
    report.table(("", "value"), [(text, summary[name]) for name, text in _NAMES.items()])
    report.text(f"{_cost(summary, 'policy')}.\n\n{_cost(summary, 'judge')}.")
    for title, counts in (
        ("Prompts without a pair", summary["dropped_prompts"]),
        ("Replies that are not paired", summary["dropped_replies"]),
    ):
        if counts:
            report.section(title)
            report.table(("", "count"), list(counts.items()))
    report.section("Pairs", f"The first {_SHOWN}, as they are trained on.")
    for row in rows[:_SHOWN]:
        parts = [(turn["role"], turn["content"]) for turn in row["prompt"]]
        parts += [(side, row[side][0]["content"]) for side in ("chosen", "rejected")]
        report.details(
            f"{row['item_id']}, {_score(row, 'chosen')} against {_score(row, 'rejected')}",
            "\n\n".join(f"{name}: {text[:_EXCERPT]}" for name, text in parts),
        )
    report.save(run.report_path)


def _score(row: Mapping[str, Any], side: str) -> str:
    right = {True: " (right)", False: " (wrong)", None: ""}[row[f"right_{side}"]]
    return f"{row[f'{side}_score']:.2f}{right}"
