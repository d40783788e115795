"""One self-contained HTML page that shows what was measured: no scripts, nothing to fetch.

    >>> report = Report("Can it be a judge?", run=run, tiny=True)  # doctest: +SKIP
    >>> report.numbers({"vote accuracy": estimate, "cases": 270})  # doctest: +SKIP
    >>> report.section("By judge", "Each row is one planted fault.")  # doctest: +SKIP
    >>> report.figure(interval_plot(rows), "Measured and planted.", alt="...")  # doctest: +SKIP
    >>> report.save(run.report_path)  # doctest: +SKIP

Everything that is put in is escaped, so hostile text of a model stays text. The same data give
the same bytes: the date on the page is the run's.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import quote

from planish.records import write_text
from planish.runs.info import RunInfo
from planish.runs.numbers import EstimateLike, bar, interval, is_estimate, scale, show
from planish.runs.page import render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Report", "combine"]

TINY = "Tiny models show the mechanism, not the paper's number."


class _HasInfo(Protocol):
    """A `Run` or a `StoredRun`."""

    @property
    def path(self) -> Path: ...

    @property
    def info(self) -> RunInfo | None: ...


@dataclass
class _Block:
    kind: str
    content: dict[str, Any]


@dataclass
class _Section:
    title: str = ""
    blocks: list[_Block] = field(default_factory=list)


class Report:
    """A page under construction; every method adds below what is there and returns the report.

    Args:
        title: the question, or the finding.
        subtitle: one line on what was done.
        claim: the statement that the page is there to prove or refute.
        note: anything a reader must know before the numbers.
        run: the run (or its `RunInfo`) for date, seed, versions and command at the foot.
        tiny: says at the foot that tiny models show the mechanism only.
    """

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        claim: str = "",
        note: str = "",
        *,
        run: _HasInfo | RunInfo | None = None,
        tiny: bool = False,
    ) -> None:
        self.title, self.subtitle, self.claim, self.note = title, subtitle, claim, note
        self.tiny = tiny
        self._info = run if isinstance(run, RunInfo) or run is None else run.info
        self._run_name = "" if isinstance(run, RunInfo) or run is None else run.path.name
        self._sections = [_Section()]

    def section(self, title: str, text: str = "") -> Self:
        """Starts a section, with a paragraph or two if `text` is given."""
        self._sections.append(_Section(title))
        return self.text(text) if text else self

    def text(self, text: str) -> Self:
        """Adds paragraphs (blank line between them), "- " lists, `code` and **bold**."""
        return self._add("text", parts=_parts(text))

    def numbers(self, numbers: Mapping[str, EstimateLike | float | str | None]) -> Self:
        """Adds headline numbers as cards, estimates with their interval."""
        cards = [{"label": label, **_cell(value)} for label, value in numbers.items()]
        return self._add("numbers", cards=cards)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        caption: str = "",
        align: str = "",
    ) -> Self:
        """Adds a table. Estimates of one column are drawn on one scale.

        Args:
            align: a letter per column, "l", "r" or "c"; by default plain numbers stand right.
        """
        return self._add("table", **_table(columns, rows, caption, align))

    def figure(self, figure: Figure, caption: str = "", alt: str = "") -> Self:
        """Adds a matplotlib figure as inline SVG; `alt` tells it to those who cannot see it."""
        from planish.runs.plots import svg

        # Made outside `plots.style`: its colours are meant for white paper.
        opaque = figure.patch.get_facecolor()[-1] != 0
        # Drawn at once: a figure that is drawn again comes out a hair different.
        drawing = svg(figure, alt or caption)
        return self._add("figure", svg=drawing, caption=caption, opaque=opaque)

    def link(self, text: str, target: str | os.PathLike[str]) -> Self:
        """Adds a link to a file that lies near the page, such as an artifact of the run."""
        return self._add("link", text=text, target=Path(target).absolute())

    def details(
        self,
        summary: str,
        text: str = "",
        *,
        columns: Sequence[str] = (),
        rows: Sequence[Sequence[Any]] = (),
    ) -> Self:
        """Adds raw text, a table or both, folded away under `summary`."""
        table = _table(columns, rows) if columns else None
        return self._add("details", summary=summary, text=text, table=table)

    def html(self, folder: Path | None = None) -> str:
        """The page.

        Args:
            folder: where it will lie; what it links to is named from there, or else in full.
        """
        return _render([self], self.title, "", folder)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, all or nothing, and returns where."""
        write_text(path, self.html(Path(path).absolute().parent))
        return Path(path)

    def _add(self, kind: str, **content: Any) -> Self:
        self._sections[-1].blocks.append(_Block(kind, content))
        return self

    def _context(self, index: int, folder: Path | None) -> dict[str, Any]:
        """What the template needs, with ids that are unique among the pages put together."""
        from planish.runs.plots import prefixed

        sections, figures = [], 0
        for number, section in enumerate(self._sections):
            blocks = []
            for block in section.blocks:
                content = dict(block.content)
                if block.kind == "figure":
                    figures += 1
                    content["svg"] = prefixed(content["svg"], f"r{index}f{figures}-")
                if block.kind == "link":
                    content["href"] = _href(content["target"], folder)
                blocks.append({"kind": block.kind, **content})
            sections.append({"title": section.title, "id": f"r{index}-s{number}", "blocks": blocks})
        return {
            "id": f"r{index}",
            "title": self.title,
            "subtitle": self.subtitle,
            "claim": _parts(self.claim),
            "note": _parts(self.note),
            "sections": sections,
            "foot": self._foot(),
            "tiny": TINY if self.tiny else "",
            "eyebrow": self._eyebrow(),
        }

    def _eyebrow(self) -> str:
        if self._info is None:
            return ""
        return " · ".join(part for part in (self._info.room, self._info.stage) if part)

    def _foot(self) -> list[tuple[str, str]]:
        info = self._info
        if info is None:
            from planish import __version__

            return [("planish", __version__)]
        versions = {"planish": info.versions.get("planish", "")} | info.versions
        parts = [
            ("date", info.date),
            ("seed", str(info.seed)),
            ("run", "/".join(part for part in (info.room, self._run_name) if part)),
            ("command", info.command),
            *versions.items(),
        ]
        return [(name, value) for name, value in parts if value]


