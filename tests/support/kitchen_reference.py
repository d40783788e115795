"""PyPI `overcooked` 0.2.1 beside our kitchen: its states in our words, and what drives both.

kitchen, reference = Kitchen(layout), Reference(layout_text)
for first, second in driven(kitchen, random.Random(0), "goals"):
    assert reference.step(first, second) == kitchen.step(first, second)
    assert reference.state() == kitchen.state()
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from planish.methods.cowork.kitchen.layouts import (
    FAR,
    ONIONS,
    Layout,
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
    State,
)

INSTALL = "the reference is not installed: pip install -c constraints.txt 'overcooked==0.2.1'"


def load_reference() -> Any:
    """The reference's module, imported where its own warnings are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from overcooked.mdp import overcooked_mdp

    return overcooked_mdp


def reference_texts() -> dict[str, str]:
    """The layout files in the reference's package by name, none where it is not installed."""
    found = find_spec("overcooked")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(found.submodule_search_locations[0]) / "data" / "layouts"
    return {path.stem: path.read_text("utf-8") for path in sorted(folder.glob("*.layout"))}


def literal(text: str) -> dict[str, Any]:
    """The settings in a layout's text; a bare grid's one order is three onions."""
    if text.lstrip().startswith("{"):
        settings: dict[str, Any] = ast.literal_eval(text.strip())
        return settings
    rows = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {"grid": "\n".join(rows), "start_all_orders": [{"ingredients": ["onion"] * 3}]}


_ROWS = """XXXPXX
               O  2 P
               X1   X
               XDXXSO"""

VARIANTS = {
    "priced by order": {
        "grid": _ROWS,
        "start_all_orders": [{"ingredients": ["onion"] * count} for count in (2, 3, 1)],
        "recipe_values": [9, 20, 4],
        "recipe_times": [7, 12, 3],
    },
    "priced for all, one doubled": {
        "grid": _ROWS,
        "start_all_orders": [{"ingredients": ["onion"] * count} for count in (3, 1)],
        "start_bonus_orders": [{"ingredients": ["onion"]}],
        "order_bonus": 3,
        "delivery_reward": 5,
        "cook_time": 4,
    },
    "priced by onion, all ordered": {
        "grid": _ROWS,
        "start_all_orders": [],
        "onion_value": 7,
        "tomato_value": 3,
        "onion_time": 2,
        "tomato_time": 5,
    },
}
"""What the shipped layouts do not say: every way to price a soup and to time it."""


class Reference:
    """The reference's kitchen in play.

    One at a time: what its recipes are worth is kept in a class, and the newest kitchen sets it.
    """

    def __init__(
        self, text: str, *, old_dynamics: bool = False, starts: Sequence[int] | None = None
    ) -> None:
        module = load_reference()
        settings = literal(text)
        rows = [row.strip() for row in settings.pop("grid").strip().split("\n")]
        self.width = len(rows[0])
        self.mdp = module.OvercookedGridworld.from_grid(
            rows, settings, {"old_dynamics": old_dynamics}
        )
        self.actions = module.Action.INDEX_TO_ACTION
        self.directions = module.Direction.ALL_DIRECTIONS
        if starts is not None:
            self.mdp.start_player_positions = [divmod(cell, self.width)[::-1] for cell in starts]
        self._state = self.mdp.get_standard_start_state()

    def step(self, first: int, second: int) -> tuple[float, float]:
        """What each seat earned."""
        actions = (self.actions[first], self.actions[second])
        self._state, info = self.mdp.get_state_transition(self._state, actions)
        return tuple(info["sparse_reward_by_agent"])

    def state(self) -> State:
        """The reference's state in our words."""
        players, terrain = self._state.players, self.mdp.terrain_mtx
        counters, pots = [], []
        for (x, y), thing in self._state.objects.items():
            tile = y * self.width + x
            if terrain[y][x] == "P":
                pots.append((tile, len(thing.ingredients), thing._cooking_tick))
            else:
                assert terrain[y][x] == "X"
                counters.append((tile, self._thing(thing)))
        return State(
            self._state.timestep,
            tuple(player.position[1] * self.width + player.position[0] for player in players),
            tuple(self.directions.index(player.orientation) for player in players),
            tuple(self._thing(player.held_object) for player in players),
            tuple(sorted(counters)),
            tuple(sorted(pots)),
        )

    @staticmethod
    def _thing(thing: Any) -> int:
        if thing is None:
            return NOTHING
        if thing.name == "soup":
            assert thing.is_ready
            assert set(thing.ingredients) == {"onion"}
            return SOUP + len(thing.ingredients) - 1
        return {"onion": ONION, "dish": DISH}[thing.name]


DRIVERS = ("random", "busy", "goals", "crash")


def driven(kitchen: Kitchen, rng: random.Random, driver: str) -> Iterator[tuple[int, int]]:
    """Joint actions for ever, looking at our kitchen, which must be stepped in between.

    Args:
        driver: random; busy: interacts more than it walks; goals: walks to what its hands can use
            and uses it; crash: one walks to goals, the other into the first's way.
    """
    seats = {
        "random": (_random, _random),
        "busy": (_busy, _busy),
        "goals": (_goals(), _goals()),
        "crash": (_goals(), _crash) if rng.random() < 0.5 else (_crash, _goals()),
    }[driver]
    while True:
        yield seats[0](kitchen, 0, rng), seats[1](kitchen, 1, rng)


def _random(kitchen: Kitchen, seat: int, rng: random.Random) -> int:
    return int(rng.random() * 6)


