"""When too many calls of a run are gone."""

from hypothesis import given
from hypothesis import strategies as st

from planish.judges.recording import below_floor


@given(st.integers(1, 5000), st.data())
def test_a_share_on_the_floor_is_enough_and_one_call_less_is_not(num_all, data):
    num_left = data.draw(st.integers(0, num_all))
    floor = num_left / num_all
    assert not below_floor(num_all - num_left, num_all, floor)
    if num_left:
        assert below_floor(num_all - num_left + 1, num_all, floor)


def test_a_tenth_may_be_lost_where_nine_tenths_are_asked_for():
    assert not below_floor(1, 10, 0.9)  # (1 - 0.9) * 10 is less than 1
    assert not below_floor(9, 20, 0.55)  # 0.55 * 20 is more than 11
    assert below_floor(2, 10, 0.9)


def test_no_call_is_none_too_few():
    assert not below_floor(0, 0, 1.0)
