"""The arms that draw while they train: GRPO, both orders of an item in one group.

trained = learn_online(plan, lesson, job)
trained.steps, trained.seconds
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.s2j.learning.lesson import Lesson
from planish.methods.s2j.learning.plan import Plan
from planish.methods.s2j.learning.rewarding import ItemRewarder, RewardLog, rewards_file
from planish.methods.s2j.method import ARMS, Arm
from planish.training.job import Job, model_path
from planish.training.launch import rank

if TYPE_CHECKING:
    from planish.training.checkpoint import Trained
    from planish.training.grpo import GrpoSettings

__all__ = ["learn_online"]


def learn_online(plan: Plan, lesson: Lesson, job: Job) -> Trained:
    """Trains what is not trained yet, and keeps every reward.

    Raises:
        BadInput: hardly any rollout of the first step has the form, or a prompt does not fit.
        TrainingFailed: a number is not finite, or too few rollouts have the form.
    """
    from planish.training.callbacks import last_checkpoint
    from planish.training.grpo import train_grpo

    out, work = Path(plan.out), job.checkpoints("grpo")
    if done := job.made(out):  # a kill may have come just after it
        return done
    last = last_checkpoint(work)
    arm = _arm(plan)
    log = RewardLog(
        rewards_file(work.parent, rank(), plan.num_processes),
        lesson,
        arm,
        last_step=0 if last is None else int(last.name.partition("-")[2]),
    )
    rewarder = ItemRewarder(lesson, arm, plan.reward_weights, plan.min_solution_tokens)
    title = f"{arm} on {len(lesson.items)} items"
    try:
        with job.recorder(title, plan.steps) as recorder:
            return train_grpo(
                model_path(plan.model),
                lesson.groups,
                rewarder,
                _settings(plan),
                work=work,
                out=out,
                recorder=recorder,
                run=job.folder.name,
                observe=log.append,
            )
    finally:
        log.close()


def _arm(plan: Plan) -> Arm:
    return next(arm for arm in ARMS if arm == plan.arm)


def _settings(plan: Plan) -> GrpoSettings:
    from planish.training.grpo import GrpoSettings

    return GrpoSettings(
        learning_rate=plan.learning_rate,
        num_steps=plan.steps,
        groups_per_step=plan.items_per_step,
        rollouts_per_prompt=plan.rollouts,
        max_tokens=plan.max_tokens,
        temperature=plan.temperature,
        beta=plan.kl,
        loss=plan.loss,
        scale=plan.scale,
        segments=2 if plan.arm == "segment_credit" else 0,
        min_readable=plan.min_readable,
        seed=plan.seed,
        warmup=plan.warmup,
        **plan.optimizer(),
        **plan.rollouts_by(),
    )
