"""The idea: when a policy counts as collapsed, when it is warm again, and what must not move.

    trigger = Trigger(ratio=0.67, patience=3)
    collapsed = trigger.fires([0.9, 0.5, 0.4, 0.4], reference=1.0)

    stop = StopRule(target=0.4, ceiling=0.8, max_steps=60)
    stop.answer(step=3, entropy=0.41)           # "stop"

    missed(preservation, Limits())              # what the gate refuses, in words

Reinforcement learning drives the entropy of a policy towards zero until its samples are all
alike, groups have no variance and nothing is learned. Reheating distils the policy into its own
tempered distribution, which keeps the ranking of the tokens, until the entropy is back; then the
same reinforcement learning goes on (TS-OPSD, arXiv 2606.00755). The rules here are ours, for the
paper stops by eye.

Entropies are exact, in nats, at temperature 1 over the whole vocabulary, means over completion
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb
from statistics import median
from typing import Literal

from pydantic import Field

from planish.records import Record
from planish.stats import Estimate

__all__ = [
    "Decision",
    "EntropyProbe",
    "Limits",
    "Preservation",
    "StopRule",
    "TokenEntropy",
    "Trigger",
    "missed",
    "pass_at_k",
    "reference_entropy",
    "verdict",
    "window_steps",
]

Phase = Literal["diagnosis", "rl", "reheat", "resume"]
Answer = Literal["go", "stop", "back"]


class TokenEntropy(Record):
    """Entropies of the tokens of some replies; percentiles are None where only the mean is told."""

    num_tokens: int
    mean: float
    p10: float | None = None
    p50: float | None = None
    p90: float | None = None

    @classmethod
    def of(cls, entropies: Sequence[float]) -> TokenEntropy:
        """Of one number per token.

        Raises:
            ValueError: there is no token.
        """
        if not entropies:
            raise ValueError("there is no token")
        ordered = sorted(entropies)

        def at(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

        return cls(
            num_tokens=len(ordered),
            mean=sum(ordered) / len(ordered),
            p10=at(0.1),
            p50=at(0.5),
            p90=at(0.9),
        )


class EntropyProbe(Record):
    """The entropy of a policy on a fixed set of prompts.

    Args:
        step: of its phase.
        phase: what was going on.
        kind: of replies that the policy just drew, of replies drawn before the first step, or of
            the rollouts that it was trained on.
        probe_set_hash: of the prompts; "" for rollouts.
        entropy: of the replies' tokens.
        entropy_ref: what it is compared with; None where there is no reference.
        ratio: entropy over reference.
        seed: of the draws.
        temperature: of the draws and of the entropy.
    """

    step: int
    phase: Phase
    kind: Literal["on_policy", "frozen", "rollouts"]
    probe_set_hash: str
    entropy: TokenEntropy
    entropy_ref: float | None
    ratio: float | None
    seed: int
    temperature: float = 1.0


class Decision(Record):
    """What was done, and why.

    Args:
        step: of its phase, after which it was decided.
        action: "fire" is the trigger, "rollback" the ceiling.
        reason: in words.
        thresholds: the numbers that it was decided by.
        checkpoint: the weights that follow from it, where they are on the disk.
    """

    step: int
    action: Literal["fire", "stop", "rollback", "exhausted", "gate_pass", "gate_fail", "resume"]
    reason: str
    thresholds: dict[str, float]
    checkpoint: str = ""


class Preservation(Record):
    """How far a policy has moved, as means over the tokens of its own replies of before.

    Args:
        num_tokens: that were compared.
        token_kl: KL(before || after) in nats.
        top10_overlap: share of the ten likeliest tokens of before that still are.
        retained_mass: probability that the ten likeliest of before have now, over what they had.
        greedy_agreement: share of tokens whose likeliest token is the same.
        cka_per_layer: linear CKA of the hidden states, from the first layer to the last.
        over_replies: the four means above by name, with their intervals over replies.
    """

    num_tokens: int
    token_kl: float
    top10_overlap: float
    retained_mass: float
    greedy_agreement: float
    cka_per_layer: tuple[float, ...] = ()
    over_replies: dict[str, Estimate] = Field(default_factory=dict)


@dataclass(frozen=True)
class Trigger:
    """Fires when the entropy has been low for some probes running.

    Args:
        ratio: of the reference; the paper's 0.08 over 0.12 nats.
        patience: probes running.
        window: shares of the planned steps between which the entropy is the reference's.
        absolute: in nats, in place of a ratio of a reference. It does not carry over from one
            model or task to another.
    """

    ratio: float = 0.67
    patience: int = 3
    window: tuple[float, float] = (0.10, 0.25)
    absolute: float | None = None

    def level(self, reference: float | None) -> float | None:
        """The entropy below which it fires; None as long as there is no reference."""
        if self.absolute is not None:
            return self.absolute
        return None if reference is None else self.ratio * reference

    def fires(self, entropies: Sequence[float], reference: float | None) -> bool:
        """Whether the last `patience` probes are all below the level."""
        level = self.level(reference)
        last = entropies[-self.patience :]
        return level is not None and len(last) == self.patience and max(last) < level


def reference_entropy(
    probes: Sequence[tuple[int, float]], window: tuple[float, float], num_steps: int
) -> float | None:
    """The median entropy over a window of steps; None while the window is not over.

    Args:
        probes: (step, entropy), in order.
        window: shares of `num_steps`, as in `Trigger`.
        num_steps: that are planned.
    """
    low, high = (share * num_steps for share in window)
    inside = [entropy for step, entropy in probes if low <= step <= high]
    over = bool(probes) and probes[-1][0] >= high
    return median(inside) if inside and over else None


def window_steps(window: tuple[float, float], num_steps: int, every: int) -> range:
    """The steps of a window that are probed when every so many are; empty: it has no reference."""
    first = max(1, ceil(window[0] * num_steps / every)) * every
    return range(first, int(window[1] * num_steps) + 1, every)


@dataclass(frozen=True)
class StopRule:
    """When reheating ends.

    Args:
        target: entropy at which it is done.
        ceiling: above it the last step is taken back.
        max_steps: after which it ends in any case.
    """

    target: float
    ceiling: float
    max_steps: int

    def answer(self, step: int, entropy: float) -> Answer:
        """What to do after a step with this entropy."""
        if entropy > self.ceiling:
            return "back"
        return "stop" if entropy >= self.target or step >= self.max_steps else "go"


@dataclass(frozen=True)
class Limits:
    """What must not move while a policy is reheated.

    Args:
        token_kl: nats, at most.
        top10_overlap: at least.
        greedy_agreement: at least.
    """

    token_kl: float = 0.02
    top10_overlap: float = 0.95
    greedy_agreement: float = 0.96


def missed(
    found: Preservation,
    limits: Limits,
    *,
    accuracy: float | None = None,
    floor: float | None = None,
) -> list[str]:
    """What the gate refuses, in words; empty where the policy is what it was but for its warmth.

    Args:
        found: how far the policy has moved.
        limits: how far it may.
        accuracy: of greedy replies to held-out prompts, after.
        floor: the lower end of the interval of the same accuracy before.
    """
    words = []
    if found.token_kl > limits.token_kl:
        words.append(f"token KL {found.token_kl:.3f} is above {limits.token_kl:g}")
    for name, least in (
        ("top10_overlap", limits.top10_overlap),
        ("greedy_agreement", limits.greedy_agreement),
    ):
        value = getattr(found, name)
        if value < least:
            words.append(f"{name.replace('_', ' ')} {value:.3f} is below {least:g}")
    if accuracy is not None and floor is not None and accuracy < floor:
        words.append(
            f"greedy accuracy {accuracy:.3f} is below the interval of before ({floor:.3f})"
        )
    return words


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that one of k of n draws is right, where c of n are (arXiv 2107.03374).

    Raises:
        ValueError: k is not between 1 and n, or c not between 0 and n.
    """
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@{k} of {c} right in {n}")
    return 1 - comb(n - c, k) / comb(n, k)


def verdict(
    entropy: float | None, reference: float | None, level: float | None, zero_variance: float
) -> str:
    """The diagnosis as one plain sentence.

    Args:
        entropy: of the policy; None where it cannot be told.
        reference: entropy that it is compared with.
        level: below it the policy counts as collapsed; None: only the groups speak.
        zero_variance: share of groups whose rollouts all earn the same.
    """
    groups = f"{zero_variance:.0%} of groups without variance"
    if entropy is None:
        return f"{groups}; the entropy needs local weights"
    how = (
        f"{entropy / reference:.0%} of the reference entropy"
        if reference
        else f"entropy {entropy:.3f} nats"
    )
    if level is None:
        return f"{how}; {groups}"
    return f"{'collapsed' if entropy < level else 'not collapsed'}: {how}; {groups}"
