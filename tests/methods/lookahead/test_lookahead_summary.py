"""Means over families, intervals by document, and that what is not known is never a zero."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.lookahead.evaluate.outcomes import Outcome, outcome_id
from planish.methods.lookahead.evaluate.summary import Summary, macro_mean

SCORES = st.lists(st.sampled_from((0.0, 1.0)), min_size=1, max_size=12)


def outcome(arm, fraction, document, correct, family="one", **others):
    return Outcome(
        task="recall", seed=0, document_id=document, length=100, arm=arm, fraction=fraction,
        family=family, correct=correct, **others,
    )  # fmt: skip


@given(st.dictionaries(st.sampled_from("abcd"), SCORES, min_size=1))
def test_each_family_weighs_the_same(by_family):
    values = {
        f"{family}{place}": value
        for family, scores in by_family.items()
        for place, value in enumerate(scores)
    }
    families = {name: name[0] for name in values}
    means = [math.fsum(scores) / len(scores) for scores in by_family.values()]
    found = macro_mean(values, families)
    assert found.value == pytest.approx(math.fsum(means) / len(means))
    assert found.n == len(values)
    if found.low is not None:
        assert found.low - 1e-9 <= found.value <= found.high + 1e-9


def test_a_mean_of_nothing_is_nothing():
    assert macro_mean({}, {}).value is None


def test_a_document_without_a_score_is_left_out_and_counted():
    summary = Summary(
        [
            outcome("recency", 0.1, "a", 1.0),
            outcome("recency", 0.1, "b", None, why="too dear"),
            outcome("dense", 1.0, "a", 1.0),
            outcome("dense", 1.0, "b", 0.0),
        ]
    )
    assert summary.accuracy("recency", 0.1).value == 1.0
    assert summary.accuracy("dense", 0.1).value == 0.5
    assert summary.left_out("recency", 0.1) == 1
    assert summary.difference("recency", "dense", 0.1).value == 0.0
    assert summary.difference("recency", "dense", 0.1).n == 1
    assert summary.reasons() == {"too dear": 1}
    numbers = summary.numbers()
    assert numbers["not_scored"] == {"too dear": 1}
    assert [each["arm"] for each in numbers["arms"]] == ["recency", "dense"]
    assert numbers["arms"][0]["mass_recall"] is None


def test_differences_are_paired_by_document_and_name_the_better_informed_first():
    documents = [f"d{place}" for place in range(12)]
    outcomes = [
        outcome(arm, fraction, name, float(right(place)), family="ab"[place % 2])
        for arm, fraction, right in (
            ("dense", 1.0, lambda place: True),
            ("oracle", 0.1, lambda place: place != 0),
            ("lookahead", 0.1, lambda place: place > 2),
            ("recency", 0.1, lambda place: place > 9),
        )
        for place, name in enumerate(documents)
    ]
    summary = Summary(outcomes)
    assert summary.pairs == [
        ("lookahead", "dense"), ("recency", "dense"), ("oracle", "dense"),
        ("lookahead", "recency"), ("oracle", "lookahead"),
    ]  # fmt: skip
    assert summary.difference("oracle", "lookahead", 0.1).value == pytest.approx(2 / 12)
    assert summary.difference("lookahead", "dense", 0.1).value == pytest.approx(-3 / 12)
    by_family = dict(summary.by_family("lookahead"))
    assert by_family["a"][0].value == pytest.approx(4 / 6)
    assert summary.cells()[-1] == ("dense", 1.0)


def test_the_fallback_rate_is_of_the_requests_that_ran():
    summary = Summary(
        [
            outcome("lookahead", 0.1, "a", 1.0, steps=5, fallbacks=1),
            outcome("lookahead", 0.1, "b", 1.0, steps=5),
            outcome("lookahead", 0.1, "c", None),
        ]
    )
    assert summary.fallback_rate("lookahead", 0.1) == 0.5
    assert summary.fallback_rate("quest", 0.1) is None


def test_ids_tell_arm_share_and_document():
    assert outcome("quest", 0.135, "recall/0/3", 1.0).id == outcome_id("quest", 0.135, "recall/0/3")
    assert outcome_id("quest", 0.135, "x") == "quest@0.135/x"
