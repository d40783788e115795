"""Family `geometry`: marked angles, or aromatic rings as chemists draw them.

Memory expects a right angle, for that is what textbooks mark most, and six corners, for that is
benzene. The right angle gets an arc like every other: its usual little square would give it away.
Of the paper's professional knowledge this carries the notation of two trades and what is usual
there; it asks for no knowledge beyond that.

>>> scene, knobs = sample(random.Random(1), 256)
>>> scene.question(knobs[0].ask), scene.solve(knobs[0].ask)
('How large is the angle at P, in degrees?', '90')
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["GEOMETRY", "Angle", "Geometry", "Ring"]

Degrees = Literal[30, 60, 90, 120, 150]
Corners = Literal[3, 4, 5, 6, 8]
Tint = Literal["blue", "green", "orange", "pink"]

_RIGHT: Degrees = 90
_BENZENE: Corners = 6
_DEGREES: tuple[Degrees, ...] = (30, 60, 90, 120, 150)
_CORNERS: tuple[Corners, ...] = (3, 4, 5, 6, 8)
_TINTS: dict[Tint, tuple[int, int, int]] = {
    "blue": (112, 170, 232),
    "green": (120, 196, 128),
    "orange": (246, 172, 92),
    "pink": (238, 140, 170),
}
# Letters of options are A to H; a figure of that name would make replies ambiguous.
_POINTS, _RINGS = "PQRS", "KLMN"
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
_STROKE = 0.016
_LETTER = 0.085
_MARGIN = 0.02


class _Figure(BaseModel):
    """x, y, reach: the circle that the figure stays in, in units of the side; turn: in degrees,
    counterclockwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern="^[I-Z]$")
    tint: Tint
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    reach: float = Field(ge=0.16, le=0.3)
    turn: float = Field(ge=-360, le=360)


class Angle(_Figure):
    """Two arms from a named point and an arc between them; the second arm is counterclockwise of
    the first, which points along `turn`."""

    kind: Literal["angle"] = "angle"
    degrees: Degrees


class Ring(_Figure):
    """A regular polygon with a circle in it, its name in the middle."""

    kind: Literal["ring"] = "ring"
    corners: Corners


class Geometry(Scene):
    """Two to four angles, or as many rings."""

    family: ClassVar[str] = "geometry"
    figures: tuple[Annotated[Angle | Ring, Field(discriminator="kind")], ...] = Field(
        min_length=2, max_length=4
    )

    @model_validator(mode="after")
    def _alike(self) -> Geometry:
        if len({figure.kind for figure in self.figures}) > 1:
            raise ValueError("angles and rings do not stand in one picture")
        if len({figure.name for figure in self.figures}) < len(self.figures):
            raise ValueError("two figures have the same name")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for figure in self.figures:
            if isinstance(figure, Angle):
                _draw_angle(canvas, figure)
            else:
                _draw_ring(canvas, figure)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        figure = self._asked(ask)
        if isinstance(figure, Angle):
            return f"How large is the angle at {figure.name}, in degrees?"
        return f"How many corners does the aromatic ring {figure.name} have?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        figure = self._asked(ask)
        return str(figure.degrees if isinstance(figure, Angle) else figure.corners)

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        figure = self._asked(ask)
        if isinstance(figure, Angle):
            return f"Is the angle at {figure.name} {answer} degrees large?"
        return f"Does the ring {figure.name} have {answer} corners?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        figure = self.figures[int(path[1])]
        reach = figure.reach + _MARGIN
        return figure.x - reach, figure.y - reach, figure.x + reach, figure.y + reach

    def _asked(self, ask: Ask) -> Angle | Ring:
        return self.figures[int(str(ask["thing"]))]


def _toward(figure: _Figure, degrees: float, distance: float) -> tuple[float, float]:
    """The point so far from the figure's middle; y grows downwards, angles counterclockwise."""
    radians = math.radians(degrees)
    return figure.x + distance * math.cos(radians), figure.y - distance * math.sin(radians)


