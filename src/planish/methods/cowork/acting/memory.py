"""What an agent remembers from tick to tick: of its own way, and of what its partner did.

memory = Memory()
memory.update(kitchen, seat)        once a tick, before anything is decided
memory.action = action              what was decided
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planish.methods.cowork.kitchen.layouts import FAR
from planish.methods.cowork.kitchen.simulator import NOTHING, STAY, Kitchen

__all__ = ["Memory"]


@dataclass
class Memory:
    """What an agent carries from tick to tick.

    Attributes:
        blocked: ticks in a row in which it wanted to walk and did not get on.
        partner_still: ticks since the partner last did anything that shows.
        waited: ticks it has stood waiting for the partner's supplies since the last one came.
        stuck: ticks since the agent's own cell or hands last changed.
        pushed: ticks in which the partner stood before it and faced it, since its cell last
            changed; in between the partner may have stepped back.
        around_until: the tick until which it walks around a partner that does not give way.
        laid: counter -> the tick at which the agent laid something there for its partner.
    """

    blocked: int = 0
    partner_still: int = 0
    waited: int = 0
    stuck: int = 0
    pushed: int = 0
    around_until: int = 0
    laid: dict[int, int] = field(default_factory=dict)
    action: int = STAY
    cell: int = -1
    held: int = NOTHING
    partner: tuple[int, int, int] = (-1, -1, -1)
    on: list[int] = field(default_factory=list)

    def update(self, kitchen: Kitchen, seat: int) -> None:
        """Compares the kitchen with what was last seen."""
        other = 1 - seat
        cell, held = kitchen.cells[seat], kitchen.held[seat]
        partner = (kitchen.cells[other], kitchen.facing[other], kitchen.held[other])
        if self.cell >= 0:
            layout = kitchen.layout
            wanted = layout.ahead[self.cell][self.action] if self.action < STAY else -1
            walked = wanted >= 0 and layout.terrain[wanted] == " "
            self.blocked = self.blocked + 1 if walked and cell == self.cell else 0
            moved = cell != self.cell or held != self.held
            self.stuck = 0 if moved else self.stuck + 1
            self.partner_still = 0 if partner != self.partner else self.partner_still + 1
            self._watch_supplies(kitchen, seat, partner)
        if cell != self.cell:
            self.pushed = 0
        self.pushed += kitchen.layout.ahead[partner[0]][partner[1]] == cell
        self.cell, self.held, self.partner = cell, held, partner
        self.on = kitchen.on.copy()

    def _watch_supplies(self, kitchen: Kitchen, seat: int, partner: tuple[int, int, int]) -> None:
        if self.partner[2] != NOTHING and partner[2] == NOTHING:
            cell, facing = partner[0], partner[1]
            tile = kitchen.layout.ahead[cell][facing]
            laid = kitchen.on[tile] != NOTHING and self.on[tile] == NOTHING
            if laid and kitchen.layout.ways_to[tile][kitchen.cells[seat]] < FAR:
                self.waited = 0
