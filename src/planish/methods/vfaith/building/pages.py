"""The report of a build: what the bench holds, what was kept out and why, and how it looks.

write_report(run, site, numbers)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.vfaith.building.counting import Numbers
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.data import SUBSETS, EditPair, Picture
from planish.methods.vfaith.images import open_image
from planish.methods.vfaith.verifying.gates import CODES, GATES
from planish.methods.vfaith.verifying.witnesses import SEEN
from planish.runs import Run
from planish.runs.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["contact_sheet", "write_report"]

SHOWN = 12
"""Pairs on the contact sheet."""

_THUMB = 200  # pixels a side
_CUE = "#d81b60"


def write_report(run: Run, site: Site, numbers: Numbers) -> None:
    """Writes the run's report."""
    plan = site.plan
    report = Report(
        "Does the picture decide the answer?",
        f"{numbers.total('pair')} pairs and {numbers.total('perception')} perception items "
        f"in {site.folder.name}",
        "Between the two pictures of a pair only the cue differs, and with it the right answer.",
        note=_note(site),
        run=run,
    )
    report.numbers(_cards(numbers))
    report.section("By subset and family", _honest(site))
    report.table(
        ("subset", "pairs", "perception items", "kept out"),
        [
            (f"{name}: {SUBSETS[name]}", row["pair"], row["perception"], row["rejected"])
            for name, row in numbers.subsets.items()
        ],
    )
    report.table(
        ("family", "pairs", "perception items", "kept out"),
        [
            (name, row["pair"], row["perception"], row["rejected"])
            for name, row in sorted(numbers.families.items())
        ],
    )
    _verifiers(report, numbers)
    _gates(report, numbers)
    _exclusions(report, numbers)
    shown = list(_one_of_each(site))
    if shown:
        report.section("Pairs", "The cue is outlined. One of each family, with its question.")
        alt = "; ".join(f"{pair.pair_id}: {pair.question}" for pair in shown)
        caption = f"{plan.size} pixels a side" if not plan.photos else "Photographs"
        report.figure(contact_sheet(site.folder, shown), f"{caption}, shown smaller.", alt)
    report.link("pairs.jsonl", site.folder / "pairs.jsonl")
    report.save(run.report_path)


def contact_sheet(folder: Path, pairs: Sequence[EditPair]) -> Figure:
    """Raw, edited and placebo picture of each pair in a row, the cue outlined."""
    from matplotlib.figure import Figure

    from planish.runs.plots import style

    with style():
        figure = Figure(figsize=(8.5, 2.75 * len(pairs)), layout="constrained")
        rows = figure.subplots(len(pairs), 3, squeeze=False)
        for axes, pair in zip(rows, pairs, strict=True):
            pictures = (
                (f"raw: {pair.raw.gold}", pair.raw, True),
                (f"edited: {pair.edited.gold}", pair.edited, True),
                (f"placebo: {pair.raw.gold}", pair.placebo, False),
            )
            for each, (title, picture, outlined) in zip(axes, pictures, strict=True):
                _show(each, folder, picture, pair.cue.box if outlined else None)
                each.set_title(_plain(title, 34), fontsize=9)
            axes[0].set_ylabel(pair.family)
            axes[1].set_xlabel(_plain(pair.question, 100), fontsize=9)
    return figure


def _show(
    axes: Axes, folder: Path, picture: Picture | None, box: tuple[int, int, int, int] | None
) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    if picture is None:
        axes.set_frame_on(False)
        axes.text(0.5, 0.5, "none", ha="center", va="center", transform=axes.transAxes)
        return
    from matplotlib.patches import Rectangle
    from PIL import Image

    image = Image.fromarray(open_image(folder / picture.file).pixels)
    scale = min(1.0, _THUMB / max(image.size))
    image.thumbnail((_THUMB, _THUMB), Image.Resampling.BOX)
    axes.imshow(image, interpolation="none")
    if box is not None:
        left, top, right, bottom = (scale * edge for edge in box)
        axes.add_patch(
            Rectangle(
                (left - 1.5, top - 1.5), right - left + 2, bottom - top + 2,
                fill=False, edgecolor=_CUE, linewidth=1.4,
            )
        )  # fmt: skip


