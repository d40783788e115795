"""The statistics of interventions: test, interval, correction, decision, power."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom, fisher_exact

from planish.errors import BadInput
from planish.methods.mistakes.reasoning.effects import Count, Trial, bounds, fisher, judge, stable
from planish.methods.mistakes.reasoning.power import (
    FLOOR,
    check_samples,
    fisher_table,
    power,
    samples_needed,
)

ARM = 28


def counts(n: int = ARM) -> st.SearchStrategy[Count]:
    return st.integers(0, n).map(lambda passes: Count(passes, n))


def trials() -> st.SearchStrategy[list[Trial]]:
    each = st.tuples(st.sampled_from(["EC", "IOD", "PS"]), counts(), counts(), counts(22))
    return st.lists(
        each.map(lambda parts: Trial(parts[0], parts[1], parts[2], Count(parts[3].passes, 28))),
        min_size=1,
        max_size=6,
    )


@given(counts(17), counts(23))
def test_the_test_is_fishers(edit: Count, placebo: Count) -> None:
    table = [[edit.passes, 17 - edit.passes], [placebo.passes, 23 - placebo.passes]]
    assert fisher(edit, placebo) == pytest.approx(fisher_exact(table, "greater")[1], abs=1e-12)


@given(st.integers(0, 12), st.integers(0, 12))
def test_the_tables_of_the_power_are_fishers(edit: int, placebo: int) -> None:
    table = [[edit, 12 - edit], [placebo, 12 - placebo]]
    wanted = fisher_exact(table, "greater")[1]
    assert fisher_table(12)[edit, placebo] == pytest.approx(wanted, abs=1e-12)


@given(counts(), counts())
def test_the_interval_holds_the_estimate_and_is_symmetric(edit: Count, placebo: Count) -> None:
    low, high = bounds(edit.passes, edit.n, placebo.passes, placebo.n)
    # Drawn towards the middle, as all intervals of this kind are, but never past the estimate.
    assert -1 <= low <= edit.passes / edit.n - placebo.passes / placebo.n <= high <= 1
    back = bounds(placebo.passes, placebo.n, edit.passes, edit.n)
    assert (float(low), float(high)) == pytest.approx((-float(back[1]), -float(back[0])))


@pytest.mark.parametrize("n", [22, 28, 40])
def test_coverage_of_the_interval_by_enumeration(n: int) -> None:
    count = np.arange(n + 1)
    low, high = bounds(count[:, None] + 0 * count, n, count[None, :] + 0 * count[:, None], n)
    covered = []
    for after in np.linspace(0.02, 0.98, 13):
        for base in np.linspace(0.02, 0.98, 13):
            chance = binom.pmf(count, n, after)[:, None] * binom.pmf(count, n, base)[None, :]
            covered.append(chance[(low <= after - base + 1e-12) & (after - base <= high)].sum())
    assert min(covered) > 0.935
    assert np.mean(covered) >= 0.95


@pytest.mark.parametrize(("base", "after"), [(0.0, 0.0), (0.05, 0.05), (0.2, 0.6), (0.5, 0.95)])
def test_coverage_of_the_interval_by_simulation(base: float, after: float) -> None:
    rng = np.random.default_rng(7)
    edit, placebo = rng.binomial(40, after, 20_000), rng.binomial(40, base, 20_000)
    low, high = bounds(edit, 40, placebo, 40)
    share = np.mean((low <= after - base + 1e-12) & (after - base - 1e-12 <= high))
    assert share >= 0.94


@given(trials())
@settings(max_examples=60)
def test_what_holds_has_both_and_holm_never_helps(drawn: list[Trial]) -> None:
    for report in judge("t", drawn):
        if report.p is None:
            assert report.why
            assert not report.holds
            continue
        assert report.p_holm is not None
        assert report.low is not None
        assert report.p <= report.p_holm <= min(1.0, report.p * len(drawn) + 1e-12)
        assert report.holds == (report.p_holm < 0.05 and report.low > 0)


@given(trials(), st.randoms())
@settings(max_examples=30)
def test_the_order_of_the_reasons_does_not_matter(drawn: list[Trial], random: object) -> None:
    order = list(range(len(drawn)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one, other = judge("t", drawn), judge("t", [drawn[place] for place in order])
    assert [one[place] for place in order] == list(other)


def test_a_wider_family_takes_more() -> None:
    strong = Trial("EC", Count(17, 28), Count(9, 28), Count(9, 28))
    weak = [Trial("PS", Count(9, 28), Count(9, 28), Count(9, 28))] * 5
    assert judge("t", [strong])[0].holds
    assert not judge("t", [strong, *weak])[0].holds


def test_several_hold_or_none() -> None:
    much, none = Count(30, 40), Count(8, 40)
    both = judge("t", [Trial("EC", much, none, none), Trial("PS", much, none, none)])
    assert [report.holds for report in both] == [True, True]
    assert not any(report.holds for report in judge("t", [Trial("EC", none, none, none)]))


def test_a_placebo_that_helps_as_much_takes_the_reason_away() -> None:
    report = judge("t", [Trial("EC", Count(36, 40), Count(34, 40), Count(2, 40))])[0]
    assert not report.holds
    assert report.effect == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        (Trial("EC", Count(40, 40), Count(35, 40), Count(33, 40)), "nothing to mend"),
        (Trial("EC", Count(20, 30, 10), Count(5, 40), Count(5, 40)), "10 of 40 samples of the arm"),
        (Trial("EC", None, None, Count(33, 40)), "nothing to mend"),
        (Trial("EC", None, None, Count(3, 30, 10)), "of the arm original could not be scored"),
        (Trial("EC", Count(0, 0, 40), Count(5, 40), Count(5, 40)), "40 of 40 samples"),
        (Trial("EC", Count(30, 40), None, Count(5, 40)), "placebo was not run"),
        (Trial("EC", Count(30, 40), Count(5, 40), Count(5, 40), unstable=True), "not stable"),
        (Trial("EC", why="it leaks"), "it leaks"),
    ],
)
def test_what_cannot_be_measured_says_why_and_never_holds(trial: Trial, why: str) -> None:
    report = judge("t", [trial])[0]
    assert why in report.why
    assert not report.holds
    assert report.p is None
    assert report.effect is None


def test_unmeasured_reasons_do_not_count_in_holm() -> None:
    trial = Trial("EC", Count(20, 40), Count(9, 40), Count(9, 40))
    alone = judge("t", [trial])[0]
    beside = judge("t", [trial, *[Trial("PS", why="no edit")] * 5])[0]
    assert alone.p_holm == beside.p_holm == alone.p


def test_a_rate_that_drifts_is_not_stable() -> None:
    assert not stable([False] * 20 + [True] * 20)
    assert stable([False, True] * 20)
    assert stable([])


@cache
def two_sided_table(n: int) -> np.ndarray:
    """P-values by passes of both arms; a table and its mirror image have the same."""
    found = np.ones((n + 1, n + 1))
    for edit in range(n + 1):
        for placebo in range(edit + 1):
            table = [[edit, n - edit], [placebo, n - placebo]]
            found[edit, placebo] = found[placebo, edit] = fisher_exact(table)[1]
    return found


def two_sided(n: int, alpha: float) -> float:
    """How likely the two-sided test finds 0.2 -> 0.6, the edit ahead: scipy's p of each table."""
    count = np.arange(n + 1)
    found = (two_sided_table(n) < alpha) & (count[:, None] > count[None, :])
    chance = binom.pmf(count, n, 0.6)[:, None] * binom.pmf(count, n, 0.2)[None, :]
    return float(chance[found].sum())


