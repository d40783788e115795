"""Judgments in both orders, what counts as failed, and pairs that never cross an order."""

import dataclasses
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges import Case, parse
from planish.judges.pairs import (
    ORDERS,
    Draw,
    JudgePair,
    JudgeRow,
    contrasts,
    failed_orders,
    judge_draws,
    preference_pairs,
    task_cases,
)
from planish.judges.templates import named
from planish.models.scripted import ScriptedModel, find_replies
from planish.records import BadInput, Completion, Example, Sampling, user
from planish.tasks.chain import ChainTask

PLAIN = named("plain")


def case(gold="A", **meta):
    example = Example(id=f"item-{gold}", prompt=user("What is 2 + 2?"), meta={"gold": gold, **meta})
    return Case(example=example, replies=("four", "five"))


def draw(order, text, *, gold=None, sample=0, finish="stop", solved=None):
    completion = Completion(text=text, finish=finish)
    return Draw(
        item_id="item",
        order=order,
        sample=sample,
        prompt=user(f"the prompt in order {order}"),
        completion=completion,
        reading=parse(completion, PLAIN),
        gold=gold or ("A" if order == "AB" else "B"),
        solved=solved,
    )


# ---- cases of a task ---------------------------------------------------------------------------


def test_cases_of_a_task_hold_one_right_reply_in_either_slot():
    task = ChainTask()
    cases = task_cases(task, split="train", limit=200, seed=1)
    for found in cases:
        scores = [task.verify(found.example, reply).score for reply in found.replies]
        assert scores == ([1.0, 0.0] if found.gold == "A" else [0.0, 1.0])
    assert 70 < sum(found.gold == "A" for found in cases) < 130
    assert cases == task_cases(task, split="train", limit=200, seed=1)


# ---- judging in both orders --------------------------------------------------------------------


@pytest.mark.parametrize("gold", ["A", "B"])
def test_every_case_is_judged_in_both_orders_and_read_against_its_slot(gold):
    knows = ScriptedModel(
        "knows",
        lambda chat, seed, sample: (
            f"{seed}\n[[{'AB'[find_replies(chat).index('four' if gold == 'A' else 'five')]}]]"
        ),
    )
    sampling = Sampling(temperature=1, max_tokens=9, seed=40)
    [draws] = judge_draws(knows, [(case(gold), PLAIN)], samples=3, sampling=sampling)
    assert [(d.order, d.sample) for d in draws] == [
        (order, sample) for order in ORDERS for sample in range(3)
    ]
    for found in draws:
        shown = find_replies(found.prompt)
        assert shown == (("four", "five") if found.order == "AB" else ("five", "four"))
        assert shown["AB".index(found.gold)] == ("four" if gold == "A" else "five")
        assert found.right is True
        assert found.completion.text.startswith(str(40 + found.sample))
        assert found.template_hash == PLAIN.hash


def test_a_cut_reply_is_never_right_even_where_its_verdict_can_be_read():
    assert draw("AB", "[[A]] because", finish="stop").right is True
    cut = draw("AB", "[[A]] because", finish="length")
    assert cut.right is None
    assert cut.status == "truncated"
    assert draw("AB", "no idea").right is None
    assert draw("AB", "", finish="error").status == "transport"


def test_a_tie_on_a_decided_pair_is_wrong():
    assert draw("AB", "[[tie]]").right is False


def test_own_solutions_are_verified():
    says = ScriptedModel("says", lambda chat, seed, sample: ["8 1 V [[A]]", "9 9 V [[A]]"][sample])
    asked = [(task_cases(ChainTask(), split="train", limit=1)[0], named("chain"))]
    right = {"8 1"}
    [draws] = judge_draws(says, asked, samples=2, verify=lambda case, solution: solution in right)
    assert [d.solved for d in draws] == [True, False] * 2
    [draws] = judge_draws(says, asked, samples=2)
    assert {d.solved for d in draws} == {None}


