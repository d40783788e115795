"""The thirteen families of RULER over whole numbers, and two of our own.

    >>> document = FAMILIES["niah_single_2"](random.Random(0), 128)
    >>> len(document.context) + len(document.question)
    128

RULER (arXiv 2404.06654) hides needles, chains, frequent words and documents in text; here all of
it is numbers, so that a model of a million weights can be taught to do it. What is kept is what
must be recalled from where:

| family | context | asked |
|---|---|---|
| `niah_single_1`, `_2`, `_3` | one record in a repeated line, in random filler, with a value of 16 letters only | that record |
| `niah_multikey_1` | four records in filler | one of them |
| `niah_multikey_2` | nothing but records | one of them |
| `niah_multikey_3` | nothing but records of few entities, values of 16 letters | one of them |
| `niah_multivalue` | four records of one entity in filler, four others | all of the entity |
| `niah_multiquery` | eight records in filler | four, in the order asked |
| `vt` | a chain of five records, each pointing to the one before, in filler | the last, and on to the value |
| `cwe`, `fwe` | words | the four common ones among rare ones; the three most frequent of a Zipf law |
| `qa_1` | entities with six records each | one record |
| `qa_2` | nothing but records | one that points to another, and that one |
| `list_many` | twelve records of one entity among others | all twelve: longer than a window |
| `topic_switch` | four records of an entity, the last pointing to another entity | four, and four of the other |
"""  # noqa: E501 - a table row

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from planish.tasks.recall.grammar import (
    ATTRIBUTES,
    ENTITIES,
    FILLER,
    LISTED,
    MARKS,
    RECORD_WORDS,
    VALUES,
    WORDS,
    Document,
    Key,
    Record,
    scatter,
)

__all__ = ["EXTRA", "FAMILIES", "RULER", "SHORTEST", "TRAINING", "drill"]

SHORTEST = 96
"""Words of the shortest document that holds every family."""

_LETTERS = VALUES[:16]
_REPEATED = FILLER[:8]
_ASKED = ATTRIBUTES[16:]
_FEW = 16
_COMMON, _FREQUENT = 4, 3

Family = Callable[[random.Random, int], Document]


def _values(draw: random.Random, of: Sequence[int] = VALUES) -> tuple[int, ...]:
    return tuple(draw.choice(of) for _ in range(4))


def _keys(
    draw: random.Random, number: int, *, entities: Sequence[int] = ENTITIES, taken: set[Key]
) -> list[Key]:
    """Different keys, none of them `taken`; they are taken from here on."""
    found: list[Key] = []
    while len(found) < number:
        key = draw.choice(entities), draw.choice(_ASKED)
        if key not in taken:
            taken.add(key)
            found.append(key)
    return found


def _noise(draw: random.Random, number: int) -> list[str]:
    return [str(draw.choice(FILLER)) for _ in range(number)]


def _asking(keys: Sequence[Key]) -> list[str]:
    marked = [
        word for mark, key in zip(MARKS, keys, strict=False) for word in (mark, *map(str, key))
    ]
    return ["?", *marked, ":"]


def _document(
    records: Sequence[Record], filler: Sequence[str], question: list[str],
    answer: Sequence[Record], draw: random.Random,
) -> Document:  # fmt: skip
    context, places = scatter(records, filler, draw)
    return Document(
        context=context,
        question=question,
        answer=[
            word for mark, record in zip(MARKS, answer, strict=False) for word in record.words(mark)
        ],
        references=tuple(" ".join(map(str, record.value)) for record in answer),
        needs=tuple(places[record.key] for record in answer),
    )


