"""Stages `gap` and `baselines`: what a model can solve and judges wrongly all the same, and how
much of that a better prompt mends.

planish s2j gap --model hf:./checkpoint --task chain:3
planish s2j gap --model hf:./trained --task chain:3 --base runs/s2j/20250102-030405-checkpoint
planish s2j gap --resume runs/s2j/20250102-030405-checkpoint
planish s2j baselines --model hf:./checkpoint --task chain:3
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from planish.judges.formats import Format
from planish.methods.s2j.config import Config
from planish.methods.s2j.measuring import baselines_plan, gap_plan
from planish.methods.s2j.measuring.baselines_plan import BaselinesConfig
from planish.methods.s2j.measuring.baselines_run import compare_baselines
from planish.methods.s2j.measuring.gap import measure_gap
from planish.runs.console import Screen
from planish.runs.info import read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find

__all__ = ["baselines", "gap"]


def gap(
    *,
    model: str | None = None,
    task: str | None = None,
    pairs: Path | None = None,
    base: str | None = None,
    format: Format | None = None,
    preset: Preset | None = None,
    config: Config = Config(),  # noqa: B008 - frozen
    limit: Count | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Measure what a model can solve and judges wrongly all the same.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:reasoner, scripted:NAME or replay:FILE.
        task: Verifiable questions: chain:3, chain:4:+-*, countdown:3, routes:12:3:4:0:shown, or a
            file of questions with targets.
        pairs: JSON Lines of pairs that bring gold answers (target), in place of a task.
        base: An earlier gap run, of the base model: its solved questions are the frozen ones.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them.
        limit: Only the first so many pairs, or so many questions of the task (by default 200).
        force: Tell a gap over fewer than 30 solved questions, too.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = {
        "model": model,
        "task": task,
        "pairs": pairs,
        "base": None if base is None else find(runs, base).path,
        "format": format,
        "limit": limit,
        "cache": cache,
    }
    if resume is None:
        plan, folder = gap_plan.make_plan(given, config, preset), None
    else:
        folder = find(runs, resume).path
        plan = gap_plan.resumed_plan(read_info(folder), given, config, preset)
    return measure_gap(plan, folder, runs, Screen(json=json), force=force)


def baselines(
    *,
    model: str | None = None,
    task: str | None = None,
    pairs: Path | None = None,
    format: Format | None = None,
    preset: Preset | None = None,
    config: BaselinesConfig = BaselinesConfig(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Compare what a judge gains by being asked better: no training, equal tokens.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:reasoner, scripted:NAME or replay:FILE.
        task: Items of this task's report split: chain:3, or a file of questions with targets.
        pairs: Items of a file of pairs; those with a target have a gold answer.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them. An embedded model gets tiny.
        limit: At most so many items; by default 200 of a task and all of a file.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = {
        "model": model,
        "task": task,
        "pairs": pairs,
        "format": format,
        "limit": limit,
        "cache": cache,
    }
    folder = find(runs, resume).path if resume else None
    if folder is None:
        plan = baselines_plan.make_plan(given, config, preset)
    else:
        plan = baselines_plan.resumed_plan(read_info(folder), given, config, preset)
    return compare_baselines(plan, folder, runs, Screen(json=json))
