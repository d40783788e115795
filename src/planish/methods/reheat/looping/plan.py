"""The plan of one loop: what decides its result, and how a run goes on with it.

plan = make_plan({"model": "hf:./before", "task": "countdown:4", ...}, LoopConfig())
material = prepare(plan, resumed=False)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planish.methods.reheat.config import LoopConfig
from planish.methods.reheat.method import Trigger, window_steps
from planish.methods.reheat.origin import Origin, again, origin_of, preset_for
from planish.methods.reheat.thawing.plan import Material, check_reheating, material_of
from planish.records import BadInput
from planish.runs.info import RunInfo
from planish.runs.presets import Preset, regiven, resolve
from planish.training.job import check_lora, check_out, check_vllm, model_path
from planish.training.launch import num_processes
from planish.training.rows import split_batch

__all__ = ["Plan", "make_plan", "prepare", "resumed_plan"]


class Plan(Origin, LoopConfig):
    """What determines the result: it is kept in run.json, and a resume must match it.

    Args:
        reference_entropy: nats of a healthy policy; None: those of the first RL's early steps.
        out: folder for the last phase's checkpoint.
        num_processes: of the launch.
    """

    reference_entropy: float | None
    out: str
    num_processes: int

    @property
    def trigger(self) -> Trigger:
        """When a phase of RL is stopped."""
        return Trigger(ratio=self.collapse_ratio, patience=self.patience)


def make_plan(
    given: Mapping[str, Any],
    config: LoopConfig,
    preset: Preset | None = None,
    *,
    typed: LoopConfig | None = None,
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Args:
        given: `model`, `task`, `reference_entropy` and `out`.
        config: the dials.
        preset: what they stand on.
        typed: the dials among them that somebody typed, where others come from a run of before.

    Raises:
        BadInput: an option is missing, has no effect, or names nothing that can be used.
    """
    origin = origin_of({**given, "reference": None})
    if given["out"] is None:
        raise BadInput(
            "is missing", where="--out", fix="give it, or --resume RUN to go on with a run"
        )
    model_path(given["model"])
    entropy = given["reference_entropy"]
    if entropy is not None and not (math.isfinite(entropy) and entropy > 0):
        raise BadInput(f"must be above 0 nats, not {entropy:g}", where="--reference-entropy")
    plan = Plan(
        **origin,
        **resolve(preset_for(given["model"], preset), config).model_dump(),
        reference_entropy=entropy,
        out=str(Path(given["out"]).resolve()),
        num_processes=num_processes(),
    )
    check_lora(plan, config if typed is None else typed)
    check_vllm(plan)
    _check_rounds(plan)
    _check_window(plan)
    return plan


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: LoopConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before, options = again(info, "loop", Plan, given)
    return make_plan(options, regiven(before, config, preset), typed=config)


def _check_rounds(plan: Plan) -> None:
    """Refuses rounds that could not begin, or would begin again at once."""
    if not plan.rounds:
        return
    if plan.inverse:
        raise BadInput("cools, and a loop warms", where="--inverse", fix="leave it out")
    check_reheating(plan)
    if plan.stop_ratio < plan.collapse_ratio:
        raise BadInput(
            f"{plan.stop_ratio:g} is below --collapse-ratio {plan.collapse_ratio:g}: what was "
            "reheated would count as collapsed again at once",
            where="--stop-ratio",
            fix="raise it, or lower --collapse-ratio",
        )


def _check_window(plan: Plan) -> None:
    """Refuses a watch that would have nothing to hold the entropy against, without rounds too."""
    window = plan.trigger.window
    if plan.reference_entropy is None and not window_steps(window, plan.steps, plan.probe_every):
        low, high = (round(share * plan.steps) for share in window)
        raise BadInput(
            f"no probe falls between the steps {low} and {high} of {plan.steps}, whose entropy is "
            "the reference",
            where="--probe-every",
            fix="lower it, take more --steps, or give --reference-entropy",
        )


def prepare(plan: Plan, *, resumed: bool) -> Material:
    """Everything that can be known before a model is loaded.

    Raises:
        BadInput: the task, a model, a prompt, the batch or `--out` cannot be used.
    """
    check_out(Path(plan.out), resumed=resumed)
    split_batch(plan.prompts_per_step * plan.rollouts, plan.micro_batch_size, plan.num_processes)
    return material_of(plan, plan)
