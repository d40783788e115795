"""What is left of a loop for people: its numbers, its report and the model's card.

results = Results(plan, course, outcome, curves_of(run, course))
write_text(out / "README.md", model_card(run, results, results.numbers()))
write_page(run, results, results.numbers())
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.reheat.config import Config, LoopConfig
from planish.methods.reheat.looping.outcome import Outcome
from planish.methods.reheat.looping.plan import Plan
from planish.methods.reheat.method import Decision
from planish.methods.reheat.origin import typed
from planish.runs import Run
from planish.runs.console import command
from planish.stats import Estimate
from planish.training.pages import front_matter, made_with, markdown, shown

if TYPE_CHECKING:
    from planish.methods.reheat.looping.curves import Curves
    from planish.methods.reheat.looping.turns import Course

__all__ = ["Results", "model_card", "next_commands", "write_page"]

_GAINS = {
    "pass_at_1": "pass@1",
    "pass_at_k": "pass@{k}",
    "greedy": "greedy accuracy",
    "zero_variance": "groups without variance",
    "distinct": "different replies in a group",
}


@dataclass(frozen=True)
class Results:
    """What a loop brought."""

    plan: Plan
    course: Course
    outcome: Outcome
    curves: Curves

    def numbers(self) -> dict[str, Any]:
        """The summary of the run; an estimate has an interval over prompts."""
        course, outcome, k = self.course, self.outcome, self.outcome.k
        fired = [each.fired for each in course.rounds if each.fired is not None]
        entropies = [point.value for point in self.curves.entropy]
        numbers: dict[str, Any] = {
            "steps": course.steps,
            "reheats": sum(thawed.is_warm for thawed in course.thaws),
            "reheats_refused": sum(not thawed.is_warm for thawed in course.thaws),
            "reheat_steps": sum(thawed.steps for thawed in course.thaws),
            "fired": [decision.reason for decision in fired],
            "entropy_reference": course.reference,
            "entropy_before": entropies[0] if entropies else None,
            "entropy_after": entropies[-1] if entropies else None,
            "reheat_seconds": sum(thawed.seconds for thawed in course.thaws),
        }
        for name in _GAINS:
            key = f"pass_at_{k}" if name == "pass_at_k" else name
            if key in numbers:
                continue  # with two samples k is 1
            numbers[f"{key}_before"], numbers[f"{key}_after"] = self.pair(name)
            numbers[f"{key}_gain"] = outcome.gains[name].difference
        numbers["coverage_before"] = outcome.before.coverage
        numbers["coverage_after"] = outcome.after.coverage
        return numbers

    def pair(self, name: str) -> tuple[Estimate, Estimate]:
        """Before and after, in one of the things that are compared."""
        sides = (self.outcome.before, self.outcome.after)
        at = {"pass_at_1": 1, "pass_at_k": self.outcome.k}.get(name)
        before, after = (getattr(side, name) if at is None else side.pass_at[at] for side in sides)
        return before, after

    @property
    def headline(self) -> str:
        """What happened, as a sentence."""
        course, plan = self.course, self.plan
        warm = sum(thawed.is_warm for thawed in course.thaws)
        refused = len(course.thaws) - warm
        done = f"{course.steps} steps of RL in {_counted(len(course.rounds), 'phase')}"
        if course.thaws:
            words = f"{done}, reheated {_counted(warm, 'time')}"
            return words + (f" and {_counted(refused, 'time')} in vain" * bool(refused))
        if not plan.rounds:
            return f"{done}, without reheating"
        if course.rounds[-1].fired is not None:
            return f"{done}; the policy collapsed when no step was left"
        if course.reference is None:
            return f"{done}, too few to tell a reference by: nothing could fire"
        return f"{done}; the policy never collapsed"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def decisions(run: Run) -> Iterator[tuple[str, Decision]]:
    """(phase, decision), in the order in which they were taken."""
    from planish.runs.rows import read_rows

    for row in read_rows(run.path, "decision"):
        yield row.id.partition("/")[0], row.read(Decision)


def next_commands(results: Results) -> list[str]:
    """How to see whether the policy that came out has collapsed."""
    plan, reference = results.plan, results.course.reference
    words = ["planish", "reheat", "diagnose", "--model", f"hf:{plan.out}", "--task", plan.task]
    if reference is not None:
        words += ["--reference-entropy", f"{reference:.4g}"]
    if plan.is_tiny:
        words += ["--preset", "tiny"]
    return [command(*words, *typed(plan, LoopConfig, Config))]


def write_page(run: Run, results: Results, summary: Mapping[str, Any]) -> None:
    """Writes `report.html` into the run's folder."""
    from planish.runs.report import Report

    plan, course, curves = results.plan, results.course, results.curves
    report = Report(
        f"{plan.model} learns {plan.source}",
        subtitle=results.headline,
        claim="Where RL has frozen a policy, warming it up lets the same RL go on. Whether that "
        "gains anything over going on without, only runs with --rounds 0 can tell.",
        run=run,
        tiny=plan.is_tiny,
    )
    report.numbers({name.replace("_", " "): summary[name] for name in _cards(results)})
    report.section("Phases", "Steps of RL and of reheating, one after the other.")
    for figure, caption, alt in curves.figures(course.reference, plan.collapse_ratio):
        report.figure(figure, caption, alt)
    report.table(
        ("phase", "steps", "entropy before", "entropy after", "ended", "gate"), _rounds(results)
    )
    report.section("Decisions")
    report.table(
        ("phase", "step", "decision", "why"),
        [(phase, each.step, each.action, each.reason) for phase, each in decisions(run)],
        align="lrll",
    )
    _before_and_after(report, results)
    report.section("Settings")
    report.table(("setting", "value"), settings_of(plan))
    report.save(run.report_path)


