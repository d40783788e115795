"""The kitchen does what the reference does, tick by tick, and is many times as fast."""

from __future__ import annotations

import copy
import json
import pickle
import random
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.cowork.kitchen.layouts import Layout, load_layout, parse_layout
from planish.methods.cowork.kitchen.simulator import (
    DISH,
    EAST,
    INTERACT,
    NORTH,
    NOTHING,
    ONION,
    SOUP,
    SOUTH,
    STAY,
    WEST,
    Kitchen,
)
from support.kitchen_reference import (
    DRIVERS,
    INSTALL,
    VARIANTS,
    Reference,
    driven,
    fingerprint,
    golden_cases,
    load_reference,
    reference_texts,
)

GOLDEN = json.loads((Path(__file__).parent / "golden_kitchen.json").read_text("utf-8"))


def _playable() -> dict[str, tuple[Layout, str]]:
    """The reference's layouts that this kitchen takes, and our own of every kind of recipe."""
    found = {}
    texts = reference_texts() | {name: repr(settings) for name, settings in VARIANTS.items()}
    for name, text in texts.items():
        try:
            found[name] = parse_layout(text, name=name, where=name), text
        except BadInput:
            continue
    return found


PLAYABLE = _playable()
OLD_TOO = {
    name
    for name, (layout, _) in PLAYABLE.items()
    if layout.recipes[3].value and not layout.recipes[1].value and not layout.recipes[2].value
}
"""Where all orders are of three onions: the reference plays no others under the old dynamics."""

CASES = [(name, old) for name in PLAYABLE for old in (False, True) if not old or name in OLD_TOO]

needs_reference = pytest.mark.skipif(not reference_texts(), reason=INSTALL)


def compare(name: str, old_dynamics: bool, episode: int, ticks: int) -> Counter[str]:
    """Plays one episode in both kitchens; every state and reward is equal."""
    layout, text = PLAYABLE[name]
    rng = random.Random(f"{name} {old_dynamics} {episode}")
    starts = layout.drawn_starts(rng) if episode % 3 == 2 else None
    driver = DRIVERS[episode % len(DRIVERS)]
    reference = Reference(text, old_dynamics=old_dynamics, starts=starts)
    kitchen = Kitchen(layout, old_dynamics=old_dynamics, starts=starts)
    assert kitchen.state() == reference.state()
    seen: Counter[str] = Counter()
    for actions in islice(driven(kitchen, rng, driver), ticks):
        before = kitchen.state()
        assert kitchen.step(*actions) == reference.step(*actions), (before, actions)
        assert kitchen.state() == reference.state(), (before, actions)
        for seat in (0, 1):
            if before.held[seat] >= SOUP and kitchen.held[seat] == NOTHING:
                seen[f"soup {before.held[seat] - SOUP + 1} left the hands"] += 1
    return seen


@needs_reference
@pytest.mark.parametrize(("name", "old_dynamics"), CASES)
def test_every_tick_is_the_references(name, old_dynamics):
    """56 cases and 18 episodes each: more than a thousand, in all four ways to act."""
    for episode in range(18):
        compare(name, old_dynamics, episode, ticks=80)


@needs_reference
def test_a_thousand_episodes_on_all_the_onion_layouts_are_compared():
    assert len(CASES) * 18 >= 1000
    assert len(PLAYABLE.keys() - VARIANTS.keys()) == 28
    assert len(OLD_TOO) == 25


@needs_reference
@pytest.mark.slow
@pytest.mark.parametrize(("name", "old_dynamics"), CASES)
def test_every_tick_of_whole_episodes_is_the_references(name, old_dynamics):
    for episode in range(100, 132):
        compare(name, old_dynamics, episode, ticks=400)


@needs_reference
@pytest.mark.parametrize("name", VARIANTS)
def test_soups_of_every_size_are_compared(name):
    seen: Counter[str] = Counter()
    for episode in range(2, 70, len(DRIVERS)):
        seen += compare(name, False, episode, ticks=200)
    assert all(seen[f"soup {onions} left the hands"] for onions in (1, 2, 3)), seen


@needs_reference
def test_the_reference_refuses_what_is_left_out():
    """The three layouts whose orders hold less than three onions have no old dynamics there."""
    for name in PLAYABLE.keys() - OLD_TOO:
        with pytest.raises(AssertionError, match="3 items"):
            Reference(PLAYABLE[name][1], old_dynamics=True)


