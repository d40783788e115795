"""Claims: what people see of one, and that those that did not hold are told by name."""

from __future__ import annotations

import pytest

from planish.stats import Claim, Estimate, claim_rows, shown, tally, verdict

NUMBER = Estimate(value=0.5, low=0.4, high=0.6, n=9)
HELD = Claim("a", "it holds", "x - y", NUMBER, held=True)
LOST = Claim("b", "pigs fly", "x - y", NUMBER, held=False, words="2 of 9")
OTHER = Claim("c", "cows do", "z", Estimate(value=None), held=False)


@pytest.mark.parametrize(
    ("number", "form", "told"),
    [
        (NUMBER, ".3f", "0.500 [0.400, 0.600]"),
        (NUMBER, "+.1f", "+0.5 [+0.4, +0.6]"),
        (Estimate(value=-0.25, low=-0.5, high=0.125), "+.3f", "-0.250 [-0.500, +0.125]"),
        (Estimate(value=1.0, n=3), "+.3f", "+1.000"),
        (Estimate(value=None), "+.3f", "n/a"),
    ],
)
def test_a_number_is_shown_with_the_interval_that_it_has(number, form, told):
    assert shown(number, form) == told
    assert shown(number) == str(number)


def test_words_stand_for_the_number_where_there_are_any():
    assert [each.shown for each in (HELD, LOST, OTHER)] == ["0.500 [0.400, 0.600]", "2 of 9", "n/a"]


def test_claims_that_did_not_hold_are_told_by_name():
    assert verdict([HELD]) == "1 of 1 claims held."
    every = [HELD, LOST, OTHER]
    assert verdict(every) == (
        "1 of 3 claims held. It did NOT hold that pigs fly; that cows do."
    )  # fmt: skip
    assert verdict(every, listed=":") == (
        "1 of 3 claims held. It did NOT hold: pigs fly; cows do."
    )  # fmt: skip


def test_a_table_says_no_where_a_claim_did_not_hold():
    assert claim_rows([HELD, LOST]) == [
        ("it holds", "x - y", "0.500 [0.400, 0.600]", "yes"),
        ("pigs fly", "x - y", "2 of 9", "NO"),
    ]
    assert claim_rows([LOST], compared=False) == [("pigs fly", "2 of 9", "NO")]


def test_they_are_counted_by_the_names_of_json():
    assert tally([HELD, LOST, OTHER]) == {
        "claims": {"a": True, "b": False, "c": False}, "claims_held": 1, "claims_made": 3,
    }  # fmt: skip