def _cards(results: Results) -> list[str]:
    return ["steps", "reheats", "pass_at_1_before", "pass_at_1_after", "pass_at_1_gain",
            "entropy_reference", "entropy_after"]  # fmt: skip


def _rounds(results: Results) -> list[tuple[Any, ...]]:
    """A row for every phase."""
    rows: list[tuple[Any, ...]] = []
    for turn, each in enumerate(results.course.rounds, 1):
        first, last = results.curves.ends(each.name)
        ended = "collapsed" if each.fired is not None else "all steps done"
        rows.append((each.name, each.trained.steps, first, last, ended, ""))
        if (thawed := each.thawed) is not None:
            gate = "; ".join(thawed.missed) or "passed"
            entropies = (thawed.before.mean, thawed.after.mean)
            rows.append((f"reheat-{turn}", thawed.steps, *entropies, thawed.ended, gate))
    return rows


def _before_and_after(report: Any, results: Results) -> None:
    outcome, plan = results.outcome, results.plan
    report.section(
        "On the report's prompts",
        f"{plan.report_prompts} prompts at most that nothing was trained or decided on, "
        f"{plan.samples} draws of each at temperature 1; gains are paired by prompt."
        + f" {outcome.lost}."
        * bool(outcome.lost),
    )
    rows: list[tuple[Any, ...]] = [
        (words.format(k=outcome.k), *results.pair(name), outcome.gains[name].difference)
        for name, words in _GAINS.items()
        if not (name == "pass_at_k" and outcome.k == 1)
    ]
    rows.append(("coverage", outcome.before.coverage, outcome.after.coverage, ""))
    report.table(("", "before", "after", "gain"), rows)


def settings_of(plan: Plan) -> list[tuple[str, str]]:
    """What decides the result."""
    idle = set()
    if not plan.lora:
        idle |= {name for name in LoopConfig.model_fields if name.startswith("lora_")}
    if plan.vllm is None:
        idle |= {"vllm_url", "vllm_memory"}
    told = [
        (name, "default" if value is None else str(value))
        for name, value in plan.model_dump().items()
        if name in LoopConfig.model_fields and name not in idle
    ]
    given = plan.reference_entropy
    return [("reference_entropy", "measured" if given is None else f"{given:g}"), *told]


_CARD = """\
{front}
# {name}

Made from `{model}` with `planish reheat loop` on {source}: reinforcement learning by GRPO that is
reheated where the policy collapses, after *TS-OPSD* (arXiv 2606.00755). {headline}.

    {use}

## Data

The train split of {source}{digest}: {prompts:,} prompts. No question of its gate and report splits
is among them.

## Training

| | value |
|---|---|
{settings}
| processes | {processes} |

## Results

Before and after on {report} prompts of the report split, {samples} draws of each at temperature 1;
gains are paired by prompt.

| number | value |
|---|---|
{results}

## Made with

{made}
"""


def model_card(run: Run, results: Results, summary: Mapping[str, Any]) -> str:
    """The checkpoint's `README.md`: data, settings, results and seed."""
    plan, last = results.plan, results.course.rounds[-1].trained
    name = Path(plan.out).name
    source = f"`{plan.source}`" if plan.data_sha256 else f"task `{plan.task}`"
    use = ("planish", "reheat", "diagnose", "--model", f"hf:./{name}", "--task")
    return _CARD.format(
        front=front_matter(
            model=plan.model,
            on_hub=plan.model.startswith("hf:") and plan.model_fingerprint == "hub",
            pipeline="text-generation",
            tags=("grpo", "reheat", *(("lora",) if plan.lora else ())),
        ),
        name=name,
        model=_named(plan),
        source=source,
        headline=results.headline,
        use=command(*use, Path(plan.task).name if plan.data_sha256 else plan.task),
        digest=f" (sha256 `{plan.data_sha256[:12]}`)" if plan.data_sha256 else "",
        prompts=last.num_rows,
        settings=markdown(settings_of(plan)),
        processes=plan.num_processes,
        report=results.outcome.gains["pass_at_1"].n,
        samples=plan.samples,
        results=markdown([(name, _cell(value)) for name, value in summary.items()]),
        made=made_with(run.info, run=run.path.name, fingerprint=plan.model_fingerprint),
    )


def _named(plan: Plan) -> str:
    """What training began with; of a path of this machine its last part."""
    if plan.model.startswith("hf:") and plan.model_fingerprint != "hub":
        return f"hf:{Path(plan.model.partition(':')[2]).name}"
    return plan.model


def _cell(value: Any) -> str:
    if isinstance(value, Estimate):
        interval = "" if value.low is None else f" [{shown(value.low)}, {shown(value.high)}]"
        return shown(value.value) + interval
    if isinstance(value, list):
        return "; ".join(value) or "never"
    return shown(value)
