"""What is left of a training run for people: its numbers, its report and the model's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.rise.learning.config import TrainConfig
from planish.methods.rise.learning.training_plan import Plan
from planish.runs import Run
from planish.runs.console import command
from planish.training.pages import curve, front_matter, made_with, markdown, pace, shown
from planish.training.rows import Kind

if TYPE_CHECKING:
    from planish.methods.rise.learning.training import StageResult
    from planish.runs.report import Report

__all__ = ["About", "Curves", "model_card", "summarize", "training_sections", "write_page"]

Curves = Mapping[Kind, Sequence[Mapping[str, Any]]]
"""What was logged in each stage: a row a step, by the trainers' names."""

# What the trainers log, under the names that a summary uses.
_LAST: dict[Kind, dict[str, str]] = {
    "sft": {"loss": "loss", "token_accuracy": "mean_token_accuracy"},
    "dpo": {
        "loss": "loss",
        "token_accuracy": "mean_token_accuracy",
        "pair_accuracy": "rewards/accuracies",
        "margin": "rewards/margins",
        "chosen_logp": "logps/chosen",
        "rejected_logp": "logps/rejected",
    },
    "scalar": {"loss": "loss", "pair_accuracy": "accuracy", "margin": "margin"},
}
_PANELS: dict[Kind, tuple[tuple[str, str, dict[str, str]], ...]] = {
    "sft": (
        ("loss", "Mean negative log-likelihood of the completions' tokens.", {"loss": "loss"}),
        (
            "token accuracy",
            "Share of the completions' tokens that are the most likely one.",
            {"tokens": "mean_token_accuracy"},
        ),
    ),
    "dpo": (
        ("loss", "Weighted sum of the DPO term and NLL on the chosen.", {"loss": "loss"}),
        (
            "share of pairs",
            "Pairs in which the chosen text gained more than the rejected one.",
            {"chosen ahead": "rewards/accuracies"},
        ),
        (
            "reward",
            "Beta times the log-ratio to the reference model.",
            {"chosen": "rewards/chosen", "rejected": "rewards/rejected"},
        ),
        (
            "log-probability",
            "Of whole texts. If chosen falls together with rejected, NLL weighs too little.",
            {"chosen": "logps/chosen", "rejected": "logps/rejected"},
        ),
    ),
    "scalar": (
        ("loss", "Bradley-Terry: -log sigmoid(chosen - rejected).", {"loss": "loss"}),
        (
            "share of pairs",
            "Pairs in which the chosen reply has the higher reward.",
            {"chosen ahead": "accuracy"},
        ),
        (
            "reward",
            "Of all replies, and by how much the chosen are ahead.",
            {"mean": "mean_reward", "margin": "margin"},
        ),
    ),
}


