"""Stages `run` and `loop`: a collapsed policy gets warm, alone or between rounds of RL.

planish reheat run --model hf:./collapsed --reference hf:./before --task countdown:4 --out warm
planish reheat run --model hf:./collapsed --reference-entropy 0.4 --task q.jsonl --out warm
planish reheat loop --model hf:./before --task countdown:4 --out policy
planish reheat run --resume runs/reheat/20250102-030405-run-warm
accelerate launch --num_processes 8 -m planish.cli reheat run ...

`--out` becomes a normal checkpoint with a model card, once the entropy was reached and the gate
passed. The run folder keeps every probe and decision, and the weights that the gate refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from planish.methods.reheat.config import LoopConfig, ReheatConfig
from planish.methods.reheat.looping import plan as looping
from planish.methods.reheat.looping.stage import carry_loop
from planish.methods.reheat.thawing.plan import Material, Plan, make_plan, prepare, resumed_plan
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.info import read_info
from planish.runs.options import RUNS, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find
from planish.stats import Estimate
from planish.training.job import (
    Command,
    Job,
    carry_out,
    clear_checkpoints,
    model_path,
    said_once,
)

if TYPE_CHECKING:
    from planish.methods.reheat.thawing.reheating import Thawed

__all__ = ["loop", "run"]


def run(
    *,
    model: str | None = None,
    reference: str | None = None,
    reference_entropy: float | None = None,
    target_entropy: float | None = None,
    task: str | None = None,
    out: Path | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    preset: Preset | None = None,
    config: ReheatConfig = ReheatConfig(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Reheat a collapsed policy until its entropy is back, and show that nothing else moved.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME.
        reference: A healthy model whose entropy is the goal, such as that before the RL.
        reference_entropy: Its entropy in nats, in place of the model.
        target_entropy: Nats to stop at, in place of --stop-ratio of a reference.
        task: Prompts with a grader: countdown:4, routes:64:4:7:0, or a file of questions with
            targets.
        out: Folder for the reheated checkpoint; it must not exist yet.
        force: Start although the policy is as warm as it should be.
        preset: Settings to start from; single options override them. An embedded model gets tiny.
        resume: Go on with this run (a path, a name, or last) from its last checkpoint.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = {
        "model": model,
        "reference": reference,
        "reference_entropy": reference_entropy,
        "target_entropy": target_entropy,
        "task": task,
        "out": out,
        "force": force or None,
    }

    def stage() -> int:
        before = find(runs, resume).path if resume else None
        if before is None:
            plan = make_plan(given, config, preset)
        else:
            plan = resumed_plan(read_info(before), given, config, preset)
        return _run(plan, before, runs, Screen(json=json))

    return said_once(stage)


def _run(plan: Plan, before: Path | None, runs: Path, screen: Screen) -> int:
    material = prepare(plan, resumed=before is not None)
    return carry_out(
        Command("reheat", "run", f"run-{Path(plan.out).name}"),
        plan,
        lambda job: _thaw(plan, material, job),
        lambda run, thawed: _close(run, plan, thawed, screen),
        before=before,
        runs=runs,
        screen=screen,
    )


def _thaw(plan: Plan, material: Material, job: Job) -> tuple[Estimate, Thawed]:
    """The reference's entropy, and what the reheating brought."""
    from planish.methods.reheat.thawing.reheating import thaw
    from planish.methods.reheat.thawing.settings import reference_of

    reference = reference_of(plan, material.sets, job)
    assert reference.value is not None
    return reference, thaw(
        model_path(plan.model),
        material.task,
        material.sets,
        plan,
        reference=reference.value,
        job=job,
        name="reheat",
        out=Path(plan.out),
        warm="force" if plan.force else "refuse",
    )


def _close(run: Run, plan: Plan, brought: tuple[Estimate, Thawed], screen: Screen) -> int:
    from planish.methods.reheat.thawing.pages import (
        next_commands,
        numbers_of,
        why_not,
        write_card,
        write_page,
    )

    reference, thawed = brought
    clear_checkpoints(run)
    summary = numbers_of(plan, reference, thawed)
    if thawed.is_warm:
        write_card(run, plan, thawed, summary)
    run.finish(**summary)
    write_page(run, plan, thawed, summary)
    shown = summary if not thawed.missed else {**summary, "gate": "refused"}
    screen.numbers(shown, title=f"{plan.model}, {plan.action} by teacher {plan.teacher}")
    if not thawed.is_warm:
        reason = why_not(thawed)
        run.close("failed", reason)
        screen.warn(reason)
    screen.close(summary, run=run.path, report=run.report_path, then=next_commands(plan, thawed))
    return 0 if thawed.is_warm else 1


def loop(
    *,
    model: str | None = None,
    task: str | None = None,
    reference_entropy: float | None = None,
    out: Path | None = None,
    preset: Preset | None = None,
    config: LoopConfig = LoopConfig(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Train by RL, reheat the policy where it collapses, and let the same RL go on.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME, before RL.
        task: Prompts with a grader: countdown:4, routes:64:4:7:0, or a file of questions with
            targets.
        reference_entropy: Nats of a healthy policy, for the trigger and the reheating; by default
            the median over 10-25 % of the steps.
        out: Folder for the trained checkpoint; it must not exist yet.
        preset: Settings to start from; single options override them. An embedded model gets tiny.
        resume: Go on with this run (a path, a name, or last) from its last checkpoint.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = {"model": model, "task": task, "reference_entropy": reference_entropy, "out": out}

    def stage() -> int:
        before = find(runs, resume).path if resume else None
        if before is None:
            plan = looping.make_plan(given, config, preset)
        else:
            plan = looping.resumed_plan(read_info(before), given, config, preset)
        return carry_loop(plan, before, runs, Screen(json=json))

    return said_once(stage)
