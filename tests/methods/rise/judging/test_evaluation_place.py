"""Where an ability lies beside what it was: below, inside or above the interval of before."""

import pytest

from planish.methods.rise.judging.evaluation import place
from planish.stats import Estimate

BEFORE = Estimate(value=0.5, low=0.45, high=0.55)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (0.449, "below"),
        (0.45, "inside"),
        (0.5, "inside"),
        (0.55, "inside"),
        (0.551, "above"),
        (None, None),
    ],
)
def test_an_ability_is_placed_by_the_interval_of_before(after, expected):
    assert place(Estimate(value=after), BEFORE) == expected


def test_without_an_interval_there_is_no_place():
    assert place(Estimate(value=0.5), Estimate(value=0.5)) is None