def _draw_angle(canvas: Canvas, angle: Angle) -> None:
    wedge = [
        _toward(angle, angle.turn + step, 0.7 * angle.reach)
        for step in range(0, angle.degrees + 1, 3)
    ]
    canvas.polygon([(angle.x, angle.y), *wedge], _TINTS[angle.tint])
    canvas.line(wedge, INK, 0.6 * _STROKE)
    first = _toward(angle, angle.turn, angle.reach)
    second = _toward(angle, angle.turn + angle.degrees, angle.reach)
    canvas.line([first, (angle.x, angle.y), second], INK, _STROKE)
    canvas.disc(angle.x, angle.y, _STROKE, INK)
    # A right angle before the first arm: no size of the angle brings an arm there.
    canvas.text(*_toward(angle, angle.turn - 90, 0.75 * _LETTER), angle.name, _LETTER)


def _draw_ring(canvas: Canvas, ring: Ring) -> None:
    step = 360 / ring.corners
    outline = [
        _toward(ring, ring.turn + 90 + step * corner, ring.reach) for corner in range(ring.corners)
    ]
    canvas.polygon(outline, _TINTS[ring.tint])
    canvas.line([*outline, outline[0], outline[1]], INK, _STROKE)  # the joint at the start is round
    canvas.disc(ring.x, ring.y, 0.4 * ring.reach, (255, 255, 255), INK, 0.6 * _STROKE)
    canvas.text(ring.x, ring.y, ring.name, _LETTER)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four right angles, or as many rings of six corners, in quarters of the picture."""
    count = rng.randint(2, 4)
    quarters = sorted(rng.sample(range(len(_QUARTERS)), count))
    kind = rng.choice(("angle", "ring"))
    tint = rng.choice(sorted(_TINTS))
    figures: list[Angle | Ring] = []
    knobs = []
    for place, quarter in enumerate(quarters):
        x, y = _QUARTERS[quarter]
        middle = _Figure(
            name=(_POINTS if kind == "angle" else _RINGS)[place],
            tint=tint,
            x=x + rng.uniform(-0.02, 0.02),
            y=y + rng.uniform(-0.02, 0.02),
            reach=rng.uniform(0.19, 0.205),
            turn=rng.uniform(-20, 20),
        ).model_dump()
        if kind == "angle":
            figures.append(Angle(**middle, degrees=_RIGHT))
            knobs.append(_angle_knob(rng, place))
        else:
            figures.append(Ring(**middle, corners=_BENZENE))
            knobs.append(_ring_knob(rng, place))
    return Geometry(size=size, figures=tuple(figures)), tuple(knobs)


def _angle_knob(rng: random.Random, place: int) -> Knob:
    others = [degrees for degrees in _DEGREES if degrees != _RIGHT]
    rng.shuffle(others)
    return Knob(
        name=f"the size of the angle at {_POINTS[place]}",
        path=("figures", place, "degrees"),
        values=(_RIGHT, *others),
        ask={"thing": place},
        instruction=f"Turn one arm of the angle at {_POINTS[place]} until the angle is {{answer}} "
        "degrees large. Change nothing else.",
    )


def _ring_knob(rng: random.Random, place: int) -> Knob:
    others = [corners for corners in _CORNERS if corners != _BENZENE]
    rng.shuffle(others)
    return Knob(
        name=f"the corners of the ring {_RINGS[place]}",
        path=("figures", place, "corners"),
        values=(_BENZENE, *others),
        ask={"thing": place},
        instruction=f"Make the ring {_RINGS[place]} a regular polygon with {{answer}} corners. "
        "Change nothing else.",
    )


GEOMETRY = Family(
    name="geometry",
    subset="PFK",
    scene=Geometry,
    sample=sample,
    prior="marked angles are right angles, and aromatic rings have six corners",
)
