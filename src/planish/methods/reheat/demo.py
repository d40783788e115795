"""The offline demonstration: a policy that RL froze, and three ways to thaw it.

The embedded walker knows a graph by heart and reaches a goal now and then; 500 steps of plain GRPO
made the collapsed walker of it, which draws the same few routes over and over. It is reheated to
the same entropy through the norm before the head alone, with all weights, and anchored to the
policy that RL began with. All are measured on the same questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from planish.embedded import WALKER_TASK
from planish.methods import Shown
from planish.methods.reheat.claims import Found, claims
from planish.methods.reheat.config import Config, ReheatConfig
from planish.methods.reheat.data import prompt_sets
from planish.methods.reheat.measuring.estimating import diagnosis
from planish.methods.reheat.measuring.plan import Plan, make_plan
from planish.methods.reheat.measuring.sample import Sample, Sampler
from planish.methods.reheat.showing import report, show, summary
from planish.methods.reheat.thawing.trial import Trial, Way, attempt, drill
from planish.parallel import one_thread
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.training.job import clear_checkpoints

__all__ = ["demo"]

_FIRST, _COLLAPSED = "embedded:walker", "embedded:walker-collapsed"
_QUESTIONS, _DRAWS, _SEEDS = 300, 16, 3
_MOST_SEEDS = 1 << 31

_SHARED: dict[str, Any] = {
    "max_tokens": 9,
    "batch_size": 512,
    "reheat_prompts": 32,
    "reheat_rollouts": 2,
    "max_steps": 60,
    "stop_ratio": 0.4,
    "ceiling_ratio": 0.8,
    "max_kl": 0.3,
    "save_every": 1 << 20,
}
_WAYS = (
    Way(
        "final norm",
        {"trains": "final_norm", "reheat_temperature": 2.0, "reheat_learning_rate": 4e-2},
    ),
    Way("all weights", {"reheat_temperature": 2.0, "reheat_learning_rate": 3e-4}),
    Way("anchored", {"anchor": _FIRST, "reheat_temperature": 3.0, "reheat_learning_rate": 5e-4}),
)
_RUNAWAY: dict[str, Any] = {
    "teacher": "live",
    "reheat_temperature": 3.0,
    "reheat_learning_rate": 0.1,
    "stop_ratio": 1.0,
    "ceiling_ratio": 1.5,
}


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Diagnoses the collapsed walker, reheats it in three ways, and measures what came of it."""
    config = ReheatConfig(**_SHARED, seed=seed)
    plan = _plan(seed)
    dials = {"ways": {way.name: dict(way.dials) for way in _WAYS}, "seeds": _SEEDS}
    settings = plan.model_dump() | config.model_dump() | dials
    with Run.create("reheat", "demo", settings, seed=seed, root=root, stage="demo") as run:
        screen.note(f"run {run.path}")
        with one_thread():
            found = _found(plan, config, run, screen)
        told = claims(found)
        numbers = summary(found, told)
        clear_checkpoints(run)
        run.finish(**numbers)
        page = report(run, found, told)
        page.save(run.report_path)
    show(screen, found, told)
    return Shown(report=page, summary=numbers, folder=run.path, then=_next(found))


def _plan(seed: int) -> Plan:
    """How a policy is looked at."""
    look = Config.tiny().model_copy(
        update={"report_prompts": _QUESTIONS, "samples": _DRAWS, "seed": seed, "batch_size": 512}
    )
    given = {
        "model": _COLLAPSED,
        "reference": _FIRST,
        "task": WALKER_TASK,
        "reference_entropy": None,
    }
    return make_plan(
        given | {"pass_k": _DRAWS // 2, "reach_samples": _DRAWS, "cache": None}, look, "tiny"
    )


def _found(plan: Plan, config: ReheatConfig, run: Run, screen: Screen) -> Found:
    """All that is measured, in the order in which it is shown."""
    task = plan.load_task()
    sets = prompt_sets(
        task, train=1 << 20, probe=plan.probe_prompts, report=_QUESTIONS, seed=plan.seed
    )
    sampler = Sampler(plan, task, sets.probe, sets.report, run, screen)
    base = sampler.collapsed("collapsed", _COLLAPSED)
    first = sampler.healthy("before RL", _FIRST, base.missed)
    told = diagnosis(plan, base.seen, first.seen)
    screen.say(told.sentence)
    reference = told.entropy_reference.value
    assert reference is not None
    given: dict[str, Any] = {"task": task, "sets": sets, "reference": reference}
    given |= {"run": run, "screen": screen}
    trials: dict[str, list[Trial]] = {}
    samples: dict[str, list[Sample]] = {}
    for way in _WAYS:
        for seed in (each % _MOST_SEEDS for each in range(plan.seed, plan.seed + _SEEDS)):
            trial = attempt(way, config, seed=seed, model=_COLLAPSED, **given)
            trials.setdefault(way.name, []).append(trial)
            spec, name = f"hf:{trial.thawed.checkpoint}", f"{way.name}, seed {seed}"
            samples.setdefault(way.name, []).append(sampler.sample(name, spec, base.missed))
    runaway = ReheatConfig(**_SHARED | _RUNAWAY, seed=plan.seed)
    drilled = drill(runaway, model=_FIRST, **given)
    return Found(plan, config, told, first, base, trials, samples, runaway, drilled)


def _next(found: Found) -> tuple[str, ...]:
    policy = f"hf:{found.trials['anchored'][0].thawed.checkpoint}"
    given = ("--model", policy, "--task", WALKER_TASK, "--preset", "tiny")
    return (
        command("planish", "reheat", "diagnose", *given, "--reference", _FIRST),
        command("planish", "reheat", "loop", *given, "--out", "policy"),
    )
