"""Agreement between raters, and tests between judges.

>>> mcnemar([True, True, False], [False, True, False]).only_a
1
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from planish.records import Record
from planish.stats.estimates import (
    Estimate,
    bootstrap_weights,
    exact_bounds,
    numbers,
    percentiles,
    same_length,
)

if TYPE_CHECKING:
    from planish.stats.estimates import Floats

__all__ = ["McNemar", "cohen_kappa", "holm", "krippendorff_alpha", "macro_f1", "mcnemar"]


class McNemar(Record):
    """Items only judge A got right, items only judge B got right, and the exact p-value."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(a_right: Sequence[bool], b_right: Sequence[bool]) -> McNemar:
    """Exact McNemar test that two judges are right equally often on the same items.

    Only items where exactly one is right count; without any, p = 1.
    """
    same_length(a_right=a_right, b_right=b_right)
    only_a = sum(bool(a) and not b for a, b in zip(a_right, b_right, strict=True))
    only_b = sum(bool(b) and not a for a, b in zip(a_right, b_right, strict=True))
    p_value = 1.0
    if only_a + only_b:
        from scipy.stats import binomtest

        p_value = float(binomtest(only_a, only_a + only_b, 0.5).pvalue)
    return McNemar(only_a=only_a, only_b=only_b, p_value=p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-Bonferroni adjusted p-values, in the order given."""
    array = numbers(p_values, "p_values")
    if ((array < 0) | (array > 1)).any():
        raise ValueError("p_values: must lie in [0, 1]")
    if not len(array):
        return []
    import numpy as np

    # statsmodels has this too, but collects garbage at every call: a second beside a loaded model.
    order = array.argsort(kind="stable")
    steps = np.maximum.accumulate(array[order] * np.arange(len(array), 0, -1))
    adjusted = np.empty(len(array))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def _kappa(cells: Floats, size: int) -> tuple[Floats, Floats, Floats]:
    """Kappa, observed and expected agreement for confusion counts [resamples, size * size]."""
    import numpy as np

    tables = cells.reshape(-1, size, size) / cells.sum(axis=-1)[:, None, None]
    observed = np.trace(tables, axis1=1, axis2=2)
    expected = (tables.sum(axis=2) * tables.sum(axis=1)).sum(axis=1)
    defined = expected < 1.0 - 1e-12
    kappa = np.full(len(tables), np.nan)
    kappa[defined] = (observed[defined] - expected[defined]) / (1.0 - expected[defined])
    return kappa, observed, expected


def cohen_kappa(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    *,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Cohen's kappa between two raters of the same items, with a bootstrap interval.

    Undefined (None) where both raters only ever use one and the same label. Where the bootstrap
    has no width (total agreement), the bounds are those of the exact interval of the agreement
    rate, carried through kappa at the observed chance agreement.

    Raises:
        ValueError: lengths differ, or a None among the labels.
    """
    import numpy as np

    n = same_length(a=a, b=b)
    if any(label is None for label in (*a, *b)):
        raise ValueError("labels: None is no label; leave unrated items out and count them")
    if n == 0:
        return Estimate(value=None)
    index = {label: i for i, label in enumerate(dict.fromkeys((*a, *b)))}
    size = len(index)
    cells = np.zeros(size * size, dtype=int)
    for (left, right), count in Counter(zip(a, b, strict=True)).items():
        cells[index[left] * size + index[right]] = count
    kappa, observed, expected = _kappa(cells[None, :].astype(float), size)
    if np.isnan(kappa[0]):
        return Estimate(value=None, n=n)
    value = float(kappa[0])
    draws = np.concatenate(
        [
            _kappa(weights.astype(float), size)[0]
            for weights in bootstrap_weights(cells, seed, resamples)
        ]
    )
    draws = draws[~np.isnan(draws)]
    if len(draws) and np.ptp(draws) > 1e-12:
        low, high = percentiles(draws, confidence)
    else:
        bounds = exact_bounds(float(observed[0]), n, confidence)
        chance = float(expected[0])
        low, high = ((bound - chance) / (1.0 - chance) for bound in bounds)
    return Estimate(value=value, low=low, high=high, n=n)


def krippendorff_alpha(
    ratings_by_rater: Sequence[Sequence[Any]],
    level: Literal["nominal", "ordinal", "interval", "ratio"] = "nominal",
) -> float | None:
    """Krippendorff's alpha of several raters; `ratings_by_rater[rater][item]`, None = missing.

    Nominal ratings may be any labels, the other levels need numbers. Items rated only once do
    not count.

    Returns:
        Alpha, or None where it is undefined: no item rated twice, or no variation.

    Raises:
        ValueError: raters with different numbers of items, or a NaN.
    """
    import numpy as np

    if ratings_by_rater:
        same_length(**{f"rater {i}": row for i, row in enumerate(ratings_by_rater)})
    items = [
        [rating for rating in item if rating is not None]
        for item in zip(*ratings_by_rater, strict=True)
    ]
    items = [item for item in items if len(item) > 1]
    if level == "nominal":
        domain = list(dict.fromkeys(rating for item in items for rating in item))
    else:
        flat = [float(rating) for item in items for rating in item]
        domain = sorted(set(numbers(flat, "ratings").tolist()))
    if len(domain) < 2:
        return None
    import krippendorff

    position = {value: i for i, value in enumerate(domain)}
    counts = np.zeros((len(items), len(domain)), dtype=int)
    for row, item in enumerate(items):
        for rating in item:
            counts[row, position[rating if level == "nominal" else float(rating)]] += 1
    values = list(range(len(domain))) if level == "nominal" else domain
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement=level)
    )


def macro_f1(gold: Sequence[str], predicted: Sequence[str | None]) -> float | None:
    """F1 averaged over the labels that occur; a prediction of None misses its gold label.

    Returns:
        The score, or None without any item.
    """
    if same_length(gold=gold, predicted=predicted) == 0:
        return None
    from sklearn.metrics import f1_score

    labels = list(dict.fromkeys([*gold, *(label for label in predicted if label is not None)]))
    position = {label: i for i, label in enumerate(labels)}
    return float(
        f1_score(
            [position[label] for label in gold],
            [-1 if label is None else position[label] for label in predicted],
            labels=list(position.values()),
            average="macro",
            zero_division=0.0,
        )
    )
