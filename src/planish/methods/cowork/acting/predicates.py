"""The predicates that a library's conditions may name. Each reads a `View`, none changes it.

>>> PREDICATES["holding"].arity
1
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import FAR
from planish.methods.cowork.kitchen.simulator import DISH, NOTHING, ONION, SOUP

__all__ = ["PREDICATES", "THINGS", "Predicate"]

THINGS = {"nothing": NOTHING, "onion": ONION, "dish": DISH, "soup": SOUP}
"""Name -> code of what a predicate may be asked about."""


@dataclass(frozen=True)
class Predicate:
    """A named test.

    Args:
        arity: arguments after the view: a thing, a whole number or a parameter's id.
        doc: one line for people and for models that write patches.
    """

    name: str
    arity: int
    doc: str
    test: Callable[..., bool]


PREDICATES: dict[str, Predicate] = {}


def _predicate(arity: int) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    def register(test: Callable[..., bool]) -> Callable[..., bool]:
        doc = " ".join((test.__doc__ or "").split())
        PREDICATES[test.__name__] = Predicate(test.__name__, arity, doc, test)
        return test

    return register


@_predicate(1)
def holding(view: View, thing: int) -> bool:
    """I hold such a thing (nothing: my hands are empty)."""
    return view.held == thing


@_predicate(1)
def partner_holds(view: View, thing: int) -> bool:
    """My partner holds such a thing."""
    return view.partner_held == thing


@_predicate(1)
def wanted(view: View, thing: int) -> bool:
    """Somebody should bring one: a pot lacks onions, a soup lacks its dish, a soup lies about."""
    if thing == ONION:
        return view.onions_wanted > 0
    if thing == DISH:
        return view.dishes_wanted > 0
    return thing == SOUP and bool(view.lying[SOUP])


@_predicate(1)
def can_get(view: View, thing: int) -> bool:
    """I can walk to one that is not laid out for my partner."""
    return view.best_source(thing, view.cell)[0] >= 0


@_predicate(0)
def has_use(view: View) -> bool:
    """What I hold is of use now, to someone: a pot lacks it, a soup cooks, a soup is served."""
    if view.held == ONION:
        return bool(view.needs)
    if view.held == DISH:
        return bool(view.started or view.full)
    return view.held == SOUP


@_predicate(0)
def can_use(view: View) -> bool:
    """I can walk to where what I hold is of use now."""
    if view.held == ONION:
        goals = list(view.needs)
    elif view.held == DISH:
        goals = list(view.started)
    else:
        goals = list(view.layout.tiles("S")) if view.held == SOUP else []
    return view.nearest(goals, view.cell)[1] < FAR


@_predicate(0)
def can_ever_use(view: View) -> bool:
    """I can walk to a place of the kind that what I hold is for."""
    symbol = "S" if view.held == SOUP else "P"
    return view.nearest(list(view.layout.tiles(symbol)), view.cell)[1] < FAR


@_predicate(0)
def can_cook(view: View) -> bool:
    """I can walk to a pot."""
    return view.nearest(list(view.kitchen.pots), view.cell)[1] < FAR


@_predicate(0)
def pot_to_start(view: View) -> bool:
    """A pot that I can walk to is full and not started."""
    return view.nearest(view.full, view.cell)[1] < FAR


@_predicate(1)
def nearer(view: View, thing: int) -> bool:
    """Fetching such a thing is my part: my way is the shorter, or my partner has its hands full."""
    return view.partner_held != NOTHING or closer(view, thing)


@_predicate(1)
def closer(view: View, thing: int) -> bool:
    """My way to such a thing is the shorter, whatever we hold; at a tie it is seat 0's."""
    if not view.partner_active:
        return True
    mine = view.best_source(thing, view.cell)[1]
    theirs = view.best_source(thing, view.partner_cell)[1]
    return mine < theirs or (mine == theirs and view.seat == 0)


@_predicate(0)
def starts_nearer(view: View) -> bool:
    """Starting the full pot is my part: no free partner has a shorter way to it."""
    if view.partner_held != NOTHING or not view.partner_active:
        return True
    mine = view.nearest(view.full, view.cell)[1]
    theirs = view.nearest(view.full, view.partner_cell)[1]
    return mine < theirs or (mine == theirs and view.seat == 0)


@_predicate(2)
def at_least(view: View, thing: int, count: float) -> bool:
    """The pots lack at least so many onions, or so many soups their dish, the partner's aside."""
    lacking = view.onions_wanted if thing == ONION else view.dishes_wanted
    return lacking >= count


@_predicate(1)
def hand_over_saves(view: View, steps: float) -> bool:
    """Laying what I hold on a counter for my partner saves at least so many steps."""
    return view.hand_over[1] >= steps


@_predicate(0)
def can_hand_over(view: View) -> bool:
    """A bare counter is within reach of both of us, on my partner's way to where it is for."""
    return view.hand_over[0] >= 0


@_predicate(2)
def stocked(view: View, thing: int, count: float) -> bool:
    """At least so many of them lie where my partner can take them."""
    return view.stock(thing) >= count


@_predicate(1)
def blocked_for(view: View, ticks: float) -> bool:
    """I have wanted to walk on for so many ticks and could not."""
    return view.memory.blocked >= ticks


@_predicate(1)
def stuck_for(view: View, ticks: float) -> bool:
    """Neither my cell nor my hands have changed for so many ticks."""
    return view.memory.stuck >= ticks


@_predicate(1)
def partner_still_for(view: View, ticks: float) -> bool:
    """My partner has done nothing that shows for so many ticks."""
    return view.memory.partner_still >= ticks


@_predicate(1)
def pushed_for(view: View, ticks: float) -> bool:
    """My partner has stood facing me for so many ticks since I came here, in a row or not."""
    return view.memory.pushed >= ticks


@_predicate(0)
def gives_way(view: View) -> bool:
    """Of us two I am to step aside: only I have room to, or what I hold is less urgent; seats."""
    return view.gives_way


@_predicate(1)
def partner_within(view: View, steps: float) -> bool:
    """My partner is at most so many steps away."""
    return view.layout.ways[view.cell][view.partner_cell] <= steps


@_predicate(1)
def trusts_supply(view: View, patience: float) -> bool:
    """My partner brings me things, or I have not yet waited so many ticks in vain."""
    return view.memory.waited < patience


@_predicate(1)
def partner_supplies(view: View, thing: int) -> bool:
    """It would pay if my partner laid such a thing on a counter for me, and none lies there yet."""
    if any(not view.is_laid_out(tile, view.cell) for tile in view.at_hand(thing)):
        return False
    return view.supply_of(thing)[0] >= 0


@_predicate(1)
def suited(view: View, thing: int) -> bool:
    """Bringing such things is not rather my partner's part, by the ways that each of us has."""
    return view.advantage(thing) >= 0 or not view.partner_active


@_predicate(0)
def in_the_way(view: View) -> bool:
    """I stand where my partner seems to be going."""
    return view.cell in view.partner_way


@_predicate(1)
def room_to_lay(view: View, count: float) -> bool:
    """At least so many bare counters are within reach of both of us."""
    return len(view.shared) >= count
