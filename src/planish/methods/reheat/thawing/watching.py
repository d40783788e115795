"""What is looked at after every step of a reheating, and when it ends.

    watching = Watching(sight, ledger, attempt=1)
    train_distill(..., watch=watching)

Every probe is recorded as soon as it is known. A training that goes on hears what was recorded, so
that it ends where it would have ended.

Shape suffixes: N positions of all replies, V vocabulary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from planish.methods.reheat.loss import ascent_cosine
from planish.methods.reheat.method import Answer, Decision, EntropyProbe, StopRule, TokenEntropy
from planish.methods.reheat.policy import Policy
from planish.methods.reheat.probing import Kind, Probe
from planish.methods.reheat.thawing.gate import Start
from planish.methods.reheat.thawing.ledger import Ledger
from planish.models.local_loading import Checkpoint
from planish.training.callbacks import TrainingFailed
from planish.training.launch import is_main
from planish.training.trainer import share

__all__ = ["Cooling", "Sight", "Watching", "reached"]

_POSITIONS = 128
"""The teacher's logits are kept at so many positions at most: 77 MB of a large vocabulary."""

_KINDS: tuple[Kind, ...] = ("on_policy", "frozen")


@dataclass(frozen=True)
class Sight:
    """What a watch needs to know.

    Args:
        probe: with its frozen replies.
        start: what was measured before the first step.
        rule: when it ends.
        reference: the entropy that all are compared with.
        temperature: of the teacher.
        teacher: "frozen", "live", or the steps between two refreshments.
        rollouts_per_step: replies that a step learns from.
        batch_size: replies drawn at once.
        forced: whether a policy that is warm enough is reheated all the same.
        anchored: whether the teacher is more than the policy tempered: then nothing is compared
            with an entropy bonus.
    """

    probe: Probe
    start: Start
    rule: StopRule
    reference: float
    temperature: float
    teacher: str | int
    rollouts_per_step: int
    batch_size: int
    forced: bool = False
    anchored: bool = False


@dataclass(frozen=True)
class Cooling(StopRule):
    """The rule of the other way: it ends once the entropy is low enough."""

    def answer(self, step: int, entropy: float) -> Answer:
        """What to do after a step with this entropy."""
        return "stop" if self.reached(entropy) or step >= self.max_steps else "go"

    def reached(self, entropy: float) -> bool:
        """Whether that is enough."""
        return entropy <= self.target


def reached(rule: StopRule, entropy: float) -> bool:
    """Whether a policy with this entropy is where it should be."""
    return rule.reached(entropy) if isinstance(rule, Cooling) else entropy >= rule.target


