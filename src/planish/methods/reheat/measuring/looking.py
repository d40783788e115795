"""Looking at one policy: its entropy where the weights are at hand, and what its draws earn.

looking = Looking("model", plan, task, run, screen)
rows = looking.draw(cached, report)                     # None: too many calls were lost
rows = looking.reach(cached, report, rows, unsolved)
entropy, probe_rows = looking.entropies(model, probe)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planish.judges.recording import below_floor, lost_kinds
from planish.methods.reheat.data import PromptSet, TaskRewarder
from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import ProbeRow, PromptRow, Told, Who
from planish.methods.reheat.method import TokenEntropy
from planish.models.base import LanguageModel, Steps, Watcher
from planish.records import Completion, Example, Sampling
from planish.runs import Run
from planish.runs.console import Screen
from planish.tasks.base import Task
from planish.training.groups import Rollout, Score

if TYPE_CHECKING:
    from planish.models.local import LocalModel

__all__ = ["FLOOR", "Looking"]

FLOOR = 0.9
"""Where fewer calls bring a reply, nothing is told."""


@dataclass
class Looking:
    """A policy, and everything that it said.

    Args:
        who: "model" or "reference".
        spec: its name.
        plan: how it is looked at.
        task: that grades.
        run: where the entropies are kept.
        screen: shows how far it is.

    Attributes:
        calls: every completion, those that brought nothing included.
        replies: prompt -> the texts that it drew, for the page.
    """

    who: Who
    spec: str
    plan: Plan
    task: Task
    run: Run
    screen: Screen
    calls: list[Completion] = field(default_factory=list)
    replies: dict[str, list[str]] = field(default_factory=dict)

    def failed(self) -> bool:
        """Whether more calls were lost than the floor allows."""
        return below_floor(len(lost_kinds(self.calls)), len(self.calls), FLOOR)

    def entropies(self, model: LocalModel, probe: PromptSet) -> TokenEntropy:
        """The exact entropy of a fresh reply to every prompt of the probe, told once in a run.

        Raises:
            BadInput: the model says nothing to any of them.
        """
        known = [each for each in self.run.records("token_entropy", Told) if each.who == self.who]
        if known:
            return known[-1].entropy
        from planish.methods.reheat.policy import Policy, entropies_of
        from planish.methods.reheat.probing import Probe

        policy = Policy(model.checkpoint, name=self.spec, batch_size=model.batch_size)
        asked = Probe(probe, max_tokens=self.plan.max_tokens, seed=self.plan.seed)
        with self._progress("answers the probe", len(probe.examples)) as watcher:
            texts = asked.replies(policy, watcher)
        values = dict(zip(texts, entropies_of(policy, list(texts.values())), strict=True))
        for item, found in values.items():
            if found:
                mean = sum(found) / len(found)
                row = ProbeRow(item_id=item, who=self.who, num_tokens=len(found), entropy=mean)
                self.run.record("entropy", row, id=f"{self.who}/{item}")
        whole = TokenEntropy.of([value for found in values.values() for value in found])
        # The last line: a run that was killed before it tells them all again.
        self.run.record("token_entropy", Told(who=self.who, entropy=whole), id=self.who)
        return whole

    def draw(self, model: LanguageModel, report: PromptSet) -> list[PromptRow] | None:
        """The groups and the greedy replies; None where too many calls were lost."""
        examples = report.examples
        groups = self._ask(model, examples, self.plan.drawn, "draws")
        if self.failed():
            return None
        likeliest = self._ask(model, examples, self.plan.greedy, "draws greedily")
        if self.failed():
            return None
        rewarder = TaskRewarder(self.task, examples)
        rows = []
        for place, (example, group, [best]) in enumerate(
            zip(examples, groups, likeliest, strict=True)
        ):
            came = [each for each in group if each.finish != "error"]
            self.replies[example.id] = [each.text for each in came]
            scores = _scores(rewarder, place, came)
            likely = _scores(rewarder, place, [best])
            rows.append(
                PromptRow(
                    item_id=example.id,
                    who=self.who,
                    n=len(came),
                    c=_right(scores),
                    readable=sum(score.readable for score in scores),
                    cut=sum(each.finish == "length" for each in came),
                    distinct=len({each.text for each in came}),
                    zero_variance=len({score.total for score in scores}) == 1
                    if len(came) > 1
                    else None,
                    greedy=_right(likely) == 1 if likely else None,
                )
            )
        return rows

    def reach(
        self,
        model: LanguageModel,
        report: PromptSet,
        rows: Sequence[PromptRow],
        unsolved: frozenset[str],
    ) -> list[PromptRow]:
        """The rows with fresh draws of the unsolved prompts added."""
        examples = [example for example in report.examples if example.id in unsolved]
        if not examples:
            return list(rows)
        drawn = self._ask(model, examples, self.plan.afresh, "draws what was unsolved")
        rewarder = TaskRewarder(self.task, examples)
        found = {
            example.id: _scores(rewarder, place, group)
            for place, (example, group) in enumerate(zip(examples, drawn, strict=True))
        }
        return [
            row
            if row.item_id not in found
            else row.model_copy(
                update={
                    "reach_n": len(found[row.item_id]),
                    "reach_c": _right(found[row.item_id]),
                }
            )
            for row in rows
        ]

    def _ask(
        self, model: LanguageModel, examples: Sequence[Example], sampling: Sampling, what: str
    ) -> list[list[Completion]]:
        with self._progress(what, len(examples) * sampling.n) as watcher:
            drawn = model.generate([each.prompt for each in examples], sampling, watcher=watcher)
        self.calls += [completion for row in drawn for completion in row]
        return drawn

    @contextlib.contextmanager
    def _progress(self, what: str, total: int) -> Iterator[Watcher]:
        with self.screen.progress(f"{self.who} {what}", total) as step:
            yield Steps(step)


def _scores(rewarder: TaskRewarder, place: int, replies: Sequence[Completion]) -> list[Score]:
    """What the replies that came earn."""
    return rewarder([Rollout(place, 0, each) for each in replies if each.finish != "error"])


def _right(scores: Sequence[Score]) -> int:
    return sum(score.total == 1.0 for score in scores)
