"""What came of an evaluation: tables, the page, and its two pictures.

page = report(summary, traces, "hf:./checkpoint", run=run)
page.save(run.report_path)
show(screen, summary)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from planish.methods.lookahead.evaluate.outcomes import Trace
from planish.methods.lookahead.evaluate.summary import DENSE, OURS, Summary
from planish.methods.lookahead.showing_windows import table, told
from planish.runs.plots import MUTED, SERIES, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from planish.runs import Run
    from planish.runs.console import Screen
    from planish.runs.report import Report
    from planish.stats import Estimate

__all__ = ["accuracy_figure", "report", "residency_figure", "show", "shown_traces"]

_ABOUT = 0.1
"""The share whose chunks are drawn: the one nearest to it."""

_ROWS = 5
_MARKERS = "os^DvPX*<"
_THERE, _FOUND, _MISSED = SERIES[5], SERIES[2], SERIES[1]

_HOW = """\
Every arm gets the same bytes: chunks on the device and the digests it chooses by, together, as a
share of what a dense cache would hold; the tokens decoded since the last decision are counted too.
What an arm pays for digests it cannot keep in chunks. Oracles look into the future and pay nothing.

- **accuracy** is the mean over families; intervals are of a bootstrap over documents.
- **KV** is the largest share that was on the device after the first decision.
- **allocated** is the same with the free places of the buffers that chunks lie in.
- **attention kept** is along the dense reply, the mean over its tokens and layers.
- **needs kept** are the chunks that the window's tokens need, of those that could be evicted.
- **missed** is the share of tokens, behind the first of a window, that missed something needed,
  whether it left or never came: how much of it a later decision would have kept is not measured.
- **minus dense** is on documents that both arms have a score for; where some have none, it says
  on how many.
