"""What a family of scenes is: typed data that can be drawn, solved and changed in one place.

    scene, knobs = FAMILIES["colours"].sample(random.Random(0), size=512)
    scene.draw()                                  a PIL image, RGB, size x size
    scene.solve(knobs[0].ask)                     "yellow": the solver reads the scene, no judge
    scene.changed(knobs[0].path, "blue")          the same scene with one field changed

Every scene holds two or more things of one kind, so that there is something to change that does not
matter: the question is about one of them, the placebo changes another in the same way. What memory
expects of a thing is the first value of its knob.

Drawing takes randomness from nothing but the scene's own fields. Whatever is placed at random is a
field, drawn once when the scene is sampled, so that a change moves nothing else.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

from PIL import Image, ImageDraw, ImageFont
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from planish.methods.vfaith.data import Subset

__all__ = [
    "INK",
    "PAPER",
    "SIZES",
    "Ask",
    "Canvas",
    "Family",
    "Knob",
    "Scene",
    "font",
]

Ask = dict[str, JsonValue]
"""What a solver is asked, as plain data, such as {"thing": 1}."""

SIZES = (256, 1024)
PAPER, INK = (250, 249, 245), (40, 40, 46)
_FINER = 2  # drawn so many times larger and averaged down: smooth edges, the same on each machine
_FONT = Path(__file__).with_name("font") / "DejaVuSans-Bold.ttf"


class Canvas:
    """A square to draw on, in units of its side: 0 is left and top, 1 is right and bottom.

    Args:
        size: pixels a side of the finished picture.

    Attributes:
        draw: Pillow's, for whatever has no shorthand here; in its own pixels, see `at`.
    """

    def __init__(self, size: int, background: tuple[int, int, int] = PAPER) -> None:
        self._image = Image.new("RGB", (size * _FINER, size * _FINER), background)
        self.draw = ImageDraw.Draw(self._image)
        self._side = size * _FINER

    def at(self, value: float) -> float:
        """Units to pixels of `draw`."""
        return value * self._side

    def points(self, units: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Points in units to pixels of `draw`."""
        return [(self.at(x), self.at(y)) for x, y in units]

    def width(self, value: float) -> int:
        """A line's width in units to whole pixels of `draw`, at least 1."""
        return max(1, round(self.at(value)))

    def line(
        self, units: Sequence[tuple[float, float]], fill: tuple[int, int, int], width: float
    ) -> None:
        """A line through points, with round joints."""
        self.draw.line(self.points(units), fill=fill, width=self.width(width), joint="curve")

    def polygon(
        self, units: Sequence[tuple[float, float]], fill: tuple[int, int, int] | None,
        outline: tuple[int, int, int] | None = None, width: float = 0.004,
    ) -> None:  # fmt: skip
        """A filled polygon."""
        self.draw.polygon(self.points(units), fill=fill, outline=outline, width=self.width(width))

    def disc(
        self, x: float, y: float, radius: float, fill: tuple[int, int, int] | None,
        outline: tuple[int, int, int] | None = None, width: float = 0.004,
    ) -> None:  # fmt: skip
        """A filled circle around a point."""
        box = [self.at(v) for v in (x - radius, y - radius, x + radius, y + radius)]
        self.draw.ellipse(box, fill=fill, outline=outline, width=self.width(width))

    def box(
        self, left: float, top: float, right: float, bottom: float,
        fill: tuple[int, int, int] | None, outline: tuple[int, int, int] | None = None,
        width: float = 0.004,
    ) -> None:  # fmt: skip
        """A filled rectangle."""
        self.draw.rectangle(
            [self.at(left), self.at(top), self.at(right), self.at(bottom)],
            fill=fill,
            outline=outline,
            width=self.width(width),
        )

    def text(
        self, x: float, y: float, words: str, height: float,
        fill: tuple[int, int, int] = INK, anchor: str = "mm",
    ) -> None:  # fmt: skip
        """Words at a point; `height` in units, `anchor` as Pillow's."""
        self.draw.text(
            (self.at(x), self.at(y)), words, fill=fill, font=font(round(self.at(height))),
            anchor=anchor,
        )  # fmt: skip

    def finished(self) -> Image.Image:
        """The picture, RGB, `size` x `size`."""
        return self._image.reduce(_FINER)


@lru_cache(maxsize=64)
def font(pixels: int) -> ImageFont.FreeTypeFont:
    """The one font of all scenes; Pillow's own layout, so that no system library matters."""
    return ImageFont.truetype(str(_FONT), pixels, layout_engine=ImageFont.Layout.BASIC)


class Scene(BaseModel, ABC):
    """A picture as data. Subclasses add fields; each is legal or refused by validation.

    Args:
        size: pixels a side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: ClassVar[str]
    size: int = Field(512, ge=SIZES[0], le=SIZES[1])

    @abstractmethod
    def draw(self) -> Image.Image:
        """RGB, `size` x `size`; the same fields give the same bytes."""

    @abstractmethod
    def question(self, ask: Ask) -> str:
        """The question in words, without its options; it gives no value away."""

    @abstractmethod
    def solve(self, ask: Ask) -> str:
        """The right answer, from the scene alone."""

    @abstractmethod
    def statement(self, ask: Ask, answer: str) -> str:
        """A yes-or-no question: is this the value of what the answer hangs on?

        It asks what is seen, not what follows from it.
        """

    @abstractmethod
    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in units, of the thing that a knob's path belongs to.

        No change of that field shows outside, and no other knob's region overlaps.
        """

    def changed(self, path: Sequence[str | int], value: JsonValue) -> Self:
        """This scene with one field changed.

        Args:
            path: names and places, such as ("fruits", 0, "colour").

        Raises:
            pydantic.ValidationError: the family does not allow the value there.
        """
        data: Any = self.model_dump()
        place = data
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return type(self).model_validate(data)

    def dump(self) -> dict[str, JsonValue]:
        """As it is written down, with the name of its family."""
        return {"family": self.family, **self.model_dump(mode="json")}


@dataclass(frozen=True)
class Knob:
    """A field that can be turned, and the question whose answer hangs on it.

    Args:
        name: in words, such as "the colour of the banana".
        path: of the field, see `Scene.changed`.
        values: four or more that are legal and lead to different answers; the first is what memory
            expects, the others are alike in looks, so that none is easier to see.
        ask: of the question about this field.
        instruction: an edit in words, with `{answer}` for the new answer: "Make the banana
            {answer}. Change nothing else."
    """

    name: str
    path: tuple[str | int, ...]
    values: tuple[JsonValue, ...]
    ask: Ask
    instruction: str


@dataclass(frozen=True)
class Family:
    """A kind of scene.

    Args:
        name: of the family, the same as its scenes'.
        subset: of the paper, as far as drawn scenes can carry it.
        scene: the class.
        sample: (random source, size) -> a scene in which every knob stands at its first value, and
            two or more knobs of the same kind.
        prior: what memory expects, in one sentence, for people.
    """

    name: str
    subset: Subset
    scene: type[Scene]
    sample: Callable[[random.Random, int], tuple[Scene, tuple[Knob, ...]]]
    prior: str
