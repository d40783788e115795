"""Long contexts in whole numbers, and questions whose answers lie somewhere in them.

    >>> task = RecallTask("niah_multikey_2", 128)
    >>> [example] = task.examples("report", 1)
    >>> task.verify(example, task.gold(example)).score
    1.0

The score is RULER's (arXiv 2404.06654): the share of the references that the reply holds.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from planish.records import BadInput, Example, Message, Verdict
from planish.tasks.base import check_draw, split_of
from planish.tasks.recall.families import EXTRA, FAMILIES, RULER, SHORTEST, TRAINING
from planish.tasks.recall.grammar import ATTRIBUTES, MARKS, RECORD_WORDS, VALUES, WORDS, Document

__all__ = ["ALL", "RecallTask", "recall_task"]

ALL = {"ruler": tuple(RULER), "all": tuple(FAMILIES), "extra": tuple(EXTRA)}
"""Names that stand for several families."""

_KNOWN = FAMILIES | TRAINING
_LONGEST = 1 << 20
_NUMBER = re.compile(r"[0-9]+")
_LISTS = ("*", "+")
_WORDS = re.compile(r"[^\W_]+")  # what stands between numbers is as the model likes it
_EXPLAINED = (
    "The text is a list of whole numbers. A record reads `; ENTITY ATTRIBUTE = VALUE`, where the "
    "value is four numbers; a value of the form `ENTITY ATTRIBUTE * *` points to another record. "
    "Other numbers mean nothing. The question stands between `?` and `:` at the end. "
    "`#0 ENTITY ATTRIBUTE #1 ENTITY ATTRIBUTE ...` asks for these records in this order; "
    "`ENTITY *` for the records of this entity with the attributes "
    f"{ATTRIBUTES[0]} to {ATTRIBUTES[3]}; "
    f"`ENTITY +` for those with the attributes {ATTRIBUTES[0]} to {ATTRIBUTES[11]}. Where a record "
    "points to another one, that follows it; where one of a list does, the list goes on with the "
    "entity it points to. Answer with the records, each as `#NUMBER ENTITY ATTRIBUTE = VALUE`, "
    "numbered from 0, and nothing else. `%` asks for the four numbers that are common among rare "
    "ones, `&` for the three most frequent, the most frequent first; answer these with `#0` and "
    "the numbers."
)


@dataclass(frozen=True)
class RecallTask:
    """Documents of one family, or of several in turns.

    60 % of what can be drawn is in "train", 20 % in "gate", 20 % in "report", told from the text.

    Args:
        family: one of `FAMILIES`, several joined by `+`, or `ruler` (thirteen), `extra`, `all`; or
            `drill` and `lookup`, up to twelve and three records asked for by key, for training.
        length: words of context and question together.

    Raises:
        BadInput: no such family, or a length out of bounds.
    """

    family: str = "ruler"
    length: int = 2048

    def __post_init__(self) -> None:
        for name in self.families:
            if name not in _KNOWN:
                raise BadInput(
                    f"no family is called {name[:60]!r}",
                    where="recall",
                    fix=f"use {', '.join((*_KNOWN, *ALL))}, or several joined by +",
                )
        if not SHORTEST <= self.length <= _LONGEST:
            raise BadInput(
                f"{self.length} words", where="recall", fix=f"give {SHORTEST} to {_LONGEST}"
            )

    @property
    def families(self) -> tuple[str, ...]:
        """Those that examples are drawn from, in turns."""
        names = (name for part in self.family.split("+") for name in ALL.get(part, (part,)))
        return tuple(dict.fromkeys(names))  # named twice, a family would give each document twice

    @property
    def name(self) -> str:
        """For instance `recall:vt:2048`."""
        return f"recall:{self.family}:{self.length}"

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` documents, of each family in turns; a smaller limit draws a prefix.

        `meta["needs"]` tells, for each record of the answer, [first word of the record in the
        answer, first word in the context, words]; a record at -1 hangs on all of the context. Then
        come the words of the question that a record's first words hang on, in the same way: which
        key is next, or how many records there are.
        """
        check_draw(split, limit, where=self.name)
        families = self.families
        return (
            self._example(families[number % len(families)], split, seed, number // len(families))
            for number in range(limit)
        )

    def _example(self, family: str, split: str, seed: int, number: int) -> Example:
        identity = f"recall:{family}:{self.length}/{split}/{seed}/{number}"
        draw = random.Random(identity)
        while True:
            document = _KNOWN[family](draw, self.length)
            text = " ".join(document.context + document.question)
            if split_of(text) == split:
                break
        prompt = (Message(role="system", content=_EXPLAINED), Message(role="user", content=text))
        return Example(
            id=identity,
            prompt=prompt,
            target=" ".join(document.answer),
            meta={
                "family": family,
                "length": self.length,
                "references": [*document.references],
                "needs": _needs(document),
            },
        )

    def verify(self, example: Example, reply: str) -> Verdict:
        """The share of the references that are in the reply as consecutive words.

        A reply without any number has none of them: it was read, and it is wrong.
        """
        words = _WORDS.findall(reply)
        if not any(_NUMBER.fullmatch(word) for word in words):
            return Verdict(score=0.0, why="no number in the reply", by=self.name)
        said = f" {' '.join(words)} "
        references = _references(example)
        missing = [one for one in references if f" {one} " not in said]
        why = f"{missing[0]!r} is not in the reply" if missing else ""
        return Verdict(
            score=1.0 - len(missing) / len(references),
            extracted=said.strip()[-2000:],
            why=why,
            by=self.name,
        )

    def gold(self, example: Example) -> str:
        """The best reply."""
        return str(example.target)

    def wrong(self, example: Example) -> str:
        """One reference has one other number."""
        draw = random.Random(f"{example.id}/wrong")
        words = self.gold(example).split()
        reference = draw.choice(_references(example)).split()
        starts = [
            place
            for place in range(len(words))
            if words[place : place + len(reference)] == reference
        ]
        place = starts[0] + draw.randrange(len(reference))
        of = VALUES if int(words[place]) < WORDS.start else WORDS
        words[place] = str(draw.choice([one for one in of if str(one) not in words]))
        if len(starts) > 1:  # the same words stand elsewhere too, and would be found there
            return words[0]
        return " ".join(words)


def _references(example: Example) -> list[str]:
    return cast(list[str], example.meta["references"])


def _needs(document: Document) -> list[JsonValue]:
    if document.needs == (-1,):
        return [[0, -1, len(document.context)]]
    records: list[JsonValue] = [
        [number * RECORD_WORDS, place, RECORD_WORDS] for number, place in enumerate(document.needs)
    ]
    return records + _asked(document)


def _asked(document: Document) -> list[JsonValue]:
    """Of the question, which is as easily lost as the rest once an answer is long."""
    question, behind = document.question, len(document.context)
    listed = question[2] in _LISTS
    found: list[JsonValue] = []
    for number in range(len(document.needs)):
        first = number * RECORD_WORDS
        if listed:  # another record of the entity, or the end
            found.append([first, behind + 1, 2])
        elif MARKS[number] in question:  # its mark and its key
            found.append([first, behind + question.index(MARKS[number]), 3])
    return found


def recall_task(spec: str, rest: str) -> RecallTask:
    """The task of a string such as `recall:vt:4096`.

    Raises:
        BadInput: it cannot be read.
    """
    family, colon, length = rest.partition(":")
    well = length.isascii() and length.isdigit() and len(length) <= 7 if colon else True
    if spec.endswith(":") or rest.startswith(":") or not well:
        raise BadInput(
            f"cannot read {spec[:60]!r}", where="task", fix="write it like recall:vt:4096"
        )
    task = RecallTask(family) if family else RecallTask()
    return RecallTask(task.family, int(length)) if colon else task
