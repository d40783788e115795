"""Which of several repairs is the likeliest: the one that changes least where it is suspicious.

ranked(found, suspicion)[0]

Passing the tests is not being right: after the tests, agreement with the reference counts, then few
edits, then how far-fetched the change is, how suspicious its line, how many other repairs speak
for the same category, and how small it is. The weights are ours.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from planish.methods.mistakes.data import Category, Repair
from planish.methods.mistakes.repairing.diffs import size

__all__ = ["Found", "consensus", "ranked"]

_FAR_FETCHED = 0.7
_SIZE = 0.45
_SUSPICION = 0.8
_CONSENSUS = 1.0

_TELLING: dict[str, float] = {
    "other variable": 0.4,
    "answer": -0.4,
    "guard added": -0.3,
    "part added": -0.2,
    "forced": 0.5,
    "conversion": 0.2,
    "start": 0.1,
    "round skipped": 0.2,
    "done only if": 0.1,
    "part dropped": -0.1,
    "comparator": -0.2,
    "grouping": -0.2,
    "operands in turn": -0.4,
    "arguments in turn": -0.3,
    "elements in turn": -0.3,
    "statements in turn": -0.4,
    "value of in-place method": -1.5,
    "value kept": -1.5,
    "keyword named": -1.0,
    "ties": -1.5,
    "index shift": -0.3,
    "index end": -0.2,
    "method": -0.4,
    "f-string": -0.2,
}
"""What a change costs beyond the rest: some say more than others of what was meant (ours)."""


@dataclass(frozen=True)
class Found:
    """A repair, and how far-fetched it is."""

    repair: Repair
    wide: int = 0


def ranked(found: Sequence[Found], suspicion: Mapping[int, float]) -> tuple[Repair, ...]:
    """The repairs, best first; of equal ones the one further up, so that the order is fixed.

    Args:
        suspicion: line of the code -> 0 to 1.
    """
    shares = consensus(found)

    def order(each: Found) -> tuple[bool, int, int, float, int, str]:
        repair = each.repair
        cost = _cost(each, suspicion.get(repair.line, 0.0))
        if repair.categories:
            cost -= _CONSENSUS * shares.get(repair.categories[0], 0.0)
        return (
            not repair.passes_tests,
            -repair.agreement,
            repair.edits,
            cost,
            repair.line,
            repair.diff,
        )

    alike = groupby(sorted(found, key=order), lambda each: (*order(each)[:-1], _kind(each)))
    return tuple(
        each.repair for _, group in alike for each in sorted(group, key=lambda one: not _slip(one))
    )


def _kind(found: Found) -> tuple[str, tuple[Category, ...]]:
    return found.repair.operator, found.repair.categories


def _slip(found: Found) -> bool:
    """Whether only a bound is counted in or out, `<` for `<=`: of equal repairs what was meant."""
    return found.repair.before.replace("=", "") == found.repair.after.replace("=", "")


def consensus(found: Sequence[Found]) -> dict[Category, float]:
    """Category -> share of the best repairs that speak for it, far-fetched ones counted less."""
    most = max((each.repair.agreement for each in found), default=0)
    weights: dict[Category, float] = defaultdict(float)
    for each in found:
        if each.repair.agreement == most:
            for place, category in enumerate(each.repair.categories):
                weights[category] += math.exp(-each.wide) / (1 + place)
    total = sum(weights.values())
    return {category: weight / total for category, weight in weights.items()}


def _cost(found: Found, suspicion: float) -> float:
    repair = found.repair
    small = math.log1p(size(repair.before, repair.after))
    told = _TELLING.get(repair.operator, 0.0)
    return _FAR_FETCHED * found.wide + _SIZE * small + told - _SUSPICION * suspicion
