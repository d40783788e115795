"""What one agent sees of the kitchen at one tick.

    view = View(kitchen, seat, memory, library.values)
    view.best_source(ONION, view.cell)          (tile, steps)

Everything is measured when it is first asked for and kept for the tick. Distances are steps over
free floor; the partner stands in the way only where `steps_around` is asked.
"""

from __future__ import annotations

from functools import cached_property

from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.kitchen.layouts import FAR, Layout
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    NOTHING,
    ONION,
    SOUP,
    Kitchen,
)

__all__ = ["View"]


class View:
    """One agent's reading of one tick.

    Args:
        values: the library's parameters.
    """

    def __init__(
        self, kitchen: Kitchen, seat: int, memory: Memory, values: dict[str, float]
    ) -> None:
        self.kitchen = kitchen
        self.layout: Layout = kitchen.layout
        self.seat = seat
        self.memory = memory
        self.values = values
        self.cell = kitchen.cells[seat]
        self.facing = kitchen.facing[seat]
        self.held = min(kitchen.held[seat], SOUP)
        self.partner_cell = kitchen.cells[1 - seat]
        self.partner_held = min(kitchen.held[1 - seat], SOUP)

    def value(self, name: str, default: float) -> float:
        """A parameter of the library, or the default where the library has none."""
        return self.values.get(name, default)

    # ---- the partner

    @cached_property
    def partner_active(self) -> bool:
        """Whether what the partner holds or does may be counted on."""
        return self.memory.partner_still <= self.value("claim_ttl", 0)

    def partner_brings(self, thing: int) -> bool:
        """Whether the partner carries such a thing and is on its way with it."""
        return self.partner_held == thing and self.partner_active

    @property
    def is_less_urgent(self) -> bool:
        """Whether what I hold can wait sooner than what my partner holds; at a tie seat 1 waits."""
        mine, theirs = self.held, self.partner_held
        return mine < theirs or (mine == theirs and self.seat == 1)

    @cached_property
    def turns_aside(self) -> bool:
        """Whether it is me who walks around the other: were it both, they would meet again.

        What a cook holds decides, seats at a tie. A partner who stands there all the same is
        walked around for a while.
        """
        if self.is_less_urgent:
            return True
        memory = self.memory
        if memory.blocked >= self.value("yield_after", FAR) or not self.partner_active:
            memory.around_until = self.kitchen.tick + 8
        return self.kitchen.tick < memory.around_until

    # ---- the pots

    @cached_property
    def target(self) -> int:
        """Onions in a soup worth cooking; where pots start by themselves, a full one."""
        return self.layout.worth(self.kitchen.old_dynamics)

    @cached_property
    def needs(self) -> dict[int, int]:
        """Pot -> onions it can take now, before it is worth starting."""
        kitchen = self.kitchen
        return {
            pot: self.target - kitchen.onions[pot]
            for pot in kitchen.pots
            if kitchen.cooked[pot] < 0 and kitchen.onions[pot] < self.target
        }

    @cached_property
    def full(self) -> list[int]:
        """Pots that wait to be started."""
        kitchen = self.kitchen
        if kitchen.old_dynamics:
            return []
        return [
            pot
            for pot in kitchen.pots
            if kitchen.cooked[pot] < 0 and kitchen.onions[pot] >= self.target
        ]

    @cached_property
    def started(self) -> dict[int, int]:
        """Pot -> ticks until its soup can be taken."""
        kitchen = self.kitchen
        return {pot: kitchen.remaining(pot) for pot in kitchen.pots if kitchen.cooked[pot] >= 0}

    @cached_property
    def onions_wanted(self) -> int:
        """Onions that the pots lack, those soon to be emptied included, less what is on its way."""
        ahead = self.value("onions_ahead", 0)
        count = sum(self.needs.values())
        count += sum(self.target for left in self.started.values() if left < ahead)
        return count - self.partner_brings(ONION) - self.laid_out(ONION)

    @cached_property
    def dishes_wanted(self) -> int:
        """Soups that are due within the library's lead and lack a dish, less what is on its way.

        A pot that is still being filled is due after its cooking and some eight ticks an onion;
        while onions are lacking nobody should stand about with a dish for it.
        """
        ahead = self.value("dishes_ahead", 0)
        count = sum(left <= ahead for left in self.started.values())
        cooking = self.layout.recipes[self.target].ticks
        filled = sum(self.needs.values()) <= self.partner_brings(ONION) + self.laid_out(ONION)
        count += filled * sum(
            cooking + 8 * max(0, self.target - self.kitchen.onions[pot]) <= ahead
            for pot in self.kitchen.pots
            if pot not in self.started
        )
        return count - self.partner_brings(DISH) - self.laid_out(DISH)

    # ---- where things come from and go to

    @cached_property
    def lying(self) -> dict[int, list[int]]:
        """ONION, DISH or SOUP -> the counters that one lies on."""
        found: dict[int, list[int]] = {ONION: [], DISH: [], SOUP: []}
        for tile in self.layout.tiles("X"):
            thing = self.kitchen.on[tile]
            if thing:
                found[min(thing, SOUP)].append(tile)
        return found

    def sources(self, thing: int) -> list[int]:
        """Tiles that such a thing can be taken from."""
        if thing == ONION:
            return [*self.layout.tiles("O"), *self.lying[ONION]]
        if thing == DISH:
            return [*self.layout.tiles("D"), *self.lying[DISH]]
        return self.lying[SOUP]

    def goals(self, thing: int) -> list[int]:
        """Tiles that such a thing is for, as things stand; where none is, those it will be for."""
        if thing == SOUP:
            return list(self.layout.tiles("S"))
        if thing == DISH:
            return list(self.started) or self.full or list(self.kitchen.pots)
        return list(self.needs) or list(self.kitchen.pots)

    def nearest(self, tiles: list[int], cell: int) -> tuple[int, int]:
        """(tile, steps) of the nearest, (-1, FAR) where there is no way to any."""
        best, steps = -1, FAR
        for tile in tiles:
            way = self.layout.ways_to[tile][cell]
            if way < steps:
                best, steps = tile, way
        return best, steps

    def between(self, tile: int, goals: list[int], reach: int) -> int:
        """Steps from beside `tile` to the nearest goal, on the side that `reach` can walk to."""
        layout, best = self.layout, FAR
        for cell, _ in layout.beside[tile]:
            if layout.ways[reach][cell] < FAR:
                for goal in goals:
                    best = min(best, layout.ways_to[goal][cell])
        return best

    def over(self, tile: int, goals: list[int], cell: int) -> int:
        """Steps from the cell by way of `tile` to the nearest goal."""
        layout, best = self.layout, FAR
        for beside, _ in layout.beside[tile]:
            way = layout.ways[cell][beside]
            if way < FAR:
                for goal in goals:
                    best = min(best, way + layout.ways_to[goal][beside])
        return best

    def best_source(self, thing: int, cell: int) -> tuple[int, int]:
        """The source with the shortest way over it to where the thing is for.

        What already lies at hand is taken where the goal is out of reach too.
        """
        goals = self.goals(thing)
        best, steps = -1, FAR
        for tile in self.sources(thing):
            way = self.layout.ways_to[tile][cell]
            if way >= FAR or self.is_laid_out(tile, cell):
                continue
            onward = self.between(tile, goals, cell)
            total = way + (onward if onward < FAR else self.layout.width + self.layout.height)
            if total < steps:
                best, steps = tile, total
        return best, steps

    def laid_out(self, thing: int) -> int:
        """How many such things lie on counters for the partner to take."""
        return sum(self.is_laid_out(tile, self.cell) for tile in self.at_hand(thing))

    def is_laid_out(self, tile: int, cell: int) -> bool:
        """Whether a thing on this counter lies there for the cook on the other side."""
        if self.layout.terrain[tile] != "X" or cell != self.cell:
            return False
        laid = self.memory.laid.get(tile)
        if laid is not None and self.kitchen.tick - laid < self.value("patience", 0):
            return True
        return self.between(tile, self.goals(min(self.kitchen.on[tile], SOUP)), cell) >= FAR

    # ---- who is made for what

    def advantage(self, thing: int) -> int:
        """By how many steps a round this chore, against the other, suits me more than my partner.

        0 where both walk the same floor, or where a chore takes both of us.
        """
        mine = self.layout.loops(self.cell)
        theirs = self.layout.loops(self.partner_cell)
        if max(*mine, *theirs) >= FAR:
            return 0
        gain = (mine[1] - mine[0]) - (theirs[1] - theirs[0])
        return gain if thing == ONION else -gain

    # ---- handing over

    @cached_property
    def shared(self) -> list[int]:
        """Bare counters that both cooks can use."""
        return [tile for tile in self.shared_any if not self.kitchen.on[tile]]

    @cached_property
    def hand_over(self) -> tuple[int, int]:
        """(counter, steps it saves) of the best hand-over of what is held; (-1, -FAR): none."""
        goals = self.goals(self.held)
        _, direct = self.nearest(goals, self.cell)
        best, saved = -1, -FAR
        for tile in self.shared:
            onward = self.over(tile, goals, self.partner_cell)
            if onward >= FAR:
                continue
            gain = direct - self.layout.ways_to[tile][self.cell] - onward
            if gain > saved:
                best, saved = tile, gain
        return best, saved

    def at_hand(self, thing: int) -> list[int]:
        """Counters that I can walk to and that such a thing lies on."""
        ways_to, cell = self.layout.ways_to, self.cell
        return [tile for tile in self.lying[thing] if ways_to[tile][cell] < FAR]

    def stock(self, thing: int) -> int:
        """How many such things lie on counters that the partner can use."""
        ways_to, cell = self.layout.ways_to, self.partner_cell
        return sum(ways_to[tile][cell] < FAR for tile in self.lying[thing])

    def supply_of(self, thing: int) -> tuple[int, int]:
        """(counter, steps saved) where the partner would lay such a thing for this agent."""
        found = self._supplies.get(thing)
        if found is None:
            found = self._supplies[thing] = self._supply_of(thing)
        return found

    def _supply_of(self, thing: int) -> tuple[int, int]:
        layout, best, saved = self.layout, -1, 0
        goals = self.goals(thing)
        for source in self.sources(thing):
            theirs = layout.ways_to[source][self.partner_cell]
            if theirs >= FAR:
                continue
            mine = layout.ways_to[source][self.cell]
            direct = self.between(source, goals, self.partner_cell)
            for tile in self.shared_any:
                carried = self.between(source, [tile], self.partner_cell)
                onward = self.between(tile, goals, self.cell)
                gain = direct - carried - onward
                if onward < FAR and mine > theirs and gain > saved:
                    best, saved = tile, gain
        return (best, saved) if saved >= self.value("hand_over_gain", 1) else (-1, 0)

    @cached_property
    def _supplies(self) -> dict[int, tuple[int, int]]:
        return {}

    @cached_property
    def shared_any(self) -> list[int]:
        """Counters that both cooks can use, bare or not."""
        return self.layout.shared_counters(self.cell, self.partner_cell)

    # ---- walking

    @cached_property
    def partner_ahead(self) -> int:
        """The floor cell that the partner faces; -1 where it faces a tile."""
        ahead = self.layout.ahead[self.partner_cell][self.kitchen.facing[1 - self.seat]]
        return ahead if self.layout.terrain[ahead] == " " else -1

    @cached_property
    def partner_way(self) -> list[int]:
        """The cells of the partner's guessed way, from the one it stands on.

        Where it faces the agent it wants through, whatever it was thought to be about.
        """
        way = self._way(self.partner_cell, self._errand(self.partner_held))
        if self.partner_ahead == self.cell and self.cell not in way:
            return [self.partner_cell, self.cell]
        return way

    @cached_property
    def my_way(self) -> list[int]:
        """The cells of the agent's own way, guessed as its partner would."""
        return self._way(self.cell, self._errand(self.held))

    def _errand(self, held: int) -> list[int]:
        """Tiles that a cook who holds such a thing seems to be going to."""
        if held != NOTHING:
            return self.goals(held)
        return self.full or self.sources(DISH if self.dishes_wanted > 0 else ONION)

    def _way(self, cell: int, goals: list[int]) -> list[int]:
        layout, way = self.layout, [cell]
        goal, steps = self.nearest(goals, cell)
        while goal >= 0 and 0 < steps < FAR:
            cell = next(
                after for _, after in layout.moves[cell] if layout.ways_to[goal][after] < steps
            )
            steps -= 1
            way.append(cell)
        return way

    def refuge(self, cell: int, way: list[int], without: tuple[int, ...]) -> tuple[int, int]:
        """(cell, steps) of the nearest cell off a way, reached over none of the cells `without`."""
        steps = self.layout.walk_past(cell, *without)
        best, fewest = -1, FAR
        for place in self.layout.floor:
            if steps[place] < fewest and place not in way:
                best, fewest = place, steps[place]
        return best, fewest

    @cached_property
    def my_refuge(self) -> tuple[int, int]:
        """Where the agent can let its partner pass; not over a cell that it is about to enter."""
        return self.refuge(self.cell, self.partner_way, self.shunned)

    @cached_property
    def partner_refuge(self) -> tuple[int, int]:
        """Where the partner could let the agent pass."""
        return self.refuge(self.partner_cell, self.my_way, (self.cell,))

    @cached_property
    def shunned(self) -> tuple[int, ...]:
        """The partner's cell and the one it faces, unless that is where the agent stands."""
        if self.partner_ahead in (-1, self.cell):
            return (self.partner_cell,)
        return (self.partner_cell, self.partner_ahead)

    @cached_property
    def gives_way(self) -> bool:
        """Whether it is for me to step aside: who has no room cannot; then what is held; seats."""
        if (self.my_refuge[0] < 0) != (self.partner_refuge[0] < 0):
            return self.my_refuge[0] >= 0
        return self.is_less_urgent

    def steps_around(self, tile: int) -> tuple[int, ...]:
        """cell -> steps to beside the tile without crossing the partner's cell."""
        return self.layout.around(tile, self.partner_cell)
