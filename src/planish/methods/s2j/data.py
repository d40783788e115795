"""The items of Solve-to-Judge: a question with two checked candidates, and who grades an answer.

    items = task_items(ChainTask(3), split="report", limit=200, both_wrong=100, seed=0)
    items.verify(items.items[0], "7 2")

An item has a gold answer, and each of its candidates was graded against it. Pairs of a file that
bring only a preference keep it: they tell how well verdicts agree with it, and nothing more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from planish.judges.base import Case
from planish.judges.formats import Format, read_pairs
from planish.judges.pairs import task_cases
from planish.records import BadInput, Example, Record, Verdict
from planish.tasks.base import CandidateTask, Task
from planish.tasks.grading import grade, right_reply, wrong_replies
from planish.tasks.mathematics import gave_up

__all__ = ["Item", "Items", "Slice", "pair_items", "task_items", "undecided"]

Slice = Literal["one_right", "both_wrong", "both_right"]

_OTHERS = 8  # questions whose answers may serve as wrong ones
_DRAWS = 50  # of a wrong reply, until its answer is another one
_CRASHED = "the verifier failed"
_UNKNOWN = "no gold answer"


class Item(Record):
    """A question with two candidates.

    `case.example.target` is the gold answer (None: only the preference is known) and `case.gold`
    the letter of the right candidate (None in the other two slices).
    """

    case: Case
    slice: Slice

    @property
    def id(self) -> str:
        """The case's."""
        return self.case.id

    @property
    def example(self) -> Example:
        """The case's."""
        return self.case.example


@dataclass(frozen=True)
class Items:
    """What is measured, and who grades it.

    Args:
        items: in their order.
        source: the task's name, or the file.
        task: whose grader counts; None for pairs, whose rows name one.
        dropped: why pairs were left out -> their ids.
        unknown: why the grader could not tell -> how often, until now.
    """

    items: tuple[Item, ...]
    source: str
    task: Task | None = None
    dropped: dict[str, list[str]] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.items)

    def of(self, *slices: Slice) -> tuple[Item, ...]:
        """The items of these slices."""
        return tuple(item for item in self.items if item.slice in slices)

    @property
    def with_target(self) -> tuple[Item, ...]:
        """The items whose gold answer is known."""
        return tuple(item for item in self.items if item.example.target is not None)

    def grade(self, item: Item, text: str) -> Verdict:
        """What the grader says of an answer; None with the reason where it cannot tell."""
        if item.example.target is None:
            return Verdict(score=None, why=_UNKNOWN, by=self.source)
        try:
            if self.task is not None:
                return self.task.verify(item.example, text)
            return grade(item.example, text, by=self.source)
        except Exception as error:  # whatever a grader does with a hostile text
            why = f"{_CRASHED} ({type(error).__name__}: {error})"
            return Verdict(score=None, why=why, by=self.source)

    def verify(self, item: Item, text: str) -> bool | None:
        """Whether an answer is right: a text without one is not, one that the grader broke down on
        may be (None, counted in `unknown`); None without a gold answer.
        """
        verdict = self.grade(item, text)
        if not undecided(verdict):
            return verdict.score == 1.0
        if item.example.target is not None:
            self.unknown[verdict.why] += 1
        return None

    def agree(self, item: Item, one: str, other: str) -> bool:
        """Whether two solutions come to the same answer, as the grader reads them."""
        if one.split() == other.split():
            return True
        first, second = self.grade(item, one), self.grade(item, other)
        if first.score == second.score == 1.0:
            return True
        return bool(first.extracted) and first.extracted == second.extracted

    def wrong_answers(self, item: Item) -> frozenset[str]:
        """What the item's wrong candidates answer, as the grader reads it."""
        verdicts = [self.grade(item, reply) for reply in item.case.replies]
        return frozenset(v.extracted for v in verdicts if v.score == 0.0 and v.extracted)

    def other_wrong(self, item: Item) -> str | None:
        """A wrong reply that answers as neither candidate does; None where none can be made."""
        taken = {self.grade(item, reply).extracted for reply in item.case.replies}
        for text in _wrong_texts(self.task, item.example, self._near(item)):
            verdict = self.grade(item, text)
            if verdict.score == 0.0 and verdict.extracted not in taken:
                return text
        return None

    def _near(self, item: Item) -> list[Example]:
        found = [other.example for other in self.with_target if other.id != item.id]
        return found[:_OTHERS]


def undecided(verdict: Verdict) -> bool:
    """Whether the grader failed, and said nothing about the answer: one without an answer in it
    is not solved, but one that could not be checked may be.
    """
    failed = verdict.why.startswith((_CRASHED, _UNKNOWN)) or gave_up(verdict)
    return verdict.score is None and failed


def task_items(task: Task, *, split: str, limit: int, both_wrong: int = 0, seed: int = 0) -> Items:
    """Questions of a task, each with its gold reply and a wrong one in random slots.

    The slice of two wrong replies asks the first `both_wrong` questions again, so that what
    changes between the slices is what a judge sees, and not what it is asked.

    Args:
        task: with its grader.
        split: "report" is what nothing was trained or chosen on.
        limit: at most so many questions; all of the split where it holds fewer.
        both_wrong: at most so many questions with two wrong replies.
        seed: of the questions and slots.

    Raises:
        BadInput: no question, a gold answer that fails its own verifier, or a wrong one that does
            not; the message names it.
    """
    capped: Callable[[str, int], int] | None = getattr(task, "capped", None)
    wanted = max(limit, both_wrong)
    wanted = capped(split, wanted) if capped else wanted
    cases = task_cases(task, split=split, limit=wanted, seed=seed)
    items = Items(
        items=tuple(Item(case=case, slice="one_right") for case in cases),
        source=task.name,
        task=task,
    )
    if not items.items:
        raise BadInput(f"has no example in {split!r}", where=f"task {task.name}")
    for item in items.items:
        _check_task_item(items, item)
    pairs = []
    for item in items.items[:both_wrong]:
        case = _both_wrong_case(items, item, seed)
        if case is None:
            _drop(items.dropped, "no second wrong reply could be made up", item.id)
        else:
            pairs.append(Item(case=case, slice="both_wrong"))
    return replace(items, items=(*items.items[:limit], *pairs))


