"""The idea itself: how far a library has moved, and when an edit has proved that it helps.

    drift(after, before)                     in nodes changed
    lower_bound(deltas, confidence=0.9)      of the mean gain, over paired episodes
    is_hopeless(deltas)                      whether more episodes are a waste
    regressed(deltas, budget=10.0)           the cells that lose too much

Source: the objective and its drift term are ours; the paper (arXiv 2602.05004) names a drift limit
and a token budget, and gives neither a formula nor a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from planish.methods.cowork.skills import Library

__all__ = [
    "ADDED",
    "CHANGED",
    "FEW",
    "REMOVED",
    "drift",
    "is_hopeless",
    "lower_bound",
    "objective",
    "regressed",
    "surely_below",
    "upper_bound",
]

ADDED, REMOVED, CHANGED = 1.0, 1.0, 0.5
"""What one node's edit weighs in the drift."""

FEW = 8
"""Fewer pairs of episodes than this settle nothing by their mean."""


def drift(after: Library, before: Library) -> float:
    """sum over nodes w(edit) + sum over parameters |change| / (max - min).

    A parameter that only takes another value counts by how far it moves; nodes count whole.
    Provenance and statistics do not count, for they change no behaviour.
    """
    total = 0.0
    old_params = {node.id: node for node in before.params}
    new_params = {node.id: node for node in after.params}
    for name in old_params.keys() | new_params.keys():
        old, new = old_params.get(name), new_params.get(name)
        if old is None or new is None:
            total += ADDED if old is None else REMOVED
        elif old.model_copy(update={"value": new.value}) != new:
            total += CHANGED
        else:
            total += abs(new.value - old.value) / (old.max - old.min)
    for kind in ("operators", "methods"):
        olds = {node.id: _behaviour(node) for node in getattr(before, kind)}
        news = {node.id: _behaviour(node) for node in getattr(after, kind)}
        total += ADDED * len(news.keys() - olds.keys())
        total += REMOVED * len(olds.keys() - news.keys())
        total += CHANGED * sum(olds[name] != news[name] for name in olds.keys() & news.keys())
    return total


def lower_bound(
    deltas: Mapping[str, Sequence[float]],
    *,
    confidence: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The mean paired difference and its one-sided lower bound.

    Every cell weighs the same; episodes are drawn again within their cell.

    Args:
        deltas: cell -> score after minus score before, one number a seed.

    Raises:
        ValueError: no cell, or one without episodes.
    """
    if not deltas or not all(len(values) for values in deltas.values()):
        raise ValueError("every cell needs at least one pair of episodes")
    generator = np.random.default_rng(seed)
    means = np.zeros(draws)
    for values in deltas.values():
        array = np.asarray(values, dtype=float)
        means += array[generator.integers(0, len(array), (draws, len(array)))].mean(axis=1)
    centre = float(np.mean([np.mean(values) for values in deltas.values()]))
    return centre, float(np.quantile(means / len(deltas), 1 - confidence))


def upper_bound(
    deltas: Mapping[str, Sequence[float]],
    *,
    confidence: float = 0.9,
    draws: int = 2000,
    seed: int = 0,
) -> float:
    """The one-sided upper bound, as `lower_bound` has the lower one."""
    turned = {cell: [-value for value in values] for cell, values in deltas.items()}
    return -lower_bound(turned, confidence=confidence, draws=draws, seed=seed)[1]


def is_hopeless(deltas: Mapping[str, Sequence[float]], *, harm: float = 10.0) -> bool:
    """Whether an edit has shown so little that more episodes of it are a waste.

    With `FEW` pairs or more: no mean gain. With fewer a good edit may well have bad luck, so only
    one that gained nowhere and lost at least `harm` points on average is given up.

    >>> is_hopeless({"ring": [20.0, -80.0]}), is_hopeless({"ring": [0.0, -40.0]})
    (False, True)
    """
    mean = float(np.mean([np.mean(cell) for cell in deltas.values()]))
    values = [value for cell in deltas.values() for value in cell]
    if len(values) >= FEW:
        return mean <= 0
    return max(values) <= 0 and min(values) < 0 and mean <= -harm


def regressed(
    deltas: Mapping[str, Sequence[float]], budget: float, *, surely: bool = False
) -> list[str]:
    """The cells that lose more than `budget` on average, the worst first.

    Args:
        surely: only those of which this can be said before all episodes are played.
    """
    means = {cell: float(np.mean(values)) for cell, values in deltas.items()}
    found = [cell for cell in means if means[cell] < -budget]
    if surely:
        found = [cell for cell in found if surely_below(deltas[cell], -budget)]
    return sorted(found, key=lambda cell: means[cell])


def surely_below(values: Sequence[float], level: float) -> bool:
    """Whether the mean is below a level, by Student's one-sided bound of 99 %.

    That is 3.0 standard errors with 8 values and 2.3 with many. Never with fewer than `FEW`.
    """
    from scipy.special import stdtrit

    if len(values) < FEW:
        return False
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return bool(float(np.mean(values)) + stdtrit(len(values) - 1, 0.99) * error < level)


def objective(
    mean_return: float,
    p95_latency_ms: float,
    library_tokens: int,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
) -> float:
    """Mean return - alpha * p95 latency (ms) - beta * library tokens."""
    return mean_return - alpha * p95_latency_ms - beta * library_tokens


def _behaviour(node: object) -> object:
    copy = getattr(node, "model_copy")  # noqa: B009
    if hasattr(node, "provenance"):
        return copy(update={"provenance": "", "stats": None})
    return node
