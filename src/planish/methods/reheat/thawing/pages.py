"""What is left of a reheating for people: its numbers, its report and the model's card.

summary = numbers_of(plan, reference, thawed)
write_card(run, plan, thawed, summary)
write_page(run, plan, thawed, summary)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.reheat.config import Config, LoopConfig, ReheatConfig
from planish.methods.reheat.method import Decision, EntropyProbe
from planish.methods.reheat.origin import typed
from planish.methods.reheat.thawing.plan import Plan
from planish.methods.reheat.thawing.reheating import Thawed
from planish.records import write_text
from planish.runs import Run
from planish.runs.console import command
from planish.stats import Estimate
from planish.training.job import logged
from planish.training.pages import curve, front_matter, made_with, markdown, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planish.runs.report import Report

__all__ = ["next_commands", "numbers_of", "why_not", "write_card", "write_page"]

_KEPT = ("token_kl", "greedy_agreement", "top10_overlap", "retained_mass")

_OF_ANOTHER_REFERENCE = ("stop_ratio", "ceiling_ratio")
"""A loop's are shares of the entropy early in its own RL."""

_ENDED = {
    "target": "the entropy reached its target",
    "ceiling": "the entropy went above its ceiling, and the last step was taken back",
    "exhausted": "the steps ran out before the entropy reached its target",
}


def numbers_of(plan: Plan, reference: Estimate, thawed: Thawed) -> dict[str, Any]:
    """The summary of the run; an estimate has an interval over prompts."""
    kept = thawed.preservation
    return {
        "ended": thawed.ended,
        "gate": list(thawed.missed) or "passed",
        "entropy_before": thawed.mean_before,
        "entropy_after": thawed.mean_after,
        "entropy_reference": Estimate(value=None) if plan.target_entropy else reference,
        "entropy_target": plan.stop_ratio * thawed.reference,
        "steps": thawed.steps,
        "attempts": thawed.attempts,
        "num_rollouts": thawed.num_rollouts,
        "seconds": thawed.seconds,
        **{name: kept.over_replies[name] for name in _KEPT},
        "cka_min": min(kept.cka_per_layer, default=None),
        "accuracy_before": thawed.accuracy_before,
        "accuracy_after": thawed.accuracy_after,
        "checkpoint": str(thawed.checkpoint),
    }


def why_not(thawed: Thawed) -> str:
    """One line on what was missed, and where the weights are."""
    if thawed.ended != "target":
        why = _ENDED[thawed.ended]
    else:
        why = f"the gate refused it: {'; '.join(thawed.missed)}"
    return f"{why}; the weights as they ended are kept as hf:{thawed.checkpoint}"


def next_commands(plan: Plan, thawed: Thawed) -> list[str]:
    """What to do with a warm policy, or with one that is not."""
    if thawed.is_warm:
        model: tuple[str, ...] = ("--model", f"hf:{plan.out}", "--task", plan.task)
        if plan.is_tiny:
            model += ("--preset", "tiny")
        held = () if plan.target_entropy is not None else _compared(plan)
        look = (*held, *typed(plan, ReheatConfig, Config))
        train = typed(plan, ReheatConfig, LoopConfig, without=_OF_ANOTHER_REFERENCE)
        return [
            command("planish", "reheat", "diagnose", *model, *look),
            command("planish", "reheat", "loop", *model, *train, "--out", "POLICY"),
        ]
    dial = {"ceiling": "--reheat-learning-rate", "exhausted": "--max-steps"}.get(thawed.ended)
    value: dict[str, object] = {
        "--reheat-learning-rate": f"{plan.reheat_learning_rate / 10:g}",
        "--max-steps": 2 * plan.max_steps,
    }
    again = ["planish", "reheat", "run", "--model", plan.model, *_compared(plan)]
    again += ["--task", plan.task, "--out", Path(plan.out).name, *["--force"] * plan.force]
    if dial is None:
        dial, value = "--reheat-temperature", {"--reheat-temperature": _milder(plan)}
    kept = typed(plan, ReheatConfig, ReheatConfig, without=[dial[2:].replace("-", "_")])
    return [command(*again, *kept, dial, value[dial])]


