"""How a library came to be: its score over time, and every patch with what became of it.

    report = Report("...", run=run, tiny=True)
    add_timeline(report, points, results, promotions)
    report.save(run.report_path)

Rejected patches are folded away, but none is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from planish.methods.cowork.data import GateResult, Promotion, Stage
from planish.methods.cowork.improving.reasons import meaning
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.showing.curves import OVERALL, CurvePoint, add_curves, signed
from planish.methods.cowork.showing.edits import edits
from planish.methods.cowork.skills import Library
from planish.runs.numbers import show

if TYPE_CHECKING:
    from planish.runs.report import Report

__all__ = ["OVERALL", "CurvePoint", "add_timeline"]

_MANY = 800


def add_timeline(
    report: Report,
    points: Sequence[CurvePoint],
    results: Sequence[GateResult],
    promotions: Sequence[Promotion],
    *,
    references: Mapping[str, float] | None = None,
    libraries: Mapping[str, Library] | None = None,
    seeds: str = "report seeds",
) -> None:
    """Adds the sections of an evolution to a report, in the order of time.

    Args:
        points: in the order of time.
        results: every patch that was judged, rejected ones too, in the order of judging.
        references: name -> mean score over the same cells and seeds, drawn as a level line:
            a curve that begins with an impaired library rises by construction, so the library
            written by hand belongs beside it.
        libraries: hash -> library, for the values that a patch has replaced.
        seeds: what the curve was measured on, for the caption.
    """
    add_curves(report, points, promotions, references or {}, seeds)
    _summary(report, results, promotions)
    for chapter in _chapters(results, promotions):
        _chapter(report, chapter, libraries or {})


# ---- the patches


def _summary(
    report: Report, results: Sequence[GateResult], promotions: Sequence[Promotion]
) -> None:
    report.section(
        "Patches",
        "Every patch that was judged, in order. The mean is over cells, of the score after minus "
        "before on the same seeds; the bound is its one-sided lower one, less what the drift "
        "costs. A mean says nothing of significance, the bound does.",
    )
    kinds = Counter(promotion.kind for promotion in promotions)
    report.numbers(
        {
            "judged": len(results),
            "accepted": sum(result.accepted for result in results),
            "promoted": kinds["promoted"],
            "reverted": kinds["reverted"],
            # In thousands, as in the curves: seven figures do not fit their field.
            "thousand ticks of the gate": round(sum(each.sim_steps for each in results) / 1000, 1),
            "tokens of proposers": sum(result.patch.tokens for result in results),
        }
    )
    if results:
        verdicts = Counter(result.reason for result in results)
        report.table(
            ("verdict", "patches", "which means"),
            [(reason, number, meaning(reason)) for reason, number in verdicts.most_common()],
            align="lrl",
        )
        counts = Counter((_proposer(result), result.reason) for result in results)
        report.details(
            "The same by proposer",
            columns=("proposer", "verdict", "patches"),
            rows=[(*key, str(number)) for key, number in sorted(counts.items())],
        )
    else:
        report.text("No patch was proposed.")


@dataclass
class _Chapter:
    """Rounds that belong together: one in which the library changed, or quiet ones in a row."""

    first: int
    last: int
    results: list[GateResult] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)

    @property
    def is_quiet(self) -> bool:
        return not self.promotions and not any(result.accepted for result in self.results)

    @property
    def title(self) -> str:
        rounds = (
            f"Round {self.first}"
            if self.first == self.last
            else f"Rounds {self.first} to {self.last}"
        )
        if self.is_quiet:
            return f"{rounds}: nothing accepted"
        kinds = dict.fromkeys(promotion.kind for promotion in self.promotions)
        return f"{rounds}: {', '.join(kinds) if kinds else 'accepted, not promoted'}"


def _chapters(results: Sequence[GateResult], promotions: Sequence[Promotion]) -> list[_Chapter]:
    found: list[_Chapter] = []
    rounds = {result.round for result in results} | {each.round for each in promotions}
    for number in sorted(rounds):
        chapter = _Chapter(
            number,
            number,
            [result for result in results if result.round == number],
            [promotion for promotion in promotions if promotion.round == number],
        )
        if found and found[-1].is_quiet and chapter.is_quiet:
            found[-1].last = number
            found[-1].results += chapter.results
        else:
            found.append(chapter)
    return found


def _chapter(report: Report, chapter: _Chapter, libraries: Mapping[str, Library]) -> None:
    report.section(chapter.title)
    for result in chapter.results:
        if result.accepted:
            _accepted(report, result, libraries.get(result.base_hash))
    if chapter.promotions:
        report.table(
            ("when", "what", "from", "to", "why"),
            [
                (each.time, each.kind, each.from_hash, each.to_hash, printable(each.detail, _MANY))
                for each in chapter.promotions
            ],
            align="lllll",
        )
    for result in chapter.results:
        if not result.accepted:
            _rejected(report, result, libraries.get(result.base_hash))


def _accepted(report: Report, result: GateResult, base: Library | None) -> None:
    patch = result.patch
    report.text(f"**{_proposer(result)}**: {_plain(patch.rationale) or 'no reason given'}")
    rows = [tuple(edit) for edit in edits(patch, base)]
    report.table(("node", "field", "before", "after"), rows, "What it changes.", "llll")
    if result.stages:
        report.table(
            ("seeds", "mean gain", "lower bound", "worst cell", "its gain"),
            [_stage_row(stage) for stage in result.stages],
            f"What the gate saw: drift {show(result.drift)}, {show(result.sim_steps)} ticks.",
            "rrrlr",
        )
        _deltas(report, result, "Every cell")
    if result.watched:
        report.details(
            "Watched, beside the first library",
            columns=("cell", "mean gain"),
            rows=[
                (cell, signed(gain))
                for cell, gain in sorted(result.watched.items(), key=lambda each: each[1])
            ],
        )
    report.text(_evidence(result))


def _rejected(report: Report, result: GateResult, base: Library | None) -> None:
    lines = [printable(result.patch.rationale, _MANY) or "no reason given", ""]
    lines += [
        " · ".join(
            part for part in (edit.node, edit.field, _arrow(edit.before, edit.after)) if part
        )
        for edit in edits(result.patch, base)
    ]
    lines += ["", f"{result.reason}: {printable(result.detail, _MANY)}".removesuffix(": ")]
    lines += [
        f"{stage.seeds} seeds: mean {signed(stage.mean)}, lower bound {signed(stage.lower)}"
        for stage in result.stages
    ]
    lines += [f"drift {show(result.drift)}, {show(result.sim_steps)} ticks", ""]
    lines += [_plain(_evidence(result))]
    last = f" · mean {signed(result.stages[-1].mean)}" if result.stages else ""
    _deltas(
        report,
        result,
        f"Round {result.round} · {_proposer(result)} · {result.reason}{last}",
        "\n".join(lines).strip(),
    )


def _deltas(report: Report, result: GateResult, summary: str, text: str = "") -> None:
    """Folded away: the gain in every cell after each stage, the worst first."""
    columns = ("cell", *(f"{stage.seeds} seeds" for stage in result.stages))
    cells = {cell: gain for stage in result.stages for cell, gain in stage.deltas.items()}
    rows = [
        (
            cell,
            *(
                signed(stage.deltas[cell]) if cell in stage.deltas else ""
                for stage in result.stages
            ),
        )
        for cell in sorted(cells, key=lambda cell: (cells[cell], cell))
    ]
    report.details(summary, text, columns=columns if rows else (), rows=rows)


def _stage_row(stage: Stage) -> tuple[str, str, str, str, str]:
    worst = min(stage.deltas, key=lambda cell: stage.deltas[cell], default="")
    gain = signed(stage.deltas[worst]) if worst else ""
    return str(stage.seeds), signed(stage.mean), signed(stage.lower), worst, gain


def _proposer(result: GateResult) -> str:
    return printable(result.patch.proposer, 80) or "unknown"


def _evidence(result: GateResult) -> str:
    """Where the reasons are to be seen; the number after the @ opens a replay at that tick."""
    ids = result.patch.evidence_ids
    shown = ", ".join(f"`{printable(_plain(each), 80)}`" for each in ids[:12])
    more = f" and {len(ids) - 12} more" if len(ids) > 12 else ""
    return f"Evidence: {shown}{more}" if ids else "Evidence: none named"


def _plain(text: str) -> str:
    """Text of unknown origin, without the marks that a report reads as its own."""
    return printable(text.replace("`", "").replace("**", ""), _MANY)


def _arrow(before: str, after: str) -> str:
    return f"{before} → {after}" if before and after else before or after
