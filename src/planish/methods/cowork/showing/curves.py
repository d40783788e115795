"""What the library in use scored over the rounds: the points, and their section of a report.

    add_curves(report, points, promotions, references={"full": 182.0}, seeds="report seeds")

The curve is that of the library in use at the time, never of the best so far, on seeds that no
proposer and no gate has seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from planish.methods.cowork.data import Promotion
from planish.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planish.runs.report import Report

__all__ = ["OVERALL", "CurvePoint", "add_curves", "signed"]

OVERALL = "all cells"
"""The key under which a point may bring the score over all cells with its own interval."""

_LINES = 6
"""More lines than this in one plot share a colour."""


@dataclass(frozen=True)
class CurvePoint:
    """What the library in use scored at one time.

    Args:
        round: the round it was measured after; 0: before the first.
        episodes: training episodes played until then.
        sim_steps: kitchen ticks until then: training, gate and monitoring together.
        tokens: tokens spent on proposing until then.
        scores: cell -> (mean, low, high) over fresh seeds. `OVERALL` may stand among the cells;
            without it the mean of the cells is drawn, and no interval is claimed for it.
    """

    round: int
    episodes: int
    sim_steps: int
    tokens: int
    scores: Mapping[str, tuple[float, float, float]]

    def overall(self) -> Estimate:
        """The score over all cells, each of the same weight."""
        if OVERALL in self.scores:
            mean, low, high = self.scores[OVERALL]
            return Estimate(value=mean, low=low, high=high, n=len(self.cells()))
        means = [mean for mean, _, _ in self.cells().values()]
        return Estimate(value=fmean(means) if means else None, n=len(means))

    def cells(self) -> dict[str, tuple[float, float, float]]:
        """The scores without the one over all cells."""
        return {cell: score for cell, score in self.scores.items() if cell != OVERALL}


def add_curves(
    report: Report,
    points: Sequence[CurvePoint],
    promotions: Sequence[Promotion],
    references: Mapping[str, float],
    seeds: str,
) -> None:
    """Adds the section of the score: against episodes, steps and tokens, by layout and by cell."""
    report.section(
        "Score of the library in use",
        "What the active library of each round scores with both cooks together, not the best so "
        "far. Steps are kitchen ticks of training, gate and monitoring together: a patch costs "
        "what it took to judge it.",
    )
    points = [point for point in points if point.overall().value is not None]
    if not points:
        report.text("No score was measured.")
        return
    marks = "Up: promoted. Down: reverted." if promotions else "No patch was promoted."
    axes = [
        ("training episodes", [float(point.episodes) for point in points]),
        ("thousand simulator steps", [point.sim_steps / 1000 for point in points]),
    ]
    if any(point.tokens for point in points):
        axes.append(("tokens of the proposers", [float(point.tokens) for point in points]))
    for label, places in axes:
        figure = _curve(points, places, label, promotions, references)
        told = ", ".join(str(point.overall()) for point in points[:: max(1, len(points) - 1)])
        report.figure(
            figure, f"Mean score over cells on {seeds}. {marks}", f"score over {label}: {told}"
        )
    layouts = list(_by_layout(points).items())
    for start in range(0, len(layouts) if len(layouts) > 1 else 0, _LINES):
        figure = _layout_curves(points, dict(layouts[start : start + _LINES]))
        report.figure(figure, f"The same by layout, on {seeds}.", "score by layout")
    _cells(report, points)


def _curve(
    points: Sequence[CurvePoint],
    places: Sequence[float],
    label: str,
    promotions: Sequence[Promotion],
    references: Mapping[str, float],
) -> Figure:
    from planish.runs.plots import INK, SERIES, Series, line_plot, style

    scores = [point.overall() for point in points]
    lows = [score.low for score in scores if score.low is not None]
    highs = [score.high for score in scores if score.high is not None]
    known = len(lows) == len(highs) == len(scores)
    line = Series(
        "library in use",
        places,
        [score.value for score in scores if score.value is not None],
        lows if known else None,
        highs if known else None,
    )
    ends = [min(places), max(places)]
    flat = [Series(name, ends, [score, score]) for name, score in references.items()]
    figure = line_plot([line, *flat], xlabel=label, ylabel="score of an episode")
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    # Room above for the marks of reverts, which would hide in a level line at the top.
    axes.set_ylim(min(0.0, low), high + 0.12 * (high - min(0.0, low)))
    with style():
        for promotion in promotions:
            up = promotion.kind == "promoted"
            place = _place(promotion.round, points, places)
            axes.axvline(place, color=INK, linewidth=0.7, alpha=0.35)
            axes.plot(
                [place], [0.03 if up else 0.97], "^" if up else "v", markersize=7,
                color=SERIES[2] if up else INK, transform=axes.get_xaxis_transform(),
                clip_on=False,
            )  # fmt: skip
    return figure


def _place(round: int, points: Sequence[CurvePoint], places: Sequence[float]) -> float:
    """Where a round stands on the axis: at its point, or at the next that there is."""
    after = [place for point, place in zip(points, places, strict=True) if point.round >= round]
    return after[0] if after else places[-1]


def _by_layout(points: Sequence[CurvePoint]) -> dict[str, list[str]]:
    """Layout -> its cells that every point has."""
    common = [cell for cell in points[0].cells() if all(cell in point.scores for point in points)]
    found: dict[str, list[str]] = {}
    for cell in common:
        found.setdefault(cell.partition(" with ")[0], []).append(cell)
    return found


def _layout_curves(points: Sequence[CurvePoint], layouts: Mapping[str, Sequence[str]]) -> Figure:
    from planish.runs.plots import Series, line_plot

    steps = [point.sim_steps / 1000 for point in points]
    lines = [
        Series(name, steps, [fmean(point.scores[cell][0] for cell in cells) for point in points])
        for name, cells in layouts.items()
    ]
    figure = line_plot(lines, xlabel="thousand simulator steps", ylabel="score of an episode")
    figure.axes[0].set_ylim(bottom=min(0.0, figure.axes[0].get_ylim()[0]))
    return figure


def _cells(report: Report, points: Sequence[CurvePoint]) -> None:
    first, last = points[0].cells(), points[-1].cells()
    rows = []
    for cell, (mean, low, high) in last.items():
        before = Estimate(value=None)
        change = "n/a"
        if cell in first:
            before = Estimate(value=first[cell][0], low=first[cell][1], high=first[cell][2])
            change = signed(mean - first[cell][0])
        rows.append((cell, before, Estimate(value=mean, low=low, high=high), change))
    report.details(
        f"Every cell: at first and in the end ({len(rows)})",
        columns=("cell", "at first", "in the end", "change"),
        rows=rows,
    )


def signed(value: float) -> str:
    """A difference of scores, with its sign."""
    return "0" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")
