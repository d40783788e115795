"""What is left of a training for people: its numbers, its report and the model's card.

results = results_of(run, plan, trained)
write_text(out / "README.md", model_card(run, plan, results, results.numbers()))
write_page(run, plan, results, results.numbers())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.s2j.learning.config import ONLINE, TrainConfig
from planish.methods.s2j.learning.earnings import WINDOW, Earnings, earnings
from planish.methods.s2j.learning.offline import DRAWN, Drawn
from planish.methods.s2j.learning.plan import Plan
from planish.methods.s2j.learning.rewarding import merge_parts
from planish.runs import Run
from planish.runs.console import command
from planish.stats import Estimate, mean
from planish.training.job import logged
from planish.training.pages import curve, front_matter, made_with, markdown, pace, shown

if TYPE_CHECKING:
    from planish.runs.report import Report
    from planish.training.checkpoint import Trained

__all__ = ["Results", "gap_commands", "model_card", "results_of", "write_page"]

_GRPO_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("reward", "Mean total over all rollouts of a step.", {"reward": "reward"}),
    (
        "share of rollouts",
        "Right verdicts and right solutions among the rollouts with the form, and that share.",
        {
            "verdict right": "part/judge",
            "solution right": "part/solve",
            "form": "part/form",
            "solved alone": "part/alone",
        },
    ),
    ("tokens", "Mean length of a rollout.", {"length": "completions/mean_length"}),
    (
        "share of groups",
        "Items whose rollouts all earned the same, over both orders: they taught nothing.",
        {"no variance": "frac_reward_zero_std"},
    ),
    ("entropy", "Of the next token, in nats; a policy that froze explores no more.",
     {"entropy": "entropy"}),
)  # fmt: skip
_DPO_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("loss", "Weighted sum of the DPO term and NLL on the chosen.", {"loss": "loss"}),
    (
        "share of pairs",
        "Pairs in which the chosen text gained more than the rejected one.",
        {"chosen ahead": "rewards/accuracies"},
    ),
    (
        "log-probability",
        "Of whole texts. If chosen falls together with rejected, NLL weighs too little.",
        {"chosen": "logps/chosen", "rejected": "logps/rejected"},
    ),
)

_REWARDED = {
    "judge_only": "the verdict alone",
    "solve_only": "the solution alone",
    "additive": "verdict and solution, added up",
    "gated": "a verdict only on a right solution",
    "segment_credit": "verdict and solution, each on its own tokens",
    "dpo": "pairs of its own judgments",
}


@dataclass(frozen=True)
class Results:
    """What a training brought.

    Args:
        trained: what the trainer says.
        curves: logged numbers, one row a step.
        earned: of an arm that drew while it trained.
        drawn: of arm dpo.
    """

    trained: Trained
    curves: Sequence[Mapping[str, Any]]
    earned: Earnings | None = None
    drawn: Drawn | None = None

    @property
    def steps_per_second(self) -> float | None:
        """How fast it went; None where no step was made this time."""
        done = self.trained
        return done.fresh_steps / done.seconds if done.fresh_steps else None

    def numbers(self) -> dict[str, Any]:
        """The summary of the run; an estimate has an interval over items."""
        numbers: dict[str, Any] = {"steps": self.trained.steps}
        if self.earned is not None:
            return numbers | self.earned.numbers()
        numbers["final_loss"] = self._last("loss")
        numbers["pair_accuracy"] = self._last("rewards/accuracies")
        if self.drawn is not None:
            drawn = self.drawn
            numbers |= {
                "right_before": mean(drawn.right) if drawn.right else Estimate(value=None),
                "parse_rate": drawn.num_readable / drawn.num_draws,
                "items": drawn.num_items,
                "hard_items": drawn.num_hard,
                "pairs": drawn.num_pairs,
                **{f"rejected_for_{why}": count for why, count in sorted(drawn.faults.items())},
            }
        return numbers

    def _last(self, name: str) -> float | None:
        """The mean over the last tenth of the steps."""
        rows = self.curves[-max(1, len(self.curves) // 10) :]
        values = [row[name] for row in rows if row.get(name) is not None]
        return sum(values) / len(values) if values else None


def results_of(run: Run, plan: Plan, trained: Trained) -> Results:
    """Reads what the training left in its run."""
    curves, folder = list(logged(run)), run.path / "artifacts"
    if plan.arm in ONLINE:
        rewards = merge_parts(folder)
        return Results(trained, curves, earned=earnings(rewards, num_steps=trained.steps))
    told = Drawn.model_validate_json((folder / DRAWN).read_text("utf-8"))
    return Results(trained, curves, drawn=told)


def gap_commands(plan: Plan, model: str) -> list[str]:
    """How to see whether the gap closed: on other items, against the model before."""
    items: tuple[str, ...] = ("--task", plan.task or "")
    if plan.pairs is not None:
        items = ("--pairs", plan.report_pairs[0] if plan.report_pairs else "HELD-OUT.jsonl")
    if plan.template == "chain":
        items += ("--preset", "tiny")
    elif plan.template != "solve_first":
        items += ("--template", plan.template)
    gap = ("planish", "s2j", "gap", "--model")
    return [
        command(*gap, plan.model, *items),
        f"{command(*gap, model, *items)} --base RUN-OF-THE-ABOVE",
    ]


def write_page(run: Run, plan: Plan, results: Results, summary: Mapping[str, Any]) -> None:
    """Writes `report.html` into the run's folder."""
    from planish.runs.report import Report

    trained = results.trained
    report = Report(
        f"{plan.model} learns to judge by solving",
        subtitle=f"arm {plan.arm}: {_REWARDED[plan.arm]}",
        claim="Rewards on training items say what was learned there, not that the gap closed: "
        "measure it on other items, before and after.",
        run=run,
        tiny=plan.model.startswith("embedded:"),
    )
    report.numbers({name.replace("_", " "): summary[name] for name in _headline(summary)})
    report.section(
        "Training",
        f"{trained.steps:,} steps on {trained.num_rows:,} "
        f"{'items' if plan.arm in ONLINE else 'pairs'}, {trained.num_trainable:,} of "
        f"{trained.num_parameters:,} weights trained{pace(results.steps_per_second)}. "
        + (
            f"First and last are means over {WINDOW} steps at most, intervals over items."
            if results.earned
            else "Numbers before are of the draws that the pairs were made from."
        ),
    )
    for label, caption, lines in _GRPO_PANELS if plan.arm in ONLINE else _DPO_PANELS:
        figure = curve(results.curves, label, lines)
        if figure is not None:
            report.figure(figure, caption, f"{label} over the steps")
    if results.earned is not None:
        _rollouts(report, results.earned)
    report.section("Settings")
    report.table(("setting", "value"), settings_of(plan))
    report.save(run.report_path)


