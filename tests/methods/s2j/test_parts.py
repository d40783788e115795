"""What a judgment is rewarded for: its form, its verdict, its solution, and every arm."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges.templates import named
from planish.methods.s2j.method import ARMS, Parts, Weights, parts_of, reward
from planish.records import BadInput, Completion

CHAIN, TAGS = named("chain"), named("solve_first")
GOOD = "<solution> 4 </solution> <eval> So. </eval> <answer>[[A]]</answer>"


def parts(text, template=TAGS, gold="A", verify=lambda text: text == "4", finish="stop"):
    return parts_of(Completion(text=text, finish=finish), template, gold=gold, verify=verify)


def test_a_whole_judgment_earns_by_its_verdict_and_its_solution():
    assert parts(GOOD) == Parts(form=True, judge=1.0, solve=1.0)
    assert parts(GOOD, gold="B") == Parts(form=True, judge=0.0, solve=1.0)
    assert parts(GOOD.replace("4", "5")) == Parts(form=True, judge=1.0, solve=0.0)
    assert parts("7 2 V [[B]]", CHAIN, "B", lambda text: text == "7 2") == Parts(True, 1.0, 1.0)


@pytest.mark.parametrize("label", ["**[[A]]**", "[[A]].", "**[[A]]**.\n"])
def test_a_label_may_be_bold_or_end_a_sentence(label):
    assert parts(GOOD.replace("[[A]]", label)).form


def test_a_long_tail_of_blanks_takes_no_time():
    start = time.thread_time()
    assert not parts(GOOD + " " * 200_000 + "x").form
    assert time.thread_time() - start < 1


def test_a_draft_in_the_thinking_is_no_second_solution():
    draft = "<think> <solution> 5 </solution> [[B]] </think>"
    assert parts(draft + GOOD) == Parts(form=True, judge=1.0, solve=1.0)


def test_what_nobody_knows_is_none():
    assert parts(GOOD, gold=None) == Parts(form=True, judge=None, solve=1.0)
    assert parts(GOOD, verify=lambda text: None) == Parts(form=True, judge=1.0, solve=None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[A]]",
        "<solution> 4 [[A]]",
        "4 </solution> [[A]]",
        "<solution></solution> <answer>[[A]]</answer>",
        "<answer>[[A]]</answer> <solution> 4 </solution>",
        GOOD + " <answer>[[A]]</answer>",
        GOOD + GOOD,
        GOOD.replace("[[A]]", "[[A]] [[B]]"),
        GOOD.replace("[[A]]", "[[C]]"),
        GOOD + " And one more thing.",
        "<solution> <solution> 4 </solution> [[A]]",
        "<solution> [[A]] </solution> [[A]]",
        "<solution> 4 [[A]]</solution>",
    ],
)
def test_two_verdicts_open_tags_and_tails_have_no_form(text):
    assert parts(text) == Parts(form=False, judge=None, solve=None)
    assert all(reward(parts(text), arm, Weights()) == -0.5 for arm in ARMS)


def test_a_cut_or_lost_reply_has_no_form():
    assert not parts(GOOD, finish="length").form
    assert not parts(GOOD, finish="error").form


def test_the_arms_on_all_four_outcomes():
    outcomes = [Parts(True, judge, solve) for judge in (0.0, 1.0) for solve in (0.0, 1.0)]
    earned = {arm: [reward(each, arm, Weights()) for each in outcomes] for arm in ARMS}
    assert earned == {
        "judge_only": [0, 0, 1, 1],
        "solve_only": [0, 1, 0, 1],
        "additive": [0, 1, 1, 2],
        "gated": [0, 0.2, 0, 1.2],
        "segment_credit": [0, 1, 1, 2],
    }


def test_a_missing_part_drops_out_and_is_not_zero():
    weights = Weights(judge=2, solve=3)
    assert reward(Parts(True, None, 1.0), "additive", weights) == 3
    assert reward(Parts(True, 1.0, None), "additive", weights) == 2
    assert reward(Parts(True, None, 1.0), "judge_only", weights) is None
    assert reward(Parts(True, 1.0, None), "solve_only", weights) is None
    assert reward(Parts(True, 1.0, None), "gated", weights) is None
    assert reward(Parts(True, None, 1.0), "gated", weights) == 0.2
    assert all(reward(Parts(True, None, None), arm, weights) is None for arm in ARMS)


def test_a_term_of_no_weight_earns_nothing():
    assert reward(Parts(True, 1.0, 1.0), "additive", Weights(judge=0)) == 1
    assert reward(Parts(True, 1.0, 1.0), "additive", Weights(solve=0)) == 1
    assert reward(Parts(False, None, None), "gated", Weights(penalty=0)) == 0


@pytest.mark.parametrize(
    "weights", [{"judge": -1}, {"solve": -1}, {"penalty": -0.1}, {"judge": 0, "solve": 0}]
)
def test_weights_that_reward_nothing_or_the_wrong_are_refused(weights):
    with pytest.raises(BadInput, match="reward weights"):
        Weights(**weights)


known = st.sampled_from([0.0, 1.0])
unknown = st.none() | known
amount = st.floats(0.01, 10)


@given(unknown, unknown, st.sampled_from(ARMS), amount, amount, st.floats(0, 10))
def test_a_reward_is_finite_and_inside_its_bounds(judge, solve, arm, w_j, w_s, penalty):
    weights = Weights(w_j, w_s, penalty)
    earned = reward(Parts(True, judge, solve), arm, weights)
    if earned is not None:
        assert math.isfinite(earned)
        assert 0 <= earned <= max(w_j + w_s, 1.2) + 1e-9
        assert earned >= reward(Parts(False, None, None), arm, weights)


@given(known, st.sampled_from(ARMS), amount, amount)
def test_being_right_never_earns_less(other, arm, w_j, w_s):
    weights = Weights(w_j, w_s)
    assert reward(Parts(True, 1.0, other), arm, weights) >= reward(
        Parts(True, 0.0, other), arm, weights
    )
    assert reward(Parts(True, other, 1.0), arm, weights) >= reward(
        Parts(True, other, 0.0), arm, weights
    )


@given(st.text(alphabet="AB[]<>/solutinevar 4V.\n", max_size=80))
def test_any_text_is_taken_apart_without_an_error(text):
    for template in (CHAIN, TAGS):
        found = parts(text, template)
        assert found.form or (found.judge, found.solve) == (None, None)
        if found.form:
            assert found.judge in (0.0, 1.0)
