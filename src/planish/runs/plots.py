"""Figures for reports: two plots that every room needs, and any matplotlib figure as inline SVG.

    >>> figure = interval_plot([("always A", estimate, 1.0)], xlabel="share of A")  # doctest: +SKIP

A room that draws its own figure does so inside `with style():` and takes colours from `SERIES`,
so that the figure follows the page into dark mode. Nothing here touches pyplot.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from planish.runs.numbers import NOTHING, EstimateLike, finite, interval, scale, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GRID",
    "INK",
    "MUTED",
    "SERIES",
    "Series",
    "interval_plot",
    "line_plot",
    "prefixed",
    "style",
    "svg",
]

INK, MUTED, GRID = "#1d2329", "#5b6672", "#dfe4e9"

# Okabe and Ito's colours, which stay apart for every kind of colour vision. The page gives each
# a lighter twin in dark mode.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9")

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1.5)), (0, (8, 3)))
_MARKERS = "osD^vP"
_FONT = "DejaVu Sans"  # ships with matplotlib: text is measured the same on every machine
_ROLES = {INK: "ink", MUTED: "muted", GRID: "rule"} | {
    color: f"series-{number}" for number, color in enumerate(SERIES, 1)
}


class Series(NamedTuple):
    """A line: `low` and `high`, where given, are drawn as a band around `y`."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@contextlib.contextmanager
def style() -> Iterator[None]:
    """matplotlib settings of the report; figures made inside follow the page's colours."""
    import matplotlib
    from cycler import cycler

    settings: Any = {
        "axes.axisbelow": True,
        "axes.edgecolor": MUTED,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.labelcolor": MUTED,
        "axes.linewidth": 0.8,
        "axes.prop_cycle": cycler(color=SERIES),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": INK,
        "axes.titlesize": 11,
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
        "font.family": [_FONT],
        "font.size": 9.5,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "legend.labelcolor": INK,
        "lines.linewidth": 1.8,
        "text.color": INK,
        # Labels come from data: "$5" is money, not mathematics.
        "text.parse_math": False,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
    }
    with matplotlib.rc_context(settings), _quiet_about_fonts():
        yield


@contextlib.contextmanager
def _quiet_about_fonts() -> Iterator[None]:
    # The reader's browser has the glyphs; only matplotlib's measuring font lacks them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def interval_plot(
    rows: Sequence[tuple[str, EstimateLike, float | None]],
    *,
    xlabel: str = "",
    title: str = "",
    axis: tuple[float, float] | None = None,
    width: float = 8.5,
) -> Figure:
    """One row per estimate: a dot with its interval, and the planted value as a hollow diamond.

    Args:
        rows: (label, estimate, planted value or None), drawn from the top.
        axis: ends of the x axis; by default [0, 1], or wider where the numbers are.
        width: in inches; the height follows from the rows.
    """
    from matplotlib.figure import Figure

    planted = [float(truth) for _, _, truth in rows if finite(truth)]
    with style():
        figure = Figure(figsize=(width, 0.95 + 0.34 * max(len(rows), 1)))
        axes = figure.subplots()
        axes.set_xlim(*(axis or _axis([estimate for _, estimate, _ in rows], planted)))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(len(rows)), [_short(row[0]) for row in rows], color=INK)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        if axes.get_xlim()[0] < 0:
            axes.axvline(0, color=MUTED, linewidth=0.8)
        for y, (_, estimate, truth) in enumerate(rows):
            _interval_row(axes, y, estimate, truth)
        _interval_legend(axes, bool(planted))
        axes.set_xlabel(xlabel)
        axes.set_title(title, loc="left")
    return figure


def _axis(estimates: Sequence[EstimateLike], planted: Sequence[float]) -> tuple[float, float]:
    class Point(NamedTuple):
        value: float
        low: None = None
        high: None = None
        n: int = 1

    low, high = scale([*estimates, *(Point(value) for value in planted)])
    margin = 0.02 * (high - low)  # markers at the very ends stay whole
    return low - margin if low == 0 else low, high + margin


