"""Neither slot nor length may tell what is chosen, and nothing more is dropped than that needs."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges.balance import balance, check_distinct
from planish.judges.pairs import JudgePair, JudgeRow
from planish.records import BadInput, user


def pair(item, gold="A", longer=0, order="AB", chosen=None, rejected=None):
    return JudgePair(
        prompt=user("?"),
        item_id=str(item),
        order=order,
        gold=gold,
        chosen=chosen or "r" * (20 + max(0, longer)),
        rejected=rejected or "w" * (20 + max(0, -longer)),
    )


PAIRS = st.lists(
    st.builds(
        pair,
        st.integers(0, 9),
        gold=st.sampled_from("AAB"),
        longer=st.integers(-9, 19),
        order=st.sampled_from(["AB", "BA"]),
    ),
    max_size=40,
)


@given(PAIRS, st.integers(0, 3))
def test_slots_and_lengths_are_even_and_every_row_is_kept_or_counted(pairs, seed):
    kept, dropped = balance(pairs, seed=seed)
    for slot in "AB":
        signs = [row.length_difference for row in kept if row.gold == slot]
        assert sum(size > 0 for size in signs) == sum(size < 0 for size in signs)
    assert sum(row.gold == "A" for row in kept) * 2 == len(kept)
    everything = [*kept, *(row for rows in dropped.values() for row in rows)]
    assert sorted(map(repr, everything)) == sorted(map(repr, pairs))
    places = [next(i for i, row in enumerate(pairs) if row is found) for found in kept]
    assert places == sorted(places)
    assert balance(pairs, seed=seed) == (kept, dropped)
    # What is even already stays as it is.
    assert balance(kept, seed=seed + 1)[0] == kept


@given(PAIRS, st.integers(0, 5))
def test_no_more_is_dropped_than_needed(pairs, seed):
    def couples(slot):
        signs = [row.length_difference for row in pairs if row.gold == slot]
        even = sum(size == 0 for size in signs)
        return min(sum(size > 0 for size in signs), sum(size < 0 for size in signs)), even

    def reachable(slot):
        half, even = couples(slot)
        return {2 * n + m for n in range(half + 1) for m in range(even + 1)}

    kept, _ = balance(pairs, seed=seed)
    assert len(kept) == 2 * max(reachable("A") & reachable("B"))


def test_a_single_stays_where_a_couple_must_go_anyway():
    pairs = [pair(f"a{size}", "A", size) for size in (1, -1, 2, -2, 0)]
    pairs += [pair(f"b{index}", "B") for index in range(3)]
    kept, _ = balance(pairs)
    assert [row.gold for row in kept] == [*"AAABBB"]
    assert len([row for row in kept if row.length_difference]) == 2


def test_the_seed_decides_what_goes_and_not_the_order_of_the_rows():
    pairs = [pair(index, "A" if index < 30 else "B") for index in range(40)]
    kept, dropped = balance(pairs, seed=1)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    again, _ = balance(shuffled, seed=1)
    assert {row.item_id for row in kept} == {row.item_id for row in again}
    assert {row.item_id for row in balance(pairs, seed=2)[0]} != {row.item_id for row in kept}
    assert {why: len(rows) for why, rows in dropped.items()} == {"surplus of one gold slot": 20}


def test_later_pairs_of_an_item_go_before_its_first():
    pairs = [pair(item, "A") for item in range(5) for _ in range(3)]
    pairs += [pair(f"b{index}", "B") for index in range(5)]
    kept, _ = balance(pairs)
    assert {row.item_id for row in kept if row.gold == "A"} == set("01234")


def test_lengths_are_matched_by_size():
    sizes = [1, 2, 50, 51, 90, 100]
    pairs = [pair(f"{slot}{size}", slot, size) for slot in "AB" for size in sizes]
    pairs += [pair(f"{slot}-{size}", slot, -size) for slot in "AB" for size in (49, 99)]
    kept, dropped = balance(pairs)
    assert sorted(row.length_difference for row in kept if row.gold == "A") == [-99, -49, 50, 100]
    assert len(dropped["surplus of one length"]) == 8


def test_rows_without_a_counterpart_are_balanced_by_slot():
    rows = [
        JudgeRow(prompt=user("?"), completion="x" * i, item_id=str(i), order="AB", gold=gold)
        for i, gold in enumerate("AAAAB", 1)
    ]
    kept, _ = balance(rows)
    assert [row.gold for row in kept].count("A") == 1
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("good [[A]]", "other words, same winner [[A]]"),
        ("much [[A>>B]]", "a little [[A>B]]"),
        ("no  verdict", "<think>hm</think> no verdict"),
        ("same", " same\n"),
    ],
)
def test_sides_that_say_the_same_are_refused_with_count_and_item(chosen, rejected):
    pairs = [
        pair("fine", chosen="[[A]]", rejected="[[B]]"),
        pair("bad", chosen=chosen, rejected=rejected),
    ]
    check_distinct(pairs[:1])
    with pytest.raises(BadInput, match=r"1 of 2 pairs are identical after parsing.*item bad"):
        check_distinct(pairs, where="dpo.jsonl")


def test_sides_that_differ_in_the_verdict_pass():
    check_distinct([pair("a", chosen="x [[A]]", rejected="x [[tie]]")])
    check_distinct([pair("b", chosen="x [[A]]", rejected="x")])
