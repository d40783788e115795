"""What came of an evolution: numbers, tables and the report.

outcome = Outcome(evolution, start)
outcome.gain().after, outcome.by_layout()
write_report(run, outcome, references={"full": 182.0})
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.evolving import Evolution
from planish.methods.cowork.improving.reasons import meaning
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.improving.watching import mean_score
from planish.methods.cowork.kitchen.layouts import short_names
from planish.methods.cowork.showing.timeline import CurvePoint, add_timeline
from planish.methods.cowork.skills import Library
from planish.stats import Estimate, paired_bootstrap

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen

__all__ = ["Gain", "Outcome", "reference_score", "show_outcome", "write_report"]

SEEDS = (
    "Report seeds are used for nothing else. In self-play they only vary where the two cooks "
    "begin, for the kitchen and the runtime are deterministic: intervals tell of other starts, "
    "not of other kitchens. A small kitchen has few starts, and the gate has met most of them."
)


@dataclass(frozen=True)
class Gain:
    """Scores on the report's seeds: of the first library, of the one in use, and the difference."""

    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True)
class Outcome:
    """An evolution that has ended, read on its report's seeds."""

    evolution: Evolution
    start: Library

    def gain(self, layout: str | None = None) -> Gain:
        """Over all cells, or those of one layout; a seed is one item, the mean over its cells."""
        cells = [cell for cell in self.evolution.cells if layout in (None, cell.layout)]
        pairs = [
            (before, after)
            for seed in self.evolution.report_seeds
            for before in [self._score(self.start, cells, seed)]
            for after in [self._score(self.evolution.active, cells, seed)]
            if before is not None and after is not None
        ]
        old, new = [before for before, _ in pairs], [after for _, after in pairs]
        return Gain(mean_score(old), mean_score(new), paired_bootstrap(new, old))

    def by_layout(self) -> dict[str, Gain]:
        """Layout -> its gain."""
        names = dict.fromkeys(cell.layout for cell in self.evolution.cells)
        return {name: self.gain(name) for name in names}

    def reasons(self) -> dict[str, int]:
        """What the gate said, and how often."""
        return dict(Counter(result.reason for result in self.evolution.results).most_common())

    def numbers(self) -> dict[str, Any]:
        """Everything for `run.json` and `--json`."""
        found, standing = self.evolution, self.evolution.standing
        whole = self.gain()
        kinds = Counter(promotion.kind for promotion in found.promotions)
        return {
            "score_before": whole.before,
            "score": whole.after,
            "gain": whole.change,
            "layouts": {
                name: {
                    "before": gain.before.value,
                    "score": gain.after.value,
                    "score_ci": [gain.after.low, gain.after.high],
                    "gain": gain.change.value,
                    "gain_ci": [gain.change.low, gain.change.high],
                }
                for name, gain in self.by_layout().items()
            },
            "rounds": len(found.rounds),
            "judged": len(found.results),
            "accepted": sum(result.accepted for result in found.results),
            "promoted": kinds["promoted"],
            "reverted": kinds["reverted"],
            "reasons": self.reasons(),
            "episodes": standing.episodes,
            "sim_steps": standing.sim_steps,
            "report_steps": standing.report_steps,
            "unscored": sum(row.unscored for row in found.rounds) + found.points[-1].unscored,
            "tokens": standing.tokens,
            "online_tokens": 0,
            "stopped": standing.stopped,
            "library_hash": found.active.digest,
            "drift": self.drift(),
        }

    def drift(self) -> float:
        """How far the library in use is from the first one."""
        from planish.methods.cowork.method import drift

        return drift(self.evolution.active, self.start)

    def _score(self, library: Library, cells: list[Cell], seed: int) -> float | None:
        found = [self.evolution.table.score(library, cell, seed).value for cell in cells]
        values = [value for value in found if value is not None]
        return fmean(values) if len(values) == len(cells) else None


