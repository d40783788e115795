"""What an arm keeps between two decisions: needs by distance from the last one, and what came late.

    >>> marks(64), marks(6), marks(1)
    ((16, 32, 48, 64), (2, 3, 5, 6), (1,))

A need is a pair of a token and a chunk that it needs and that could be evicted at the last
decision. Nothing is swapped within a window, so what is kept falls with distance only because what
is needed changes: a decision at that token might have known better.

Shape suffixes: T steps, C chunks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Between", "between", "marks"]

_PARTS = 4


@dataclass(frozen=True)
class Between:
    """Needs of one reply.

    Attributes:
        by_distance: (up to this many tokens behind the decision, needs, needs that were kept).
        missed: needs that were not there, in windows behind which another decision followed.
        late: those of them that the next decision brought.
    """

    by_distance: tuple[tuple[int, int, int], ...]
    missed: int
    late: int


def marks(interval: int) -> tuple[int, ...]:
    """Where the quarters of a window end, in tokens behind its decision."""
    return tuple(sorted({-(-interval * part // _PARTS) for part in range(1, _PARTS + 1)}))


def between(
    needs_TC: Tensor,
    here_TC: Tensor,
    windows: Sequence[range],
    could: Sequence[Tensor],
    *,
    interval: int,
    turned: int | None = None,
) -> Between:
    """Counts the needs of the windows, those behind a fallback left out. Ours.

    Args:
        needs_TC, here_TC: bool, what each step needs and could attend to.
        windows: the steps that each decision serves.
        could: chunks (C,) that could be evicted at each window's decision.
        turned: step behind which the request turned dense: from there on there is no decision.
    """
    ends = marks(interval)
    needs, kept, missed, late = [0] * len(ends), [0] * len(ends), 0, 0
    following = [*windows[1:], None]
    for window, candidate_C, after in zip(windows, could, following, strict=True):
        if turned is not None and window.start > turned:
            break
        steps = slice(window.start, window.stop)
        wanted_TC = needs_TC[steps] & candidate_C
        found_TC = wanted_TC & here_TC[steps]
        counts = zip(wanted_TC.sum(1).tolist(), found_TC.sum(1).tolist(), strict=True)
        for distance, (wanted, found) in enumerate(counts, 1):
            place = bisect_left(ends, distance)
            needs[place] += wanted
            kept[place] += found
        if after is not None:
            absent_TC = wanted_TC & ~found_TC
            missed += int(absent_TC.sum())
            late += int((absent_TC & here_TC[after.start]).sum())
    return Between(tuple(zip(ends, needs, kept, strict=True)), missed, late)
