"""What is kept and what is dropped: every item once, under one reason."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges import Case, parse
from planish.judges.formats import read_pairs
from planish.judges.pairs import ORDERS, Draw
from planish.judges.templates import named
from planish.methods.rise.method import (
    Drops,
    Item,
    Rules,
    check_golds,
    length_ratio,
    select_dpo,
    select_sft,
    solves,
    usable,
)
from planish.records import BadInput, Completion, Example, user
from planish.tasks import mathematics

PLAIN = named("plain")
LETTERS = {"A": "[[A]]", "B": "[[B]]", "=": "[[tie]]", "?": "who knows"}


def case(id="item", gold="A", replies=("four", "five"), **fields):
    meta = {"gold": gold, **fields.pop("meta", {})}
    return Case(
        example=Example(id=id, prompt=user(f"Question of {id}?"), meta=meta, **fields),
        replies=replies,
    )


def item(id, ab, ba, *, gold="A", solved=None, word=""):
    """`ab` and `ba` hold one letter per draw: the slot that it names, in the prompt's frame."""
    draws = []
    for order, letters in (("AB", ab), ("BA", ba)):
        for sample, letter in enumerate(letters):
            completion = Completion(text=f"{word}{sample} {LETTERS[letter]}")
            draws.append(
                Draw(
                    item_id=id,
                    order=order,
                    sample=sample,
                    prompt=user(f"{id} {order}"),
                    completion=completion,
                    reading=parse(completion, PLAIN),
                    gold="AB"[(gold == "B") ^ (order == "BA")],
                    solved=solved,
                )
            )
    return Item(case(id, gold), draws)


ITEMS = st.lists(
    st.tuples(
        st.text("AB=?", min_size=4, max_size=4),
        st.text("AB=?", min_size=4, max_size=4),
        st.sampled_from("AB"),
        st.sampled_from([True, False]),
    ),
    min_size=1,
    max_size=12,
).map(
    lambda rows: [
        item(f"i{n}", ab, ba, gold=gold, solved=solved)
        for n, (ab, ba, gold, solved) in enumerate(rows)
    ]
)
RULES = st.builds(
    Rules,
    pairs_per_item=st.integers(1, 5),
    orders=st.sampled_from(["both", "failed"]),
    balance=st.booleans(),
    require_solution=st.booleans(),
    seed=st.integers(0, 2),
)


@given(ITEMS, RULES)
def test_of_a_teacher_only_gold_verdicts_remain_and_every_order_is_accounted_for(items, rules):
    try:
        chosen = select_sft(items, rules)
    except BadInput:  # nothing remains, which the tests below look at
        return
    counts = chosen.dropped_rows.counts
    surplus = sum(count for why, count in counts.items() if why.startswith("surplus"))
    assert len(chosen.built) - surplus == len(chosen.rows)
    assert len(chosen.built) + sum(counts.values()) - surplus == 2 * len(items)
    assert len({row.item_id for row in chosen.rows}) + chosen.dropped_items.total == len(items)
    assert len({(row.item_id, row.order) for row in chosen.built}) == len(chosen.built)
    for row in chosen.rows:
        assert row.prompt == user(f"{row.item_id} {row.order}")
        assert parse(Completion(text=row.completion), PLAIN).label == row.gold
    if rules.balance:
        assert sum(row.gold == "A" for row in chosen.rows) * 2 == len(chosen.rows)


@given(ITEMS, RULES)
def test_of_the_judge_itself_only_hard_items_remain_and_every_item_is_counted_once(items, rules):
    try:
        chosen = select_dpo(items, rules)
    except BadInput:  # nothing remains, which the tests below look at
        return
    dropped = [id for ids in chosen.dropped_items.ids.values() for id in ids]
    used = {row.item_id for row in chosen.rows}
    assert sorted([*dropped, *used]) == sorted(each.case.id for each in items)
    assert used <= set(chosen.hard)
    for row in chosen.rows:
        assert row.prompt == user(f"{row.item_id} {row.order}")
        assert parse(Completion(text=row.chosen), PLAIN).label == row.gold
        assert parse(Completion(text=row.rejected), PLAIN).label not in (row.gold, None)
    per_item = [sum(row.item_id == id for row in chosen.built) for id in used]
    assert max(per_item, default=0) <= rules.pairs_per_item
    if rules.balance:
        assert sum(row.gold == "A" for row in chosen.rows) * 2 == len(chosen.rows)


