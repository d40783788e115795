"""The watch over reinforcement learning: stops TRL's `GRPOTrainer` where the policy collapses.

    watch = ReheatCallback()                    # the entropy that TRL logs at every step
    trainer = GRPOTrainer(..., callbacks=[watch])
    trainer.train()
    watch.fired                                 # "collapsed since step 410: ..."; None: never

    ReheatCallback(Probe(prompts, max_tokens=64, seed=0))   # fresh samples on fixed prompts

When it fires the training stops with its state saved, so that the policy can be reheated. It
survives a resume: what it has seen is saved in every checkpoint of the trainer's own, and the
reference is not told anew.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from planish.methods.reheat.method import (
    Decision,
    EntropyProbe,
    Phase,
    TokenEntropy,
    Trigger,
    reference_entropy,
    window_steps,
)
from planish.methods.reheat.policy import Policy
from planish.methods.reheat.probing import Probe
from planish.models.local_loading import opened
from planish.records import BadInput
from planish.training.launch import is_main
from planish.training.trainer import sharded, share

__all__ = ["ReheatCallback", "stopped_at"]

_STATE = "trainer_state.json"


class ReheatCallback(TrainerCallback, ExportableState):
    """Watches the entropy of a policy, and stops its training once it has collapsed.

    A training that is resumed from the checkpoint of the stop is stopped again at once, after the
    one step that transformers makes in any case.

    Args:
        probe: fixed prompts to draw fresh replies to, at temperature 1; its draws change nothing
            in the training. None: what the trainer logs of its own rollouts, for nothing.
        trigger: when it fires.
        reference: entropy in nats that the trigger's ratio is of. By default the median over the
            trigger's window of the planned steps.
        every: steps between two probes; without a probe, over so many steps the logged entropy is
            averaged. By default 10, and 1 without a probe.
        decide: False: it is said where the policy collapsed, and training goes on.
        phase: what the probes are recorded under.
        on_probe: hears of every probe, on the main process.
        on_decision: hears when it fires, on the main process.
        batch_size: replies that a probe draws at once.

    Attributes:
        probes: all so far.
        reference: None as long as it is not known.
        fired: why and when; None where the policy has not collapsed.
    """

    def __init__(
        self,
        probe: Probe | None = None,
        trigger: Trigger = Trigger(),  # noqa: B008 - frozen
        *,
        reference: float | None = None,
        every: int | None = None,
        decide: bool = True,
        phase: Phase = "rl",
        on_probe: Callable[[EntropyProbe], None] = lambda probe: None,
        on_decision: Callable[[Decision], None] = lambda decision: None,
        batch_size: int = 64,
    ) -> None:
        self.probe, self.trigger, self.reference = probe, trigger, reference
        self.every = every or (10 if probe else 1)
        self.decide, self.phase, self.batch_size = decide, phase, batch_size
        self.probes: list[EntropyProbe] = []
        self.fired: Decision | None = None
        self._on_probe, self._on_decision = on_probe, on_decision
        self._zero_variance: float | None = None
        self.saved: dict[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """What the trainer saves in its checkpoints."""
        saved = {
            "reference": self.reference,
            "probes": [probe.model_dump(mode="json") for probe in self.probes],
            "fired": None if self.fired is None else self.fired.model_dump(mode="json"),
            "decide": self.decide,
            "zero_variance": self._zero_variance,
        }
        return {"args": {}, "attributes": {"saved": saved}}

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Goes on where a resumed training was; else the first probe.

        Raises:
            BadInput: the training does not tell what is to be watched.
        """
        self._check(args)
        known = state.global_step == 0 or self._recall(state)
        # The trainer cannot save what it did not know of from the first step on.
        state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        if self.fired is not None and self.decide:
            control.should_training_stop = True
            return
        self._check_reference(state, known)
        if self.probe is not None and state.global_step == 0:
            self._look(state, self.probe, model, processing_class)

    def on_step_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        processing_class: Any = None,
        **_: Any,
    ) -> None:
        """Probes, where there is something to probe with."""
        if self.probe is not None and state.global_step % self.every == 0:
            self._look(state, self.probe, model, processing_class)
            self._decide(args, state, control)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Takes in what the trainer says of its rollouts.

        Raises:
            BadInput: it says nothing of their entropy, and there is no probe.
        """
        if "loss" not in (logs or {}):  # an evaluation, or the summary at the end
            return
        self._zero_variance = logs.get("frac_reward_zero_std", self._zero_variance)
        if self.probe is not None:
            return
        if "entropy" not in logs:
            raise BadInput(
                "the trainer logs no entropy",
                where="ReheatCallback",
                fix="use it with TRL's GRPOTrainer, or give it a probe",
            )
        if state.global_step % self.every == 0:
            self._read(args, state)
            self._decide(args, state, control)

    def _check(self, args: Any) -> None:
        if self.saved is not None:
            raise BadInput(
                "cannot be made anew from a checkpoint, and need not: it restores itself",
                where="ReheatCallback",
                fix="leave restore_callback_states_from_checkpoint off",
            )
        temperature = getattr(args, "temperature", 1.0)
        if self.probe is None and temperature != 1.0:
            raise BadInput(
                f"the trainer's entropies are those at its temperature of {temperature:g}, which "
                "say nothing of the policy at 1",
                where="ReheatCallback",
                fix="give it a probe",
            )

    def _check_reference(self, state: Any, known: bool) -> None:
        """A reference that cannot come would mean that nothing ever fires."""
        if self.trigger.level(self.reference) is not None:
            return
        steps = window_steps(self.trigger.window, state.max_steps, self.every)
        what = ""
        if not steps:
            what = f"looks at no step of the window {self.trigger.window} of {state.max_steps}"
        elif not known and state.global_step >= steps[0]:
            what = f"has not seen the first {state.global_step} steps, which the reference is of"
        if what:
            raise BadInput(
                what,
                where="ReheatCallback",
                fix="give it a reference, a Trigger with an absolute threshold, or a smaller every",
            )

    def _recall(self, state: Any) -> bool:
        """Takes in what a checkpoint says of this callback, if it does."""
        saved = state.stateful_callbacks.get(type(self).__name__)
        if not isinstance(saved, dict) or saved["attributes"].get("saved") is None:
            return False
        known = saved["attributes"]["saved"]
        self.reference = known["reference"]
        self.probes = [EntropyProbe.model_validate(each) for each in known["probes"]]
        self._zero_variance = known["zero_variance"]
        if known["fired"] is not None:
            self.fired = Decision.model_validate(known["fired"])
        return True

    def _look(self, state: Any, probe: Probe, model: Any, tokenizer: Any) -> None:
        """Fresh replies of the policy as it is; every process draws the same."""
        with _at_rest(model) as network:
            policy = Policy(opened(network, tokenizer), name="policy", batch_size=self.batch_size)
            found = probe.look(policy)
        for kind, entropy in share(found).items():
            self._keep(state, kind, entropy, probe.prompts.hash, probe.seed)

    def _read(self, args: Any, state: Any) -> None:
        """The mean of what was logged since the last time."""
        before = self.probes[-1].step if self.probes else 0
        rows = [row for row in state.log_history if row["step"] > before and "entropy" in row]
        tokens = [row.get("completions/mean_length", 0.0) for row in rows]
        entropy = TokenEntropy(
            num_tokens=round(sum(tokens) * getattr(args, "generation_batch_size", 1)),
            mean=sum(row["entropy"] for row in rows) / len(rows),
        )
        self._keep(state, "rollouts", share(entropy), "", args.seed)

    def _keep(self, state: Any, kind: Any, entropy: TokenEntropy, prompts: str, seed: int) -> None:
        probe = EntropyProbe(
            step=state.global_step,
            phase=self.phase,
            kind=kind,
            probe_set_hash=prompts,
            entropy=entropy,
            entropy_ref=self.reference,
            ratio=entropy.mean / self.reference if self.reference else None,
            seed=seed,
        )
        self.probes.append(probe)
        if is_main():
            self._on_probe(probe)

    def _decide(self, args: Any, state: Any, control: Any) -> None:
        """Fires once, where the trigger says so."""
        if self.fired is not None:
            return
        told = [(p.step, p.entropy.mean) for p in self.probes if p.kind != "frozen"]
        if self.reference is None:
            self.reference = reference_entropy(told, self.trigger.window, state.max_steps)
        entropies = [entropy for _, entropy in told]
        if not self.trigger.fires(entropies, self.reference):
            return
        level = self.trigger.level(self.reference) or 0.0
        since = next(
            (above + 1 for above in reversed(range(len(told))) if entropies[above] >= level), 0
        )
        self.fired = Decision(
            step=state.global_step,
            action="fire",
            reason=self._reason(told[since][0], entropies[-1], level),
            thresholds={
                "level": level,
                "entropy": entropies[-1],
                "since": told[since][0],
                "patience": self.trigger.patience,
                **({} if self.reference is None else {"reference": self.reference}),
            },
            checkpoint=str(Path(args.output_dir) / f"checkpoint-{state.global_step}"),
        )
        if is_main():
            self._on_decision(self.fired)
        if self.decide:
            control.should_save = control.should_training_stop = True

    def _reason(self, since: int, entropy: float, level: float) -> str:
        words = [f"entropy {entropy:.3f} nats is below {level:.3f}"]
        if self.reference:
            words.append(f"{entropy / self.reference:.0%} of the reference entropy")
        if self._zero_variance is not None:
            words.append(f"{self._zero_variance:.0%} of groups without variance")
        return f"collapsed since step {since}: {'; '.join(words)}"


@contextlib.contextmanager
def _at_rest(model: Any) -> Iterator[Any]:
    """A model in training, whole and in eval mode; afterwards it is as it was."""
    network = extract_model_from_parallel(model)
    training = [module for module in network.modules() if module.training]
    settings = [
        (module, vars(module)["generation_config"])
        for module in network.modules()
        if "generation_config" in vars(module)
    ]
    devices = [network.device] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices), _gathered(network):
            network.eval()
            yield network
    finally:
        for module in training:
            module.training = True
        vars(network).pop("generation_config", None)  # an adapter's own, for instance
        for module, generation in settings:
            module.generation_config = generation


def _gathered(network: Any) -> Any:
    """DeepSpeed leaves only shards of the weights on each process."""
    if not sharded():
        return contextlib.nullcontext()
    zero: Any = importlib.import_module("deepspeed.zero")
    return zero.GatheredParameters(network.parameters())


def stopped_at(checkpoint: Path) -> int | None:
    """The step at which a `ReheatCallback` stopped the training that this is a checkpoint of."""
    try:
        state = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        saved = state["stateful_callbacks"][ReheatCallback.__name__]["attributes"]["saved"]
        return int(saved["fired"]["step"]) if saved["decide"] and saved["fired"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
