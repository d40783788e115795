"""What needs no training: five ways to ask the same judge about the same items.

asked = ask_arms(model, items, asking, progress)
results = compare(asked.rows, seed=0)

template only               the plain prompt of a judge, no solution
solve first                 solution and verdict in one output: what Solve-to-Judge rewards
own answer as reference     the model solves alone, then judges beside its own answer (Do
                            Before You Judge, arXiv 2509.19880)
gold as reference           the same beside the gold answer: the ceiling
equal-token vote            the majority of as many plain judgments as cost at least what the
                            dearer of "solve first" and "own answer as reference" costs
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from planish.judges.base import SCORED
from planish.judges.pairs import ORDERS, Order
from planish.judges.parse import parse
from planish.methods.s2j.data import Item, Items
from planish.methods.s2j.measuring.arms import (
    BASELINES,
    NAMES,
    ArmRow,
    Asking,
    Baseline,
    chat_of,
    has_grammar,
    template_of,
)
from planish.methods.s2j.prompts import answer_of, solve_chat
from planish.models.base import LanguageModel, Steps
from planish.records import Completion

__all__ = ["Asked", "ask_arms", "votes_for"]

Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]
"""A bar with a name and a number of steps, such as `Screen.progress`."""


@dataclass(frozen=True)
class Asked:
    """What all arms brought.

    Args:
        rows: for each arm its items; an arm that nothing could be asked in is absent.
        budget: what an item costs in the dearer of the two arms that solve.
        votes: judgments per order in the vote.
        capped: whether that is fewer than the budget allows.
        by_words: whether tokens are words, since the model counts none.
        calls: every reply, for what was lost and what it cost.
    """

    rows: dict[Baseline, list[ArmRow]]
    budget: float
    votes: int
    capped: bool
    by_words: bool
    calls: list[Completion] = field(repr=False)


def ask_arms(model: LanguageModel, items: Items, asking: Asking, progress: Progress) -> Asked:
    """Asks one model in every arm about the items with one right candidate.

    The vote comes last: how many judgments it may have follows from what the others cost.
    """
    pairs = items.of("one_right")
    solo = _solve(model, pairs, asking, progress)
    drawn: dict[Baseline, list[_Drawn]] = {
        "template_only": _judge(model, "template_only", pairs, asking, progress),
        "solve_first": _judge(model, "solve_first", pairs, asking, progress),
        "own_answer": _judge(
            model, "own_answer", pairs, asking, progress, _own(items, solo, asking)
        ),
    }
    gold = _gold(pairs, asking)
    if gold:
        known = [item for item in pairs if item.id in gold]
        drawn["gold_answer"] = _judge(model, "gold_answer", known, asking, progress, gold)
    calls = [*solo.values(), *_replies(draw for draws in drawn.values() for draw in draws)]
    by_words = any(call.text.strip() and not call.usage.completion_tokens for call in calls)
    rows = {
        arm: [_row(draw, arm, asking, by_words) for draw in draws] for arm, draws in drawn.items()
    }
    budget = max(_tokens_an_item(rows[arm]) for arm in ("solve_first", "own_answer"))
    wanted = votes_for(budget, _tokens_an_item(rows["template_only"]))
    votes = min(wanted, asking.most_votes)
    voting = _judge(model, "vote", pairs, asking, progress, samples=votes)
    rows["vote"] = [_vote_row(draw, asking, by_words) for draw in voting]
    calls += _replies(voting)
    return Asked(
        rows={arm: rows[arm] for arm in BASELINES if arm in rows},
        budget=budget,
        votes=votes,
        capped=wanted > votes,
        by_words=by_words,
        calls=calls,
    )


def votes_for(budget: float, one: float) -> int:
    """How many judgments of `one` token each cost at least the budget.

    >>> votes_for(20.0, 8.0), votes_for(5.0, 8.0), votes_for(0.0, 0.0)
    (3, 1, 1)
    """
    return max(1, math.ceil(budget / one)) if one > 0 else 1


# ---- asking ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reference:
    """An answer to be shown; `text` None: the model gave none."""

    text: str | None
    right: bool | None
    solo: Completion | None = None


_NO_REFERENCE = _Reference(None, None)


@dataclass(frozen=True)
class _Drawn:
    """The replies about one item in one arm; without any where there was nothing to show."""

    item: Item
    reference: _Reference
    replies: Mapping[Order, Sequence[Completion]]


def _solve(
    model: LanguageModel, pairs: Sequence[Item], asking: Asking, progress: Progress
) -> dict[str, Completion]:
    chats = [solve_chat(item.example, asking.solving) for item in pairs]
    with progress("solving alone", len(pairs)) as step:
        replies = model.generate(chats, asking.sampling, watcher=Steps(step))
    return {item.id: found[0] for item, found in zip(pairs, replies, strict=True)}


def _own(items: Items, solo: Mapping[str, Completion], asking: Asking) -> dict[str, _Reference]:
    """The model's own answers, right or wrong."""
    found = {}
    for item in items.of("one_right"):
        reply = solo[item.id]
        text = answer_of(reply.text, asking.solving)
        blank = reply.finish == "error" or not text.strip()
        right = None if blank else items.verify(item, text)
        found[item.id] = _Reference(None if blank else text, right, reply)
    return found


def _gold(pairs: Sequence[Item], asking: Asking) -> dict[str, _Reference]:
    """The gold answers of those items that have one; a grammar takes whole solutions only."""
    found = {}
    for item in pairs:
        if item.example.target is None:
            continue
        text = str(item.example.target)
        if has_grammar(asking.solving):
            text = item.case.replies["AB".index(item.case.gold or "")]
        found[item.id] = _Reference(text, True)
    return found


