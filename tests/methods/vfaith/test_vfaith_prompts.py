"""What models are asked, and how their replies are counted."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planish.methods.vfaith.data import ARMS, LETTERS
from planish.methods.vfaith.running.prompts import (
    INSTRUCTION,
    asked,
    chat,
    gold_of,
    has_arm,
    one_line,
    options_of,
    picture_of,
    prompt,
)
from planish.methods.vfaith.running.records import (
    Call,
    Seen,
    accuracy,
    calls_of,
    respond,
    scores,
    tally,
)
from planish.methods.vfaith.usable import chosen
from planish.models.scripted import ScriptedModel
from planish.models.viewer import read_question
from planish.records import BadInput, Completion
from support.pictures import make_bench

MODEL = ScriptedModel("scripted:none", lambda *_: "")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), 8, perception=4)


def changed(pair, **fields):
    """The pair with other texts, its golds included."""
    options = fields.get("options", pair.options)
    data = pair.model_dump() | fields
    for name in ("raw", "edited", "placebo"):
        picture = getattr(pair, name)
        data[name] = {**data[name], "gold": options[pair.options.index(picture.gold)]}
    return type(pair).model_validate(data)


def test_every_arm_of_a_pair(bench):
    pair = bench.pairs[0]
    assert all(has_arm(pair, arm) for arm in ARMS)
    turns = {arm: chat(pair, arm, bench) for arm in ARMS}
    assert all(len(turn) == 1 and turn[0].role == "user" for turn in turns.values())
    files = {arm: turn[0].images for arm, turn in turns.items()}
    assert files == {
        "raw": (str(bench.path(pair.raw)),),
        "edited": (str(bench.path(pair.edited)),),
        "placebo": (str(bench.path(pair.placebo)),),
        "text": (),
        "perception_raw": (str(bench.path(pair.raw)),),
        "perception_edited": (str(bench.path(pair.edited)),),
    }
    assert {arm: gold_of(pair, arm) for arm in ARMS} == {
        "raw": pair.raw.gold,
        "edited": pair.edited.gold,
        "placebo": pair.raw.gold,
        "text": pair.edited.gold,
        "perception_raw": "no",
        "perception_edited": "yes",
    }
    # The same words with every picture: nothing but the picture tells the arms apart.
    assert len({turns[arm][0].content for arm in ("raw", "edited", "placebo", "text")}) == 1
    first, *options, last = turns["raw"][0].content.split("\n")
    assert first == pair.question
    assert options == [f"{LETTERS[i]}. {option}" for i, option in enumerate(pair.options)]
    assert last == INSTRUCTION
    assert "\\boxed{LETTER}" in last


def test_a_perception_item_is_asked_with_two_pictures_and_none(bench):
    item = next(pair for pair in bench.pairs if pair.kind == "perception")
    assert [arm for arm in ARMS if asked(item, arm)] == ["raw", "edited", "text"]
    assert options_of(item, "raw") == item.options
    with pytest.raises(BadInput, match="cannot be asked"):
        picture_of(item, "placebo")
    with pytest.raises(BadInput, match="no perception question 0"):
        prompt(item, "perception_raw")


def test_the_order_of_yes_and_no_hangs_on_the_seed(bench):
    pair = bench.pairs[0]
    twice = changed(pair, perception=[each.model_dump() for each in pair.perception * 2])
    for seed in (0, 1, 2, 3):
        other = changed(twice, shuffle_seed=seed)
        orders = [options_of(other, "perception_raw", question) for question in (0, 1)]
        assert orders[seed % 2] == ("yes", "no")
        assert orders[1 - seed % 2] == ("no", "yes")
        assert options_of(other, "perception_edited", 0) == orders[0]
    assert len(calls_of([twice], ["perception_raw"])) == 2
    with pytest.raises(BadInput, match="no perception question 2"):
        prompt(twice, "perception_raw", 2)


hostile = st.text(
    st.sampled_from("AB. \n\r\t\u2028\x0b\x85{}\\boxed答案a1"), min_size=1, max_size=24
)  # fmt: skip


@given(st.lists(hostile, min_size=4, max_size=4, unique=True), hostile)
def test_an_option_is_one_line_whatever_it_holds(bench, options, question):
    shown = [one_line(option) for option in options]
    if not all(shown) or len(set(shown)) < 4 or not question.strip():
        with pytest.raises(ValidationError):
            changed(bench.pairs[0], options=tuple(options), question=question)
        return
    pair = changed(bench.pairs[0], options=tuple(options), question=question)
    text = prompt(pair, "raw")
    assert len(text.splitlines()) == 6
    read = read_question(text)
    assert read.letters == tuple("ABCD")
    assert read.options == tuple(shown)
    # Whatever the option is called, its letter names it, and what is kept is the option itself.
    gold = LETTERS[options.index(pair.raw.gold)]
    reply = Completion(text=f"So it must be \\boxed{{{gold}}}")
    found = respond(Call(pair, "raw"), reply, key="k", model=MODEL, repeat=0)
    if gold not in shown or shown.index(gold) == options.index(pair.raw.gold):
        assert found.parsed == pair.raw.gold
        assert found.outcome == "correct"


def test_a_question_never_passes_for_an_option(bench):
    pair = changed(bench.pairs[0], question="A. Hopper painted this?\nB. who\u2028C. what")
    read = read_question(prompt(pair, "raw"))
    assert read.options == pair.options
    assert re.match(r"Question: A\. Hopper", read.question)


def answered(pair, arm, text, finish="stop"):
    completion = Completion(text=text, finish=finish)
    return respond(Call(pair, arm), completion, key="k", model=MODEL, repeat=0)


def test_a_reply_is_right_wrong_unreadable_or_lost(bench):
    pair = bench.pairs[0]
    right, wrong = pair.letter(pair.raw.gold), pair.letter(pair.edited.gold)
    assert answered(pair, "raw", f"\\boxed{{{right}}}").outcome == "correct"
    found = answered(pair, "raw", f"\\boxed{{{wrong}}}")
    assert (found.outcome, found.parsed, found.gold) == (
        "wrong", pair.edited.gold, pair.raw.gold,
    )  # fmt: skip
    assert answered(pair, "edited", f"\\boxed{{{wrong}}}").outcome == "correct"
    found = answered(pair, "raw", "It is hard to tell.")
    assert (found.outcome, found.parsed) == ("unparsed", None)
    found = answered(pair, "raw", "", "error")
    assert (found.outcome, found.parsed) == ("error", None)


def test_a_limit_takes_the_first_pairs_of_every_kind_in_proportion(bench):
    assert chosen(bench.pairs, None) == chosen(bench.pairs, 99) == bench.pairs
    for limit in range(1, 12):
        some = chosen(bench.pairs, limit)
        assert len(some) == limit
        assert list(some) == [pair for pair in bench.pairs if pair in some]
        kinds = Counter(pair.kind for pair in some)
        assert abs(kinds["pair"] - 2 * limit / 3) <= 1
        for kind in kinds:
            whole = [pair for pair in bench.pairs if pair.kind == kind]
            assert [pair for pair in some if pair.kind == kind] == whole[: kinds[kind]]


def test_what_is_lost_is_neither_right_nor_wrong(bench):
    pairs = bench.pairs[:4]
    calls = calls_of(pairs, ("raw", "edited", "text"))
    outcomes = ["correct", "wrong", "correct", "unparsed", "correct", "wrong", "correct", "correct"]
    found = {
        call.id(0): Seen(outcome, cut=outcome == "unparsed")
        for call, outcome in zip(
            [call for call in calls if call.arm != "text"], outcomes, strict=True
        )
    }
    counted = tally(calls, 1, found)
    assert counted.arms["raw"] == Counter(correct=3, unparsed=0, wrong=0) + Counter(correct=1)
    assert counted.arms["edited"] == Counter(wrong=2, unparsed=1, correct=1)
    assert counted.arms["text"] == Counter(error=4)
    # Of the three pairs that could be read with both pictures.
    assert (counted.acc_raw, counted.acc_edited) == (1, pytest.approx(1 / 3))
    assert accuracy(counted.arms["edited"]) == pytest.approx(1 / 3)
    assert accuracy(counted.arms["text"]) is None
    # The text arm decides nothing about a pair; one edited reply could not be read.
    assert (counted.pairs, counted.usable, counted.coverage) == (4, 3, 0.75)
    assert counted.cut == 1
    rows = dict(scores(calls, 1, found))
    names = ("acc_raw", "acc_edited", "pair_acc", "usable")
    table = [tuple(rows[pair.pair_id][name] for name in names) for pair in pairs]
    assert table == [(1, 0, 0, 1), (None, None, None, 0), (1, 0, 0, 1), (1, 1, 1, 1)]


def test_perception_items_are_counted_apart(bench):
    calls = calls_of(bench.pairs, ARMS)
    counted = tally(calls, 1, {call.id(0): Seen("correct") for call in calls})
    assert (counted.pairs, counted.usable) == (8, 8)
    assert {arm: counts.total() for arm, counts in counted.arms.items()} == dict.fromkeys(ARMS, 8)
    assert {arm: counts.total() for arm, counts in counted.items.items()} == {
        "raw": 4, "edited": 4, "text": 4,
    }  # fmt: skip
    assert counted.calls == len(calls) == 60
    items = [call for call in calls if call.pair.kind == "perception"]
    alone = tally(items, 1, {})
    assert (alone.pairs, alone.coverage, alone.count("error"), alone.acc_raw) == (0, 1, 12, None)


def test_repeats_are_averaged_where_both_pictures_were_answered(bench):
    (pair,) = bench.pairs[:1]
    calls = calls_of([pair], ("raw", "edited"))
    found = {
        calls[0].id(0): Seen("correct"),
        calls[0].id(1): Seen("wrong"),
        calls[0].id(2): Seen("wrong"),
        calls[1].id(0): Seen("correct"),
        calls[1].id(2): Seen("correct"),
    }
    counted = tally(calls, 3, found)
    assert counted.calls == 6
    assert counted.count("error") == 1
    assert counted.usable == 1
    assert dict(scores(calls, 3, found))[pair.pair_id] == {
        "acc_raw": 0.5, "acc_edited": 1, "pair_acc": 0.5, "usable": pytest.approx(2 / 3),
    }  # fmt: skip
    assert counted.coverage == pytest.approx(2 / 3)
    # Asked with one picture only, that one counts.
    assert dict(scores(calls[:1], 3, found))[pair.pair_id] == {
        "acc_raw": pytest.approx(1 / 3), "acc_edited": None, "pair_acc": None, "usable": 1,
    }  # fmt: skip
