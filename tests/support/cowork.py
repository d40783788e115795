"""Episodes that are drawn instead of played, for tests of what decides on their scores.

play = drawn({library.digest: 10.0}, spread=15)      as acting.episodes.play_all
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planish.methods.cowork.acting.episodes import Job
from planish.methods.cowork.data import Cell, Episode, Patch
from planish.methods.cowork.skills import Library
from support.skills import patch, replace

LEVEL = 100.0

Effect = float | Callable[[Cell, int], float | None]


class Drawn:
    """Scores from a known distribution; counts what was asked of it.

    Args:
        effects: digest -> points above `LEVEL`, or a function of cell and seed; None: it fails.
        spread: standard deviation of an episode that was changed, beside its effect.
    """

    def __init__(
        self, effects: Mapping[str, Effect], spread: float = 0.0, trial: object = 0
    ) -> None:
        self.effects, self.spread, self.trial = dict(effects), spread, trial
        self.steps = 0
        self.jobs: list[Job] = []

    def __call__(self, jobs: Sequence[Job], **_: Any) -> list[Episode]:
        return [self._episode(job) for job in jobs]

    def _episode(self, job: Job) -> Episode:
        self.steps += job.horizon
        self.jobs.append(job)
        assert isinstance(job.library, Library)
        digest = job.library.digest
        effect = self.effects.get(digest, 0.0)
        value = effect(job.cell, job.seed) if callable(effect) else effect
        noise = 0.0
        if digest in self.effects and self.spread:
            key = f"{self.trial}/{digest}/{job.cell}/{job.seed}"
            noise = random.Random(key).gauss(0, self.spread)
        return Episode(
            id=f"{job.cell}@{job.seed}",
            library_hash=digest,
            cell=job.cell,
            seed=job.seed,
            horizon=job.horizon,
            score=None if value is None else LEVEL + value + noise,
            error="it broke" if value is None else "",
            decisions=job.horizon,
        )


def raised(library: Library, priority: float) -> Patch:
    """A patch that gives one method another priority, and so makes another library."""
    return patch(library, replace("/methods/cook/priority", priority))
