"""Rows that teach only what is meant: neither a slot nor a length tells what is chosen.

rows, surplus = balance(pairs, seed=0)
check_distinct(rows)

A judge learns whatever separates chosen from rejected. Where gold stands more often in one slot,
or chosen judgments are mostly the longer ones, that is the cheapest thing to learn.
"""

from __future__ import annotations

import bisect
import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from planish.judges.pairs import JudgePair, Order
from planish.judges.parse import parse
from planish.judges.templates import ANY_CHOICE, Template
from planish.records import BadInput, Completion

__all__ = ["balance", "check_distinct"]


class _Balanced(Protocol):
    @property
    def item_id(self) -> str: ...
    @property
    def order(self) -> Order: ...
    @property
    def gold(self) -> Literal["A", "B"]: ...
    @property
    def length_difference(self) -> int: ...


B = TypeVar("B", bound=_Balanced)


def balance(rows: Sequence[B], *, seed: int = 0) -> tuple[list[B], dict[str, list[B]]]:
    """Drops the surplus, so that neither a slot nor a length tells what is chosen.

    In either slot as many pairs have the longer chosen text as the shorter one, of lengths as
    alike as there are, and both slots hold equally many. What is dropped hangs on the seed and
    the ids alone; an item's later pairs go before its first.

    Returns:
        The rows that stay, in their order, and those dropped, by reason.
    """
    keys = _drop_keys(rows, seed)
    couples: dict[str, list[tuple[int, int]]] = {}
    even: dict[str, list[int]] = {}
    dropped: dict[str, list[int]] = {"surplus of one length": [], "surplus of one gold slot": []}
    for slot in "AB":
        members = sorted(
            (i for i, row in enumerate(rows) if row.gold == slot), key=keys.__getitem__
        )
        differences = {i: rows[i].length_difference for i in members}
        even[slot] = [i for i in members if not differences[i]]
        couples[slot], surplus = _coupled(
            [i for i in members if differences[i] > 0],
            [i for i in members if differences[i] < 0],
            differences,
        )
        dropped["surplus of one length"] += surplus
    dropped["surplus of one gold slot"] = _level(couples, even)
    gone = {i for members in dropped.values() for i in members}
    return (
        [row for i, row in enumerate(rows) if i not in gone],
        {why: [rows[i] for i in sorted(members)] for why, members in dropped.items() if members},
    )


def _drop_keys(rows: Sequence[_Balanced], seed: int) -> list[tuple[int, bytes]]:
    """What stays longest has the smallest key: first pairs before later ones, then by hash."""
    seen: Counter[tuple[str, str]] = Counter()
    keys = []
    for row in rows:
        place = seen[row.item_id, row.order]
        seen[row.item_id, row.order] += 1
        text = f"{seed}\0{row.item_id}\0{row.order}\0{place}"
        keys.append((place, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()))
    return keys


def _coupled(
    longer: list[int], shorter: list[int], differences: dict[int, int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Each of the rarer kind with the other kind's nearest difference; the rest is surplus."""
    rarer, other = sorted((longer, shorter), key=len)
    free = sorted((abs(differences[i]), place, i) for place, i in enumerate(other))
    couples = []
    for i in rarer:
        size = abs(differences[i])
        right = bisect.bisect_left(free, (size, -1, -1))
        near = [j for j in (right - 1, right) if 0 <= j < len(free)]
        couples.append((i, free.pop(min(near, key=lambda j: abs(free[j][0] - size)))[2]))
    return couples, [i for _, _, i in free]


def _level(couples: dict[str, list[tuple[int, int]]], even: dict[str, list[int]]) -> list[int]:
    """Takes the fuller slot down to the other's size, singles first; returns what was dropped."""
    size = {slot: 2 * len(couples[slot]) + len(even[slot]) for slot in couples}
    small, big = sorted(size, key=size.__getitem__)
    surplus = size[big] - size[small]
    cut = min(surplus, len(even[big]))
    cut -= cut > 0 and (surplus - cut) % 2  # couples go whole: an odd rest would cost two more
    dropped = even[big][len(even[big]) - cut :]
    surplus -= cut
    if surplus % 2:  # only couples are left there, so the other slot gives a single
        dropped.append(even[small][-1])
        surplus += 1
    for couple in couples[big][len(couples[big]) - surplus // 2 :]:
        dropped += couple
    return dropped


_THINKING = re.compile(r"<(think|thinking|thought|reasoning)>.*?</\1>", re.IGNORECASE | re.DOTALL)
_ANY = Template(name="any", user="{{ question }}{{ reply_a }}{{ reply_b }}", labels=ANY_CHOICE)


def check_distinct(pairs: Sequence[JudgePair], *, where: str = "pairs") -> None:
    """Refuses pairs whose two sides are the same once read: nothing could be learned from them.

    Raises:
        BadInput: the texts are equal but for thinking and blanks, or name the same winner; with
            the count and the first item.
    """
    same = [pair for pair in pairs if _seen(pair.chosen) == _seen(pair.rejected)]
    if same:
        raise BadInput(
            f"{len(same)} of {len(pairs)} pairs are identical after parsing, "
            f"the first is of item {same[0].item_id}",
            where=where,
            fix="remove them",
        )


def _seen(text: str) -> tuple[str, str]:
    label = parse(Completion(text=text), _ANY).label
    # With a verdict, that is what the two sides must differ in.
    return (label, "") if label else ("", " ".join(_THINKING.sub(" ", text).split()))