def summarize(results: Sequence[StageResult], curves: Curves) -> dict[str, Any]:
    """The numbers of a run; those that move are means over the last tenth of the steps."""
    summary: dict[str, Any] = {}
    for result in results:
        stage, rows = result.stage, curves[result.stage]
        last = rows[-max(1, len(rows) // 10) :]
        summary |= {
            f"{stage}_rows": result.num_rows,
            f"{stage}_steps": result.steps,
            f"{stage}_first_loss": rows[0]["loss"],
        }
        for name, logged in _LAST[stage].items():
            values = [row[logged] for row in last if row.get(logged) is not None]
            summary[f"{stage}_{name}"] = sum(values) / len(values) if values else None
    return summary


def write_page(
    run: Run,
    plan: Plan,
    results: Sequence[StageResult],
    curves: Curves,
    summary: Mapping[str, Any],
) -> None:
    """Writes `report.html` into the run's folder."""
    from planish.runs.report import Report

    report = Report(
        f"{plan.model} trained to judge",
        subtitle=", then ".join(_title(plan, stage) for stage in plan.stages),
        claim="Training numbers say that a model learned its rows, not that it judges: judge "
        "held-out pairs in both orders before and after.",
        run=run,
        tiny=plan.model.startswith("embedded:"),
    )
    report.numbers({name.replace("_", " "): value for name, value in _headline(summary).items()})
    training_sections(report, plan, results, curves)
    report.save(run.report_path)


def training_sections(
    report: Report,
    plan: Plan,
    results: Sequence[StageResult],
    curves: Curves,
    texts: str = "judgments",
) -> None:
    """Adds what was trained, its curves and its settings; `texts` is what the rows hold."""
    for result in results:
        report.section(
            _title(plan, result.stage, texts),
            f"{result.num_rows:,} rows of {result.num_items:,} items, {result.num_tokens:,} "
            f"tokens, the longest row {result.longest:,}; {result.steps:,} steps, "
            f"{result.num_trainable:,} of {result.num_parameters:,} weights trained"
            f"{pace(result.steps_per_second)}.",
        )
        for label, caption, lines in _PANELS[result.stage]:
            figure = curve(curves[result.stage], label, lines)
            if figure is not None:
                report.figure(figure, caption, f"{label} over the steps of {result.stage}")
    report.section("Settings")
    report.table(("setting", "value"), _settings(plan))


def _title(plan: Plan, stage: Kind, texts: str = "judgments") -> str:
    """What was done, by the terms that had a weight."""
    if stage == "sft":
        return f"SFT on {texts}"
    if stage == "scalar":
        return "a scalar Bradley-Terry head on pairs of replies"
    if plan.preference_weight == 0:
        return f"NLL on the chosen {texts}"
    return f"DPO {'with NLL ' if plan.alpha else ''}on pairs of {texts}"


def _headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = ("loss", "token_accuracy", "pair_accuracy", "margin")
    return {
        f"{stage}_{name}": summary[f"{stage}_{name}"]
        for stage in _LAST
        for name in names
        if summary.get(f"{stage}_{name}") is not None
    }


def _settings(plan: Plan) -> list[tuple[str, str]]:
    """What decides the result, without what the stages that ran did not look at."""
    other = set(_LAST) - set(plan.stages)
    unused = tuple(f"{stage}_" for stage in other)
    if "dpo" in other:
        unused += ("beta", "alpha", "preference_weight")
    if not plan.lora:
        unused += ("lora_",)
    if not plan.report_pairs:
        unused += ("near_duplicate",)
    return [
        (name, "default" if value is None else str(value))
        for name, value in plan.model_dump().items()
        if name in TrainConfig.model_fields and not name.startswith(unused)
    ]


_CARD = """\
{front}
# {name}

{what}, after
*LLM-as-a-Judge as a general ability* (arXiv 2502.11689).

    {use}

## Data

| stage | file | sha256 | items | rows | tokens | longest row |
|---|---|---|---|---|---|---|
{data}

Every row was trained on whole: {whole}.
{apart}

## Training

| | value |
|---|---|
{settings}
| processes | {processes} |

## Results of training

{note}

| number | value |
|---|---|
{results}

## Made with

{made}
"""


@dataclass(frozen=True)
class About:
    """What a card says beside the training.

    Args:
        what: what the checkpoint is, and what made it.
        use: a command that uses it.
        apart: which questions are not among its rows.
        note: what the numbers are of.
        tags: for whoever searches.
        pipeline: what the Hub calls its use.
    """

    what: str
    use: str
    apart: str
    note: str
    tags: tuple[str, ...] = ("rise",)
    pipeline: str = "text-generation"


def _judge(plan: Plan) -> About:
    scalar = plan.stages == ("scalar",)
    what = "A scalar reward model" if scalar else "A judge"
    return About(
        what=f"{what} of pairs of replies, made from `{plan.model}` with `planish rise train`",
        use=command(
            # Where the checkpoint stands on this machine is nobody else's business.
            *("planish", "rise", "judge"),
            *("--model", f"{'scalar' if scalar else 'hf'}:./{Path(plan.out).name}"),
            *("--pairs", "PAIRS.jsonl"),
        ),
        apart=_apart(plan),
        note="Means over the last tenth of the steps, on the training rows. They do not say how "
        "well it judges: ask it about held-out pairs in both orders.",
        tags=("reward-model" if scalar else "llm-as-a-judge", "rise"),
        pipeline="text-classification" if scalar else "text-generation",
    )


def model_card(
    run: Run,
    plan: Plan,
    results: Sequence[StageResult],
    summary: Mapping[str, Any],
    about: About | None = None,
) -> str:
    """The checkpoint's `README.md`: data, settings, results and seed; a judge's by default."""
    about = about or _judge(plan)
    data = [
        (
            result.stage,
            f"`{plan.data[result.stage].rpartition('/')[2]}`",
            f"`{plan.data_sha256[result.stage][:12]}`",
            f"{result.num_items:,}",
            f"{result.num_rows:,}",
            f"{result.num_tokens:,}",
            f"{result.longest:,}",
        )
        for result in results
    ]
    tags = (*about.tags, *plan.stages, *(("lora",) if plan.lora else ()))
    return _CARD.format(
        front=front_matter(
            model=plan.model,
            on_hub=plan.model.startswith("hf:") and plan.model_fingerprint == "hub",
            pipeline=about.pipeline,
            tags=tags,
        ),
        name=plan.out.rstrip("/").rpartition("/")[2],
        what=about.what,
        use=about.use,
        data=markdown(data),
        whole=f"prompts and replies up to {max(result.longest for result in results):,} tokens",
        apart=about.apart,
        settings=markdown(_settings(plan)),
        processes=plan.num_processes,
        note=about.note,
        results=markdown([(name, shown(value)) for name, value in summary.items()]),
        made=made_with(run.info, run=run.path.name, fingerprint=plan.model_fingerprint),
    )


def _apart(plan: Plan) -> str:
    """Which questions are not among the rows."""
    if not plan.report_pairs:
        return "Nobody checked whether its rows and any report are apart."
    files = ", ".join(
        f"`{Path(path).name}` (sha256 `{digest[:12]}`)"
        for path, digest in zip(plan.report_pairs, plan.report_sha256, strict=True)
    )
    return f"No row asks, or nearly asks, a question of {files}."