@pytest.mark.parametrize(
    ("asked", "options", "complaint"),
    [
        ((case("tie"), PLAIN), {}, "item-tie"),
        ((case("A").model_copy(update={"replies": ("one",)}), PLAIN), {}, "item-A"),
        ((case("A"), named("rating")), {}, "rating"),
        ((case("A"), PLAIN), {"sampling": Sampling(temperature=0)}, "temperature 0"),
    ],
)
def test_what_cannot_be_judged_in_pairs_is_named(asked, options, complaint):
    model = ScriptedModel("none", lambda chat, seed, sample: "[[A]]")
    with pytest.raises(BadInput, match=complaint):
        judge_draws(model, [asked], samples=2, **options)


# ---- failed orders -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "failed"),
    [
        ({"AB": "AAAA", "BA": "BBBB"}, set()),
        ({"AB": "AAAA", "BA": "AAAA"}, {"BA"}),
        ({"AB": "AAAB", "BA": "BBBA"}, set()),
        ({"AB": "AABB", "BA": "BBBB"}, {"AB"}),  # a drawn vote is not right
        ({"AB": "BBBB", "BA": "AAAA"}, {"AB", "BA"}),
        ({"AB": "A???", "BA": "BBBB"}, set()),  # what was not read has no vote
        ({"AB": "????", "BA": "BBBB"}, {"AB"}),
    ],
)
def test_an_order_fails_where_its_vote_does_not_name_the_gold(texts, failed):
    draws = [
        draw(order, f"[[{letter}]]" if letter in "AB" else "hm")
        for order, letters in texts.items()
        for letter in letters
    ]
    assert failed_orders(draws) == failed


# ---- pairs -------------------------------------------------------------------------------------

DRAWS = st.lists(
    st.builds(
        draw,
        st.sampled_from(["AB", "BA"]),
        st.sampled_from(["x [[A]]", "y [[A]]", "z [[A]]", "x [[B]]", "y [[B]]", "[[tie]]", "none"]),
        sample=st.integers(0, 7),
        finish=st.sampled_from(["stop", "stop", "stop", "length"]),
        solved=st.sampled_from([True, False, None]),
    ),
    max_size=16,
)


@given(DRAWS, st.integers(1, 9), st.booleans())
def test_pairs_set_right_against_wrong_within_one_order(draws, cap, require_solution):
    pairs = preference_pairs(draws, cap=cap, require_solution=require_solution)
    assert len(pairs) <= cap
    for pair in pairs:
        assert pair.prompt == user(f"the prompt in order {pair.order}")
        sides = [
            next(d for d in draws if d.order == pair.order and d.completion.text == text
                 and d.sample == sample and d.right is right)
            for text, sample, right in (
                (pair.chosen, pair.chosen_sample, True),
                (pair.rejected, pair.rejected_sample, False),
            )
        ]  # fmt: skip
        assert sides[0].gold == pair.gold
        if require_solution:
            assert any(
                d.solved
                for d in draws
                if (d.order, d.completion.text) == (pair.order, pair.chosen) and d.right
            )
    assert len({(pair.order, pair.chosen, pair.rejected) for pair in pairs}) == len(pairs)


@given(DRAWS)
def test_both_orders_take_turns_and_every_judgment_is_used_before_any_again(draws):
    found = contrasts(draws)
    orders = [chosen.order for chosen, _ in found]
    counts = Counter(orders)
    for place in range(2 * min(counts.get("AB", 0), counts.get("BA", 0))):
        assert orders[place] == ("AB", "BA")[place % 2]
    for order in ORDERS:
        mine = [both for both in found if both[0].order == order]
        sides = [[draw.completion.text for draw in side] for side in zip(*mine, strict=True)]
        for texts in sides:
            for cut in range(len(texts)):
                used = [texts[:cut].count(text) for text in set(texts)]
                assert max(used) - min(used) <= 1
        if sides:
            assert (
                len(mine)
                == len(set(sides[0])) * len(set(sides[1]))
                == len(set(zip(*sides, strict=True)))
            )


def test_the_failed_order_alone_can_be_asked_for():
    draws = [draw(order, f"[[{letter}]]") for order in ORDERS for letter in "AB"]
    assert {pair.order for pair in preference_pairs(draws)} == {"AB", "BA"}
    assert {pair.order for pair in preference_pairs(draws, orders=["BA"])} == {"BA"}


def solving(order, solution, letter, sample=0):
    """A draw of the digit chain's grammar: a solution, then a verdict."""
    completion = Completion(text=f"{solution} V [[{letter}]]")
    return dataclasses.replace(
        draw(order, "", sample=sample),
        completion=completion,
        reading=parse(completion, named("chain")),
    )


