"""The kitchen as a PettingZoo `ParallelEnv`, for learners from elsewhere.

    environment = KitchenEnv("coordination_ring")
    observations, infos = environment.reset(seed=0)
    observations, rewards, terminations, truncations, infos = environment.step(
        {"seat_0": NORTH, "seat_1": INTERACT}
    )

Needs the extra `pettingzoo`; nothing else of the package imports this file.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from planish.errors import BadInput
from planish.methods.cowork.kitchen.layouts import ONIONS, Layout, load_layout
from planish.methods.cowork.kitchen.simulator import (
    ACTIONS,
    DISH,
    NOTHING,
    ONION,
    SOUP,
    STAY,
    Kitchen,
)

try:
    from gymnasium.spaces import Box, Discrete
    from pettingzoo.utils.env import ParallelEnv
except ImportError:
    raise BadInput(
        "PettingZoo is not installed",
        where="kitchen.pettingzoo",
        fix="run: pip install 'planish[pettingzoo]'",
    ) from None

__all__ = ["HORIZON", "PLANES", "KitchenEnv"]

HORIZON = 400
"""Ticks of an episode of the classic benchmark."""

Observation = NDArray[np.float32]

PLANES = (
    *("me", "partner"),
    *(f"my face {way}" for way in ACTIONS[:STAY]),
    *(f"partner's face {way}" for way in ACTIONS[:STAY]),
    *("counter", "onion supply", "dish supply", "pot", "window"),
    *("onion", "dish", "soup"),
    *("onions in pot", "ticks to go", "soup done"),
    "time to go",
)
"""The planes of an observation, each height x width, 0 or 1 but for the shares named here.

