"""Where a patch loses with whom it is not judged with.

    watcher = Watcher(config, watched_of(cells), table, seeds)
    seen = watcher.look(made, library, original)
    seen.reason, seen.detail                "" where it loses nowhere

A patch is beaten by two libraries: by the one that the evolution began with where it surely scores
less, and by the one in use where it surely gives back more than the budget of a cell. Most cells
are clear after a few seeds, since nothing was lost there; only the others are played on, so that a
small loss is told from luck. The seeds are the same all through an evolution, for nobody is chosen
for what it wins on them; so the first library is played there once.

What is still in doubt after the last look is let through: losses of about one per cent are.
"Surely" holds for one look at one cell, and is not corrected for how many there are; the more
cells, the more often a harmless patch is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.scoring import ScoreTable
from planish.methods.cowork.improving.settings import LOOKS, Seeds
from planish.methods.cowork.method import surely_below
from planish.methods.cowork.skills import Library

__all__ = ["Seen", "Watcher", "sorted_out"]


@dataclass
class Seen:
    """What watching said of one patch.

    Args:
        reason: as in `reasons.REASONS`; "": it surely loses nowhere.
        deltas: watched cell -> mean score minus that of the first library.
        steps: kitchen ticks that were played.
    """

    reason: str = ""
    detail: str = ""
    deltas: dict[str, float] = field(default_factory=dict)
    steps: int = 0


class Watcher:
    """Plays what would be accepted in cells that it was not judged in.

    Args:
        cells: may be none; then nothing is played, and nothing refused.
    """

    def __init__(
        self, config: Config, cells: Sequence[Cell], table: ScoreTable, seeds: Seeds
    ) -> None:
        self._config, self._table, self._seeds = config, table, seeds
        self._cells = {str(cell): cell for cell in cells}

    def look(
        self, made: Library, base: Library, first: Library, *, steps_left: int | None = None
    ) -> Seen:
        """Whether a library surely loses beside the one in use, or the first one."""
        seen, doubtful = Seen(), list(self._cells)
        for count in LOOKS:
            if not doubtful or seen.reason:
                break
            doubtful = self._narrowed(seen, doubtful, count, (first, base, made), steps_left)
        return seen

    def _narrowed(
        self,
        seen: Seen,
        names: Sequence[str],
        count: int,
        libraries: tuple[Library, Library, Library],
        steps_left: int | None,
    ) -> list[str]:
        """The cells that stay in doubt after so many seeds."""
        first, base, made = libraries
        cells = [self._cells[name] for name in names]
        # From the end of the order: the ladder takes its seeds from the beginning.
        seeds = self._seeds.take("gate", -LOOKS[-1], count)
        cost = self._table.cost(libraries, cells, seeds)
        if steps_left is not None and seen.steps + cost > steps_left:
            seen.reason = "budget_spent"
            seen.detail = f"watching takes {cost} ticks, {steps_left - seen.steps} are left"
            return []
        seen.steps += sum(self._table.fill(libraries, cells, seeds).values())
        over_first = self._table.pairs(first, made, cells, seeds)
        over_base = self._table.pairs(base, made, cells, seeds)
        seen.deltas |= {name: fmean(found) for name, found in over_first.deltas.items()}
        if uncovered := over_first.uncovered | over_base.uncovered:
            seen.reason = "uncovered_cell"
            seen.detail = "{}: {}".format(*next(iter(uncovered.items())))
            return []
        doubtful, lost = sorted_out(
            over_first.deltas, over_base.deltas, names, budget=self._config.regression_budget
        )
        if lost:
            seen.reason = "cell_regressed"
            seen.detail = "{} (watched) {}".format(*next(iter(lost.items())))
        return doubtful


def sorted_out(
    over_first: Mapping[str, Sequence[float]],
    over_base: Mapping[str, Sequence[float]],
    cells: Iterable[str],
    *,
    budget: float,
) -> tuple[list[str], dict[str, str]]:
    """The cells that stay in doubt, and those that are lost, each with what it loses.

    What the library in use had lost already is not the patch's doing: where the patch scores no
    less than that one, the cell is clear.

    Args:
        over_first: cell -> the patch's score minus that of the first library, one number a seed.
        over_base: the same over the library in use.
    """
    doubtful: list[str] = []
    lost: dict[str, str] = {}
    for cell in cells:
        first, base = fmean(over_first[cell]), fmean(over_base[cell])
        if base >= 0:
            continue
        if surely_below(over_first[cell], 0.0):
            lost[cell] = f"loses {-first:.1f} beside the first library"
        elif surely_below(over_base[cell], -budget):
            lost[cell] = f"loses {-base:.1f}"
        elif first < 0 or base < -budget:
            doubtful.append(cell)
    return doubtful, lost
