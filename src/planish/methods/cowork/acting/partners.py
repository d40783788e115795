"""Scripted cooks to play with: whom a library meets in training, at the gate and in reports.

    cook = partner("greedy", load_layout("cramped_room"), seat=1, seed=3)
    action = cook.act(kitchen)          # once a tick

None of them is told what the other cook is about; what is random in them comes from the seed.

    random              one of the six actions, all as likely
    idle                never moves
    greedy              the useful chore that begins nearest; it walks the shortest way and waits
                        where the other cook stands in it; gives no way and hands nothing over
    sticky_greedy       greedy, but with probability 0.3 it does again what it did last
    onion_specialist    brings onions and starts full pots
    dish_specialist     lays dishes out near the pots, one for each soup under way
    serving_specialist  takes soups out of the pots and serves them
    switcher            one of the above for 40 to 120 ticks, then another, and so on

Specialists hand over a shared counter what only the other cook can use, and step aside where they
stand still beside it.

Source: that a team is tested with strangers of many habits is usual (arXiv 1910.05789); the rules
of each cook are ours.
"""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from planish.errors import BadInput
from planish.methods.cowork.kitchen.layouts import FAR, Layout
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    INTERACT,
    NOTHING,
    ONION,
    SOUP,
    STAY,
    Kitchen,
)

__all__ = ["PARTNERS", "Partner", "check_partner", "partner"]

STICKINESS = 0.3
"""How likely the sticky cook is to do again what it did last."""

SPELL = (40, 120)
"""Ticks, least and most, for which a switcher keeps a style."""

PATIENCE = 3
"""Ticks that a specialist stands still beside the other cook before it steps aside."""

TAKEN = 4
"""Steps that a chore counts as farther where the other cook stands in every shortest way to it."""


class Partner(Protocol):
    """Whatever can sit in a seat."""

    def act(self, kitchen: Kitchen) -> int:
        """The action for this tick; asked once a tick."""
        ...


class _Random:
    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        self._rng = rng

    def act(self, kitchen: Kitchen) -> int:
        return self._rng.randrange(6)


class _Idle:
    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        pass

    def act(self, kitchen: Kitchen) -> int:
        return STAY


