"""How large one rate is beside another of the same items, with an interval.

>>> relative([1, 2, 1], [2, 2, 2], [2, 3, 3], [2, 2, 2]).value
0.5
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.stats.estimates import Estimate, bootstrap_weights, numbers, percentiles, same_length

__all__ = ["relative"]


def relative(
    tops_a: Sequence[float],
    bottoms_a: Sequence[float],
    tops_b: Sequence[float],
    bottoms_b: Sequence[float],
    *,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """(sum tops_a / sum bottoms_a) / (sum tops_b / sum bottoms_b), resampled over items jointly.

    Returns:
        The estimate; `value=None` where one of the rates is undefined or the second is 0, and no
        bounds where every item says the same.

    Raises:
        ValueError: lengths differ, or a number is not finite.
    """
    import numpy as np

    n = same_length(tops_a=tops_a, bottoms_a=bottoms_a, tops_b=tops_b, bottoms_b=bottoms_b)
    parts = [numbers(part, "an item") for part in (tops_a, bottoms_a, tops_b, bottoms_b)]
    whole = [float(part.sum()) for part in parts]
    if not (whole[1] and whole[2] and whole[3]):
        return Estimate(value=None)
    value = whole[0] / whole[1] / (whole[2] / whole[3])
    kinds, counts = np.unique(np.stack(parts), axis=1, return_counts=True)
    if len(counts) < 2:
        return Estimate(value=value, n=n)
    draws = []
    for weights in bootstrap_weights(counts, seed, resamples):
        a, under_a, b, under_b = (weights @ kind for kind in kinds)
        told = (under_a != 0) & (under_b != 0) & (b != 0)
        draws.append(a[told] / under_a[told] * under_b[told] / b[told])
    low, high = percentiles(np.concatenate(draws), confidence)
    return Estimate(value=value, low=low, high=high, n=n)