def _judge(
    model: LanguageModel,
    arm: Baseline,
    pairs: Sequence[Item],
    asking: Asking,
    progress: Progress,
    references: Mapping[str, _Reference] | None = None,
    *,
    samples: int | None = None,
) -> list[_Drawn]:
    """Both orders of every item in one batch; an own answer that is not there is not judged by."""
    shown = [(references or {}).get(item.id, _NO_REFERENCE) for item in pairs]
    asked = [
        (index, order, chat_of(arm, item.case, order, asking, reference.text))
        for index, (item, reference) in enumerate(zip(pairs, shown, strict=True))
        for order in ORDERS
        if references is None or reference.text is not None
    ]
    number = samples or asking.judgments
    sampling = asking.sampling.model_copy(update={"n": number})
    with progress(f"judging: {NAMES[arm]}", len(asked) * number) as step:
        replies = model.generate([chat for *_, chat in asked], sampling, watcher=Steps(step))
    found: list[dict[Order, Sequence[Completion]]] = [{} for _ in pairs]
    for (index, order, _), completions in zip(asked, replies, strict=True):
        found[index][order] = completions
    return [_Drawn(*each) for each in zip(pairs, shown, found, strict=True)]


def _replies(drawn: Iterable[_Drawn]) -> list[Completion]:
    return [reply for draw in drawn for replies in draw.replies.values() for reply in replies]


# ---- reading ---------------------------------------------------------------------------------


@dataclass
class _Tally:
    """One item of one arm on its way to a row."""

    right: dict[Order, tuple[bool | None, ...]] = field(default_factory=dict)
    first_slot: int = 0
    decisive: int = 0
    coins: int = 0

    def add(self, order: Order, gold: str, labels: Sequence[str | None]) -> None:
        """Verdicts of one order, in the frame of its prompt."""
        self.right[order] = tuple(None if label is None else label == gold for label in labels)
        self.first_slot += labels.count("A")
        self.decisive += labels.count("A") + labels.count("B")


def _row(draw: _Drawn, arm: Baseline, asking: Asking, by_words: bool) -> ArmRow:
    tally = _Tally()
    for order in ORDERS:
        replies = draw.replies.get(order)
        labels = (
            [None] * asking.judgments
            if replies is None
            else [_label(reply, arm, asking) for reply in replies]
        )
        tally.add(order, _gold_slot(draw.item, order), labels)
    return _made(draw, arm, asking, tally, by_words, divided_by=asking.judgments)


def _vote_row(draw: _Drawn, asking: Asking, by_words: bool) -> ArmRow:
    tally = _Tally()
    for order in ORDERS:
        labels = [_label(reply, "vote", asking) for reply in draw.replies[order]]
        winner = _majority(labels)
        if winner == "drawn":
            tally.coins += 1
            winner = _coin(asking.sampling.seed, draw.item.id, order)
        tally.add(order, _gold_slot(draw.item, order), [winner])
    return _made(draw, "vote", asking, tally, by_words, divided_by=1)


def _made(
    draw: _Drawn, arm: Baseline, asking: Asking, tally: _Tally, by_words: bool, *, divided_by: int
) -> ArmRow:
    replies = _replies([draw])
    solo = [draw.reference.solo] if draw.reference.solo else []
    statuses = Counter(parse(reply, template_of(arm, asking)).status for reply in replies)
    return ArmRow(
        item_id=draw.item.id,
        arm=arm,
        reference=draw.reference.text,
        reference_right=draw.reference.right,
        right=tally.right,
        first_slot=tally.first_slot,
        decisive=tally.decisive,
        statuses=dict(statuses) if replies else {"no own answer": len(ORDERS) * asking.judgments},
        completion_tokens=sum(_written(reply, by_words) for reply in replies) / divided_by
        + sum(_written(reply, by_words) for reply in solo),
        prompt_tokens=sum(reply.usage.prompt_tokens for reply in replies) / divided_by
        + sum(reply.usage.prompt_tokens for reply in solo),
        lost=sum(reply.finish == "error" for reply in [*replies, *solo]),
        coins=tally.coins,
        texts={order: tuple(r.text for r in found) for order, found in draw.replies.items()},
    )


def _label(reply: Completion, arm: Baseline, asking: Asking) -> str | None:
    """The verdict in the frame of the prompt; None where there is none."""
    reading = parse(reply, template_of(arm, asking))
    return reading.label if reading.status in SCORED else None


def _gold_slot(item: Item, order: Order) -> str:
    return item.case.gold or "" if order == "AB" else {"A": "B", "B": "A"}[item.case.gold or ""]


def _majority(labels: Sequence[str | None]) -> str | None:
    """The slot that more votes name, "drawn" where none has more, None where nothing was read."""
    if all(label is None for label in labels):
        return None
    lead = labels.count("A") - labels.count("B")
    return "A" if lead > 0 else "B" if lead < 0 else "drawn"


def _coin(seed: int | None, item_id: str, order: Order) -> str:
    place = f"{seed}\0{item_id}\0{order}"
    digest = hashlib.sha256(place.encode("utf-8", "surrogatepass")).digest()
    return "AB"[digest[0] & 1]


def _written(reply: Completion, by_words: bool) -> int:
    return len(reply.text.split()) if by_words else reply.usage.completion_tokens


def _tokens_an_item(rows: Sequence[ArmRow]) -> float:
    """What one judgment of an item costs in both orders, on average over those that were asked."""
    asked = [row.completion_tokens for row in rows if row.texts]
    return sum(asked) / len(asked) if asked else 0.0