SIZES = st.lists(st.sampled_from([1, 2, 3]), unique=True, max_size=3)
PRICES = st.one_of(
    st.fixed_dictionaries({}, optional={"delivery_reward": st.integers(0, 30)}),
    st.just({"recipe_values": "by order"}),
    st.fixed_dictionaries({"onion_value": st.integers(0, 9), "tomato_value": st.integers(0, 9)}),
)
TIMES = st.one_of(
    st.fixed_dictionaries({}, optional={"cook_time": st.integers(0, 30)}),
    st.just({"recipe_times": "by order"}),
    st.fixed_dictionaries({"onion_time": st.integers(0, 9), "tomato_time": st.integers(0, 9)}),
)


@needs_reference
@given(st.data(), SIZES, PRICES, TIMES)
def test_soups_earn_and_cook_as_in_the_reference(data, sizes, prices, times):
    settings = {
        "grid": VARIANTS["priced by order"]["grid"],
        "start_all_orders": [{"ingredients": ["onion"] * size} for size in sizes],
        **prices,
        **times,
    }
    for key, numbers in (
        ("recipe_values", st.integers(0, 30)),
        ("recipe_times", st.integers(1, 30)),
    ):
        if key in settings:
            settings[key] = [data.draw(numbers) for _ in sizes]
    bonus = data.draw(st.lists(st.sampled_from(sizes or [1, 2, 3]), unique=True))
    settings["start_bonus_orders"] = [{"ingredients": ["onion"] * size} for size in bonus]
    try:
        reference = Reference(repr(settings))
    except ValueError:  # a list of numbers, and no orders
        with pytest.raises(BadInput):
            parse_layout(repr(settings), name="x", where="x")
        return
    state = reference.mdp.get_standard_start_state()
    soups = [load_reference().Recipe(["onion"] * onions) for onions in (1, 2, 3)]
    values = [reference.mdp.get_recipe_value(state, soup) for soup in soups]
    if not any(values):
        with pytest.raises(BadInput, match="no order earns anything"):
            parse_layout(repr(settings), name="x", where="x")
        return
    recipes = parse_layout(repr(settings), name="x", where="x").recipes[1:]
    assert [recipe.value for recipe in recipes] == values
    assert [recipe.ticks for recipe in recipes] == [soup.time for soup in soups]


@pytest.mark.parametrize(
    ("name", "layout", "old_dynamics"),
    [(name, layout, old) for name, layout, _, old in golden_cases()],
    ids=[name for name, *_ in golden_cases()],
)
def test_episodes_have_the_references_fingerprint(name, layout, old_dynamics):
    """Holds where the reference is not installed: it wrote the file."""
    assert fingerprint(layout, old_dynamics=old_dynamics) == GOLDEN[name]


@needs_reference
def test_the_fingerprints_are_the_references():
    assert {
        name: fingerprint(layout, old_dynamics=old, reference_text=text)
        for name, layout, text, old in golden_cases()
    } == GOLDEN


ROOM = """
XXPXX
O1 2O
X   X
XDXSX
"""


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen(parse_layout(ROOM, name="room", where="room"))


def act(kitchen: Kitchen, actions: list[int], partner: int = STAY) -> float:
    return sum(sum(kitchen.step(action, partner)) for action in actions)


def test_a_soup_from_onion_to_window(kitchen):
    pot = kitchen.pots[0]
    bring = [WEST, INTERACT, EAST, NORTH, INTERACT, WEST, WEST]
    assert act(kitchen, bring * 3) == 0
    assert kitchen.onions[pot] == 3
    assert kitchen.remaining(pot) == 20
    act(kitchen, [EAST, NORTH, INTERACT])
    assert kitchen.cooked[pot] == 1  # the tick that starts it cooks already
    act(kitchen, [SOUTH, WEST, SOUTH, INTERACT, NORTH, EAST])
    act(kitchen, [NORTH, INTERACT])
    assert kitchen.held[0] == DISH  # not done yet: nothing happens
    act(kitchen, [STAY] * 11)
    assert kitchen.ready(pot)
    act(kitchen, [INTERACT])
    assert kitchen.held[0] == SOUP + 2
    assert kitchen.onions[pot] == 0
    assert act(kitchen, [SOUTH, EAST, SOUTH, INTERACT]) == 20
    assert kitchen.held[0] == NOTHING


