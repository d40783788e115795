"""A kitchen at one tick, put together by hand, as one of its cooks sees it.

view = scene("cramped_room", me=(1, 1), you=(3, 2), held="onion", pots={(2, 0): (2, -1)})
truth(view, "!wanted(dish)")
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import load_layout, parse_layout, shipped_layouts
from planish.methods.cowork.kitchen.simulator import NORTH, NOTHING, Kitchen
from planish.methods.cowork.skills import load_library, read_call

LANE = "XXXXXXX\nO 1 2 P\nXDXXXSX\n"
"""One row of floor: two cooks can never pass each other."""

BAY = "XXDXXXX\nO 1 2 P\nXXX XSX\nXXXXXXX\n"
"""The same with a cell to step aside into, south of the middle."""

Place = tuple[int, int]


def scene(
    plan: str,
    *,
    seat: int = 0,
    me: Place | None = None,
    you: Place | None = None,
    held: str = "nothing",
    theirs: str = "nothing",
    facing: int = NORTH,
    they_face: int = NORTH,
    on: Mapping[Place, str] | None = None,
    pots: Mapping[Place, tuple[int, int]] | None = None,
    values: Mapping[str, float] | None = None,
    old: bool = False,
    tick: int = 0,
    **memory: Any,
) -> View:
    """What the cook `me` in that seat sees.

    Args:
        plan: a shipped layout's name, or a grid.
        on: counter -> what lies there.
        pots: pot -> (onions, ticks cooked or -1).
        memory: fields of `Memory`.
    """
    layout = load_layout(plan) if "\n" not in plan else parse_layout(plan, name="p", where="p")

    def tile(place: Place) -> int:
        return place[1] * layout.width + place[0]

    places = {seat: me, 1 - seat: you}
    starts = [
        layout.starts[each] if (place := places[each]) is None else tile(place) for each in (0, 1)
    ]
    kitchen = Kitchen(layout, starts=starts, old_dynamics=old)
    kitchen.tick = tick
    kitchen.held[seat], kitchen.held[1 - seat] = THINGS[held], THINGS[theirs]
    kitchen.facing[seat], kitchen.facing[1 - seat] = facing, they_face
    for place, thing in (on or {}).items():
        kitchen.on[tile(place)] = THINGS[thing]
    for place, (onions, cooked) in (pots or {}).items():
        kitchen.onions[tile(place)], kitchen.cooked[tile(place)] = onions, cooked
    return View(kitchen, seat, Memory(**memory), dict(values or {}))


def truth(view: View, condition: str) -> bool:
    """Whether a condition holds, its arguments read as an agent reads them."""
    call = read_call(condition)
    args = [
        float(arg) if arg.isdigit() else THINGS[arg] if arg in THINGS else view.values[arg]
        for arg in call.args
    ]
    found = PREDICATES[call.name].test(view, *args)
    assert isinstance(found, bool)
    return found is not call.negated


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Every controller with every argument that it takes."""
    return [
        (name, dict(zip(controller.args, values, strict=True)))
        for name, controller in sorted(CONTROLLERS.items())
        for values in _choices(list(controller.args.values()))
    ]


def _choices(allowed: list[Any]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [()]
    for values in allowed:
        found = [(*each, value) for each in found for value in values]
    return found


@st.composite
def played(draw: st.DrawFn) -> View:
    """A cook in a shipped kitchen in which both did something or other for a while."""
    layout = load_layout(draw(st.sampled_from(shipped_layouts())))
    kitchen = Kitchen(layout)
    seat = draw(st.integers(0, 1))
    memory = Memory()
    random = draw(st.randoms(use_true_random=False))
    for _ in range(draw(st.integers(0, 80))):
        memory.update(kitchen, seat)
        joint = [random.choice((0, 1, 2, 3, 4, 5, 5, 5)) for _ in (0, 1)]
        memory.action = joint[seat]
        kitchen.step(*joint)
    for each in (0, 1):  # by chance alone hands are seldom full of a soup
        kitchen.held[each] = draw(st.sampled_from([kitchen.held[each], *range(NOTHING, 6)]))
    memory.update(kitchen, seat)
    values = draw(st.sampled_from([{}, load_library("full").values]))
    return View(kitchen, seat, memory, values)