class _Cook:
    """One that walks to a tile by a shortest way and uses it."""

    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        self.layout, self.seat, self.rng = layout, seat, rng
        self._missed = (-1, -1)

    def act(self, kitchen: Kitchen) -> int:
        cell, other = kitchen.cells[self.seat], kitchen.cells[1 - self.seat]
        # Both went for one bare cell and neither got it: seat 1 lets the other go first.
        contested = self._missed[0] == cell and self._missed[1] != other
        tile = self.next_tile(kitchen)
        action = self.towards(kitchen, tile) if tile >= 0 else STAY
        action = STAY if contested and self.seat and action < STAY else action
        ahead = self.layout.after[cell][action]
        self._missed = (-1, -1) if ahead == cell else (cell, ahead)
        return action

    def next_tile(self, kitchen: Kitchen) -> int:
        """The tile to use next, -1 for none."""
        raise NotImplementedError

    def towards(self, kitchen: Kitchen, tile: int) -> int:
        """The action that brings it nearer to using the tile."""
        cell = kitchen.cells[self.seat]
        ways = self.layout.ways_to[tile]
        if ways[cell]:
            around = self.layout.around(tile, kitchen.cells[1 - self.seat])
            ways = around if around[cell] == ways[cell] else ways
            return next(way for way, ahead in self.layout.moves[cell] if ways[ahead] < ways[cell])
        facing = next(way for beside, way in self.layout.beside[tile] if beside == cell)
        if kitchen.facing[self.seat] != facing:
            return facing
        cooking = kitchen.cooked[tile] >= 0 and not kitchen.ready(tile)
        return STAY if cooking else INTERACT

    # ---- what it sees

    def steps(self, kitchen: Kitchen, tile: int) -> int:
        """Steps until it can use the tile, `TAKEN` more where the other cook is in the way."""
        cell, other = kitchen.cells[self.seat], kitchen.cells[1 - self.seat]
        steps = self.layout.ways_to[tile][cell]
        free = steps >= FAR or self.layout.around(tile, other)[cell] == steps
        return steps if free else steps + TAKEN

    def nearest(self, kitchen: Kitchen, tiles: Iterable[int]) -> int:
        """The tile that is the fewest steps away, -1 where it can get to none."""
        best, fewest = -1, FAR
        for tile in tiles:
            steps = self.steps(kitchen, tile)
            if steps < fewest:
                best, fewest = tile, steps
        return best

    def within(self, kitchen: Kitchen, tiles: Iterable[int], seat: int | None = None) -> list[int]:
        """Those of the tiles that it (or the cook in that seat) can get to."""
        cell = kitchen.cells[self.seat if seat is None else seat]
        return [tile for tile in tiles if self.layout.ways_to[tile][cell] < FAR]

    def lying(self, kitchen: Kitchen, thing: int) -> list[int]:
        """The counters where such a thing lies; NOTHING: the bare ones."""
        return [tile for tile in self.layout.tiles("X") if min(kitchen.on[tile], SOUP) == thing]

    def unstarted(self, kitchen: Kitchen, *, full: bool) -> list[int]:
        """Pots that do not cook, with all their onions or without; old dynamics want three."""
        worth = self.layout.worth(kitchen.old_dynamics)
        pots = [pot for pot in kitchen.pots if kitchen.cooked[pot] < 0]
        return [pot for pot in pots if (kitchen.onions[pot] >= worth) == full]

    def open_pots(self, kitchen: Kitchen) -> list[int]:
        """Pots that lack onions."""
        return self.unstarted(kitchen, full=False)

    def full_pots(self, kitchen: Kitchen) -> list[int]:
        """Pots that wait for bare hands to start them; the old dynamics need none."""
        return [] if kitchen.old_dynamics else self.unstarted(kitchen, full=True)

    def started(self, kitchen: Kitchen) -> list[int]:
        """Pots that cook or are done."""
        return [pot for pot in kitchen.pots if kitchen.cooked[pot] >= 0]

    def soups(self, kitchen: Kitchen) -> list[int]:
        """Pots whose soup is done; where none is, those that cook."""
        started = self.started(kitchen)
        return [pot for pot in started if kitchen.ready(pot)] or started


class _Greedy(_Cook):
    """Knows every chore, and takes the one that begins nearest."""

    def next_tile(self, kitchen: Kitchen) -> int:
        held = min(kitchen.held[self.seat], SOUP)
        if held == NOTHING:
            return self.nearest(kitchen, self.beginnings(kitchen))
        goals = {
            ONION: self.open_pots(kitchen),
            DISH: self.soups(kitchen),
            SOUP: list(self.layout.tiles("S")),
        }[held]
        if self.within(kitchen, goals):
            return self.nearest(kitchen, goals)
        # The other cook empties a pot soon: it keeps the onion for that.
        if held == ONION and kitchen.held[1 - self.seat] >= DISH:
            return -1
        return self.nearest(kitchen, self.lying(kitchen, NOTHING))

    def beginnings(self, kitchen: Kitchen) -> list[int]:
        """Where the chores begin whose end it can get to."""
        tiles = self.full_pots(kitchen)
        if self.within(kitchen, self.layout.tiles("S")):
            tiles += self.lying(kitchen, SOUP)
        started = self.within(kitchen, self.started(kitchen))
        brought = kitchen.held[1 - self.seat] == DISH
        if len(started) > brought:
            tiles += [*self.layout.tiles("D"), *self.lying(kitchen, DISH)]
        # Where the other cook sees to the soup, the next one's first onion is fetched meanwhile.
        if self.within(kitchen, self.open_pots(kitchen)) or (not tiles and started):
            tiles += [*self.layout.tiles("O"), *self.lying(kitchen, ONION)]
        return tiles


