"""The two selections behind the method: what a teacher's pupil learns, what a judge learns
from itself.

    chosen = select_dpo(items, Rules())
    chosen.rows, chosen.dropped_items.counts

Stage sft keeps a teacher's judgments where they name the gold reply. Stage dpo takes the items
that the trained judge fails in either order, and sets its right judgments against its wrong ones.
Every item that is not used and every row that is dropped is counted with its reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from planish.judges.balance import balance
from planish.judges.base import Case
from planish.judges.pairs import (
    ORDERS,
    Contrast,
    Draw,
    JudgePair,
    JudgeRow,
    contrasts,
    failed_orders,
    judge_pair,
)
from planish.records import BadInput
from planish.tasks.grading import grade
from planish.tasks.mathematics import gave_up

__all__ = [
    "Drops",
    "Item",
    "Rules",
    "Selection",
    "check_golds",
    "length_ratio",
    "select_dpo",
    "select_sft",
    "solves",
    "usable",
]

R = TypeVar("R", JudgeRow, JudgePair)


class Drops:
    """What was left out: reason -> ids, in order of appearance."""

    def __init__(self) -> None:
        self._ids: dict[str, list[str]] = {}

    def add(self, reason: str, ids: Iterable[str]) -> None:
        """Counts ids under a reason."""
        for item_id in ids:
            self._ids.setdefault(reason, []).append(item_id)

    @property
    def counts(self) -> dict[str, int]:
        """Reason -> how many, the most frequent first."""
        return {why: len(ids) for why, ids in sorted(self._ids.items(), key=lambda x: -len(x[1]))}

    @property
    def ids(self) -> dict[str, list[str]]:
        """Reason -> which."""
        return {why: list(ids) for why, ids in self._ids.items()}

    @property
    def total(self) -> int:
        """How many in all."""
        return sum(map(len, self._ids.values()))


@dataclass(frozen=True)
class Item:
    """A case with every judgment drawn for it."""

    case: Case
    draws: Sequence[Draw]


@dataclass(frozen=True)
class Rules:
    """What is kept; see `SynthesisConfig` for the dials of the same names."""

    pairs_per_item: int = 4
    orders: Literal["both", "failed"] = "both"
    balance: bool = True
    require_solution: bool = False
    prefer: Contrast = "any"
    seed: int = 0


@dataclass
class Selection(Generic[R]):
    """What a stage chose.

    Args:
        rows: to train on.
        dropped_items: items that bring no row, each under one reason.
        dropped_rows: rows that were made and left out again.
        built: rows before the balance.
        hard: items that were failed in either order (stage dpo).
    """

    rows: list[R] = field(default_factory=list)
    built: list[R] = field(default_factory=list)
    dropped_items: Drops = field(default_factory=Drops)
    dropped_rows: Drops = field(default_factory=Drops)
    hard: list[str] = field(default_factory=list)


def length_ratio(case: Case) -> float:
    """Characters of the longer candidate over those of the shorter one."""
    shorter, longer = sorted(len(reply.strip()) for reply in case.replies)
    return longer / shorter if shorter else math.inf


def check_golds(cases: Sequence[Case], *, where: str) -> None:
    """Refuses pairs that nothing can be learned from, before any call is made.

    Raises:
        BadInput: a missing gold, not two replies, replies that differ in blanks only, or one
            slot that is always gold; with the count and the first offender.
    """
    odd = [case for case in cases if len(case.replies) != 2]
    unlabelled = [case for case in cases if case.gold is None]
    same = [case for case in cases if len({" ".join(r.split()) for r in case.replies}) == 1]
    for found, what, fix in (
        (odd, "have not two replies", "give pairs"),
        (unlabelled, "have no gold label", "add it, or remove them"),
        (same, "hold twice the same reply once blanks are normal", "remove them"),
    ):
        if found:
            raise BadInput(
                f"{len(found)} of {len(cases)} pairs {what}, the first is {found[0].id}",
                where=where,
                fix=fix,
            )
    decided = [case for case in cases if case.gold in ("A", "B")]
    if len({case.gold for case in decided}) < 2:
        gold = f"is {decided[0].gold} in all" if decided else "is a tie in all or none"
        raise BadInput(
            f"the gold label {gold} of {len(decided)} decided pairs, the first is "
            f"{(decided or cases)[0].id}",
            where=where,
            fix="put the better reply first in about half of the pairs",
        )


def usable(cases: Sequence[Case], *, max_length_ratio: float | None) -> tuple[list[Case], Drops]:
    """The cases worth asking about: a decided gold, candidates of similar length."""
    drops, kept = Drops(), []
    for case in cases:
        if case.gold not in ("A", "B"):
            drops.add("gold is a tie", [case.id])
        elif max_length_ratio is not None and length_ratio(case) > max_length_ratio:
            drops.add("one candidate is much longer", [case.id])
        else:
            kept.append(case)
    return kept, drops


def select_sft(items: Sequence[Item], rules: Rules) -> Selection[JudgeRow]:
    """The first judgment per order that names the gold reply.

    Raises:
        BadInput: nothing remains; with the count and the first item.
    """
    chosen: Selection[JudgeRow] = Selection()
    for item in items:
        rows = []
        for order in ORDERS:
            draws = [draw for draw in item.draws if draw.order == order]
            good = [d for d in draws if d.right and (d.solved or not rules.require_solution)]
            if good:
                rows.append(_row(good[0]))
            else:
                chosen.dropped_rows.add(_why_no_row(draws), [item.case.id])
        chosen.built += rows
        if not rows:
            chosen.dropped_items.add(_why_no_row(item.draws), [item.case.id])
    if not chosen.built:
        raise BadInput(
            f"none of {len(items)} items has a judgment that names the gold reply, the first "
            f"is {items[0].case.id}: {next(iter(chosen.dropped_items.ids))}",
            where="stage sft",
            fix="use a better teacher, or check the gold labels",
        )
    return _settled(chosen, rules)


def _row(draw: Draw) -> JudgeRow:
    return JudgeRow(
        prompt=draw.prompt,
        completion=draw.completion.text,
        item_id=draw.item_id,
        order=draw.order,
        gold="A" if draw.gold == "A" else "B",
        template=draw.template,
        template_hash=draw.template_hash,
        question=draw.question,
        sample=draw.sample,
    )


def _why_no_row(draws: Sequence[Draw]) -> str:
    if any(draw.right for draw in draws):
        return "right verdict without a right solution"
    if any(draw.right is False for draw in draws):
        return "verdict is not the gold"
    return f"no verdict read ({draws[0].status})"


def select_dpo(items: Sequence[Item], rules: Rules) -> Selection[JudgePair]:
    """The hard set's right judgments against its wrong ones, within one order, from both orders.

    Raises:
        BadInput: no item is hard, or nothing remains; with the count and the first item.
    """
    chosen: Selection[JudgePair] = Selection()
    for item in items:
        failed = failed_orders(item.draws)
        if not failed:
            chosen.dropped_items.add("not hard: right in both orders", [item.case.id])
            continue
        chosen.hard.append(item.case.id)
        orders = [order for order in ORDERS if rules.orders == "both" or order in failed]
        found = contrasts(
            item.draws,
            orders=orders,
            require_solution=rules.require_solution,
            prefer=rules.prefer,
        )
        pairs = [judge_pair(*contrast) for contrast in found[: rules.pairs_per_item]]
        if not pairs:
            why = _why_no_pair([draw for draw in item.draws if draw.order in orders], rules)
            chosen.dropped_items.add(why, [item.case.id])
        chosen.built += pairs
        spare = [item.case.id] * (len(found) - len(pairs))
        chosen.dropped_rows.add("over the cap per item", spare)
    if not chosen.hard:
        raise BadInput(
            f"the hard set is empty: all {len(items)} items are right in both orders, the first "
            f"is {items[0].case.id}",
            where="stage dpo",
            fix="bring harder pairs or a higher temperature: there is nothing to mend here",
        )
    if not chosen.built:
        counts = chosen.dropped_items.counts
        why = ", ".join(f"{count} {reason}" for reason, count in counts.items())
        raise BadInput(
            f"none of {len(chosen.hard)} hard items has both a right and a wrong judgment in one "
            f"order, the first is {chosen.hard[0]} ({why})",
            where="stage dpo",
            fix="draw more samples, or raise the temperature",
        )
    return _settled(chosen, rules)


def _why_no_pair(draws: Sequence[Draw], rules: Rules) -> str:
    rights = [draw for draw in draws if draw.right]
    if all(draw.right is None for draw in draws):
        return f"no verdict read ({draws[0].status})"
    if not rights:
        return "never right"
    both = any(d.right is False and d.order == right.order for right in rights for d in draws)
    if both and rules.require_solution and not any(draw.solved for draw in rights):
        return "right verdict without a right solution"
    if both:
        return "no right judgment rests on a better solution"
    return "never both right and wrong in one order"


def _settled(chosen: Selection[R], rules: Rules) -> Selection[R]:
    """Balances, and settles which items went with it."""
    before = chosen.built
    chosen.rows = list(before)
    if not rules.balance:
        return chosen
    chosen.rows, surplus = balance(before, seed=rules.seed)
    for why, rows in surplus.items():
        chosen.dropped_rows.add(why, [row.item_id for row in rows])
    left = {row.item_id for row in chosen.rows}
    gone = dict.fromkeys(row.item_id for row in before if row.item_id not in left)
    chosen.dropped_items.add("lost to the balance", gone)
    if not chosen.rows:
        raise BadInput(
            f"nothing remains of {len(before)} rows once balanced, the first is of item "
            f"{before[0].item_id} (chosen in {_lean(before)})",
            where="balance",
            fix="bring more items, or use --no-balance and expect the lean to be learned",
        )
    return chosen


def _lean(rows: Sequence[JudgeRow] | Sequence[JudgePair]) -> str:
    """How many chosen texts are longer, shorter and alike in either slot."""
    parts = []
    for slot in "AB":
        sizes = [row.length_difference for row in rows if row.gold == slot]
        longer, shorter = sum(size > 0 for size in sizes), sum(size < 0 for size in sizes)
        alike = len(sizes) - longer - shorter
        parts.append(f"slot {slot}: {longer} longer, {shorter} shorter, {alike} alike")
    return "; ".join(parts)


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def solves(case: Case, solution: str) -> bool | None:
    """Whether a judge's own solution comes to the case's target (else its reference answer).

    As the grader of its row reads it; where none is named, numbers by the last one in the solution,
    as a chain ends. None where there is no target, or where the check gave up.
    """
    example = case.example
    target = case.reference if example.target is None else str(example.target)
    wanted = (target or "").strip()
    if not wanted:
        return None
    if "grader" not in example.meta and _NUMBER.fullmatch(wanted):
        plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", solution)
        # A minus after a number is an operator, not a sign: "7-2" ends in 2.
        found = _NUMBER.findall(re.sub(r"(?<=\d)\s*-", " - ", plain))
        return bool(found) and float(found[-1]) == float(wanted)
    verdict = grade(example.model_copy(update={"target": wanted}), solution)
    return None if gave_up(verdict) else verdict.score == 1.0
