"""Family `maps`: houses, and winding roads that lead from them to places.

Memory expects a road to go straight across: the red house stands level with the first place of its
map, the blue one with the second, and so on. Each house has a map of its own, so that a road that
is laid anew crosses no other.

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.question({"thing": 0})
'Where does the road from the red house lead?'
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["MAPS", "Maps", "Road"]

Colour = Literal["red", "blue", "green", "orange"]
Country = Literal["north", "south"]
Ground = Literal["meadow", "sand", "snow"]

_COLOURS: tuple[Colour, ...] = ("red", "blue", "green", "orange")
_PAINT: dict[Colour, tuple[int, int, int]] = {
    "red": (206, 44, 49),
    "blue": (45, 98, 190),
    "green": (34, 116, 54),
    "orange": (226, 116, 28),
}
_PLACES: dict[Country, tuple[str, ...]] = {
    "north": ("castle", "lake", "mill", "tower"),
    "south": ("church", "forest", "tent", "bridge"),
}
_GROUNDS: dict[Ground, tuple[int, int, int]] = {
    "meadow": (222, 234, 204),
    "sand": (242, 230, 200),
    "snow": (238, 242, 246),
}
_QUARTERS = 4
_LEFT, _RIGHT = 0.02, 0.48  # of a map, from its quarter's corner
_HOUSE, _ICON = 0.075, 0.425
_START, _END = 0.118, 0.365
_ROWS = (0.085, 0.195, 0.305, 0.415)
_HALF = 0.045  # of an icon
_WIDTH = 0.024
_STEPS = 24
_WHITE, _STONE, _WATER, _BROWN = (255, 255, 255), (156, 158, 166), (92, 160, 220), (120, 78, 44)
_BRICK, _LEAF, _CANVAS = (178, 92, 76), (70, 140, 76), (236, 190, 70)
Tone = tuple[int, int, int]


class Road(BaseModel):
    """A house with its map.

    Args:
        colour: of house and road; it says with which place the house stands level.
        leads_to: a place of the country.
        quarter: of the picture that the map has, from the top left.
        bends: how far the road swings up or down on its way, in units of the side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    colour: Colour
    leads_to: str
    quarter: int = Field(ge=0, lt=_QUARTERS)
    bends: tuple[float, float]

    @model_validator(mode="after")
    def _gentle(self) -> Road:
        if max(abs(bend) for bend in self.bends) > 0.05:
            raise ValueError("the road leaves its map")
        return self

    @property
    def corner(self) -> tuple[float, float]:
        """Left and top of its quarter, in units."""
        return 0.5 * (self.quarter % 2), 0.5 * (self.quarter // 2)

    @property
    def row(self) -> int:
        """In which the house stands."""
        return _COLOURS.index(self.colour)


class Maps(Scene):
    """Two to four houses, each with the same four places across."""

    family: ClassVar[str] = "maps"
    country: Country
    ground: Ground
    roads: tuple[Road, ...] = Field(min_length=2, max_length=4)

    @model_validator(mode="after")
    def _sound(self) -> Maps:
        for name in ("colour", "quarter"):
            if len({getattr(road, name) for road in self.roads}) < len(self.roads):
                raise ValueError(f"two houses have the same {name}")
        for road in self.roads:
            if road.leads_to not in _PLACES[self.country]:
                raise ValueError(f"there is no {road.leads_to} in the {self.country}")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for road in self.roads:
            left, top = road.corner
            canvas.box(left + _LEFT, top + _LEFT, left + _RIGHT, top + _RIGHT,
                       _GROUNDS[self.ground], INK, 0.005)  # fmt: skip
            for row, place in enumerate(_PLACES[self.country]):
                _ICONS[place](canvas, left + _ICON, top + _ROWS[row])
            canvas.line(self._line(road), _PAINT[road.colour], _WIDTH)
            _house(canvas, left + _HOUSE, top + _ROWS[road.row], _PAINT[road.colour])
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"Where does the road from the {self._asked(ask).colour} house lead?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return self._asked(ask).leads_to

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        return f"Does the {self._asked(ask).colour} road end at the {answer}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        left, top = self.roads[int(path[1])].corner
        return left + _START - _WIDTH, top + _LEFT, left + _ICON - _HALF, top + _RIGHT

    def _line(self, road: Road) -> list[tuple[float, float]]:
        """From the house through two bends to the place."""
        left, top = road.corner
        start, end = _ROWS[road.row], _ROWS[_PLACES[self.country].index(road.leads_to)]
        points = []
        for step in range(_STEPS + 1):
            t = step / _STEPS
            climb = (end - start) * t * (2 - t)
            swing = road.bends[0] * math.sin(math.pi * t) + road.bends[1] * math.sin(math.tau * t)
            y = min(max(start + climb + swing, _ROWS[0] - 0.042), _ROWS[-1] + 0.042)
            points.append((left + _START + (_END - _START) * t, top + y))
        return points

    def _asked(self, ask: Ask) -> Road:
        return self.roads[int(str(ask["thing"]))]


def _house(canvas: Canvas, x: float, y: float, paint: Tone) -> None:
    canvas.box(x - 0.034, y - 0.01, x + 0.034, y + 0.042, paint, INK, 0.006)
    canvas.polygon([(x - 0.048, y - 0.008), (x, y - 0.052), (x + 0.048, y - 0.008)], paint, INK,
                   0.006)  # fmt: skip
    canvas.box(x - 0.01, y + 0.012, x + 0.01, y + 0.042, _WHITE, INK, 0.004)


def _castle(canvas: Canvas, x: float, y: float) -> None:
    wall = []
    for place, step in enumerate((-0.044, -0.022, -0.008, 0.008, 0.022, 0.044)):
        teeth = (y - 0.012, y - 0.042) if place % 2 == 0 else (y - 0.042, y - 0.012)
        wall += [(x + step, teeth[0]), (x + step, teeth[1])]
    wall = [(x - 0.044, y + 0.044), *wall, (x + 0.044, y + 0.044)]
    canvas.polygon(wall, _STONE, INK, 0.006)
    canvas.box(x - 0.012, y + 0.012, x + 0.012, y + 0.044, INK)


def _lake(canvas: Canvas, x: float, y: float) -> None:
    box = [canvas.at(v) for v in (x - 0.045, y - 0.028, x + 0.045, y + 0.036)]
    canvas.draw.ellipse(box, fill=_WATER, outline=INK, width=canvas.width(0.005))
    for wave in (-0.006, 0.014):
        canvas.line([(x - 0.024, y + wave), (x + 0.024, y + wave)], _WHITE, 0.006)


def _mill(canvas: Canvas, x: float, y: float) -> None:
    canvas.polygon([(x - 0.016, y - 0.03), (x + 0.016, y - 0.03), (x + 0.028, y + 0.045),
                    (x - 0.028, y + 0.045)], _WHITE, INK, 0.006)  # fmt: skip
    for side in (-1, 1):
        canvas.line([(x - side * 0.04, y - 0.052), (x + side * 0.04, y + 0.022)], _BROWN, 0.013)


def _tower(canvas: Canvas, x: float, y: float) -> None:
    canvas.box(x - 0.016, y - 0.022, x + 0.016, y + 0.046, _BRICK, INK, 0.006)
    canvas.polygon([(x - 0.026, y - 0.02), (x, y - 0.054), (x + 0.026, y - 0.02)], INK)
    canvas.box(x - 0.005, y - 0.004, x + 0.005, y + 0.014, INK)


def _church(canvas: Canvas, x: float, y: float) -> None:
    canvas.box(x - 0.03, y + 0.002, x + 0.03, y + 0.046, _WHITE, INK, 0.006)
    canvas.polygon([(x - 0.04, y + 0.004), (x, y - 0.03), (x + 0.04, y + 0.004)], _BRICK, INK,
                   0.006)  # fmt: skip
    canvas.line([(x, y - 0.05), (x, y - 0.022)], INK, 0.008)
    canvas.line([(x - 0.013, y - 0.039), (x + 0.013, y - 0.039)], INK, 0.008)


def _forest(canvas: Canvas, x: float, y: float) -> None:
    for side, high in ((-0.024, -0.026), (0.024, -0.026), (0.0, -0.046)):
        canvas.box(x + side - 0.005, y + 0.026, x + side + 0.005, y + 0.046, _BROWN)
        canvas.polygon([(x + side - 0.024, y + 0.032), (x + side, y + high),
                        (x + side + 0.024, y + 0.032)], _LEAF, INK, 0.005)  # fmt: skip


def _tent(canvas: Canvas, x: float, y: float) -> None:
    canvas.polygon([(x - 0.046, y + 0.036), (x, y - 0.036), (x + 0.046, y + 0.036)], _CANVAS, INK,
                   0.006)  # fmt: skip
    canvas.polygon([(x - 0.015, y + 0.036), (x, y - 0.01), (x + 0.015, y + 0.036)], INK)


def _bridge(canvas: Canvas, x: float, y: float) -> None:
    canvas.box(x - 0.046, y + 0.02, x + 0.046, y + 0.042, _WATER)
    canvas.box(x - 0.046, y - 0.02, x + 0.046, y + 0.002, _STONE, INK, 0.006)
    for step in (-0.036, 0.0, 0.036):
        canvas.box(x + step - 0.008, y, x + step + 0.008, y + 0.036, _STONE, INK, 0.005)


_ICONS: dict[str, Callable[[Canvas, float, float], None]] = {
    "castle": _castle,
    "lake": _lake,
    "mill": _mill,
    "tower": _tower,
    "church": _church,
    "forest": _forest,
    "tent": _tent,
    "bridge": _bridge,
}


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four houses whose roads go straight across, but for their bends."""
    country: Country = rng.choice(("north", "south"))
    places = _PLACES[country]
    colours = rng.sample(_COLOURS, rng.randint(2, 4))
    quarters = rng.sample(range(_QUARTERS), len(colours))
    roads, knobs = [], []
    for place, (colour, quarter) in enumerate(zip(colours, quarters, strict=True)):
        usual = places[_COLOURS.index(colour)]
        roads.append(
            Road(
                colour=colour,
                leads_to=usual,
                quarter=quarter,
                bends=(rng.uniform(-0.03, 0.03), rng.uniform(-0.04, 0.04)),
            )
        )
        others = [other for other in places if other != usual]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the road from the {colour} house",
                path=("roads", place, "leads_to"),
                values=(usual, *others),
                ask={"thing": place},
                instruction=f"Lay the road from the {colour} house so that it leads to the "
                "{answer}. Change nothing else.",
            )
        )
    ground: Ground = rng.choice(("meadow", "sand", "snow"))
    return Maps(size=size, country=country, ground=ground, roads=tuple(roads)), tuple(knobs)


MAPS = Family(
    name="maps",
    subset="REA",
    scene=Maps,
    sample=sample,
    prior="a road goes straight across, to the place that is level with its house",
)
