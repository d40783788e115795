"""Family `patterns`: rows of shapes that repeat; does the framed one keep to the pattern?

Memory expects that a pattern goes on: whoever has seen the row needs no look into the frame.

The paper's "creativity" subset asks for the free invention of a reader; nothing that is drawn and
solved by rule can. What is carried here is its reverse, the pull to complete what one knows, where
the picture says otherwise. Scores of this family say nothing about imagination.

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.question(knobs[0].ask)
'Which shape stands in the frame of the top row?'
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["PATTERNS", "Patterns", "Row"]

Shape = Literal["circle", "square", "triangle", "star", "diamond", "cross"]
Colour = Literal["red", "blue", "green", "purple", "brown"]

_SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star", "diamond", "cross")
_PAINT: dict[Colour, tuple[int, int, int]] = {
    "red": (206, 44, 49),
    "blue": (45, 98, 190),
    "green": (40, 128, 62),
    "purple": (121, 65, 148),
    "brown": (134, 93, 58),
}
_ROWS = {2: ("top", "bottom"), 3: ("top", "middle", "bottom")}
_HEIGHTS = {2: (0.28, 0.72), 3: (0.18, 0.5, 0.82)}
_LEFT, _WIDE = 0.03, 0.94
_FRAME = 0.012
_FRAME_HALF, _SHAPE_HALF = 0.555, 0.385  # in sides of a place; neighbours stay clear of the frame


def _star() -> tuple[tuple[float, float], ...]:
    corners = []
    for corner in range(10):
        reach = 0.46 if corner % 2 else 1.08
        angle = math.radians(36 * corner - 90)
        corners.append((reach * math.cos(angle), 0.08 + reach * math.sin(angle)))
    return tuple(corners)


# Outlines around (0, 0); each fills the square from -1 to 1 in a way of its own.
_OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    "triangle": ((0, -1), (1, 0.9), (-1, 0.9)),
    "star": _star(),
    "diamond": ((0, -1.05), (0.72, 0), (0, 1.05), (-0.72, 0)),
    "cross": (
        (-0.32, -1), (0.32, -1), (0.32, -0.32), (1, -0.32), (1, 0.32), (0.32, 0.32), (0.32, 1),
        (-0.32, 1), (-0.32, 0.32), (-1, 0.32), (-1, -0.32), (-0.32, -0.32),
    ),
}  # fmt: skip


class Row(BaseModel):
    """A repeated pattern with one place framed.

    Args:
        repeat: the pattern, one period of it.
        length: shapes in the row.
        framed: place of the frame, from 0; the pattern has been seen once before it.
        shown: the shape in the frame; everywhere else the pattern holds.
        colour: of all shapes of the row.
        y: of the row's middle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    repeat: tuple[Shape, ...] = Field(min_length=2, max_length=3)
    length: int = Field(ge=5, le=7)
    framed: int = Field(ge=2)
    shown: Shape
    colour: Colour
    y: float = Field(ge=0.15, le=0.85)

    @model_validator(mode="after")
    def _pattern(self) -> Row:
        if len(set(self.repeat)) < len(self.repeat):
            raise ValueError("a shape stands twice in one period")
        if not len(self.repeat) <= self.framed < self.length:
            raise ValueError("the frame stands before the pattern repeats, or behind the row")
        return self

    @property
    def expected(self) -> Shape:
        """What the pattern would go on with in the frame."""
        return self.repeat[self.framed % len(self.repeat)]

    @property
    def cell(self) -> float:
        """Side of the square that one shape has."""
        return _WIDE / self.length

    def x(self, place: int) -> float:
        """Middle of a place."""
        return _LEFT + self.cell * (place + 0.5)

    def at(self, place: int) -> Shape:
        """The shape at a place."""
        return self.shown if place == self.framed else self.repeat[place % len(self.repeat)]


class Patterns(Scene):
    """Two or three rows, from top to bottom."""

    family: ClassVar[str] = "patterns"
    rows: tuple[Row, ...] = Field(min_length=2, max_length=3)

    @model_validator(mode="after")
    def _apart(self) -> Patterns:
        if any(low.y - high.y < 0.25 for high, low in zip(self.rows, self.rows[1:], strict=False)):
            raise ValueError("rows are not in order from the top, or touch")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for row in self.rows:
            for place in range(row.length):
                _draw_shape(canvas, row, place)
            x, half = row.x(row.framed), _FRAME_HALF * row.cell
            canvas.box(x - half, row.y - half, x + half, row.y + half, None, INK, _FRAME)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"Which shape stands in the frame of the {self._name(ask)} row?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return self.rows[_thing(ask)].shown

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        return f"Does a {answer} stand in the frame of the {self._name(ask)} row?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        row = self.rows[int(path[1])]
        x, half = row.x(row.framed), _FRAME_HALF * row.cell
        return x - half, row.y - half, x + half, row.y + half

    def _name(self, ask: Ask) -> str:
        return _ROWS[len(self.rows)][_thing(ask)]


def _thing(ask: Ask) -> int:
    return int(str(ask["thing"]))


def _draw_shape(canvas: Canvas, row: Row, place: int) -> None:
    shape, x, y, paint = row.at(place), row.x(place), row.y, _PAINT[row.colour]
    radius = _SHAPE_HALF * row.cell
    if shape == "circle":
        canvas.disc(x, y, radius, paint)
    else:
        canvas.polygon([(x + dx * radius, y + dy * radius) for dx, dy in _OUTLINES[shape]], paint)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two or three rows in which the framed shape keeps to the pattern."""
    count = rng.randint(2, 3)
    colours = rng.sample(sorted(_PAINT), count)
    rows, knobs = [], []
    for place, colour in enumerate(colours):
        period = rng.randint(2, 3)
        repeat = tuple(rng.sample(_SHAPES, period))
        length = 6 if period == 3 else rng.randint(5, 6)
        framed = rng.randrange(period, length)
        usual = repeat[framed % period]
        rows.append(
            Row(
                repeat=repeat,
                length=length,
                framed=framed,
                shown=usual,
                colour=colour,
                y=_HEIGHTS[count][place] + rng.uniform(-0.02, 0.02),
            )
        )
        others = [shape for shape in _SHAPES if shape != usual]
        rng.shuffle(others)
        name = _ROWS[count][place]
        knobs.append(
            Knob(
                name=f"the framed shape of the {name} row",
                path=("rows", place, "shown"),
                values=(usual, *others),
                ask={"thing": place},
                instruction=f"Put a {{answer}} of the same colour into the frame of the {name} "
                "row. Change nothing else.",
            )
        )
    return Patterns(size=size, rows=tuple(rows)), tuple(knobs)


PATTERNS = Family(
    name="patterns",
    subset="CRE",
    scene=Patterns,
    sample=sample,
    prior="a pattern goes on as it began",
)