- **moved** counts what came from the host, for chunks and for choosing.
"""


# ---- the screen ------------------------------------------------------------------------------


def show(screen: Screen, summary: Summary) -> None:
    """One table for each share, and what could not be scored.

    A hundred columns hold it; what more is measured stands on the page.
    """
    for fraction in summary.fractions or [1.0]:
        rows = [
            (
                arm,
                str(summary.accuracy(arm, fraction)),
                _signed(found) + _of(found, summary) if found else "",
                _percent(summary.measure("kv_fraction", arm, fraction)),
                _percent(summary.measure("recall", arm, fraction)),
                _nats(summary.measure("logit_kl", arm, fraction)),
                _bytes(summary.measure("moved_per_token", arm, fraction)),
                _percent(summary.fallback_rate(arm, fraction)),
            )
            for arm in summary.arms
            for found in [None if arm == DENSE else summary.difference(arm, DENSE, fraction)]
        ]
        columns = (
            "arm", "accuracy", "minus\ndense", "KV", "needs\nkept", "KL", "moved\nB/token",
            "fallback",
        )  # fmt: skip
        screen.table(columns, rows, title=f"at {100 * fraction:g} % of the bytes")
    for line in sentences(summary):
        screen.say(line)


def sentences(summary: Summary) -> list[str]:
    """What the tables cannot say."""
    lines = [
        f"{count} answers have no score: {why or 'not told why'}"
        for why, count in summary.reasons().items()
    ]
    for fraction in summary.fractions:
        for first, second in summary.pairs:
            if OURS not in (first, second):
                continue
            found = summary.difference(first, second, fraction)
            lines.append(
                f"at {100 * fraction:g} %: {first} - {second} = {_judged(found)}"
                + _of(found, summary)
            )
    return lines + [line for fraction in summary.fractions for line in told(summary, fraction)]


def _judged(found: Estimate) -> str:
    if found.value is None:
        return "not measured"
    if found.low is None or found.high is None:
        return f"{found.value:+.3f} on each of {found.n} documents"
    null = "" if found.low > 0 or found.high < 0 else ": null, the interval holds 0"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{null}"


def _of(found: Estimate, summary: Summary) -> str:
    """On how many documents both arms have a score, where some are left out."""
    left = found.value is not None and found.n < summary.documents
    return f" ({found.n} of {summary.documents} documents)" if left else ""


def _signed(found: Estimate) -> str:
    return "n/a" if found.value is None else f"{found.value:+.3f}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"


def _nats(value: float | None) -> str:
    """Three places; what is not nothing does not look like it."""
    if value is None:
        return "n/a"
    return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def _bytes(value: float | None) -> str:
    return "n/a" if value is None else f"{value:,.0f}"


# ---- the page --------------------------------------------------------------------------------


def report(
    summary: Summary,
    traces: Sequence[Trace],
    model: str,
    *,
    run: Run | None = None,
    tiny: bool = False,
) -> Report:
    """The page of an evaluation; another page may take its pictures alone.

    Args:
        model: as it was named.
        tiny: says that tiny models show the mechanism only.
    """
    from planish.runs.report import Report

    page = Report(
        "Does the long context fit?",
        f"{model}: {len(summary.families)} families, {summary.documents} documents",
        run=run,
        tiny=tiny,
    )
    page.numbers(_headline(summary))
    page.section("Accuracy against bytes", _HOW)
    if summary.fractions:
        page.figure(
            accuracy_figure(summary),
            "Accuracy, the mean over families, against the share of the dense bytes that was on "
            "the device; bands are 95 % intervals by document.",
            "Lines of accuracy over KV bytes, one for each arm",
        )
    page.table(*_table(summary), "Every arm at every share.")
    if lines := sentences(summary):
        page.text("\n".join(f"- {line}" for line in lines))
    _families(page, summary)
    table(page, summary)
    chosen = shown_traces(traces)
    if chosen:
        page.section("Which chunks were there when")
        page.figure(
            residency_figure(chosen),
            f"{chosen[0].document_id} at {100 * chosen[0].fraction:g} % of the bytes, along the "
            "dense reply.",
            "For each arm, the chunks that were resident in each window",
        )
    return page


def _headline(summary: Summary) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if DENSE in summary.arms:
        found[DENSE] = summary.accuracy(DENSE, 1.0)
    if not summary.fractions:
        return found
    fraction = min(summary.fractions, key=lambda each: abs(each - _ABOUT))
    for arm in summary.arms:
        if arm.partition(",")[0] in (OURS, "oracle", "recency"):
            found[f"{arm} at {100 * fraction:g} %"] = summary.accuracy(arm, fraction)
    return found


def _table(summary: Summary) -> tuple[Sequence[str], list[tuple[Any, ...]]]:
    columns = (
        "arm", "share", "accuracy", "minus dense", "KV", "allocated", "attention kept",
        "worst window missed", "needs kept", "missed", "KL", "moved bytes a token", "digest bytes",
        "host bytes", "without a score",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for arm, fraction in summary.cells():
        found = None if arm == DENSE else summary.difference(arm, DENSE, fraction)
        measures = {
            name: summary.measure(name, arm, fraction)
            for name in (
                "kv_fraction", "allocated_fraction", "mass_recall", "missed_mass", "recall",
                "miss_rate",
                "logit_kl", "moved_per_token", "digest_bytes", "host_bytes",
            )
        }  # fmt: skip
        rows.append(
            (
                arm,
                f"{100 * fraction:g} %",
                summary.accuracy(arm, fraction),
                None if found is None else f"{found}{_of(found, summary)}",
                *measures.values(),
                summary.left_out(arm, fraction),
            )
        )
    return columns, rows


def _families(page: Report, summary: Summary) -> None:
    """Where it loses, and by how much."""
    for fraction in summary.fractions:
        page.details(
            f"by family, at {100 * fraction:g} % of the bytes",
            columns=("family", *summary.arms),
            rows=[
                (family, *(summary.accuracy(arm, fraction, family) for arm in summary.arms))
                for family in summary.families
            ],
        )


# ---- pictures --------------------------------------------------------------------------------


def accuracy_figure(summary: Summary) -> Figure:
    """Accuracy of each arm against the bytes it had; dense as a level."""
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(8.5, 4.0))
        axes = figure.subplots()
        for index, arm in enumerate(each for each in summary.arms if each != DENSE):
            _line(axes, summary, arm, index)
        if DENSE in summary.arms:
            level = summary.accuracy(DENSE, 1.0).value
            if level is not None:
                axes.axhline(level, color=MUTED, linestyle=(0, (1, 2)), label=DENSE)
        axes.set(xlabel="KV bytes on the device, % of dense", ylabel="accuracy")
        axes.set_ylim(-0.02, 1.02)
        if axes.get_legend_handles_labels()[1]:
            figure.legend(loc="outside upper left", ncols=5, handlelength=3)
    return figure


def _line(axes: Axes, summary: Summary, arm: str, index: int) -> None:
    points = []
    for fraction in summary.fractions:
        found = summary.accuracy(arm, fraction)
        share = summary.measure("kv_fraction", arm, fraction)
        if found.value is not None and share is not None:
            low = found.value if found.low is None else found.low
            high = found.value if found.high is None else found.high
            points.append((100 * share, found.value, low, high))
    if not points:
        return
    x, y, low_y, high_y = zip(*sorted(points), strict=True)
    color = SERIES[index % len(SERIES)]
    dash = "-" if index < len(SERIES) else (0, (4, 2))
    axes.fill_between(x, low_y, high_y, color=color, alpha=0.12, linewidth=0)
    axes.plot(
        x, y, color=color, label=arm, linestyle=dash, marker=_MARKERS[index % len(_MARKERS)],
        markersize=4.5, linewidth=2.6 if arm == OURS else 1.6,
    )  # fmt: skip


def shown_traces(traces: Sequence[Trace]) -> list[Trace]:
    """Every arm on one document at one share: about a tenth, and where most windows are seen."""
    if not traces:
        return []
    share = min((each.fraction for each in traces), key=lambda each: abs(each - _ABOUT))
    at_share = [each for each in traces if each.fraction == share]
    most = max(at_share, key=lambda each: (len(each.steps), each.document_id))
    found = [each for each in at_share if each.document_id == most.document_id and each.steps]
    # Buildable ones that look least alike first: ours, the perfect one, and simple ones.
    order = (OURS, "oracle", "recency", "last-query", "quest", "snapkv", "omnikv", "oracle-task")
    found.sort(key=lambda each: order.index(each.arm) if each.arm in order else len(order))
    return found[:_ROWS]


def residency_figure(traces: Sequence[Trace]) -> Figure:
    """Chunks over windows, one row for each arm: there, there and needed, needed and missing."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    with style():
        figure = Figure(figsize=(8.5, 0.9 + 1.25 * len(traces)))
        rows = figure.subplots(len(traces), 1, sharex=True, squeeze=False)[:, 0]
        for axes, trace in zip(rows, traces, strict=True):
            _windows(axes, trace)
        rows[-1].set_xlabel("chunk of the context, from its beginning")
        handles = [
            Patch(color=color, label=label)
            for color, label in (
                (_THERE, "there"),
                (_FOUND, "there and needed"),
                (_MISSED, "needed and missing"),
            )
        ]
        figure.legend(handles=handles, loc="outside upper left", ncols=3)
    return figure


def _windows(axes: Axes, trace: Trace) -> None:
    for place, (there, needs) in enumerate(zip(trace.resident, trace.needed, strict=True)):
        resident, needed = set(there), set(needs)
        for chunks, color in (
            (resident - needed, _THERE),
            (resident & needed, _FOUND),
            (needed - resident, _MISSED),
        ):
            axes.broken_barh(list(_bars(sorted(chunks))), (place - 0.4, 0.8), facecolors=color)
    axes.set_xlim(-0.5, trace.num_chunks - 0.5)
    axes.set_ylim(len(trace.steps) - 0.5, -0.5)
    axes.set_yticks(range(len(trace.steps)), [f"from {step}" for step in trace.steps])
    axes.grid(visible=False)
    axes.set_title(trace.arm, loc="left")


def _bars(chunks: Sequence[int]) -> Iterator[tuple[float, int]]:
    """Runs of neighbouring chunks as (left edge, width)."""
    for _, group in groupby(enumerate(chunks), lambda each: each[1] - each[0]):
        run = [chunk for _, chunk in group]
        yield run[0] - 0.5, len(run)
