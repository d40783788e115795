"""What every rollout earns, part by part, and the file that keeps it.

rewarder = ItemRewarder(lesson, "additive", Weights())
scores = rewarder(rollouts)
log = RewardLog(run.artifact("rewards.jsonl"), ..., last_step=0)
log.append(scored)
"""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from planish.judges.pairs import ORDERS, Order
from planish.judges.parse import hide_thinking, solution_in
from planish.methods.s2j.data import Item
from planish.methods.s2j.learning.lesson import Lesson, prompt_gold
from planish.methods.s2j.method import Arm, Parts, Weights, parts_of, reward
from planish.methods.s2j.prompts import alone_in
from planish.records import Completion, Record, read_records, to_json, write_jsonl
from planish.runs.lines import LineFile
from planish.training.groups import Rollout, Score, Scored

__all__ = [
    "REWARDS",
    "ItemRewarder",
    "RewardLog",
    "RewardRow",
    "merge_parts",
    "read_rewards",
    "rewards_file",
]

REWARDS = "rewards.jsonl"

_ORDERS: tuple[Order, ...] = tuple(ORDERS)


class RewardRow(Record):
    """One rollout and what it earned.

    Args:
        step: the optimizer step that learned from it.
        order: which candidate stood first; "alone": there was none.
        f: whether it has the form.
        j: its verdict; None: no form, or no verdict is right.
        s: its solution; None: no form, or nobody could tell.
        r_total: None: nothing that the arm rewards is known, and it taught nothing.
        advantage: what it was taught by.
        group_std: deviation of the totals of its item, over both orders.
    """

    step: int
    item_id: str
    order: Order | Literal["alone"]
    f: float
    j: float | None
    s: float | None
    r_total: float | None
    arm: Arm
    advantage: float
    group_std: float
    num_tokens: int
    text: str


class ItemRewarder:
    """Scores rollouts: what is judged against its gold, and solved against its answer.

    Args:
        lesson: whose groups are rolled out.
        arm: what is rewarded.
        weights: of the parts.
        min_solution_tokens: a shorter solution has not the form.
    """

    def __init__(
        self, lesson: Lesson, arm: Arm, weights: Weights, min_solution_tokens: int = 0
    ) -> None:
        self._lesson, self._arm, self._weights = lesson, arm, weights
        self._fewest = min_solution_tokens

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Score]:
        """One score per rollout."""
        return [self._score(rollout) for rollout in rollouts]

    def _score(self, rollout: Rollout) -> Score:
        item = self._lesson.asked(rollout.group)
        if rollout.group >= len(self._lesson.items):
            return self._score_alone(item, rollout.completion)
        gold = prompt_gold(item, ORDERS[_ORDERS[rollout.prompt]])
        completion, template = rollout.completion, self._lesson.template
        parts = parts_of(
            completion,
            template,
            gold=gold,
            verify=lambda solution: self._lesson.items.verify(item, solution),
        )
        readable = parts.form
        if readable and self._is_short(completion):
            parts = Parts(form=False, judge=None, solve=None)
        # All processes of a launch log the same names.
        other: dict[str, float | None] = {"alone": None} if self._lesson.alone else {}
        return Score(
            total=reward(parts, self._arm, self._weights),
            readable=readable,
            parts={"form": float(parts.form), "judge": parts.judge, "solve": parts.solve} | other,
            credit=self._credit(completion, parts),
        )

    def _score_alone(self, item: Item, completion: Completion) -> Score:
        """A question without candidates: its solution is all there is, in every arm."""
        solution = alone_in(completion, self._lesson.template)
        right = None if solution is None else self._lesson.items.verify(item, solution)
        known = None if right is None else float(right)
        total = -self._weights.penalty if solution is None else known
        return Score(
            total=total,
            readable=solution is not None,
            parts={"form": None, "judge": None, "solve": None, "alone": known},
        )

    def _is_short(self, completion: Completion) -> bool:
        if self._fewest == 0:
            return False
        solution = solution_in(completion.text, self._lesson.template) or ""
        return self._lesson.count_tokens(solution) < self._fewest

    def _credit(self, completion: Completion, parts: Parts) -> tuple[tuple[int, float | None], ...]:
        """The solution and its marks, then the verdict; nothing to tell apart without the form."""
        if self._arm != "segment_credit" or not parts.form:
            return ()
        opening, closing = self._lesson.template.solution or ("", "")
        text = hide_thinking(completion.text)
        end = text.find(closing, text.find(opening) + len(opening)) + len(closing)
        weights = self._weights
        return (
            (end, None if parts.solve is None else weights.solve * parts.solve),
            (len(completion.text), None if parts.judge is None else weights.judge * parts.judge),
        )


class RewardLog:
    """A line per rollout, a step at a time.

    Args:
        path: of the file; what it holds of steps after `last_step` will come again and is dropped.
        lesson: whose groups are rolled out.
        arm: what is rewarded.
        last_step: the step that training goes on from.
    """

    def __init__(self, path: Path, lesson: Lesson, arm: Arm, *, last_step: int) -> None:
        self._lesson, self._arm = lesson, arm
        _cut_after(path, last_step)
        self._file = LineFile(path)

    def append(self, scored: Sequence[Scored]) -> None:
        """Adds the rollouts of one step, all or none of them."""
        if scored:
            self._file.append("\n".join(to_json(self._row(one)) for one in scored))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _row(self, scored: Scored) -> RewardRow:
        rollout, score = scored.rollout, scored.score
        alone = rollout.group >= len(self._lesson.items)
        return RewardRow(
            step=scored.step,
            item_id=self._lesson.asked(rollout.group).id,
            order="alone" if alone else _ORDERS[rollout.prompt],
            f=float(score.readable) if alone else score.parts["form"] or 0.0,
            j=score.parts["judge"],
            s=score.parts["alone" if alone else "solve"],
            r_total=score.total,
            arm=self._arm,
            advantage=scored.advantage,
            group_std=scored.group_std,
            num_tokens=len(rollout.completion.token_ids or ()),
            text=rollout.completion.text,
        )


def _cut_after(path: Path, last_step: int) -> None:
    """Cuts the rows of later steps off, and a line that a kill tore; rows stand in order."""
    if not path.exists():
        return
    kept = 0
    with path.open("rb+") as file:
        for line in file:
            try:
                step = json.loads(line)["step"] if line.endswith(b"\n") else None
            except (ValueError, KeyError):
                step = None
            if step is None or step > last_step:
                break
            kept += len(line)
        file.truncate(kept)
        os.fsync(file.fileno())


def read_rewards(path: Path) -> Iterator[RewardRow]:
    """The rows of a file, in order.

    Raises:
        BadInput: a line that is no such row.
    """
    yield from read_records(path, RewardRow)


def rewards_file(folder: Path, rank: int, num_processes: int) -> Path:
    """Where a process writes its rows; the parts of several are merged at the end."""
    return folder / (REWARDS if num_processes == 1 else f"rewards-{rank}.jsonl")


def merge_parts(folder: Path) -> Path:
    """One file of what all processes wrote, step by step; their own files are removed."""
    merged, parts = folder / REWARDS, sorted(folder.glob("rewards-*.jsonl"))
    if parts and not merged.exists():
        rows = heapq.merge(*map(read_rewards, parts), key=lambda row: row.step)
        write_jsonl(merged, rows)
    for part in parts:  # a kill between the two lines leaves both, and the merged one is whole
        part.unlink()
    return merged
