"""What an agent sees and remembers, on kitchens small enough to be counted by hand."""

from itertools import pairwise

import pytest
from hypothesis import given, settings

from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import FAR, load_layout
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    EAST,
    INTERACT,
    NORTH,
    ONION,
    SOUP,
    SOUTH,
    STAY,
    WEST,
    Kitchen,
)
from support.scenes import BAY, LANE, played, scene

ROOM, TWO_ROOMS, RING = "cramped_room", "forced_coordination", "coordination_ring"
POT = (2, 0)  # of the cramped room


def tile(view, x, y):
    return y * view.layout.width + x


# ---- memory -----------------------------------------------------------------------------------


class Watched:
    """A cook that does as it is told, and what it remembers of it."""

    def __init__(self, plan, seat=0):
        self.kitchen, self.seat, self.memory = Kitchen(load_layout(plan)), seat, Memory()
        self.memory.update(self.kitchen, seat)

    def __call__(self, *actions, other=STAY):
        for action in actions:
            self.memory.action = action
            joint = (action, other) if self.seat == 0 else (other, action)
            self.kitchen.step(*joint)
            self.memory.update(self.kitchen, self.seat)
        return self.memory


def test_only_a_walk_that_does_not_get_on_is_blocked():
    cook = Watched(ROOM)  # at (1, 2), its partner at (3, 1)
    assert cook(EAST).blocked == 0
    assert cook(NORTH).blocked == 0  # now at (2, 1)
    assert cook(EAST).blocked == 1
    assert cook(EAST, EAST).blocked == 3
    assert cook(STAY).blocked == 0
    assert cook(EAST).blocked == 1
    assert cook(NORTH, NORTH).blocked == 0  # against a pot there is nothing to walk on
    assert cook(WEST).blocked == 0


def test_stuck_counts_ticks_without_a_step_or_another_thing_in_hand():
    cook = Watched(ROOM)
    assert cook(STAY, SOUTH).stuck == 2  # a turn is no step
    assert cook(NORTH).stuck == 0
    assert cook(WEST).stuck == 1
    assert cook(INTERACT).stuck == 0  # an onion
    assert cook(INTERACT).stuck == 1


def test_a_partner_is_still_until_it_walks_turns_or_takes_something():
    cook = Watched(ROOM, seat=1)  # its partner at (1, 2)
    assert cook(STAY, STAY).partner_still == 2
    assert cook(STAY, other=WEST).partner_still == 0
    assert cook(STAY, other=WEST).partner_still == 1
    assert cook(STAY, other=NORTH).partner_still == 0
    cook(STAY, other=WEST)
    assert cook(STAY, STAY, other=INTERACT).partner_still == 1


def test_a_push_counts_until_one_moves_though_the_partner_stepped_back_in_between():
    cook = Watched(ROOM, seat=1)  # at (3, 1), its partner at (1, 2)
    assert cook(STAY, other=NORTH).pushed == 0  # now at (1, 1), facing the counter
    assert cook(STAY, other=EAST).pushed == 1  # at (2, 1), face to face
    assert cook(STAY, other=EAST).pushed == 2
    assert cook(STAY, other=WEST).pushed == 2
    assert cook(STAY, other=EAST).pushed == 3
    assert cook(SOUTH).pushed == 0  # and out of its way


def test_a_thing_laid_where_it_can_be_taken_ends_the_waiting():
    cook = Watched(TWO_ROOMS)  # in the right room; its partner at (1, 2)
    cook.memory.waited = 9
    cook(STAY, other=WEST)
    cook(STAY, other=INTERACT)  # it takes an onion,
    cook(STAY, other=EAST)  # turns to the counter between them
    assert cook.memory.waited == 9
    cook(STAY, other=INTERACT)  # and lays it down
    assert cook.memory.waited == 0
    cook.memory.waited = 9
    cook(STAY, other=INTERACT)  # taken again
    cook(STAY, other=NORTH)
    cook(STAY, other=NORTH)
    cook(STAY, other=INTERACT)  # laid down in the corner, out of reach
    assert cook.kitchen.held == [0, 0]
    assert cook.memory.waited == 9


def test_a_memory_begins_empty():
    first, second = Memory(), Memory()
    first.laid[3] = 1
    assert second.laid == {}
    assert (second.blocked, second.stuck, second.partner_still, second.pushed) == (0, 0, 0, 0)


