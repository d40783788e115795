"""What happens between two decisions, in words and as a table of a page.

told(summary, 0.1)          lines for the screen
table(page, summary)        needs kept by distance from the last decision, and fallbacks
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from planish.methods.lookahead.evaluate.summary import DENSE, OURS, Summary

if TYPE_CHECKING:
    from planish.runs.report import Report

__all__ = ["table", "told"]

_HOW = """\
What stays is chosen once in a window; a topic that changes within it finds what it needed before.

- **a need** is a token of the dense reply and a chunk that it needs and that could be evicted at
  the last decision. Columns tell how many tokens behind that decision it came; cells, how many
  of how many were kept. Short replies end in the first columns: compare within a family.
- **late** are needs that were missed and that the next decision brought: a shorter interval would
  have had some of them. What no decision followed is left out.
- **turned dense** are requests that took the fallback, in the median **after** so many **tokens**
  of the reply; what they need from then on is not counted.
"""


def told(summary: Summary, fraction: float) -> Iterator[str]:
    """What ours does from one decision to the next, where a window is long enough to tell."""
    start = f"at {100 * fraction:g} %: {OURS}"
    found = summary.by_distance(OURS, fraction)
    spans = _spans([end for end, *_ in found])
    known = [
        (span, needs, kept) for span, (_, needs, kept) in zip(spans, found, strict=True) if needs
    ]
    if len(known) > 1:
        (near, *first), (far, *last) = known[0], known[-1]
        missed, late = summary.late(OURS, fraction)
        brought = f"; the next decision brought {late} of {missed} missed ones" if missed else ""
        yield (
            f"{start} keeps {_share(*first)} needs at tokens {near} behind a decision, "
            f"{_share(*last)} at tokens {far}{brought}"
        )
    if turned := summary.turned_dense(OURS, fraction):
        yield (
            f"{start} turned dense in {len(turned)} of {_requests(summary, OURS, fraction)} "
            f"requests, in the median after {median(turned):g} tokens of the reply"
        )


def table(page: Report, summary: Summary) -> None:
    """Needs by distance from the last decision, and how often a request turned dense."""
    cells = [
        (arm, fraction)
        for arm, fraction in summary.cells()
        if arm != DENSE and _requests(summary, arm, fraction)
    ]
    # What an arm could not pay for has no distances, and a family may have none at a share.
    ends = sorted({end for cell in cells for end, *_ in summary.by_distance(*cell)})
    if not ends and not any(summary.turned_dense(*cell) for cell in cells):
        return
    rows = []
    for cell in cells:
        missed, late = summary.late(*cell)
        turned = summary.turned_dense(*cell)
        rows.append(
            (
                cell[0], f"{100 * cell[1]:g} %", *_kept(summary, ends, *cell),
                f"{late} of {missed}", f"{len(turned)} of {_requests(summary, *cell)}",
                median(turned) if turned else None,
            )
        )  # fmt: skip
    page.section("Between two decisions", _HOW)
    spans = _spans(ends)
    columns = ("arm", "share", *spans, "late", "turned dense", "after tokens")
    page.table(columns, rows, "Needs kept, by tokens behind the last decision.")
    for arm, fraction in cells if ends else ():
        if arm != OURS:
            continue
        page.details(
            f"{OURS} by family, at {100 * fraction:g} % of the bytes",
            columns=("family", *spans),
            rows=[
                (family, *_kept(summary, ends, OURS, fraction, family))
                for family in summary.families
            ],
        )


def _requests(summary: Summary, arm: str, fraction: float) -> int:
    """Those that ran."""
    return sum(each.steps > 0 for each in summary.cell(arm, fraction))


def _spans(ends: Sequence[int]) -> list[str]:
    """Distances in words.

    >>> _spans([16, 32, 33])
    ['1 to 16', '17 to 32', '33']
    """
    begins = [1, *(end + 1 for end in ends[:-1])]
    return [
        f"{begin} to {end}" if begin < end else str(end)
        for begin, end in zip(begins, ends, strict=False)
    ]


def _kept(
    summary: Summary, ends: Sequence[int], arm: str, fraction: float, family: str | None = None
) -> list[str]:
    """A cell for each distance, also where the arm did not run."""
    counts = {end: (n, kept) for end, n, kept in summary.by_distance(arm, fraction, family)}
    found = [counts.get(end, (0, 0)) for end in ends]
    return [_share(needs, kept) if needs else "no needs" for needs, kept in found]


def _share(needs: int, kept: int) -> str:
    return f"{100 * kept / needs:.1f} % of {needs}"
