"""What went wrong in a round of training episodes, and what it cost.

    diagnosis = diagnose(library, played)          episodes with traces
    diagnosis.signals[0].kind, .lost_ticks

Everything is read off the kitchen's states and the agents' traces. A signal's `lost_ticks` is an
estimate, in ticks of one agent: it ranks what to mend, and the gate decides whether that helps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from planish.methods.cowork.acting.episodes import Played
from planish.methods.cowork.data import Diagnosis, Signal, TickTrace
from planish.methods.cowork.improving.guards import guards
from planish.methods.cowork.kitchen.layouts import FAR, Layout, load_layout
from planish.methods.cowork.kitchen.simulator import (
    ACTIONS,
    DISH,
    INTERACT,
    NOTHING,
    SOUP,
    STAY,
    State,
)
from planish.methods.cowork.skills import Library

__all__ = ["SIGNALS", "STAGNANT", "diagnose"]

SIGNALS = {
    "blocked": "a cook wants to walk on and its partner stands there",
    "mutual_block": "both cooks want to walk on and neither can",
    "useless_hold": "a cook stands there with something that nothing needs now",
    "out_of_reach": "a cook cannot walk to where what it holds is for, or to what is wanted",
    "ready_without_dish": "a soup is done and nobody has a dish",
    "not_started": "a full pot is not cooking",
    "same_target": "both cooks fetch the same thing",
    "idle": "a cook with empty hands does nothing while a pot lacks onions or a soup its dish",
    "never_succeeds": "a method is taken and never runs to its end",
    "guard": "a method fails more often where a predicate holds, or does not",
}
"""Kind -> what it means. Of those that can be counted in ticks, the first are the dearest."""

STAGNANT = 100
"""Ticks without any interaction that count as stagnation (second-hand: the paper's number)."""

MOST_EVIDENCE = 3
MOST_WINDOWS = 12


@dataclass
class _Tally:
    """One kind of signal in one cell, as it is counted."""

    count: int = 0
    ticks: float = 0.0
    evidence: list[str] = field(default_factory=list)

    def add(self, ticks: float, where: str, fresh: bool) -> None:
        """Counts ticks; `fresh`: another occurrence, not the last one going on."""
        self.ticks += ticks
        if fresh:
            self.count += 1
            if len(self.evidence) < MOST_EVIDENCE and where not in self.evidence:
                self.evidence.append(where)


def diagnose(library: Library, played: Sequence[Played]) -> Diagnosis:
    """Reads the episodes; those that failed say nothing.

    Args:
        played: traced episodes of this library.
    """
    fetching = {
        operator.id: str(operator.args["thing"])
        for operator in library.operators
        if operator.controller == "take"
    }
    good = [each for each in played if each.episode.score is not None and each.frames]
    tallies: dict[tuple[str, str, str], _Tally] = defaultdict(_Tally)
    actions: Counter[str] = Counter()
    stagnation: list[tuple[str, int]] = []
    methods: Counter[str] = Counter()
    done: Counter[str] = Counter()
    scores: dict[str, list[float]] = defaultdict(list)
    for each in good:
        _count(each, fetching, tallies)
        actions.update(trace.action for trace in each.traces)
        onset = _stagnation(each)
        if onset is not None:
            stagnation.append((each.episode.id, onset))
        for name, (tried, succeeded) in each.methods.items():
            methods[name] += tried
            done[name] += succeeded
        scores[str(each.episode.cell)].append(each.episode.score or 0.0)
    signals = [
        Signal(
            kind=kind,
            cell=cell,
            count=tally.count,
            lost_ticks=tally.ticks,
            subject=subject,
            evidence_ids=tuple(tally.evidence),
        )
        for (kind, cell, subject), tally in tallies.items()
        if tally.ticks > 0
    ]
    signals += _never_succeeding(methods, done)
    signals += guards(good, library.values)
    signals.sort(key=lambda signal: (-signal.lost_ticks, signal.kind, signal.cell, signal.subject))
    total = sum(actions.values()) or 1
    return Diagnosis(
        library_hash=library.digest,
        signals=tuple(signals),
        histogram={name: actions[name] / total for name in ACTIONS},
        stagnation=tuple(stagnation),
        methods={name: (methods[name], done[name]) for name in sorted(methods)},
        scores={cell: fmean(values) for cell, values in sorted(scores.items())},
        windows=_windows(good, signals),
    )


def _count(
    played: Played, fetching: Mapping[str, str], tallies: dict[tuple[str, str, str], _Tally]
) -> None:
    layout = load_layout(played.episode.cell.layout)
    cell = str(played.episode.cell)
    fetched = {(trace.t, trace.seat): fetching.get(trace.operator, "") for trace in played.traces}
    seats = sorted({trace.seat for trace in played.traces})
    open_before: set[tuple[str, str, int]] = set()
    for tick, joint in enumerate(played.actions):
        before, after = played.frames[tick], played.frames[tick + 1]
        look = _Look(layout, before, after, joint, played.episode.old_dynamics)
        where = f"{played.episode.id}@{tick}"
        found = list(look.signals(seats))
        thing = fetched.get((tick, 0), "")
        if thing and thing == fetched.get((tick, 1)) and look.lacking(thing) < 2:
            found.append(("same_target", thing, 0, 0.5))
        now = {(kind, subject, seat) for kind, subject, seat, _ in found}
        for kind, subject, seat, ticks in found:
            fresh = (kind, subject, seat) not in open_before
            tallies[kind, cell, subject].add(ticks, where, fresh)
        open_before = now


@dataclass(frozen=True)
class _Look:
    """One tick: the kitchen before and after, and what both cooks did."""

    layout: Layout
    before: State
    after: State
    joint: tuple[int, int]
    old_dynamics: bool

    def signals(self, seats: Sequence[int]) -> Iterator[tuple[str, str, int, float]]:
        """(kind, subject, seat, ticks lost) of all that is wrong at this tick."""
        blocked = [self.is_blocked(seat) for seat in (0, 1)]
        for seat in seats:
            if blocked[seat]:
                yield ("mutual_block" if all(blocked) else "blocked"), "", seat, 1.0
            yield from self._hands(seat)
        yield from self._pots(len(seats))

    def is_blocked(self, seat: int) -> bool:
        """Whether the cook wanted to walk onto free floor and did not get there."""
        action = self.joint[seat]
        if action >= STAY:
            return False
        ahead = self.layout.ahead[self.before.cells[seat]][action]
        return (
            self.layout.terrain[ahead] == " " and self.after.cells[seat] == self.before.cells[seat]
        )

    def lacking(self, thing: str) -> int:
        """Onions that the pots lack, or started soups."""
        started = [pot for pot in self.before.pots if pot[2] >= 0]
        if thing != "onion":
            return len(started)
        filled = {pot: onions for pot, onions, cooked in self.before.pots if cooked < 0}
        idle = len(self.layout.tiles("P")) - len(started)
        return idle * self.layout.worth(self.old_dynamics) - sum(filled.values())

    def _hands(self, seat: int) -> Iterator[tuple[str, str, int, float]]:
        held = min(self.before.held[seat], SOUP)
        stands = self.joint[seat] == STAY or self.is_blocked(seat)
        if held == NOTHING:
            if self.joint[seat] == STAY and (self.lacking("onion") > 0 or self.lacking("dish") > 0):
                yield "idle", "", seat, 1.0
                if self._walled_off(seat):
                    yield "out_of_reach", "nothing", seat, 1.0
            return
        thing = ("nothing", "onion", "dish", "soup")[held]
        goals = self.layout.tiles("S" if held == SOUP else "P")
        cell = self.before.cells[seat]
        if all(self.layout.ways_to[goal][cell] >= FAR for goal in goals):
            yield "out_of_reach", thing, seat, 1.0
        elif stands and held != SOUP and self.lacking(thing) <= 0:
            yield "useless_hold", thing, seat, 1.0

    def _walled_off(self, seat: int) -> bool:
        """Whether some kind of place cannot be walked to from where the cook stands."""
        cell = self.before.cells[seat]
        return any(
            all(self.layout.ways_to[tile][cell] >= FAR for tile in self.layout.tiles(symbol))
            for symbol in "ODPS"
        )

    def _pots(self, cooks: int) -> Iterator[tuple[str, str, int, float]]:
        dishes = any(min(thing, SOUP) == DISH for thing in self.before.held)
        for _, onions, cooked in self.before.pots:
            ticks = self.layout.recipes[onions].ticks
            if cooked >= ticks and not dishes:
                yield "ready_without_dish", "", 0, 0.5 * cooks
            if cooked < 0 and onions >= self.layout.worth(False) and not self.old_dynamics:
                yield "not_started", "", 0, 0.5 * cooks


def _stagnation(played: Played) -> int | None:
    """The tick where the first stretch of `STAGNANT` ticks without an interaction began."""
    quiet = 0
    for tick, joint in enumerate(played.actions):
        quiet = 0 if INTERACT in joint else quiet + 1
        if quiet == STAGNANT:
            return tick - STAGNANT + 1
    return None


def _never_succeeding(methods: Counter[str], done: Counter[str]) -> list[Signal]:
    """Methods that were tried often and never ended well; the root, for one, never does."""
    return [
        Signal(kind="never_succeeds", cell="", count=tried, lost_ticks=float(tried), subject=name)
        for name, tried in sorted(methods.items())
        if tried >= 10 and not done[name]
    ]


def _windows(
    played: Sequence[Played], signals: Sequence[Signal]
) -> dict[str, tuple[TickTrace, ...]]:
    """The traces from two ticks before to two after the evidence of the dearest signals."""
    by_tick: dict[str, dict[int, list[TickTrace]]] = {}
    for each in played:
        ticks: dict[int, list[TickTrace]] = defaultdict(list)
        for trace in each.traces:
            ticks[trace.t].append(trace)
        by_tick[each.episode.id] = ticks
    found: dict[str, tuple[TickTrace, ...]] = {}
    for signal in signals:
        for where in signal.evidence_ids[:1]:
            episode, _, tick = where.rpartition("@")
            ticks = by_tick.get(episode, {})
            near = range(int(tick) - 2, int(tick) + 3)
            found[where] = tuple(trace for t in near for trace in ticks.get(t, []))
            if len(found) == MOST_WINDOWS:
                return found
    return found