# ---- what is lacking --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "onions", "dishes"),
    [
        ({}, 3, 0),
        ({"pots": {POT: (1, -1)}}, 2, 0),
        ({"pots": {POT: (1, -1)}, "theirs": "onion"}, 1, 0),
        ({"pots": {POT: (3, -1)}}, 0, 0),
        ({"pots": {POT: (3, 0)}}, 0, 0),
        ({"pots": {POT: (3, 20)}}, 0, 1),
        ({"pots": {POT: (3, 20)}, "theirs": "dish"}, 0, 0),
        ({"pots": {POT: (3, 11)}, "values": {"onions_ahead": 10, "dishes_ahead": 9}}, 3, 1),
        ({"pots": {POT: (3, 10)}, "values": {"onions_ahead": 10, "dishes_ahead": 9}}, 0, 0),
        ({"pots": {POT: (2, -1)}, "values": {"dishes_ahead": 28}}, 1, 0),
        ({"pots": {POT: (2, -1)}, "values": {"dishes_ahead": 28}, "theirs": "onion"}, 0, 1),
        ({"pots": {POT: (2, -1)}, "values": {"dishes_ahead": 27}, "theirs": "onion"}, 0, 0),
    ],
)
def test_onions_and_dishes_that_are_wanted(how, onions, dishes):
    view = scene(ROOM, **how)
    assert (view.onions_wanted, view.dishes_wanted) == (onions, dishes)


def test_pots_are_lacking_full_or_started():
    pots = {(3, 0): (1, -1), (4, 1): (3, -1)}
    view = scene(RING, pots=pots)
    assert view.needs == {tile(view, 3, 0): 2}
    assert view.full == [tile(view, 4, 1)]
    assert view.started == {}
    cooking = scene(RING, pots={(3, 0): (3, 4), (4, 1): (3, 20)})
    assert cooking.started == {tile(view, 3, 0): 16, tile(view, 4, 1): 0}
    assert (cooking.needs, cooking.full) == ({}, [])
    assert scene(RING, pots=pots, old=True).full == []


def test_what_lies_for_the_partner_counts_as_on_its_way():
    view = scene(TWO_ROOMS, seat=1, on={(2, 1): "onion"})
    assert view.laid_out(ONION) == 1  # there is no pot on this side of the counter
    assert view.onions_wanted == 5
    assert view.best_source(ONION, view.cell)[0] in view.layout.tiles("O")
    other = scene(TWO_ROOMS, seat=0, on={(2, 1): "onion"})
    assert other.laid_out(ONION) == 0
    assert other.best_source(ONION, other.cell) == (tile(other, 2, 1), 0)
    assert other.onions_wanted == 6


# ---- ways -------------------------------------------------------------------------------------


def test_a_source_is_chosen_with_the_way_on_from_it():
    view = scene(ROOM, me=(2, 2), you=(1, 1))
    assert view.best_source(DISH, view.cell) == (tile(view, 1, 3), 3)
    near_pot = scene(ROOM, me=(1, 2), you=(3, 2), on={(1, 0): "onion"})
    assert near_pot.best_source(ONION, near_pot.cell)[0] in (tile(view, 0, 1), tile(view, 1, 0))
    assert scene(ROOM).best_source(SOUP, 11) == (-1, FAR)


def test_what_a_cook_seems_to_be_about_is_on_its_way():
    lane = scene(LANE, me=(1, 1), you=(4, 1), theirs="onion")
    assert lane.partner_way == [tile(lane, 4, 1), tile(lane, 5, 1)]
    empty = scene(LANE, me=(1, 1), you=(4, 1))
    assert empty.partner_way == [tile(lane, x, 1) for x in (4, 3, 2, 1)]
    wanting = scene(LANE, me=(3, 1), you=(4, 1), theirs="onion", they_face=WEST)
    assert wanting.partner_way == [tile(lane, 4, 1), tile(lane, 3, 1)]  # it looks at me
    there = scene(LANE, me=(1, 1), you=(5, 1), theirs="onion")
    assert there.partner_way == [tile(lane, 5, 1)]


def test_a_refuge_is_the_nearest_cell_off_the_way():
    bay = scene(BAY, me=(3, 1), you=(4, 1), they_face=WEST)
    assert bay.my_refuge == (tile(bay, 3, 2), 1)
    further = scene(BAY, me=(1, 1), you=(4, 1), they_face=WEST)
    assert further.my_refuge == (-1, FAR)  # the bay lies beyond the cell that it is about to enter
    assert scene(LANE, me=(1, 1), you=(4, 1)).my_refuge == (-1, FAR)


