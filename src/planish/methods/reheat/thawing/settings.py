"""A config in the words of those who carry it out: the trainer, the rule, the policies.

settings_of(config, attempt=2).learning_rate        # half of what was said
rule_of(config, reference=1.07).target
reference_of(plan, sets, job)
"""

from __future__ import annotations

from typing import Literal

import torch

from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.data import PromptSets
from planish.methods.reheat.method import StopRule
from planish.methods.reheat.policy import Policy
from planish.methods.reheat.probing import Probe
from planish.methods.reheat.thawing.gate import Start, Warmth, warmth_of
from planish.methods.reheat.thawing.ledger import Ledger
from planish.methods.reheat.thawing.plan import Plan
from planish.methods.reheat.thawing.watching import Cooling
from planish.records import BadInput
from planish.stats import Estimate
from planish.training.distill import DistillSettings
from planish.training.job import Job, model_path
from planish.training.trainer import open_network

__all__ = ["opened_policy", "reference_of", "refusal", "rule_of", "settings_of", "teacher_of"]


def reference_of(plan: Plan, sets: PromptSets, job: Job) -> Estimate:
    """The entropy that the plan compares with: measured, or in nats as it was given.

    With a target in nats it is what that would be the wanted share of.

    Raises:
        BadInput: the reference cannot be loaded.
    """
    if plan.target_entropy is not None:
        return Estimate(value=plan.target_entropy / plan.stop_ratio)
    if plan.reference is None:
        assert plan.reference_entropy is not None
        return Estimate(value=plan.reference_entropy)
    path = model_path(plan.reference, "--reference")

    def make() -> Warmth:
        policy = opened_policy(path, plan)
        probe = Probe(sets.probe, max_tokens=plan.max_tokens, seed=plan.seed)
        return warmth_of(policy, probe.draw(policy))

    return Ledger(job.run, "reference").once("start", "entropy", Warmth, make).mean


def rule_of(config: ReheatConfig, reference: float) -> StopRule:
    """When it ends, in nats."""
    rule = Cooling if config.inverse else StopRule
    return rule(
        target=config.stop_ratio * reference,
        ceiling=config.ceiling_ratio * reference,
        max_steps=config.max_steps,
    )


def refusal(model: str, config: ReheatConfig, start: Start, rule: StopRule) -> BadInput:
    """What is said of a policy that needs no reheating."""
    side, state = ("below", "cool") if config.inverse else ("above", "not collapsed")
    return BadInput(
        f"its entropy of {start.warmth.tokens.mean:.3f} nats is {side} the stop level of "
        f"{rule.target:.3f}: it is {state}",
        where=model,
        fix="let its training go on, change --stop-ratio, or add --force",
    )


def teacher_of(config: ReheatConfig) -> Literal["frozen", "live"] | int:
    """The teacher in `DistillSettings`' words."""
    if config.teacher == "live":
        return "live"
    return "frozen" if config.teacher == "frozen" else int(config.teacher.partition(":")[2])


def settings_of(config: ReheatConfig, attempt: int = 1) -> DistillSettings:
    """The settings of an attempt; every further one has half the learning rate."""
    return DistillSettings(
        learning_rate=config.reheat_learning_rate / 2 ** (attempt - 1),
        num_steps=config.max_steps,
        seed=config.seed,
        **config.optimizer(),
        **config.rollouts_by(),
        temperature=config.reheat_temperature,
        prompts_per_step=config.reheat_prompts,
        rollouts_per_prompt=config.reheat_rollouts,
        max_tokens=config.max_tokens,
        direction=config.direction,
        teacher=teacher_of(config),
        trains=config.trains,
        anchor=None if config.anchor is None else model_path(config.anchor, "--anchor"),
    )


def opened_policy(path: str, config: ReheatConfig) -> Policy:
    """A policy with its weights as they are trained, so that before and after compare."""
    checkpoint = open_network(path, settings_of(config))
    if torch.cuda.is_available():
        checkpoint.model.to("cuda")
    return Policy(checkpoint, name=path, batch_size=config.batch_size)
