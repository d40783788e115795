"""Episodes that are drawn instead of played, for tests of what decides on their scores.

play = drawn({library.digest: 10.0}, spread=15)      as acting.episodes.play_all
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planish.methods.cowork.acting.episodes import Job, Played
from planish.methods.cowork.data import Cell, Diagnosis, Episode, GateResult, Patch
from planish.methods.cowork.improving.proposing import Budget
from planish.methods.cowork.skills import Library
from support.skills import patch, replace

LEVEL = 100.0

Effect = float | Callable[[Cell, int], float | None]


class Drawn:
    """Scores from a known distribution; counts what was asked of it.

    Args:
        effects: digest -> points above `LEVEL`, or a function of cell and seed; None: it fails.
            A function of the library stands for all of them.
        spread: standard deviation of an episode that was changed, beside its effect.
    """

    def __init__(
        self,
        effects: Mapping[str, Effect] | Callable[[Library], float],
        spread: float = 0.0,
        trial: object = 0,
    ) -> None:
        self.effects, self.spread, self.trial = effects, spread, trial
        self.steps = 0
        self.jobs: list[Job] = []

    def __call__(self, jobs: Sequence[Job], **_: Any) -> list[Episode]:
        return [self._episode(job) for job in jobs]

    def _episode(self, job: Job) -> Episode:
        self.steps += job.horizon
        self.jobs.append(job)
        assert isinstance(job.library, Library)
        digest = job.library.digest
        if callable(self.effects):
            effect: Effect = self.effects(job.library)
        else:
            effect = self.effects.get(digest, 0.0)
        value = effect(job.cell, job.seed) if callable(effect) else effect
        noise = 0.0
        if self.spread and (callable(self.effects) or digest in self.effects):
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


def watched(play: Drawn) -> Callable[..., list[Played]]:
    """As `acting.episodes.play_many`, from the same distribution."""

    def watch(jobs: Sequence[Job], **_: Any) -> list[Played]:
        return [Played(episode) for episode in play(jobs)]

    return watch


def diagnosed(library: Library, played: Sequence[Played]) -> Diagnosis:
    """A diagnosis that sees nothing but scores."""
    scores = {str(each.episode.cell): each.episode.score or 0.0 for each in played}
    return Diagnosis(library_hash=library.digest, scores=scores)


class Walker:
    """A proposer that gives one method other priorities, by luck of its own.

    Args:
        reach: how far a step may go.
    """

    name = "walker"

    def __init__(self, seed: int = 0, reach: int = 30, count: int = 3) -> None:
        self._random, self._reach, self._count = random.Random(seed), reach, count
        self.learned: list[str] = []

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        assert diagnosis.library_hash == library.digest
        method = library.method("cook")
        assert method is not None
        found = []
        for _ in range(self._count):
            place = method.priority + self._random.randint(-self._reach, self._reach)
            found.append(raised(library, min(100.0, max(0.0, place))))
        return found

    def learn(self, result: GateResult) -> None:
        self.learned.append(result.reason)


def peak(at: float = 90.0, slope: float = 1.0) -> Callable[[Library], float]:
    """Points by that method's priority: the nearer to `at`, the better."""

    def points(library: Library) -> float:
        method = library.method("cook")
        assert method is not None
        return -slope * abs(method.priority - at)

    return points
