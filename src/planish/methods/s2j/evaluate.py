"""Stage `gap`: what a model can solve, and judges wrongly all the same.

planish s2j gap --model hf:./checkpoint --task chain:3
planish s2j gap --model hf:./trained --task chain:3 --base runs/s2j/20250102-030405-checkpoint
planish s2j gap --resume runs/s2j/20250102-030405-checkpoint
"""

from __future__ import annotations

from pathlib import Path

from planish.judges.formats import Format
from planish.methods.s2j.measuring.baselines_plan import BaselinesConfig, make_plan, resumed_plan
from planish.methods.s2j.measuring.baselines_run import compare_baselines
from planish.runs.console import Screen
from planish.runs.info import read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find

__all__ = ["baselines"]


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
        plan = make_plan(given, config, preset)
    else:
        plan = resumed_plan(read_info(folder), given, config, preset)
    return compare_baselines(plan, folder, runs, Screen(json=json))
