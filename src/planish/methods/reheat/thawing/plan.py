"""The plan of one reheating: what decides its result, and how a run goes on with it.

plan = make_plan({"model": "hf:./checkpoint", "reference": "hf:./before", ...}, ReheatConfig())
material = prepare(plan, resumed=False)
material.task, material.sets
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.data import PromptSets, prompt_sets
from planish.methods.reheat.origin import Origin, again, check_models, origin_of, preset_for
from planish.records import BadInput
from planish.runs.info import RunInfo
from planish.runs.presets import Preset, regiven, resolve
from planish.tasks.base import Task
from planish.training.job import check_lora, check_out, check_vllm, model_path
from planish.training.launch import num_processes
from planish.training.rows import split_batch

__all__ = [
    "Material",
    "Plan",
    "check_reheating",
    "make_plan",
    "material_of",
    "prepare",
    "resumed_plan",
]

_COMPARED = {
    "reference": "--reference",
    "reference_entropy": "--reference-entropy",
    "target_entropy": "--target-entropy",
}


class Plan(Origin, ReheatConfig):
    """What determines the result: it is kept in run.json, and a resume must match it.

    Args:
        reference_entropy: nats that somebody measured before, in place of a reference.
        target_entropy: nats to stop at, in place of a share of a reference.
        out: folder of the result.
        force: whether a policy that is warm enough is reheated all the same.
        num_processes: that train together.
    """

    reference_entropy: float | None
    target_entropy: float | None
    out: str
    force: bool
    num_processes: int

    @property
    def action(self) -> str:
        """What is done to the policy."""
        return "cooled" if self.inverse else "reheated"


@dataclass(frozen=True)
class Material:
    """What a reheating is made of: the task with its grader, and prompts by purpose."""

    task: Task
    sets: PromptSets


def make_plan(
    given: Mapping[str, Any],
    config: ReheatConfig,
    preset: Preset | None = None,
    typed: ReheatConfig | None = None,
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Args:
        given: every option that is no dial.
        config: the dials.
        preset: to start from.
        typed: the dials that somebody typed, where others come from a run of before.

    Raises:
        BadInput: an option is missing, contradicts another, or names what cannot be used.
    """
    if given["out"] is None:
        raise BadInput(
            "is missing", where="--out", fix="give it, or --resume RUN to go on with a run"
        )
    origin = origin_of(given)
    model_path(given["model"])
    for option, spec in (("--reference", given["reference"]), ("--anchor", config.anchor)):
        if spec is not None:
            model_path(spec, option)
    _check_compared(given)
    plan = Plan(
        **origin,
        **resolve(preset_for(given["model"], preset), config).model_dump(),
        reference_entropy=given["reference_entropy"],
        target_entropy=given["target_entropy"],
        out=str(Path(given["out"]).resolve()),
        force=bool(given["force"]),
        num_processes=num_processes(),
    )
    check_lora(plan, config if typed is None else typed)
    check_reheating(plan)
    return plan


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: ReheatConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before, options = again(info, "run", Plan, given)
    return make_plan(options, regiven(before, config, preset), typed=config)


def _check_compared(given: Mapping[str, Any]) -> None:
    """Refuses a reheating without an end, and one with two."""
    told = [option for name, option in _COMPARED.items() if given[name] is not None]
    if not told:
        raise BadInput(
            "is missing: nobody says how warm the policy should be",
            where="--reference",
            fix="name a model of before the collapse, or give --reference-entropy or "
            "--target-entropy in nats",
        )
    if len(told) > 1:
        raise BadInput(f"is given beside {told[0]}", where=told[1], fix="give one of them")
    for name in ("reference_entropy", "target_entropy"):
        nats = given[name]
        if nats is not None and not (math.isfinite(nats) and nats > 0):
            raise BadInput(f"must be above 0 nats, not {nats:g}", where=_COMPARED[name])


def check_reheating(config: ReheatConfig) -> None:
    """Refuses dials that contradict each other, before anything is loaded.

    Raises:
        BadInput: with the first of them.
    """
    temperature = config.reheat_temperature
    if config.inverse and temperature >= 1:
        raise BadInput(
            f"must be below 1 to cool, not {temperature:g}",
            where="--reheat-temperature",
            fix="lower it, or leave --inverse out",
        )
    if not config.inverse and temperature <= 1:
        raise BadInput(
            f"must be above 1, not {temperature:g}: at 1 the teacher is the policy itself, and "
            "below 1 it cools",
            where="--reheat-temperature",
            fix="raise it, or add --inverse to cool",
        )
    if config.ceiling_ratio <= config.stop_ratio and not config.inverse:
        raise BadInput(
            f"must be above --stop-ratio {config.stop_ratio:g}, not {config.ceiling_ratio:g}",
            where="--ceiling-ratio",
            fix="raise it",
        )
    if config.lora and config.teacher.startswith("refresh"):
        raise BadInput(
            "a teacher that is refreshed needs whole weights",
            where="--lora",
            fix="leave it out, or use --teacher frozen",
        )
    if config.lora and config.lora_dropout:
        raise BadInput(
            "has no effect: policy and teacher are compared without dropout",
            where="--lora-dropout",
            fix="leave it out",
        )
    if config.lora and config.trains != "all":
        raise BadInput(
            "an adapter and the last norm alone are two ways to train little",
            where="--lora",
            fix="leave one of --lora and --trains out",
        )
    if config.anchor is not None and config.trains != "all":
        raise BadInput(
            "the norm before the head alone cannot bring back what the anchor knows",
            where="--anchor",
            fix="add --trains all, with a lower --reheat-learning-rate",
        )
    check_vllm(config)
    batch = config.reheat_prompts * config.reheat_rollouts
    split_batch(batch, config.micro_batch_size, num_processes())
    if config.teacher == "live" or config.anchor is not None:
        from planish.training.distill import check_live

        check_live()


def prepare(plan: Plan, *, resumed: bool) -> Material:
    """Everything that can be known before a model is loaded.

    Raises:
        BadInput: the task, a model, a prompt or `--out` cannot be used.
    """
    check_out(Path(plan.out), resumed=resumed)
    return material_of(plan, plan)


def material_of(origin: Origin, config: ReheatConfig) -> Material:
    """The task and its prompts, for models that fit each other and the prompts.

    Raises:
        BadInput: the task, a model or a prompt cannot be used.
    """
    task = origin.load_task()
    sets = prompt_sets(
        task,
        train=config.prompts,
        probe=config.probe_prompts,
        report=config.report_prompts,
        seed=config.seed,
    )
    check_models(origin.model, origin.reference)
    if config.anchor is not None:
        check_models(origin.model, config.anchor, option="--anchor")
    _check_room(origin.model, sets, config.max_tokens)
    return Material(task, sets)


def _check_room(model: str, sets: PromptSets, max_tokens: int) -> None:
    """Refuses a prompt that leaves no room for a reply."""
    from planish.models.local_loading import open_tokenizer
    from planish.training.prompts import encode_prompts

    path = model_path(model)
    tokenizer, room = open_tokenizer(path)
    asked = [
        (example.id, example.prompt)
        for each in (sets.probe, sets.train)
        for example in each.examples
    ]
    encode_prompts(asked, tokenizer, path, max_tokens=max_tokens, room=room)
