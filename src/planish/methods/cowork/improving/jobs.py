"""What is played of a library beside the scores that it is judged by.

training_jobs(config, library, cells, seeds)    to be diagnosed
smoke_jobs(config, library, cells)              to see whether it gets through at all
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.cowork.acting.episodes import Job
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell
from planish.methods.cowork.skills import Library

__all__ = ["smoke_jobs", "training_jobs"]

_SMOKE_DEADLINE_NS = 5_000_000


def training_jobs(
    config: Config, library: Library, cells: Sequence[Cell], seeds: Sequence[int]
) -> list[Job]:
    """Every cell on every seed, without a clock."""
    return [
        Job(cell, library, seed, old_dynamics=config.old_dynamics, horizon=config.horizon)
        for seed in seeds
        for cell in cells
    ]


def smoke_jobs(config: Config, library: Library, cells: Sequence[Cell]) -> list[Job]:
    """A short episode of self-play on each layout, with a deadline."""
    return [
        Job(
            Cell(layout=layout),
            library,
            seed=0,
            old_dynamics=config.old_dynamics,
            horizon=config.smoke_ticks,
            start="layout",
            deadline_ns=_SMOKE_DEADLINE_NS,
        )
        for layout in dict.fromkeys(cell.layout for cell in cells)
    ]