def test_hard_is_what_fails_in_either_order_and_both_orders_teach():
    items = [
        item("leans", "AAAB", "AAAB"),  # right as given, wrong swapped
        item("good", "AAAA", "BBBB"),
        item("never", "BBBB", "AAAA"),
    ]
    chosen = select_dpo(items, Rules())
    assert chosen.hard == ["leans", "never"]
    assert {row.order for row in chosen.rows} == set(ORDERS)
    assert {row.gold for row in chosen.rows} == {"A", "B"}
    assert chosen.dropped_items.ids == {
        "not hard: right in both orders": ["good"],
        "never right": ["never"],
    }
    failed = select_dpo(items, Rules(orders="failed", balance=False))
    assert {row.order for row in failed.rows} == {"BA"}


def test_pairs_of_the_failed_order_alone_would_teach_the_other_slot():
    # A judge that leans to the first slot fails where gold stands second.
    items = [item(f"i{n}", "AAAB", "AAAB", gold="AB"[n % 2]) for n in range(20)]
    unbalanced = select_dpo(items, Rules(orders="failed", balance=False))
    assert {row.gold for row in unbalanced.rows} == {"B"}
    balanced = select_dpo(items, Rules())
    assert [row.gold for row in balanced.rows].count("A") == len(balanced.rows) / 2 > 0
    with pytest.raises(BadInput, match=r"nothing remains of .* slot A: 0 longer, 0 shorter, 0"):
        select_dpo(items, Rules(orders="failed"))


def test_a_chosen_judgment_may_have_to_solve_the_item():
    items = [
        item("solves", "AB", "AB", solved=True),
        item("guesses", "AB", "AB", solved=False),
        item("unknown", "AB", "AB", solved=None),
    ]
    chosen = select_dpo(items, Rules(require_solution=True))
    assert {row.item_id for row in chosen.rows} == {"solves"}
    assert chosen.dropped_items.ids == {
        "right verdict without a right solution": ["guesses", "unknown"]
    }
    assert len({row.item_id for row in select_dpo(items, Rules()).rows}) == 3


def test_without_a_better_solution_there_is_no_supported_pair():
    items = [item("alike", "AB", "AB")]
    with pytest.raises(BadInput, match="1 no right judgment rests on a better solution"):
        select_dpo(items, Rules(prefer="supported"))


def test_empty_sets_are_told_with_count_and_first_item():
    good = [item(f"g{n}", "AA", "BB") for n in range(3)]
    with pytest.raises(BadInput, match=r"hard set is empty: all 3 items .* first is g0"):
        select_dpo(good, Rules())
    never = [item(f"n{n}", "BB", "AA") for n in range(3)]
    with pytest.raises(BadInput, match=r"none of 3 hard items .* first is n0 \(3 never right\)"):
        select_dpo(never, Rules())
    with pytest.raises(BadInput, match=r"none of 3 items .* the first is n0: verdict is not"):
        select_sft(never, Rules())


def test_longer_chosen_texts_are_balanced():
    items = [item(f"i{n}", "AB", "AB", word="") for n in range(40)]
    for n, each in enumerate(items):
        # The right judgment is mostly the longer one, in one slot more than in the other.
        for draw in each.draws:
            pad = "because " * (n % 5 if draw.right else 1)
            text = Completion(text=pad + draw.completion.text)
            each.draws[each.draws.index(draw)] = replace(draw, completion=text)
    chosen = select_dpo(items, Rules())
    built = [row.length_difference for row in chosen.built]
    assert sum(size > 0 for size in built) > sum(size < 0 for size in built)
    for slot in "AB":
        signs = [row.length_difference for row in chosen.rows if row.gold == slot]
        assert sum(size > 0 for size in signs) == sum(size < 0 for size in signs) > 0
    assert chosen.dropped_rows.counts["surplus of one length"] > 0