@pytest.mark.parametrize(
    ("n", "alpha", "wanted"),
    [(24, 0.05, 0.76), (28, 0.05, 0.82), (24, 0.05 / 6, 0.49), (40, 0.05 / 6, 0.82)],
)
def test_power_of_the_two_sided_test_is_the_specifications(
    n: int, alpha: float, wanted: float
) -> None:
    assert two_sided(n, alpha) == pytest.approx(wanted, abs=0.005)


def test_one_side_has_more_power_and_the_interval_takes_some() -> None:
    for n in (24, 40):
        one = power(n, 0.2, 0.6)
        assert two_sided(n, 0.05) < one
        assert power(n, 0.2, 0.6, interval=True) <= one
    assert power(40, 0.2, 0.6, alpha=0.05 / 6, interval=True) > 0.8


@given(st.integers(4, 40), st.floats(0, 1))
@example(4, 1.1125369292536007e-308)
@example(17, 2.9164929322509592e-307)
@settings(max_examples=40)
def test_without_an_effect_little_is_found(n: int, rate: float) -> None:
    assert power(n, rate, rate) <= 0.05 + 1e-12


def test_samples_needed_are_enough_and_one_less_is_not() -> None:
    n = samples_needed(0.2, 0.6, alpha=0.05 / 6)
    assert power(n, 0.2, 0.6, alpha=0.05 / 6) >= 0.8 > power(n - 1, 0.2, 0.6, alpha=0.05 / 6)
    with pytest.raises(ValueError, match="no effect"):
        samples_needed(0.5, 0.5)


def test_too_few_samples_are_refused_in_one_line() -> None:
    with pytest.raises(BadInput) as error:
        check_samples(12)
    assert "give at least" in str(error.value)
    assert "\n" not in str(error.value)
    least = int(str(error.value).rpartition(" ")[2])
    check_samples(least)
    assert power(least, 0.2, 0.6, alpha=0.05 / 6) >= FLOOR
    with pytest.raises(BadInput):
        judge("t", [Trial("EC", Count(9, 10), Count(0, 10), Count(0, 10))])
