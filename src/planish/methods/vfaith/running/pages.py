"""What a person sees of a run: replies by arm on the screen, and a page with those by family.

show(screen, counted, 0.9)
write_report(run, "hf:./checkpoint", counted, 0.9)

Below the coverage floor no accuracy is shown: what was not read is neither right nor wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from planish.methods.vfaith.data import Arm, Outcome, Response
from planish.methods.vfaith.running.records import OUTCOMES, RESPONSE, Tally, accuracy
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.visible import visible

if TYPE_CHECKING:
    from planish.runs.report import Report

__all__ = ["show", "write_report"]

_SHOWN = 20  # unparsed replies that are printed in full; records.jsonl holds them all
_EXCERPT = 2000
_COLUMNS = ("asked with", "right", "wrong", "unparsed", "no reply", "accuracy")
_ARMS: dict[Arm, str] = {
    "raw": "the raw picture",
    "edited": "the edited picture",
    "placebo": "the placebo",
    "text": "no picture",
    "perception_raw": "the raw picture, is this value there?",
    "perception_edited": "the edited picture, is this value there?",
}


def show(screen: Screen, counted: Tally, floor: float) -> None:
    """The replies by arm."""
    screen.table(_COLUMNS, _rows(counted, floor), title=_title(counted))
    if counted.coverage < floor:
        screen.warn(_below(counted, floor))


def write_report(run: Run, model: str, counted: Tally, floor: float) -> None:
    """The page of a run."""
    from planish.runs.report import Report

    page = Report(
        f"{model}: what it answers",
        subtitle=f"{_title(counted)}; `planish vfaith score` tells what they mean.",
        run=run,
        tiny=model.startswith(("embedded:", "planted:")),
    )
    if counted.coverage < floor:
        page.text(_below(counted, floor))
    page.table(
        _COLUMNS,
        _rows(counted, floor),
        caption="Accuracy is among replies that could be read. Without a picture, right is what "
        "the edited picture shows, which the words alone must not tell.",
    )
    page.section("By family")
    page.table(
        ("family", *_COLUMNS),
        [
            (family, *_row(_ARMS[arm], counts, counted.coverage >= floor))
            for family, arms in sorted(counted.families.items())
            for arm, counts in arms.items()
        ],
    )
    _add_unparsed(page, run, counted.count("unparsed"))
    page.save(run.report_path)


def _title(counted: Tally) -> str:
    return f"{counted.calls} replies, {counted.pairs} pairs, {counted.coverage:.0%} usable"


def _below(counted: Tally, floor: float) -> str:
    return f"{counted.coverage:.1%} of the pairs are usable, fewer than {floor:.0%}: no headline"


def _rows(counted: Tally, floor: float) -> list[tuple[str, ...]]:
    covered = counted.coverage >= floor
    rows = [_row(_ARMS[arm], counts, covered) for arm, counts in counted.arms.items()]
    return rows + [
        _row(f"perception items: {_ARMS[arm]}", counts, covered)
        for arm, counts in counted.items.items()
    ]


def _row(name: str, counts: Counter[Outcome], covered: bool) -> tuple[str, ...]:
    share = accuracy(counts) if covered else None
    return (
        name,
        *(str(counts[outcome]) for outcome in OUTCOMES),
        "n/a" if share is None else f"{share:.3f}",
    )


def _add_unparsed(page: Report, run: Run, number: int) -> None:
    if not number:
        return
    page.section("Replies that could not be read", f"{number} in all; the first ones:")
    for reply in _first_unparsed(run):
        text = visible(reply.text[:_EXCERPT]) or "(empty)"
        page.details(visible(f"{reply.pair_id}, {_ARMS[reply.arm]}"), text)


def _first_unparsed(run: Run) -> Iterator[Response]:
    replies = run.records(RESPONSE, Response)
    return islice((reply for reply in replies if reply.outcome == "unparsed"), _SHOWN)