def test_a_length_that_gives_everything_away_is_told_in_numbers():
    items = [item(f"i{n}", "AB", "AB") for n in range(4)]
    for each in items:
        for place, draw in enumerate(each.draws):
            text = Completion(text="so " * draw.right + draw.completion.text)
            each.draws[place] = replace(draw, completion=text)
    with pytest.raises(BadInput, match=r"8 rows .* slot A: 4 longer, 0 shorter.* slot B: 4 longer"):
        select_dpo(items, Rules())


# ---- before any call ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cases", "complaint"),
    [
        ([case("a"), case("b")], "gold label is A in all of 2 decided pairs, the first is a"),
        ([case("a", "tie")], "the first is a"),
        ([case("a"), case("b", None), case("c", None)], "2 of 3 pairs have no gold .* b"),
        (
            [case("a"), case("b", "B", ("x y", " x  y"))],
            "1 of 2 pairs hold twice the same .* first is b",
        ),
        ([case("a"), case("b", "B", ("x",))], "1 of 2 pairs have not two replies"),
    ],
)
def test_pairs_that_teach_nothing_are_refused(cases, complaint):
    with pytest.raises(BadInput, match=complaint):
        check_golds(cases, where="pairs.jsonl")


def test_candidates_of_very_different_length_and_ties_are_dropped_and_counted():
    cases = [
        case("even"),
        case("edge", replies=("x" * 15, "y" * 10)),
        case("long", replies=("x" * 16, "y" * 10)),
        case("empty", replies=(" ", "y")),
        case("tied", gold="tie"),
    ]
    kept, drops = usable(cases, max_length_ratio=1.5)
    assert [each.id for each in kept] == ["even", "edge"]
    assert drops.counts == {"one candidate is much longer": 2, "gold is a tie": 1}
    assert drops.ids["one candidate is much longer"] == ["long", "empty"]
    assert len(usable(cases, max_length_ratio=None)[0]) == 4
    assert length_ratio(cases[1]) == 1.5


def test_drops_count_by_reason():
    drops = Drops()
    drops.add("one", ["a"])
    drops.add("two", ["b", "c"])
    drops.add("none", [])
    assert drops.counts == {"two": 2, "one": 1}
    assert list(drops.counts) == ["two", "one"]
    assert drops.total == 3


@pytest.mark.parametrize(
    ("target", "solution", "expected"),
    [
        ("2", "7 2", True),
        ("2", "2 7", False),
        ("2", "7-2", True),
        ("-2", "x = -2", True),
        ("2", "x = -2", False),
        ("2", "I get 7, so 2.0.", True),
        (1234, "1,234", True),
        ("7", "none", False),
        ("Paris", " paris ", True),
        ("Paris", "Rome", False),
        (None, "2", None),
        ("", "2", None),
    ],
)
def test_a_solution_is_held_against_the_target(target, solution, expected):
    assert solves(case(target=target), solution) is expected


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        ({"target": r"\frac{1}{2}"}, "The area is 0.5.", "The area is 2."),
        ({"target": "42"}, r"$\frac{84}{2}$", "6 * 8"),
        ({"target": "B", "choices": ["bat", "owl"]}, "(B) owl", "(A) bat"),
        ({"target": "Paris"}, "It lies on the Seine.\nParis", "Paris, no:\nRome"),
        ({"target": "F1", "grader": "exact"}, "f1", "1"),
    ],
)
def test_a_solution_is_read_as_the_grader_of_its_row_reads_it(tmp_path, row, right, wrong):
    """The last number of 0.5 and of a fraction, or a choice with its text, is not the target."""
    path = tmp_path / "pairs.jsonl"
    pair = {"id": "1", "question": "q", "reply_a": "x", "reply_b": "y", "gold": "A"}
    path.write_text(json.dumps(pair | row))
    [case] = read_pairs(path)
    assert solves(case, right) is True
    assert solves(case, wrong) is False


def test_a_check_that_gives_up_tells_nothing(monkeypatch):
    monkeypatch.setattr(mathematics._CHILD, "ask", lambda _: {"why": mathematics._TOO_LONG})
    wanted = case(target="42", meta={"grader": "math"})
    assert solves(wanted, r"$9^{9^{9^{9^{9}}}}$") is None


def test_a_reference_answer_serves_as_target():
    assert solves(case(meta={"reference": "42"}), "it is 42") is True
