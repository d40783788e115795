"""Drift, bounds and the rules of the gate, as numbers alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from planish.methods.cowork.method import (
    FEW,
    drift,
    is_hopeless,
    lower_bound,
    objective,
    regressed,
    surely_below,
    upper_bound,
)
from planish.methods.cowork.skills import parse_library
from support.skills import document, edits, small

SCORES = st.lists(st.integers(-60, 60).map(float), min_size=1, max_size=24)
CELLS = st.dictionaries(st.sampled_from("abcd"), SCORES, min_size=1)


def changed(kind: str, name: str, **fields: object) -> dict[str, object]:
    """The small library's document with fields of one node replaced."""
    made = document()
    for node in made[kind]:
        if node["id"] == name:
            node.update(fields)
    return made


# ---- drift


def test_a_parameter_counts_by_how_far_it_moves_and_a_node_whole() -> None:
    moved = parse_library(changed("params", "patience", value=8))
    assert drift(moved, small()) == pytest.approx(0.5)
    wider = parse_library(changed("params", "patience", value=8, max=20))
    assert drift(wider, small()) == 0.5, "another range is another parameter"
    other = parse_library(changed("methods", "cook", priority=61))
    assert drift(other, small()) == 0.5
    both = parse_library({**changed("methods", "cook", priority=61), "params": [
        {**document()["params"][0], "value": 0}, document()["params"][1]]})  # fmt: skip
    assert drift(both, small()) == pytest.approx(0.5 + 0.3)


def test_what_changes_no_behaviour_does_not_count() -> None:
    said = parse_library(changed("methods", "cook", provenance="somebody", stats={"tried": 4}))
    assert drift(said, small()) == 0.0
    turned = document()
    turned["methods"].reverse()
    assert drift(parse_library(turned), small()) == 0.0


@settings(max_examples=40)
@given(edits(), edits())
def test_drift_is_a_distance(one: object, other: object) -> None:
    start = small()
    assert drift(one, one) == 0.0  # type: ignore[arg-type]
    assert drift(one, other) == pytest.approx(drift(other, one))  # type: ignore[arg-type]
    assert (drift(one, start) == 0.0) == (one.digest == start.digest)  # type: ignore[attr-defined, arg-type]


# ---- bounds


@given(CELLS)
def test_the_bounds_enclose_the_mean_and_mirror_each_other(deltas: dict[str, list[float]]) -> None:
    centre, low = lower_bound(deltas)
    assert centre == pytest.approx(np.mean([np.mean(values) for values in deltas.values()]))
    assert low <= centre + 1e-9 <= upper_bound(deltas) + 2e-9
    turned = {cell: [-value for value in values] for cell, values in deltas.items()}
    assert upper_bound(deltas) == pytest.approx(-lower_bound(turned)[1])
    assert lower_bound(deltas, confidence=0.99)[1] <= low


def test_the_bound_holds_nine_times_of_ten() -> None:
    generator = random.Random(1)
    below = 0
    for _ in range(400):
        deltas = {cell: [generator.gauss(5, 20) for _ in range(24)] for cell in "abc"}
        below += lower_bound(deltas, draws=400)[1] <= 5
    assert 0.86 <= below / 400 <= 0.94


def test_cells_weigh_the_same_however_many_episodes_they_have() -> None:
    assert lower_bound({"a": [10.0] * 9, "b": [0.0]}) == (5.0, 5.0)


@pytest.mark.parametrize("deltas", [{}, {"a": [1.0], "b": []}])
def test_a_cell_without_episodes_has_no_bound(deltas: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one pair"):
        lower_bound(deltas)


# ---- rules


@given(CELLS)
def test_only_what_has_gained_nothing_is_hopeless(deltas: dict[str, list[float]]) -> None:
    values = [value for cell in deltas.values() for value in cell]
    if is_hopeless(deltas):
        assert np.mean([np.mean(cell) for cell in deltas.values()]) <= 1e-9
        assert len(values) >= FEW or max(values) <= 0
    elif len(values) >= FEW:
        assert np.mean([np.mean(cell) for cell in deltas.values()]) > 0


def test_a_few_pairs_that_changed_nothing_are_not_hopeless_yet() -> None:
    assert not is_hopeless({"a": [0.0, 0.0]})
    assert is_hopeless({"a": [0.0] * FEW})
    assert not is_hopeless({"a": [-5.0, 0.0]})
    assert is_hopeless({"a": [-5.0, 0.0]}, harm=2.5)


def test_the_worst_cell_comes_first_and_early_only_what_is_sure() -> None:
    deltas = {"a": [-11.0] * 8, "b": [-30.0, -20.0], "c": [-10.0] * 8, "d": [-90.0, 60.0] * 4}
    assert regressed(deltas, 10) == ["b", "d", "a"]
    assert regressed(deltas, 10, surely=True) == ["a"]
    assert not surely_below([-100.0] * (FEW - 1), 0)


def test_a_loss_is_sure_where_students_test_says_so() -> None:
    luck = random.Random(0)
    said = []
    for count in (8, 24, 72) * 100:
        values = [luck.gauss(-4, 8) for _ in range(count)]
        said.append(surely_below(values, 0))
        p = ttest_1samp(values, 0, alternative="less").pvalue
        assert said[-1] == (p < 0.01)
    assert 0.1 < np.mean(said) < 0.9


def test_few_scores_a_soup_apart_are_no_sure_loss() -> None:
    unlucky = [0.0, -20.0, 0.0, -20.0, 0.0, -20.0, 0.0, -20.0]  # by 2.6 standard errors
    assert not surely_below(unlucky, 0)
    assert surely_below(unlucky * 2, 0)


def test_the_objective_has_a_price_for_time_and_size() -> None:
    assert objective(100, 2.0, 500) == 100
    assert objective(100, 2.0, 500, alpha=3, beta=0.01) == pytest.approx(100 - 6 - 5)
