"""Family `dice`: two dice on each of a few trays; what do they add up to?

Memory expects seven, the commonest throw of two dice. The value of the right die has to be seen,
and the sum worked out: the perception question is about the die alone, so that "saw it and did not
reckon with it" is told from "did not see it".

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.question(knobs[0].ask), scene.solve(knobs[0].ask)
('What do the two dice on the yellow tray add up to?', '7')
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["DICE", "Dice", "Tray"]

Pips = Literal[1, 2, 3, 4, 5, 6]
Colour = Literal["red", "blue", "green", "yellow"]

_SEVEN = 7
_PIPS: tuple[Pips, ...] = (1, 2, 3, 4, 5, 6)
_PAINT: dict[Colour, tuple[int, int, int]] = {
    "red": (206, 44, 49),
    "blue": (60, 112, 200),
    "green": (62, 148, 70),
    "yellow": (238, 201, 44),
}
# Places of the pips, in thirds from the die's middle.
_DIAGONAL = ((-1, -1), (1, 1))
_CORNERS = (*_DIAGONAL, (1, -1), (-1, 1))
_FACES: dict[int, tuple[tuple[int, int], ...]] = {
    1: ((0, 0),),
    2: _DIAGONAL,
    3: (*_DIAGONAL, (0, 0)),
    4: _CORNERS,
    5: (*_CORNERS, (0, 0)),
    6: (*_CORNERS, (-1, 0), (1, 0)),
}
_DIE, _PIP = 0.26, 0.036  # side of a die, radius of a pip
_TRAY_HALF = (0.42, 0.145)  # width and height
_HEIGHTS = {2: (0.27, 0.73), 3: (0.175, 0.5, 0.825)}


class Tray(BaseModel):
    """A tray with two dice that lie `apart` from its middle; x, y: its middle, in units of the
    side."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    colour: Colour
    left: Pips
    right: Pips
    x: float = Field(ge=0.42, le=0.58)
    y: float = Field(ge=0.15, le=0.85)
    apart: float = Field(ge=0.15, le=0.28)


class Dice(Scene):
    """Two or three trays, one above the other."""

    family: ClassVar[str] = "dice"
    trays: tuple[Tray, ...] = Field(min_length=2, max_length=3)

    @model_validator(mode="after")
    def _apart(self) -> Dice:
        if len({tray.colour for tray in self.trays}) < len(self.trays):
            raise ValueError("two trays have the same colour")
        pairs = zip(self.trays, self.trays[1:], strict=False)
        if any(low.y - high.y < 2 * _TRAY_HALF[1] for high, low in pairs):
            raise ValueError("trays are not in order from the top, or overlap")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for tray in self.trays:
            wide, high = _TRAY_HALF
            paint = _PAINT[tray.colour]
            canvas.box(tray.x - wide, tray.y - high, tray.x + wide, tray.y + high, paint, INK)
            _draw_die(canvas, tray.x - tray.apart, tray.y, tray.left)
            _draw_die(canvas, tray.x + tray.apart, tray.y, tray.right)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"What do the two dice on the {self._asked(ask).colour} tray add up to?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        tray = self._asked(ask)
        return str(tray.left + tray.right)

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        tray = self._asked(ask)
        pips = int(answer) - tray.left
        return f"Does the right die on the {tray.colour} tray show {pips}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        tray = self.trays[int(path[1])]
        x, y, half = tray.x + tray.apart, tray.y, 0.5 * _DIE
        return x - half, y - half, x + half, y + half

    def _asked(self, ask: Ask) -> Tray:
        return self.trays[int(str(ask["thing"]))]


def _draw_die(canvas: Canvas, x: float, y: float, pips: Pips) -> None:
    half, third = 0.5 * _DIE, 0.3 * _DIE
    canvas.box(x - half, y - half, x + half, y + half, (255, 255, 255), INK, 0.006)
    for dx, dy in _FACES[pips]:
        canvas.disc(x + dx * third, y + dy * third, _PIP, INK)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two or three trays with two dice that add up to seven."""
    count = rng.randint(2, 3)
    colours = rng.sample(sorted(_PAINT), count)
    trays, knobs = [], []
    for place, colour in enumerate(colours):
        left = rng.choice(_PIPS)
        usual = _PIPS[_SEVEN - left - 1]
        trays.append(
            Tray(
                colour=colour,
                left=left,
                right=usual,
                x=0.5 + rng.uniform(-0.03, 0.03),
                y=_HEIGHTS[count][place] + rng.uniform(-0.008, 0.008),
                apart=rng.uniform(0.17, 0.26),
            )
        )
        others = [pips for pips in _PIPS if pips != usual]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the right die on the {colour} tray",
                path=("trays", place, "right"),
                values=(usual, *others),
                ask={"thing": place},
                instruction=f"Turn the right die on the {colour} tray so that its two dice add up "
                "to {answer}. Change nothing else.",
            )
        )
    return Dice(size=size, trays=tuple(trays)), tuple(knobs)


DICE = Family(
    name="dice",
    subset="REA",
    scene=Dice,
    sample=sample,
    prior="two dice add up to seven",
)
