"""What the demonstration claims, fixed before looking, and what came.

told = claims(named, explained)
told[0].text, told[0].shown, told[0].held

A claim that the rules are above a guess holds where the whole interval of the paired difference is
above 0. Intervals are over tasks: mistakes of one task share its tests and its inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import CATEGORIES, CATEGORY_NAMES, Category, Reason
from planish.stats import Claim, Estimate
from planish.stats.estimates import percentiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

__all__ = [
    "MAJORITY",
    "Explained",
    "Named",
    "by_category",
    "by_exception",
    "claims",
    "coverage",
    "guesses",
    "macro_f1",
]

MAJORITY: Category = "CE"
"""The most frequent category of the mistakes made by hand on the tasks that were trained on."""

_MACRO_F1 = 0.80  # what the whole benchmark asks for
_ABSTAINED = 0.20

_RAISED: dict[str, Category] = {"IndexError": "IOM", "ZeroDivisionError": "MFLE"}
"""By what the categories mean; any other exception is most often a call used wrongly."""


def by_exception(exception: str | None) -> Category:
    """What the type of the exception alone says; without one, the most frequent category."""
    return MAJORITY if exception is None else _RAISED.get(exception, "MLA")


@dataclass(frozen=True)
class Named:
    """A mistake that is known, and what was said of it.

    Args:
        category: that it has.
        rules: category that was named; None: the rules abstained.
        exception: of its tests.
    """

    task_id: str
    category: Category
    rules: Category | None
    exception: str | None = None

    @property
    def hit(self) -> float:
        """1.0 if the rules are right; to abstain is not to be right."""
        return float(self.rules == self.category)


@dataclass(frozen=True)
class Explained:
    """A task whose prompt was changed.

    Args:
        planted: the reason that is there to be found; None in a placebo world.
        found: reasons that hold.
    """

    task_id: str
    planted: Reason | None
    found: tuple[Reason, ...]


# ---- numbers ---------------------------------------------------------------------------------


def guesses(named: Sequence[Named]) -> dict[str, Estimate]:
    """Share of all mistakes named rightly, by the rules and by what could win without them."""
    told: dict[str, Sequence[Category | None]] = {
        "rules": [each.rules for each in named],
        "exception type": [by_exception(each.exception) for each in named],
        f"always {MAJORITY}": [MAJORITY] * len(named),
    }
    return {
        name: _by_task(
            named, [float(a == each.category) for each, a in zip(named, answers, strict=True)]
        )
        for name, answers in told.items()
    }


def by_category(named: Sequence[Named]) -> list[tuple[str, str, int, int, int, int]]:
    """(category, its name, mistakes, named rightly, silent, others that are called this)."""
    rows: list[tuple[str, str, int, int, int, int]] = []
    for category in CATEGORIES:
        own = [each for each in named if each.category == category]
        hit = sum(each.rules == category for each in own)
        silent = sum(each.rules is None for each in own)
        false = sum(each.rules == category != each.category for each in named)
        rows.append((category, CATEGORY_NAMES[category], len(own), hit, silent, false))
    return rows


def coverage(named: Sequence[Named]) -> Estimate:
    """Share of the mistakes of which the rules say anything."""
    return _by_task(named, [float(each.rules is not None) for each in named])


def macro_f1(named: Sequence[Named], *, seed: int = 0, resamples: int = 2000) -> Estimate:
    """F1 of each category, averaged, with a bootstrap over tasks.

    A mistake of which nothing was said is missed in its category and false in none. In a resample
    without any mistake of a category that category takes no part.
    """
    import numpy as np

    tasks = list(dict.fromkeys(each.task_id for each in named))
    if not tasks:
        return Estimate(value=None)
    counts_TCK = np.zeros((len(tasks), len(CATEGORIES), 2))  # hits twice; labels and answers
    for each in named:
        row = tasks.index(each.task_id)
        counts_TCK[row, CATEGORIES.index(each.category), 1] += 1
        if each.rules is not None:
            counts_TCK[row, CATEGORIES.index(each.rules), 1] += 1
        if each.rules == each.category:
            counts_TCK[row, CATEGORIES.index(each.category), 0] += 2
    rng = np.random.default_rng(seed)
    share = np.full(len(tasks), 1 / len(tasks))
    weights_RT = rng.multinomial(len(tasks), share, size=resamples).astype(float)
    draws = _averaged(np.einsum("rt,tck->rck", weights_RT, counts_TCK))
    value = float(_averaged(counts_TCK.sum(axis=0)[None])[0])
    if float(np.ptp(draws)) == 0:
        return Estimate(value=value, n=len(tasks))
    low, high = percentiles(draws, 0.95)
    return Estimate(value=value, low=low, high=high, n=len(tasks))


def _averaged(sums_RCK: Floats) -> Floats:
    """Mean F1 over the categories that occur, for each row."""
    import numpy as np

    tops, bottoms = sums_RCK[..., 0], sums_RCK[..., 1]
    each = np.divide(tops, bottoms, out=np.zeros_like(tops), where=bottoms > 0)
    found: Floats = each.sum(axis=1) / np.maximum((bottoms > 0).sum(axis=1), 1)
    return found


def _by_task(named: Sequence[Named], values: Sequence[float]) -> Estimate:
    """Mean over mistakes, with a bootstrap over their tasks."""
    from planish.stats import ratio

    sums: dict[str, list[float]] = {}
    for each, value in zip(named, values, strict=True):
        sums.setdefault(each.task_id, []).append(value)
    rows = sums.values()
    return ratio([sum(row) for row in rows], [float(len(row)) for row in rows])


# ---- claims ----------------------------------------------------------------------------------


def claims(named: Sequence[Named], explained: Sequence[Explained]) -> list[Claim]:
    """All of them, in the order in which they are told."""
    return [*_categories(named), *_reasons(explained)]


def _categories(named: Sequence[Named]) -> Iterable[Claim]:
    always = [float(each.category == MAJORITY) for each in named]
    raised = [float(by_exception(each.exception) == each.category) for each in named]
    for key, text, other, name in (
        ("over_majority", "the rules name more mistakes rightly than the likeliest guess", always,
         f"always {MAJORITY}"),
        ("over_exception", "and more than the type of the exception", raised, "exception type"),
    ):  # fmt: skip
        gains = [each.hit - guess for each, guess in zip(named, other, strict=True)]
        told = _by_task(named, gains)
        held = told.low is not None and told.low > 0
        yield Claim(key, text, f"rules - {name}, all mistakes", told, held)
    told = macro_f1(named)
    yield Claim(
        "macro_f1", f"over the seven categories their F1 is at least {_MACRO_F1:.2f}",
        "macro-F1, an abstention is a miss", told,
        told.value is not None and told.value >= _MACRO_F1,
    )  # fmt: skip
    told = coverage(named)
    yield Claim(
        "abstained", f"they are silent about at most {_ABSTAINED:.0%} of the mistakes",
        "coverage", told, told.value is not None and told.value >= 1 - _ABSTAINED,
    )  # fmt: skip


def _reasons(explained: Sequence[Explained]) -> Iterable[Claim]:
    planted = [each for each in explained if each.planted is not None]
    worlds = [each for each in explained if each.planted is None]
    found = [float(each.planted in each.found) for each in planted]
    yield Claim(
        "planted_found", "the reason that was planted is found, for each of the six",
        "tasks on which it is", _share(found), bool(found) and all(found),
    )  # fmt: skip
    other = [float(any(one != each.planted for one in each.found)) for each in planted]
    yield Claim(
        "nothing_else", "and no other one beside it", "tasks with another reason",
        _share(other), bool(other) and not any(other),
    )  # fmt: skip
    false = [float(bool(each.found)) for each in worlds]
    yield Claim(
        "placebo_none", "where the prompt does not matter no reason is found",
        "placebo worlds with a reason", _share(false), bool(false) and not any(false),
    )  # fmt: skip


def _share(values: Sequence[float]) -> Estimate:
    from planish.stats import mean

    return mean(values) if values else Estimate(value=None)
