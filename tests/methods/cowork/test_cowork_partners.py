"""Scripted cooks: each does what its name says, from its seed alone, on every layout."""

import random
from itertools import pairwise
from statistics import mean

import pytest

from planish.errors import BadInput
from planish.methods.cowork.acting.partners import (
    PARTNERS,
    PATIENCE,
    check_partner,
    partner,
)
from planish.methods.cowork.kitchen.layouts import (
    CLASSIC,
    FAR,
    load_layout,
    parse_layout,
    shipped_layouts,
)
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    INTERACT,
    NOTHING,
    ONION,
    SOUP,
    STAY,
    Kitchen,
)


def play(layout, names, seed=0, horizon=400, old_dynamics=False):
    """(score, states after every tick, joint actions) of two scripted cooks."""
    starts = layout.drawn_starts(random.Random(seed))
    kitchen = Kitchen(layout, old_dynamics=old_dynamics, starts=starts)
    cooks = [partner(name, layout, seat, seed) for seat, name in enumerate(names)]
    score, states, actions = 0.0, [], []
    for _ in range(horizon):
        joint = (cooks[0].act(kitchen), cooks[1].act(kitchen))
        score += sum(kitchen.step(*joint))
        states.append(kitchen.state())
        actions.append(joint)
    return score, states, actions


def average(name, pair, seeds=4, **options):
    layout = load_layout(name)
    return mean(play(layout, pair, seed, **options)[0] for seed in range(seeds))


@pytest.mark.parametrize("name", PARTNERS)
def test_every_cook_plays_every_layout_from_both_seats(name):
    for layout in map(load_layout, shipped_layouts()):
        for names in ((name, "greedy"), ("sticky_greedy", name)):
            for old_dynamics in (False, True):
                _, _, actions = play(layout, names, 3, 120, old_dynamics)
                assert {action for joint in actions for action in joint} <= set(range(6))


@pytest.mark.parametrize("name", ["random", "sticky_greedy", "onion_specialist", "switcher"])
def test_the_seed_decides_everything(name):
    layout = load_layout("cramped_room")
    first, again = play(layout, (name, "random"), 5), play(layout, (name, "random"), 5)
    assert first == again
    other = play(layout, (name, "random"), 6)
    assert first[2] != other[2]


def test_both_seats_draw_their_own_luck():
    _, _, actions = play(load_layout("cramped_room"), ("random", "random"), 1)
    assert len({first == second for first, second in actions}) == 2


def test_a_cook_draws_the_same_whoever_plays_beside_it():
    layout = load_layout("asymmetric_advantages")
    drawn = [
        [joint[1] for joint in play(layout, (name, "random"), 2)[2]] for name in ("idle", "greedy")
    ]
    assert drawn[0] == drawn[1]


def test_random_takes_all_six_actions_about_as_often():
    _, _, actions = play(load_layout("cramped_room"), ("random", "idle"), 0, 3000)
    counts = [sum(first == action for first, _ in actions) for action in range(6)]
    assert all(400 < count < 600 for count in counts)
    assert {second for _, second in actions} == {STAY}


def test_greedy_cooks_where_it_can_and_locks_up_where_one_must_yield():
    assert average("cramped_room", ("greedy", "greedy")) >= 180
    assert average("asymmetric_advantages", ("greedy", "greedy")) >= 238
    assert average("coordination_ring", ("greedy", "greedy")) <= 20
    assert average("counter_circuit_o_1order", ("greedy", "greedy")) <= 20
    assert average("cramped_room", ("greedy", "random")) >= 80
    assert average("coordination_ring", ("greedy", "random")) >= 60


def test_greedy_never_hands_over():
    assert average("forced_coordination", ("greedy", "greedy")) == 0
    _, states, _ = play(load_layout("forced_coordination"), ("greedy", "greedy"))
    assert not any(any(state.held) or state.counters for state in states)


def test_two_greedy_cooks_who_want_one_bare_cell_do_not_wait_for_ever():
    layout = load_layout("cramped_room")
    _, states, _ = play(layout, ("greedy", "greedy"), 0)
    still = 0
    for before, after in pairwise(states):
        still = still + 1 if before[1:5] == after[1:5] else 0
        assert still < 30


def test_the_sticky_cook_repeats_itself_and_still_cooks():
    layout = load_layout("asymmetric_advantages")
    greedy, sticky = (play(layout, (name, "idle"), 1)[2] for name in ("greedy", "sticky_greedy"))
    repeats = [mean(a[0] == b[0] for a, b in pairwise(actions)) for actions in (greedy, sticky)]
    assert repeats[1] > repeats[0]
    scores = [
        average("asymmetric_advantages", (name, "idle")) for name in ("sticky_greedy", "greedy")
    ]
    assert 0 < scores[0] < scores[1]


