"""What the repairs of a program say of its mistake.

    evidence = list(mended(search))

A repair that disagrees with the reference on some inputs counts less, and so does one of many that
speak for different categories: an edit that makes tests pass is evidence and not an oracle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from planish.methods.mistakes.data import Category, Evidence, Repair, Search

__all__ = ["agreement", "mended"]

_SECOND = 0.5  # what the second category of a repair counts
_SHARP = 8  # how fast a repair counts less as it disagrees on more inputs
_UNTESTED = 0.7  # agrees everywhere and fails the tests


def agreement(repair: Repair) -> float:
    """How much a repair counts, 0 to 1."""
    share = repair.agreement / repair.inputs if repair.inputs else 0.5
    return share**_SHARP * (1.0 if repair.passes_tests else _UNTESTED)


def mended(search: Search) -> Iterator[Evidence]:
    """Evidence of repairs: the best one, all together, and that there is none."""
    kept = [repair for repair in search.repairs if repair.categories]
    if kept:
        yield from _best(kept[0])
        yield from _together(kept)
    yield from _none(kept, search)


def _best(repair: Repair) -> Iterator[Evidence]:
    for place, category in enumerate(repair.categories[:2]):
        yield Evidence(
            rule="best repair",
            category=category,
            strength=agreement(repair) * _SECOND**place,
            line=repair.line,
            note=(
                f"One change mends it ({repair.operator}, role {repair.role}): "
                f"{_short(repair.before)} becomes {_short(repair.after)}, and agrees with the "
                f"reference on {repair.agreement} of {repair.inputs} inputs."
            ),
        )


def _together(repairs: list[Repair]) -> Iterator[Evidence]:
    weights: dict[Category, float] = defaultdict(float)
    first: dict[Category, Repair] = {}
    for repair in repairs:
        for place, category in enumerate(repair.categories[:2]):
            weights[category] += agreement(repair) * _SECOND**place / repair.edits
            first.setdefault(category, repair)
    total = sum(weights.values())
    most = max(map(agreement, repairs))
    for category, weight in weights.items():
        if weight:
            yield Evidence(
                rule="all repairs",
                category=category,
                strength=min(1.0, most * weight / total),
                line=first[category].line,
                note=(
                    f"{100 * weight / total:.0f} % of what {len(repairs)} repairs say is for this."
                ),
            )


def _none(repairs: list[Repair], search: Search) -> Iterator[Evidence]:
    best = max(map(agreement, repairs), default=0.0)
    if best < 1.0 and search.tried:
        yield Evidence(
            rule="no repair",
            category="GC",
            strength=(1.0 - best) * (1.0 if search.complete else 0.7),
            note=(
                f"None of {search.tried} changes of one place makes it right on every input"
                f"{'' if search.complete else '; the search was cut short'}."
            ),
        )


def _short(text: str, most: int = 60) -> str:
    flat = " ".join(text.split()) or "nothing"
    return f"`{flat if len(flat) <= most else flat[:most] + '…'}`"