def _headline(summary: Mapping[str, Any]) -> list[str]:
    wanted = ("reward", "judge", "solve", "parse_rate", "alone")
    names = [f"{name}_{when}" for name in wanted for when in ("first", "last")]
    names += ["right_before", "parse_rate", "pairs", "pair_accuracy"]
    return [name for name in names if name in summary]


def _rollouts(report: Report, earned: Earnings) -> None:
    report.section("Rollouts of the last step", "f: form, j: verdict, s: solution, r: the total.")
    report.table(
        ("item", "order", "f", "j", "s", "r", "advantage"),
        [
            (row.item_id, row.order, row.f, row.j, row.s, row.r_total, round(row.advantage, 3))
            for row in earned.shown
        ],
    )
    for row in earned.shown:
        report.details(f"{row.item_id}, {row.order}", row.text)


def settings_of(plan: Plan) -> list[tuple[str, str]]:
    """What decides the result, without what the arm did not look at."""
    unused = plan.idle_dials(plan.arm)
    return [
        (name, "default" if value is None else _short(value))
        for name, value in plan.model_dump().items()
        if name in TrainConfig.model_fields
        and name not in unused
        and not (name.startswith("lora_") and not plan.lora)
        and not (name.startswith("vllm_") and plan.vllm is None)
        and not (name == "near_duplicate" and not plan.report_pairs)
    ]


def _short(value: Any) -> str:
    """No place on this machine: a template may be a file."""
    text = str(value)
    return Path(text).name if isinstance(value, str) and "/" in text else text


_CARD = """\
{front}
# {name}

Judges two replies by solving the question first, made from `{model}` with `planish s2j train`, arm
`{arm}` ({rewarded}), after *Solve-to-Judge* (arXiv 2509.22099).

    {use}

Asked with the template `{template}`.

## Data

{data}
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


def model_card(run: Run, plan: Plan, results: Results, summary: Mapping[str, Any]) -> str:
    """The checkpoint's `README.md`: data, settings, results and seed."""
    name = Path(plan.out).name
    use = ("planish", "rise", "judge", "--model", f"hf:./{name}", "--pairs", "PAIRS.jsonl")
    return _CARD.format(
        front=front_matter(
            model=plan.model,
            on_hub=plan.model.startswith("hf:") and plan.model_fingerprint == "hub",
            pipeline="text-generation",
            tags=("llm-as-a-judge", "s2j", plan.arm, *(("lora",) if plan.lora else ())),
        ),
        name=name,
        model=plan.model,
        arm=plan.arm,
        rewarded=_REWARDED[plan.arm],
        use=command(*use, "--template", _short(plan.template)),
        template=_short(plan.template),
        data=_data(plan, results),
        apart=_apart(plan),
        settings=markdown(settings_of(plan)),
        processes=plan.num_processes,
        note="On the training items, where estimates have an interval over items. They do not say "
        "how well it judges others: measure the gap on held-out items.",
        results=markdown([(name, _cell(value)) for name, value in summary.items()]),
        made=made_with(run.info, run=run.path.name, fingerprint=plan.model_fingerprint),
    )


def _data(plan: Plan, results: Results) -> str:
    if plan.pairs is None:
        source = f"The train split of task `{_short(plan.task)}`"
    else:
        source = f"`{Path(plan.pairs).name}`"
    digest = f" (sha256 `{plan.data_sha256[:12]}`)" if plan.data_sha256 else ""
    kind = "items" if plan.arm in ONLINE else "pairs of judgments"
    return f"{source}{digest}: {results.trained.num_rows:,} {kind}, in both orders."


def _apart(plan: Plan) -> str:
    """Which questions are not among the items."""
    if plan.report_pairs:
        files = ", ".join(
            f"`{Path(path).name}` (sha256 `{digest[:12]}`)"
            for path, digest in zip(plan.report_pairs, plan.report_sha256, strict=True)
        )
        return f"No item asks, or nearly asks, a question of {files}."
    if plan.pairs is None:
        return "No question of the task's gate and report splits is among them."
    return "Nobody checked whether its items and any report are apart."


def _cell(value: Any) -> str:
    if isinstance(value, Estimate):
        interval = "" if value.low is None else f" [{shown(value.low)}, {shown(value.high)}]"
        return shown(value.value) + interval
    return shown(value)
