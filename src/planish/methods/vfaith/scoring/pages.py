"""What a person sees of a score: the leaderboard on the screen, and a page with the pictures.

show(screen, results)
write_report(run, results)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from planish.methods.vfaith.data import SUBSETS
from planish.methods.vfaith.scoring.names import short_names, wrapped
from planish.methods.vfaith.scoring.pictures import choose, draw
from planish.methods.vfaith.scoring.records import METRICS
from planish.methods.vfaith.scoring.tables import (
    OUTCOMES,
    Part,
    Results,
    Share,
    by_family,
    by_subset,
    exclusions,
    leaderboard,
    marked,
    outcomes,
    rated,
    sentences,
    shown,
    strict_rows,
    versus,
)
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate

__all__ = ["build_report", "show", "write_report"]

_NARROW, _WIDE = 13, 20  # characters of a line of a model's name on the screen
_LINES = 3
_FEW = 20  # rows of a table that stands open on the page
_PLOTTED = ("pair_acc", "delta_net", "gated_unfaithfulness")
_TINY = ("embedded:", "planted:")


# ---- the screen ------------------------------------------------------------------------------


def show(screen: Screen, results: Results) -> None:
    """The leaderboard with intervals, subsets, models against each other, what unread replies do.

    Every table fits 100 columns; an interval stands below its number.
    """
    for line in results.warnings:
        (screen.warn if screen.json else screen.say)(line)
    _show_leaderboard(screen, results)
    if line := exclusions(results):
        screen.say(line)
    names = short_names([score.label for score in results.scores], _WIDE, 2)
    if any(score.subsets for score in results.scores):
        _table(
            screen,
            *by_subset(results),
            names,
            title="by subset; all is one test, p as it is",
            brief=True,
        )
    columns, rows = versus(results)
    if rows:
        _table(
            screen,
            ("model", *columns[2:]),
            [(_Less(row[0], row[1]), *row[2:]) for row in rows],
            names,
            title="model less model, on the same pairs",
        )
    if any(score.unparsed for score in results.scores):
        columns, rows = strict_rows(results)
        _table(screen, columns, rows, names, title="unparsed counted as wrong", brief=True)
    for line in sentences(results):
        screen.say(line)


def _show_leaderboard(screen: Screen, results: Results) -> None:
    total = sum(pair.kind == "pair" for pair in results.bench.pairs)
    asked = max((score.overall.pairs for score in results.scores), default=0)
    few = f"{asked} of " if asked < total else ""
    columns, rows = leaderboard(results)
    plain = (2, 3, 6)  # the page has their intervals
    short = short_names([score.label for score in results.scores], _NARROW - 1, _LINES)
    names = {
        marked(score): short[score.label] + ("" if score.pinned else "*")
        for score in results.scores
    }
    _table(
        screen,
        columns,
        [
            tuple(_number(cell) if place in plain else cell for place, cell in enumerate(row))
            for row in rows
        ],
        names,
        title=f"{few}{total} pairs, 95 % intervals over sources",
        width=_NARROW,
    )


def _table(
    screen: Screen,
    columns: tuple[str, ...],
    rows: list[tuple[Any, ...]],
    names: Mapping[str, str],
    *,
    title: str,
    width: int = _WIDE,
    brief: bool = False,
) -> None:
    """As many lines a row as its fullest cell has; `brief` leaves the intervals out."""
    told: list[tuple[str, ...]] = []
    for row in rows:
        cells = [_lines(cell, names, width, brief) for cell in row]
        told += zip_longest(*cells, fillvalue="")
    screen.table(columns, told, title=title)


class _Less(NamedTuple):
    """Two models, one below the other."""

    a: str
    b: str


def _lines(cell: Any, names: Mapping[str, str], width: int, brief: bool) -> list[str]:
    if isinstance(cell, _Less):
        return [*wrapped(names[cell.a], width), *wrapped(f"less {names[cell.b]}", width)]
    if isinstance(cell, Share):
        return [str(cell.pairs), f"{cell.usable:.0%}"]
    if isinstance(cell, Part):
        return [*_lines(cell.estimate, names, width, brief), f"n = {cell.pairs}"]
    below = "" if brief else _interval(cell, 2 if width == _NARROW else 3)
    if isinstance(cell, str):
        return wrapped(names.get(cell, cell), width)
    return [_number(cell), *([below] if below else [])]


def _number(cell: Any) -> str:
    if isinstance(cell, Estimate):
        return "n/a" if cell.value is None else f"{cell.value:.3f}"
    return str(cell)


def _interval(cell: Any, digits: int) -> str:
    """Without the zeros before the points; with fewer digits it is wider, never narrower."""
    if not isinstance(cell, Estimate) or cell.low is None or cell.high is None:
        return ""
    unit = 10.0**-digits
    low, high = cell.low, cell.high
    if digits < 3:
        low = math.floor(round(low / unit, 6)) * unit
        high = math.ceil(round(high / unit, 6)) * unit
    return f"{_short(low, digits)}, {_short(high, digits)}"


def _short(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return (
        text.replace("0.", ".", 1) if abs(value) < 1 and text.lstrip("-").startswith("0") else text
    )


# ---- the page --------------------------------------------------------------------------------


def write_report(run: Run, results: Results) -> Path:
    """The page of a run; its pictures are in it, so that it can be sent as one file."""
    report = build_report(results, run)
    report.save(run.report_path)
    return run.report_path


def build_report(
    results: Results, run: Run | None = None, opening: Callable[[Any], None] | None = None
) -> Any:
    """The page before it is written, for pages that hold several.

    Args:
        opening: what it begins with, in place of the best model's numbers.
    """
    from planish.runs.report import Report

    best = results.scores[0]
    page = Report(
        "Does its reasoning follow the picture?",
        f"{len(results.scores)} model{'s' * (len(results.scores) > 1)} on "
        f"{sum(pair.kind == 'pair' for pair in results.bench.pairs)} pairs of pictures, before and "
        "after the one thing was edited on which the answer hangs.",
        run=run,
        tiny=any(score.model.startswith(_TINY) for score in results.scores),
    )
    if opening is not None:
        opening(page)
    else:
        page.numbers(
            {
                f"{best.label}: {METRICS[name]}": shown(best, best.overall, name)
                for name in ("pair_acc", "acc_raw", "acc_edited", *_PLOTTED[1:])
            }
        )
    lines = [*(f"**{line}**" for line in results.warnings), *sentences(results)]
    if line := exclusions(results):
        lines.append(line)
    page.section("Leaderboard", "\n".join(f"- {line}" for line in lines))
    columns, rows = leaderboard(results)
    for some in ((0, 1, 4, 7, 8), (0, 2, 3, 5, 6)):  # side by side they would not fit the page
        page.table([columns[at] for at in some], [[_plain(row[at]) for at in some] for row in rows])
    _add_plots(page, results)
    page.section("Pictures", "The frame is where the edit was allowed to change pixels.")
    _add_pictures(page, results)
    _add_pairs(page, results)
    _add_failures(page, results)
    _add_raters(page, results)
    _add_everything(page, results)
    return page


def _plain(cell: Any) -> Any:
    return str(cell) if isinstance(cell, (Part, Share)) else cell


def _add_plots(page: Any, results: Results) -> None:
    from planish.runs.plots import interval_plot

    for name in _PLOTTED:
        rows = [
            (score.label, shown(score, score.overall, name), None)
            for score in results.covered
            if shown(score, score.overall, name).value is not None
        ]
        if rows:
            page.figure(
                interval_plot(rows, xlabel=METRICS[name]),
                f"{METRICS[name].capitalize()}, with 95 % intervals.",
                f"One dot a model: {METRICS[name]}",
            )


def _add_pairs(page: Any, results: Results) -> None:
    columns, rows = versus(results)
    if rows:
        page.section(
            "Model less model",
            "On the pairs that both answered. The test is exact McNemar on being right on both "
            "pictures, adjusted by Holm over the table.",
        )
        _fitted(page, "each model less each other", columns, rows)
    page.section(
        "By subset",
        "; ".join(f"{name}: {meaning}" for name, meaning in SUBSETS.items())
        + "; all is one test, whose p is not adjusted. b pairs were right on the raw picture only, "
        "c on the edited one only. Small subsets cannot rank models: look at the intervals.",
    )
    _fitted(page, "each model by subset", *by_subset(results))


def _fitted(page: Any, what: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Two tables in place of one that would be cut off; folded away where they are long."""
    for told, some in (("PairAcc", (0, 1, 2, 3, 6, 7)), ("Delta and Delta_net", (0, 1, 4, 5))):
        names = [columns[at] for at in some]
        cells = [[_plain(row[at]) for at in some] for row in rows]
        if len(rows) <= _FEW:
            page.table(names, cells)
        else:
            page.details(f"{told} of {what}", columns=names, rows=cells)