def combine(
    reports: Sequence[Report],
    path: str | os.PathLike[str],
    title: str,
    subtitle: str = "",
) -> Path:
    """Writes several reports as one page with a table of contents; all or nothing."""
    folder = Path(path).absolute().parent
    write_text(path, _render(reports, title, subtitle, folder, contents=True))
    return Path(path)


def _href(target: Path, folder: Path | None) -> str:
    if folder is None:
        return target.as_uri()
    return quote(Path(os.path.relpath(target, folder)).as_posix())


def _parts(text: str) -> list[tuple[str, list[Any]]]:
    """("p", inline runs) per paragraph, ("ul", items) per list; a run is (kind, text)."""
    parts: list[tuple[str, list[Any]]] = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = [line for line in textwrap.dedent(block).splitlines() if line.strip()]
        # What is indented goes on with the item above it.
        listed = all(line.startswith(("- ", "  ")) for line in lines)
        if lines and lines[0].startswith("- ") and listed:
            items = ("\n" + "\n".join(lines)).split("\n- ")[1:]
            parts.append(("ul", [_inline(" ".join(item.split())) for item in items]))
        elif lines:
            parts.append(("p", _inline(" ".join(" ".join(lines).split()))))
    return parts


def _inline(text: str) -> list[tuple[str, str]]:
    runs = []
    # Every second piece is what the pattern matched.
    for index, piece in enumerate(re.split(r"(`[^`]+`|\*\*.+?\*\*)", text)):
        if index % 2:
            runs.append(("code", piece[1:-1]) if piece[0] == "`" else ("strong", piece[2:-2]))
        elif piece:
            runs.append(("", piece))
    return runs


def _cell(value: Any, axis: tuple[float, float] | None = None) -> dict[str, Any]:
    if is_estimate(value):
        number = None if value.value is None else float(value.value)
        drawn = bar(value, axis or scale([value]))
        return {"text": show(number), "interval": interval(value), "bar": drawn, "n": value.n}
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()  # numpy's and torch's scalars
    return {"text": show(value), "interval": "", "bar": None, "n": 0}


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", align: str = ""
) -> dict[str, Any]:
    for number, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} cells for {len(columns)} columns")
    if len(align) not in (0, len(columns)) or set(align) - set("lrc"):
        raise ValueError(f"align={align!r}: one of l, r, c for each of {len(columns)} columns")
    by_column = [[row[index] for row in rows] for index in range(len(columns))]
    axes = [scale([value for value in column if is_estimate(value)]) for column in by_column]
    letters = align or "".join(
        "l" if not column or any(isinstance(x, str) or is_estimate(x) for x in column) else "r"
        for column in by_column
    )
    names = {"l": "left", "r": "right", "c": "center"}
    return {
        "columns": list(zip(columns, (names[letter] for letter in letters), strict=True)),
        "rows": [
            [
                {**_cell(value, axis), "align": names[letter]}
                for value, axis, letter in zip(row, axes, letters, strict=True)
            ]
            for row in rows
        ],
        "caption": caption,
    }


def _render(
    reports: Sequence[Report],
    title: str,
    subtitle: str,
    folder: Path | None,
    *,
    contents: bool = False,
) -> str:
    return render(
        "planish.runs",
        "report.html.jinja",
        title=title,
        subtitle=subtitle,
        contents=contents,
        articles=[report._context(index, folder) for index, report in enumerate(reports, 1)],
    )