def _busy(kitchen: Kitchen, seat: int, rng: random.Random) -> int:
    return INTERACT if rng.random() < 0.6 else int(rng.random() * 6)


def _crash(kitchen: Kitchen, seat: int, rng: random.Random) -> int:
    """Into the other's cell, or the cell before it, or its hands on what the other looks at."""
    if rng.random() < 0.2:
        return int(rng.random() * 6)
    other = kitchen.cells[1 - seat]
    target = kitchen.layout.ahead[other][kitchen.facing[1 - seat]]
    cells = [other] if rng.random() < 0.5 else [cell for cell, _ in kitchen.layout.beside[target]]
    return _towards(kitchen.layout, kitchen.cells[seat], cells, rng)


def _goals() -> Callable[[Kitchen, int, random.Random], int]:
    goal = -1

    def act(kitchen: Kitchen, seat: int, rng: random.Random) -> int:
        nonlocal goal
        layout, cell = kitchen.layout, kitchen.cells[seat]
        if rng.random() < 0.05:
            return int(rng.random() * 6)
        if goal < 0 or rng.random() < 0.05:
            goal = _useful(kitchen, seat, rng)
        for side, direction in layout.beside[goal]:
            if side == cell:
                if kitchen.facing[seat] != direction:
                    return direction
                if rng.random() < 0.8:
                    goal = -1
                return INTERACT
        return _towards(layout, cell, [side for side, _ in layout.beside[goal]], rng)

    return act


def _useful(kitchen: Kitchen, seat: int, rng: random.Random) -> int:
    """A tile that the seat reaches and its hands can use; useful ones more often than others."""
    layout, held = kitchen.layout, kitchen.held[seat]
    walk = layout.ways_to
    within = [
        tile
        for tile, symbol in enumerate(layout.terrain)
        if symbol != " " and walk[tile][kitchen.cells[seat]] < FAR
    ]
    bare = [tile for tile in within if layout.terrain[tile] == "X" and not kitchen.on[tile]]
    laid = [tile for tile in within if kitchen.on[tile]]
    kinds = {
        symbol: [tile for tile in within if layout.terrain[tile] == symbol] for symbol in "ODPS"
    }
    pots = kinds["P"]
    cooking = [pot for pot in pots if kitchen.cooked[pot] >= 0]
    waiting = [pot for pot in pots if kitchen.onions[pot] and kitchen.cooked[pot] < 0]
    full = [pot for pot in waiting if kitchen.onions[pot] == ONIONS]
    if held == NOTHING:
        start = [] if kitchen.old_dynamics else full
        options = [kinds["O"], kinds["O"], laid, laid, start, start, start, waiting]
        options += [kinds["D"]] * (3 if cooking or full else 1)
    elif held == ONION:
        options = [pots, pots, pots, pots, waiting, bare]
    elif held == DISH:
        options = [cooking, cooking, cooking, cooking, pots, bare]
    else:
        options = [kinds["S"], kinds["S"], kinds["S"], bare]
    options = [tiles for tiles in options if tiles] or [within]
    tiles = options[int(rng.random() * len(options))]
    return tiles[int(rng.random() * len(tiles))]


def _towards(layout: Layout, cell: int, cells: list[int], rng: random.Random) -> int:
    """The next step to the nearest of the cells, or any action where there is none."""
    walk = layout.walk_from(cells)
    ways = [(walk[to], direction) for direction, to in layout.moves[cell] if walk[to] < FAR]
    if not ways or rng.random() < 0.05:
        return int(rng.random() * (STAY + 1))
    return min(ways)[1]


GOLDEN_EPISODES, GOLDEN_TICKS = 8, 150


def fingerprint(layout: Layout, *, old_dynamics: bool, reference_text: str | None = None) -> str:
    """A hash of every state and reward of some episodes, the reference's if its text is given."""
    found = hashlib.sha256()
    for episode in range(GOLDEN_EPISODES):
        rng = random.Random(f"{layout.name} {old_dynamics} {episode}")
        starts = layout.drawn_starts(rng) if episode % 2 else None
        kitchen = Kitchen(layout, old_dynamics=old_dynamics, starts=starts)
        played: Kitchen | Reference = kitchen
        if reference_text is not None:
            played = Reference(reference_text, old_dynamics=old_dynamics, starts=starts)
        actions = driven(kitchen, rng, DRIVERS[episode % len(DRIVERS)])
        for first, second in islice(actions, GOLDEN_TICKS):
            rewards = played.step(first, second)
            if played is not kitchen:
                kitchen.step(first, second)
            found.update(repr((tuple(played.state()), [float(own) for own in rewards])).encode())
    return found.hexdigest()


def golden_cases() -> Iterator[tuple[str, Layout, str, bool]]:
    """Name, layout, text and dynamics of all that has a fingerprint."""
    folder = files("planish.methods.cowork") / "shipped" / "layouts"
    texts = {name: (folder / f"{name}.layout").read_text("utf-8") for name in shipped_layouts()} | {
        name: repr(settings) for name, settings in VARIANTS.items()
    }
    for name, text in texts.items():
        layout = parse_layout(text, name=name, where=name)
        yield f"{name}, cooking is started", layout, text, False
        if name not in VARIANTS:  # the reference cooks by itself only where all order three onions
            yield f"{name}, cooking starts itself", layout, text, True


if __name__ == "__main__":
    golden = {
        name: fingerprint(layout, old_dynamics=old_dynamics, reference_text=text)
        for name, layout, text, old_dynamics in golden_cases()
    }
    Path(sys.argv[1]).write_text(json.dumps(golden, indent=1) + "\n", "utf-8")