def _one_of_each(site: Site) -> Iterator[EditPair]:
    """The first pair of each family; of photographs the first few."""
    seen: set[str] = set()
    number = 0
    for pair in site.pairs():
        mark = pair.pair_id if site.plan.photos else pair.family
        if pair.kind == "pair" and mark not in seen and number < SHOWN:
            seen.add(mark)
            number += 1
            yield pair


def _note(site: Site) -> str:
    if site.plan.photos and site.plan.verifiers:
        return (
            "Photographs have no solver: that the old value of a cue is gone and the new one is "
            "there rests on the person who listed the cue, and on the models that looked. They may "
            "be wrong together, and none of them can be ranked on this bench."
        )
    if site.plan.photos:
        return (
            "Photographs have no solver: that the old value of a cue is gone and the new one is "
            "there rests on the person who listed the cue. No model has looked."
        )
    return (
        "Drawn scenes have a solver, so every answer is known without a judge. They are simpler "
        "than photographs: what a model does here shows whether it looks, not how well it sees."
    )


def _honest(site: Site) -> str:
    if site.plan.photos:
        return ""
    return (
        "Subsets are those of the paper as far as drawn scenes can carry them; their proportions "
        "are the paper's (second-hand)."
    )


def _cards(numbers: Numbers) -> dict[str, Any]:
    found = numbers.findings
    cards: dict[str, Any] = {
        "pairs": numbers.total("pair"),
        "perception items": numbers.total("perception"),
        "kept out by a gate": numbers.total("rejected"),
        "largest change outside a mask, in levels": numbers.most_outside,
    }
    if found is not None:
        cards[f"words alone on edited items (chance {found.chance:.2f})"] = found.text_only
        cards["telling cue from placebo by looks (chance 0.50)"] = found.placebo_cue
    return cards


def _gates(report: Report, numbers: Numbers) -> None:
    if numbers.findings is None:
        return
    report.section(
        "Gates over the whole bench", "Nothing but the picture may tell the right answer."
    )
    report.table(
        ("gate", "what it measures", "value", "verdict"),
        [
            (
                check.gate,
                GATES.get(check.gate, ""),
                "" if check.value is None else f"{check.value:.3f}",
                _verdict(check.passed, check.code),
            )
            for check in numbers.findings.checks
        ],
    )
    for options, shares in numbers.findings.letters.items():
        told = ", ".join(f"{letter} {share:.3f}" for letter, share in shares.items())
        report.text(f"Letters of the edited answers, {options} options: {told}.")


def _verifiers(report: Report, numbers: Numbers) -> None:
    found = numbers.verifying
    if not found:
        return
    report.section(
        "Models that looked for the cue",
        f"Asked about the old and the new value, on {found['pairs']} raw pictures and on what was "
        f"made of them. All of them said the same to {found['answered_alike']} of "
        f"{found['questions']} questions. What they said is in `{SEEN}`.",
    )
    report.table(
        ("model", "replies", "as a good edit has it", "could not be read"),
        [
            (name, row["replies"], row["as_expected"], row["unread"])
            for name, row in found["models"].items()
        ],
    )


def _exclusions(report: Report, numbers: Numbers) -> None:
    report.section("Kept out", "Another pair was drawn in the place of each.")
    if not numbers.excluded:
        report.text("Every pair passed every gate.")
        return
    report.table(
        ("gate", "reason", "family", "editor", "pairs"),
        [
            (each.gate, CODES.get(each.code, each.code), each.family, each.backend, number)
            for each, number in sorted(numbers.excluded.items())
        ],
    )


def _verdict(passed: bool, code: str) -> str:
    word = "passed" if passed else "FAILED"
    return f"{word}: {CODES.get(code, code)}" if code else word


def _plain(text: str, most: int) -> str:
    """Short enough for its place, and no mathematics to matplotlib."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return short.replace("$", r"\$")
