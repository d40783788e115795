"""The statistics against their references, their definitions and their promised coverage."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from planish import stats
from planish.stats import (
    Estimate,
    brier,
    cohen_kappa,
    expected_calibration_error,
    holm,
    krippendorff_alpha,
    length_slope,
    macro_f1,
    mcnemar,
    mean,
    nested_bootstrap,
    paired,
    paired_bootstrap,
    ratio,
    relative,
)
from planish.stats.estimates import bootstrap_weights

finite = st.floats(-1e6, 1e6, allow_nan=False)
maybe = st.sampled_from([0, 1, None])


def rows_of(seed: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """0 to 3 informative calls per item, some of them hits."""
    rng = np.random.default_rng(seed)
    bottoms = rng.integers(0, 4, items)
    return rng.binomial(bottoms, 0.4), bottoms


# --- estimates -----------------------------------------------------------------------------


def test_estimate_reads_like_a_result() -> None:
    assert str(Estimate(value=0.3222, low=0.2667, high=0.3778, n=9)) == "0.322 [0.267, 0.378]"
    assert str(Estimate(value=None)) == "n/a"
    assert str(Estimate(value=2.0, n=3)) == "2.000"


def test_importing_the_module_stays_light() -> None:
    code = (
        "import sys, planish.stats; "
        "heavy = {'numpy', 'scipy', 'statsmodels', 'sklearn', 'krippendorff', 'torch'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_exists() -> None:
    assert all(hasattr(stats, name) for name in stats.__all__)


def test_ratio_is_the_same_bootstrap_as_scipys() -> None:
    from scipy.stats import bootstrap

    tops, bottoms = rows_of(3, 200)
    ours = ratio(tops, bottoms, resamples=20_000, seed=1)
    theirs = bootstrap(
        (tops, bottoms),
        lambda t, b, axis: t.sum(axis) / b.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.value == pytest.approx(tops.sum() / bottoms.sum())
    assert ours.low == pytest.approx(theirs.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.high, abs=0.004)
    assert ours.n == (bottoms > 0).sum()


def test_mean_is_the_same_bootstrap_as_scipys() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(5).exponential(3.0, 120)
    ours = mean(values, resamples=8000, seed=1, confidence=0.9)
    theirs = bootstrap(
        (values,),
        np.mean,
        n_resamples=8000,
        method="percentile",
        confidence_level=0.9,
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)


def test_the_item_is_the_unit_not_the_call() -> None:
    """Two calls that always agree are one piece of evidence: the interval must not shrink."""
    once = [1] * 40 + [0] * 60
    single = ratio(once, [1] * 100, resamples=10_000)
    doubled = ratio([2 * x for x in once], [2] * 100, resamples=10_000)
    pretended = ratio(once * 2, [1] * 200, resamples=10_000)
    assert doubled.high - doubled.low == pytest.approx(single.high - single.low, rel=0.05)
    assert pretended.high - pretended.low < 0.8 * (single.high - single.low)


def test_weights_are_draws_with_replacement() -> None:
    counts = np.array([3, 5, 2])
    weights = np.concatenate(bootstrap_weights(counts, seed=0, resamples=20_000))
    assert (weights.sum(axis=1) == 10).all()
    assert weights.mean(axis=0) == pytest.approx(counts, abs=0.05)
    assert weights.var(axis=0) == pytest.approx(10 * counts / 10 * (1 - counts / 10), rel=0.05)


def test_chunks_hold_every_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.stats.estimates._CHUNK", 50)
    chunks = bootstrap_weights(np.ones(20, dtype=int), seed=0, resamples=7)
    assert [len(chunk) for chunk in chunks] == [2, 2, 2, 1]


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (0, 270), (1, 1)])
def test_total_agreement_gets_the_exact_interval(hits: int, n: int) -> None:
    from scipy.stats import binomtest

    tops, bottoms = [hits and 1] * n + [0] * 3, [1] * n + [0] * 3
    found = ratio(tops, bottoms)
    exact = binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))
    assert found.n == n


def test_exact_interval_ignores_items_without_evidence() -> None:
    assert ratio([1] * 5 + [0] * 500, [1] * 5 + [0] * 500) == ratio([1] * 5, [1] * 5)


def test_agreement_on_half_a_point_is_no_certainty() -> None:
    found = mean([0.5] * 10)
    assert found.low < 0.25
    assert found.high > 0.75


def test_a_quantity_without_variation_has_no_interval() -> None:
    assert mean([5.0, 5.0, 5.0]) == Estimate(value=5.0, n=3)
    assert paired_bootstrap([1, 0, 1], [1, 0, 1]) == Estimate(value=0.0, n=3)


def test_nothing_measured_is_none_not_zero() -> None:
    assert ratio([], []) == Estimate(value=None)
    assert ratio([0, 0], [0, 0]) == Estimate(value=None)
    assert mean([]) == Estimate(value=None)


def test_resamples_with_a_single_informative_item_count() -> None:
    """One hit and one miss among ten items: of the resamples with a ratio, 27.0 % have ratio 0.

    (.9**10 - .8**10) / (1 - .8**10) = .2704; without the resamples of one informative item it
    would be 17.1 %. A lower tail of 22 % therefore ends at 0.
    """
    found = ratio([1] + [0] * 9, [1, 1] + [0] * 8, confidence=0.56, resamples=20_000)
    assert found.low == 0.0
    found = ratio([1] + [0] * 9, [1, 1] + [0] * 8, confidence=0.40, resamples=20_000)
    assert found.low > 0.0


def test_quantities_above_one_are_not_clipped() -> None:
    found = ratio([300, 500, 100], [1, 2, 1])
    assert found.value == 225.0
    assert found.high > 200


@pytest.mark.parametrize(
    ("tops", "bottoms"),
    [([1], [1, 1]), ([math.nan], [1]), ([1], [math.inf]), ([1], [-1]), ([1], [0]), ([[1]], [[1]])],
)
def test_wrong_input_is_refused(tops: list[float], bottoms: list[float]) -> None:
    with pytest.raises(ValueError):
        ratio(tops, bottoms)


@pytest.mark.parametrize("options", [{"confidence": 1.0}, {"confidence": 0.0}, {"resamples": 0}])
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        mean([0.0, 1.0], **options)


@given(st.lists(st.integers(0, 4).flatmap(lambda d: st.tuples(st.integers(0, d), st.just(d)))))
def test_rates_stay_rates(rows: list[tuple[int, int]]) -> None:
    found = ratio([top for top, _ in rows], [bottom for _, bottom in rows], resamples=100)
    assert found.n == sum(bottom > 0 for _, bottom in rows)
    if found.n:
        assert 0 <= found.low <= found.high <= 1
        assert found.value == pytest.approx(
            sum(top for top, _ in rows) / sum(bottom for _, bottom in rows)
        )
    else:
        assert found == Estimate(value=None)


@given(st.lists(finite, min_size=1, max_size=30), st.integers(0, 5))
def test_mean_is_reproducible_ordered_and_within_the_data(values: list[float], seed: int) -> None:
    found = mean(values, seed=seed, resamples=50)
    assert found == mean(values, seed=seed, resamples=50)
    assert found.value == pytest.approx(np.mean(values), abs=1e-3)
    if found.low is not None and not all(0 <= value <= 1 for value in values):
        assert min(values) - 1e-3 <= found.low <= found.high <= max(values) + 1e-3


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_order_of_items_does_not_matter_and_swapping_flips(
    pairs: list[tuple[bool, bool]],
) -> None:
    a, b = zip(*pairs, strict=True)
    found = paired_bootstrap(a, b, resamples=200)
    assert found == paired_bootstrap(a[::-1], b[::-1], resamples=200)
    flipped = paired_bootstrap(b, a, resamples=200)
    assert flipped.value == pytest.approx(-found.value)


def test_paired_bootstrap_uses_the_pairing() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(size=300)
    a, b = difficulty + 0.1 + rng.normal(size=300) * 0.1, difficulty + rng.normal(size=300) * 0.1
    paired = paired_bootstrap(a, b)
    assert 0.05 < paired.low < paired.value < paired.high < 0.15
    assert mean(a).high - mean(a).low > 3 * (paired.high - paired.low)


def coverage(simulations: int, items: int, chance: float, resamples: int) -> float:
    """Share of intervals that hold the truth: two correlated calls per item, a quarter undecided.

    `chance` is the rate among decided calls: half the items have calls that agree.
    """
    rng = np.random.default_rng(8)
    held = 0
    for seed in range(simulations):
        decided = rng.random((items, 2)) < 0.75
        first, second = rng.random((2, items)) < chance
        second = np.where(rng.random(items) < 0.5, first, second)
        tops = (np.stack([first, second], axis=1) & decided).sum(axis=1)
        found = ratio(tops, decided.sum(axis=1), seed=seed, resamples=resamples)
        held += found.low <= chance <= found.high
    return held / simulations


def test_intervals_cover_what_they_promise() -> None:
    # 600 simulations: standard error .009, so this band is .92-.97 widened by it.
    assert 0.915 <= coverage(600, 150, 0.3, 600) <= 0.975


@pytest.mark.slow
@pytest.mark.parametrize(("items", "chance"), [(60, 0.5), (150, 0.3), (270, 0.15), (270, 0.63)])
def test_intervals_cover_what_they_promise_at_length(items: int, chance: float) -> None:
    assert 0.92 <= coverage(5000, items, chance, 2000) <= 0.97


# --- agreement and tests -------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
@settings(deadline=None)
def test_mcnemar_matches_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar as reference

    table = np.zeros((2, 2), dtype=int)
    for a, b in pairs:
        table[int(a), int(b)] += 1
    found = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    assert (found.only_a, found.only_b) == (table[1, 0], table[0, 1])
    assert found.p_value == pytest.approx(min(1.0, reference(table, exact=True).pvalue))


def test_mcnemar_by_hand() -> None:
    found = mcnemar([True] * 8 + [False], [False] * 8 + [True])
    assert found.p_value == pytest.approx(2 * (1 + 9) / 2**9)
    with pytest.raises(ValueError, match="lengths differ"):
        mcnemar([True], [])


labels = st.sampled_from(["A", "B", "tie"])


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=60))
@settings(deadline=None)
def test_kappa_matches_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    a, b = zip(*pairs, strict=True)
    found = cohen_kappa(a, b, resamples=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = cohen_kappa_score(a, b)
    if len({*a, *b}) == 1:
        assert found == Estimate(value=None, n=len(a))
    else:
        assert found.value == pytest.approx(expected, abs=1e-9)
        assert found.low <= found.high


def test_kappa_interval_matches_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(4)
    a = rng.integers(0, 3, 200)
    b = np.where(rng.random(200) < 0.6, a, rng.integers(0, 3, 200))
    ours = cohen_kappa(a.tolist(), b.tolist(), resamples=4000)
    theirs = bootstrap(
        (a, b),
        cohen_kappa_score,
        paired=True,
        vectorized=False,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_total_agreement_is_not_certain_kappa() -> None:
    found = cohen_kappa(["A", "B"] * 5, ["A", "B"] * 5)
    # Clopper-Pearson for 10 of 10 starts at .6915; chance agreement is .5.
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx((0.025 ** (1 / 10) - 0.5) / 0.5)


def test_kappa_of_skewed_labels_is_still_defined() -> None:
    assert cohen_kappa("A" * 99 + "B", "A" * 99 + "B").value == pytest.approx(1.0)


def test_kappa_refuses_missing_labels() -> None:
    assert cohen_kappa([], []) == Estimate(value=None)
    with pytest.raises(ValueError, match="None is no label"):
        cohen_kappa(["A", None], ["A", "B"])


def test_krippendorff_published_example() -> None:
    """Krippendorff (2011), four observers, twelve units, missing data: nominal .743."""
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    assert krippendorff_alpha(rows) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(rows, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert krippendorff_alpha(rows, "interval") == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(rows, "ratio") == pytest.approx(0.797, abs=5e-4)
    named = [[None if x is None else "abcde"[x - 1] for x in row] for row in rows]
    assert krippendorff_alpha(named) == pytest.approx(0.743, abs=5e-4)


rating = st.one_of(st.none(), st.integers(1, 5))


@given(
    st.lists(st.tuples(rating, rating, rating), min_size=1, max_size=20),
    st.sampled_from(["nominal", "ordinal", "interval", "ratio"]),
)
@settings(deadline=None)
def test_krippendorff_matches_the_package_or_is_undefined(
    items: list[tuple[int | None, ...]], level: str
) -> None:
    import krippendorff

    rows = [list(row) for row in zip(*items, strict=True)]
    found = krippendorff_alpha(rows, level)
    paired = [[r for r in item if r is not None] for item in items]
    paired = [item for item in paired if len(item) > 1]
    if len({r for item in paired for r in item}) < 2:
        assert found is None
    else:
        data = np.array([[np.nan if r is None else r for r in row] for row in rows])
        expected = krippendorff.alpha(data, level_of_measurement=level)
        assert found == pytest.approx(expected)


def test_krippendorff_edges() -> None:
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([["a", "b", "a"]]) is None  # nobody to agree with
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None  # no variation
    assert krippendorff_alpha([["a", "b"], ["a", "b"]]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="lengths differ"):
        krippendorff_alpha([["a"], ["a", "b"]])
    with pytest.raises(ValueError, match="NaN"):
        krippendorff_alpha([[1.0, math.nan], [1.0, 2.0]], "interval")


@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
@settings(deadline=None)
def test_macro_f1_matches_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import f1_score

    gold, predicted = zip(*pairs, strict=True)
    expected = f1_score(gold, predicted, average="macro", zero_division=0.0)
    assert macro_f1(gold, predicted) == pytest.approx(expected)


def test_macro_f1_by_hand() -> None:
    # A: precision 1, recall 1/2 -> 2/3; B: precision 1/2, recall 1 -> 2/3.
    assert macro_f1(["A", "A", "B"], ["A", "B", "B"]) == pytest.approx(2 / 3)
    # An unreadable prediction costs A its recall and is no label of its own: (2/3 + 1) / 2.
    assert macro_f1(["A", "A", "B"], ["A", None, "B"]) == pytest.approx(5 / 6)
    assert macro_f1([], []) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    with pytest.raises(ValueError):
        holm([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(deadline=None, max_examples=30)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    theirs = multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(list(theirs))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None, max_examples=30)
def test_holm_never_lowers_and_never_reorders(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q + 1e-12 and q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= -1e-12).all()
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))


# --- calibration ---------------------------------------------------------------------------

stated = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=50)


@given(stated)
@settings(deadline=None)
def test_brier_matches_scikit_learn(rows: list[tuple[float, int]]) -> None:
    from sklearn.metrics import brier_score_loss

    chances, outcomes = zip(*rows, strict=True)
    expected = brier_score_loss(outcomes, chances, labels=[0, 1], pos_label=1)
    assert brier(chances, outcomes) == pytest.approx(expected)


@given(stated, st.integers(1, 15))
def test_calibration_error_matches_its_definition(rows: list[tuple[float, int]], bins: int) -> None:
    total = 0.0
    for i in range(bins):
        inside = [(p, y) for p, y in rows if min(int(p * bins), bins - 1) == i]
        if inside:
            gap = np.mean([p for p, _ in inside]) - np.mean([y for _, y in inside])
            total += len(inside) / len(rows) * abs(gap)
    found = expected_calibration_error([p for p, _ in rows], [y for _, y in rows], bins)
    assert found == pytest.approx(total, abs=1e-9)
    assert 0 <= found <= 1


def test_calibration_by_hand() -> None:
    assert expected_calibration_error([0.9] * 10, [1] * 9 + [0]) == pytest.approx(0.0)
    assert expected_calibration_error([0.9] * 10, [0] * 10) == pytest.approx(0.9)
    assert expected_calibration_error([1.0], [1]) == 0.0
    assert expected_calibration_error([], []) is None
    assert brier([], []) is None
    for chances, outcomes in [([1.1], [1]), ([0.5], [0.5]), ([math.nan], [1])]:
        with pytest.raises(ValueError):
            brier(chances, outcomes)


def choices(sway: float, items: int, seed: int) -> tuple[np.ndarray, ...]:
    """A planted judge: log-odds of A = sway * (log length ratio, in sd) + 1.5 * gold."""
    rng = np.random.default_rng(seed)
    log_ratio = rng.normal(size=items)
    gold = np.where(rng.random(items) < 0.5, "A", "B")
    logit = sway * log_ratio / log_ratio.std() + 1.5 * np.where(gold == "A", 1, -1)
    lengths_b = rng.integers(500, 2000, items).astype(float)
    chose = rng.random(items) < 1 / (1 + np.exp(-logit))
    return chose, lengths_b * np.exp(log_ratio), lengths_b, gold


@pytest.mark.parametrize("sway", [0.0, 0.8, -0.5])
def test_length_slope_recovers_a_planted_sway(sway: float) -> None:
    found = length_slope(*choices(sway, 3000, seed=1))
    assert found.why == ""
    assert found.slope.low < sway < found.slope.high
    assert found.slope.high - found.slope.low < 0.3


def test_length_slope_matches_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    chose, a, b, gold = choices(0.6, 400, seed=2)
    log_ratio = np.log1p(a) - np.log1p(b)
    design = np.stack([log_ratio / log_ratio.std(), np.where(gold == "A", 1.0, -1.0)], axis=1)
    reference = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(design, chose)
    assert length_slope(chose, a, b, gold).slope.value == pytest.approx(
        reference.coef_[0, 0], abs=1e-3
    )


def test_length_slope_controls_for_gold() -> None:
    """A judge that follows gold only, where gold is longer: without the control it looks swayed."""
    rng = np.random.default_rng(3)
    gold = np.where(rng.random(2000) < 0.5, "A", "B")
    sign = np.where(gold == "A", 1, -1)
    chose = rng.random(2000) < 1 / (1 + np.exp(-1.5 * sign))
    a = 1000 * np.exp(sign + rng.normal(size=2000))
    controlled = length_slope(chose, a, [1000] * 2000, gold).slope
    ignored = length_slope(chose, a, [1000] * 2000, [None] * 2000).slope
    assert controlled.low < 0 < controlled.high
    assert ignored.low > 0.3


@pytest.mark.parametrize(
    ("chose", "a", "b", "gold", "why"),
    [
        ([], [], [], [], "no decisive item"),
        ([1, 1], [5, 9], [9, 5], ["A", "B"], "same side"),
        ([1, 0, 1], [5, 5, 5], [5, 5, 5], ["A", "B", "A"], "never varies"),
        ([1, 0], [9, 5], [5, 9], ["A", "B"], "cannot be told apart"),
        ([1, 0, 1, 0], [9, 5, 8, 4], [5, 9, 4, 9], ["A", "A", "B", "B"], "no finite estimate"),
        # quasi-complete: one equal-length item on each side does not make the slope finite
        ([1, 0, 1, 0], [9, 5, 5, 5], [5, 9, 5, 5], [None] * 4, "no finite estimate"),
    ],
)
def test_a_slope_without_an_estimate_says_why(
    chose: list[int], a: list[float], b: list[float], gold: list[str | None], why: str
) -> None:
    found = length_slope(chose, a, b, gold)
    assert found.slope.value is None
    assert why in found.why


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 5),
            st.integers(0, 5),
            st.sampled_from(["A", "B", "tie", None]),
        ),
        max_size=14,
    )
)
@settings(deadline=None, max_examples=150)
def test_length_slope_never_warns_or_raises(rows: list[tuple[bool, int, int, str | None]]) -> None:
    columns = [[row[i] for row in rows] for i in range(4)]
    found = length_slope(*columns)
    if found.slope.value is None:
        assert found.why
    else:
        assert found.slope.low < found.slope.value < found.slope.high
        assert abs(found.slope.value) < 1e4


# --- paired --------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=3), st.tuples(maybe, maybe), max_size=12))
def test_paired_is_the_difference_on_what_both_scored(
    rows: dict[str, tuple[int | None, int | None]],
) -> None:
    a, b = ({item: pair[side] for item, pair in rows.items()} for side in (0, 1))
    found = paired(a, b)
    both = [(x, y) for x, y in rows.values() if x is not None and y is not None]
    assert found.n == len(both)
    assert found.left_out == sum((x is None) != (y is None) for x, y in rows.values())
    if both:
        assert found.difference.value == pytest.approx(sum(y - x for x, y in both) / len(both))
        assert found.mcnemar is not None
        assert found.mcnemar.only_a == sum(x > y for x, y in both)
        assert found.mcnemar.only_b == sum(y > x for x, y in both)
    else:
        assert found.difference.value is None


def test_paired_shares_have_no_mcnemar() -> None:
    found = paired({"x": 0.5, "y": 1}, {"x": 1, "y": 1})
    assert found.difference.value == 0.25
    assert found.mcnemar is None


def test_nested_bootstrap_covers_runs_and_items():
    """Of 200 worlds with a spread of runs and of items about 95 in 100 intervals hold the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for world in range(200):
        centres = rng.normal(0.3, 0.1, size=12)
        runs = [rng.normal(centre, 0.5, size=40).tolist() for centre in centres]
        found = nested_bootstrap(runs, seed=world, resamples=400)
        held += found.low <= 0.3 <= found.high
    assert 178 <= held <= 198