def test_a_pot_of_three_starts_by_itself_only_under_the_old_dynamics(kitchen):
    pot = kitchen.pots[0]
    for old_dynamics, cooked in ((False, -1), (True, 1)):
        other = Kitchen(kitchen.layout, old_dynamics=old_dynamics, starts=(7, 8))
        other.onions[pot], other.held[0] = 2, ONION
        act(other, [INTERACT])
        assert (other.onions[pot], other.cooked[pot]) == (3, cooked)


def test_an_onion_does_not_go_into_a_pot_that_cooks(kitchen):
    pot = kitchen.pots[0]
    kitchen.onions[pot], kitchen.cooked[pot] = 1, 0
    kitchen.cells[:], kitchen.held[0] = [7, 8], ONION
    act(kitchen, [INTERACT])
    assert (kitchen.onions[pot], kitchen.held[0]) == (1, ONION)


@pytest.mark.parametrize(
    ("cells", "actions", "after"),
    [
        ((6, 8), (EAST, WEST), (6, 8)),  # the same cell
        ((6, 7), (EAST, WEST), (6, 7)),  # changing places
        ((6, 7), (EAST, STAY), (6, 7)),  # the other's cell
        ((6, 7), (EAST, INTERACT), (6, 7)),
        ((6, 7), (EAST, EAST), (7, 8)),  # behind one who moves on
        ((6, 7), (EAST, NORTH), (6, 7)),  # behind one who turns only
        ((7, 12), (EAST, EAST), (8, 13)),
    ],
)
def test_cooks_who_would_meet_stay_and_turn(kitchen, cells, actions, after):
    kitchen.cells[:] = cells
    kitchen.step(*actions)
    assert tuple(kitchen.cells) == after
    for seat, action in enumerate(actions):
        assert kitchen.facing[seat] == (action if action < STAY else NORTH)


def test_who_sits_first_takes_the_last_thing(kitchen):
    counter = 0 * kitchen.layout.width + 1
    kitchen.on[counter] = ONION
    kitchen.cells[:] = [6, 7]
    kitchen.step(INTERACT, STAY)
    assert (kitchen.held, kitchen.on[counter]) == ([ONION, NOTHING], NOTHING)
    kitchen.step(INTERACT, STAY)
    assert (kitchen.held, kitchen.on[counter]) == ([NOTHING, NOTHING], ONION)


def test_a_kitchen_can_be_copied_and_sent_to_another_process(kitchen):
    for _ in range(7):
        kitchen.step(WEST, INTERACT)
    for other in (copy.deepcopy(kitchen), pickle.loads(pickle.dumps(kitchen))):
        assert other.state() == kitchen.state()
        other.step(INTERACT, WEST)
        assert other.state() != kitchen.state()


@pytest.mark.parametrize("starts", [(7, 7), (0, 7), (7,), (7, 8, 11), (7, 99), (-1, 7)])
def test_starts_are_two_floor_cells(kitchen, starts):
    with pytest.raises(BadInput, match="two different floor cells"):
        Kitchen(kitchen.layout, starts=starts)


def test_old_dynamics_without_an_order_of_three_are_refused():
    settings = {"grid": ROOM, "start_all_orders": [{"ingredients": ["onion"]}]}
    layout = parse_layout(repr(settings), name="one", where="one")
    with pytest.raises(BadInput, match="nobody orders"):
        Kitchen(layout, old_dynamics=True)


@needs_reference
def test_twenty_times_as_fast_as_the_reference():
    """A floor for slow machines; the measured ratio stands in benchmarks/results."""
    name = "cramped_room"
    rng = random.Random(0)
    actions = [(int(rng.random() * 6), int(rng.random() * 6)) for _ in range(300)]
    ratios = []
    for _ in range(3):
        spent = []
        for played, repeats in (
            (Reference(PLAYABLE[name][1]), 1),
            (Kitchen(load_layout(name)), 20),
        ):
            start = time.process_time()
            for first, second in actions * repeats:
                played.step(first, second)
            spent.append((time.process_time() - start) / repeats)
        ratios.append(spent[0] / spent[1])
    assert max(ratios) >= 20, ratios
