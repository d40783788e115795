"""What the demonstration measured, what it claims, and whether that came true.

    told = claims(found)
    [claim.held for claim in told]

The claims were fixed before the demonstration first ran. One that scores rise or fall holds where
the whole interval and every run of the optimizer lie on that side of 0. Where all report seeds
differ by the same amount an interval cannot be told; then the exact one of the share of seeds that
differ that way must lie above one half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from planish.methods.cowork.acting.episodes import TICK_SECONDS
from planish.methods.cowork.data import Cell, Episode, GateResult
from planish.methods.cowork.improving.evolving import Evolution
from planish.methods.cowork.improving.watching import mean_score
from planish.methods.cowork.skills import Library
from planish.stats import Claim, Estimate, paired_bootstrap, ratio
from planish.stats import shown as in_format

__all__ = [
    "CLAIMS_READ",
    "SITUATIONS",
    "Claim",
    "Drill",
    "Found",
    "Gain",
    "Pace",
    "Player",
    "Situation",
    "claims",
    "shown",
]

CLAIMS_READ = (
    "Differences are paired by report seed; what the runs of the optimizer scored on one seed is "
    "one row. A score rises or falls where the whole interval and every run lie on that side of 0 "
    "(where all seeds differ alike: where they are enough to tell), and is no worse unless all of "
    "the interval, or every seed alike, lies below."
)

Player = Library | str
"""Who acts: a library, or a scripted cook by name."""

Expected = Literal["falls", "rises", "does not fall"]


@dataclass(frozen=True)
class Situation:
    """Cells that are told as one: a layout with a partner, in every seat.

    Args:
        title: for people.
    """

    layout: str
    partner: str
    title: str

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Self-play has one seat, for both are the library's."""
        seats = (0,) if self.partner == "self" else (0, 1)
        return tuple(Cell(layout=self.layout, partner=self.partner, seat=seat) for seat in seats)

    @property
    def key(self) -> str:
        """By which `--json` names it."""
        return self.layout if self.partner == "self" else f"{self.layout}_with_{self.partner}"


_RING, _FORCED = "coordination_ring", "forced_coordination"
SITUATIONS = {
    "ring": Situation(_RING, "self", _RING),
    "forced": Situation(_FORCED, "self", _FORCED),
    "ring met": Situation(_RING, "greedy", f"{_RING}, with greedy"),
    "forced met": Situation(_FORCED, "greedy", f"{_FORCED}, with greedy"),
}
"""Self-play, which the libraries evolved in, and a partner that they never met there."""

_EVOLVED_IN = ("ring", "forced")


@dataclass(frozen=True)
class Drill:
    """A patch that harms, and what became of it.

    Args:
        refused: the gate's verdict on it, and on others that never get as far as playing.
        forced: an evolution whose gate was switched off, and that was handed the patch.
        before: digest of the library that it began with.
    """

    refused: Sequence[GateResult]
    forced: Evolution
    before: str


@dataclass(frozen=True)
class Pace:
    """How long decisions took on this machine, with the clock running.

    Args:
        quantiles_ms: p50, p99 and the longest.
        misses: decisions that were late.
    """

    decisions: int
    quantiles_ms: tuple[float, float, float]
    deadline_ms: float
    misses: int


@dataclass(frozen=True)
class Found:
    """Everything that the demonstration measured.

    Args:
        evolutions: one for each run of the optimizer.
        parameters: as the first, with a proposer that only moves parameters, at as many ticks.
        players: name -> who acts, one for each run of the optimizer where there are several.
        episodes: (digest or name, cell, seed) -> its episode.
        delayed: ticks that a decision takes -> the first evolved library's scores, by seed.
        seeds: those of the report.
    """

    evolutions: Sequence[Evolution]
    parameters: Evolution
    players: Mapping[str, Sequence[Player]]
    episodes: Mapping[tuple[str, Cell, int], Episode]
    delayed: Mapping[int, Sequence[float | None]]
    drill: Drill
    pace: Pace
    seeds: Sequence[int]

    def by_seed(self, player: Player, situations: Sequence[Situation]) -> list[float | None]:
        """A score for each report seed: the mean over cells; None where an episode failed."""
        who = player if isinstance(player, str) else player.digest
        cells = [cell for situation in situations for cell in situation.cells]
        rows = [[self.episodes[who, cell, seed].score for cell in cells] for seed in self.seeds]
        return [None if None in row else fmean(each or 0.0 for each in row) for row in rows]

    def score(self, name: str, situation: Situation) -> Estimate:
        """Over the report's seeds; what several runs scored on one is one row."""
        runs = [self.by_seed(player, [situation]) for player in self.players[name]]
        return mean_score([fmean(map(float, row)) for row in _scored(zip(*runs, strict=True))])

    def gain(self, before: str, after: str, situations: Sequence[Situation]) -> Gain:
        """By how much one player scores more than another, run by run where both have several."""
        olds, news = list(self.players[before]), list(self.players[after])
        olds = olds * len(news) if len(olds) == 1 else olds
        pairs = [
            (self.by_seed(old, situations), self.by_seed(new, situations))
            for old, new in zip(olds, news, strict=True)
        ]
        return _gain(pairs)


@dataclass(frozen=True)
class Gain:
    """A paired difference.

    Args:
        by_run: the same for each run of the optimizer alone.
        share: of the seeds that differ in the direction of the number.
    """

    number: Estimate
    by_run: tuple[float | None, ...]
    share: Estimate


def claims(found: Found) -> list[Claim]:
    """All of them, in the order in which they are told."""
    return [*_scores(found), *_promotions(found), *_drill(found.drill), _slow(found)]