def _milder(plan: Plan) -> float:
    """Half of the way towards 1."""
    return round(1 + (plan.reheat_temperature - 1) / 2, 3)


def _compared(plan: Plan) -> tuple[str, str]:
    if plan.reference is not None:
        return "--reference", plan.reference
    if plan.reference_entropy is not None:
        return "--reference-entropy", f"{plan.reference_entropy:g}"
    return "--target-entropy", f"{plan.target_entropy:g}"


def write_page(run: Run, plan: Plan, thawed: Thawed, summary: Mapping[str, Any]) -> None:
    """Writes `report.html` into the run's folder."""
    from planish.runs.report import Report

    report = Report(
        f"{plan.model} is {plan.action}",
        subtitle=f"{_manner(plan)}, {plan.source}",
        claim="The entropy of the policy is back, and nothing else has moved. That learning gains "
        "from it is another question: let the RL go on from it, and from the policy of before.",
        note=_ENDED[thawed.ended].capitalize()
        + (". The gate passed." if not thawed.missed else ". The gate did not pass."),
        run=run,
        tiny=plan.is_tiny,
    )
    headline = ("entropy_before", "entropy_after", "entropy_reference", "steps", "token_kl")
    report.numbers({name.replace("_", " "): summary[name] for name in headline})
    _course(report, run, plan, thawed)
    _gate(report, plan, thawed)
    report.section("Settings")
    report.table(("setting", "value"), settings_shown(plan))
    report.save(run.report_path)


def _manner(plan: Plan) -> str:
    """How it was reheated."""
    words = [f"teacher {plan.teacher} at temperature {plan.reheat_temperature:g}"]
    if plan.anchor is not None:
        words.append(f"anchored to {plan.anchor}")
    if plan.trains == "final_norm":
        words.append("the final norm alone")
    return ", ".join([*words, f"direction {plan.direction}"])


def _course(report: Report, run: Run, plan: Plan, thawed: Thawed) -> None:
    report.section(
        "Entropy",
        "Exact, in nats, at temperature 1 over the whole vocabulary. Fresh replies are drawn anew "
        "after every step; frozen ones were drawn before the first, and tell less of a policy "
        "that has run away from them.",
    )
    for attempt in range(1, thawed.attempts + 1):
        probes = _probes(run, attempt)
        if probes:
            name = "" if thawed.attempts == 1 else f"Attempt {attempt}. "
            caption = f"{name}Entropy on {plan.probe_prompts} prompts that are not trained on."
            report.figure(_entropy_figure(plan, thawed, probes), caption, "entropy over the steps")
        rows = list(logged(run, stage=f"reheat-{attempt}"))
        lines = {"towards an entropy bonus": "cosine_to_entropy_ascent"}
        if figure := curve(rows, "cosine", lines):
            report.figure(
                figure,
                "Cosine between what the loss does to the logits and what an entropy bonus would "
                "do: 1 is the same.",
                "cosine over the steps",
            )
    report.table(
        ("step", "decision", "why"),
        [(each.step, each.action.replace("_", " "), each.reason) for each in _decisions(run)],
        align="lll",
    )


def _probes(run: Run, attempt: int) -> list[EntropyProbe]:
    from planish.runs.rows import read_rows

    return [
        row.read(EntropyProbe)
        for row in read_rows(run.path, "probe")
        if row.id.startswith(f"reheat/{attempt}/")
    ]


def _decisions(run: Run) -> list[Decision]:
    return list(run.records("decision", Decision))


def _entropy_figure(plan: Plan, thawed: Thawed, probes: list[EntropyProbe]) -> Figure:
    from planish.runs.plots import Series, line_plot

    series = []
    for name, kind in (("fresh replies", "on_policy"), ("frozen replies", "frozen")):
        points = sorted((each.step, each.entropy.mean) for each in probes if each.kind == kind)
        series.append(Series(name, [step for step, _ in points], [value for _, value in points]))
    ends = [min(series[0].x), max(series[0].x)]
    lines = {"target": plan.stop_ratio}
    if not plan.inverse:
        lines["ceiling"] = plan.ceiling_ratio
    series += [Series(name, ends, [ratio * thawed.reference] * 2) for name, ratio in lines.items()]
    return line_plot(series, xlabel="step", ylabel="nats")


