"""The rules: trigger, stop, gate, pass@k and the verdict, against their definitions."""

from fractions import Fraction
from itertools import combinations
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.reheat.method import (
    Limits,
    Preservation,
    StopRule,
    TokenEntropy,
    Trigger,
    missed,
    pass_at_k,
    reference_entropy,
    verdict,
    window_steps,
)

ENTROPIES = st.floats(0, 12, allow_nan=False)
SAME = Preservation(
    num_tokens=1, token_kl=0.0, top10_overlap=1.0, retained_mass=1.0, greedy_agreement=1.0
)


@given(st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(data):
    n = data.draw(st.integers(1, 9))
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    choices = list(combinations([True] * c + [False] * (n - c), k))
    share = Fraction(sum(any(choice) for choice in choices), len(choices))
    assert pass_at_k(n, c, k) == pytest.approx(float(share), abs=1e-12)


@given(st.integers(1, 200), st.data())
def test_pass_at_k_grows_with_k_and_with_c(n, data):
    c = data.draw(st.integers(0, n))
    values = [pass_at_k(n, c, k) for k in range(1, n + 1)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(c / n)
    assert values[-1] == (1 if c else 0)
    if c < n:
        assert pass_at_k(n, c + 1, 1) > values[0]


@pytest.mark.parametrize(("n", "c", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1), (0, 0, 1)])
def test_pass_at_k_refuses_what_cannot_be(n, c, k):
    with pytest.raises(ValueError, match="right in"):
        pass_at_k(n, c, k)


@given(st.lists(ENTROPIES, min_size=1, max_size=12), st.integers(1, 4), ENTROPIES)
def test_the_trigger_wants_so_many_low_probes_running(entropies, patience, reference):
    trigger = Trigger(ratio=0.5, patience=patience)
    low = [entropy < 0.5 * reference for entropy in entropies]
    running = 0
    for step, each in enumerate(low, 1):
        running = running + 1 if each else 0
        assert trigger.fires(entropies[:step], reference) == (running >= patience)


def test_without_a_reference_only_an_absolute_level_fires():
    assert Trigger().level(None) is None
    assert not Trigger(patience=1).fires([0.0], None)
    assert Trigger(patience=1, absolute=0.1).fires([0.05], None)
    assert Trigger(patience=1, absolute=0.1).level(5.0) == 0.1


@given(st.lists(ENTROPIES, min_size=1, max_size=40), st.integers(4, 60), st.integers(1, 5))
def test_the_reference_is_the_median_of_its_window_once_that_is_over(entropies, planned, every):
    probes = [(every * (place + 1), value) for place, value in enumerate(entropies)]
    window = (0.1, 0.25)
    inside = [value for step, value in probes if 0.1 * planned <= step <= 0.25 * planned]
    found = reference_entropy(probes, window, planned)
    if probes[-1][0] < 0.25 * planned or not inside:
        assert found is None
    else:
        assert found == median(inside)
        # What comes later changes nothing.
        assert reference_entropy([*probes, (10**6, 99.0)], window, planned) == found


@given(st.integers(1, 500), st.integers(1, 60))
def test_the_steps_of_a_window_are_those_that_lie_in_it(planned, every):
    steps = range(every, planned + 1, every)
    inside = [step for step in steps if 0.1 * planned <= step <= 0.25 * planned]
    assert list(window_steps((0.1, 0.25), planned, every)) == inside


@given(st.integers(0, 100), ENTROPIES, ENTROPIES, ENTROPIES)
def test_the_ceiling_goes_before_the_target_and_the_last_step(step, entropy, low, high):
    rule = StopRule(target=min(low, high), ceiling=max(low, high), max_steps=30)
    answer = rule.answer(step, entropy)
    assert (answer == "back") == (entropy > rule.ceiling)
    if answer == "stop":
        assert entropy >= rule.target or step >= 30
    if answer == "go":
        assert entropy < rule.target
        assert step < 30


@pytest.mark.parametrize(
    ("changes", "accuracy", "words"),
    [
        ({}, 0.5, []),
        ({"token_kl": 0.02}, 0.4, []),
        ({"token_kl": 0.021}, None, ["token KL 0.021 is above 0.02"]),
        ({"top10_overlap": 0.9}, None, ["top10 overlap 0.900 is below 0.95"]),
        ({"greedy_agreement": 0.5}, None, ["greedy agreement 0.500 is below 0.96"]),
        ({}, 0.39, ["greedy accuracy 0.390 is below the interval of before (0.400)"]),
    ],
)
def test_the_gate_says_what_moved(changes, accuracy, words):
    found = SAME.model_copy(update=changes)
    assert missed(found, Limits(), accuracy=accuracy, floor=0.4) == words


def test_the_gate_says_all_of_it():
    moved = Preservation(
        num_tokens=9, token_kl=1.0, top10_overlap=0.1, retained_mass=0.1, greedy_agreement=0.1
    )
    assert len(missed(moved, Limits(), accuracy=0.1, floor=0.2)) == 4


@given(st.lists(ENTROPIES, min_size=1, max_size=30))
def test_the_entropies_of_tokens(values):
    found = TokenEntropy.of(values)
    assert found.num_tokens == len(values)
    assert found.mean == pytest.approx(sum(values) / len(values))
    assert min(values) <= found.p10 <= found.p50 <= found.p90 <= max(values)


def test_no_token_has_no_entropy():
    with pytest.raises(ValueError, match="no token"):
        TokenEntropy.of([])


@pytest.mark.parametrize(
    ("entropy", "reference", "level", "sentence"),
    [
        (0.09, 1.0, 0.67, "collapsed: 9% of the reference entropy; 89% of groups without variance"),
        (0.9, 1.0, 0.67, "not collapsed: 90% of the reference entropy; 89% of groups without"),
        (0.09, None, None, "entropy 0.090 nats; 89% of groups without variance"),
        (None, None, None, "89% of groups without variance; the entropy needs local weights"),
        (0.0, 0.0, None, "entropy 0.000 nats; 89% of groups without variance"),
    ],
)
def test_the_verdict_is_one_plain_sentence(entropy, reference, level, sentence):
    assert verdict(entropy, reference, level, 0.89).startswith(sentence)
