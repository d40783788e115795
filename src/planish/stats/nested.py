"""Intervals for items nested in runs: another run would differ, and so would other items.

>>> nested_bootstrap([[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0]]).value
0.75
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.stats.estimates import Estimate, numbers, percentiles

__all__ = ["nested_bootstrap"]


def nested_bootstrap(
    runs: Sequence[Sequence[float]],
    *,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """The mean over runs of the mean over a run's items; every run weighs the same.

    Runs (a base, a seed) are drawn with replacement, then items within every drawn run. For a
    paired comparison give each item's difference. With few runs the interval is too narrow rather
    than too wide: name their number beside it.

    Args:
        runs: one sequence of item values per run; runs without items carry nothing and are left
            out.
        seed: of the resampling.
        resamples: number of them.
        confidence: of the percentile interval.

    Returns:
        `n` is the number of runs with items; no bounds for fewer than two.
    """
    import numpy as np

    arrays = [numbers(run, "a run") for run in runs if len(run)]
    if not arrays:
        return Estimate(value=None)
    value = float(np.mean([array.mean() for array in arrays]))
    if len(arrays) < 2:
        return Estimate(value=value, n=1)
    rng = np.random.default_rng(seed)
    # Items with the same value are interchangeable: how often each value comes up is enough.
    means = np.empty((len(arrays), resamples, len(arrays)))
    for place, array in enumerate(arrays):
        kinds, counts = np.unique(array, return_counts=True)
        drawn = rng.multinomial(len(array), counts / len(array), size=(resamples, len(arrays)))
        means[place] = drawn @ kinds / len(array)
    picks = rng.integers(len(arrays), size=(resamples, len(arrays)))
    rows, columns = np.indices(picks.shape)
    draws = means[picks, rows, columns].mean(axis=1)
    low, high = percentiles(draws, confidence)
    return Estimate(value=value, low=low, high=high, n=len(arrays))