@pytest.mark.parametrize(
    ("name", "things"),
    [
        ("onion_specialist", {NOTHING, ONION}),
        ("dish_specialist", {NOTHING, DISH}),
        ("serving_specialist", {NOTHING, DISH, SOUP}),
    ],
)
@pytest.mark.parametrize("layout", CLASSIC)
def test_specialists_touch_nothing_but_their_own(name, things, layout):
    for seat in (0, 1):
        names = (name, "greedy") if seat == 0 else ("greedy", name)
        _, states, _ = play(load_layout(layout), names)
        assert {min(state.held[seat], SOUP) for state in states} <= things


def test_specialists_are_a_kitchen_together_and_nothing_alone():
    assert average("cramped_room", ("onion_specialist", "serving_specialist")) >= 100
    assert average("cramped_room", ("onion_specialist", "idle")) == 0
    assert average("cramped_room", ("idle", "serving_specialist")) == 0
    assert average("cramped_room", ("greedy", "dish_specialist")) >= 100


def test_specialists_hand_over_what_only_the_other_can_use():
    layout = load_layout("forced_coordination")
    shared = {tile for tile in layout.tiles("X") if len(layout.rooms(tile)) == 2}
    seat = 0 if layout.ways_to[layout.tiles("O")[0]][layout.starts[0]] < FAR else 1
    names = ("onion_specialist", "idle") if seat == 0 else ("idle", "onion_specialist")
    _, states, _ = play(layout, names)
    laid = dict(states[-1].counters)
    assert set(laid.values()) == {ONION}
    assert set(laid) < shared  # one is left for a dish
    names = ("onion_specialist", "switcher") if seat == 0 else ("switcher", "onion_specialist")
    assert any(play(layout, names, seed)[1][-1].pots for seed in range(4))


def test_specialists_do_not_stand_in_the_way_for_ever():
    layout = parse_layout("XXPXX\nO1 2D\nX   X\nXXSXX", name="hall", where="hall")
    for name in ("onion_specialist", "serving_specialist", "dish_specialist"):
        _, states, actions = play(layout, (name, "greedy"), 0)
        longest = still = 0
        for before, after, joint in zip(states, states[1:], actions[1:], strict=False):
            beside = layout.ways[after.cells[0]][after.cells[1]] == 1
            moved = before.cells[0] != after.cells[0] or joint[0] == INTERACT
            still = 0 if moved or not beside else still + 1
            longest = max(longest, still)
        assert longest <= 2 * PATIENCE + 2, name


def test_the_switcher_changes_style_several_times():
    layout = load_layout("cramped_room")
    kitchen, cook = Kitchen(layout), partner("switcher", layout, 1, 4)
    idle = partner("idle", layout, 0, 4)
    styles = []
    for _ in range(400):
        kitchen.step(idle.act(kitchen), cook.act(kitchen))
        styles.append(cook._style)
    changes = [tick for tick in range(1, 400) if styles[tick] != styles[tick - 1]]
    spells = [after - before for before, after in zip([0, *changes], changes, strict=False)]
    assert 3 <= len(changes) <= 9
    assert all(40 <= spell <= 120 for spell in spells)


def test_greedy_cooks_the_soup_that_earns_most_a_tick():
    text = """{"grid": "XXPXXX\\nO1  2X\\nD    X\\nXXSXXX",
     "start_all_orders": [{"ingredients": ["onion"]}, {"ingredients": ["onion", "onion", "onion"]}],
      "recipe_values": [10, 12]}"""
    layout = parse_layout(text, name="small", where="small")
    assert layout.best_count == 1
    for old_dynamics, count, least in ((False, 1, 60), (True, 3, 48)):
        kitchen = Kitchen(layout, old_dynamics=old_dynamics)
        cook, score = partner("greedy", layout, 0, 0), 0.0
        cooked = set()
        for _ in range(400):
            score += sum(kitchen.step(cook.act(kitchen), STAY))
            cooked |= {onions for _, onions, ticks in kitchen.state().pots if ticks > 0}
        # The old dynamics start a pot with three onions and no other.
        assert cooked == {count}
        assert score >= least


def test_a_waiting_cook_does_not_poke_at_a_soup_that_cooks():
    layout = load_layout("asymmetric_advantages")
    kitchen = Kitchen(layout)
    cooks = [partner(name, layout, seat, 0) for seat, name in enumerate(("greedy", "idle"))]
    pokes = 0
    for _ in range(400):
        joint = (cooks[0].act(kitchen), cooks[1].act(kitchen))
        ahead = layout.ahead[kitchen.cells[0]][kitchen.facing[0]]
        cooking = kitchen.cooked[ahead] >= 0 and not kitchen.ready(ahead)
        pokes += joint[0] == INTERACT and cooking
        kitchen.step(*joint)
    assert pokes == 0


def test_unknown_names_are_told_with_those_that_are_known():
    layout = load_layout("cramped_room")
    for name in ("greedi", "self", ""):
        with pytest.raises(BadInput, match="greedy"):
            partner(name, layout, 0, 0)
    with pytest.raises(BadInput, match="did you mean greedy"):
        check_partner("greedi")
    check_partner("self")
    check_partner("switcher")
