"""A watch over a training: it looks at the policy after every step, and may take the step back.

    def watch(step: int, checkpoint: Checkpoint) -> Answer: ...

    trainer.add_callback(Guard(trainer, checkpoint, watch))

The weights of the last step that the watch let pass are kept in this process's memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import TrainerCallback
from trl.models.utils import unwrap_model_for_generation

from planish.models.local_loading import Checkpoint
from planish.training.callbacks import TrainingFailed

__all__ = ["Answer", "Guard", "Guarded", "Watch"]

Answer = Literal["go", "stop", "back"]

Watch = Callable[[int, Checkpoint], Answer]
"""Takes the number of steps that are done and the policy, in eval mode; every process calls it.

"back" restores the weights of the last step that was answered with "go". A training that goes on
asks again after the step that it goes on from; what is answered then must be what was answered
before.
"""


class _Done(Exception):
    """There is no step left to make, which transformers notices after one more only."""


class Guarded:
    """What a trainer needs for a guard, beside TRL's own."""

    accelerator: Any
    state: Any

    def train(self, *arguments: Any, **options: Any) -> Any:
        """As the trainer's own, but it may end before its first step."""
        try:
            return super().train(*arguments, **options)  # type: ignore[misc]
        except _Done:
            return None

    def everywhere(self, fine: bool) -> bool:
        """Whether it is so on every process."""
        flag = torch.tensor([float(fine)], device=self.accelerator.device)
        return bool(self.accelerator.gather(flag).min() > 0)

    def refuse_step(self, what: str) -> None:
        """Ends the training before a step.

        Raises:
            TrainingFailed: always.
        """
        raise TrainingFailed(what, self.state.global_step + 1)


class Guard(TrainerCallback):
    """Asks the watch after every step, keeps the weights it let pass, and restores them.

    Args:
        trainer: a `Guarded` trainer of TRL's.
        checkpoint: its model as it was opened.
        watch: who is asked.
    """

    def __init__(self, trainer: Any, checkpoint: Checkpoint, watch: Watch) -> None:
        self._trainer, self._checkpoint, self._watch = trainer, checkpoint, watch
        self._kept: list[Tensor] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks before the first step; a training checkpoint holds what was restored."""
        if self._ask(state.global_step) != "go" or state.global_step >= state.max_steps:
            raise _Done
        self._keep()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Refuses a gradient that would spoil the weights.

        Raises:
            TrainingFailed: it is not finite.
        """
        gradients = [each.grad for each in self._trainable() if each.grad is not None]
        if not self._trainer.everywhere(_all_finite(gradients)):
            self._trainer.refuse_step("the gradient is not finite")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Asks, and does what is answered.

        Raises:
            TrainingFailed: a weight is not finite, so that nobody can look at the policy.
        """
        if not self._trainer.everywhere(_all_finite(self._held())):
            raise TrainingFailed("a weight is not finite", state.global_step)
        answer = self._ask(state.global_step)
        if answer == "go":
            self._keep()
            return
        if answer == "back":
            with torch.no_grad():
                for held, kept in zip(self._held(), self._kept, strict=True):
                    held.copy_(kept)
        control.should_training_stop = True

    def _ask(self, step: int) -> Answer:
        trainer = self._trainer
        training = trainer.model.training
        devices = [trainer.accelerator.device] if torch.cuda.is_available() else []
        # The watch's own draws must not change those of the training.
        with torch.random.fork_rng(devices), self._unwrapped() as network:
            network.eval()
            with _settings_of(network):
                answer = self._watch(step, replace(self._checkpoint, model=network))
        trainer.model.train(training)
        return answer

    @contextlib.contextmanager
    def _unwrapped(self) -> Iterator[Any]:
        """The policy with all its weights, wherever they are."""
        trainer = self._trainer
        wrapped = trainer.model_wrapped
        whole: Any = contextlib.nullcontext()
        if isinstance(wrapped, FullyShardedDataParallel):
            whole = FullyShardedDataParallel.summon_full_params(wrapped, recurse=False)
        with unwrap_model_for_generation(wrapped, trainer.accelerator) as network, whole:
            yield network

    def _keep(self) -> None:
        self._kept = [held.to("cpu", copy=True) for held in self._held()]

    def _held(self) -> list[Tensor]:
        """What this process holds of the weights that are trained."""
        return [_local(parameter).detach() for parameter in self._trainable()]

    def _trainable(self) -> list[Any]:
        return [each for each in self._trainer.model.parameters() if each.requires_grad]


@contextlib.contextmanager
def _settings_of(network: Any) -> Iterator[None]:
    """Whoever draws from a model replaces its generation settings; afterwards they are back."""
    before = [
        (module, vars(module)["generation_config"])
        for module in network.modules()
        if "generation_config" in vars(module)
    ]
    yield
    vars(network).pop("generation_config", None)  # an adapter has none of its own
    for module, settings in before:
        module.generation_config = settings


def _local(tensor: Any) -> Any:
    """What this process holds of a tensor that may be spread over several."""
    shard = getattr(tensor, "ds_tensor", None)  # DeepSpeed leaves the tensor itself empty
    return getattr(tensor, "to_local", lambda: tensor)() if shard is None else shard


def _all_finite(tensors: Sequence[Any]) -> bool:
    return all(bool(torch.isfinite(_local(tensor)).all()) for tensor in tensors)
