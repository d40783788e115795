"""What came of playing a library: numbers, tables and the report.

results = Results(cells, episodes, Times(latencies_ns))
results.score, results.times.ms(99)
write_report(run, results, plan, replays)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from planish.methods.cowork.data import Cell, Episode
from planish.methods.cowork.improving.watching import mean_score
from planish.methods.cowork.kitchen.layouts import short_names
from planish.stats import Estimate

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen

__all__ = ["Results", "Settings", "write_report"]

QUANTILES = (50, 95, 99)
DYNAMICS = {False: "new", True: "old"}


class Settings(Protocol):
    """What must be told beside a score."""

    @property
    def called(self) -> str: ...  # noqa: D102

    @property
    def partner(self) -> str: ...  # noqa: D102

    @property
    def seeds(self) -> int: ...  # noqa: D102

    @property
    def start(self) -> str: ...  # noqa: D102

    @property
    def horizon(self) -> int: ...  # noqa: D102

    @property
    def old_dynamics(self) -> bool: ...  # noqa: D102

    @property
    def deadline_ms(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class Times:
    """What was timed.

    Args:
        ns: nanoseconds of every decision, raw.
        interrupted: how often the machine took the core away meanwhile, which it puts on the time
            of whatever decision is under way.
    """

    ns: tuple[int, ...] = ()
    interrupted: int = 0

    def ms(self, quantile: float) -> float | None:
        """A percentile in milliseconds; None where nothing was timed."""
        return float(np.percentile(self.ns, quantile)) / 1e6 if self.ns else None


@dataclass(frozen=True)
class Results:
    """Episodes of one library.

    Args:
        cells: where and with whom it was to play.
        episodes: every one, those that failed included.
        times: of its decisions, as far as they were timed.
    """

    cells: Sequence[Cell]
    episodes: Sequence[Episode]
    times: Times

    @cached_property
    def score(self) -> Estimate:
        """Over all cells; a seed is one item, the mean over its cells."""
        return self._mean(self.cells)

    def of(self, *, layout: str | None = None, seat: int | None = None) -> Estimate:
        """Over the cells of a layout, of a seat, or both."""
        return self._mean(
            [
                cell
                for cell in self.cells
                if layout in (None, cell.layout) and seat in (None, cell.seat)
            ]
        )

    def _mean(self, cells: Sequence[Cell]) -> Estimate:
        """The mean over seeds; one that failed in some cell would be a mean of other cells."""
        by_seed: dict[int, list[float | None]] = {}
        for episode in self.episodes:
            if episode.cell in cells:
                by_seed.setdefault(episode.seed, []).append(episode.score)
        whole = [
            fmean(scored)
            for scores in by_seed.values()
            for scored in [[score for score in scores if score is not None]]
            if len(scored) == len(cells)
        ]
        return mean_score(whole) if whole else Estimate(value=None)

    def errors(self) -> dict[str, int]:
        """Why episodes failed, and how many."""
        return dict(Counter(each.error for each in self.episodes if each.score is None))

    @property
    def fallback_rate(self) -> float | None:
        """Share of decisions that came from the fallback ladder."""
        decisions = sum(each.decisions for each in self.episodes)
        return sum(each.fallbacks for each in self.episodes) / decisions if decisions else None

    def numbers(self) -> dict[str, Any]:
        """Everything for `run.json` and `--json`."""
        failed = sum(self.errors().values())
        times = {f"latency_p{quantile}_ms": self.times.ms(quantile) for quantile in QUANTILES}
        return {
            "score": self.score,
            "episodes": len(self.episodes),
            "failed": failed,
            "coverage": 1 - failed / len(self.episodes),
            **times,
            "latency_max_ms": self.times.ms(100),
            "timed_decisions": len(self.times.ns),
            "interruptions": self.times.interrupted,
            "decisions": sum(each.decisions for each in self.episodes),
            "deadline_misses": sum(each.deadline_misses for each in self.episodes),
            "fallback_rate": self.fallback_rate,
            "online_tokens": sum(each.tokens for each in self.episodes),
            "layouts": {
                name: _numbers(self.of(layout=name))
                for name in dict.fromkeys(cell.layout for cell in self.cells)
            },
            "seats": {
                str(seat): _numbers(self.of(seat=seat))
                for seat in sorted({cell.seat for cell in self.cells})
                if self.cells[0].partner != "self"
            },
            "cells": [
                {"layout": cell.layout, "partner": cell.partner, "seat": cell.seat}
                | _numbers(self._mean([cell]))
                | self._counts(cell)
                for cell in self.cells
            ],
        }

    def _counts(self, cell: Cell) -> dict[str, Any]:
        mine = [each for each in self.episodes if each.cell == cell]
        scored = [each for each in mine if each.score is not None]
        return {
            "episodes": len(mine),
            "failed": len(mine) - len(scored),
            "soups": fmean(each.soups for each in scored) if scored else None,
        }

    def rows(self) -> list[tuple[str, str, Estimate, float | None, int]]:
        """(short name of the layout, seat, score, soups an episode, failed) of every cell."""
        found = []
        short = short_names(cell.layout for cell in self.cells)
        for cell in self.cells:
            counts = self._counts(cell)
            seat = "both" if cell.partner == "self" else str(cell.seat)
            mean = self._mean([cell])
            found.append((short[cell.layout], seat, mean, counts["soups"], counts["failed"]))
        return found

    def show(self, screen: Screen, plan: Settings) -> None:
        """The closing table, and what it cannot say."""
        pots = DYNAMICS[plan.old_dynamics]
        rows = [
            (
                *(layout, seat, pots, *_texts(score)),
                "n/a" if soups is None else f"{soups:.1f}",
                str(failed),
            )
            for layout, seat, score, soups, failed in self.rows()
        ]
        if len(rows) > 1:
            failures = str(sum(self.errors().values()))
            rows.append(("all", "", pots, *_texts(self.score), "", failures))
        columns = ("layout", "seat", "dynamics", "score", "95 % interval", "soups", "failed")
        screen.table(columns, rows, title=title(plan))
        for line in self.sentences(plan):
            screen.say(line)

    def sentences(self, plan: Settings) -> list[str]:
        """Of time, of what was drawn."""
        numbers = self.numbers()
        lines = [f"{numbers['decisions']:,} decisions, {numbers['online_tokens']} online tokens"]
        if self.times.ns:
            p50, p99, most = (self.times.ms(quantile) for quantile in (50, 99, 100))
            lines[0] += (
                f"; {numbers['timed_decisions']:,} of them timed: p50 {p50:.3f} ms, "
                f"p99 {p99:.3f} ms, max {most:.3f} ms"
            )
        if self.fallback_rate is not None:
            lines.append(
                f"{numbers['deadline_misses']} of them missed the deadline of "
                f"{plan.deadline_ms:g} ms; {100 * self.fallback_rate:.2f} % of all came from the "
                "fallback ladder"
            )
        if numbers["deadline_misses"]:
            lines.append(
                f"the machine took the core away {self.times.interrupted} times meanwhile; a "
                "deadline missed for that can change a score"
            )
        if self.score.value is not None and self.score.low is None and plan.seeds > 1:
            lines.append("all seeds scored alike, so no interval can be told")
        return lines


def title(plan: Settings) -> str:
    """What was played, the dynamics included: without them a score says little."""
    pots = "old dynamics: full pots cook by themselves"
    if not plan.old_dynamics:
        pots = "new dynamics: a cook starts the pot"
    start = "drawn starts" if plan.start == "drawn" else "the layout's starts"
    beside = "with itself" if plan.partner == "self" else f"with {plan.partner}"
    return f"{plan.called} {beside}: {plan.seeds} seeds, {start}, {plan.horizon} ticks; {pots}"


def write_report(run: Run, results: Results, plan: Settings, replays: Mapping[str, Path]) -> None:
    """The page of a run."""
    from planish.runs.plots import interval_plot
    from planish.runs.report import Report

    page = Report(f"How well {plan.called} plays", title(plan), run=run)
    page.numbers(
        {
            "score": results.score,
            "decisions, p50 in ms": results.times.ms(50),
            "p99 in ms": results.times.ms(99),
            "largest in ms": results.times.ms(100),
            "online tokens": sum(each.tokens for each in results.episodes),
        }
    )
    page.section("Scores", "\n".join(f"- {line}" for line in results.sentences(plan)))
    pots = DYNAMICS[plan.old_dynamics]
    page.table(
        ("layout", "seat", "dynamics", "score", "soups", "failed episodes"),
        [(layout, seat, pots, *others) for layout, seat, *others in results.rows()],
        "Mean score of both cooks, with its 95 % interval.",
    )
    rows = [(f"{layout}, {seat}", score, None) for layout, seat, score, _, _ in results.rows()]
    if len(rows) > 1:
        page.figure(
            interval_plot(rows, xlabel="score"),
            "Mean score by layout and seat, with 95 % intervals.",
            "Dots with intervals for the mean score of each cell",
        )
    for name, path in replays.items():
        page.link(f"replay: {name}", path)
    page.details(
        "every episode",
        columns=("episode", "score", "soups", "fallbacks", "deadline misses", "why it failed"),
        rows=[
            (each.id, each.score, each.soups, each.fallbacks, each.deadline_misses, each.error)
            for each in results.episodes
        ],
    )
    page.save(run.report_path)


def _numbers(estimate: Estimate) -> dict[str, Any]:
    known = estimate.low is not None
    return {
        "score": estimate.value,
        "score_ci": [estimate.low, estimate.high] if known else None,
    }


def _texts(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "n/a", ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.1f}", ""
    return f"{estimate.value:.1f}", f"[{estimate.low:.1f}, {estimate.high:.1f}]"
