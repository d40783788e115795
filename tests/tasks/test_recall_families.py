"""Every family: as long as asked, what it needs is where it says, and RULER's own properties."""

import hashlib
import random
from collections import Counter
from functools import lru_cache

import pytest

from planish.tasks.recall import EXTRA, FAMILIES, RULER
from planish.tasks.recall.families import SHORTEST, drill
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
)

EVERY = {**FAMILIES, "drill": drill}
COUNTING = ("cwe", "fwe")
DIGEST = "3867a453b667ba8fe53f2fac7c23b8f42ca5231f752516812c7bde4cffccb4bc"
RECORDS = tuple(name for name in EVERY if name not in COUNTING)
LENGTHS = (SHORTEST, 97, 111, 250, 1000, 2048, 4096)


@lru_cache(maxsize=4096)
def drawn(name, length, seed=0):
    return EVERY[name](random.Random(f"{name}/{length}/{seed}"), length)


def some(name, lengths=LENGTHS, seeds=3):
    for length in lengths:
        for seed in range(seeds if length < 2000 else 1):
            yield length, drawn(name, length, seed)


def records_of(words):
    """Start, key and value of each record, read from the words."""
    for start, word in enumerate(words):
        if word == ";":
            key = tuple(map(int, words[start + 1 : start + 3]))
            value = tuple(int(one) for one in words[start + 4 : start + 8] if one != "*")
            yield start, key, value


def table(document):
    return {key: value for _, key, value in records_of(document.context)}


def asked(document):
    """Keys that a question by key asks for."""
    words = document.question[1:-1]
    return [tuple(map(int, words[place + 1 : place + 3])) for place in range(0, len(words), 3)]