def _among_filler(
    draw: random.Random, length: int, records: list[Record], question: list[str],
    answer: Sequence[Record], *, repeated: bool = False,
) -> Document:  # fmt: skip
    """Records in filler, as many words as are left."""
    number = length - len(question) - RECORD_WORDS * len(records)
    line = list(map(str, _REPEATED))
    filler = (line * (number // 8 + 1))[:number] if repeated else _noise(draw, number)
    return _document(records, filler, question, answer, draw)


def _among_records(
    draw: random.Random, length: int, records: list[Record], question: list[str],
    answer: Sequence[Record], *, entities: Sequence[int] = ENTITIES,
    values: Sequence[int] = VALUES,
) -> Document:  # fmt: skip
    """Records among others like them; about one word in ten is filler, so that nothing is aligned."""  # noqa: E501
    room = length - len(question)
    number = max(len(records), int(room / (RECORD_WORDS + 0.8)))
    number = min(number, room // RECORD_WORDS, len(records) + len(entities) * len(_ASKED) // 2)
    taken = {record.key for record in records}
    others = [
        Record(key, _values(draw, values))
        for key in _keys(draw, number - len(records), entities=entities, taken=taken)
    ]
    everything = [*records, *others]
    draw.shuffle(everything)
    filler = _noise(draw, room - RECORD_WORDS * number)
    return _document(everything, filler, question, answer, draw)


def _records(draw: random.Random, number: int, values: Sequence[int] = VALUES) -> list[Record]:
    return [Record(key, _values(draw, values)) for key in _keys(draw, number, taken=set())]


def _needle(values: Sequence[int], number: int, *, repeated: bool = False) -> Family:
    def build(draw: random.Random, length: int) -> Document:
        records = _records(draw, number, values)
        asked = [draw.choice(records)]
        question = _asking([asked[0].key])
        return _among_filler(draw, length, records, question, asked, repeated=repeated)

    return build


def _multikey(entities: int, values: Sequence[int]) -> Family:
    def build(draw: random.Random, length: int) -> Document:
        few = draw.sample(ENTITIES, entities)
        # A long context has more records than few entities can carry under different keys.
        needed = -(-length // RECORD_WORDS * 2 // len(_ASKED))
        pool = few if len(few) >= needed else draw.sample(ENTITIES, min(needed, len(ENTITIES)))
        [key] = _keys(draw, 1, entities=pool, taken=set())
        asked = [Record(key, _values(draw, values))]
        return _among_records(
            draw, length, asked, _asking([key]), asked, entities=pool, values=values
        )

    return build


def _listed(draw: random.Random, entity: int, number: int) -> list[Record]:
    return [Record((entity, attribute), _values(draw)) for attribute in LISTED[:number]]


def _multivalue(draw: random.Random, length: int) -> Document:
    one, other = draw.sample(ENTITIES, 2)
    asked = _listed(draw, one, 4)
    records = [*asked, *_listed(draw, other, 4)][: max(4, (length - 4) // RECORD_WORDS)]
    draw.shuffle(records)
    return _among_filler(draw, length, records, ["?", str(one), "*", ":"], asked)


def _multiquery(draw: random.Random, length: int) -> Document:
    records = _records(draw, 8 if length >= SHORTEST else 4)
    asked = draw.sample(records, 4)
    return _among_filler(draw, length, records, _asking([one.key for one in asked]), asked)


def _chain(draw: random.Random, number: int) -> list[Record]:
    """The record with a value first; each later one points to the one before."""
    keys = _keys(draw, number, taken=set())
    return [
        Record(key, _values(draw) if place == 0 else keys[place - 1])
        for place, key in enumerate(keys)
    ]


def _vt(draw: random.Random, length: int) -> Document:
    chain = _chain(draw, 5)
    return _among_filler(draw, length, chain, _asking([chain[-1].key]), chain[::-1])


def _qa_2(draw: random.Random, length: int) -> Document:
    chain = _chain(draw, 2)
    return _among_records(draw, length, chain, _asking([chain[-1].key]), chain[::-1])


def _qa_1(draw: random.Random, length: int) -> Document:
    question_words = len(_asking([(0, 0)]))
    number = max(1, int((length - question_words) / (6 * RECORD_WORDS + 4)))
    records = [
        Record((entity, attribute), _values(draw))
        for entity in _several(draw, ENTITIES, number)
        for attribute in draw.sample(_ASKED, 6)
    ]
    unique = list({record.key: record for record in records}.values())
    asked = [draw.choice(unique)]
    return _among_filler(draw, length, unique, _asking([asked[0].key]), asked)


def _several(draw: random.Random, of: Sequence[int], number: int) -> list[int]:
    """A sample, with repetitions once all have been taken."""
    found: list[int] = []
    while len(found) < number:
        found += draw.sample(of, min(len(of), number - len(found)))
    return found


def _list_many(draw: random.Random, length: int) -> Document:
    one, *others = draw.sample(ENTITIES, 4)
    number = min(12, (length - 4) // RECORD_WORDS)
    asked = _listed(draw, one, number)
    room = (length - 4) // RECORD_WORDS - number
    rest = [record for other in others for record in _listed(draw, other, 12)][: max(0, room // 2)]
    records = [*asked, *rest]
    draw.shuffle(records)
    return _among_filler(draw, length, records, ["?", str(one), "+", ":"], asked)


def _topic_switch(draw: random.Random, length: int) -> Document:
    one, two, third = draw.sample(ENTITIES, 3)
    second = _listed(draw, two, 4)
    first = _listed(draw, one, 3)
    first.append(Record((one, LISTED[3]), second[0].key))
    records = [*first, *second]
    room = (length - 4) // RECORD_WORDS - len(records)
    records += _listed(draw, third, 4)[: max(0, room)]
    draw.shuffle(records)
    return _among_filler(draw, length, records, ["?", str(one), "*", ":"], [*first, *second])


def _cwe(draw: random.Random, length: int) -> Document:
    words = draw.sample(WORDS, len(WORDS))
    common = words[:_COMMON]
    room = length - 3
    each = max(2, int(room * 0.1))  # RULER's thirty of a common word to three of a rare one
    context = [word for word in common for _ in range(each)]
    context += _several(draw, words[_COMMON:], room - len(context))
    draw.shuffle(context)
    order = draw.sample(common, _COMMON)
    return Document(
        context=list(map(str, context)),
        question=["?", "%", ":"],
        answer=[MARKS[0], *map(str, order)],
        references=tuple(map(str, order)),
        needs=(-1,),
    )


def _fwe(draw: random.Random, length: int) -> Document:
    words = draw.sample(WORDS, len(WORDS))
    room = length - 3
    shares = [1.0 / (rank + 1) ** 1.5 for rank in range(len(words))]
    whole = sum(shares)
    counts = [int(room * share / whole) for share in shares]
    counts[0] += room - sum(counts)
    context = [word for word, count in zip(words, counts, strict=True) for _ in range(count)]
    draw.shuffle(context)
    most = words[:_FREQUENT]
    return Document(
        context=list(map(str, context)),
        question=["?", "&", ":"],
        answer=[MARKS[0], *map(str, most)],
        references=tuple(map(str, most)),
        needs=(-1,),
    )


RULER: dict[str, Family] = {
    "niah_single_1": _needle(VALUES, 1, repeated=True),
    "niah_single_2": _needle(VALUES, 1),
    "niah_single_3": _needle(_LETTERS, 1),
    "niah_multikey_1": _needle(VALUES, 4),
    "niah_multikey_2": _multikey(len(ENTITIES), VALUES),
    "niah_multikey_3": _multikey(_FEW, _LETTERS),
    "niah_multivalue": _multivalue,
    "niah_multiquery": _multiquery,
    "vt": _vt,
    "cwe": _cwe,
    "fwe": _fwe,
    "qa_1": _qa_1,
    "qa_2": _qa_2,
}

EXTRA: dict[str, Family] = {"list_many": _list_many, "topic_switch": _topic_switch}

FAMILIES: dict[str, Family] = RULER | EXTRA


def drill(draw: random.Random, length: int, most: int = 12) -> Document:
    """Several records of a document at once, by key; for training, where one a document is few.

    Args:
        most: records asked for at once.
    """
    number = max(1, min(most, (length - 3) // (RECORD_WORDS + 4)))
    number = draw.randint(1, number)
    letters = draw.random() < 0.25
    pool = draw.sample(ENTITIES, _FEW) if letters and length <= 8192 else list(ENTITIES)
    values = _LETTERS if letters else VALUES
    keys = _keys(draw, number, entities=pool, taken=set())
    records = [Record(key, _values(draw, values)) for key in keys]
    question = _asking(keys)
    if draw.random() < 0.7:
        return _among_records(
            draw, length, records, question, records, entities=pool, values=values
        )
    shuffled = draw.sample(records, number)
    return _among_filler(draw, length, shuffled, question, records)


def study(draw: random.Random, length: int) -> Document:
    """All records of an entity, or a chain of three or four, among nothing but records; for
    training: no family asks so."""
    if draw.random() < 0.5:
        chain = _chain(draw, draw.choice((3, 4)))
        return _among_records(draw, length, chain, _asking([chain[-1].key]), chain[::-1])
    mark, number = draw.choice((("*", 4), ("+", 12)))
    entity = draw.choice(ENTITIES)
    asked = _listed(draw, entity, min(number, (length - 4) // RECORD_WORDS))
    return _among_records(draw, length, asked, ["?", str(entity), mark, ":"], asked)


TRAINING: dict[str, Family] = {
    "drill": drill,
    "lookup": partial(drill, most=3),
    "study": study,
}
"""For training only: what is learned from these is evaluated on the families."""