def _interval_row(axes: Axes, y: int, estimate: EstimateLike, truth: float | None) -> None:
    if finite(estimate.low) and finite(estimate.high):
        axes.hlines(y, estimate.low, estimate.high, color=SERIES[0], linewidth=5, alpha=0.35)
    if finite(estimate.value):
        axes.plot([estimate.value], [y], "o", color=SERIES[0], markersize=6.5, zorder=3)
        text = f"{show(float(estimate.value))}  {interval(estimate)}".rstrip()
    else:
        text = NOTHING
    if finite(truth):
        axes.plot(
            [truth], [y], "D", markerfacecolor="none", color=SERIES[1], markersize=8.5,
            markeredgewidth=1.5, zorder=4,
        )  # fmt: skip
    axes.annotate(
        text, (1.02, y), xycoords=("axes fraction", "data"), va="center", color=MUTED, fontsize=9,
        annotation_clip=False,
    )  # fmt: skip


def _interval_legend(axes: Axes, planted: bool) -> None:
    if not planted:
        return
    from matplotlib.lines import Line2D

    measured = Line2D([], [], color=SERIES[0], marker="o", markersize=6.5, linestyle="none")
    truth = Line2D(
        [], [], color=SERIES[1], marker="D", markerfacecolor="none", markeredgewidth=1.5,
        markersize=7.5, linestyle="none",
    )  # fmt: skip
    axes.figure.legend(
        [measured, truth],
        ["measured, with interval", "planted"],
        loc="outside upper right",
        ncols=2,
    )


def line_plot(
    series: Sequence[Series],
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    ylim: tuple[float, float] | None = None,
    doubling: bool = False,
    width: float = 8.5,
    height: float = 3.5,
) -> Figure:
    """Lines over a common axis, told apart by colour, dash and marker; bands where given.

    Args:
        series: the lines.
        xlabel, ylabel, title: in words.
        ylim: ends of the y axis.
        doubling: an x axis on which every doubling is as wide, marked where the lines are.
        width, height: in inches.
    """
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(width, height))
        axes = figure.subplots()
        for index, line in enumerate(series):
            color = SERIES[index % len(SERIES)]
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0)
            axes.plot(
                line.x, line.y, label=_short(line.label), color=color, linestyle=_DASHES[index % 6],
                marker=_MARKERS[index % 6] if len(line.x) <= 25 else "", markersize=4.5,
            )  # fmt: skip
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(title, loc="left")
        if ylim is not None:
            axes.set_ylim(*ylim)
        if doubling:
            ticks = sorted({value for line in series for value in line.x})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.set_xticks([], minor=True)
        if len(series) > 1:
            figure.legend(loc="outside upper left", ncols=min(len(series), 4), handlelength=3)
    return figure


def svg(figure: Figure, alt: str) -> str:
    """A figure as an `<svg>` element for an HTML page: the same figure gives the same bytes.

    Args:
        alt: what a reader who cannot see it should hear.
    """
    import matplotlib

    out = io.StringIO()
    fixed: Any = {"svg.hashsalt": "planish", "svg.fonttype": "none", "savefig.facecolor": "auto"}
    with matplotlib.rc_context(fixed), _quiet_about_fonts():
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", text, flags=re.S)
    width, height = (72 * value for value in figure.get_size_inches())
    root = (
        f'<svg role="img" aria-label="{html.escape(alt)}" width="{width * 4 / 3:.0f}" '
        f'viewBox="0 0 {width:g} {height:g}">'
    )
    body = text[text.index(">") + 1 :]
    used = set(re.findall(r'(?:url\(|xlink:href=")#([^)"]+)', body))
    body = _TAG.sub(lambda tag: _retag(tag[0], used), body)
    return root + re.sub(r"\s*\n\s*", "\n", body).strip()


def prefixed(drawing: str, prefix: str) -> str:
    """An `<svg>` of `svg` with `prefix` before every id: ids are unique within a page only."""

    def rename(tag: re.Match[str]) -> str:
        return re.sub(r'( id="|url\(#| href="#)', rf"\g<1>{prefix}", tag[0])

    return _TAG.sub(rename, drawing)


# matplotlib escapes ">" in text and attributes alike, so these are tags and nothing else.
_TAG = re.compile(r"<[^>]*>")


def _retag(tag: str, used: set[str]) -> str:
    """One tag of matplotlib's SVG, with only the ids that are used and the page's looks."""
    tag = re.sub(r' id="([^"]*)"', lambda id: id[0] if id[1] in used else "", tag)
    tag = tag.replace("xlink:href=", "href=").replace(f"'{_FONT}'", "var(--sans, sans-serif)")
    for color, role in _ROLES.items():
        tag = tag.replace(color, f"var(--{role}, {color})")
    return tag


def _short(label: str) -> str:
    """A label that leaves room for the axes; the tables of a report hold the whole."""
    return label if len(label) <= 36 else f"{label[:35]}…"
