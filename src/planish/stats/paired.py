"""Two sets of scores of the same items: the difference, and whether it is more than chance.

>>> paired({"x": 1, "y": 0, "z": None}, {"x": 1, "y": 1, "z": 1}).difference.value
0.5
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from planish.records import Record
from planish.stats.agreement import McNemar, mcnemar
from planish.stats.estimates import Estimate, paired_bootstrap

__all__ = ["Paired", "paired"]


class Paired(Record):
    """Two on the items that both scored; `a` is the baseline.

    Args:
        n: items that both scored; `left_out` were scored by one of them only.
        difference: mean(b - a) with its paired bootstrap interval.
        mcnemar: the exact test, where every score is 0 or 1.
    """

    n: int
    left_out: int
    mean_a: float | None
    mean_b: float | None
    difference: Estimate
    mcnemar: McNemar | None = None


def paired(
    a: Mapping[str, float | None], b: Mapping[str, float | None], *, seed: int = 0
) -> Paired:
    """Pairs two sets of scores by item. A score of None means that the item was not scored."""
    left = {item: score for item, score in a.items() if score is not None}
    right = {item: score for item, score in b.items() if score is not None}
    common = [item for item in left if item in right]
    left_out = len(left.keys() | right.keys()) - len(common)
    if not common:
        return Paired(
            n=0, left_out=left_out, mean_a=None, mean_b=None, difference=Estimate(value=None)
        )
    ours, theirs = [left[item] for item in common], [right[item] for item in common]
    binary = all(score in (0, 1) for score in (*ours, *theirs))
    return Paired(
        n=len(common),
        left_out=left_out,
        mean_a=math.fsum(ours) / len(ours),
        mean_b=math.fsum(theirs) / len(theirs),
        difference=paired_bootstrap(theirs, ours, seed=seed),
        mcnemar=mcnemar([x == 1 for x in ours], [x == 1 for x in theirs]) if binary else None,
    )
