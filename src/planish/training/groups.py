"""Rollouts in groups: what is drawn, what it earned, and how much better than its group it is.

    group = Group("item 1", (one_order, other_order))
    Score(total=2.0, parts={"judge": 1.0, "solve": 1.0})
    advantages_A, std_A = group_advantages(rewards_A, group_size=8, scale="group")

The words between a rewarder and the trainer in `grpo`; nothing heavy is imported for them.

Shape suffixes: A rollouts of all processes, G groups, R rollouts of a group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from planish.records import Chat, Completion

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Group", "Rewarder", "Rollout", "Score", "Scored", "group_advantages"]

_EPSILON = 1e-4  # beside a group's deviation, as TRL has it


@dataclass(frozen=True)
class Group:
    """Prompts whose rollouts are compared with each other."""

    id: str
    prompts: tuple[Chat, ...]


@dataclass(frozen=True)
class Rollout:
    """One sampled reply: of which group and to which of its prompts.

    `completion.finish` is "length" where the budget ended it; `token_ids` include the end token.
    """

    group: int
    prompt: int
    completion: Completion


@dataclass(frozen=True)
class Score:
    """What a rollout earned.

    Args:
        total: the reward; None: could not be told, and teaches nothing.
        readable: whether it has the form that was asked for.
        parts: what the total is made of, for the log; None drops out of its mean.
        credit: (where it ends in the text, its reward) of consecutive stretches of the text, as
            many as `GrpoSettings.segments`; the last takes what is left. Empty: the text has no
            such stretches, and the total stands for each.
    """

    total: float | None
    readable: bool = True
    parts: Mapping[str, float | None] = field(default_factory=dict)
    credit: tuple[tuple[int, float | None], ...] = ()


Rewarder = Callable[[Sequence[Rollout]], Sequence[Score]]


@dataclass(frozen=True)
class Scored:
    """A rollout with what it was taught by.

    Args:
        step: the optimizer step that learns from it.
        advantage: of its total; where stretches have their own, the mean over its tokens.
        group_std: deviation of the totals of its group.
    """

    step: int
    rollout: Rollout
    score: Score
    advantage: float
    group_std: float


def group_advantages(
    rewards_A: Tensor, group_size: int, scale: Literal["group", "batch", "none"]
) -> tuple[Tensor, Tensor]:
    """How much better each rollout is than its group, and the deviation within the group.

    Args:
        rewards_A: NaN: could not be told; such a rollout counts for nothing and learns nothing.
        group_size: consecutive rollouts that are one group.
        scale: divides by the deviation of the group, of the whole batch, or not at all.
    """
    import torch

    rewards_GR = rewards_A.view(-1, group_size)
    known_GR = ~rewards_GR.isnan()
    count_G1 = known_GR.sum(1, keepdim=True)
    mean_G1 = rewards_GR.nan_to_num(0.0).sum(1, keepdim=True) / count_G1.clamp(min=1)
    apart_GR = torch.where(known_GR, rewards_GR - mean_G1, 0.0)
    std_G1 = (apart_GR.square().sum(1, keepdim=True) / (count_G1 - 1).clamp(min=1)).sqrt()
    std_A = std_G1.expand_as(rewards_GR).reshape(-1)
    by = std_A
    if scale == "batch":
        known = rewards_A[~rewards_A.isnan()]
        by = (known.std() if len(known) > 1 else known.new_zeros(())).expand_as(std_A)
    advantages_A = apart_GR.reshape(-1)
    return (advantages_A if scale == "none" else advantages_A / (by + _EPSILON)), std_A
