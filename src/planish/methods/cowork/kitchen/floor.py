"""A kitchen's floor plan, measured once.

Symbols: `X` counter, `O` onions, `D` dishes, `P` pot, `S` serving window, blank floor.

    layout = load_layout("coordination_ring")
    layout.ways_to[tile][cell]      steps from a floor cell until the tile can be used
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["DIRECTIONS", "FAR", "ONIONS", "SYMBOLS", "Layout", "Recipe"]

FAR = 10**6
"""A distance that no walk has."""

DIRECTIONS = ((0, -1), (0, 1), (1, 0), (-1, 0))
"""Unit moves (x, y) in the order of the actions NORTH, SOUTH, EAST, WEST."""

SYMBOLS = "XODPS "
ONIONS = 3
"""A pot holds at most this many."""


@dataclass(frozen=True)
class Recipe:
    """A soup of n onions: what it earns on delivery (0: nobody ordered it), ticks it cooks."""

    value: float
    ticks: int


@dataclass(frozen=True)
class Layout:
    """A floor plan. Cells and tiles are numbered row by row: index = y * width + x.

    Args:
        terrain: one symbol a tile, row by row; the seats' cells are floor.
        starts: the cells of seat 0 (symbol 1) and seat 1 (symbol 2).
        recipes: by number of onions, 1 to 3, index 0 unused.
    """

    name: str
    width: int
    height: int
    terrain: str
    starts: tuple[int, int]
    recipes: tuple[Recipe, Recipe, Recipe, Recipe]

    def __hash__(self) -> int:
        # Layouts are keys of caches: the text tells them apart, the derived tables need no look.
        return hash((self.name, self.terrain, self.starts, self.recipes))

    @cached_property
    def best_count(self) -> int:
        """Onions in the soup that earns most a tick; a cook needs some eight ticks an onion."""
        return max(
            range(1, ONIONS + 1),
            key=lambda count: (
                self.recipes[count].value / (self.recipes[count].ticks + 8 * count),
                -count,
            ),
        )

    def worth(self, old_dynamics: bool) -> int:
        """Onions in a soup worth cooking; where pots start by themselves, in a full one."""
        return ONIONS if old_dynamics else self.best_count

    @cached_property
    def floor(self) -> tuple[int, ...]:
        """The cells that cooks can stand on, row by row."""
        return tuple(tile for tile, symbol in enumerate(self.terrain) if symbol == " ")

    def tiles(self, symbol: str) -> tuple[int, ...]:
        """The tiles with that symbol, row by row."""
        return self._by_symbol[symbol]

    @cached_property
    def _by_symbol(self) -> Mapping[str, tuple[int, ...]]:
        return {
            symbol: tuple(tile for tile, found in enumerate(self.terrain) if found == symbol)
            for symbol in SYMBOLS
        }

    @cached_property
    def ahead(self) -> tuple[tuple[int, int, int, int], ...]:
        """tile -> the tile to its north, south, east, west; -1 beyond the border."""

        def beyond(tile: int, direction: int) -> int:
            x, y = self.at(tile)
            x, y = x + DIRECTIONS[direction][0], y + DIRECTIONS[direction][1]
            inside = 0 <= x < self.width and 0 <= y < self.height
            return y * self.width + x if inside else -1

        return tuple(
            (beyond(tile, 0), beyond(tile, 1), beyond(tile, 2), beyond(tile, 3))
            for tile in range(len(self.terrain))
        )

    @cached_property
    def moves(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """floor cell -> ((direction, next cell), ...) of the ways that are open."""
        return tuple(
            tuple(
                (direction, tile)
                for direction, tile in enumerate(self.ahead[cell])
                if tile >= 0 and self.terrain[tile] == " "
            )
            if self.terrain[cell] == " "
            else ()
            for cell in range(len(self.terrain))
        )

    @cached_property
    def after(self) -> tuple[tuple[int, ...], ...]:
        """floor cell -> the cell that each of the six actions leads to, were one alone there."""
        return tuple(
            tuple(
                tile if tile >= 0 and self.terrain[tile] == " " else cell
                for tile in (*self.ahead[cell], cell, cell)
            )
            for cell in range(len(self.terrain))
        )

    @cached_property
    def beside(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """tile -> ((floor cell, direction to face from there), ...) from where it can be used."""
        return tuple(
            tuple(
                (cell, direction ^ 1)
                for direction, cell in enumerate(self.ahead[tile])
                if cell >= 0 and self.terrain[cell] == " "
            )
            for tile in range(len(self.terrain))
        )

    @cached_property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """cell, cell -> steps between them over free floor, `FAR` where there is no way."""
        return tuple(
            self.walk_from((cell,)) if self.terrain[cell] == " " else (FAR,) * len(self.terrain)
            for cell in range(len(self.terrain))
        )

    @cached_property
    def ways_to(self) -> tuple[tuple[int, ...], ...]:
        """tile, cell -> steps from the cell to the nearest cell beside the tile."""
        return tuple(
            self.walk_from(tuple(cell for cell, _ in self.beside[tile]))
            if self.terrain[tile] != " "
            else (FAR,) * len(self.terrain)
            for tile in range(len(self.terrain))
        )

    def walk_from(self, cells: Sequence[int], *without: int) -> tuple[int, ...]:
        """Steps from the nearest of `cells` to every cell, over none of the cells `without`."""
        steps = [FAR] * len(self.terrain)
        queue = deque(cell for cell in cells if cell not in without)
        for cell in queue:
            steps[cell] = 0
        while queue:
            cell = queue.popleft()
            for _, after in self.moves[cell]:
                if after not in without and steps[after] == FAR:
                    steps[after] = steps[cell] + 1
                    queue.append(after)
        return tuple(steps)

    def walk_past(self, start: int, *without: int) -> tuple[int, ...]:
        """As `walk_from` of one cell; measured once for each call."""
        key = (start, *without)
        found = self._past.get(key)
        if found is None:
            found = self._past[key] = self.walk_from((start,), *without)
        return found

    @cached_property
    def _past(self) -> dict[tuple[int, ...], tuple[int, ...]]:
        return {}

    def around(self, tile: int, without: int) -> tuple[int, ...]:
        """cell -> steps to beside the tile, never over the cell `without`; measured once each."""
        key = tile * len(self.terrain) + without
        found = self._around.get(key)
        if found is None:
            found = self.walk_from([cell for cell, _ in self.beside[tile]], without)
            self._around[key] = found
        return found

    @cached_property
    def _around(self) -> dict[int, tuple[int, ...]]:
        return {}

    def shared_counters(self, cell: int, other: int) -> list[int]:
        """The counters that can be used from both cells' rooms; measured once a pair of rooms."""
        key = (self.room_of[cell], self.room_of[other])
        found = self._shared.get(key)
        if found is None:
            found = [
                tile
                for tile in self.tiles("X")
                if self.ways_to[tile][cell] < FAR and self.ways_to[tile][other] < FAR
            ]
            self._shared[key] = found
        return found

    @cached_property
    def _shared(self) -> dict[tuple[int, int], list[int]]:
        return {}

    def loops(self, cell: int) -> tuple[int, int]:
        """Steps from onions to a pot, and from dishes over a pot to a window, in the cell's room.

        `FAR` where the room alone has no such way.
        """
        room = self.room_of[cell]
        found = self._loops.get(room)
        if found is None:
            cells = [other for other in self.floor if self.room_of[other] == room]
            legs = self._leg("D", "P", cells), self._leg("P", "S", cells)
            found = self._loops[room] = (
                self._leg("O", "P", cells),
                min(FAR, sum(legs)),
            )
        return found

    @cached_property
    def _loops(self) -> dict[int, tuple[int, int]]:
        return {}

    def _leg(self, start: str, end: str, cells: Sequence[int]) -> int:
        return min(
            (
                self.ways_to[goal][cell]
                for tile in self.tiles(start)
                for cell, _ in self.beside[tile]
                if cell in cells
                for goal in self.tiles(end)
                if self.ways_to[goal][cell] < FAR
            ),
            default=FAR,
        )

    def at(self, tile: int) -> tuple[int, int]:
        """The tile's x and y."""
        return tile % self.width, tile // self.width

    def rows(self) -> list[str]:
        """The grid as text, seats included."""
        symbols = list(self.terrain)
        for seat, cell in enumerate(self.starts):
            symbols[cell] = str(seat + 1)
        text = "".join(symbols)
        return [text[y * self.width : (y + 1) * self.width] for y in range(self.height)]

    def rooms(self, tile: int) -> frozenset[int]:
        """The rooms whose cooks can use the tile: cells joined by floor bear one number."""
        return frozenset(self.room_of[cell] for cell, _ in self.beside[tile])

    @cached_property
    def room_of(self) -> Mapping[int, int]:
        """floor cell -> the lowest cell that it is joined to."""
        room: dict[int, int] = {}
        for cell in self.floor:
            if cell not in room:
                steps = self.walk_from((cell,))
                room.update({other: cell for other in self.floor if steps[other] < FAR})
        return room

    @cached_property
    def deliverable(self) -> bool:
        """Whether the two cooks together can bring a soup to a window, over counters if need be.

        Looks at who can reach what; not at whether one cook stands in the other's only way.
        """
        mine = frozenset(self.room_of[cell] for cell in self.starts)
        shared = any(mine <= self.rooms(tile) for tile in self.tiles("X"))

        def within(symbol: str) -> frozenset[int]:
            """The cooks' rooms that get what the tiles with that symbol give or take."""
            near = mine & frozenset().union(*map(self.rooms, self.tiles(symbol)))
            return mine if near and shared else near

        onions, dishes, windows = within("O"), within("D"), within("S")
        return any(
            self.rooms(pot) & onions and self.rooms(pot) & dishes & windows
            for pot in self.tiles("P")
        )

    def drawn_starts(self, rng: random.Random) -> tuple[int, int]:
        """Two different start cells, each in the room where the layout seats that cook."""
        cells = [
            [cell for cell in self.floor if self.room_of[cell] == self.room_of[start]]
            for start in self.starts
        ]
        first = rng.choice(cells[0])
        return first, rng.choice([cell for cell in cells[1] if cell != first])
