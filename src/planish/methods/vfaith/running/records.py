"""Calls, the replies to them, and what they add up to.

    todo = calls_of(chosen(bench.pairs, 100), ("raw", "edited"))
    response = respond(todo[0], completion, key=key, model=model, repeat=0)
    counted = tally(todo, 1, seen(run))

A reply is read the moment it came. One that came and could not be read is "unparsed" and stays;
one that never came is an "error", which a later visit asks for again. Of several records with one
id the last counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import Arm, EditPair, Outcome, Response
from planish.methods.vfaith.extraction import extract
from planish.methods.vfaith.running.prompts import (
    asked,
    chat,
    gold_of,
    options_of,
    picture_of,
    prompt,
    shown_options,
)
from planish.methods.vfaith.usable import coverage, decisive, over
from planish.models.base import LanguageModel
from planish.models.keys import chat_key, reply_key
from planish.records import Chat, Completion, Message, Sampling
from planish.runs import Run, read_rows

__all__ = [
    "RESPONSE",
    "Call",
    "Seen",
    "Tally",
    "calls_of",
    "respond",
    "scores",
    "seen",
    "tally",
]

RESPONSE = "response"
"""Kind of the records that hold replies."""

OUTCOMES: tuple[Outcome, ...] = ("correct", "wrong", "unparsed", "error")


class Call(NamedTuple):
    """One question, with one picture or none; every repeat of it is a reply of its own."""

    pair: EditPair
    arm: Arm
    question: int = 0

    def id(self, repeat: int) -> str:
        """Of the record that holds a reply to it."""
        return f"{self.pair.pair_id}/{self.arm}/{self.question}/{repeat}"

    def chat(self, bench: Bench) -> Chat:
        """What is sent; see `prompts.chat`."""
        return chat(self.pair, self.arm, bench, self.question)

    def key(self, model: LanguageModel, sampling: Sampling, repeat: int) -> str:
        """Hash of all that a reply depends on; the reply cache has the same."""
        # A picture counts by the hash of its bytes, which the pair knows: no file is read again.
        picture = picture_of(self.pair, self.arm)
        images = () if picture is None else (picture.sha256,)
        words = prompt(self.pair, self.arm, self.question)
        named = chat_key((Message(role="user", content=words, images=images),))
        return reply_key(model.name, model.revision, named, sampling, repeat)


class Seen(NamedTuple):
    """What is kept in memory of a reply."""

    outcome: Outcome
    tokens: int


_MISSING = Seen("error", 0)


def calls_of(pairs: Iterable[EditPair], arms: Iterable[Arm]) -> list[Call]:
    """Every call, pair by pair, so that a run that is stopped holds whole pairs."""
    wanted = tuple(arms)
    return [
        Call(pair, arm, question)
        for pair in pairs
        for arm in wanted
        for question in range(asked(pair, arm))
    ]


def respond(
    call: Call, completion: Completion, *, key: str, model: LanguageModel, repeat: int
) -> Response:
    """Reads a reply.

    Args:
        key: hash of all that the reply depends on, see `Call.key`.
    """
    options = options_of(call.pair, call.arm, call.question)
    gold = gold_of(call.pair, call.arm, call.question)
    parsed, outcome = None, "error"
    if completion.finish != "error":
        shown = shown_options(call.pair, call.arm, call.question)
        found = extract(completion.text, shown).option
        parsed = None if found is None else options[shown.index(found)]
        outcome = "unparsed" if parsed is None else "correct" if parsed == gold else "wrong"
    return Response(
        key=key,
        pair_id=call.pair.pair_id,
        arm=call.arm,
        repeat=repeat,
        question=call.question,
        model=model.name,
        revision=model.revision,
        text=completion.text,
        parsed=parsed,
        gold=gold,
        outcome=outcome,
        prompt_tokens=completion.usage.prompt_tokens,
        completion_tokens=completion.usage.completion_tokens,
        seconds=completion.usage.seconds,
    )


def seen(run: Run) -> dict[str, Seen]:
    """What the run holds, by the ids of its records.

    Raises:
        BadInput: a line that is no reply.
    """
    found: dict[str, Seen] = {}
    for row in read_rows(run.path, RESPONSE):
        reply = row.read(Response)
        found[row.id] = Seen(reply.outcome, reply.completion_tokens)
    return found


@dataclass(frozen=True)
class Tally:
    """What came of all calls; perception items are counted apart from pairs, as in every score.

    Args:
        arms: arm -> outcome -> how many replies about pairs; items: about perception items.
        families: family -> arm -> outcome -> how many replies about pairs.
        pairs: that were asked; usable: those of which one repeat at least could be read in every
            decisive arm, see `usable.decisive`.
        coverage: share of the pairs, over their repeats, that could; as in every score.
        acc_raw, acc_edited: shares of right answers, means over usable pairs.
        cut: replies that used up their tokens before they came to an answer.
    """

    arms: Mapping[Arm, Counter[Outcome]]
    items: Mapping[Arm, Counter[Outcome]]
    families: Mapping[str, Mapping[Arm, Counter[Outcome]]]
    pairs: int
    usable: int
    coverage: float
    acc_raw: float | None
    acc_edited: float | None
    cut: int

    @property
    def calls(self) -> int:
        """Replies that were asked for."""
        return sum(self.count(outcome) for outcome in OUTCOMES)

    def count(self, outcome: Outcome) -> int:
        """Replies with an outcome, about pairs and about items."""
        both = (*self.arms.values(), *self.items.values())
        return sum(counts[outcome] for counts in both)


def accuracy(counts: Mapping[Outcome, int]) -> float | None:
    """Share of right replies among those that could be read; None where none could."""
    read = counts.get("correct", 0) + counts.get("wrong", 0)
    return counts.get("correct", 0) / read if read else None


def tally(
    calls: Sequence[Call], repeats: int, found: Mapping[str, Seen], *, max_tokens: int = 0
) -> Tally:
    """Counts the replies to these calls; one that is not there is an error.

    Args:
        max_tokens: that a reply may have; 0 where nobody knows.
    """
    arms: dict[Arm, Counter[Outcome]] = {}
    items: dict[Arm, Counter[Outcome]] = {}
    families: dict[str, dict[Arm, Counter[Outcome]]] = {}
    cut = 0
    for call in calls:
        pair = call.pair
        own = arms if pair.kind == "pair" else items
        tables = [own, *([families.setdefault(pair.family, {})] if own is arms else [])]
        for repeat in range(repeats):
            reply = found.get(call.id(repeat), _MISSING)
            for table in tables:
                table.setdefault(call.arm, Counter())[reply.outcome] += 1
            cut += reply.outcome == "unparsed" and 0 < max_tokens <= reply.tokens
    rows = scores([call for call in calls if call.pair.kind == "pair"], repeats, found)
    usable = np.array([row["usable"] or 0.0 for row in rows.values()])
    return Tally(
        arms,
        items,
        families,
        pairs=len(rows),
        usable=int((usable > 0).sum()),
        coverage=coverage(usable),
        acc_raw=_mean(row["acc_raw"] for row in rows.values()),
        acc_edited=_mean(row["acc_edited"] for row in rows.values()),
        cut=cut,
    )


def scores(
    calls: Iterable[Call], repeats: int, found: Mapping[str, Seen]
) -> dict[str, dict[str, float | None]]:
    """Pair -> right on the raw, on the edited, on both pictures, and how many repeats are usable.

    Means over the repeats that could be read with both pictures; None where there is none.
    `planish runs compare` pairs runs by these numbers.
    """
    asked_of: dict[str, list[Call]] = {}
    for call in calls:
        asked_of.setdefault(call.pair.pair_id, []).append(call)
    return {pair_id: _score(own, repeats, found) for pair_id, own in asked_of.items()}


def _score(own: Sequence[Call], repeats: int, found: Mapping[str, Seen]) -> dict[str, float | None]:
    """Of the calls about one pair."""
    needed = decisive(call.arm for call in own)
    usable = np.ones((1, repeats), bool)
    right: dict[Arm, np.ndarray[tuple[int, int], np.dtype[np.bool_]]] = {}
    for call in own:
        if call.arm in needed:
            outcomes = [found.get(call.id(repeat), _MISSING).outcome for repeat in range(repeats)]
            usable &= np.array([outcome in ("correct", "wrong") for outcome in outcomes])
            right[call.arm] = np.array([[outcome == "correct" for outcome in outcomes]])

    def mean(*arms: Arm) -> float | None:
        if not usable.any() or not all(arm in right for arm in arms):
            return None
        return float(over(np.logical_and.reduce([right[arm] for arm in arms]), usable)[0])

    return {
        "acc_raw": mean("raw"),
        "acc_edited": mean("edited"),
        "pair_acc": mean("raw", "edited"),
        "usable": float(usable.mean()),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
