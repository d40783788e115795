"""Accuracy by arm, share and family, with intervals by document, and what arms differ by.

    summary = Summary(outcomes)
    summary.accuracy("lookahead", 0.1)
    summary.difference("lookahead", "dense", 0.1)

The mean over families gives each family the same weight, however many documents it has. What could
not be measured is left out and counted; it is never a zero.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any

from planish.methods.lookahead.evaluate.outcomes import Outcome
from planish.methods.lookahead.evaluate.settings import ARMS
from planish.stats import Estimate, mean

__all__ = ["DENSE", "MEASURES", "OURS", "Summary", "macro_mean"]

DENSE, OURS, PERFECT = "dense", "lookahead", "oracle"
_ORDER: tuple[str, ...] = ARMS

MEASURES = (
    "kv_fraction", "kv_mean", "allocated_fraction", "mass_recall", "missed_mass", "recall",
    "miss_rate", "logit_kl", "moved_per_token", "score_ms", "resident_bytes", "digest_bytes",
    "host_bytes", "allocated_bytes",
)  # fmt: skip
"""Fields of an outcome that are averaged over documents."""


def macro_mean(
    values: Mapping[str, float], families: Mapping[str, str], *, seed: int = 0
) -> Estimate:
    """The mean over families of the mean over a family's documents; documents are resampled.

    Args:
        values: by document; families: of each document.
    """
    if not values:
        return Estimate(value=None)
    sizes = Counter(families[name] for name in values)
    even = len(set(sizes.values())) == 1
    scale = len(values) / len(sizes)
    weighted = [
        value if even else value * scale / sizes[families[name]] for name, value in values.items()
    ]
    return mean(weighted, seed=seed)


class Summary:
    """What an evaluation found.

    Args:
        outcomes: every document under every arm.
        seed: of the bootstrap.
    """

    def __init__(self, outcomes: Iterable[Outcome], *, seed: int = 0) -> None:
        self.outcomes = list(outcomes)
        self.seed = seed
        self.families = sorted({each.family for each in self.outcomes})
        self.fractions = sorted({each.fraction for each in self.outcomes if each.arm != DENSE})
        present = {each.arm for each in self.outcomes}
        # One with a setting of its own, such as "lookahead, every 8", stands behind the plain one.
        self.arms: list[str] = sorted(
            present, key=lambda arm: (_ORDER.index(arm.partition(",")[0]), arm)
        )
        self._family = {each.document_id: each.family for each in self.outcomes}

    @property
    def documents(self) -> int:
        """How many there are, with a score or without."""
        return len(self._family)

    @cached_property
    def _cells(self) -> dict[tuple[str, float], list[Outcome]]:
        cells: dict[tuple[str, float], list[Outcome]] = {}
        for each in self.outcomes:
            cells.setdefault((each.arm, each.fraction), []).append(each)
        return cells

    def cell(self, arm: str, fraction: float) -> list[Outcome]:
        """All documents of an arm; dense is the same at every share."""
        return self._cells.get((arm, 1.0 if arm == DENSE else fraction), [])

    def scores(self, arm: str, fraction: float, family: str | None = None) -> dict[str, float]:
        """Scores by document, of those that could be scored."""
        return {
            each.document_id: each.correct
            for each in self.cell(arm, fraction)
            if each.correct is not None and family in (None, each.family)
        }

    def accuracy(self, arm: str, fraction: float, family: str | None = None) -> Estimate:
        """Of a family, or the mean over families."""
        return macro_mean(self.scores(arm, fraction, family), self._family, seed=self.seed)

    def difference(
        self, first: str, second: str, fraction: float, family: str | None = None
    ) -> Estimate:
        """Accuracy of the first arm minus that of the second, on documents that both have."""
        ours, theirs = (self.scores(arm, fraction, family) for arm in (first, second))
        both = {name: ours[name] - theirs[name] for name in ours if name in theirs}
        return macro_mean(both, self._family, seed=self.seed)

    def measure(self, name: str, arm: str, fraction: float) -> float | None:
        """The mean of a field over documents; None where no document has it."""
        found = [getattr(each, name) for each in self.cell(arm, fraction)]
        known = [value for value in found if value is not None]
        return fmean(known) if known else None

    def left_out(self, arm: str, fraction: float) -> int:
        """Documents without a score."""
        return sum(each.correct is None for each in self.cell(arm, fraction))

    def reasons(self) -> dict[str, int]:
        """Why documents have no score, and how many."""
        return dict(Counter(each.why for each in self.outcomes if each.correct is None))

    def fallback_rate(self, arm: str, fraction: float) -> float | None:
        """Share of the requests that turned dense."""
        ran = [each for each in self.cell(arm, fraction) if each.steps]
        return sum(each.fallbacks for each in ran) / len(ran) if ran else None

    def turned_dense(self, arm: str, fraction: float) -> list[int]:
        """Tokens of the reply before each fallback."""
        found = [each.turned_dense for each in self.cell(arm, fraction)]
        return [tokens for tokens in found if tokens is not None]

    def by_distance(
        self, arm: str, fraction: float, family: str | None = None
    ) -> list[tuple[int, int, int]]:
        """Up to so many tokens behind the last decision: needs, and those that were kept."""
        sums: dict[int, tuple[int, int]] = {}
        for each in self.cell(arm, fraction):
            if family not in (None, each.family):
                continue
            for end, needs, kept in each.by_distance:
                before = sums.get(end, (0, 0))
                sums[end] = before[0] + needs, before[1] + kept
        return [(end, *sums[end]) for end in sorted(sums)]

    def late(self, arm: str, fraction: float) -> tuple[int, int]:
        """Needs that were missed before another decision, and those of them that it brought."""
        cell = self.cell(arm, fraction)
        return sum(each.missed_needs for each in cell), sum(each.late_needs for each in cell)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Arms that are compared: each with dense, and the oracle with ours."""
        found = [(arm, DENSE) for arm in self.arms if arm != DENSE and DENSE in self.arms]
        if OURS in self.arms:
            rest = [arm for arm in self.arms if arm not in (OURS, DENSE)]
            found += [(arm, OURS) if arm.startswith(PERFECT) else (OURS, arm) for arm in rest]
        return found

    def cells(self) -> list[tuple[str, float]]:
        """Every arm with every share it was given, dense last."""
        named = [arm for arm in self.arms if arm != DENSE]
        found = [(arm, fraction) for fraction in self.fractions for arm in named]
        return found + ([(DENSE, 1.0)] if DENSE in self.arms else [])

    def numbers(self) -> dict[str, Any]:
        """Everything for `run.json` and `--json`."""
        return {
            "documents": self.documents,
            "families": len(self.families),
            "arms": [self._numbers(arm, fraction) for arm, fraction in self.cells()],
            "differences": [
                {"first": first, "second": second, "fraction": fraction}
                | _plain("difference", self.difference(first, second, fraction))
                for fraction in self.fractions
                for first, second in self.pairs
            ],
            "not_scored": self.reasons(),
        }

    def _numbers(self, arm: str, fraction: float) -> dict[str, Any]:
        by_family: dict[str, Any] = {
            family: _plain("accuracy", self.accuracy(arm, fraction, family))
            for family in self.families
        }
        return {
            "arm": arm,
            "fraction": fraction,
            **_plain("accuracy", self.accuracy(arm, fraction)),
            "documents": len(self.cell(arm, fraction)),
            "not_scored": self.left_out(arm, fraction),
            "fallback_rate": self.fallback_rate(arm, fraction),
            "turned_dense": self.turned_dense(arm, fraction),
            "by_distance": [
                {"to": end, "needs": needs, "kept": kept / needs if needs else None}
                for end, needs, kept in self.by_distance(arm, fraction)
            ],
            **dict(zip(("missed_needs", "late_needs"), self.late(arm, fraction), strict=True)),
            **{name: self.measure(name, arm, fraction) for name in MEASURES},
            "by_family": by_family,
        }

    def by_family(self, arm: str) -> list[tuple[str, Sequence[Estimate]]]:
        """Each family's accuracy at every share."""
        fractions = (1.0,) if arm == DENSE else self.fractions
        return [
            (family, [self.accuracy(arm, fraction, family) for fraction in fractions])
            for family in self.families
        ]


def _plain(name: str, estimate: Estimate) -> dict[str, Any]:
    known = estimate.low is not None
    return {
        name: estimate.value,
        f"{name}_ci": [estimate.low, estimate.high] if known else None,
        f"{name}_n": estimate.n,
    }