class _Sticky(_Greedy):
    """Does again, now and then, what it did last."""

    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        super().__init__(layout, seat, rng)
        self._last = STAY

    def act(self, kitchen: Kitchen) -> int:
        action = super().act(kitchen)
        if self.rng.random() >= STICKINESS:
            self._last = action
        return self._last


class _Specialist(_Cook):
    """Does one chore. What it holds that is not for it, it lays down."""

    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        super().__init__(layout, seat, rng)
        self._seen = (-1, -1, -1)
        self._still = 0

    def act(self, kitchen: Kitchen) -> int:
        seat, layout = self.seat, self.layout
        cell, other = kitchen.cells[seat], kitchen.cells[1 - seat]
        seen = (cell, kitchen.facing[seat], kitchen.held[seat])
        near = layout.ways[cell][other] == 1
        self._still = self._still + 1 if near and seen == self._seen else 0
        self._seen = seen
        action = super().act(kitchen)
        aside = [way for way, ahead in layout.moves[cell] if ahead != other]
        if self._still > PATIENCE and action != INTERACT and aside:
            self._still = 0
            return self.rng.choice(aside)
        return action

    def next_tile(self, kitchen: Kitchen) -> int:
        held = min(kitchen.held[self.seat], SOUP)
        if held == NOTHING:
            return self.nearest(kitchen, self.beginnings(kitchen))
        return self.end(kitchen, held)

    def beginnings(self, kitchen: Kitchen) -> list[int]:
        """Where its chore begins."""
        raise NotImplementedError

    def end(self, kitchen: Kitchen, held: int) -> int:
        """Where what it holds goes, -1 to keep it for now."""
        raise NotImplementedError

    def give(self, kitchen: Kitchen) -> int:
        """The bare counter for a thing that only the other cook can use."""
        bare = self.lying(kitchen, NOTHING)
        shared = self.within(kitchen, bare, 1 - self.seat)
        return self.nearest(kitchen, shared)

    def put_down(self, kitchen: Kitchen) -> int:
        """The bare counter to be rid of a thing, one within the other's reach if there is any."""
        given = self.give(kitchen)
        return given if given >= 0 else self.nearest(kitchen, self.lying(kitchen, NOTHING))

    def has_room(self, kitchen: Kitchen) -> bool:
        """Whether one more thing on a shared counter leaves a bare one."""
        bare = self.within(kitchen, self.lying(kitchen, NOTHING))
        return len(self.within(kitchen, bare, 1 - self.seat)) > 1


class _Onions(_Specialist):
    """Brings onions and starts full pots."""

    def beginnings(self, kitchen: Kitchen) -> list[int]:
        if self.within(kitchen, kitchen.pots):
            onions = [*self.layout.tiles("O"), *self.lying(kitchen, ONION)]
            wanted = self.within(kitchen, self.open_pots(kitchen))
            return self.full_pots(kitchen) + (onions if wanted else [])
        return list(self.layout.tiles("O")) if self.has_room(kitchen) else []

    def end(self, kitchen: Kitchen, held: int) -> int:
        if held != ONION:
            return self.put_down(kitchen)
        if self.within(kitchen, kitchen.pots):
            return self.nearest(kitchen, self.open_pots(kitchen))
        return self.give(kitchen)


