"""Calls, the replies to them, and what they add up to.

    todo = Calls(chosen(bench.pairs, 100), ("raw", "edited"))
    response = respond(next(iter(todo)), completion, key=key, model=model, repeat=0)
    counted = tally(todo, 1, found)             found: what came, such as a `Ledger`

A reply is read the moment it came. One that came and could not be read is "unparsed" and stays;
one that never came is an "error", which a later visit asks for again. Of several records with one
id the last counts.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

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

__all__ = [
    "RESPONSE",
    "Call",
    "Calls",
    "Found",
    "Seen",
    "Tally",
    "calls_of",
    "respond",
    "scores",
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

    @property
    def name(self) -> str:
        """Of the call, in its bench."""
        return f"{self.pair.pair_id}/{self.arm}/{self.question}"

    def id(self, repeat: int) -> str:
        """Of the record that holds a reply to it."""
        return f"{self.name}/{repeat}"

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
    """What is kept in memory of a reply: what came of it, and whether it used up its tokens."""

    outcome: Outcome
    cut: bool = False


class Found(Protocol):
    """What came so far, by the ids of the records; a dict is one."""

    def get(self, id: str, /) -> Seen | None:
        """None where nothing came."""
        ...


_MISSING = Seen("error")


@dataclass(frozen=True)
class Calls:
    """Every call, pair by pair, so that a run that is stopped holds whole pairs.

    They are made anew whenever one goes through them: of a large bench no more than a pair is in
    memory.
    """

    pairs: Iterable[EditPair]
    arms: tuple[Arm, ...]

    def __iter__(self) -> Iterator[Call]:
        for pair in self.pairs:
            for arm in self.arms:
                for question in range(asked(pair, arm)):
                    yield Call(pair, arm, question)


def calls_of(pairs: Iterable[EditPair], arms: Iterable[Arm]) -> list[Call]:
    """The same all at once, for a few pairs."""
    return list(Calls(pairs, tuple(arms)))


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


def tally(calls: Iterable[Call], repeats: int, found: Found) -> Tally:
    """Counts the replies to these calls, which come pair by pair; one not there is an error."""
    arms: dict[Arm, Counter[Outcome]] = {}
    items: dict[Arm, Counter[Outcome]] = {}
    families: dict[str, dict[Arm, Counter[Outcome]]] = {}
    numbers = {name: array("d") for name in ("acc_raw", "acc_edited", "usable")}
    cut = 0
    for pair, own in _by_pair(calls):
        tables = [items]
        if pair.kind == "pair":
            tables = [arms, families.setdefault(pair.family, {})]
            score = _score(own, repeats, found)
            for name, values in numbers.items():
                values.extend(value for value in (score[name],) if value is not None)
        for call in own:
            for repeat in range(repeats):
                reply = found.get(call.id(repeat)) or _MISSING
                for table in tables:
                    table.setdefault(call.arm, Counter())[reply.outcome] += 1
                cut += reply.outcome == "unparsed" and reply.cut
    usable = np.array(numbers["usable"])
    return Tally(
        arms,
        items,
        families,
        pairs=len(usable),
        usable=int((usable > 0).sum()),
        coverage=coverage(usable),
        acc_raw=_mean(numbers["acc_raw"]),
        acc_edited=_mean(numbers["acc_edited"]),
        cut=cut,
    )


def scores(
    calls: Iterable[Call], repeats: int, found: Found
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Pair, and right on the raw, on the edited, on both pictures, and how many repeats are usable.

    Means over the repeats that could be read with both pictures; None where there is none.
    `planish runs compare` pairs runs by these numbers. Perception items have none.
    """
    for pair, own in _by_pair(calls):
        if pair.kind == "pair":
            yield pair.pair_id, _score(own, repeats, found)


def _by_pair(calls: Iterable[Call]) -> Iterator[tuple[EditPair, list[Call]]]:
    for _, group in groupby(calls, lambda call: call.pair.pair_id):
        own = list(group)
        yield own[0].pair, own


def _score(own: Sequence[Call], repeats: int, found: Found) -> dict[str, float | None]:
    """Of the calls about one pair."""
    needed = decisive(call.arm for call in own)
    usable = np.ones((1, repeats), bool)
    right: dict[Arm, np.ndarray[tuple[int, int], np.dtype[np.bool_]]] = {}
    for call in own:
        if call.arm in needed:
            came = (found.get(call.id(repeat)) or _MISSING for repeat in range(repeats))
            outcomes = [reply.outcome for reply in came]
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


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