@pytest.mark.parametrize(
    ("mine", "theirs", "turns"),
    [("nothing", "onion", (True, True)), ("onion", "nothing", (False, False)),
     ("dish", "dish", (False, True))],
)  # fmt: skip
def test_one_of_two_walks_around_the_other(mine, theirs, turns):
    values = {"claim_ttl": 5, "yield_after": 2}
    for seat in (0, 1):
        assert (
            scene(ROOM, seat=seat, held=mine, theirs=theirs, values=values).turns_aside
            is (turns[seat])
        )
        assert scene(
            ROOM, seat=seat, held=mine, theirs=theirs, values=values, blocked=2
        ).turns_aside
        assert scene(
            ROOM, seat=seat, held=mine, theirs=theirs, values=values, partner_still=6
        ).turns_aside


def test_a_partner_that_stood_there_is_walked_around_for_a_while():
    view = scene(ROOM, values={"yield_after": 2}, blocked=2, tick=10)
    assert view.turns_aside
    for tick, turns in ((17, True), (18, False)):
        later = View(view.kitchen, 0, view.memory, {"yield_after": 2, "claim_ttl": 5})
        view.memory.blocked, view.kitchen.tick = 0, tick
        assert later.turns_aside is turns


# ---- from hand to hand ------------------------------------------------------------------------


def test_a_hand_over_is_worth_the_steps_that_it_saves():
    view = scene(TWO_ROOMS, seat=1, me=(1, 1), held="onion")
    counter, saved = view.hand_over
    assert counter == tile(view, 2, 1)
    assert saved == FAR
    assert scene(TWO_ROOMS, seat=1).shared == [tile(view, 2, y) for y in (1, 2, 3)]
    taken = scene(TWO_ROOMS, seat=1, held="onion", on={(2, y): "dish" for y in (1, 2, 3)})
    assert taken.hand_over == (-1, -FAR)
    assert len(taken.shared_any) == 3
    across = scene("counter_circuit_o_1order", seat=1, me=(3, 3), you=(3, 1), held="onion")
    assert across.hand_over == (tile(across, 3, 2), 6)  # the way round is six steps


def test_supplies_are_awaited_where_the_partner_saves_most():
    view = scene(TWO_ROOMS, values={"hand_over_gain": 4})
    assert view.supply_of(ONION) == (tile(view, 2, 1), FAR)
    assert scene(TWO_ROOMS, seat=1, values={"hand_over_gain": 4}).supply_of(ONION) == (-1, 0)
    assert scene(ROOM, values={"hand_over_gain": 4}).supply_of(ONION) == (-1, 0)


def test_stock_is_what_the_partner_can_take():
    view = scene(TWO_ROOMS, seat=1, on={(2, 1): "dish", (0, 0): "dish", (4, 2): "dish"})
    assert view.stock(DISH) == 2
    assert view.at_hand(DISH) == [tile(view, 2, 1)]
    assert view.lying[DISH] == [tile(view, *place) for place in ((0, 0), (2, 1), (4, 2))]


def test_rooms_tell_whose_chore_is_which():
    right = scene("asymmetric_advantages", seat=0)
    left = scene("asymmetric_advantages", seat=1)
    assert right.advantage(ONION) == -right.advantage(DISH) > 0
    assert left.advantage(ONION) == -right.advantage(ONION)
    assert scene(TWO_ROOMS).advantage(ONION) == scene(ROOM).advantage(DISH) == 0


@settings(max_examples=150)
@given(played())
def test_ways_are_walks_over_free_floor(view):
    layout = view.layout
    for way, cell in ((view.partner_way, view.partner_cell), (view.my_way, view.cell)):
        assert way[0] == cell
        assert len(set(way)) == len(way)
        assert all(layout.terrain[each] == " " for each in way)
        assert all(layout.ways[a][b] == 1 for a, b in pairwise(way))
    for thing in (ONION, DISH, SOUP):
        source, steps = view.best_source(thing, view.cell)
        if source >= 0:
            assert layout.ways_to[source][view.cell] <= steps
            assert not view.is_laid_out(source, view.cell)
        assert view.stock(thing) <= len(view.lying[thing])
        counter, saved = view.supply_of(thing)
        assert (counter >= 0) == (saved > 0)
    counter, _ = view.hand_over
    assert counter < 0 or counter in view.shared
