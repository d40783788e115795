"""Reading an option out of a reply: a table of replies written by hand, and what holds for any."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.vfaith.commitment import asserted, contradicted, qualified, revoked
from planish.methods.vfaith.data import LETTERS
from planish.methods.vfaith.extraction import extract
from planish.methods.vfaith.wording import Menu

TABLE = [
    json.loads(line)
    for line in Path(__file__)
    .with_name("extraction_table.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]
COLOURS = ("red", "yellow", "green", "blue")

# Text that a model could write, marks and traps more often than chance has them.
PIECES = st.sampled_from(
    [
        "\\boxed{", "}", "{", "\\", "A", "B", "(C)", "D.", "answer is", "Answer:", "not",
        "or", "\n",
        "yes", "no", "notice", "3 of 4", "red", "yellow", "答案是", "选", "**", "$", "<think>",
        "</think>", "<answer>", "I", "\\text{", "\\frac{1}{2}", "\ue000", "\ue0000\ue001", "option",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=12), max_size=25).map(" ".join) | st.text(max_size=300)
OPTIONS = st.lists(st.text(max_size=12), min_size=1, max_size=8, unique=True)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["note"])
def test_a_reply_is_read_as_a_person_reads_it(row):
    found = extract(row["reply"], row["options"])
    assert found.option == row["expected"], found


def test_the_table_is_large_and_holds_both_kinds():
    assert len(TABLE) >= 350
    assert len({(row["reply"], tuple(row["options"])) for row in TABLE}) == len(TABLE)
    kinds = Counter(row["expected"] is None for row in TABLE)
    assert min(kinds.values()) >= 60


def test_how_it_was_read_is_told():
    told = {
        "\\boxed{B}": "boxed",
        "The answer is B.": "stated",
        "B": "letter",
        "Yellow": "text",
        "The answer is B. The answer is C.": "conflict",
        "\\boxed{purple}": "off-menu",
        "Hard to tell.": "missing",
    }
    assert {reply: extract(reply, COLOURS).how for reply in told} == told


# {m}, {s}: the letters of what memory expects and of what is seen; {memory}, {seen}: their words.
ONLY_MEMORY = (
    "The answer from memory is {m}. In the picture it is {seen}.",
    "The obvious answer is {memory}. Looking closer, the banana is {seen}.",
    "I'd pick {m} for a real banana. This banana is {seen}.",
    "Normally, the answer is {memory}.",
    "The usual answer is \\boxed{{{m}}}. This banana is {seen}.",
    "\\boxed{{{m}}} in real life. In this image it is {seen}.",
    "凭记忆，答案是{m}。",
)
NAMES_MEMORY = (
    "The usual answer would be {m}, but the answer here is {s}.",
    "The answer is {seen}, although bananas are usually {memory}.",
    "The answer is {s}. Actually, most bananas are {memory}.",
    "\\boxed{{{s}}} Actually most bananas are {memory}, but this is {seen}.",
    "\\boxed{{{s}}}\n\nNormally the answer would be {m}.",
    "Bananas are usually {memory}, but this one is {seen}.\n\\boxed{{{s}}}",
    "\\boxed{{{s}}} 其实一般的答案是{m}。",
)


@given(st.permutations(COLOURS), st.integers(0, 3), st.integers(0, 3))
def test_naming_what_memory_expects_is_never_a_pick_of_it(options, memory, seen):
    if memory == seen:
        return
    words = {
        "m": LETTERS[memory], "s": LETTERS[seen], "memory": options[memory], "seen": options[seen]
    }  # fmt: skip
    for frame in ONLY_MEMORY:
        assert extract(frame.format(**words), options).option is None, frame
    for frame in NAMES_MEMORY:
        assert extract(frame.format(**words), options).option == options[seen], frame


def test_a_mention_takes_back_a_statement_at_most_and_a_second_answer_a_box_too():
    menu = Menu(COLOURS)
    assert contradicted(" This banana is red.", 1, menu)
    assert not contradicted(" Bananas are red.", 1, menu)
    assert not contradicted(" This banana is red.", "off-menu", menu)
    assert not revoked(" This banana is red.", 1, menu)
    assert not revoked(" Actually most bananas are red.", 1, menu)
    assert revoked(" Wait, it is red.", 1, menu)
    assert not revoked(" Wait, it is red.", "conflict", menu)


def test_what_is_denied_or_usual_is_not_asserted():
    menu = Menu(COLOURS)
    assert asserted("It is red, not yellow.", menu) == {0}
    assert asserted("It is red instead of the usual yellow.", menu) == {0}
    assert asserted("It is yellow, in real life. In real life, it is blue.", menu) == set()
    assert asserted("It does not match A, B or D.", menu) == set()
    assert qualified("The usual answer is B.", 10, 21, menu)
    assert not qualified("Bananas are usually yellow, so B.", 31, 32, menu)


@given(TEXTS, OPTIONS)
def test_no_text_breaks_it_and_what_it_finds_is_an_option(text, options):
    found = extract(text, options)
    assert found.option is None or found.option in options
    assert (found.option is None) == (found.how in ("conflict", "off-menu", "missing"))


@given(TEXTS.filter(lambda text: "<" not in text), st.integers(0, 3), st.booleans())
def test_a_box_at_the_end_is_found(before, place, spelt):
    content = f"\\text{{{COLOURS[place]}}}" if spelt else LETTERS[place]
    reply = (
        f"{before}\n\nI looked at the picture, piece by piece, up to the end: \\boxed{{{content}}}"
    )
    assert extract(reply, COLOURS) == (COLOURS[place], "boxed")


@given(st.permutations(COLOURS), st.integers(0, 3))
def test_letters_follow_the_order_of_the_options(options, place):
    assert extract(f"\\boxed{{{LETTERS[place]}}}", options).option == options[place]
    assert extract(f"The answer is {LETTERS[place]}.", options).option == options[place]


@pytest.mark.parametrize("options", [("a.", "A"), ("$5", "5"), ("", " "), ("The cat", "cat")])
def test_options_that_read_alike_go_by_letter_only(options):
    assert extract("\\boxed{B}", options).option == options[1]
    if options[0].strip():
        assert extract(f"It shows: {options[0]}", options).option is None


def test_an_option_may_hold_anything():
    options = ("\\boxed{A}", "B. red", "yes\nno", "}{")
    reply = "A. \\boxed{A}\nB. B. red\nC. yes no\nThe fourth it is.\n\\boxed{D}"
    assert extract(reply, options).option == "}{"


@pytest.mark.parametrize(
    "piece",
    [
        "\\boxed{", "{", "}", "answer is ", "A or ", "<think>", "B. ", "\\text{",
        "The answer is A. ", "\\boxed{A} ", "B is correct. ",
        "usual, ", "In memory, ", "Wait, ", "it is not A, ",
    ],
)  # fmt: skip
def test_the_time_grows_with_the_reply_and_no_faster(piece):
    def seconds(times):
        began = time.process_time()
        extract(piece * times + "Wait. The answer is B.", COLOURS)
        return time.process_time() - began

    short, long = seconds(500), seconds(4_000)
    assert long < 20 * short + 0.2
