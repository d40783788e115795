"""What a bench will hold, settled before anything is drawn.

    plan = Plan(num=755, families=tuple(FAMILIES))
    plan.parts[0]                 Part(family="charts", kind="pair", count=44, begin=0)
    plan.slots(plan.parts[0])     44 slots: where the edited answer stands, which picture is usual

A slot is a place in the bench. If its pair fails a gate, the next number of the same family is
drawn for the same place, so that letters and usual pictures stay balanced whatever the gates do,
and every slot can be filled without knowing of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import (
    PAPER_PAIRS,
    PAPER_PERCEPTION,
    SUBSETS,
    Kind,
    Subset,
)
from planish.methods.vfaith.method import OPTIONS, YES_NO, is_typical
from planish.methods.vfaith.scenes import FAMILIES
from planish.records import BadInput

__all__ = ["NUM", "Part", "Plan", "Slot", "chosen_families", "shares"]

NUM = sum(PAPER_PAIRS.values()) + PAPER_PERCEPTION
"""Entries of the paper's bench: 755."""

Name = TypeVar("Name")


@dataclass(frozen=True)
class Part:
    """The pairs of one family, or its perception items.

    Args:
        count: how many.
        begin: how many of the kind stand before them in the bench.
    """

    family: str
    kind: Kind
    count: int
    begin: int


@dataclass(frozen=True)
class Slot:
    """A place in the bench.

    Args:
        number: in its family and kind, from 0.
        place: of the edited answer among the options.
        typical: the raw picture is the usual one.
        attempt: of which drawing; those before it failed a gate.
    """

    family: str
    kind: Kind
    number: int
    place: int
    typical: bool
    attempt: int = 0

    @property
    def name(self) -> str:
        """The pair's id: "colours-0007", "colours-p0007-r1"."""
        mark = "p" if self.kind == "perception" else ""
        again = f"-r{self.attempt}" if self.attempt else ""
        return f"{self.family}-{mark}{self.number:04d}{again}"

    def seed(self, seed: int) -> str:
        """Of everything random in the pair."""
        again = f"+{self.attempt}" if self.attempt else ""
        return f"{seed}:{self.family}:{self.kind}:{self.number}{again}"


class Plan(BaseModel):
    """What decides the bytes of a bench; going on with one asks for the same.

    Args:
        num: pairs and perception items together.
        families: of scenes, by name; none for a bench of photographs.
        editor: as `editing.contract.load_editor` reads it.
        photos, photos_sha256: file of photographs, and what it was.
        verifiers: models that look for the cue on photographs, by name, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num: int = Field(NUM, ge=1)
    families: tuple[str, ...] = ()
    editor: str = "scene"
    size: int = 512
    seed: int = 0
    gates: Gates = Gates()
    photos: str = ""
    photos_sha256: str = ""
    verifiers: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Families in the order of their names, pairs first."""
        if self.photos:
            return ()
        pairs, items = shares(self.num, {"pair": NUM - PAPER_PERCEPTION, "item": PAPER_PERCEPTION}
                              ).values()  # fmt: skip
        return (*self._spread(pairs, "pair"), *self._spread(items, "perception"))

    def slots(self, part: Part) -> list[Slot]:
        """Of a part, in the order of their numbers.

        Four in a row put the edited answer at four different places, and the one of them that
        begins with an odd picture takes its turn through the places from row to row: neither the
        letter nor the direction tells the other, in the bench as in every family.
        """
        options = len(YES_NO) if part.kind == "perception" else OPTIONS
        found = []
        for number in range(part.count):
            row, column = divmod(part.begin + number, options)
            typical = is_typical(part.begin + number, part.kind)
            found.append(
                Slot(part.family, part.kind, number, (row + column) % options, typical)
            )  # fmt: skip
        return found

    def _spread(self, num: int, kind: Kind) -> list[Part]:
        """So many over subsets as the paper has it, and evenly over the families of each."""
        members: dict[Subset, list[str]] = {}
        for name in sorted(self.families):
            members.setdefault(FAMILIES[name].subset, []).append(name)
        weights = {subset: PAPER_PAIRS[subset] for subset in SUBSETS if subset in members}
        counts: dict[str, int] = {}
        for subset, count in shares(num, weights).items():
            counts |= shares(count, dict.fromkeys(members[subset], 1))
        found, begin = [], 0
        for name in sorted(counts):
            found.append(Part(name, kind, counts[name], begin))
            begin += counts[name]
        return [part for part in found if part.count]


def shares(num: int, weights: Mapping[Name, int]) -> dict[Name, int]:
    """`num` dealt out by weight, by largest remainders; of equal remainders the first goes up.

    >>> shares(7, {"a": 2, "b": 1})
    {'a': 5, 'b': 2}
    """
    total = sum(weights.values())
    found = {name: num * weight // total for name, weight in weights.items()}
    rest = num - sum(found.values())
    by_remainder = sorted(weights, key=lambda name: -(num * weights[name] % total))
    for name in by_remainder[:rest]:
        found[name] += 1
    return found


def chosen_families(subsets: Sequence[str], families: Sequence[str]) -> tuple[str, ...]:
    """Families by name, of those subsets if any are named, or all.

    Raises:
        BadInput: a subset or family that is not there, or that have nothing in common.
    """
    for name in subsets:
        if name not in SUBSETS:
            raise BadInput(
                f"no subset {name!r}", where="--subset", fix=f"choose from {', '.join(SUBSETS)}"
            )
    for name in families:
        if name not in FAMILIES:
            raise BadInput(
                f"no family {name!r}",
                where="--family",
                fix=f"choose from {', '.join(sorted(FAMILIES))}",
            )
    found = [
        name
        for name in sorted(FAMILIES)
        if (not families or name in families) and (not subsets or FAMILIES[name].subset in subsets)
    ]
    bare = sorted({*subsets} - {FAMILIES[name].subset for name in found})
    if bare:
        of = f" among {', '.join(families)}" if families else ""
        raise BadInput(
            f"no family of scenes carries subset {bare[0]}{of}",
            where="--subset",
            fix="leave it out, or bring photographs of your own with --photos",
        )
    left_out = sorted({*families} - {*found})
    if left_out:
        raise BadInput(
            f"family {left_out[0]} belongs to subset {FAMILIES[left_out[0]].subset}",
            where="--family",
            fix="name that subset too, or leave --subset out",
        )
    return tuple(found)