def answered(document):
    """Key and value of each record of the answer."""
    found = []
    for place in range(0, len(document.answer), RECORD_WORDS):
        mark, one, two, equals, *value = document.answer[place : place + RECORD_WORDS]
        assert (mark, equals) == (MARKS[place // RECORD_WORDS], "=")
        found.append(((int(one), int(two)), tuple(int(word) for word in value if word != "*")))
    return found


def counted(document):
    return Counter(document.context)


def test_thirteen_families_are_rulers_and_two_our_own():
    assert (len(RULER), len(EXTRA)) == (13, 2)
    assert set(RULER) | set(EXTRA) == set(FAMILIES)


@pytest.mark.parametrize("name", EVERY)
def test_a_document_has_exactly_the_words_asked_for(name):
    for length, document in some(name):
        assert len(document.context) + len(document.question) == length
        assert (document.question[0], document.question[-1]) == ("?", ":")
        assert {*document.context, *document.question, *document.answer} <= set(VOCABULARY)
        assert not {"?", ":"} & {*document.context, *document.answer}


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_needed_stands_once_and_where_it_is_said_to(name):
    for _, document in some(name):
        keys = [key for _, key, _ in records_of(document.context)]
        assert len(set(keys)) == len(keys)
        answer = answered(document)
        assert len(document.needs) == len(document.references) == len(answer)
        assert len(set(document.needs)) == len(document.needs)
        known = table(document)
        for number, (start, reference) in enumerate(
            zip(document.needs, document.references, strict=True)
        ):
            told = document.answer[number * RECORD_WORDS :][:RECORD_WORDS]
            assert document.context[start : start + RECORD_WORDS] == [";", *told[1:]]
            key, value = answer[number]
            assert known[key] == value
            assert reference == " ".join(map(str, value))


@pytest.mark.parametrize("name", RECORDS)
def test_between_the_records_there_is_only_filler(name):
    for _, document in some(name, (SHORTEST, 1000)):
        left = list(document.context)
        for start, (entity, attribute), value in reversed(list(records_of(document.context))):
            assert entity in ENTITIES
            assert attribute in ATTRIBUTES
            assert set(value) <= set(VALUES) or value in table(document)
            del left[start : start + RECORD_WORDS]
        assert set(map(int, left)) <= set(FILLER)


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_not_aligned_with_chunks(name):
    documents = [drawn(name, 400, seed) for seed in range(160)]
    starts = [start for document in documents for start, _, _ in records_of(document.context)]
    needed = [start for document in documents for start in document.needs]
    for places in (starts, needed):
        for chunk in (8, 16):
            counts = Counter(start % chunk for start in places)
            assert len(counts) == chunk
            assert max(counts.values()) < 3 * len(places) / chunk, counts


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_needed_may_be_anywhere(name):
    places = [start / 400 for seed in range(160) for start in drawn(name, 400, seed).needs]
    fifths = Counter(min(4, int(5 * place)) for place in places)
    assert min(fifths[fifth] for fifth in range(5)) > len(places) / 15, fifths


@pytest.mark.parametrize("name", ["niah_single_1", "niah_single_2", "niah_single_3"])
def test_a_single_needle_is_alone(name):
    for _, document in some(name):
        assert list(table(document)) == asked(document) == [key for key, _ in answered(document)]
        words = set(document.answer[4:])
        if name == "niah_single_3":
            assert words <= set(map(str, VALUES[:16]))
    assert (len({*drawn(name, 2048).context} & {*map(str, FILLER)}) == 8) == (name[-1] == "1")


@pytest.mark.parametrize(
    ("name", "in_context", "in_question"), [("niah_multikey_1", 4, 1), ("niah_multiquery", 8, 4)]
)
def test_several_needles_of_which_some_are_asked_in_order(name, in_context, in_question):
    for _, document in some(name):
        assert len(table(document)) == in_context
        assert len(asked(document)) == in_question
        assert asked(document) == [key for key, _ in answered(document)]
    orders = {
        tuple(sorted(range(in_question), key=drawn(name, 250, seed).needs.__getitem__))
        for seed in range(60)
    }
    assert len(orders) > in_question // 2  # the order asked is not that of the context


@pytest.mark.parametrize("name", ["niah_multikey_2", "niah_multikey_3", "qa_2"])
def test_haystacks_of_needles_hold_little_else(name):
    for length, document in some(name):
        words = RECORD_WORDS * len(table(document))
        assert 0.8 <= words / length < 0.99


def test_the_hardest_needles_have_near_duplicates():
    for length, document in some("niah_multikey_3", (1000, 2048, 4096)):
        known = table(document)
        assert len({entity for entity, _ in known}) <= 16
        assert {word for value in known.values() for word in value} <= set(VALUES[:16])
        [(entity, attribute)] = asked(document)
        others = [key for key in known if key != (entity, attribute)]
        of_the_entity = sum(one == entity for one, _ in others)
        assert of_the_entity >= 3, length
        easier = drawn("niah_multikey_2", length)
        [(entity, _)] = asked(easier)
        assert sum(one == entity for one, _ in table(easier)) - 1 < of_the_entity
    shared = [
        any(other == attribute and one != entity for one, other in table(document))
        for document in (drawn("niah_multikey_3", 2048, seed) for seed in range(20))
        for entity, attribute in asked(document)
    ]
    assert sum(shared) > 10


def test_many_values_of_one_entity_are_all_asked_in_their_order():
    for name, sign, most in (("niah_multivalue", "*", 4), ("list_many", "+", 12)):
        for length, document in some(name):
            _, entity, told, _ = document.question
            assert told == sign
            number = min(most, (length - 4) // RECORD_WORDS)
            keys = [(int(entity), attribute) for attribute in LISTED[:number]]
            assert [key for key, _ in answered(document)] == keys
            assert {key for key in table(document) if key[0] == int(entity)} == set(keys)
            if length > 200:
                assert len(table(document)) > len(keys)  # others that are not asked for
    assert len(drawn("list_many", 2048).answer) > 64  # longer than a window


@pytest.mark.parametrize(("name", "links"), [("vt", 5), ("qa_2", 2)])
def test_chains_are_followed_from_the_question_to_a_value(name, links):
    for _, document in some(name):
        known = table(document)
        [key] = asked(document)
        followed = []
        while True:
            followed.append((key, known[key]))
            if len(known[key]) == 4:
                break
            key = known[key]
        assert len(followed) == links
        assert answered(document) == followed
        if name == "vt":
            assert len(known) == links
            # Each points to one that stands before it.
            assert list(document.needs) == sorted(document.needs, reverse=True)


def test_a_question_about_an_entity_that_has_six_records():
    for length, document in some("qa_1"):
        [(entity, _)] = asked(document)
        per_entity = Counter(one for one, _ in table(document))
        assert per_entity[entity] >= 6
        assert set(per_entity.values()) == {6}, length
        assert len(per_entity) == (length - 5) // 52


def test_the_topic_switches_to_the_entity_that_the_fourth_record_points_to():
    for _, document in some("topic_switch"):
        one = int(document.question[1])
        answer = answered(document)
        two = answer[3][1][0]
        assert two != one
        keys = [(entity, attribute) for entity in (one, two) for attribute in LISTED[:4]]
        assert [key for key, _ in answer] == keys
        assert answer[3][1] == keys[4]
        assert [len(value) for _, value in answer] == [4, 4, 4, 2, 4, 4, 4, 4]
    # The question does not tell the second topic, and both lie within a window of 64 words.
    assert len(answer) * RECORD_WORDS <= 64


def test_common_words_are_each_more_frequent_than_any_other():
    for length, document in some("cwe"):
        counts = counted(document)
        common = {counts.pop(word) for word in document.answer[1:]}
        [each] = common
        assert each > max(counts.values())
        if length >= 1000:  # RULER: thirty of a common word to three of a rare one
            assert 6 <= each / max(counts.values()) <= 14
        assert set(map(int, counts)) <= set(WORDS)
        assert len(document.references) == 4


def test_frequent_words_are_ranked_strictly():
    for length, document in some("fwe"):
        ranking = counted(document).most_common()
        frequencies = [count for _, count in ranking[:4]]
        assert frequencies == sorted(set(frequencies), reverse=True)
        told = [word for word, _ in ranking[:3]]
        assert document.answer == [MARKS[0], *told]
        assert list(document.references) == told
        if length >= 1000:  # a Zipf law of exponent 1.5
            assert 2.4 < frequencies[0] / frequencies[1] < 3.6
            assert 1.6 < frequencies[1] / frequencies[2] < 2.1


def test_common_words_hang_on_the_whole_context():
    for name in COUNTING:
        assert all(document.needs == (-1,) for _, document in some(name, (SHORTEST, 1000)))


def test_drills_ask_for_several_records():
    numbers = Counter()
    for seed in range(60):
        document = drawn("drill", 400, seed)
        assert asked(document) == [key for key, _ in answered(document)]
        numbers[len(asked(document))] += 1
    assert set(numbers) <= set(range(1, 13))
    assert len(numbers) > 8


@pytest.mark.parametrize("name", EVERY)
def test_seeds_tell_documents_apart(name):
    assert len({" ".join(drawn(name, 250, seed).context) for seed in range(20)}) == 20


def test_documents_that_run_out_of_keys_are_as_long_all_the_same():
    """There is room for more records than few entities have keys."""
    for name in ("niah_multikey_3", "qa_1"):
        document = drawn(name, 16_384)
        assert len(document.context) + len(document.question) == 16_384
        keys = [key for _, key, _ in records_of(document.context)]
        assert len(set(keys)) == len(keys)


def test_documents_are_those_that_the_shipped_reader_was_trained_on():
    """Should this ever change, the reader and its indexer have to be trained anew."""
    digest = hashlib.sha256()
    for name in sorted(EVERY):
        for length in (SHORTEST, 1000):
            document = EVERY[name](random.Random(f"{name}/0"), length)
            digest.update(" ".join(document.context + document.question + document.answer).encode())
    assert digest.hexdigest() == DIGEST
