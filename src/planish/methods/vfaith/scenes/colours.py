"""Family `colours`: fruits, each in its quarter; a banana is yellow, or is it?

Memory expects each fruit in its usual colour.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["COLOURS", "Colours"]

Colour = Literal["red", "yellow", "green", "orange", "purple", "blue", "brown"]
Kind = Literal["banana", "strawberry", "lime", "carrot", "plum", "potato"]

_PAINT: dict[str, tuple[int, int, int]] = {
    "red": (206, 44, 49),
    "yellow": (238, 201, 44),
    "green": (62, 148, 70),
    "orange": (235, 131, 35),
    "purple": (121, 65, 148),
    "blue": (45, 98, 190),
    "brown": (134, 93, 58),
}
_USUAL: dict[str, Colour] = {
    "banana": "yellow",
    "strawberry": "red",
    "lime": "green",
    "carrot": "orange",
    "plum": "purple",
    "potato": "brown",
}
# Outlines around (0, 0), in radii.
_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "banana": (
        (-1, -0.55), (-0.8, 0.1), (-0.35, 0.55), (0.25, 0.62), (0.8, 0.3), (1, -0.2), (0.9, -0.45),
        (0.62, -0.05), (0.2, 0.12), (-0.25, 0.05), (-0.62, -0.3), (-0.75, -0.6),
    ),
    "strawberry": ((-0.8, -0.45), (-0.3, -0.7), (0.3, -0.7), (0.8, -0.45), (0.55, 0.3), (0, 0.95),
                   (-0.55, 0.3)),
    "carrot": ((-0.42, -0.75), (0.42, -0.75), (0.3, 0), (0.08, 0.95), (-0.08, 0.95), (-0.3, 0)),
}  # fmt: skip
_ROUND = {"lime": (0.85, 0.6), "plum": (0.68, 0.72), "potato": (0.95, 0.55)}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fruit(_Part):
    """One fruit; x, y: its middle, radius: of the circle around it, all in units of the side."""

    kind: Kind
    colour: Colour
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    radius: float = Field(gt=0, le=0.25)


class Colours(Scene):
    """Fruits of different kinds that do not touch."""

    family: ClassVar[str] = "colours"
    fruits: tuple[Fruit, ...] = Field(min_length=2, max_length=4)

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for fruit in self.fruits:
            _draw(canvas, fruit)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"What colour is the {self._asked(ask).kind}?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return self._asked(ask).colour

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        return f"Is the {self._asked(ask).kind} {answer}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        fruit = self.fruits[int(path[1])]
        reach = 1.1 * fruit.radius
        return fruit.x - reach, fruit.y - reach, fruit.x + reach, fruit.y + reach

    def _asked(self, ask: Ask) -> Fruit:
        return self.fruits[int(str(ask["thing"]))]


def _draw(canvas: Canvas, fruit: Fruit) -> None:
    x, y, r = fruit.x, fruit.y, fruit.radius
    paint = _PAINT[fruit.colour]
    if fruit.kind in _ROUND:
        wide, high = _ROUND[fruit.kind]
        box = [canvas.at(v) for v in (x - wide * r, y - high * r, x + wide * r, y + high * r)]
        canvas.draw.ellipse(box, fill=paint, outline=INK, width=canvas.width(0.005))
    else:
        outline = [(x + dx * r, y + dy * r) for dx, dy in _SHAPES[fruit.kind]]
        canvas.polygon(outline, paint, INK, 0.005)
    if fruit.kind in ("strawberry", "carrot"):
        leaves = [(-0.3, -1.0), (0, -0.62), (0.3, -1.0), (0.12, -0.6), (-0.12, -0.6)]
        canvas.polygon([(x + dx * r, y + dy * r) for dx, dy in leaves], (86, 120, 60))
    elif fruit.kind in ("lime", "plum"):
        canvas.line([(x, y - 0.6 * r), (x + 0.12 * r, y - 0.95 * r)], (96, 72, 48), 0.008)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four fruits in their usual colours."""
    count = rng.randint(2, 4)
    kinds = rng.sample(sorted(_USUAL), count)
    quarters = rng.sample([(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)], count)
    fruits, knobs = [], []
    for place, (kind, (x, y)) in enumerate(zip(kinds, quarters, strict=True)):
        fruits.append(
            Fruit(
                kind=kind,
                colour=_USUAL[kind],
                x=x + rng.uniform(-0.02, 0.02),
                y=y + rng.uniform(-0.02, 0.02),
                radius=rng.uniform(0.16, 0.2),
            )
        )
        others = [colour for colour in sorted(_PAINT) if colour != _USUAL[kind]]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the colour of the {kind}",
                path=("fruits", place, "colour"),
                values=(_USUAL[kind], *others),
                ask={"thing": place},
                instruction=f"Make the {kind} {{answer}}. Change nothing else.",
            )
        )
    return Colours(size=size, fruits=tuple(fruits)), tuple(knobs)


COLOURS = Family(
    name="colours",
    subset="RWS",
    scene=Colours,
    sample=sample,
    prior="fruits have their usual colours",
)
