"""A collapsed policy is reheated: measured, distilled into its tempered self, and held to a gate.

    thawed = thaw("./checkpoint", task, sets, config, reference=1.07, job=job, name="reheat", out=out)
    thawed.ended, thawed.missed, thawed.checkpoint

What misses the gate is tried once more at half the learning rate, from the policy of before. Only
what reached its entropy and passed the gate becomes `out`; anything else stays among the run's
artifacts, and the policy of before is never touched.
"""  # noqa: E501 - one line of code

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.data import PromptSets
from planish.methods.reheat.method import (
    Decision,
    Limits,
    Preservation,
    TokenEntropy,
)
from planish.methods.reheat.probing import Probe
from planish.methods.reheat.thawing.gate import (
    Gate,
    Start,
    accuracy_of,
    judge,
    measure,
)
from planish.methods.reheat.thawing.ledger import Ledger
from planish.methods.reheat.thawing.settings import (
    opened_policy,
    refusal,
    rule_of,
    settings_of,
    teacher_of,
)
from planish.methods.reheat.thawing.watching import Sight, Watching, reached
from planish.records import Example
from planish.stats import Estimate
from planish.tasks.base import Task
from planish.training.distill import train_distill
from planish.training.job import Job, logged
from planish.training.launch import is_main
from planish.training.trainer import share

__all__ = ["Ended", "Thawed", "thaw"]

Ended = Literal["target", "ceiling", "exhausted"]

_ENDED: dict[str, Ended] = {"stop": "target", "rollback": "ceiling", "exhausted": "exhausted"}

_ATTEMPTS = 2


@dataclass(frozen=True)
class Thawed:
    """What a reheating brought.

    Args:
        ended: the entropy reached its target, or went above its ceiling, or the steps ran out.
        steps: optimizer steps that the weights have seen; one that was taken back is none.
        attempts: 2 where the gate refused the first.
        reference: entropy in nats that target and ceiling are shares of.
        before: entropy of fresh replies.
        after: the same of the weights in `checkpoint`.
        mean_before: the mean of `before` with its interval over prompts.
        mean_after: that of `after`.
        preservation: how far the policy moved.
        accuracy_before: share of right greedy replies to held-out prompts.
        accuracy_after: the same afterwards.
        missed: what the gate refused, in words; empty where it passed.
        checkpoint: the weights as they ended.
        seconds: of all of it, measurements and a first attempt included.
        num_rollouts: replies that were drawn to learn from, a first attempt's included.
    """

    ended: Ended
    steps: int
    attempts: int
    reference: float
    before: TokenEntropy
    after: TokenEntropy
    mean_before: Estimate
    mean_after: Estimate
    preservation: Preservation
    accuracy_before: Estimate
    accuracy_after: Estimate
    missed: tuple[str, ...]
    checkpoint: Path
    seconds: float
    num_rollouts: int

    @property
    def is_warm(self) -> bool:
        """Whether it reached its entropy and passed the gate."""
        return self.ended == "target" and not self.missed


def thaw(
    model: str,
    task: Task,
    sets: PromptSets,
    config: ReheatConfig,
    *,
    reference: float,
    job: Job,
    name: str,
    out: Path,
    examples: Sequence[Example] | None = None,
    warm: Literal["stop", "refuse", "force"] = "stop",
) -> Thawed:
    """Reheats a policy; with a launcher every process calls this alike.

    Args:
        model: a folder or a Hub id.
        task: with the grader.
        sets: prompts to learn from, to probe on and to report on.
        config: how.
        reference: entropy in nats of a policy that has not collapsed.
        job: whose run keeps every probe and decision.
        name: of this reheating among those of the run.
        out: folder of the result; it does not exist yet.
        examples: prompts to learn from, in place of those in `sets`.
        warm: what to do with a policy that is as warm as it should be: nothing, or refuse it, or
            reheat it all the same.

    Raises:
        BadInput: the model or a prompt cannot be used, or the policy is warm and refused.
        TrainingFailed: a number is not finite.
    """
    rule = rule_of(config, reference)
    probe = Probe(sets.probe, max_tokens=config.max_tokens, seed=config.seed)
    work = _Work(model, task, probe, config, job, Ledger(job.run, name), name)
    start = work.start()
    if warm == "refuse" and reached(rule, start.warmth.tokens.mean):
        raise refusal(model, config, start, rule)
    sight = Sight(
        probe=probe,
        start=start,
        rule=rule,
        reference=reference,
        temperature=config.reheat_temperature,
        teacher=teacher_of(config),
        rollouts_per_step=config.reheat_prompts * config.reheat_rollouts,
        batch_size=config.batch_size,
        forced=warm == "force",
        anchored=config.anchor is not None,
    )
    learned = sets.train.examples if examples is None else examples
    prompts = [(example.id, example.prompt) for example in learned]
    for attempt in range(1, _ATTEMPTS + 1):
        decision, gate = work.attempt(attempt, sight, prompts, out)
        if decision.action != "stop" or not gate.missed:
            break
    return work.result(attempt, sight, decision, gate, out)


