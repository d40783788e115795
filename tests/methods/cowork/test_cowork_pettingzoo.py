"""The kitchen as a PettingZoo environment: its own API test, and what its numbers mean."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

from planish.errors import BadInput
from planish.methods.cowork.kitchen.layouts import load_layout, parse_layout
from planish.methods.cowork.kitchen.simulator import EAST, INTERACT, NORTH, SOUTH, STAY, WEST

pytest.importorskip("pettingzoo", reason="pip install 'planish[pettingzoo]'")

from planish.methods.cowork.kitchen.pettingzoo import PLANES, KitchenEnv

ROOM = """
XXPXX
O1 2O
X   X
XDXSX
"""


def api_tests():
    """PettingZoo's own; importing them warns of what they import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
        from pettingzoo.utils import parallel_to_aec
    return api_test, parallel_api_test, parallel_seed_test, parallel_to_aec


@pytest.mark.parametrize("drawn_starts", [False, True])
@pytest.mark.parametrize("layout", ["cramped_room", "held_out_2"])
def test_pettingzoos_own_api_tests_pass(layout, drawn_starts):
    api_test, parallel_api_test, parallel_seed_test, parallel_to_aec = api_tests()

    def environment() -> KitchenEnv:
        return KitchenEnv(layout, drawn_starts=drawn_starts, horizon=50)

    parallel_api_test(environment(), num_cycles=120)
    parallel_seed_test(environment, num_cycles=60)
    api_test(parallel_to_aec(environment()), num_cycles=120)


def play(environment: KitchenEnv, seed: int) -> list[bytes]:
    """All observations of two episodes under actions of that seed."""
    rng = np.random.default_rng(seed)
    seen = []
    for episode in range(2):
        observations, _ = environment.reset(seed=seed if episode == 0 else None)
        while environment.agents:
            actions = {agent: int(rng.integers(6)) for agent in environment.agents}
            observations, *_ = environment.step(actions)
            seen += [observations[agent].tobytes() for agent in environment.possible_agents]
    return seen


