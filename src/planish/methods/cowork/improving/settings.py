"""Which seeds a run uses for what, which situations it is judged in, and what may be switched off.

    seeds = Seeds(Config())
    seeds.take("gate", first=0, count=24)
    cells_of(["cramped_room"], ["self", "greedy"])      self-play, and greedy in both seats
    watched_of(cells)                                   the scripted partners that are not in them

A run draws its place in each range from its own seed, so that two runs of the optimizer meet
other episodes. The report's seeds are the same for all, so that their scores can be compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from planish.errors import BadInput
from planish.methods.cowork.acting.partners import PARTNERS
from planish.methods.cowork.config import Config, overlap
from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.patches import Limits
from planish.methods.cowork.kitchen.layouts import GENERATED

__all__ = [
    "ALL_ON",
    "LOOKS",
    "Purpose",
    "Rollback",
    "Seeds",
    "Switches",
    "cells_of",
    "check_config",
    "limits_of",
    "watched_of",
]

Purpose = Literal["train", "gate", "monitor", "report"]
Rollback = Literal["monitor", "one_episode", "none"]

NO_LIMIT = 1e9

LOOKS = (8, 24, 72)
"""Seeds of a watched cell after each look; where nothing seems to be lost there is no other."""


@dataclass(frozen=True)
class Switches:
    """Parts of the method that a comparison switches off.

    Args:
        gated: False: the first patch that is valid and gets through a smoke episode is promoted.
        rollback: "monitor": episodes on fresh seeds, paired with the library of before, may take a
            promotion back; "one_episode": one bad round of training does, as the paper is said to
            do it; "none": nothing does.
        drift: False: a patch may move as far as it likes, at no cost.
    """

    gated: bool = True
    rollback: Rollback = "monitor"
    drift: bool = True


ALL_ON = Switches()
"""The method as it is meant to be."""


class Seeds:
    """The seeds of one run, by purpose; no seed serves two."""

    def __init__(self, config: Config) -> None:
        check_config(config)
        self._spans = {
            "train": config.train_seeds,
            "gate": config.gate_seeds,
            "monitor": config.monitor_seeds,
            "report": config.report_seeds,
        }
        self._first = {
            name: 0 if name == "report" else random.Random(f"{name}:{config.seed}").randrange(size)
            for name, size in ((name, end - begin) for name, (begin, end) in self._spans.items())
        }

    def take(self, purpose: Purpose, first: int, count: int) -> tuple[int, ...]:
        """`count` seeds from number `first` of the run's own order.

        Raises:
            BadInput: the range is smaller than what is taken at once.
        """
        begin, end = self._spans[purpose]
        size = end - begin
        if count > size:
            raise BadInput(
                f"{size} seeds are fewer than the {count} that are used at once",
                where=f"--{purpose}-seeds",
                fix="give a wider range",
            )
        place = self._first[purpose] + first
        return tuple(begin + (place + number) % size for number in range(count))


def cells_of(layouts: Iterable[str], partners: Iterable[str]) -> tuple[Cell, ...]:
    """Every layout with every partner from both seats; self-play once, for both are the library."""
    return tuple(
        Cell(layout=layout, partner=partner, seat=seat)
        for layout in layouts
        for partner in partners
        for seat in ((0,) if partner == "self" else (0, 1))
    )


def watched_of(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Every scripted partner in both seats on the layouts of these cells, but for the cells.

    Drawn kitchens are not watched, for none of them refuses a patch by itself.
    """
    known = tuple(cells)
    layouts = dict.fromkeys(c.layout for c in known if not c.layout.startswith(GENERATED))
    return tuple(cell for cell in cells_of(layouts, PARTNERS) if cell not in known)


def check_config(config: Config) -> None:
    """What validation cannot see where a preset and single options were put together.

    Raises:
        BadInput: seeds of two purposes overlap.
    """
    if found := overlap(config.model_dump()):
        raise BadInput(found, where="seeds", fix="give ranges that are apart")


def limits_of(config: Config, switches: Switches = ALL_ON) -> Limits:
    """What a patch may do at most."""
    return Limits(
        max_ops=config.max_ops,
        max_bytes=config.max_bytes,
        delta_round=config.delta_round if switches.drift else NO_LIMIT,
        delta_total=config.delta_total if switches.drift else NO_LIMIT,
    )
