"""What is kept of a diagnosis: every prompt's counts, every probe's entropy, and the numbers.

A part that nobody can know is None: a prompt whose replies were all lost, a reach where the prompt
was solved. A reply without a readable answer is wrong here as it is in training, and counted.
"""

from __future__ import annotations

from typing import Literal

from planish.methods.reheat.method import TokenEntropy
from planish.records import Record
from planish.stats import Estimate, Paired

__all__ = ["Diagnosis", "PolicyNumbers", "ProbeRow", "PromptRow", "Told", "Who"]

Who = Literal["model", "reference"]


class ProbeRow(Record):
    """The entropy of one fresh reply to a prompt of the probe.

    Args:
        entropy: mean over the reply's tokens, its end included, in nats.
    """

    item_id: str
    who: Who
    num_tokens: int
    entropy: float


class Told(Record):
    """The entropy over all tokens of a policy's replies to the probe: all of them are told."""

    who: Who
    entropy: TokenEntropy


class PromptRow(Record):
    """One prompt of the report, all of its draws together.

    Args:
        n, c: draws that came, and the right ones among them.
        readable: draws that hold an answer.
        cut: draws that the budget ended.
        distinct: different texts among the draws.
        zero_variance: whether all draws earn the same; None for fewer than two.
        greedy: whether the likeliest reply is right; None where it was lost.
        reach_n, reach_c: the same of fresh draws, where none of the model's own was right.
    """

    item_id: str
    who: Who
    n: int
    c: int
    readable: int
    cut: int
    distinct: int
    zero_variance: bool | None
    greedy: bool | None
    reach_n: int | None = None
    reach_c: int | None = None


class PolicyNumbers(Record):
    """One policy in numbers.

    Args:
        entropy: exact, at temperature 1, mean over tokens, its interval over prompts.
        tokens: the same with percentiles over tokens.
        zero_variance: groups whose draws all earn the same: nothing is learned from them.
        all_right: groups whose draws are all right; `unsolved`: whose draws are all wrong.
        pass_at: k -> the chance that one of k draws is right.
        distinct: different texts among a group's draws, as a share.
        reach: chance that a fresh draw to a prompt is right which none of the model's draws solved.
        reached: share of those prompts that a fresh draw solved at least once.
        readable: draws that hold an answer; `cut`: draws that the budget ended.
        coverage: draws that came.
    """

    entropy: Estimate
    tokens: TokenEntropy | None
    zero_variance: Estimate
    all_right: Estimate
    unsolved: Estimate
    pass_at: dict[int, Estimate]
    greedy: Estimate
    distinct: Estimate
    reach: Estimate
    reached: Estimate
    readable: Estimate
    cut: Estimate
    coverage: Estimate


class Diagnosis(Record):
    """What was found.

    Args:
        collapsed: None where there is no entropy, or nothing to compare it with.
        level: nats below which the policy counts as collapsed.
        near: whether the level lies inside the entropy's interval.
        entropy_reference: of the reference, or as it was given.
        entropy_ratio: the policy's entropy over that.
        num_unsolved: prompts that none of the model's draws solved.
        differences: model - reference, prompt by prompt.
    """

    sentence: str
    collapsed: bool | None
    level: float | None
    near: bool
    entropy_reference: Estimate
    entropy_ratio: Estimate
    num_prompts: int
    num_unsolved: int
    model: PolicyNumbers
    reference: PolicyNumbers | None
    differences: dict[str, Paired]