def test_a_seed_fixes_every_observation():
    first, again, other = (
        play(KitchenEnv("coordination_ring", drawn_starts=True, horizon=60), seed)
        for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_start_cells_are_drawn_only_where_asked_and_in_the_cooks_rooms():
    layout = load_layout("forced_coordination")

    def starts(environment: KitchenEnv) -> set[tuple[int, ...]]:
        found = set()
        for seed in range(40):
            observations, _ = environment.reset(seed=seed)
            planes = observations["seat_0"]
            found.add(tuple(int(planes[whose].argmax()) for whose in (0, 1)))
        return found

    assert starts(KitchenEnv(layout)) == {layout.starts}
    drawn = starts(KitchenEnv(layout, drawn_starts=True))
    assert len(drawn) > 5
    for cells in drawn:
        for cell, start in zip(cells, layout.starts, strict=True):
            assert layout.room_of[cell] == layout.room_of[start]


@pytest.fixture
def room() -> KitchenEnv:
    layout = parse_layout(ROOM, name="room", where="room")
    environment = KitchenEnv(layout, horizon=60, render_mode="ansi")
    environment.reset(seed=0)
    return environment


def act(environment: KitchenEnv, actions: list[int]) -> list[float]:
    """Seat 1 acts, seat 0 stays; the common rewards."""
    earned = []
    for action in actions:
        _, rewards, *_ = environment.step({"seat_0": STAY, "seat_1": action})
        assert rewards["seat_0"] == rewards["seat_1"]
        earned.append(rewards["seat_0"])
    return earned


BRING = [EAST, INTERACT, WEST, NORTH, INTERACT, EAST]
SERVE = [WEST, NORTH, INTERACT, SOUTH, WEST, SOUTH, INTERACT, NORTH, EAST, NORTH]


def test_a_delivery_pays_both_and_says_whose_it_was(room):
    earned = act(room, BRING * 3 + SERVE + [STAY] * 12 + [INTERACT, SOUTH, EAST, SOUTH])
    assert not any(earned)
    _, rewards, terminations, truncations, infos = room.step({"seat_0": STAY, "seat_1": INTERACT})
    assert rewards == {"seat_0": 20.0, "seat_1": 20.0}
    assert infos == {"seat_0": {"delivered": 0.0}, "seat_1": {"delivered": 20.0}}
    assert not any(terminations.values())
    assert not any(truncations.values())


def test_planes_show_the_kitchen_from_each_cooks_side(room):
    act(room, BRING[:2])  # seat 1 holds an onion and faces east
    one = dict(zip(PLANES, room.step({"seat_0": WEST, "seat_1": STAY})[0]["seat_1"], strict=True))
    zero = dict(zip(PLANES, room.state(), strict=True))
    assert (one["me"].argmax(), one["partner"].argmax()) == (8, 6)
    assert (zero["me"].argmax(), zero["partner"].argmax()) == (6, 8)
    assert one["my face east"].argmax() == 8
    assert one["partner's face west"].argmax() == 6
    assert one["onion"].argmax() == 8
    assert (one["onion"] == zero["onion"]).all()
    assert one["onion supply"].sum() == 2
    assert one["time to go"] == pytest.approx(np.full((4, 5), 57 / 60))
    act(room, [*BRING[2:5], INTERACT])  # into the pot, then started
    planes = dict(zip(PLANES, room.state(), strict=True))
    assert planes["onions in pot"][0, 2] == pytest.approx(1 / 3)
    assert planes["ticks to go"][0, 2] == pytest.approx(19 / 20)
    act(room, [STAY] * 19)
    planes = dict(zip(PLANES, room.state(), strict=True))
    assert planes["soup done"][0, 2] == 1
    assert planes["ticks to go"].sum() == 0


def test_observations_stay_inside_their_space():
    environment = KitchenEnv("counter_circuit_o_1order", horizon=100, old_dynamics=True)
    rng = np.random.default_rng(0)
    environment.reset(seed=0)
    while environment.agents:
        actions = {agent: int(rng.integers(6)) for agent in environment.agents}
        for agent, seen in environment.step(actions)[0].items():
            assert environment.observation_space(agent).contains(seen)


def test_the_horizon_truncates_and_no_step_follows():
    environment = KitchenEnv(horizon=3)
    with pytest.raises(ValueError, match="call reset first"):
        environment.step({"seat_0": STAY, "seat_1": STAY})
    environment.reset()
    over = [environment.step({"seat_0": STAY, "seat_1": STAY})[3]["seat_1"] for _ in range(3)]
    assert over == [False, False, True]
    assert environment.agents == []
    with pytest.raises(ValueError, match="call reset first"):
        environment.step({"seat_0": STAY, "seat_1": STAY})


@pytest.mark.parametrize("actions", [{"seat_0": 0}, {"seat_0": 0, "seat_1": 6}, {}])
def test_an_action_is_due_from_each(room, actions):
    with pytest.raises(ValueError, match="one action from 0 to 5"):
        room.step(actions)


def test_the_text_shows_what_happens(room):
    act(room, [*BRING[:5], INTERACT])
    assert room.render() == (
        "tick 6 of 60\nXX1XX\nOAB O\nX   X\nXDXSX\n"
        "A seat_0 faces north, holds nothing\nB seat_1 faces north, holds nothing"
    )
    assert KitchenEnv().render() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "nowhere"}, "no layout 'nowhere'"),
        ({"horizon": 0}, "a horizon of 0"),
        ({"render_mode": "human"}, "render mode 'human'"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(BadInput, match=message):
        KitchenEnv(**options)


def test_without_pettingzoo_the_line_that_installs_it_is_named():
    code = (
        "import sys; sys.modules['pettingzoo'] = None\n"
        "from planish.errors import BadInput\n"
        "import planish.methods.cowork.kitchen\n"
        "try:\n    import planish.methods.cowork.kitchen.pettingzoo\n"
        "except BadInput as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'planish[pettingzoo]'" in result.stdout, result.stderr
