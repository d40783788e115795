"""What must be read before any number of a bench: pairs that nobody gated, or that are too hard.

list(cautions(bench.pairs, ["embedded:viewer-seeing"]))
["60 of 120 pairs are of families that the tiny networks never learned (clocks, signs): ..."]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from planish.methods.vfaith.data import EditPair

__all__ = ["VIEWED", "cautions"]

VIEWED = ("colours", "counting", "geometry", "maps", "patterns")
"""Families that the tiny networks learned; the others need letters that 64 pixels a side blur."""

_TINY = "embedded:viewer-"


def cautions(pairs: Iterable[EditPair], models: Iterable[str]) -> Iterator[str]:
    """One line each.

    Args:
        models: that are asked, as they were named.
    """
    ungated, total = 0, 0
    families: Counter[str] = Counter()
    for pair in pairs:
        total += 1
        ungated += not pair.checks
        families[pair.family] += 1
    if ungated:
        yield (
            f"{ungated} of {total} pairs were never gated: nothing tells whether their edits moved "
            "the answer and nothing else"
        )
    strange = sorted(family for family in families if family not in VIEWED)
    if strange and any(model.startswith(_TINY) for model in models):
        yield (
            f"{sum(families[family] for family in strange)} of {total} pairs are of families that "
            f"the tiny networks never learned ({', '.join(strange)}): there they guess. Build with "
            f"--family {' '.join(VIEWED)}"
        )
