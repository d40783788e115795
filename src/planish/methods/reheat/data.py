"""What a policy is reheated, probed and reported on, and what a rollout earns.

    sets = prompt_sets(load_task("routes:64:4:7:0"), train=2000, probe=64, report=200, seed=0)
    sets.probe.hash, len(sets.report.examples)
    rewarder = TaskRewarder(task, sets.train.examples)

Prompts for training come from a task's train split, for probes and the gate from its gate split,
and for reports from its report split, so that the entropy that stops the reheating is never that of
prompts which are reported or trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from planish.records import BadInput, Chat, Example
from planish.tasks.base import Split, Task
from planish.training.groups import Group, Rollout, Score

__all__ = ["PromptSet", "PromptSets", "TaskRewarder", "prompt_set", "prompt_sets"]


@dataclass(frozen=True)
class PromptSet:
    """Examples of one purpose, in the order in which they were drawn."""

    examples: tuple[Example, ...]

    @property
    def chats(self) -> list[Chat]:
        """Their prompts."""
        return [example.prompt for example in self.examples]

    @property
    def groups(self) -> list[Group]:
        """One group of rollouts for each."""
        return [Group(example.id, (example.prompt,)) for example in self.examples]

    @cached_property
    def hash(self) -> str:
        """Of ids and prompts: what was measured on other prompts is not compared."""
        words = [[each.id, [m.content for m in each.prompt]] for each in self.examples]
        return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PromptSets:
    """The prompts of a run, by purpose; no prompt serves two."""

    train: PromptSet
    probe: PromptSet
    report: PromptSet


def prompt_set(task: Task, split: Split, limit: int, seed: int, *, option: str) -> PromptSet:
    """At most `limit` examples of a split; all of them where it holds fewer.

    Raises:
        BadInput: the split is empty.
    """
    capped: Callable[[str, int], int] | None = getattr(task, "capped", None)
    found = tuple(task.examples(split, capped(split, limit) if capped else limit, seed))
    if not found:
        raise BadInput(
            f"has no question in {split!r}", where=f"task {task.name}, {option}", fix="add some"
        )
    return PromptSet(found)


def prompt_sets(task: Task, *, train: int, probe: int, report: int, seed: int) -> PromptSets:
    """Draws the prompts of a run.

    Raises:
        BadInput: a split is empty, or a prompt would serve two purposes.
    """
    sets = PromptSets(
        train=prompt_set(task, "train", train, seed, option="--prompts"),
        probe=prompt_set(task, "gate", probe, seed, option="--probe-prompts"),
        report=prompt_set(task, "report", report, seed, option="--report-prompts"),
    )
    check_apart(sets, where=f"task {task.name}")
    return sets


def check_apart(sets: PromptSets, *, where: str) -> None:
    """Refuses a prompt that serves two purposes.

    Raises:
        BadInput: with the first of them.
    """
    home: dict[Chat, tuple[str, str]] = {}
    for name, each in (("training", sets.train), ("probes", sets.probe), ("reports", sets.report)):
        for example in each.examples:
            other, first = home.setdefault(example.prompt, (name, example.id))
            if other != name:
                raise BadInput(
                    f"example {example.id} for {name} asks what {first} for {other} asks",
                    where=where,
                    fix="let a question stand in one split only",
                )


class TaskRewarder:
    """1 for a reply that the task's grader calls right, else 0; a share for a share.

    A reply without a readable answer earns 0 as a wrong one does, for otherwise a policy could
    spare itself the risk of being wrong; how many there are is counted apart.
    """

    def __init__(self, task: Task, examples: Sequence[Example]) -> None:
        self._task, self._examples = task, examples

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Score]:
        """What each rollout earned; `rollout.group` counts the examples."""
        return [self._score(rollout) for rollout in rollouts]

    def _score(self, rollout: Rollout) -> Score:
        verdict = self._task.verify(self._examples[rollout.group], rollout.completion.text)
        return Score(total=verdict.score or 0.0, readable=verdict.score is not None)
