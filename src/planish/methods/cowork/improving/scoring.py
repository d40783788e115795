"""Scores by library, cell and seed: what was played once is not played, or paid for, again.

    table = ScoreTable(config, play_all)
    steps = table.fill([before, after], cells, seeds)       library -> kitchen ticks played
    pairs = table.pairs(before, after, cells, seeds)        paired differences by cell

Two libraries on one seed meet the same start cells and the same partner's luck: common random
numbers. In self-play nothing else is random, for the kitchen and the runtime are deterministic; the
seeds then only vary where the two cooks begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from planish.methods.cowork.acting.episodes import Job
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell, Episode
from planish.methods.cowork.kitchen.layouts import GENERATED
from planish.methods.cowork.skills import Library

__all__ = ["Pairs", "PlayAll", "Score", "ScoreRow", "ScoreTable"]

PlayAll = Callable[..., list[Episode]]
"""As `acting.episodes.play_all`: (jobs, workers=, backend=) -> their episodes, in order."""


class Score(NamedTuple):
    """Of one episode; `value=None`: it failed, and `error` says how."""

    value: float | None
    p95_ns: int = 0
    error: str = ""


class ScoreRow(BaseModel):
    """Scores of one library in one cell, as they are kept on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    library: str
    cell: Cell
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    p95_ns: tuple[int, ...]
    errors: tuple[str, ...]


@dataclass
class Pairs:
    """Two libraries on the same seeds.

    Args:
        deltas: cell -> score after minus before, over the seeds that both were scored on.
        uncovered: cells that cannot be told: no pair, fewer than half of the pairs, or an episode
            that fails only with the later library; with the reason.
        p95_ms: mean over episodes of the p95 of a decision, before and after.
    """

    deltas: dict[str, list[float]] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)
    p95_ms: tuple[float, float] = (0.0, 0.0)

    @property
    def binding(self) -> dict[str, list[float]]:
        """Those of kitchens that were named, each of which may refuse a patch by itself.

        Drawn kitchens are a sample of all others: what counts of them is their mean.
        """
        return {
            cell: found for cell, found in self.deltas.items() if not cell.startswith(GENERATED)
        }


class ScoreTable:
    """Plays what is missing and remembers all of it.

    Args:
        play: as `play_all`.
    """

    def __init__(self, config: Config, play: PlayAll) -> None:
        self._config, self._play = config, play
        self._scores: dict[tuple[str, Cell, int], Score] = {}
        self._fresh: list[tuple[str, Cell, int]] = []

    def cost(
        self, libraries: Iterable[Library], cells: Sequence[Cell], seeds: Sequence[int]
    ) -> int:
        """Kitchen ticks that `fill` would play."""
        return self._config.horizon * len(self._missing(libraries, cells, seeds))

    def fill(
        self, libraries: Sequence[Library], cells: Sequence[Cell], seeds: Sequence[int]
    ) -> dict[str, int]:
        """Plays what is missing, all at once; library -> kitchen ticks played for it.

        An episode that fails costs a whole one: how far it came is not known.
        """
        missing = self._missing(libraries, cells, seeds)
        by_digest = {library.digest: library for library in libraries}
        jobs = [
            Job(
                cell,
                by_digest[digest],
                seed,
                old_dynamics=self._config.old_dynamics,
                horizon=self._config.horizon,
            )
            for digest, cell, seed in missing
        ]
        spread = {"workers": self._config.workers, "backend": self._config.backend}
        episodes = self._play(jobs, **spread) if jobs else []
        steps = dict.fromkeys(by_digest, 0)
        for key, episode in zip(missing, episodes, strict=True):
            self._scores[key] = Score(episode.score, episode.latency_ns[1], episode.error)
            self._fresh.append(key)
            steps[key[0]] += self._config.horizon
        return steps

    def score(self, library: Library, cell: Cell, seed: int) -> Score:
        """Of an episode that was played.

        Raises:
            KeyError: it was not.
        """
        return self._scores[library.digest, cell, seed]

    def pairs(
        self, before: Library, after: Library, cells: Sequence[Cell], seeds: Sequence[int]
    ) -> Pairs:
        """The paired differences on episodes that were played."""
        found = Pairs()
        took: tuple[list[int], list[int]] = ([], [])
        for cell in cells:
            deltas: list[float] = []
            for seed in seeds:
                old, new = self.score(before, cell, seed), self.score(after, cell, seed)
                if old.value is not None and new.value is None:
                    found.uncovered[str(cell)] = f"seed {seed} failed: {new.error}"
                elif old.value is not None and new.value is not None:
                    deltas.append(new.value - old.value)
                    took[0].append(old.p95_ns)
                    took[1].append(new.p95_ns)
            if deltas:
                found.deltas[str(cell)] = deltas
            if 2 * len(deltas) < len(seeds) or not deltas:
                why = f"{len(deltas)} of {len(seeds)} seeds could be paired"
                found.uncovered.setdefault(str(cell), why)
        if took[0]:
            found.p95_ms = _milliseconds(took[0]), _milliseconds(took[1])
        return found

    def drain(self) -> list[ScoreRow]:
        """What was played since the last time, for the disk."""
        grouped: dict[tuple[str, Cell], list[int]] = {}
        for digest, cell, seed in self._fresh:
            grouped.setdefault((digest, cell), []).append(seed)
        self._fresh.clear()
        return [self._row(digest, cell, seeds) for (digest, cell), seeds in grouped.items()]

    def restore(self, rows: Iterable[ScoreRow]) -> None:
        """Takes rows back from the disk."""
        for row in rows:
            for seed, *found in zip(row.seeds, row.values, row.p95_ns, row.errors, strict=True):
                values: list[Any] = found
                self._scores[row.library, row.cell, seed] = Score(*values)

    def _missing(
        self, libraries: Iterable[Library], cells: Sequence[Cell], seeds: Sequence[int]
    ) -> list[tuple[str, Cell, int]]:
        digests = dict.fromkeys(library.digest for library in libraries)
        keys = ((digest, cell, seed) for digest in digests for cell in cells for seed in seeds)
        return [key for key in keys if key not in self._scores]

    def _row(self, digest: str, cell: Cell, seeds: Sequence[int]) -> ScoreRow:
        scores = [self._scores[digest, cell, seed] for seed in seeds]
        return ScoreRow(
            library=digest,
            cell=cell,
            seeds=tuple(seeds),
            values=tuple(score.value for score in scores),
            p95_ns=tuple(score.p95_ns for score in scores),
            errors=tuple(score.error for score in scores),
        )


def _milliseconds(took: Sequence[int]) -> float:
    return sum(took) / len(took) / 1e6
