"""Looking at the library in use: beside an earlier one on fresh seeds, and on the report's seeds.

compared(pairs, config, seeds=8)            is it worse than the library of before?
reported(table, library, cells, seeds)      cell -> mean and 95 % interval
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.rounds import OVERALL
from planish.methods.cowork.improving.scoring import Pairs, ScoreTable
from planish.methods.cowork.method import regressed, upper_bound
from planish.methods.cowork.skills import Library
from planish.stats import Estimate, paired_bootstrap

__all__ = ["Comparison", "compared", "mean_score", "reported"]

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Comparison:
    """The library in use beside an earlier one.

    Args:
        mean: its score minus that of the other, over cells; upper: the one-sided upper bound.
        verdict: "holds", or "worse" and why.
    """

    mean: float | None
    upper: float | None
    verdict: str


def compared(pairs: Pairs, config: Config, *, seeds: int) -> Comparison:
    """Whether what was promoted turns out worse on seeds that nothing was chosen on.

    It is worse where the upper bound of its mean gain is below 0, where a cell of a named kitchen
    surely loses more than its budget, or where an episode fails that did not fail before.
    """
    if not pairs.deltas:
        centre = upper = None
    else:
        centre = fmean(fmean(found) for found in pairs.deltas.values())
        upper = upper_bound(pairs.deltas, confidence=config.confidence)
    failed = [cell for cell, why in pairs.uncovered.items() if "failed" in why]
    lost = regressed(pairs.binding, config.regression_budget, surely=True)
    verdict = "holds"
    if failed:
        verdict = f"worse: {failed[0]}: {pairs.uncovered[failed[0]]}"
    elif upper is not None and upper < 0:
        verdict = f"worse: {centre:+.2f} over {seeds} fresh seeds, at most {upper:+.2f}"
    elif lost:
        verdict = f"worse: {lost[0]} loses {-fmean(pairs.deltas[lost[0]]):.1f}"
    return Comparison(centre, upper, verdict)


def reported(
    table: ScoreTable, library: Library, cells: Sequence[Cell], seeds: Sequence[int]
) -> tuple[dict[str, Interval], int]:
    """The scores by cell and over all, and how many episodes have none.

    All of it must have been played. An interval is over seeds; where every seed gives the same
    score it has no width, and says nothing of other starts.
    """
    scores: dict[str, Interval] = {}
    by_seed: dict[int, list[float]] = {seed: [] for seed in seeds}
    unscored = 0
    for cell in cells:
        found = {seed: table.score(library, cell, seed).value for seed in seeds}
        values = {seed: value for seed, value in found.items() if value is not None}
        unscored += len(found) - len(values)
        for seed, value in values.items():
            by_seed[seed].append(value)
        if values:
            scores[str(cell)] = _interval(list(values.values()))
    whole = [fmean(found) for found in by_seed.values() if len(found) == len(cells)]
    if whole:
        scores[OVERALL] = _interval(whole)
    return scores, unscored


def mean_score(values: Sequence[float]) -> Estimate:
    """The mean of scores with its interval; equal scores have none.

    Not `stats.mean`: to that, scores of 0 throughout would be a rate of 0.
    """
    return paired_bootstrap(values, [0.0] * len(values))


def _interval(values: Sequence[float]) -> Interval:
    found = mean_score(values)
    assert found.value is not None
    low = found.value if found.low is None else found.low
    high = found.value if found.high is None else found.high
    return found.value, low, high
