"""The cases that a judge is measured on: read, and refused where nothing could be learned.

cases = read_cases("pairs.jsonl", "auto", None, Screen())
check_slots("fixed", cases, where="pairs.jsonl")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from planish.judges import Case
from planish.judges.benches import is_rated
from planish.judges.formats import Format, read_pairs
from planish.judges.prompted import Orders
from planish.records import BadInput
from planish.runs.console import Screen

__all__ = ["check_slots", "read_cases", "refuse_dials"]


def refuse_dials(given: Iterable[str]) -> None:
    """Refuses dials that were given to a reward head, which is asked nothing.

    Raises:
        BadInput: with the first of them.
    """
    for name in sorted(given):
        raise BadInput(
            "means nothing to a reward head, which reads one reply at a time",
            where="--" + name.replace("_", "-"),
            fix="leave it out",
        )


def check_slots(orders: Orders, cases: Sequence[Case], *, where: str) -> None:
    """One order and one gold slot: a judge that always names the slot would look perfect.

    Raises:
        BadInput: the order is fixed, and every gold reply stands in one slot.
    """
    golds = {case.gold for case in cases}
    if orders == "fixed" and len(golds) == 1 and len(cases) > 1:
        raise BadInput(
            f"every gold reply stands in slot {golds.pop()}, and the order is fixed",
            where=where,
            fix="use --orders both or random",
        )


def read_cases(path: str, format: Format, limit: int | None, screen: Screen) -> list[Case]:
    """The first cases of a file; identical replies, as one benchmark has, are told.

    Raises:
        BadInput: as `read_pairs`, or a case without gold.
    """
    cases = read_pairs(path, format)[:limit]
    for case in cases:
        if case.gold is None and not is_rated(case):
            raise BadInput(
                "has no gold label",
                where=f"{path}, case {case.id}",
                fix="give every pair a gold label",
            )
    identical = [case.id for case in cases if case.example.meta.get("identical")]
    if identical:
        have = "pair has" if len(identical) == 1 else "pairs have"
        screen.warn(f"{len(identical)} {have} identical replies, first {identical[0]}: counted")
    return cases
