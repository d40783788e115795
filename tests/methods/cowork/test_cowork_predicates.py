"""Every predicate where it holds and where it does not, and that none of them changes anything."""

import copy

import pytest
from hypothesis import given, settings

from planish.methods.cowork.acting.registry import PREDICATES, THINGS
from planish.methods.cowork.kitchen.simulator import EAST, NORTH, WEST
from planish.methods.cowork.skills import read_call
from support.scenes import BAY, LANE, played, scene, truth

ROOM, TWO_ROOMS, RING = "cramped_room", "forced_coordination", "coordination_ring"
ADVANTAGES = "asymmetric_advantages"
POT = (2, 0)  # of the cramped room
LEFT, RIGHT = {"seat": 1}, {"seat": 0}  # who sits where in the two rooms

TABLE = [
    ("holding(onion)", True, ROOM, {"held": "onion"}),
    ("holding(onion)", False, ROOM, {"held": "dish", "theirs": "onion"}),
    ("holding(nothing)", True, ROOM, {}),
    ("partner_holds(dish)", True, ROOM, {"theirs": "dish"}),
    ("partner_holds(dish)", False, ROOM, {"held": "dish"}),
    # -- what is wanted
    ("wanted(onion)", True, ROOM, {}),
    ("wanted(onion)", False, ROOM, {"pots": {POT: (3, -1)}}),
    ("wanted(onion)", False, ROOM, {"pots": {POT: (2, -1)}, "theirs": "onion"}),
    ("wanted(onion)", True, ROOM,
     {"pots": {POT: (2, -1)}, "theirs": "onion", "partner_still": 9}),
    ("wanted(onion)", False, ROOM,
     {"pots": {POT: (2, -1)}, "theirs": "onion", "partner_still": 9, "values": {"claim_ttl": 9}}),
    ("wanted(onion)", False, ROOM, {"pots": {POT: (3, 15)}}),
    ("wanted(onion)", True, ROOM, {"pots": {POT: (3, 15)}, "values": {"onions_ahead": 6}}),
    ("wanted(dish)", True, ROOM, {"pots": {POT: (3, 20)}}),
    ("wanted(dish)", False, ROOM, {"pots": {POT: (3, 12)}}),
    ("wanted(dish)", True, ROOM, {"pots": {POT: (3, 12)}, "values": {"dishes_ahead": 8}}),
    ("wanted(dish)", False, ROOM, {"pots": {POT: (3, 20)}, "theirs": "dish"}),
    ("wanted(dish)", False, ROOM, {"values": {"dishes_ahead": 60}}),
    ("wanted(dish)", True, ROOM, {"pots": {POT: (3, -1)}, "values": {"dishes_ahead": 20}}),
    ("wanted(soup)", True, ROOM, {"on": {(1, 0): "soup"}}),
    ("wanted(soup)", False, ROOM, {"on": {(1, 0): "dish"}}),
    ("wanted(nothing)", False, ROOM, {}),
    # -- what can be got and used
    ("can_get(onion)", True, ROOM, {}),
    ("can_get(onion)", False, TWO_ROOMS, RIGHT),
    ("can_get(onion)", True, TWO_ROOMS, {**RIGHT, "on": {(2, 1): "onion"}}),
    ("can_get(soup)", False, ROOM, {}),
    ("has_use", True, ROOM, {"held": "onion"}),
    ("has_use", False, ROOM, {"held": "onion", "pots": {POT: (3, 0)}}),
    ("has_use", True, ROOM, {"held": "dish", "pots": {POT: (3, 0)}}),
    ("has_use", True, ROOM, {"held": "dish", "pots": {POT: (3, -1)}}),
    ("has_use", False, ROOM, {"held": "dish", "pots": {POT: (2, -1)}}),
    ("has_use", True, ROOM, {"held": "soup"}),
    ("has_use", False, ROOM, {}),
    ("can_use", True, TWO_ROOMS, {**RIGHT, "held": "onion"}),
    ("can_use", False, TWO_ROOMS, {**LEFT, "held": "onion"}),
    ("can_use", False, TWO_ROOMS, {**RIGHT, "held": "dish"}),
    ("can_use", True, TWO_ROOMS, {**RIGHT, "held": "dish", "pots": {(3, 0): (3, 4)}}),
    ("can_use", True, TWO_ROOMS, {**RIGHT, "held": "soup"}),
    ("can_use", False, ROOM, {}),
    ("can_ever_use", True, TWO_ROOMS, {**RIGHT, "held": "dish"}),
    ("can_ever_use", False, TWO_ROOMS, {**LEFT, "held": "dish"}),
    ("can_ever_use", False, TWO_ROOMS, {**LEFT, "held": "soup"}),
    ("can_cook", True, TWO_ROOMS, RIGHT),
    ("can_cook", False, TWO_ROOMS, LEFT),
    ("pot_to_start", True, ROOM, {"pots": {POT: (3, -1)}}),
    ("pot_to_start", False, ROOM, {"pots": {POT: (2, -1)}}),
    ("pot_to_start", False, ROOM, {"pots": {POT: (3, 0)}}),
    ("pot_to_start", False, TWO_ROOMS, {**LEFT, "pots": {(3, 0): (3, -1)}}),
    ("pot_to_start", False, ROOM, {"pots": {POT: (3, -1)}, "old": True}),
    # -- whose part it is
    ("closer(dish)", True, ROOM, {"me": (1, 2), "you": (3, 1)}),
    ("closer(dish)", False, ROOM, {"me": (3, 1), "you": (1, 2)}),
    ("closer(dish)", False, ROOM, {"me": (3, 1), "you": (1, 2), "theirs": "onion"}),
    ("closer(dish)", True, ROOM, {"me": (3, 1), "you": (1, 2), "partner_still": 1}),
    ("closer(onion)", True, ROOM, {"me": (1, 1), "you": (3, 1), "seat": 0}),
    ("closer(onion)", False, ROOM, {"me": (1, 1), "you": (3, 1), "seat": 1}),
    ("nearer(dish)", False, ROOM, {"me": (3, 1), "you": (1, 2)}),
    ("nearer(dish)", True, ROOM, {"me": (3, 1), "you": (1, 2), "theirs": "onion"}),
    ("nearer(dish)", True, ROOM, {"me": (1, 2), "you": (3, 1)}),
    ("starts_nearer", True, ROOM, {"me": (2, 1), "you": (1, 2), "pots": {POT: (3, -1)}}),
    ("starts_nearer", False, ROOM, {"me": (1, 2), "you": (2, 1), "pots": {POT: (3, -1)}}),
    ("starts_nearer", True, ROOM,
     {"me": (1, 2), "you": (2, 1), "pots": {POT: (3, -1)}, "theirs": "dish"}),
    ("starts_nearer", False, ROOM,
     {"me": (1, 1), "you": (3, 1), "seat": 1, "pots": {POT: (3, -1)}}),
    ("suited(onion)", True, ADVANTAGES, RIGHT),
    ("suited(onion)", False, ADVANTAGES, LEFT),
    ("suited(dish)", False, ADVANTAGES, RIGHT),
    ("suited(dish)", True, ADVANTAGES, LEFT),
    ("suited(dish)", True, ADVANTAGES, {**RIGHT, "partner_still": 1}),
    ("suited(onion)", True, ROOM, {}),
    ("at_least(onion, 3)", True, ROOM, {}),
    ("at_least(onion, 3)", False, ROOM, {"pots": {POT: (1, -1)}}),
    ("at_least(dish, 1)", True, ROOM, {"pots": {POT: (3, 20)}}),
    ("at_least(dish, 2)", False, ROOM, {"pots": {POT: (3, 20)}}),
    # -- from hand to hand
    ("hand_over_saves(4)", True, TWO_ROOMS, {**LEFT, "held": "onion"}),
    ("hand_over_saves(4)", False, TWO_ROOMS, {**RIGHT, "held": "onion"}),
    ("can_hand_over", True, TWO_ROOMS, {**LEFT, "held": "onion"}),
    ("can_hand_over", False, TWO_ROOMS,
     {**LEFT, "held": "onion", "on": {(2, 1): "dish", (2, 2): "dish", (2, 3): "dish"}}),
    ("stocked(onion, 1)", True, TWO_ROOMS, {**LEFT, "on": {(2, 2): "onion"}}),
    ("stocked(onion, 2)", False, TWO_ROOMS, {**LEFT, "on": {(2, 2): "onion"}}),
    ("stocked(onion, 1)", False, TWO_ROOMS, {**LEFT, "on": {(2, 2): "dish"}}),
    ("stocked(onion, 1)", False, TWO_ROOMS, {**LEFT, "on": {(0, 0): "onion"}}),
    ("room_to_lay(3)", True, TWO_ROOMS, LEFT),
    ("room_to_lay(3)", False, TWO_ROOMS, {**LEFT, "on": {(2, 2): "dish"}}),
    ("partner_supplies(onion)", True, TWO_ROOMS, {**RIGHT, "values": {"hand_over_gain": 4}}),
    ("partner_supplies(onion)", False, TWO_ROOMS, {**LEFT, "values": {"hand_over_gain": 4}}),
    ("partner_supplies(onion)", True, TWO_ROOMS, RIGHT),
    ("partner_supplies(onion)", False, ROOM, RIGHT),
    ("partner_supplies(onion)", False, TWO_ROOMS,
     {**RIGHT, "values": {"hand_over_gain": 4}, "on": {(2, 1): "onion"}}),
    ("trusts_supply(30)", True, ROOM, {"waited": 29}),
    ("trusts_supply(30)", False, ROOM, {"waited": 30}),
    # -- in each other's way
    ("blocked_for(2)", True, ROOM, {"blocked": 2}),
    ("blocked_for(2)", False, ROOM, {"blocked": 1}),
    ("stuck_for(12)", True, ROOM, {"stuck": 12}),
    ("stuck_for(12)", False, ROOM, {"stuck": 11}),
    ("partner_still_for(3)", True, ROOM, {"partner_still": 3}),
    ("partner_still_for(3)", False, ROOM, {"partner_still": 2}),
    ("pushed_for(2)", True, ROOM, {"pushed": 2}),
    ("pushed_for(2)", False, ROOM, {"pushed": 1}),
    ("partner_within(2)", True, RING, {"me": (1, 1), "you": (3, 1)}),
    ("partner_within(2)", False, RING, {"me": (1, 1), "you": (3, 2)}),
    ("partner_within(99)", False, TWO_ROOMS, {}),
    ("gives_way", True, ROOM, {"theirs": "onion"}),
    ("gives_way", False, ROOM, {"held": "onion"}),
    ("gives_way", True, ROOM, {"seat": 1}),
    ("gives_way", False, ROOM, {"seat": 0}),
    ("gives_way", True, BAY,
     {"me": (3, 1), "you": (4, 1), "held": "dish", "theirs": "nothing", "they_face": WEST}),
    ("in_the_way", True, LANE, {"me": (3, 1), "you": (4, 1), "they_face": NORTH}),
    ("in_the_way", True, LANE, {"me": (3, 1), "you": (2, 1), "they_face": EAST}),
    ("in_the_way", False, LANE, {"me": (3, 1), "you": (2, 1), "they_face": NORTH}),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "holds", "plan", "how"), TABLE)
