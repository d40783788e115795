"""A demo may only claim what its interval says."""

import pytest

from planish.methods.rise.learning.lesson_pages import verdict_on
from planish.stats import Estimate


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.05, "beat"),
        (-0.05, -0.01, "lose to"),
        (-0.01, 0.05, "tie with"),
        (0.0, 0.05, "tie with"),
        (None, None, "tie with"),
    ],
)
def test_the_verdict_on_two_stages_follows_the_interval(low, high, said):
    assert verdict_on(Estimate(value=0.02, low=low, high=high, n=9)) == said
