"""The plan of one diagnosis: what decides its numbers, and how a run goes on with it.

plan = make_plan({"model": "hf:./checkpoint", "task": "countdown:4", ...}, Config())
plan.greedy, plan.drawn, plan.afresh        # how replies are drawn
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planish.methods.reheat.config import Config
from planish.methods.reheat.data import PromptSet, PromptSets, check_apart, prompt_set
from planish.methods.reheat.origin import Origin, again, local_path, origin_of, preset_for
from planish.records import BadInput, Sampling
from planish.runs.info import RunInfo
from planish.runs.presets import Preset, regiven, resolve
from planish.tasks.base import Task

__all__ = ["REACH_SAMPLES", "Plan", "make_plan", "resumed_plan"]

REACH_SAMPLES = 32
"""Fresh draws of each prompt that nothing solved, if nobody says how many."""

_FRESH = 1_000_003  # between the seeds of draws that must not be the same


class Plan(Origin, Config):
    """What determines the result: it is kept in run.json, and a resume must match it.

    Args:
        reference_entropy: nats that somebody measured before, in place of a reference.
        pass_k: the largest k of pass@k.
        reach_samples: fresh draws of each prompt that nothing solved.
        cache: replies that runs share.
        revision: of the model behind the name.
    """

    reference_entropy: float | None
    pass_k: int
    reach_samples: int
    cache: str | None
    revision: str = ""

    @property
    def is_local(self) -> bool:
        """Whether the model's weights are at hand, and with them its entropy."""
        return local_path(self.model) is not None

    @property
    def ks(self) -> tuple[int, ...]:
        """Every k that pass@k is told for: 1 and its doublings, up to the largest."""
        doublings = (2**power for power in range(self.pass_k.bit_length()))
        return tuple(sorted({*doublings, self.pass_k}))

    @property
    def drawn(self) -> Sampling:
        """How the groups are drawn."""
        return self._at(1.0, self.samples, 0)

    @property
    def afresh(self) -> Sampling:
        """How prompts that nothing solved are drawn again: chosen by their bad luck, they look
        worse in the draws that chose them than they are.
        """
        return self._at(1.0, self.reach_samples, 1)

    @property
    def greedy(self) -> Sampling:
        """The likeliest reply, once."""
        return self._at(0.0, 1, 0)

    def _at(self, temperature: float, number: int, round: int) -> Sampling:
        return Sampling(
            temperature=temperature,
            n=number,
            max_tokens=self.max_tokens,
            seed=self.seed + _FRESH * round,
        )

    def prompts(self, task: Task) -> tuple[PromptSet, PromptSet]:
        """(of the probe, of the report); no probe is drawn where no entropy can be told.

        Raises:
            BadInput: a split is empty, or a prompt is in both.
        """
        nothing = PromptSet(())
        report = prompt_set(
            task, "report", self.report_prompts, self.seed, option="--report-prompts"
        )
        if not self.is_local:
            return nothing, report
        probe = prompt_set(task, "gate", self.probe_prompts, self.seed, option="--probe-prompts")
        check_apart(PromptSets(nothing, probe, report), where=self.source)
        return probe, report


def make_plan(given: Mapping[str, Any], config: Config, preset: Preset | None = None) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Raises:
        BadInput: an option is missing, contradicts another, or names what cannot be read.
    """
    return _made(given, resolve(preset_for(given["model"], preset), config))


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: Config, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before, options = again(info, "diagnose", Plan, given)
    return _made(options, regiven(before, config, preset))


def _made(given: Mapping[str, Any], config: Config) -> Plan:
    origin = origin_of(given)
    entropy, largest = given["reference_entropy"], given["pass_k"] or max(1, config.samples // 2)
    _check_reference(given["model"], given["reference"], entropy)
    if largest > config.samples:
        raise BadInput(
            f"pass@{largest} cannot be told from {config.samples} draws",
            where="--pass-k",
            fix=f"lower it, or raise --samples to {2 * largest}",
        )
    cache = given["cache"]
    return Plan(
        **origin,
        **config.model_dump(),
        reference_entropy=entropy,
        pass_k=largest,
        reach_samples=given["reach_samples"] or REACH_SAMPLES,
        cache=None if cache is None else str(Path(cache).resolve()),
    )


def _check_reference(model: str, reference: str | None, entropy: float | None) -> None:
    if entropy is None:
        return
    option = "--reference-entropy"
    if not (math.isfinite(entropy) and entropy > 0):
        raise BadInput(f"must be above 0 nats, not {entropy:g}", where=option)
    if reference is not None:
        raise BadInput("is given beside --reference", where=option, fix="give one of the two")
    if local_path(model) is None:
        raise BadInput(
            f"has no effect: only local weights tell an entropy, and {model} is elsewhere",
            where=option,
            fix="leave it out, or name the weights: --model hf:FOLDER",
        )
