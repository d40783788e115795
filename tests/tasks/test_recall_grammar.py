"""Each role has numbers of its own, and a record is where it is said to be."""

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.tasks.recall.grammar import (
    ATTRIBUTES,
    ENTITIES,
    FILLER,
    LISTED,
    MARKS,
    RECORD_WORDS,
    VALUES,
    VOCABULARY,
    WORDS,
    Record,
    scatter,
)

keys = st.tuples(st.sampled_from(ENTITIES), st.sampled_from(ATTRIBUTES))
values = st.one_of(st.tuples(*[st.sampled_from(VALUES)] * 4), keys)
fillers = st.lists(st.sampled_from(FILLER).map(str), max_size=20)


@st.composite
def records(draw, most=6):
    return [
        Record(key, draw(values))
        for key in draw(st.lists(keys, min_size=1, max_size=most, unique=True))
    ]


def test_no_word_has_two_roles():
    for one, other in combinations((ENTITIES, ATTRIBUTES, VALUES, FILLER, WORDS), 2):
        assert not set(one) & set(other)
    assert set(LISTED) < set(ATTRIBUTES)
    assert len(set(VOCABULARY)) == len(VOCABULARY)
    numbers = {
        str(number) for role in (ENTITIES, ATTRIBUTES, VALUES, FILLER, WORDS) for number in role
    }
    assert numbers == {word for word in VOCABULARY if word.isdigit()}
    assert set(MARKS) < set(VOCABULARY)
    assert not any(set(word) & set(" \t\n") for word in VOCABULARY)


@settings(max_examples=50)
@given(keys, values, st.sampled_from([";", *MARKS]))
def test_a_record_is_eight_words_from_which_it_can_be_read(key, value, mark):
    record = Record(key, value)
    words = record.words(mark)
    assert len(words) == RECORD_WORDS
    assert set(words) <= set(VOCABULARY)
    assert (words[0], words[3]) == (mark, "=")
    assert tuple(map(int, words[1:3])) == key
    assert tuple(int(word) for word in words[4:] if word != "*") == value
    assert record.points == ("*" in words) == (value[0] in ENTITIES)


@settings(max_examples=50)
@given(records(), fillers, st.integers(0, 2**32))
def test_scattering_keeps_every_word_and_every_order(records, filler, seed):
    words, found = scatter(records, filler, random.Random(seed))
    assert len(words) == len(filler) + RECORD_WORDS * len(records)
    starts = [found[record.key] for record in records]
    assert starts == sorted(starts)
    left = list(words)
    for record, start in reversed(list(zip(records, starts, strict=True))):
        assert words[start : start + RECORD_WORDS] == record.words(";")
        del left[start : start + RECORD_WORDS]
    assert left == filler


@settings(max_examples=20)
@given(records(), fillers, st.integers(0, 2**32))
def test_scattering_is_told_by_the_seed_alone(records, filler, seed):
    one, other = (scatter(records, filler, random.Random(seed)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("number", [1, 3])
def test_all_places_are_alike_likely(number):
    filler = ["640"] * 7
    draw = random.Random(0)
    some = [Record((entity, 300), (400,) * 4) for entity in range(number)]
    counts = [0] * 8
    for _ in range(4000):
        found = scatter(some, filler, draw)[1]
        for place, record in enumerate(some):
            counts[found[record.key] - RECORD_WORDS * place] += 1
    expected = 4000 * number / 8
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts), counts
