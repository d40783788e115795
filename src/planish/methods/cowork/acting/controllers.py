"""The controllers that a library's operators may name: each turns a `View` into one action.

A controller answers None where there is nothing it can do; the agent then goes on with another
method. What one of them must keep for later ticks goes into the
view's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from planish.methods.cowork.acting.predicates import THINGS
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import FAR
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    INTERACT,
    NOTHING,
    ONION,
    SOUP,
    STAY,
)

__all__ = ["CONTROLLERS", "Controller", "sidestep", "use"]


@dataclass(frozen=True)
class Controller:
    """A named way of acting.

    Args:
        args: argument -> what it may be.
        doc: one line for people and for models that write patches.
    """

    name: str
    args: Mapping[str, Collection[str]]
    doc: str
    act: Callable[..., int | None]


CONTROLLERS: dict[str, Controller] = {}
_TAKEN = ("onion", "dish", "soup")


def _controller(
    **args: Collection[str],
) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    def register(act: Callable[..., int | None]) -> Callable[..., int | None]:
        name = act.__name__.rstrip("_")
        doc = " ".join((act.__doc__ or "").split())
        CONTROLLERS[name] = Controller(name, args, doc, act)
        return act

    return register


@_controller(thing=_TAKEN)
def take(view: View, thing: str) -> int | None:
    """Walk to the best source of the thing and take one."""
    if view.held != NOTHING:
        return None
    tile, _ = view.best_source(THINGS[thing], view.cell)
    return use(view, tile)


@_controller()
def put(view: View) -> int | None:
    """Walk to the pot that lacks fewest onions and put mine in."""
    if view.held != ONION:
        return None
    best, cost = -1, float(FAR)
    for pot, lacking in view.needs.items():
        steps = view.layout.ways_to[pot][view.cell]
        if steps < FAR and steps + 4 * lacking < cost:
            best, cost = pot, steps + 4 * lacking
    return use(view, best)


@_controller()
def start(view: View) -> int | None:
    """Walk to a full pot and start it."""
    if view.held != NOTHING:
        return None
    return use(view, view.nearest(view.full, view.cell)[0])


@_controller()
def plate(view: View) -> int | None:
    """Walk to the pot whose soup is done first, wait there, and take the soup."""
    if view.held != DISH:
        return None
    best, done = -1, FAR
    for pot, left in view.started.items():
        steps = view.layout.ways_to[pot][view.cell]
        if steps < FAR and max(steps + 1, left) < done:
            best, done = pot, max(steps + 1, left)
    if best < 0:
        return None
    action = use(view, best)
    return STAY if action == INTERACT and view.started[best] else action


@_controller()
def serve(view: View) -> int | None:
    """Walk to the nearest serving window and deliver."""
    if view.held != SOUP:
        return None
    return use(view, view.nearest(list(view.layout.tiles("S")), view.cell)[0])


@_controller()
def hand_over(view: View) -> int | None:
    """Lay what I hold on the counter that shortens its way most."""
    if view.held == NOTHING:
        return None
    tile, _ = view.hand_over
    action = use(view, tile)
    if action == INTERACT:
        view.memory.laid[tile] = view.kitchen.tick
    return action


@_controller()
def set_down(view: View) -> int | None:
    """Lay what I hold on the nearest bare counter that is not one of the few we share."""
    if view.held == NOTHING:
        return None
    bare = [tile for tile in view.layout.tiles("X") if not view.kitchen.on[tile]]
    few = set(view.shared) if len(view.shared) <= 4 else set()
    tile, steps = view.nearest([tile for tile in bare if tile not in few], view.cell)
    if steps >= FAR:
        tile, steps = view.nearest(bare, view.cell)
    return use(view, tile)


@_controller(thing=_TAKEN)
def await_(view: View, thing: str) -> int | None:
    """Go to the counter that my partner would lay the thing on, and wait there."""
    tile, _ = view.supply_of(THINGS[thing])
    if tile < 0:
        return None
    view.memory.waited += 1
    action = use(view, tile)
    return STAY if action == INTERACT else action


@_controller()
def stand_by(view: View) -> int | None:
    """Go beside the pot that will need me next, and wait there."""
    pots = list(view.started) or list(view.kitchen.pots)
    tile, steps = view.nearest(pots, view.cell)
    if steps >= FAR:
        return STAY
    action = use(view, tile)
    if action is not None and action < STAY and steps > 0:
        ahead = view.layout.ahead[view.cell][action]
        if ahead == view.partner_cell or ahead in view.partner_way:
            return STAY
    return STAY if action == INTERACT else action


@_controller()
def step_aside(view: View) -> int | None:
    """Leave the way that my partner is taking, by the shortest walk that does not cross it."""
    return sidestep(view)


@_controller()
def stay(view: View) -> int | None:
    """Do nothing for a tick."""
    return STAY


def use(view: View, tile: int) -> int | None:
    """The next action towards using a tile: a step, a turn, or the interaction itself."""
    if tile < 0:
        return None
    layout, cell = view.layout, view.cell
    steps = layout.ways_to[tile]
    if steps[cell] >= FAR:
        return None
    if steps[cell] == 0:
        direction = next(facing for beside, facing in layout.beside[tile] if beside == cell)
        return INTERACT if view.facing == direction else direction
    if view.turns_aside:
        around = view.steps_around(tile)
        if around[cell] - steps[cell] <= view.value("detour", 0):
            steps = around
    best, fewest = STAY, steps[cell]
    for direction, next_cell in layout.moves[cell]:
        if steps[next_cell] < fewest:
            best, fewest = direction, steps[next_cell]
    return best


def sidestep(view: View) -> int | None:
    """One step towards the nearest cell off the partner's way; stay where one is off it.

    A cook without a way out turns to the partner that stands in it, which shows what it wants.
    """
    layout = view.layout
    if view.cell not in view.partner_way:
        return STAY
    refuge, _ = view.my_refuge
    if refuge >= 0:
        back = layout.walk_past(refuge, *view.shunned)
        for direction, after in layout.moves[view.cell]:
            if after not in view.shunned and back[after] < back[view.cell]:
                return direction
    options = [
        (layout.ways[after][view.partner_cell], direction)
        for direction, after in layout.moves[view.cell]
    ]
    return max(options)[1] if options else STAY
