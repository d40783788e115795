"""Raw and edited picture side by side, the cue outlined, with what the models said to each.

for example in choose(results, per_family=2):
    page.figure(draw(results.bench, example.pair), example.caption, example.pair.question)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import EditPair
from planish.methods.vfaith.images import open_image
from planish.methods.vfaith.scoring.sheets import ERROR, MISSING, UNPARSED, Sheet
from planish.methods.vfaith.scoring.tables import Results
from planish.runs.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Example", "choose", "draw"]

SIDE = 256
"""Pixels of a picture on the page, at most."""

MODELS = 6
"""Models whose answers stand under a picture, best first."""

_CODES = {UNPARSED: "(unparsed)", ERROR: "(no reply)", MISSING: "(not asked)"}


class Example(NamedTuple):
    """A pair to look at; `kind` is "followed" or "not followed"."""

    pair: EditPair
    kind: str
    caption: str
    rows: list[tuple[str, ...]]


def choose(results: Results) -> Iterator[Example]:
    """Of every family a pair that most models followed, and another one that most did not.

    Those that did not are, where there are any, right on the raw picture and kept their answer.
    """
    if not results.sheets:
        return
    followed = np.array([_followed(sheet) for sheet in results.sheets])
    kept = np.array([_kept(sheet) for sheet in results.sheets])
    first = results.sheets[0]
    usable = np.any([sheet.asked for sheet in results.sheets], axis=0) & ~first.item
    for family in np.unique(first.family[usable]):
        members = np.flatnonzero(usable & (first.family == family))
        most = members[np.argmax(followed[:, members].sum(axis=0))]
        least = members[np.argmax(kept[:, members].sum(axis=0))]
        shown = followed[:, most].any()
        if shown:
            yield _example(results, int(most), "followed")
        if kept[:, least].any() and not (shown and least == most):
            yield _example(results, int(least), "not followed")


def _followed(sheet: Sheet) -> Any:
    raw, edited = sheet.arms["raw"][:, 0], sheet.arms["edited"][:, 0]
    return (raw == sheet.gold_raw) & (edited == sheet.gold_edited)


def _kept(sheet: Sheet) -> Any:
    raw, edited = sheet.arms["raw"][:, 0], sheet.arms["edited"][:, 0]
    return (raw == sheet.gold_raw) & (edited == sheet.gold_raw)


def _example(results: Results, place: int, kind: str) -> Example:
    pair = results.bench.pairs[place]
    rows = []
    for sheet in results.sheets[:MODELS]:
        said = [_option(pair, int(sheet.arms[arm][place, 0])) for arm in ("raw", "edited")]
        verdict = "followed" if _followed(sheet)[place] else "kept" if _kept(sheet)[place] else ""
        rows.append((sheet.label, *said, verdict))
    caption = (
        f"{pair.family}, {pair.pair_id}. {pair.question} Right on the raw picture: "
        f"{pair.raw.gold}; on the edited one: {pair.edited.gold}."
    )
    return Example(pair, kind, visible(caption), rows)


def _option(pair: EditPair, code: int) -> str:
    return visible(pair.options[code]) if code >= 0 else _CODES[code]


def draw(bench: Bench, pair: EditPair) -> Figure:
    """The two pictures with a frame around the mask of the edit.

    Raises:
        BadInput: a picture is not there, or not the one that the pair was made with.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    from planish.runs.plots import SERIES, style

    with style():
        # Two fixed places: working out a layout would take most of the time.
        figure = Figure(figsize=(7.0, 3.7))
        figure.set_layout_engine("none")
        places = ((0.0, 0.0, 0.49, 0.92), (0.51, 0.0, 0.49, 0.92))
        for place, picture, name in zip(
            places, (pair.raw, pair.edited), ("raw", "edited"), strict=True
        ):
            axes = figure.add_axes(place)
            pixels, scale = _small(open_image(bench.path(picture)).pixels)
            axes.imshow(pixels, interpolation="none")
            left, top, right, bottom = (edge * scale for edge in pair.cue.box)
            axes.add_patch(
                Rectangle(
                    (left - 2, top - 2), right - left + 3, bottom - top + 3, fill=False,
                    edgecolor=SERIES[1], linewidth=1.6, linestyle=(0, (4, 2)),
                )
            )  # fmt: skip
            axes.set_title(f"{name}: {picture.gold}"[:44], loc="left")
            axes.set_axis_off()
    return figure


def _small(pixels: Any) -> tuple[Any, float]:
    """At most `SIDE` pixels a side, in 128 colours; and how many times smaller."""
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = min(1.0, SIDE / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(image.quantize(128).convert("RGB")), scale