class _Dishes(_Specialist):
    """Lays out a dish for each soup under way, on a bare counter near the pots."""

    def beginnings(self, kitchen: Kitchen) -> list[int]:
        under_way = len(self.started(kitchen)) + len(self.full_pots(kitchen))
        there = len(self.lying(kitchen, DISH)) + (kitchen.held[1 - self.seat] == DISH)
        return list(self.layout.tiles("D")) if there < under_way else []

    def end(self, kitchen: Kitchen, held: int) -> int:
        if held != DISH:
            return self.put_down(kitchen)
        bare = self.within(kitchen, self.lying(kitchen, NOTHING))
        shared = self.within(kitchen, bare, 1 - self.seat)
        return min(
            shared,
            key=lambda tile: 2 * self._onward(kitchen, tile) + self.steps(kitchen, tile),
            default=-1,
        )

    def _onward(self, kitchen: Kitchen, tile: int) -> int:
        """Steps from beside the counter, where the other cook takes the dish, to a pot."""
        ways, ways_to = self.layout.ways[kitchen.cells[1 - self.seat]], self.layout.ways_to
        cells = [cell for cell, _ in self.layout.beside[tile] if ways[cell] < FAR]
        return min(ways_to[pot][cell] for pot in kitchen.pots for cell in cells)


class _Serving(_Specialist):
    """Takes soups out of the pots and serves them."""

    def beginnings(self, kitchen: Kitchen) -> list[int]:
        served = self.within(kitchen, self.layout.tiles("S"))
        tiles = self.lying(kitchen, SOUP) if served else []
        started, near = self.started(kitchen), self.within(kitchen, kitchen.pots)
        if self.within(kitchen, started):
            tiles += [*self.layout.tiles("D"), *self.lying(kitchen, DISH)]
        elif started and not near and self.has_room(kitchen):
            tiles += self.layout.tiles("D")
        return tiles

    def end(self, kitchen: Kitchen, held: int) -> int:
        if held == SOUP:
            windows = self.layout.tiles("S")
            near = self.within(kitchen, windows)
            return self.nearest(kitchen, windows) if near else self.give(kitchen)
        if held != DISH:
            return self.put_down(kitchen)
        if self.within(kitchen, kitchen.pots):
            return self.nearest(kitchen, self.soups(kitchen))
        return self.give(kitchen)


class _Switcher:
    """Another style every spell."""

    def __init__(self, layout: Layout, seat: int, rng: random.Random) -> None:
        self._layout, self._seat, self._rng = layout, seat, rng
        self._until = 0
        self._style = ""
        self._cook: Partner = _Idle(layout, seat, rng)

    def act(self, kitchen: Kitchen) -> int:
        if kitchen.tick >= self._until:
            self._until = kitchen.tick + self._rng.randint(*SPELL)
            self._style = self._rng.choice([name for name in _STYLES if name != self._style])
            self._cook = _STYLES[self._style](self._layout, self._seat, self._rng)
        return self._cook.act(kitchen)


_STYLES: Mapping[str, Callable[[Layout, int, random.Random], Partner]] = {
    "random": _Random,
    "idle": _Idle,
    "greedy": _Greedy,
    "sticky_greedy": _Sticky,
    "onion_specialist": _Onions,
    "dish_specialist": _Dishes,
    "serving_specialist": _Serving,
}

PARTNERS: tuple[str, ...] = (*_STYLES, "switcher")
"""The names of the scripted cooks."""


def check_partner(name: str) -> None:
    """Refuses a name that is neither "self" nor a scripted cook's.

    Raises:
        BadInput: with the names there are.
    """
    if name != "self" and name not in PARTNERS:
        near = difflib.get_close_matches(name, PARTNERS, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise BadInput(
            f"no partner {name[:80]!r}",
            where="--partner",
            fix=f"{meant}use self or one of {', '.join(PARTNERS)}",
        )


def partner(name: str, layout: Layout, seat: int, seed: int) -> Partner:
    """A scripted cook, fresh for one episode.

    Args:
        name: one of `PARTNERS`.
        seat: 0 or 1.
        seed: the same seed in the same seat draws the same, whoever plays beside it.

    Raises:
        BadInput: no such cook.
    """
    check_partner("" if name == "self" else name)
    style = _Switcher if name == "switcher" else _STYLES[name]
    return style(layout, seat, random.Random(f"partner:{seat}:{seed}"))