def _scores(found: Found) -> list[Claim]:
    def change(key: str, text: str, names: tuple[str, str], where: Sequence[str],
               expected: Expected = "rises") -> Claim:  # fmt: skip
        before, after = names
        told = found.gain(before, after, [SITUATIONS[each] for each in where])
        return _change(key, text, f"{after} - {before}", told, expected)

    impaired, evolved = "impaired", "evolved"
    return [
        change("gain_ring", "the ring, where two cooks got stuck, is served",
               (impaired, evolved), ["ring"]),
        change("gain_forced", "so is forced_coordination, where nothing was handed over",
               (impaired, evolved), ["forced"]),
        change("over_hand", "on both it is no worse than the library written by hand",
               ("by hand", evolved), _EVOLVED_IN, "does not fall"),
        change("over_greedy", "it scores more than two greedy cooks",
               ("greedy", evolved), _EVOLVED_IN),
        change("over_parameters", "and than a search over parameters alone, at as many ticks",
               ("parameters", evolved), _EVOLVED_IN),
        change("gain_partner", "in the ring it also helps a partner that it never met",
               (impaired, evolved), ["ring met"]),
        change("gain_forced_partner", "in forced_coordination, too",
               (impaired, evolved), ["forced met"]),
    ]  # fmt: skip


def _promotions(found: Found) -> list[Claim]:
    """Whether what a round left in use was ever worse on the report's seeds than before."""
    changes = [pair for each in found.evolutions for pair in _changes(each)]
    harmful = sum(map(_is_worse, changes))
    return [
        Claim(
            "harmful_promotions",
            "no promotion is worse on report seeds",
            "promotions that are worse",
            Estimate(value=float(harmful), n=len(changes)),
            bool(changes) and not harmful,
            f"{harmful} of {len(changes)}",
        )
    ]


def _changes(evolution: Evolution) -> list[Gain]:
    found = []
    for before, after in pairwise(evolution.points):
        if before.library != after.library:
            olds, news = (
                [
                    _mean([evolution.table.score(library, cell, seed).value
                           for cell in evolution.cells])
                    for seed in evolution.report_seeds
                ]
                for library in map(evolution.library, (before.library, after.library))
            )  # fmt: skip
            found.append(_gain([(olds, news)]))
    return found


def _drill(drill: Drill) -> list[Claim]:
    def seen(key: str, text: str, held: bool) -> Claim:
        number = Estimate(value=float(held), n=1)
        return Claim(key, text, "seen once", number, held, "yes" if held else "no")

    kinds = [promotion.kind for promotion in drill.forced.promotions]
    harmful = drill.refused[0]
    return [
        seen(
            "harm_refused",
            "a patch that harms is refused once it has played",
            not harmful.accepted and bool(harmful.stages),
        ),
        seen(
            "unsound_refused",
            "code in a text and a stale patch are refused unplayed",
            all(not each.accepted and not each.sim_steps for each in drill.refused[1:])
            and len(drill.refused) > 1,
        ),
        seen(
            "harm_taken_back",
            "forced past the gate, monitoring takes the harm back",
            kinds == ["promoted", "reverted"] and drill.forced.active.digest == drill.before,
        ),
    ]


def _slow(found: Found) -> Claim:
    ticks = sorted(found.delayed)
    fast, slow = found.delayed[ticks[0]], found.delayed[ticks[-1]]
    told = _gain([(list(fast), list(slow))])
    text = f"with {ticks[-1] * TICK_SECONDS:g} s a decision, as if asking a model, it scores less"
    return _change("slow_change", text, "slow - fast", told, "falls")


def _gain(pairs: Sequence[tuple[Sequence[float | None], Sequence[float | None]]]) -> Gain:
    """Of (before, after) by seed, one pair for each run."""
    runs = [
        [None if old is None or new is None else new - old for old, new in zip(*pair, strict=True)]
        for pair in pairs
    ]
    rows = [fmean(row) for row in _scored(zip(*runs, strict=True))]
    number = paired_bootstrap(rows, [0.0] * len(rows))
    sign = 0.0 if not number.value else 1.0 if number.value > 0 else -1.0
    return Gain(
        number=number,
        by_run=tuple(_mean([each for each in run if each is not None]) for run in runs),
        share=ratio([float(row * sign > 0) for row in rows], [1.0] * len(rows)),
    )


def _scored(rows: object) -> list[tuple[float, ...]]:
    """Rows without a gap."""
    return [row for row in rows if None not in row]  # type: ignore[attr-defined]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _is_above(told: Gain) -> bool:
    number = told.number
    if not number.value or number.value < 0:
        return False
    if number.low is None:
        return told.share.low is not None and told.share.low > 0.5
    return number.low > 0


def _is_below(told: Gain) -> bool:
    number = told.number
    if not number.value or number.value > 0:
        return False
    if number.high is None:
        return told.share.low is not None and told.share.low > 0.5
    return number.high < 0


def _is_worse(told: Gain) -> bool:
    """Below 0 by its interval, or by every seed alike, however few they are."""
    number = told.number
    return (
        number.value is not None and number.value < 0 and (number.high is None or number.high < 0)
    )


def _change(key: str, text: str, compared: str, told: Gain, expected: Expected) -> Claim:
    rises = all(run is not None and run > 0 for run in told.by_run)
    falls = all(run is not None and run < 0 for run in told.by_run)
    held = {
        "rises": _is_above(told) and rises,
        "falls": _is_below(told) and falls,
        "does not fall": told.number.value is not None and not _is_worse(told),
    }
    return Claim(key, text, compared, told.number, held[expected], shown(told.number, "+"))


def shown(number: Estimate, sign: Literal["", "+"] = "") -> str:
    """A score or a difference; without an interval where all seeds agree."""
    return in_format(number, f"{sign}.1f")
