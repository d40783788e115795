"""One phase of reinforcement learning on a task: plain GRPO with DAPO's clip and loss.

    trained = train_policy(
        "./checkpoint", task, examples, config,
        steps=100, seed=0, job=job, name="rl-1", out=job.folder / "artifacts" / "rl-1",
    )
    trained.steps, trained.seconds

The numbers of every step (reward, entropy, share of groups without variance) are in the run's
metrics beside the name of the phase. A phase that was made is not made again, and one that was
killed goes on from its last checkpoint; a callback that had stopped it has stopped it for good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.reheat.config import LoopConfig
from planish.methods.reheat.data import PromptSet, TaskRewarder
from planish.records import Example
from planish.tasks.base import Task
from planish.training.groups import Scored
from planish.training.job import Job

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from planish.training.checkpoint import Trained
    from planish.training.grpo import EntropyBonus, GrpoSettings

__all__ = ["grpo_settings", "train_policy"]


def train_policy(
    model: str,
    task: Task,
    examples: Sequence[Example],
    config: LoopConfig,
    *,
    steps: int,
    seed: int,
    job: Job,
    name: str,
    out: Path,
    callback: TrainerCallback | None = None,
    entropy: EntropyBonus | None = None,
    temperature: float | None = None,
    learning_rate: float | None = None,
    observe: Callable[[Sequence[Scored]], None] = lambda scored: None,
) -> Trained:
    """Trains `model` on a task by GRPO, with a fresh optimizer, and saves it as `out`.

    Args:
        model: a folder or a Hub id.
        task: that grades the rollouts.
        examples: whose prompts are rolled out, in shuffled epochs.
        config: its dials; what is said beside it counts instead.
        steps: at most; a callback may stop before.
        seed: of rollouts and order.
        job: the work of this process; the numbers go to its run.
        name: of the phase, under which the numbers stand.
        out: where the checkpoint goes; `job.made` must know it or find nothing there.
        callback: transformers' own, such as `ReheatCallback`.
        entropy: a bonus on the entropy, or how it is controlled.
        temperature: of the rollouts.
        learning_rate: in place of the config's.
        observe: hears on every process of its scored rollouts, once per step.

    Raises:
        BadInput: the model cannot be loaded, a prompt does not fit, or the batch does not divide.
        TrainingFailed: a number is not finite; the last whole checkpoint is kept.
        DiskFull: there is no room for a checkpoint; nothing is half written.
    """
    from planish.training.grpo import train_grpo

    if done := job.made(out):
        return done
    work = job.checkpoints(name)
    settings = grpo_settings(
        config,
        steps=_steps_to(work, steps),
        seed=seed,
        entropy=entropy,
        temperature=temperature,
        learning_rate=learning_rate,
    )
    prompts = PromptSet(tuple(examples))
    with job.recorder(f"{name}: GRPO", settings.num_steps, phase=name) as recorder:
        return train_grpo(
            model,
            prompts.groups,
            TaskRewarder(task, prompts.examples),
            settings,
            work=work,
            out=out,
            recorder=recorder,
            run=job.folder.name,
            observe=observe,
            callbacks=() if callback is None else (callback,),
        )


def _steps_to(work: Path, steps: int) -> int:
    """Where training ends: where it was stopped, if a kill came between that and its end."""
    from planish.methods.reheat.callback import stopped_at
    from planish.training.callbacks import last_checkpoint

    last = last_checkpoint(work)
    return steps if last is None else stopped_at(last) or steps


def grpo_settings(
    config: LoopConfig,
    *,
    steps: int,
    seed: int,
    entropy: EntropyBonus | None = None,
    temperature: float | None = None,
    learning_rate: float | None = None,
) -> GrpoSettings:
    """The dials in the trainer's words."""
    from planish.training.grpo import GrpoSettings

    return GrpoSettings(
        learning_rate=config.learning_rate if learning_rate is None else learning_rate,
        num_steps=steps,
        seed=seed,
        groups_per_step=config.prompts_per_step,
        rollouts_per_prompt=config.rollouts,
        max_tokens=config.max_tokens,
        temperature=config.temperature if temperature is None else temperature,
        beta=config.kl,
        loss="dapo",
        clip_high=config.clip_high,
        entropy=entropy,
        min_readable=0.0,  # what cannot be read earns nothing, and says nothing of the form
        # The trainer wants a share; the half keeps a rounded product from losing a step.
        warmup=min(1.0, (config.warmup_steps + 0.5) / steps) if config.warmup_steps else 0.0,
        **config.optimizer(),
        **config.rollouts_by(),
    )
