"""What policies draw to the same questions, one policy after another: the demonstration's measure.

    base = sampler.collapsed("collapsed", "embedded:walker-collapsed")
    first = sampler.healthy("before RL", "embedded:walker", base.missed)
    warm = sampler.sample("anchored", "hf:./checkpoint", base.missed)
    gain([base], [warm], "reach").number    # by question, paired

Questions that the collapsed policy misses are chosen by its bad luck: it draws them afresh before
its reach is told. Any other policy's draws had no part in the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from planish.methods.reheat.data import PromptSet
from planish.methods.reheat.measuring.estimating import Seen, policy_numbers, unsolved
from planish.methods.reheat.measuring.looking import Looking
from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import PolicyNumbers, ProbeRow, PromptRow, Who
from planish.methods.reheat.method import pass_at_k
from planish.models import load
from planish.models.local import LocalModel
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate, mean, paired
from planish.tasks.base import Task

__all__ = ["Gain", "Rate", "Sample", "Sampler", "gain", "pooled"]

Rate = Literal["pass", "greedy", "reach", "zero_variance"]
"""Shares of right draws (any of k), of right greedy replies, of right draws to what the collapsed
policy missed, and of groups that all earn the same."""


@dataclass(frozen=True)
class Sample:
    """One policy on the report's questions: a row for each, and the numbers."""

    name: str
    seen: Seen
    numbers: PolicyNumbers

    @property
    def missed(self) -> frozenset[str]:
        """The questions that none of its draws solved."""
        return unsolved(self.seen.rows)

    def by_question(self, rate: Rate, k: int = 1) -> dict[str, float | None]:
        """A rate of every question, `k` being that of pass@k; None where it cannot be told."""
        return {row.item_id: _told(row, rate, k) for row in self.seen.rows}


def _told(row: PromptRow, rate: Rate, k: int) -> float | None:
    if rate == "pass":
        return pass_at_k(row.n, row.c, k) if row.n >= k else None
    if rate == "reach":
        return None if row.reach_c is None or not row.reach_n else row.reach_c / row.reach_n
    value = getattr(row, rate)
    return None if value is None else float(value)


def pooled(samples: Sequence[Sample], rate: Rate, k: int = 1) -> Estimate:
    """A rate with its interval over questions; what all seeds drew to a question is one row."""
    rows = _by_question([sample.by_question(rate, k) for sample in samples])
    return mean(list(rows.values())) if rows else Estimate(value=None)


@dataclass(frozen=True)
class Gain:
    """By how much a rate grew, paired by question.

    Args:
        number: over all seeds; a question is one row.
        by_seed: of every seed alone.
    """

    number: Estimate
    by_seed: tuple[float | None, ...]


def gain(before: Sequence[Sample], after: Sequence[Sample], rate: Rate, k: int = 1) -> Gain:
    """By how much a rate grew from one policy to another.

    Args:
        before: one policy for all seeds, or one for each.
        after: one policy for each seed.
        rate: which.
        k: of pass@k.
    """
    bases = [before[0]] * len(after) if len(before) == 1 else before
    ours = [sample.by_question(rate, k) for sample in bases]
    theirs = [sample.by_question(rate, k) for sample in after]
    return Gain(
        number=paired(_by_question(ours), _by_question(theirs)).difference,
        by_seed=tuple(
            paired(one, other).difference.value for one, other in zip(ours, theirs, strict=True)
        ),
    )


def _by_question(told: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean over seeds of every question that all of them tell of."""
    rows = {item: [each.get(item) for each in told] for item in told[0]}
    return {
        item: sum(known) / len(known)
        for item, row in rows.items()
        if len(known := [value for value in row if value is not None]) == len(told)
    }


@dataclass(frozen=True)
class Sampler:
    """Asks every policy the same, and keeps what it draws under its name.

    Args:
        plan: how a policy is looked at.
        task: that grades.
        probe: prompts to tell the entropy on.
        report: the questions.
        run: where the rows are kept.
        screen: shows how far it is.
    """

    plan: Plan
    task: Task
    probe: PromptSet
    report: PromptSet
    run: Run
    screen: Screen

    def collapsed(self, name: str, spec: str) -> Sample:
        """The policy that the others are held against: its entropy, its draws, and its reach."""
        return self._sample(name, spec, "model", entropy=True, missed=None)

    def healthy(self, name: str, spec: str, missed: frozenset[str]) -> Sample:
        """The policy of before the collapse."""
        return self._sample(name, spec, "reference", entropy=True, missed=missed)

    def sample(self, name: str, spec: str, missed: frozenset[str]) -> Sample:
        """Any other, without its entropy."""
        return self._sample(name, spec, "model", entropy=False, missed=missed)

    def _sample(
        self, name: str, spec: str, who: Who, *, entropy: bool, missed: frozenset[str] | None
    ) -> Sample:
        model = load(spec, batch_size=self.plan.batch_size)
        assert isinstance(model, LocalModel)
        looking = Looking(who, spec, self.plan, self.task, self.run, self.screen)
        tokens = looking.entropies(model, self.probe) if entropy else None
        rows = looking.draw(model, self.report)
        assert rows is not None, "a model in this process loses no call"
        if missed is None:
            rows = looking.reach(model, self.report, rows, unsolved(rows))
        else:
            rows = [_reached(row) if row.item_id in missed else row for row in rows]
        for row in rows:
            self.run.record("row", row, id=f"{name}/{row.item_id}")
        probed = [each for each in self.run.records("entropy", ProbeRow) if each.who == who]
        seen = Seen(rows, probed if entropy else [], tokens)
        return Sample(name, seen, policy_numbers(seen, self.plan))


def _reached(row: PromptRow) -> PromptRow:
    return row.model_copy(update={"reach_n": row.n, "reach_c": row.c})