def reference_score(evolution: Evolution, library: Library) -> float | None:
    """Another library on the same cells and seeds, for a level line beside the curve."""
    seeds = evolution.report_seeds
    evolution.table.fill([library], evolution.cells, seeds)
    values = [
        evolution.table.score(library, cell, seed).value
        for cell in evolution.cells
        for seed in seeds
    ]
    scored = [value for value in values if value is not None]
    return fmean(scored) if scored else None


def show_outcome(
    screen: Screen, outcome: Outcome, references: Mapping[str, float], name: str
) -> None:
    """The closing tables."""
    found = outcome.by_layout()
    short = short_names(found)
    gains = [(short[layout], gain) for layout, gain in found.items()]
    if len(gains) > 1:
        gains.append(("all", outcome.gain()))
    screen.table(
        ("layout", printable(name, 16), "evolved", "95 % interval", "gain", "95 % interval"),
        [(layout, *_row(gain)) for layout, gain in gains],
        title=f"Report seeds, {len(outcome.evolution.report_seeds)} a cell",
    )
    screen.table(
        ("verdict of the gate", "patches", "which means"),
        [(reason, str(count), meaning(reason)) for reason, count in outcome.reasons().items()],
        text=True,
    )
    standing = outcome.evolution.standing
    screen.say(
        f"{standing.episodes} training episodes, {standing.sim_steps:,} ticks of training, gate "
        f"and monitoring, {standing.tokens:,} tokens of the optimizer, 0 online"
    )
    for label, score in references.items():
        screen.say(f"{label} scores {score:.1f} on the same cells and seeds")


def write_report(
    run: Run, outcome: Outcome, references: Mapping[str, float], libraries: Mapping[str, Library]
) -> None:
    """The run's page: what changed, the curve and every patch."""
    from planish.runs.report import Report

    found = outcome.evolution
    short = short_names(cell.layout for cell in found.cells)
    report = Report(
        "What became of a skill library",
        f"{len(found.rounds)} rounds on {', '.join(short.values())}",
        claim="A library that is patched between episodes, behind a gate, plays better on seeds "
        "that neither the proposer nor the gate has seen.",
        note=SEEDS,
        run=run,
    )
    whole = outcome.gain()
    report.numbers(
        {"first library": whole.before, "library in use": whole.after, "gain": whole.change}
    )
    report.table(
        ("layout", "first library", "library in use", "gain"),
        [
            (short[name], gain.before, gain.after, gain.change)
            for name, gain in outcome.by_layout().items()
        ],
        f"Mean score of an episode over {len(found.report_seeds)} report seeds a cell.",
    )
    if found.standing.stopped:
        report.text(found.standing.stopped)
    add_timeline(
        report,
        [_curve(point) for point in found.points],
        found.results,
        found.promotions,
        references=references,
        libraries=libraries,
        seeds=f"{len(found.report_seeds)} report seeds",
    )
    _add_looks(report, outcome)
    report.save(run.report_path)


def _add_looks(report: Any, outcome: Outcome) -> None:
    looks = [look for row in outcome.evolution.rounds for look in row.looks]
    if not looks:
        return
    report.section(
        "Monitoring",
        "The library in use beside an earlier one, on seeds that nothing was chosen on.",
    )
    report.table(
        ("round", "library", "beside", "mean", "upper bound", "verdict"),
        [
            (look.round, look.library, look.against, look.mean, look.upper, look.verdict)
            for look in looks
        ],
    )


def _curve(point: Any) -> CurvePoint:
    return CurvePoint(
        round=point.round,
        episodes=point.episodes,
        sim_steps=point.sim_steps,
        tokens=point.tokens,
        scores=point.scores,
    )


def _row(gain: Gain) -> tuple[str, ...]:
    parts: list[str] = [_number(gain.before.value)]
    for estimate in (gain.after, gain.change):
        parts.append(_number(estimate.value, "+" if estimate is gain.change else ""))
        known = estimate.low is not None and estimate.high is not None
        parts.append(f"[{estimate.low:.1f}, {estimate.high:.1f}]" if known else "")
    return tuple(parts)


def _number(value: float | None, sign: Literal["", "+"] = "") -> str:
    return "n/a" if value is None else f"{value:{sign}.1f}"