Faces are marked on the cook's cell; things on the counter that they lie on or on the cell of who
holds them. Shares: `soup` and `onions in pot` of three onions; `ticks to go` of the cooking time,
in pots that cook; `time to go` of the horizon, on every tile.
"""

_TERRAIN = "XODPS"
_PLANE = {name: number for number, name in enumerate(PLANES)}


class KitchenEnv(ParallelEnv[str, Observation, int]):  # type: ignore[misc]
    """Two cooks, `seat_0` and `seat_1`, who earn together what either delivers.

    Observations are `float32` of shape (`len(PLANES)`, height, width) in [0, 1]; actions 0 to 5 are
    north, south, east, west, stay, interact. No episode terminates; at the horizon it is truncated.
    `infos[agent]["delivered"]` tells what that cook itself earned in the tick.

    Args:
        layout: a floor plan, the name of a shipped one, or the path of a `.layout` file.
        horizon: ticks of an episode.
        old_dynamics: a pot with three onions starts to cook by itself.
        drawn_starts: every episode seats each cook on a drawn cell of its room instead of the
            layout's; the seed of `reset` fixes all draws to the next seed.
        render_mode: "ansi" or None.

    Raises:
        BadInput: no such layout, a horizon below 1, or an unknown render mode.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "name": "planish_kitchen_v0",
        "render_modes": ["ansi"],
        "is_parallelizable": True,
    }

    def __init__(
        self,
        layout: str | Layout = "cramped_room",
        *,
        horizon: int = HORIZON,
        old_dynamics: bool = False,
        drawn_starts: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if horizon < 1:
            raise BadInput(f"a horizon of {horizon}", where="KitchenEnv", fix="give 1 or more")
        if render_mode not in (None, "ansi"):
            raise BadInput(
                f"render mode {render_mode!r}", where="KitchenEnv", fix='give "ansi" or None'
            )
        self.layout = layout if isinstance(layout, Layout) else load_layout(layout)
        self.horizon = horizon
        self.old_dynamics = old_dynamics
        self.drawn_starts = drawn_starts
        self.render_mode = render_mode
        self.possible_agents = ["seat_0", "seat_1"]
        self.agents: list[str] = []
        shape = (len(PLANES), self.layout.height, self.layout.width)
        self.observation_spaces = {
            agent: Box(0.0, 1.0, shape, np.float32) for agent in self.possible_agents
        }
        self.action_spaces = {agent: Discrete(len(ACTIONS)) for agent in self.possible_agents}
        self._rng = random.Random()
        self._kitchen = Kitchen(self.layout, old_dynamics=old_dynamics)
        self._terrain = np.array(
            [[symbol == kind for symbol in self.layout.terrain] for kind in _TERRAIN], np.float32
        )

    def observation_space(self, agent: str) -> Box:
        """The same space object for an agent every time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete[Any]:
        """The same space object for an agent every time."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Begins an episode.

        Args:
            seed: begins the draws of start cells anew; without one they go on.
            options: PettingZoo passes them; none are read.

        Returns:
            Observations and (empty) infos by agent.
        """
        if seed is not None:
            self._rng = random.Random(seed)
        starts = self.layout.drawn_starts(self._rng) if self.drawn_starts else None
        self._kitchen = Kitchen(self.layout, old_dynamics=self.old_dynamics, starts=starts)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[
        dict[str, Observation],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        """One tick.

        Returns:
            By agent: observation, the common reward, False, whether the horizon is reached, infos.

        Raises:
            ValueError: the episode is over, or not one action 0 to 5 for each agent.
        """
        if not self.agents:
            raise ValueError("the episode is over or not begun: call reset first")
        if set(actions) != set(self.agents) or not all(
            0 <= action < len(ACTIONS) for action in actions.values()
        ):
            raise ValueError(f"give one action from 0 to 5 for each of {self.agents}: {actions}")
        earned = self._kitchen.step(*(int(actions[agent]) for agent in self.agents))
        agents, over = self.agents, self._kitchen.tick >= self.horizon
        if over:
            self.agents = []
        return (
            self._observations(),
            dict.fromkeys(agents, float(sum(earned))),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, over),
            {agent: {"delivered": float(own)} for agent, own in zip(agents, earned, strict=True)},
        )

    def state(self) -> Observation:
        """All there is to see, from seat 0's side."""
        return self._seen(0)

    def render(self) -> str | None:
        """The kitchen as text, in the layout's symbols and a few more.

        On counters `o`, `d` and `s` are an onion, a dish, a soup; in pots digits are onions and `*`
        a soup that is done; `A` and `B` are the cooks.
        """
        if self.render_mode is None:
            return None
        kitchen, layout = self._kitchen, self.layout
        symbols = list(layout.terrain)
        for tile, thing in enumerate(kitchen.on):
            if thing:
                symbols[tile] = " ods"[min(thing, SOUP)]
        for pot in kitchen.pots:
            if kitchen.onions[pot]:
                symbols[pot] = "*" if kitchen.ready(pot) else str(kitchen.onions[pot])
        for seat, cell in enumerate(kitchen.cells):
            symbols[cell] = "AB"[seat]
        text = "".join(symbols)
        rows = [text[y * layout.width : (y + 1) * layout.width] for y in range(layout.height)]
        cooks = [
            f"{'AB'[seat]} seat_{seat} faces {ACTIONS[kitchen.facing[seat]]}, holds "
            + ("nothing", "an onion", "a dish", "a soup")[min(kitchen.held[seat], SOUP)]
            for seat in (0, 1)
        ]
        return "\n".join([f"tick {kitchen.tick} of {self.horizon}", *rows, *cooks])

    def _observations(self) -> dict[str, Observation]:
        return {agent: self._seen(seat) for seat, agent in enumerate(self.possible_agents)}

    def _seen(self, seat: int) -> Observation:
        """What one cook observes."""
        kitchen, layout = self._kitchen, self.layout
        planes = np.zeros((len(PLANES), len(layout.terrain)), np.float32)
        for whose, cook in enumerate((seat, 1 - seat)):
            cell = kitchen.cells[cook]
            planes[whose, cell] = 1
            planes[2 + STAY * whose + kitchen.facing[cook], cell] = 1
            _mark(planes, cell, kitchen.held[cook])
        first = _PLANE["counter"]
        planes[first : first + len(_TERRAIN)] = self._terrain
        for tile, thing in enumerate(kitchen.on):
            _mark(planes, tile, thing)
        for pot in kitchen.pots:
            planes[_PLANE["onions in pot"], pot] = kitchen.onions[pot] / ONIONS
            if kitchen.ready(pot):
                planes[_PLANE["soup done"], pot] = 1
            elif kitchen.cooked[pot] >= 0:
                ticks = layout.recipes[kitchen.onions[pot]].ticks
                planes[_PLANE["ticks to go"], pot] = kitchen.remaining(pot) / ticks
        planes[_PLANE["time to go"]] = max(0.0, 1 - kitchen.tick / self.horizon)
        return planes.reshape(len(PLANES), layout.height, layout.width)


def _mark(planes: Observation, tile: int, thing: int) -> None:
    """Puts what lies or is held there into its plane."""
    if thing == NOTHING:
        return
    name = {ONION: "onion", DISH: "dish"}.get(thing, "soup")
    planes[_PLANE[name], tile] = (thing - SOUP + 1) / ONIONS if thing >= SOUP else 1
