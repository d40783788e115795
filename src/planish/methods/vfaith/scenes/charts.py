"""Family `charts`: bars that climb from left to right, but for one that may not.

Memory expects every label at its usual height: the first weekday, month or crop at 2, each later
one higher by 1. Axis, ticks and lines are the same for all heights, so that a change moves nothing
else.

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.question({"thing": 0}), scene.solve({"thing": 0})
('What is the value of the bar Mon?', '2')
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["CHARTS", "Bar", "Charts"]

Style = Literal["open", "framed", "dark"]
Colour = Literal["blue", "orange", "green", "purple"]

_LABELS = {
    "days": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat"),
    "months": ("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    "crops": ("fig", "nut", "oat", "pea", "rye", "yam"),
}
_USUAL = {label: place + 2 for labels in _LABELS.values() for place, label in enumerate(labels)}
_TOP_VALUE = 8
_PAINT: dict[str, tuple[int, int, int]] = {
    "blue": (45, 98, 190),
    "orange": (226, 116, 28),
    "green": (48, 132, 66),
    "purple": (121, 65, 148),
}
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.13, 0.97, 0.06, 0.86
_UNIT = (_BOTTOM - _TOP) / _TOP_VALUE
_LETTERS = 0.06
_WHITE, _GREY, _PALE, _SLATE = (255, 255, 255), (150, 150, 156), (214, 214, 216), (226, 229, 236)


class Bar(BaseModel):
    """One bar; value: where it ends on the axis from 0 to 8."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    value: int = Field(ge=1, le=_TOP_VALUE)

    @model_validator(mode="after")
    def _known(self) -> Bar:
        if self.label not in _USUAL:
            raise ValueError(f"no such label: {self.label!r}")
        return self


class Charts(Scene):
    """Three to five bars over an axis from 0 to 8.

    Args:
        style: open has lines across and no frame; framed has ticks outside a frame; dark has a
            shaded ground with white lines.
        thickness: of a bar, as a share of the room that it has.
    """

    family: ClassVar[str] = "charts"
    bars: tuple[Bar, ...] = Field(min_length=3, max_length=5)
    style: Style
    colour: Colour
    thickness: float = Field(ge=0.5, le=0.8)

    @model_validator(mode="after")
    def _different(self) -> Charts:
        if len({bar.label for bar in self.bars}) < len(self.bars):
            raise ValueError("two bars have the same label")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        _draw_axis(canvas, self.style)
        half = 0.5 * self.thickness * self._room
        for place, bar in enumerate(self.bars):
            x = self._middle(place)
            top = _height(bar.value)
            canvas.box(x - half, top, x + half, _BOTTOM, _PAINT[self.colour], INK, 0.006)
            canvas.text(x, _BOTTOM + 0.07, bar.label, _LETTERS)
        canvas.line([(_LEFT, _BOTTOM), (_RIGHT, _BOTTOM)], INK, 0.01)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"What is the value of the bar {self._asked(ask).label}?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return str(self._asked(ask).value)

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        return f"Does the bar {self._asked(ask).label} end at the line of {answer}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        x, half = self._middle(int(path[1])), 0.5 * self.thickness * self._room + 0.01
        return x - half, _TOP - 0.01, x + half, _BOTTOM + 0.01

    @property
    def _room(self) -> float:
        return (_RIGHT - _LEFT) / len(self.bars)

    def _middle(self, place: int) -> float:
        return _LEFT + (place + 0.5) * self._room

    def _asked(self, ask: Ask) -> Bar:
        return self.bars[int(str(ask["thing"]))]


def _height(value: int) -> float:
    return _BOTTOM - value * _UNIT


def _draw_axis(canvas: Canvas, style: Style) -> None:
    if style == "dark":
        canvas.box(_LEFT, _TOP, _RIGHT, _BOTTOM, _SLATE)
    for value in range(_TOP_VALUE + 1):
        y, even = _height(value), value % 2 == 0
        if style == "framed":
            canvas.line([(_LEFT - (0.02 if even else 0.01), y), (_LEFT, y)], INK, 0.006)
        if style != "framed" or even:
            tone = _WHITE if style == "dark" else _GREY if even else _PALE
            canvas.line([(_LEFT, y), (_RIGHT, y)], tone, 0.008 if style == "dark" else 0.005)
        if even:
            canvas.text(_LEFT - 0.065, y, str(value), _LETTERS)
    if style == "framed":
        canvas.box(_LEFT, _TOP, _RIGHT, _BOTTOM, None, INK, 0.006)
    elif style == "open":
        canvas.line([(_LEFT, _TOP), (_LEFT, _BOTTOM)], INK, 0.008)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Three to five bars at their usual heights, in the labels' own order."""
    labels = _LABELS[rng.choice(sorted(_LABELS))]
    places = sorted(rng.sample(range(len(labels)), rng.randint(3, 5)))
    scene = Charts(
        size=size,
        bars=tuple(Bar(label=labels[place], value=_USUAL[labels[place]]) for place in places),
        style=rng.choice(("open", "framed", "dark")),
        colour=rng.choice(("blue", "orange", "green", "purple")),
        thickness=rng.uniform(0.55, 0.75),
    )
    knobs = []
    for place, bar in enumerate(scene.bars):
        others = [value for value in range(1, _TOP_VALUE + 1) if value != bar.value]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the height of the bar {bar.label}",
                path=("bars", place, "value"),
                values=(bar.value, *others),
                ask={"thing": place},
                instruction=f"Make the bar {bar.label} end exactly at {{answer}} on the axis. "
                "Change nothing else.",
            )
        )
    return scene, tuple(knobs)


CHARTS = Family(
    name="charts",
    subset="PFK",
    scene=Charts,
    sample=sample,
    prior="bars climb from left to right, from 2 for the first label by 1 for each later one",
)
