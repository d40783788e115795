"""What improving a policy shows: the numbers, the page, and the checkpoint's card.

summary = summarize(plan, compared, results, curves)
show(plan, summary, screen)
write_pages(run, plan, results, curves, summary, compared)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.methods.rise.learning.training import StageResult
from planish.methods.rise.learning.training_pages import (
    About,
    Curves,
    model_card,
    training_sections,
)
from planish.methods.rise.learning.training_pages import summarize as training_numbers
from planish.methods.rise.teaching.comparison import Compared
from planish.methods.rise.teaching.improve_plan import Plan
from planish.records import write_text
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.report import Report
from planish.stats import Estimate

__all__ = ["show", "summarize", "write_pages"]

_SHOWN, _EXCERPT = 10, 2000

_NAMES = {
    "solve_before": "solved before",
    "solve_after": "solved after",
    "solve_difference": "solved, after − before",
    "solve_p_value": "p (exact McNemar)",
    "only_after_solves": "prompts that only after solves",
    "only_before_solves": "prompts that only before solves",
    "verified_before": "replies the verifier can read, before",
    "verified_after": "replies the verifier can read, after",
    "chars_before": "characters a reply, before",
    "chars_after": "characters a reply, after",
    "chars_difference": "characters, after − before",
    "win_rate": "the other judge prefers after",
    "win_coverage": "duels it could decide in both orders",
    "num_identical": "duels of identical replies (ties)",
    "num_unscored": "duels it could not decide",
}


def summarize(
    plan: Plan, compared: Compared, results: Sequence[StageResult], curves: Curves
) -> dict[str, Any]:
    """The numbers of a run; a win rate below the coverage floor is none."""
    numbers = compared.numbers()
    coverage = numbers.get("win_coverage")
    if coverage is not None and coverage < plan.evaluation.min_coverage:
        numbers["win_rate"] = Estimate(value=None)
    return numbers | training_numbers(results, curves)


def show(plan: Plan, summary: Mapping[str, Any], screen: Screen) -> None:
    """What a person reads."""
    screen.numbers(
        {text: summary[name] for name, text in _NAMES.items() if name in summary},
        title=f"{plan.model} on {summary['num_prompts']} report prompts of {plan.task}",
    )
    coverage = summary.get("win_coverage")
    if coverage is not None and coverage < plan.evaluation.min_coverage:
        screen.warn(
            f"{plan.judge} could decide {coverage:.3f} of the duels, below "
            f"{plan.evaluation.min_coverage:g}: no win rate"
        )


def write_pages(
    run: Run,
    plan: Plan,
    results: list[StageResult],
    curves: Curves,
    summary: Mapping[str, Any],
    compared: Compared,
) -> None:
    """Writes the checkpoint's card and the run's report."""
    write_text(Path(plan.out) / "README.md", model_card(run, plan, results, summary, _about(plan)))
    report = Report(
        f"{plan.model} improved on labelled pairs",
        subtitle=f"DPO, then {summary['num_prompts']} report prompts of {plan.task} before and "
        f"after{f', also compared by {plan.judge}' if plan.judge else ''}",
        claim="The verifier, not the judge that made the labels, says whether it got better.",
        run=run,
        tiny=plan.model.startswith("embedded:"),
    )
    cards = ("solve_before", "solve_after", "solve_difference", "win_rate", "chars_difference")
    report.numbers({_NAMES[name]: summary[name] for name in cards if name in summary})
    report.section("Before and after", _tested(summary))
    report.table(
        ("", "value"), [(text, summary[name]) for name, text in _NAMES.items() if name in summary]
    )
    training_sections(report, plan, results, curves, "replies")
    report.section("Replies", f"The first {_SHOWN} prompts.")
    for example, record in zip(compared.examples[:_SHOWN], compared.records(), strict=False):
        parts: list[tuple[str, str]] = [(turn.role, turn.content) for turn in example.prompt]
        for when in ("before", "after"):
            for text, score in zip(
                record.replies[when], record.replies[f"verified_{when}"], strict=True
            ):
                told = {None: "not verified", 1.0: "right"}.get(score, "wrong")
                parts.append((f"{when} ({told})", text))
        report.details(
            example.id, "\n\n".join(f"{name}: {text[:_EXCERPT]}" for name, text in parts)
        )
    report.save(run.report_path)


def _tested(summary: Mapping[str, Any]) -> str:
    text = "A prompt is one item; intervals are bootstrapped over prompts, differences paired. "
    if "solve_p_value" in summary:
        return text + "The p-value is of an exact McNemar test on the prompts that one side solves."
    return text + "With several replies a prompt there is no McNemar test: see the difference."


def _about(plan: Plan) -> About:
    return About(
        what=f"A policy, made from `{plan.model}` by DPO on labelled pairs of its own replies with "
        "`planish rise improve`",
        use=command(
            *("planish", "rise", "label", "--policy", f"hf:./{Path(plan.out).name}"),
            *("--judge", "JUDGE", "--task", plan.task, "--out", "LABELS"),
        ),
        apart=f"No row asks, or nearly asks, a prompt that it was compared on (report split of "
        f"`{Path(plan.task).name}`).",
        note="`solve_`, `chars_` and `win_` are of held-out prompts before and after; `dpo_` are "
        "means over the last tenth of the steps, on the training rows.",
        tags=("rise", "policy"),
    )
