"""Family `counting`: animals and plants with a well-known number of parts; a spider has eight legs.

Memory expects nature's number. Whatever the number, the parts are spread evenly over the same room,
so that no number is drawn with less care than another.

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.question({"thing": 0})
'How many legs does the dog have?'
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["COUNTING", "Being", "Counting"]

Kind = Literal["spider", "beetle", "dog", "bird", "starfish", "clover"]

_PARTS: dict[Kind, str] = {
    "spider": "legs",
    "beetle": "legs",
    "dog": "legs",
    "bird": "legs",
    "starfish": "arms",
    "clover": "leaves",
}
_USUAL: dict[Kind, int] = {
    "spider": 8,
    "beetle": 6,
    "dog": 4,
    "bird": 2,
    "starfish": 5,
    "clover": 3,
}
_ODD: dict[Kind, tuple[int, ...]] = {
    "spider": (4, 5, 6, 7, 9),
    "beetle": (3, 4, 5, 7, 8),
    "dog": (2, 3, 5, 6),
    "bird": (1, 3, 4, 5),
    "starfish": (3, 4, 6, 7, 8),
    "clover": (2, 4, 5, 6),
}
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
_LEG = 0.15  # width of a leg, in radii
_WHITE = (255, 255, 255)
Tone = tuple[int, int, int]
_TONES: dict[Kind, tuple[Tone, ...]] = {
    "spider": ((72, 60, 60), (96, 52, 44)),
    "beetle": ((150, 40, 44), (40, 92, 120)),
    "dog": ((150, 104, 62), (112, 112, 120)),
    "bird": ((52, 104, 176), (196, 124, 32)),
    "starfish": ((222, 104, 52), (186, 76, 112)),
    "clover": ((52, 136, 66), (88, 140, 40)),
}


class Being(BaseModel):
    """One of them.

    Args:
        parts: how many of what its kind is known for.
        tone: number of its paint.
        x, y: its middle, in units of the side; radius: of the circle around it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Kind
    parts: int
    tone: int = Field(ge=0, le=1)
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    radius: float = Field(ge=0.18, le=0.24)

    @model_validator(mode="after")
    def _countable(self) -> Being:
        if self.parts not in (_USUAL[self.kind], *_ODD[self.kind]):
            raise ValueError(f"a {self.kind} is not drawn with {self.parts} {_PARTS[self.kind]}")
        return self

    @property
    def paint(self) -> Tone:
        """Its colour."""
        return _TONES[self.kind][self.tone]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point in radii from its middle, in units."""
        return self.x + x * self.radius, self.y + y * self.radius

    def around(self, degrees: float, reach: float) -> tuple[float, float]:
        """A point by its angle from straight up, clockwise."""
        turn = math.radians(degrees)
        return self.at(reach * math.sin(turn), -reach * math.cos(turn))


class Counting(Scene):
    """Two to four beings of different kinds that do not touch."""

    family: ClassVar[str] = "counting"
    beings: tuple[Being, ...] = Field(min_length=2, max_length=4)

    @model_validator(mode="after")
    def _apart(self) -> Counting:
        if len({being.kind for being in self.beings}) < len(self.beings):
            raise ValueError("two beings are of the same kind")
        for place, one in enumerate(self.beings):
            for other in self.beings[:place]:
                if max(abs(one.x - other.x), abs(one.y - other.y)) < one.radius + other.radius:
                    raise ValueError("two beings touch")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for being in self.beings:
            _DRAWN[being.kind](canvas, being)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        kind = self._asked(ask).kind
        return f"How many {_PARTS[kind]} does the {kind} have?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return str(self._asked(ask).parts)

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        kind = self._asked(ask).kind
        part = {"leaves": "leaf"}.get(_PARTS[kind], _PARTS[kind][:-1])
        return f"Does the {kind} have exactly {answer} {part if answer == '1' else _PARTS[kind]}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        being = self.beings[int(path[1])]
        x, y, reach = being.x, being.y, being.radius
        return x - reach, y - reach, x + reach, y + reach

    def _asked(self, ask: Ask) -> Being:
        return self.beings[int(str(ask["thing"]))]


def _spread(count: int, low: float, high: float) -> list[float]:
    """So many places from low to high, ends included; a single one stands in the middle."""
    if count == 1:
        return [0.5 * (low + high)]
    return [low + (high - low) * place / (count - 1) for place in range(count)]


def _oval(canvas: Canvas, being: Being, box: tuple[float, float, float, float], fill: Tone) -> None:
    (x0, y0), (x1, y1) = being.at(*box[:2]), being.at(*box[2:])
    canvas.draw.ellipse(
        [canvas.at(v) for v in (x0, y0, x1, y1)], fill=fill, outline=INK, width=canvas.width(0.006)
    )


def _dot(canvas: Canvas, being: Being, x: float, y: float, radius: float, fill: Tone) -> None:
    canvas.disc(*being.at(x, y), radius * being.radius, fill)


def _crawler(canvas: Canvas, being: Being) -> None:
    """Seen from above: legs with a knee on either side; an odd one is on the left."""
    left = (being.parts + 1) // 2
    for side, count in ((-1, left), (1, being.parts - left)):
        for slope in _spread(count, -1.0, 1.0):
            hip, knee = (side * 0.12, slope * 0.22), (side * 0.56, slope * 0.62 - 0.05)
            foot = (side * 0.9, slope * 0.84 + 0.04)
            canvas.line([being.at(*hip), being.at(*knee), being.at(*foot)], being.paint,
                        _LEG * being.radius)  # fmt: skip


def _spider(canvas: Canvas, being: Being) -> None:
    _crawler(canvas, being)
    _oval(canvas, being, (-0.34, -0.12, 0.34, 0.72), being.paint)
    _oval(canvas, being, (-0.24, -0.5, 0.24, -0.04), being.paint)
    for x in (-0.09, 0.09):
        _dot(canvas, being, x, -0.36, 0.055, _WHITE)


def _beetle(canvas: Canvas, being: Being) -> None:
    _crawler(canvas, being)
    _oval(canvas, being, (-0.25, -0.76, 0.25, -0.3), INK)
    _oval(canvas, being, (-0.4, -0.5, 0.4, 0.76), being.paint)
    canvas.line([being.at(0, -0.48), being.at(0, 0.74)], INK, 0.04 * being.radius)
    for x, y in ((-0.2, -0.1), (0.2, -0.1), (-0.2, 0.3), (0.2, 0.3)):
        _dot(canvas, being, x, y, 0.08, INK)


def _legs(canvas: Canvas, being: Being, low: float, high: float, top: float, fill: Tone) -> None:
    for x in _spread(being.parts, low, high):
        canvas.line([being.at(x, top), being.at(x, 0.92)], fill, 0.13 * being.radius)
        canvas.line([being.at(x - 0.05, 0.92), being.at(x + 0.09, 0.92)], fill, 0.07 * being.radius)


def _dog(canvas: Canvas, being: Being) -> None:
    _legs(canvas, being, -0.66, 0.48, 0.0, being.paint)
    canvas.line([being.at(-0.66, -0.1), being.at(-0.88, -0.5)], being.paint, _LEG * being.radius)
    _oval(canvas, being, (-0.78, -0.3, 0.6, 0.36), being.paint)
    _oval(canvas, being, (0.3, -0.72, 0.88, -0.06), being.paint)
    ear = ((0.36, -0.62), (0.3, -0.96), (0.58, -0.7))
    canvas.polygon([being.at(*corner) for corner in ear], being.paint, INK, 0.006)
    _dot(canvas, being, 0.62, -0.48, 0.06, INK)
    _dot(canvas, being, 0.85, -0.36, 0.08, INK)


def _bird(canvas: Canvas, being: Being) -> None:
    _legs(canvas, being, -0.5, 0.36, -0.1, (196, 88, 24))
    tail = ((-0.5, -0.1), (-0.94, -0.34), (-0.9, 0.04))
    canvas.polygon([being.at(*corner) for corner in tail], being.paint, INK, 0.006)
    _oval(canvas, being, (-0.66, -0.4, 0.5, 0.36), being.paint)
    beak = ((0.62, -0.68), (0.96, -0.52), (0.62, -0.4))
    canvas.polygon([being.at(*corner) for corner in beak], (238, 176, 40), INK, 0.006)
    _oval(canvas, being, (0.16, -0.84, 0.74, -0.24), being.paint)
    _dot(canvas, being, 0.5, -0.6, 0.06, _WHITE)


def _starfish(canvas: Canvas, being: Being) -> None:
    outline = []
    for corner in range(2 * being.parts):
        angle = 180.0 * corner / being.parts
        if corner % 2:
            outline.append(being.around(angle, 0.36))
        else:
            outline += [being.around(angle + turn, 0.9) for turn in (-5, 5)]
    canvas.polygon(outline, being.paint, INK, 0.008)
    _dot(canvas, being, 0, 0, 0.12, _WHITE)


def _clover(canvas: Canvas, being: Being) -> None:
    canvas.line([being.at(0, -0.05), being.at(0.04, 0.5), being.at(0.14, 0.92)], (70, 96, 44),
                0.12 * being.radius)  # fmt: skip
    for leaf in range(being.parts):  # the stalk has a place like a leaf's, straight down
        x, y = being.around(360.0 * (leaf + 1) / (being.parts + 1) - 180, 0.62)
        canvas.line([being.at(0, -0.05), (x, y)], INK, 0.06 * being.radius)
        canvas.disc(x, y - 0.05 * being.radius, 0.25 * being.radius, being.paint, INK, 0.006)


_DRAWN: dict[Kind, Callable[[Canvas, Being], None]] = {
    "spider": _spider,
    "beetle": _beetle,
    "dog": _dog,
    "bird": _bird,
    "starfish": _starfish,
    "clover": _clover,
}


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four beings as nature has them, in quarters of the picture."""
    kinds = rng.sample(sorted(_USUAL), rng.randint(2, 4))
    quarters = sorted(rng.sample(range(len(_QUARTERS)), len(kinds)))
    beings, knobs = [], []
    for place, (kind, quarter) in enumerate(zip(kinds, quarters, strict=True)):
        x, y = _QUARTERS[quarter]
        beings.append(
            Being(
                kind=kind,
                parts=_USUAL[kind],
                tone=rng.randrange(2),
                x=x + rng.uniform(-0.015, 0.015),
                y=y + rng.uniform(-0.015, 0.015),
                radius=rng.uniform(0.21, 0.23),
            )
        )
        odd = list(_ODD[kind])
        rng.shuffle(odd)
        knobs.append(
            Knob(
                name=f"the {_PARTS[kind]} of the {kind}",
                path=("beings", place, "parts"),
                values=(_USUAL[kind], *odd),
                ask={"thing": place},
                instruction=f"Give the {kind} exactly {{answer}} {_PARTS[kind]}, evenly spread. "
                "Change nothing else.",
            )
        )
    return Counting(size=size, beings=tuple(beings)), tuple(knobs)


COUNTING = Family(
    name="counting",
    subset="RWS",
    scene=Counting,
    sample=sample,
    prior="animals and plants have as many parts as in nature",
)
