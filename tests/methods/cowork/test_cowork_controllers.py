"""Every controller: what it does where, and that each way it takes is as short as it can be."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from planish.methods.cowork.acting.controllers import sidestep, use
from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.registry import CONTROLLERS
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import FAR, load_layout, shipped_layouts
from planish.methods.cowork.kitchen.simulator import (
    EAST,
    INTERACT,
    NORTH,
    ONION,
    SOUTH,
    STAY,
    WEST,
    Kitchen,
)
from support.scenes import BAY, LANE, calls, played, scene

ROOM, TWO_ROOMS, RING = "cramped_room", "forced_coordination", "coordination_ring"
POT = (2, 0)  # of the cramped room
LEFT, RIGHT = {"seat": 1, "me": (1, 1)}, {"seat": 0, "me": (3, 2)}
GAIN = {"values": {"hand_over_gain": 4}}

TABLE = [
    ("take", "onion", INTERACT, ROOM, {"me": (1, 1), "facing": WEST}),
    ("take", "onion", WEST, ROOM, {"me": (1, 1), "facing": NORTH}),
    ("take", "onion", NORTH, ROOM, {"me": (1, 2)}),
    ("take", "onion", WEST, ROOM, {"me": (2, 1), "you": (3, 2)}),
    ("take", "onion", None, ROOM, {"me": (1, 1), "held": "dish"}),
    ("take", "onion", None, TWO_ROOMS, RIGHT),
    ("take", "onion", WEST, TWO_ROOMS, {**RIGHT, "on": {(2, 2): "onion"}}),
    ("take", "onion", EAST, ROOM, {"me": (3, 1), "you": (1, 1), "on": {(0, 2): "onion"}}),
    ("take", "dish", SOUTH, ROOM, {"me": (1, 2)}),
    ("take", "soup", None, ROOM, {}),
    ("take", "soup", WEST, ROOM, {"me": (1, 2), "on": {(0, 2): "soup"}}),
    ("put", "", INTERACT, ROOM, {"me": (2, 1), "facing": NORTH, "held": "onion"}),
    ("put", "", None, ROOM, {"me": (2, 1), "facing": NORTH}),
    ("put", "", None, ROOM, {"me": (2, 1), "held": "onion", "pots": {POT: (3, -1)}}),
    ("put", "", EAST, RING, {"me": (3, 1), "held": "onion", "pots": {(4, 1): (2, -1)}}),
    ("put", "", NORTH, RING, {"me": (3, 1), "held": "onion", "facing": EAST}),
    ("start", "", INTERACT, ROOM, {"me": (2, 1), "pots": {POT: (3, -1)}}),
    ("start", "", EAST, ROOM, {"me": (1, 1), "you": (3, 2), "pots": {POT: (3, -1)}}),
    ("start", "", None, ROOM, {"me": (2, 1), "pots": {POT: (2, -1)}}),
    ("start", "", None, ROOM, {"me": (2, 1), "pots": {POT: (3, -1)}, "held": "dish"}),
    ("plate", "", INTERACT, ROOM, {"me": (2, 1), "pots": {POT: (3, 20)}, "held": "dish"}),
    ("plate", "", STAY, ROOM, {"me": (2, 1), "pots": {POT: (3, 19)}, "held": "dish"}),
    ("plate", "", NORTH, ROOM,
     {"me": (2, 1), "pots": {POT: (3, 5)}, "held": "dish", "facing": EAST}),
    ("plate", "", None, ROOM, {"me": (2, 1), "pots": {POT: (3, -1)}, "held": "dish"}),
    ("plate", "", None, ROOM, {"me": (2, 1), "pots": {POT: (3, 20)}}),
    ("plate", "", EAST, RING,
     {"me": (3, 1), "pots": {(3, 0): (3, 0), (4, 1): (3, 18)}, "held": "dish"}),
    ("serve", "", SOUTH, ROOM, {"me": (3, 2), "you": (1, 1), "held": "soup"}),
    ("serve", "", INTERACT, ROOM, {"me": (3, 2), "you": (1, 1), "held": "soup", "facing": SOUTH}),
    ("serve", "", None, ROOM, {"me": (3, 2), "you": (1, 1), "held": "dish"}),
    ("serve", "", None, TWO_ROOMS, {**LEFT, "held": "soup"}),
    ("hand_over", "", EAST, TWO_ROOMS, {**LEFT, "held": "onion"}),
    ("hand_over", "", INTERACT, TWO_ROOMS, {**LEFT, "held": "onion", "facing": EAST}),
    ("hand_over", "", None, TWO_ROOMS, LEFT),
    ("hand_over", "", None, TWO_ROOMS,
     {**LEFT, "held": "onion", "on": {(2, 1): "dish", (2, 2): "dish", (2, 3): "dish"}}),
    ("set_down", "", EAST, TWO_ROOMS, {**RIGHT, "held": "dish"}),  # not on one of the three
    ("set_down", "", WEST, TWO_ROOMS,
     {**RIGHT, "held": "dish", "on": {(4, 2): "dish", (4, 3): "dish", (2, 0): "dish"}}),
    ("set_down", "", None, TWO_ROOMS, RIGHT),
    ("await", "onion", NORTH, TWO_ROOMS, {**RIGHT, **GAIN}),
    ("await", "onion", STAY, TWO_ROOMS, {**RIGHT, **GAIN, "me": (3, 1), "facing": WEST}),
    ("await", "onion", None, TWO_ROOMS, {**LEFT, **GAIN}),
    ("await", "dish", NORTH, TWO_ROOMS, {**RIGHT, **GAIN, "me": (3, 3)}),
    ("await", "soup", None, TWO_ROOMS, {**RIGHT, **GAIN}),
    ("stand_by", "", STAY, ROOM, {"me": (2, 1), "facing": NORTH, "held": "onion"}),
    ("stand_by", "", EAST, ROOM, {"me": (1, 1), "you": (3, 2), "theirs": "soup"}),
    ("stand_by", "", STAY, ROOM, {"me": (1, 1), "you": (2, 1)}),
    ("stand_by", "", STAY, TWO_ROOMS, LEFT),
    ("stand_by", "", NORTH, RING,
     {"me": (3, 3), "you": (1, 1), "pots": {(4, 1): (3, 9)}, "theirs": "dish"}),
    ("step_aside", "", SOUTH, BAY, {"me": (3, 1), "you": (4, 1), "they_face": WEST}),
    ("step_aside", "", STAY, BAY, {"me": (3, 2), "you": (4, 1), "they_face": WEST}),
    ("step_aside", "", STAY, LANE, {"me": (4, 1), "you": (3, 1), "they_face": NORTH}),
    ("stay", "", STAY, ROOM, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "thing", "action", "plan", "how"), TABLE)
def test_a_controller_does_what_is_to_be_done(name, thing, action, plan, how):
    view = scene(plan, **how)
    assert CONTROLLERS[name].act(view, **({"thing": thing} if thing else {})) == action


def test_every_controller_is_tried():
    for acting in (True, False):
        named = {name for name, _, action, _, _ in TABLE if (action is not None) is acting}
        missing = CONTROLLERS.keys() - named
        assert missing == (set() if acting else {"stand_by", "step_aside", "stay"})
    for name, controller in CONTROLLERS.items():
        assert controller.name == name
        assert 15 < len(controller.doc) < 120


def test_what_is_laid_for_the_partner_is_not_taken_back_for_a_while():
    how = {**LEFT, "held": "onion", "facing": EAST, "tick": 7}
    view = scene(TWO_ROOMS, **how)
    assert CONTROLLERS["hand_over"].act(view) == INTERACT
    assert view.memory.laid == {view.layout.ahead[view.cell][EAST]: 7}
    turning = scene(TWO_ROOMS, **{**how, "facing": NORTH})
    CONTROLLERS["hand_over"].act(turning)
    assert turning.memory.laid == {}
    for tick, taken in ((20, False), (37, True)):
        later = scene(RING, me=(1, 1), you=(3, 3), on={(2, 2): "onion"}, tick=tick,
                      values={"patience": 30}, laid={12: 7})  # fmt: skip
        assert (later.best_source(ONION, later.cell)[0] == 12) is taken


def test_every_tick_of_waiting_counts():
    view = scene(TWO_ROOMS, **RIGHT, **GAIN)
    for _ in range(3):
        CONTROLLERS["await"].act(view, thing="onion")
    assert view.memory.waited == 3


@settings(max_examples=150)
@given(played())
def test_controllers_answer_in_any_kitchen_and_leave_it_as_it_is(view):
    before = view.kitchen.state()
    for name, args in calls():
        action = CONTROLLERS[name].act(view, **args)
        assert action is None or (type(action) is int and 0 <= action <= INTERACT)
    assert view.kitchen.state() == before


@settings(max_examples=150)
@given(played())
def test_no_controller_uses_hands_or_tile_in_vain(view):
    """An interaction that is ordered changes something, but for soups that are late."""
    for name, args in calls():
        if CONTROLLERS[name].act(view, **args) != INTERACT:
            continue
        kitchen = Kitchen(view.layout, starts=view.kitchen.cells)
        for table in ("facing", "held", "on", "onions", "cooked"):
            getattr(kitchen, table)[:] = getattr(view.kitchen, table)
        before = kitchen.state()
        kitchen.step(*((INTERACT, STAY) if view.seat == 0 else (STAY, INTERACT)))
        assert (kitchen.held, kitchen.on, kitchen.state().pots) != (
            list(before.held), view.kitchen.on, before.pots,
        )  # fmt: skip


# ---- walking ----------------------------------------------------------------------------------


@st.composite
def errands(draw):
    """(layout, cell, direction, tile that can be used from there)"""
    layout = load_layout(draw(st.sampled_from(shipped_layouts())))
    cell = draw(st.sampled_from(layout.floor))
    tiles = [tile for tile in range(len(layout.terrain)) if layout.ways_to[tile][cell] < FAR]
    return layout, cell, draw(st.integers(0, 3)), draw(st.sampled_from(tiles))


def walk(layout, cell, facing, tile, other, *, seat=0, values=None, ticks=60):
    """Follows `use` with a partner that stands still; (steps, turns, tile that was used)."""
    starts = (cell, other) if seat == 0 else (other, cell)
    kitchen, memory = Kitchen(layout, starts=starts), Memory()
    kitchen.facing[seat] = facing
    steps = turns = 0
    for _ in range(ticks):
        memory.update(kitchen, seat)
        action = use(View(kitchen, seat, memory, values or {}), tile)
        memory.action = action
        if action == INTERACT:
            return steps, turns, layout.ahead[kitchen.cells[seat]][kitchen.facing[seat]]
        before = kitchen.cells[seat]
        kitchen.step(*((action, STAY) if seat == 0 else (STAY, action)))
        steps += kitchen.cells[seat] != before
        turns += kitchen.cells[seat] == before
    return steps, turns, -1


@settings(max_examples=120)
@given(errands(), st.data())
def test_any_tile_is_used_after_the_shortest_walk_and_a_turn(errand, data):
    layout, cell, facing, tile = errand
    shortest = layout.ways_to[tile][cell]
    ways = [layout.ways[cell][other] + layout.ways_to[tile][other] for other in layout.floor]
    free = [o for o, way in zip(layout.floor, ways, strict=True) if way > shortest and o != cell]
    assume(free)  # the partner stands on no shortest way
    steps, turns, used = walk(layout, cell, facing, tile, data.draw(st.sampled_from(free)))
    assert used == tile
    assert steps == shortest
    assert turns <= 1
    beside = dict(layout.beside[tile])
    if not steps:
        assert turns == (beside[cell] != facing)


@settings(max_examples=120)
@given(errands(), st.data())
def test_a_partner_that_stands_in_the_way_is_walked_around_where_that_is_not_too_far(errand, data):
    layout, cell, facing, tile = errand
    other = data.draw(st.sampled_from([each for each in layout.floor if each != cell]))
    detour = data.draw(st.integers(0, 12))
    around, direct = layout.around(tile, other)[cell], layout.ways_to[tile][cell]
    steps, _, used = walk(
        layout, cell, facing, tile, other, seat=1, values={"detour": detour}, ticks=80
    )
    if around - direct <= detour:
        assert (steps, used) == (around, tile)
    elif used == tile:
        assert steps >= direct


def test_what_cannot_be_reached_is_not_walked_to():
    view = scene(TWO_ROOMS, **RIGHT)
    assert use(view, view.layout.tiles("D")[0]) is None
    assert use(view, -1) is None


# ---- stepping aside ---------------------------------------------------------------------------


@settings(max_examples=150)
@given(played())
def test_a_refuge_is_off_the_partners_way_and_reached_past_the_partner(view):
    cell, steps = view.my_refuge
    if cell < 0:
        assert steps == FAR
    else:
        assert cell not in view.partner_way
        assert cell != view.partner_cell
        assert view.layout.ways[view.cell][cell] <= steps < FAR


@settings(max_examples=150)
@given(played())
def test_stepping_aside_never_runs_into_a_partner_that_can_be_let_past(view):
    action = sidestep(view)
    if view.cell not in view.partner_way:
        assert action == STAY
    elif view.my_refuge[0] >= 0:
        after = view.layout.ahead[view.cell][action]
        assert view.layout.terrain[after] == " "
        assert after != view.partner_cell
        assert after not in view.shunned
        refuge = view.my_refuge[0]
        past = view.layout.walk_past(refuge, *view.shunned)
        assert past[after] == past[view.cell] - 1


def test_a_cook_without_a_way_out_turns_to_its_partner():
    view = scene(LANE, me=(1, 1), you=(2, 1), they_face=WEST)
    assert view.my_refuge == (-1, FAR)
    assert sidestep(view) == EAST


def test_hands_and_seats_tell_who_gives_way_and_room_before_both():
    penned = {"me": (5, 1), "you": (4, 1), "facing": WEST, "they_face": EAST}
    free = {"me": (4, 1), "you": (5, 1), "facing": EAST, "they_face": WEST}
    for seat in (0, 1):
        assert not scene(BAY, **penned, seat=seat, theirs="soup").gives_way
        assert scene(BAY, **free, seat=seat, held="soup").gives_way
    for mine, theirs in (("onion", "soup"), ("nothing", "onion")):
        first = scene(ROOM, held=mine, theirs=theirs)
        second = scene(ROOM, held=theirs, theirs=mine, seat=1)
        assert (first.gives_way, second.gives_way) == (True, False)