def _gate(report: Report, plan: Plan, thawed: Thawed) -> None:
    kept = thawed.preservation
    report.section(
        "What else has moved",
        f"Token by token on {kept.num_tokens:,} tokens of the policy's own replies of before, and "
        "in greedy replies to the same held-out prompts.",
    )
    floor = thawed.accuracy_before.low
    report.table(
        ("", "found", "allowed"),
        [
            ("token KL in nats", kept.over_replies["token_kl"], f"at most {plan.max_kl:g}"),
            ("top-10 overlap", kept.over_replies["top10_overlap"], f"at least {plan.min_top10:g}"),
            (
                "greedy agreement",
                kept.over_replies["greedy_agreement"],
                f"at least {plan.min_agreement:g}",
            ),
            ("retained mass of the top 10", kept.over_replies["retained_mass"], ""),
            ("greedy accuracy before", thawed.accuracy_before, ""),
            (
                "greedy accuracy after",
                thawed.accuracy_after,
                "" if floor is None else f"at least {floor:.3f}",
            ),
        ],
    )
    if thawed.missed:
        report.text("\n".join(f"- {words}" for words in thawed.missed))
    report.table(
        ("layer", "linear CKA"),
        [(number, f"{value:.6f}") for number, value in enumerate(kept.cka_per_layer, 1)],
        caption="How alike the hidden states are; 1 is the same but for rotation and scale.",
    )


def settings_shown(plan: Plan) -> list[tuple[str, str]]:
    """Every dial with its value."""
    names = [name for name in ReheatConfig.model_fields if plan.lora or "lora_" not in name]
    return [(name.replace("_", " "), _word(getattr(plan, name))) for name in names]


def _word(value: Any) -> str:
    """A dial's value; one that is not set is left to the default."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not set" if value is None else shown(value)


_CARD = """{front}
# {name}

{model}, {action}: distilled into its own distribution at temperature {temperature} until the
entropy of its replies was back (TS-OPSD, arXiv 2606.00755), without rewards or labels. What it
samples is more varied, so that reinforcement learning can go on from it; how far everything else
has moved stands under Results.

## Use

```
{use}
```

It is a normal checkpoint. Start the optimizer of the training that goes on afresh.

## Data

Prompts of {source}. No prompt of the task's gate and report splits was trained on.

## Settings

| setting | value |
|---|---|
{settings}

Trained by {processes} process(es).

## Results

On held-out prompts of the gate split; intervals are over prompts.

| number | value |
|---|---|
{results}

## Made with

{made}
"""


def write_card(run: Run, plan: Plan, thawed: Thawed, summary: Mapping[str, Any]) -> None:
    """The checkpoint's `README.md`: data, settings, results and seed, and no place."""
    name = Path(plan.out).name
    use = (
        "planish",
        "reheat",
        "loop",
        "--model",
        f"hf:./{name}",
        "--task",
        plan.source.removeprefix("task "),
    )
    text = _CARD.format(
        front=front_matter(
            model=plan.model,
            on_hub=plan.model.startswith("hf:") and plan.model_fingerprint == "hub",
            pipeline="text-generation",
            tags=("reheat", "self-distillation", *(("lora",) if plan.lora else ())),
        ),
        name=name,
        model=_short(plan.model),
        action=plan.action,
        temperature=f"{plan.reheat_temperature:g}",
        use=command(*use, "--out", "policy"),
        source=f"`{plan.source}`",
        settings=markdown(settings_shown(plan)),
        processes=plan.num_processes,
        results=markdown(
            [(key, _cell(value)) for key, value in summary.items() if key != "checkpoint"]
        ),
        made=made_with(run.info, run=run.path.name, fingerprint=plan.model_fingerprint),
    )
    write_text(thawed.checkpoint / "README.md", text)


def _short(model: str) -> str:
    """A model without the place where it lies on this machine."""
    scheme, _, target = model.partition(":")
    return f"{scheme}:{Path(target).name}" if Path(target).exists() else model


def _cell(value: Any) -> str:
    if isinstance(value, Estimate):
        interval = "" if value.low is None else f" [{shown(value.low)}, {shown(value.high)}]"
        return shown(value.value) + interval
    return shown(value)