class Watching:
    """The watch of one attempt.

    Args:
        sight: what it looks at.
        ledger: where probes and the decision go.
        attempt: from 1.
        keep: folder for the teacher's logits, which a training that goes on needs again.
    """

    def __init__(self, sight: Sight, ledger: Ledger, *, attempt: int, keep: Path) -> None:
        self._sight, self._ledger, self._attempt, self._keep = sight, ledger, attempt, keep
        self._numbers: dict[int, dict[str, float]] = {}
        self._teacher_NV: Tensor | None = None
        self._begun = time.perf_counter()

    def __call__(self, step: int, checkpoint: Checkpoint) -> Answer:
        """Probes the policy and says how to go on; see `training.guard.Watch`."""
        policy = Policy(checkpoint, name="the policy", batch_size=self._sight.batch_size)
        found = self._entropies(step, policy)
        entropy = found["on_policy"].mean
        cosine = {} if self._sight.anchored else self._cosine(step, policy)
        now = time.perf_counter()
        self._numbers[step] = {
            "probe_entropy": entropy,
            "probe_entropy_frozen": found["frozen"].mean,
            **cosine,
            "num_rollouts": step * self._sight.rollouts_per_step,
            "wall_s": now - self._begun,
        }
        self._begun = now
        return self._answer(step, entropy)

    def numbers(self, step: int) -> Mapping[str, float]:
        """What to log beside the numbers of a step, on the main process."""
        return self._numbers[step]

    def _entropies(self, step: int, policy: Policy) -> dict[Kind, TokenEntropy]:
        """Read back where they were recorded; else looked at on every process alike."""
        ledger, start = self._ledger, self._sight.start
        known = {
            kind: ledger.find("probe", f"{self._attempt}/{step}/{kind}", EntropyProbe)
            for kind in _KINDS
        }
        told: dict[Kind, TokenEntropy] | None = share(
            {kind: probe.entropy for kind, probe in known.items() if probe is not None}
        )
        if told is None or len(told) < len(_KINDS):
            told = dict.fromkeys(_KINDS, start.warmth.tokens)
            if step > 0:
                told = share(self._sight.probe.look(policy))
            assert told is not None
        for kind, entropy in told.items():
            if not math.isfinite(entropy.mean):
                raise TrainingFailed("the entropy is not finite", step)
            self._ledger.keep(
                "probe", f"{self._attempt}/{step}/{kind}", self._record(step, kind, entropy)
            )
        return told

    def _record(self, step: int, kind: Kind, entropy: TokenEntropy) -> EntropyProbe:
        sight = self._sight
        return EntropyProbe(
            step=step,
            phase="reheat",
            kind=kind,
            probe_set_hash=sight.probe.prompts.hash,
            entropy=entropy,
            entropy_ref=sight.reference,
            ratio=entropy.mean / sight.reference,
            seed=sight.probe.seed,
        )

    def _answer(self, step: int, entropy: float) -> Answer:
        rule = self._sight.rule
        if step == 0:
            done = reached(rule, entropy) and not self._sight.forced
            answer: Answer = "stop" if done else "go"
        else:
            answer = rule.answer(step, entropy)
        if answer != "go":
            self._ledger.keep("decision", f"{self._attempt}/end", self._decision(step, entropy))
        return answer

    def _decision(self, step: int, entropy: float) -> Decision:
        rule = self._sight.rule
        thresholds = {
            "target": rule.target,
            "ceiling": rule.ceiling,
            "max_steps": float(rule.max_steps),
            "entropy": entropy,
            "reference": self._sight.reference,
        }
        if step > 0 and rule.answer(step, entropy) == "back":
            return Decision(
                step=step,
                action="rollback",
                reason=f"entropy {entropy:.3f} nats is above the ceiling of {rule.ceiling:.3f}: "
                f"step {step} is taken back",
                thresholds=thresholds,
            )
        if reached(rule, entropy):
            return Decision(
                step=step,
                action="stop",
                reason=f"entropy {entropy:.3f} nats has reached {rule.target:.3f}",
                thresholds=thresholds,
            )
        return Decision(
            step=step,
            action="exhausted",
            reason=f"entropy {entropy:.3f} nats has not reached {rule.target:.3f} after {step} "
            "steps",
            thresholds=thresholds,
        )

    def _cosine(self, step: int, policy: Policy) -> dict[str, float]:
        """How alike the step that comes next and an entropy bonus would be, on frozen replies."""
        student_NV = self._logits(policy)
        every = self._sight.teacher
        if every == "live":
            teacher_NV = student_NV
        elif step == 0 or (isinstance(every, int) and step % every == 0):
            teacher_NV = self._teacher_NV = student_NV
            if is_main():
                _save(self._keep / "teacher.safetensors", student_NV)
        else:
            if self._teacher_NV is None:
                self._teacher_NV = _load(self._keep / "teacher.safetensors")
            teacher_NV = self._teacher_NV
        cosines_N = ascent_cosine(student_NV, teacher_NV, self._sight.temperature)
        return {"cosine_to_entropy_ascent": cosines_N.mean().item()}

    def _logits(self, policy: Policy) -> Tensor:
        """At the first positions of the frozen replies, in the order of reading."""
        texts, positions = [], 0
        for text in self._sight.probe.frozen:
            if positions >= _POSITIONS:
                break
            texts.append(text)
            positions += len(text.reply_ids)
        parts = [reading.logits_NV.float().cpu() for reading in policy.read(texts)]
        return torch.cat(parts)[:_POSITIONS].clone()


def _save(path: Path, logits_NV: Tensor) -> None:
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"logits": logits_NV}, path)


def _load(path: Path) -> Tensor:
    from safetensors.torch import load_file

    return load_file(path)["logits"]
