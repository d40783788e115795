"""The language of recall tasks: records of eight words among filler, all in whole numbers.

    >>> record = Record((7, 300), (401, 402, 403, 404))
    >>> " ".join(record.words(";"))
    '; 7 300 = 401 402 403 404'
    >>> " ".join(record.words("#0"))
    '#0 7 300 = 401 402 403 404'

Each role has numbers of its own, so that a word's role can be told from the word. A value that is
another record's key, filled up with `*`, points there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = [
    "ATTRIBUTES", "ENTITIES", "FILLER", "LISTED", "MARKS", "RECORD_WORDS", "VALUES", "VOCABULARY",
    "WORDS", "Document", "Key", "Record", "scatter",
]  # fmt: skip

Key = tuple[int, int]

ENTITIES = range(256)
ATTRIBUTES = range(256, 384)
LISTED = ATTRIBUTES[:16]
"""Attributes of entities whose records are asked for as a list, in this order."""
VALUES = range(384, 640)
FILLER = range(640, 768)
WORDS = range(768, 832)
"""Words to be counted."""

RECORD_WORDS = 8

MARKS = tuple(f"#{number}" for number in range(16))
"""Before each record of a question and of an answer."""

VOCABULARY: tuple[str, ...] = (
    *map(str, range(WORDS.stop)), *";=?:*+%&", *MARKS
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """`key` is an entity and an attribute; `value` four words, or a key that it points to."""

    key: Key
    value: tuple[int, ...]

    @property
    def points(self) -> bool:
        """Whether the value is another record's key."""
        return len(self.value) == 2

    def words(self, mark: str) -> list[str]:
        """Eight words; `mark` is `;` in a context and `#0`, `#1`, ... in an answer."""
        fill = ["*"] * (4 - len(self.value))
        return [mark, *map(str, self.key), "=", *map(str, self.value), *fill]


@dataclass(frozen=True)
class Document:
    """A context, what is asked, and the answer.

    Attributes:
        context: its words.
        question: from `?` to `:`.
        answer: the words of the best reply.
        references: what a reply must hold, each as consecutive words.
        needs: for each record of the answer the place of its first word in the context, or -1
            where the answer hangs on all of the context.
    """

    context: list[str]
    question: list[str]
    answer: list[str]
    references: tuple[str, ...]
    needs: tuple[int, ...] = field(default=())


def scatter(
    records: Sequence[Record], filler: Sequence[str], draw: random.Random
) -> tuple[list[str], dict[Key, int]]:
    """Records in their order among filler, all places alike likely.

    Returns:
        The words, and where each record's first word is.
    """
    places = sorted(draw.randint(0, len(filler)) for _ in records)
    words: list[str] = []
    found: dict[Key, int] = {}
    done = 0
    for record, place in zip(records, places, strict=True):
        words += filler[done:place]
        done = place
        found[record.key] = len(words)
        words += record.words(";")
    return words + list(filler[done:]), found