def _add_pictures(page: Any, results: Results) -> None:
    for example in choose(results):
        try:
            figure = draw(results.bench, example.pair)
        except BadInput as error:
            page.text(f"{example.pair.pair_id} is not shown: {error}")
            continue
        page.figure(figure, example.caption, f"{example.pair.question} Raw and edited picture")
        page.table(("model", "said to the raw picture", "said to the edited one", ""), example.rows)


def _add_failures(page: Any, results: Results) -> None:
    page.section("By family")
    _fitted(page, "each model by family", *by_family(results))
    for sheet in results.sheets:
        page.details(
            f"what {sheet.label} did, pair by pair",
            columns=("family", *OUTCOMES),
            rows=[
                (family, *(counts[name] for name in OUTCOMES))
                for family, counts in outcomes(sheet).items()
            ],
        )
    page.section("Kept out by the gates")
    if not results.excluded:
        page.text("No pair was kept out, or the bench does not tell.")
        return
    passed = Counter((pair.family, pair.edit.backend) for pair in results.bench.pairs)
    page.table(
        ("gate", "code", "family", "editor", "kept out", "passed"),
        [
            (*where, count, passed[where[2], where[3]])
            for where, count in sorted(results.excluded.items())
        ],
        "A pair that failed several gates stands under each.",
    )


