"""Stage `diagnose`: has the policy collapsed, and what is out of its reach?

planish reheat diagnose --model hf:./checkpoint --reference hf:./before --task countdown:4
planish reheat diagnose --model hf:./checkpoint --reference-entropy 0.4 --task countdown:4
planish reheat diagnose --model openai:m@http://localhost:8000/v1 --task questions.jsonl
planish reheat diagnose --resume runs/reheat/20250102-030405-diagnose-checkpoint
"""

from __future__ import annotations

from pathlib import Path

from planish.methods.reheat.config import Config
from planish.methods.reheat.measuring.diagnose import diagnose_policy
from planish.methods.reheat.measuring.plan import make_plan, resumed_plan
from planish.runs.console import Screen
from planish.runs.info import read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find

__all__ = ["diagnose"]


def diagnose(
    *,
    model: str | None = None,
    reference: str | None = None,
    reference_entropy: float | None = None,
    task: str | None = None,
    preset: Preset | None = None,
    config: Config = Config(),  # noqa: B008 - frozen
    pass_k: Count | None = None,
    reach_samples: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Tell whether a policy has collapsed, and what is out of its reach.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME; of openai:NAME@URL, scripted:NAME or replay:FILE
            everything but the entropy is told.
        reference: A healthy model to hold it against, such as that before the RL.
        reference_entropy: Nats to hold it against, in place of a model.
        task: Verifiable questions: countdown:4, routes:64:4:7:0, chain:3, or a file of questions
            with targets.
        preset: Settings to start from; single options override them. An embedded model gets tiny.
        pass_k: The largest k of pass@k; by default half of the samples.
        reach_samples: Fresh draws of each prompt that nothing solved (by default 32).
        resume: Go on with this run (a path, a name, or last); nothing finished is done again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = {
        "model": model,
        "reference": reference,
        "reference_entropy": reference_entropy,
        "task": task,
        "pass_k": pass_k,
        "reach_samples": reach_samples,
        "cache": cache,
    }
    if resume is None:
        plan, folder = make_plan(given, config, preset), None
    else:
        folder = find(runs, resume).path
        plan = resumed_plan(read_info(folder), given, config, preset)
    return diagnose_policy(plan, folder, runs, Screen(json=json))
