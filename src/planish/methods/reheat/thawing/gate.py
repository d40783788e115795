"""What the policy was before, and what the gate says of it afterwards.

start = measure(policy, probe, task, keep=run.artifact("reheat-frozen.json"))
verdict = judge(before, after, probe, task, start, limits)
verdict.missed          # in words; empty: it is what it was, but for its warmth
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from planish.methods.reheat.method import Limits, Preservation, TokenEntropy, missed
from planish.methods.reheat.policy import Policy, Text, changes, entropies_of
from planish.methods.reheat.probing import Probe
from planish.records import Record
from planish.stats import Estimate, ratio
from planish.tasks.ability import grade
from planish.tasks.base import Task

__all__ = ["Gate", "Start", "Warmth", "accuracy_of", "judge", "measure", "warmth_of"]


class Warmth(Record):
    """The entropy of a policy's fresh replies.

    Args:
        tokens: over all tokens.
        sums: of every reply.
        counts: tokens of every reply.
    """

    tokens: TokenEntropy
    sums: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def mean(self) -> Estimate:
        """Over tokens, with its interval over prompts."""
        return ratio(self.sums, self.counts)


class Start(Record):
    """The policy of before, on the probe's prompts.

    Args:
        warmth: entropy of the replies that stay the same from now on, which were fresh then.
        right: prompt -> score of its greedy reply; None where no reply came.
        seconds: what it took.
    """

    warmth: Warmth
    right: dict[str, float | None]
    seconds: float


class Gate(Record):
    """The policy afterwards, held against that of before.

    Args:
        warmth: entropy of fresh replies.
        preservation: how far it moved, on the frozen replies.
        right: prompt -> score of its greedy reply; None where no reply came.
        missed: what is refused, in words.
        seconds: what it took.
    """

    warmth: Warmth
    preservation: Preservation
    right: dict[str, float | None]
    missed: tuple[str, ...]
    seconds: float


def measure(policy: Policy, probe: Probe, task: Task, *, keep: Path) -> Start:
    """Freezes the policy's replies, and tells its entropy and its greedy accuracy.

    Args:
        policy: that of before.
        probe: its replies are frozen.
        task: with the grader.
        keep: file of the frozen replies.
    """
    begin = time.perf_counter()
    probe.freeze(policy, keep)
    return Start(
        warmth=warmth_of(policy, probe.frozen),
        right=_greedy(policy, probe, task),
        seconds=time.perf_counter() - begin,
    )


def judge(
    before: Policy, after: Policy, probe: Probe, task: Task, start: Start, limits: Limits
) -> Gate:
    """Whether nothing but the warmth of the policy has changed."""
    begin = time.perf_counter()
    preservation = changes(before, after, probe.frozen)
    right = _greedy(after, probe, task)
    words = missed(
        preservation,
        limits,
        accuracy=accuracy_of(right).value,
        floor=accuracy_of(start.right).low,
    )
    return Gate(
        warmth=warmth_of(after, probe.draw(after)),
        preservation=preservation,
        right=right,
        missed=tuple(words),
        seconds=time.perf_counter() - begin,
    )


def warmth_of(policy: Policy, texts: Sequence[Text]) -> Warmth:
    """The exact entropy over the tokens of replies that the policy just drew."""
    found = entropies_of(policy, texts)
    return Warmth(
        tokens=TokenEntropy.of([value for row in found for value in row]),
        sums=tuple(map(sum, found)),
        counts=tuple(map(len, found)),
    )


def _greedy(policy: Policy, probe: Probe, task: Task) -> dict[str, float | None]:
    drawn = policy.draw(
        probe.prompts.chats, max_tokens=probe.max_tokens, seed=probe.seed, temperature=0.0
    )
    return {
        example.id: grade(task, example, completions[0]).score
        for example, completions in zip(probe.prompts.examples, drawn, strict=True)
    }


def accuracy_of(right: Mapping[str, float | None]) -> Estimate:
    """The share of right replies among those that came, with its interval over prompts."""
    scores = [score for score in right.values() if score is not None]
    return ratio(scores, [1.0] * len(scores))