def _add_raters(page: Any, results: Results) -> None:
    found = results.raters
    if found is None:
        return
    page.section(
        "Rated by two people",
        f"{found.pairs} of the {found.sample} pairs of a random sample, each by both. An edit is "
        "bad if it does not follow the cue, if not exactly one option is true, or if anything else "
        "changed. Kappa is not told where one of them gave one answer only.",
    )
    page.numbers(
        {
            "bad edits, by one of them at least": found.bad_either,
            "bad edits, by both": found.bad_both,
        }
    )
    page.table(*rated(found))
    if found.disagreements:
        page.details(
            f"{len(found.disagreements)} answers in which they differ",
            columns=("pair", "question", *found.raters),
            rows=[
                (each.pair_id, each.question, *(each.answers[name] for name in found.raters))
                for each in found.disagreements
            ],
        )


def _add_everything(page: Any, results: Results) -> None:
    page.section(
        "Replies that could not be read",
        "They are in no number above. Here every one of them counts as wrong.",
    )
    page.table(*strict_rows(results))
    page.section("Every metric")
    page.table(
        ("", *(score.label for score in results.scores)),
        [
            (meaning, *(shown(score, score.overall, name) for score in results.scores))
            for name, meaning in METRICS.items()
        ],
    )
    page.table(
        ("model", "arm", "right", "wrong", "unparsed", "no reply", "not asked"),
        [
            (score.label, arm, each.correct, each.wrong, each.unparsed, each.error, each.missing)
            for score in results.scores
            for arm, each in score.arms.items()
        ],
    )
