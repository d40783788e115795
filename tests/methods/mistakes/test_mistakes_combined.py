"""Programs with two mistakes: what is counted as named, and what chance would have."""

from itertools import combinations

import pytest

BOTH = frozenset(("CE", "MLA"))


@pytest.fixture
def bench(benchmarks):
    import bench_mistakes_combined as made

    return made


def test_the_figures_of_three_programs(bench):
    right = bench.Told("a", BOTH, ("MLA", "CE"), True)
    half = bench.Told("a", BOTH, ("CE", "IOM"), True)
    silent = bench.Told("b", BOTH, (), False)
    text = bench.page([right, half, silent], 3)
    assert "| exact set | 0.500 " in text
    assert "| micro-F1 | 0.750 " in text
    assert "| one of the two first | 1.000 " in text
    assert "Answered: 0.667 " in text


def test_chance_is_that_of_two_names_among_six(bench):
    named = [bench.Told("a", BOTH, pair, True) for pair in combinations(bench.SINGLE, 2)]
    exact = bench.over_tasks(named, lambda each: float(set(each.named) == each.labels), 1.0)
    micro = bench.over_tasks(named, lambda each: float(len(each.labels & set(each.named))), 2.0)
    assert exact.value == pytest.approx(bench.CHANCE["exact set"])
    assert micro.value == pytest.approx(bench.CHANCE["micro-F1"])


def test_a_category_that_is_never_there_and_never_named_counts_nothing(bench):
    right = bench.Told("a", BOTH, ("MLA", "CE"), True)
    assert bench.macro([right]) == pytest.approx(2 / len(bench.SINGLE))
