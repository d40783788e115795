"""The classic two-agent onion kitchen, one tick at a time.

The rules are those of PyPI `overcooked` 0.2.1, which the tests compare tick by tick: interactions
are resolved before moves and seat 0's first; two cooks who would meet in a cell, or change places,
both stay where they are, and turn all the same.

    kitchen = Kitchen(load_layout("cramped_room"))
    rewards = kitchen.step(NORTH, INTERACT)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from planish.errors import BadInput
from planish.methods.cowork.kitchen.floor import ONIONS, Layout

__all__ = [
    "ACTIONS",
    "DISH",
    "EAST",
    "INTERACT",
    "NORTH",
    "NOTHING",
    "ONION",
    "SOUP",
    "SOUTH",
    "STAY",
    "WEST",
    "Kitchen",
    "State",
]

NORTH, SOUTH, EAST, WEST, STAY, INTERACT = range(6)
ACTIONS = ("north", "south", "east", "west", "stay", "interact")

NOTHING, ONION, DISH, SOUP = range(4)
"""What hands and counters hold. A soup of n onions is `SOUP + n - 1`."""


class State(NamedTuple):
    """Everything that the next tick depends on, hashable.

    Args:
        cells, facing, held: by seat.
        counters: (tile, thing) of every counter that is not bare.
        pots: (tile, onions, ticks cooked or -1) of every pot that is not empty.
    """

    tick: int
    cells: tuple[int, int]
    facing: tuple[int, int]
    held: tuple[int, int]
    counters: tuple[tuple[int, int], ...]
    pots: tuple[tuple[int, int, int], ...]


class Kitchen:
    """A kitchen in play. What it holds may be read by anyone and is changed by `step` alone.

    Args:
        old_dynamics: a pot with three onions starts to cook by itself (as in the first published
            version); otherwise a cook with empty hands must start it.
        starts: the cells of both seats, those of the layout by default.

    Raises:
        BadInput: starts that are not two floor cells; old dynamics where nobody orders three
            onions, the only soup that they cook.

    Attributes:
        cells, facing, held: by seat: floor cell, direction 0 to 3, what the hands hold.
        on: by tile: what lies on the counter.
        onions, cooked: by tile: onions in the pot; ticks cooked, -1 before it is started.
    """

    __slots__ = (
        "_after",
        "_ahead",
        "_counters",
        "_terrain",
        "_ticks",
        "_values",
        "cells",
        "cooked",
        "facing",
        "held",
        "layout",
        "old_dynamics",
        "on",
        "onions",
        "pots",
        "tick",
    )

    def __init__(
        self,
        layout: Layout,
        *,
        old_dynamics: bool = False,
        starts: Sequence[int] | None = None,
    ) -> None:
        if old_dynamics and not layout.recipes[ONIONS].value:
            raise BadInput(
                "the old dynamics cook soups of three onions only, and nobody orders one",
                where=layout.name,
                fix="play it without old_dynamics",
            )
        self.layout = layout
        self.old_dynamics = old_dynamics
        self.tick = 0
        self.cells = list(layout.starts if starts is None else starts)
        if len(set(self.cells)) != 2 or not set(self.cells) <= set(layout.floor):
            raise BadInput(
                f"starts {self.cells}", where=layout.name, fix="give two different floor cells"
            )
        self.facing = [NORTH, NORTH]
        self.held = [NOTHING, NOTHING]
        tiles = len(layout.terrain)
        self.on = [NOTHING] * tiles
        self.onions = [0] * tiles
        self.cooked = [-1] * tiles
        self.pots = layout.tiles("P")
        # What a tick looks up, kept here: an attribute of the layout costs a second look-up.
        self._after = layout.after
        self._ahead = layout.ahead
        self._counters = layout.tiles("X")
        self._terrain = layout.terrain
        self._ticks = tuple(recipe.ticks for recipe in layout.recipes)
        self._values = tuple(recipe.value for recipe in layout.recipes)

    def step(self, first: int, second: int) -> tuple[float, float]:
        """Both seats act. Returns what each earned by a delivery."""
        reward_0 = self._interact(0) if first == INTERACT else 0
        reward_1 = self._interact(1) if second == INTERACT else 0
        cells = self.cells
        cell_0, cell_1 = cells
        to_0 = self._after[cell_0][first]
        to_1 = self._after[cell_1][second]
        if to_0 != to_1 and not (to_0 == cell_1 and to_1 == cell_0):
            cells[0] = to_0
            cells[1] = to_1
        if first < STAY:
            self.facing[0] = first
        if second < STAY:
            self.facing[1] = second
        self.tick += 1
        cooked = self.cooked
        for pot in self.pots:
            ticks = cooked[pot]
            if ticks >= 0:
                if ticks < self._ticks[self.onions[pot]]:
                    cooked[pot] = ticks + 1
            elif self.old_dynamics and self.onions[pot] == ONIONS:
                cooked[pot] = 1
        return reward_0, reward_1

    def ready(self, pot: int) -> bool:
        """Whether the pot's soup is done."""
        ticks = self.cooked[pot]
        return ticks >= 0 and ticks >= self._ticks[self.onions[pot]]

    def remaining(self, pot: int) -> int:
        """Ticks until the soup is done, 0 where it is; a pot that is not started has all to go."""
        return self._ticks[self.onions[pot]] - max(0, self.cooked[pot])

    def state(self) -> State:
        """Everything at this tick, hashable."""
        on, onions, cooked = self.on, self.onions, self.cooked
        return State(
            self.tick,
            (self.cells[0], self.cells[1]),
            (self.facing[0], self.facing[1]),
            (self.held[0], self.held[1]),
            tuple([(tile, on[tile]) for tile in self._counters if on[tile]]) if any(on) else (),
            tuple([(pot, onions[pot], cooked[pot]) for pot in self.pots if onions[pot]]),
        )

    def _interact(self, seat: int) -> float:
        """What the seat's hands do at the tile that it faces; returns what a delivery earned."""
        tile = self._ahead[self.cells[seat]][self.facing[seat]]
        symbol = self._terrain[tile]
        held = self.held[seat]
        if symbol == "X":
            lies = self.on[tile]
            if held == NOTHING or lies == NOTHING:
                self.held[seat], self.on[tile] = lies, held
        elif symbol == "P":
            self._use_pot(seat, tile, held)
        elif symbol == "O":
            if held == NOTHING:
                self.held[seat] = ONION
        elif symbol == "D":
            if held == NOTHING:
                self.held[seat] = DISH
        elif symbol == "S" and held >= SOUP:
            self.held[seat] = NOTHING
            return self._values[held - SOUP + 1]
        return 0

    def _use_pot(self, seat: int, pot: int, held: int) -> None:
        if held == NOTHING:
            if not self.old_dynamics and self.cooked[pot] < 0 and self.onions[pot]:
                self.cooked[pot] = 0
        elif held == ONION:
            if self.cooked[pot] < 0 and self.onions[pot] < ONIONS:
                self.onions[pot] += 1
                self.held[seat] = NOTHING
        elif held == DISH and self.ready(pot):
            self.held[seat] = SOUP + self.onions[pot] - 1
            self.onions[pot] = 0
            self.cooked[pot] = -1
