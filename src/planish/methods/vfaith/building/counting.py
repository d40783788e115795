"""What a finished bench holds, read line by line: counts, exclusions, and the gates over all of it.

numbers = count(site)
numbers.families["colours"]        {"pair": 19, "perception": 3, "rejected": 0}
numbers.findings.text_only         0.251 [0.219, 0.284]
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from planish.methods.vfaith.bench import PAIRS, Pairs
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import SUBSETS, EditPair, Subset
from planish.methods.vfaith.images import open_image
from planish.methods.vfaith.usable import Some
from planish.methods.vfaith.verifying.bench_gates import BenchFindings, measure_bench
from planish.methods.vfaith.verifying.gates import Pixels

__all__ = ["MOST", "Exclusion", "Numbers", "count"]

MOST = 2_000
"""Pairs that the gates over the whole bench look at; more would prove no more."""

_KINDS = ("pair", "perception", "rejected")


@dataclass(frozen=True, order=True)
class Exclusion:
    """Why pairs were kept out: the gate and its code, of which family, by which editor."""

    gate: str
    code: str
    family: str
    backend: str


@dataclass
class Numbers:
    """Counts of a bench.

    Args:
        subsets, families: name -> how many of "pair", "perception" and "rejected".
        excluded: how many pairs each reason kept out; a pair may have several.
        most_outside: the largest difference of one pixel outside a mask, in levels, as the editors
            left it; None where nothing was measured.
        findings: of the gates over the whole bench.
        verifying: what models said of the cues, see `Witnesses.numbers`; empty where none looked.
    """

    subsets: dict[Subset, dict[str, int]] = field(default_factory=dict)
    families: dict[str, dict[str, int]] = field(default_factory=dict)
    excluded: Counter[Exclusion] = field(default_factory=Counter)
    most_outside: float | None = None
    findings: BenchFindings | None = None
    verifying: dict[str, Any] = field(default_factory=dict)

    def total(self, kind: str) -> int:
        """Of "pair", "perception" or "rejected"."""
        return sum(counts[kind] for counts in self.families.values())

    def as_json(self) -> dict[str, Any]:
        """For `build.json` and `--json`."""
        return {
            "pairs": self.total("pair"),
            "perception": self.total("perception"),
            "rejected": self.total("rejected"),
            "most_outside": self.most_outside,
            "subsets": dict(self.subsets),
            "families": dict(sorted(self.families.items())),
            "excluded": [
                {**vars(reason), "pairs": number}
                for reason, number in sorted(self.excluded.items())
            ],
            "bench_gates": self._gates(),
            **({"verifying": self.verifying} if self.verifying else {}),
        }

    def _gates(self) -> dict[str, Any]:
        found = self.findings
        if found is None:
            return {}
        return {
            "checks": [check.model_dump(mode="json") for check in found.checks],
            "letters": {str(options): shares for options, shares in found.letters.items()},
            "text_only": _numbers(found.text_only),
            "text_only_chance": found.chance,
            "placebo_cue": _numbers(found.placebo_cue),
        }


def count(site: Site) -> Numbers:
    """Reads what a site holds, and measures what gives its answers away."""
    numbers = Numbers()
    kept = _Sample(MOST, site.plan.seed)
    for place, pair in enumerate(site.pairs()):
        _add(numbers, pair, pair.kind)
        kept.add(place)
    for pair in site.pairs(passed=False):
        _add(numbers, pair, "rejected")
        for check in pair.checks:
            if not check.passed:
                reason = Exclusion(check.gate, check.code, pair.family, pair.edit.backend)
                numbers.excluded[reason] += 1
    numbers.subsets = {name: numbers.subsets[name] for name in SUBSETS if name in numbers.subsets}
    if kept.places:
        pairs = Some(Pairs(site.folder / PAIRS), kept.places)
        numbers.findings = _measure(site.folder, pairs, site.plan.gates)
    return numbers


def _add(numbers: Numbers, pair: EditPair, kind: str) -> None:
    numbers.subsets.setdefault(pair.subset, dict.fromkeys(_KINDS, 0))[kind] += 1
    numbers.families.setdefault(pair.family, dict.fromkeys(_KINDS, 0))[kind] += 1
    if kind != "rejected":
        values = [check.value for check in pair.checks if check.gate == "containment_max"]
        for value in values:
            if value is not None:
                numbers.most_outside = max(value, numbers.most_outside or 0.0)


class _Sample:
    """So many of a stream, each with the same chance; all of them while they are few."""

    def __init__(self, most: int, seed: int) -> None:
        self.places: list[int] = []
        self._most, self._seen = most, 0
        self._rng = random.Random(seed)

    def add(self, place: int) -> None:
        self._seen += 1
        if len(self.places) < self._most:
            self.places.append(place)
        elif (other := self._rng.randrange(self._seen)) < self._most:
            self.places[other] = place


def _measure(folder: Path, pairs: Sequence[EditPair], gates: Gates) -> BenchFindings:
    @lru_cache(maxsize=8)
    def load(file: str) -> Pixels:
        return open_image(folder / file).pixels

    return measure_bench(pairs, lambda picture: load(picture.file), gates)


def _numbers(estimate: Any) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
    }