def _drop(dropped: dict[str, list[str]], why: str, item_id: str) -> None:
    dropped.setdefault(why, []).append(item_id)


def _check_task_item(items: Items, item: Item) -> None:
    where = f"task {items.source}, example {item.id}"
    right = "AB".index(item.case.gold or "")
    verdict = items.grade(item, item.case.replies[right])
    if verdict.score != 1.0:
        raise BadInput(f"the gold answer fails its own verifier ({verdict.why})", where=where)
    if items.grade(item, item.case.replies[1 - right]).score == 1.0:
        raise BadInput("a wrong answer passes the verifier", where=where)


def _both_wrong_case(items: Items, item: Item, seed: int) -> Case | None:
    """The same question under another id, with two wrong replies that answer differently."""
    if isinstance(items.task, CandidateTask):
        pair: tuple[str, str] | None = items.task.both_wrong(item.example, seed)
    else:
        first = item.case.replies["BA".index(item.case.gold or "")]
        second = items.other_wrong(item)
        pair = None if second is None else (first, second)
        if pair is not None and item.case.gold == "A":
            pair = pair[::-1]
    if pair is None:
        return None
    meta = {name: value for name, value in item.example.meta.items() if name != "gold"}
    example = item.example.model_copy(update={"id": f"{item.id}#both-wrong", "meta": meta})
    return Case(example=example, replies=pair)


def _wrong_texts(task: Task | None, example: Example, others: Sequence[Example]) -> Iterator[str]:
    """Replies that are most likely wrong, in the form that the task's replies have."""
    if isinstance(task, CandidateTask):
        yield from (task.candidates(example, seed)[1] for seed in range(_DRAWS))
        return
    if task is not None:
        yield task.wrong(example)
    yield from wrong_replies(example, others)


def pair_items(
    path: str | os.PathLike[str], format: Format = "auto", limit: int | None = None
) -> Items:
    """Pairs of a file; those with a gold answer are graded, the others keep their preference.

    Args:
        path: JudgeBench, RewardBench or own pairs; only the latter bring gold answers (`target`).
        format: how they are written; told from the first row.
        limit: only the first so many pairs.

    Raises:
        BadInput: a list instead of a pair, identical candidates in own pairs, a gold answer that
            fails its own verifier, or no pair that can be used; the message names the pair.
    """
    cases = read_pairs(path, format)[:limit]
    items = Items(items=(), source=os.fspath(path))
    found = []
    for case in cases:
        _check_pair(items, case)
        item = _pair_item(items, case)
        if item is not None:
            found.append(item)
    if not found:
        why = ", ".join(f"{why} {len(ids)}" for why, ids in items.dropped.items())
        raise BadInput(f"no pair of {len(cases)} is left ({why})", where=items.source)
    return replace(items, items=tuple(found))


def _check_pair(items: Items, case: Case) -> None:
    where = f"{items.source}, case {case.id}"
    if len(case.replies) != 2:
        raise BadInput(f"{len(case.replies)} replies are no pair", where=where)
    if case.example.target is None:
        return
    verdict = items.grade(Item(case=case, slice="one_right"), right_reply(case.example))
    if verdict.score != 1.0:
        raise BadInput(
            f"the gold answer {case.example.target!r:.40} fails its own verifier ({verdict.why})",
            where=where,
            fix="write it as a reply would, or name another grader",
        )


def _pair_item(items: Items, case: Case) -> Item | None:
    """The case as an item, or None where it was dropped."""
    if case.replies[0] == case.replies[1]:  # own pairs are refused; published ones have such
        _drop(items.dropped, "the two candidates are identical", case.id)
        return None
    if case.example.target is None:
        if case.gold in ("A", "B"):
            return Item(case=case, slice="one_right")
        why = "a tie has no right verdict" if case.gold else "neither a gold answer nor a label"
        _drop(items.dropped, why, case.id)
        return None
    probe = Item(case=case, slice="one_right")
    verdicts = [items.grade(probe, reply) for reply in case.replies]
    if any(undecided(verdict) for verdict in verdicts):
        _drop(items.dropped, "a candidate could not be verified", case.id)
        return None
    right = ["AB"[slot] for slot, verdict in enumerate(verdicts) if verdict.score == 1.0]
    if len(right) == 1 and case.gold is not None and case.gold != right[0]:
        _drop(items.dropped, "the label and the gold answer disagree", case.id)
        return None
    meta = {name: value for name, value in case.example.meta.items() if name != "gold"}
    if len(right) == 1:
        meta["gold"] = right[0]
    case = case.model_copy(update={"example": case.example.model_copy(update={"meta": meta})})
    kind: dict[int, Slice] = {0: "both_wrong", 1: "one_right", 2: "both_right"}
    return Item(case=case, slice=kind[len(right)])
