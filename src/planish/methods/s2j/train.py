"""Stage `train`: reinforcement learning that rewards solution and verdict of one output.

planish s2j train --model embedded:reasoner --task chain:3 --arm additive --out judge
planish s2j train --model hf:Qwen/Qwen2.5-7B-Instruct --pairs pairs.jsonl --arm gated \
    --out judge --preset paper --vllm server --vllm-url http://localhost:8000
planish s2j train --model hf:./base --task chain:4 --arm dpo --out judge
planish s2j train --resume runs/s2j/20250102-030405-additive-judge
accelerate launch --num_processes 8 -m planish.cli s2j train ...

`--out` becomes a normal checkpoint with a model card. The run folder keeps every rollout with all
parts of its reward, and the numbers of every step.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from planish.judges.formats import Format
from planish.methods.s2j.learning.config import ONLINE, TrainArm, TrainConfig
from planish.methods.s2j.learning.lesson import Lesson, prepare
from planish.methods.s2j.learning.plan import Given, Plan, make_plan, resumed_plan
from planish.records import write_text
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.options import RUNS, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find
from planish.training.job import Command, Job, carry_out, clear_checkpoints, said_once

if TYPE_CHECKING:
    from planish.training.checkpoint import Trained

__all__ = ["train"]


def train(
    *,
    model: str | None = None,
    task: str | None = None,
    pairs: Path | None = None,
    arm: TrainArm | None = None,
    out: Path | None = None,
    report_pairs: Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=True)] = (),
    format: Format | None = None,
    preset: Preset | None = None,
    config: TrainConfig = TrainConfig(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Train a model to judge two replies by solving the question first.

    Args:
        model: hf:PATH-OR-ID or embedded:reasoner.
        task: Items of this task's train split: chain:3, countdown:4, or a file of questions with
            targets.
        pairs: Items of a file of pairs; those with a target have a gold answer.
        arm: What is rewarded: judge_only, solve_only, additive, gated (a verdict counts only on a
            right solution), segment_credit (each on its own tokens); or dpo on pairs of its own
            judgments, drawn beforehand.
        out: Folder for the trained checkpoint; it must not exist yet.
        report_pairs: Pairs of the report; an item whose question is also there stops the command.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them. An embedded model gets tiny.
        resume: Go on with this run (a path, a name, or last) from its last checkpoint.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = Given(
        model=model,
        task=task,
        pairs=pairs,
        arm=arm,
        out=out,
        preset=preset,
        config=config,
        format=format,
        report_pairs=report_pairs,
    )
    return said_once(lambda: _train(given, resume, runs, Screen(json=json)))


def _train(given: Given, resume: str | None, runs: Path, screen: Screen) -> int:
    before = find(runs, resume).path if resume else None
    plan = make_plan(given) if before is None else resumed_plan(before, given)
    lesson = prepare(plan, resumed=before is not None)

    def work(job: Job) -> Trained:
        if job.run is not None:
            _tell(lesson, screen)
        return _learn(plan, lesson, job)

    return carry_out(
        Command("s2j", "train", f"{plan.arm}-{Path(plan.out).name}"),
        plan,
        work,
        lambda run, trained: _close(run, plan, lesson, trained, screen),
        before=before,
        runs=runs,
        screen=screen,
    )


def _tell(lesson: Lesson, screen: Screen) -> None:
    for why, ids in lesson.items.dropped.items():
        screen.note(f"{len(ids)} items are left out: {why}, first {ids[0]}")


def _learn(plan: Plan, lesson: Lesson, job: Job) -> Trained:
    if plan.arm in ONLINE:
        from planish.methods.s2j.learning.online import learn_online

        return learn_online(plan, lesson, job)
    from planish.methods.s2j.learning.offline import learn_offline

    return learn_offline(plan, lesson, job)


def _close(run: Run, plan: Plan, lesson: Lesson, trained: Trained, screen: Screen) -> int:
    from planish.methods.s2j.learning.pages import (
        gap_commands,
        model_card,
        results_of,
        write_page,
    )

    clear_checkpoints(run)
    results, out = results_of(run, plan, trained), Path(plan.out)
    summary = results.numbers()
    for why, count in lesson.items.unknown.items():
        screen.warn(f"{count} solutions could not be verified: {why}")
    write_text(out / "README.md", model_card(run, plan, results, summary))
    run.finish(**summary)
    write_page(run, plan, results, summary)
    screen.numbers(summary, title=f"{plan.model}, arm {plan.arm}")
    screen.close(
        {**summary, "out": str(out)},
        run=run.path,
        report=run.report_path,
        then=gap_commands(plan, f"hf:{out}"),
    )
    return 0