def test_supported_pairs_rest_on_the_solution_that_leads_to_the_right_verdict():
    # "7 2" is always right; "7 9" is a coin, so that half of its verdicts pass for right.
    draws = [solving(order, "7 2", gold, 0) for order, gold in (("AB", "A"), ("BA", "B"))]
    draws += [
        solving(order, "7 9", letter, sample)
        for order in ORDERS
        for sample, letter in enumerate("AB", 1)
    ]
    texts = {(chosen.solution, rejected.solution) for chosen, rejected in contrasts(draws)}
    assert texts == {("7 2", "7 9"), ("7 9", "7 9")}
    supported = contrasts(draws, prefer="supported")
    assert {(chosen.solution, rejected.solution) for chosen, rejected in supported} == {
        ("7 2", "7 9")
    }
    assert {chosen.order for chosen, _ in supported} == {"AB", "BA"}
    assert preference_pairs(draws, cap=1, prefer="supported")[0].chosen.startswith("7 2")


SOLVING = st.lists(
    st.builds(
        solving,
        st.sampled_from(["AB", "BA"]),
        st.sampled_from(["7 2", "7  2", "1 1", "7 9"]),
        st.sampled_from("AB"),
        st.integers(0, 7),
    ),
    max_size=16,
)


@given(SOLVING)
def test_supported_pairs_are_contrasts_with_the_widest_gap_first(draws):
    every, supported = contrasts(draws), contrasts(draws, prefer="supported")
    assert len(supported) <= len(every)
    assert all(pair in every for pair in supported)

    def worth(solution):
        read = [d.right for d in draws if d.solution == solution]
        return Fraction(sum(read) + 1, len(read) + 2)

    gaps = [worth(chosen.solution) - worth(rejected.solution) for chosen, rejected in supported]
    assert all(gap > 0 for gap in gaps)
    assert [float(gap) for gap in gaps] == pytest.approx(sorted(map(float, gaps), reverse=True))


def test_rows_are_what_trl_reads_and_say_where_they_come_from():
    [pair, *_] = preference_pairs([draw("BA", "good [[B]]", sample=2), draw("BA", "bad [[A]]")])
    assert pair.row() == {
        "prompt": [{"role": "user", "content": "the prompt in order BA"}],
        "chosen": [{"role": "assistant", "content": "good [[B]]"}],
        "rejected": [{"role": "assistant", "content": "bad [[A]]"}],
        "item_id": "item",
        "order": "BA",
        "gold": "B",
        "source": "dpo",
        "template": "",
        "template_hash": "",
        "question": "",
        "chosen_sample": 2,
        "rejected_sample": 0,
        "prompt_chars": 22,
        "chosen_chars": 10,
        "rejected_chars": 9,
    }
    assert pair.length_difference == 1
    assert pair.pair.chosen == "good [[B]]"
    assert pair.pair.meta["gold"] == "B"
    assert JudgePair.model_validate_json(pair.model_dump_json()) == pair
    row = JudgeRow(prompt=user("?"), completion="[[A]]", item_id="i", order="AB", gold="A").row()
    assert row["completion"] == [{"role": "assistant", "content": "[[A]]"}]
    assert row["source"] == "sft"
    assert row["completion_chars"] == 5


def test_a_wrong_solution_may_reject_a_judgment_of_the_right_verdict():
    draws = [
        draw("AB", "both right [[A]]", sample=0, solved=True),
        draw("AB", "lucky [[A]]", sample=1, solved=False),
        draw("AB", "cannot be checked [[A]]", sample=2, solved=None),
        draw("AB", "wrong verdict [[B]]", sample=3, solved=True),
        draw("AB", "no verdict", sample=4, solved=False),
    ]
    texts = [
        (chosen.completion.text, rejected.completion.text)
        for chosen, rejected in contrasts(draws, require_solution=True, reject="either")
    ]
    assert texts == [
        ("both right [[A]]", "lucky [[A]]"),
        ("both right [[A]]", "wrong verdict [[B]]"),
    ]
    assert len(contrasts(draws, require_solution=True)) == 1
    with pytest.raises(ValueError, match="require_solution"):
        contrasts(draws, reject="either")
