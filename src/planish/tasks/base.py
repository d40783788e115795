"""What a verifiable task is, and the proof that its grader works.

A task yields examples and verifies replies; its grader lives beside it in one file. Before
anybody quotes a number of it, `prove` checks the grader on the task's own gold answers and on
answers known to be wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, Protocol, get_args, runtime_checkable

from planish.records import BadInput, Example, Verdict

__all__ = ["SPLITS", "CandidateTask", "Split", "Task", "check_draw", "prove", "split_of"]

Split = Literal["train", "gate", "report"]

SPLITS: tuple[Split, ...] = get_args(Split)

# Out of ten questions six are for training, two for gating, two for reports.
_SPLIT_OF_DIGIT: tuple[Split, ...] = ("train",) * 6 + ("gate",) * 2 + ("report",) * 2


def split_of(question: str) -> Split:
    """The split a question belongs to, told from its text alone: no question is in two."""
    digest = hashlib.sha256(question.encode("utf-8", "surrogatepass")).digest()
    return _SPLIT_OF_DIGIT[int.from_bytes(digest[:8], "big") % len(_SPLIT_OF_DIGIT)]


def check_draw(split: str, limit: int, *, where: str) -> None:
    """Refuses a split that no task has, and a negative number of examples.

    Raises:
        BadInput: naming the task, `where`.
    """
    if split not in SPLITS:
        raise BadInput(f"no split is called {split!r}", where=where, fix=f"use {', '.join(SPLITS)}")
    if limit < 0:
        raise BadInput(f"{limit} examples asked", where=where, fix="ask for at least 0")


@runtime_checkable
class Task(Protocol):
    """Examples with a grader. `split` is "train", "gate" or "report"; the three never overlap."""

    @property
    def name(self) -> str:
        """As typed after `--task`."""
        ...

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Yields `limit` examples, the same for the same split and seed."""
        ...

    def verify(self, example: Example, reply: str) -> Verdict:
        """1.0 for a right reply, 0.0 for a wrong one, None where it cannot be read."""
        ...

    def gold(self, example: Example) -> str:
        """A reply that must verify."""
        ...

    def wrong(self, example: Example) -> str:
        """A plausible reply that must not verify."""
        ...


@runtime_checkable
class CandidateTask(Task, Protocol):
    """A task that can make up many wrong replies to one example, for judges to find out."""

    def candidates(self, example: Example, seed: int) -> tuple[str, str]:
        """A right and a wrong reply, the same for the same example and seed."""
        ...

    def both_wrong(self, example: Example, seed: int) -> tuple[str, str]:
        """Two wrong replies that answer differently, as the verifier reads them."""
        ...


def prove(task: Task, *, split: str = "report", limit: int = 100, seed: int = 0) -> int:
    """Checks the grader against the task's own answers; returns how many examples it checked.

    Raises:
        BadInput: a gold answer does not verify, a wrong one does, an id comes twice, or there
            is no example at all. The message names the first offender.
    """
    seen: set[str] = set()
    for example in task.examples(split, limit, seed):
        where = f"task {task.name}, example {example.id}"
        if example.id in seen:
            raise BadInput("the id comes twice", where=where)
        seen.add(example.id)
        verdict = task.verify(example, task.gold(example))
        if verdict.score != 1.0:
            raise BadInput(f"the gold answer fails its own grader ({verdict.why})", where=where)
        verdict = task.verify(example, task.wrong(example))
        if verdict.score == 1.0:
            raise BadInput("a wrong answer passes the grader", where=where)
    if not seen:
        raise BadInput("no examples", where=f"task {task.name}, split {split}")
    return len(seen)