def test_a_predicate_says_what_is_so(condition, holds, plan, how):
    view = scene(plan, **how)
    assert truth(view, condition) is holds
    assert truth(scene(plan, **how), f"!{condition}") is not holds


def test_every_predicate_is_tried_where_it_holds_and_where_it_does_not():
    for holds in (True, False):
        named = {read_call(condition).name for condition, said, _, _ in TABLE if said is holds}
        assert named == PREDICATES.keys()


def test_every_predicate_says_in_a_line_what_it_means():
    for name, predicate in PREDICATES.items():
        assert predicate.name == name
        assert 15 < len(predicate.doc) < 120
        assert predicate.arity in (0, 1, 2)


def conditions():
    for name, predicate in PREDICATES.items():
        if predicate.arity == 0:
            yield name
        elif predicate.arity == 2:
            yield from (f"{name}({thing}, 1)" for thing in ("onion", "dish"))
        elif name in ("holding", "partner_holds", "wanted", "can_get", "closer", "nearer",
                      "partner_supplies", "suited"):  # fmt: skip
            things = THINGS if name in ("holding", "partner_holds") else ("onion", "dish", "soup")
            yield from (f"{name}({thing})" for thing in things)
        else:
            yield f"{name}(2)"


@settings(max_examples=150)
@given(played())
def test_predicates_answer_in_any_kitchen_and_change_nothing(view):
    before, memory = view.kitchen.state(), copy.deepcopy(view.memory)
    first = [truth(view, condition) for condition in conditions()]
    assert (view.kitchen.state(), view.memory) == (before, memory)
    assert [truth(view, condition) for condition in reversed(list(conditions()))] == first[::-1]