def test_nested_bootstrap_is_wider_than_its_items_alone():
    runs = [[0.0, 1.0] * 50, [1.0, 1.0, 1.0, 0.0] * 25]
    nested, flat = nested_bootstrap(runs), mean([value for run in runs for value in run])
    assert nested.value == pytest.approx(flat.value)
    assert nested.high - nested.low > flat.high - flat.low
    assert nested.n == 2


@pytest.mark.parametrize(
    ("runs", "value", "n"), [([], None, 0), ([[]], None, 0), ([[0.25, 0.75], []], 0.5, 1)]
)
def test_nested_bootstrap_of_one_run_has_no_interval(runs, value, n):
    found = nested_bootstrap(runs)
    assert (found.value, found.low, found.high, found.n) == (value, None, None, n)


# --- one rate beside another ---------------------------------------------------------------


def test_relative_is_the_bootstrap_of_both_rates_together() -> None:
    rng = np.random.default_rng(0)
    tops, under = rng.uniform(0, 5, 40), rng.integers(1, 9, 40).astype(float)
    others, beneath = rng.uniform(1, 5, 40), rng.integers(1, 9, 40).astype(float)
    found = relative(tops, under, others, beneath)
    assert found.value == pytest.approx(
        tops.sum() / under.sum() / (others.sum() / beneath.sum()), rel=1e-12
    )
    draws = rng.integers(40, size=(4000, 40))
    plain = (
        tops[draws].sum(1) / under[draws].sum(1) / (others[draws].sum(1) / beneath[draws].sum(1))
    )
    assert found.low == pytest.approx(np.quantile(plain, 0.025), rel=0.05)
    assert found.high == pytest.approx(np.quantile(plain, 0.975), rel=0.05)
    assert found.n == 40


def test_relative_of_the_same_is_one_and_pairing_makes_it_narrow() -> None:
    tops, under = [1.0, 2.0, 7.0, 0.5], [2.0, 2.0, 3.0, 1.0]
    found = relative(tops, under, tops, under)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_relative_without_something_to_divide_by_is_undefined() -> None:
    assert relative([1.0], [1.0], [0.0], [1.0]).value is None
    assert relative([], [], [], []).value is None
    assert relative([0.0], [0.0], [1.0], [1.0]).value is None
    assert relative([1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0]) == Estimate(value=0.5, n=2)
    with pytest.raises(ValueError, match="lengths differ"):
        relative([1.0], [1.0], [1.0, 2.0], [1.0, 1.0])
