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

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import Arm, EditPair, Outcome, Response
from planish.methods.vfaith.extraction import extract
from planish.methods.vfaith.running.prompts import asked, chat, gold_of, options_of, shown_options
from planish.models.base import LanguageModel
from planish.records import Chat, Completion
from planish.runs import Run, read_rows

__all__ = [
    "RESPONSE",
    "Call",
    "Seen",
    "Tally",
    "calls_of",
    "chosen",
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


class Seen(NamedTuple):
    """What is kept in memory of a reply."""

    outcome: Outcome
    tokens: int


def chosen(pairs: Sequence[EditPair], limit: int | None) -> tuple[EditPair, ...]:
    """The first so many pairs of every family and kind, in proportion, in the bench's order.

    The first ones, not any: the rule that draws pairs is balanced over stretches.
    """
    if limit is None or limit >= len(pairs):
        return tuple(pairs)
    sizes = Counter((pair.family, pair.kind) for pair in pairs)
    before: Counter[tuple[str, str]] = Counter()
    shares = []
    for place, pair in enumerate(pairs):
        group = (pair.family, pair.kind)
        shares.append(((before[group] + 0.5) / sizes[group], place))
        before[group] += 1
    return tuple(pairs[place] for place in sorted(place for _, place in sorted(shares)[:limit]))


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
        key: hash of all that the reply depends on, see `models.keys.reply_key`.
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
    """What came of all calls.

    Args:
        arms: arm -> outcome -> how many replies.
        families: family -> arm -> outcome -> how many replies.
        pairs: that were asked; usable: those with a reply that could be read to the raw and to the
            edited picture, in every repeat (or in the arms that were asked).
        cut: replies that used up their tokens before they came to an answer.
    """

    arms: Mapping[Arm, Counter[Outcome]]
    families: Mapping[str, Mapping[Arm, Counter[Outcome]]]
    pairs: int
    usable: int
    cut: int

    @property
    def coverage(self) -> float:
        """Share of usable pairs."""
        return self.usable / self.pairs if self.pairs else 0.0

    @property
    def calls(self) -> int:
        """Replies that were asked for."""
        return sum(counts.total() for counts in self.arms.values())

    def count(self, outcome: Outcome) -> int:
        """Replies with an outcome, in all arms."""
        return sum(counts[outcome] for counts in self.arms.values())

    def accuracy(self, arm: Arm) -> float | None:
        """Share of right replies among those that could be read; None where none could."""
        return accuracy(self.arms.get(arm, Counter()))


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
    missing = Seen("error", 0)
    arms: dict[Arm, Counter[Outcome]] = {}
    families: dict[str, dict[Arm, Counter[Outcome]]] = {}
    decisive: tuple[Arm, ...] = ("raw", "edited")
    if not any(call.arm in decisive for call in calls):
        decisive = tuple(dict.fromkeys(call.arm for call in calls))
    usable: dict[str, bool] = {}
    cut = 0
    for call in calls:
        pair = call.pair
        by_arm = families.setdefault(pair.family, {})
        usable.setdefault(pair.pair_id, True)
        for repeat in range(repeats):
            reply = found.get(call.id(repeat), missing)
            arms.setdefault(call.arm, Counter())[reply.outcome] += 1
            by_arm.setdefault(call.arm, Counter())[reply.outcome] += 1
            lost = reply.outcome in ("unparsed", "error")
            if lost and call.arm in decisive:
                usable[pair.pair_id] = False
            cut += reply.outcome == "unparsed" and 0 < max_tokens <= reply.tokens
    return Tally(arms, families, len(usable), sum(usable.values()), cut)


def scores(
    pairs: Iterable[EditPair], repeats: int, found: Mapping[str, Seen]
) -> dict[str, dict[str, float | None]]:
    """Pair -> right on the raw, on the edited, on both pictures: shares of its repeats.

    None where no repeat could be read; `planish runs compare` pairs runs by them.
    """
    table: dict[str, dict[str, float | None]] = {}
    for pair in pairs:
        raw, edited = (
            [_right(found.get(Call(pair, arm).id(repeat))) for repeat in range(repeats)]
            for arm in ("raw", "edited")
        )
        both = [None if r is None or e is None else r * e for r, e in zip(raw, edited, strict=True)]
        table[pair.pair_id] = {
            "acc_raw": _mean(raw), "acc_edited": _mean(edited), "pair_acc": _mean(both),
        }  # fmt: skip
    return table


def _right(reply: Seen | None) -> float | None:
    if reply is None or reply.outcome in ("unparsed", "error"):
        return None
    return float(reply.outcome == "correct")


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