@dataclass(frozen=True)
class _Work:
    """One reheating of one run."""

    model: str
    task: Task
    probe: Probe
    config: ReheatConfig
    job: Job
    ledger: Ledger
    name: str

    def start(self) -> Start:
        """What the policy is before; its frozen replies are known on every process afterwards."""
        keep = self._artifact("frozen.json")

        def make() -> Start:
            return measure(opened_policy(self.model, self.config), self.probe, self.task, keep=keep)

        found = self.ledger.once("start", "before", Start, make)
        if is_main():
            self.probe.recall(keep)
        self.probe.frozen = share(self.probe.frozen)
        return found

    def attempt(
        self, number: int, sight: Sight, prompts: Sequence[Any], out: Path
    ) -> tuple[Decision, Gate]:
        """Trains and judges what is not trained or judged yet; what passes becomes `out`."""
        gate = self.ledger.told("gate", str(number), Gate)
        if gate is None:
            self._train(number, sight, prompts)
            gate = self.ledger.once(
                "gate", str(number), Gate, lambda: self._judge(number, sight.start)
            )
        decision = self.ledger.told("decision", f"{number}/end", Decision)
        assert decision is not None
        self._say(number, decision, gate)
        if decision.action == "stop" and not gate.missed and is_main():
            _move(self._weights(number), out)
        share(None)  # nobody looks for `out` before it is there
        return decision, gate

    def result(
        self, attempts: int, sight: Sight, decision: Decision, gate: Gate, out: Path
    ) -> Thawed:
        """All of it in numbers, the same on every process."""
        ended = _ENDED[decision.action]
        steps = decision.step - (ended == "ceiling")
        passed = ended == "target" and not gate.missed
        seconds, updates = share(self._cost(sight.start, attempts))
        return Thawed(
            ended=ended,
            steps=steps,
            attempts=attempts,
            reference=sight.reference,
            before=sight.start.warmth.tokens,
            after=gate.warmth.tokens,
            mean_before=sight.start.warmth.mean,
            mean_after=gate.warmth.mean,
            preservation=gate.preservation,
            accuracy_before=accuracy_of(sight.start.right),
            accuracy_after=accuracy_of(gate.right),
            missed=gate.missed,
            checkpoint=out if passed else self._weights(attempts),
            seconds=seconds,
            num_rollouts=updates * sight.rollouts_per_step,
        )

    def _train(self, number: int, sight: Sight, prompts: Sequence[Any]) -> None:
        weights = self._weights(number)
        if self.job.made(weights):
            return
        label = f"{self.name}-{number}"
        work = self.job.checkpoints(label)
        watching = Watching(sight, self.ledger, attempt=number, keep=work)
        labels = {"stage": label, "mode": self.config.teacher, "direction": self.config.direction}
        with self.job.recorder("reheating", self.config.max_steps, **labels) as recorder:
            recorder.also = watching.numbers
            train_distill(
                self.model,
                prompts,
                settings_of(self.config, number),
                work=work,
                out=weights,
                recorder=recorder,
                watch=watching,
                run=self.job.folder.name,
            )
        gc.collect()  # trainer and model hold each other
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _judge(self, number: int, start: Start) -> Gate:
        before = opened_policy(self.model, self.config)
        after = opened_policy(str(self._weights(number)), self.config)
        limits = Limits(self.config.max_kl, self.config.min_top10, self.config.min_agreement)
        return judge(before, after, self.probe, self.task, start, limits)

    def _say(self, number: int, decision: Decision, gate: Gate) -> None:
        told = Decision(
            step=decision.step,
            action="gate_fail" if gate.missed else "gate_pass",
            reason="; ".join(gate.missed) or "all within its limits",
            thresholds={
                "max_kl": self.config.max_kl,
                "min_top10": self.config.min_top10,
                "min_agreement": self.config.min_agreement,
            },
            checkpoint=str(self._weights(number)),
        )
        self.ledger.keep("decision", f"{number}/gate", told)

    def _cost(self, start: Start, attempts: int) -> tuple[float, int]:
        """Seconds and optimizer steps of all attempts, on the main process."""
        if self.job.run is None:
            return 0.0, 0
        gates = [self.ledger.find("gate", str(number), Gate) for number in range(1, attempts + 1)]
        seconds = start.seconds + sum(gate.seconds for gate in gates if gate is not None)
        rows = [
            row
            for number in range(1, attempts + 1)
            for row in logged(self.job.run, stage=f"{self.name}-{number}")
        ]
        return seconds + sum(row["wall_s"] for row in rows), len(rows)

    def _weights(self, number: int) -> Path:
        return self._artifact(str(number))

    def _artifact(self, name: str) -> Path:
        folder = self.job.folder / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.name}-{name}"


def _move(weights: Path, out: Path) -> None:
    """Gives the weights their place, whole or not at all; done twice it is done once."""
    if not weights.exists():
        return
    try:
        weights.rename(out)
    except OSError:
        if out.exists():
            raise
        part = out.with_name(f".{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(weights, part)
        os.rename(part, out)
        shutil.rmtree(weights)
