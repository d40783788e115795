"""Which pairs are asked, and which of them count: one rule for those who ask and those who score.

chosen(bench.pairs, 100)                 the pairs of a run with --limit 100
places(bench.pairs, 100)                 where they stand among all
decisive(("raw", "edited", "text"))      ("raw", "edited")
coverage(usable)                         0.81
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from planish.methods.vfaith.data import Arm, EditPair

__all__ = ["Some", "chosen", "coverage", "decisive", "over", "places"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def chosen(pairs: Sequence[EditPair], limit: int | None) -> Sequence[EditPair]:
    """The first so many pairs of every family and kind, in proportion, in the bench's order.

    The first ones, not any: the rule that draws pairs is balanced over stretches. What a smaller
    limit chooses, a larger one does too.
    """
    if limit is None or limit >= len(pairs):
        return pairs
    return Some(pairs, places(pairs, limit).tolist())


def places(pairs: Sequence[EditPair], limit: int | None) -> npt.NDArray[np.intp]:
    """Where the pairs of `chosen` stand, ascending."""
    if limit is None or limit >= len(pairs):
        return np.arange(len(pairs))
    numbers: dict[tuple[str, str], int] = {}
    groups = np.array([numbers.setdefault(_group(pair), len(numbers)) for pair in pairs])
    shares = np.empty(len(groups))
    for group in range(len(numbers)):
        own = np.flatnonzero(groups == group)
        shares[own] = (np.arange(len(own)) + 0.5) / len(own)
    return np.sort(np.argsort(shares, kind="stable")[:limit])


def _group(pair: EditPair) -> tuple[str, str]:
    return pair.family, pair.kind


class Some(Sequence[EditPair]):
    """Some pairs of many, each read when it is asked for."""

    def __init__(self, pairs: Sequence[EditPair], places: Iterable[int]) -> None:
        self._pairs, self._places = pairs, np.fromiter(places, np.intp)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> EditPair: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[EditPair, ...]: ...
    def __getitem__(self, place: int | slice) -> EditPair | tuple[EditPair, ...]:
        if isinstance(place, slice):
            return tuple(self._pairs[int(each)] for each in self._places[place])
        return self._pairs[int(self._places[place])]


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
