"""Which pairs are asked, and which of them count: one rule for those who ask and those who score.

chosen(bench.pairs, 100)                 the pairs of a run with --limit 100
decisive(("raw", "edited", "text"))      ("raw", "edited")
coverage(usable)                         0.81
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.methods.vfaith.data import Arm, EditPair

__all__ = ["chosen", "coverage", "decisive", "over"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def chosen(pairs: Sequence[EditPair], limit: int | None) -> tuple[EditPair, ...]:
    """The first so many pairs of every family and kind, in proportion, in the bench's order.

    The first ones, not any: the rule that draws pairs is balanced over stretches. What a smaller
    limit chooses, a larger one does too.
    """
    if limit is None or limit >= len(pairs):
        return tuple(pairs)
    sizes = Counter((pair.family, pair.kind) for pair in pairs)
    before: Counter[tuple[str, str]] = Counter()
    shares = []
    for place, pair in enumerate(pairs):
        group = (pair.family, pair.kind)
        shares.append(((before[group] + 0.5) / sizes[group], place))
        before[group] += 1
    return tuple(pairs[place] for place in sorted(place for _, place in sorted(shares)[:limit]))


def decisive(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """The arms in which a pair needs a readable reply: raw and edited, as far as they were asked.

    Where neither was, all of them.
    """
    asked = tuple(dict.fromkeys(arms))
    return tuple(arm for arm in asked if arm in ("raw", "edited")) or asked


def coverage(usable: npt.NDArray[Any]) -> float:
    """Share of the pairs, over their repeats, that are usable; 1 where no pair was asked.

    Args:
        usable: every decisive reply was read, (pairs, repeats); or their shares, (pairs,).
    """
    return float(usable.mean()) if usable.size else 1.0


def over(values: Any, usable: Bools) -> Floats:
    """Means over the repeats that are usable, (pairs,); 0 where none is.

    Args:
        values: bool or float, (pairs, repeats).
        usable: every decisive reply was read, (pairs, repeats).
    """
    found: Floats = (values * usable).sum(axis=1) / np.maximum(usable.sum(axis=1), 1)
    return found
