"""Family `clocks`: wall clocks under which a city is named; clocks in pictures show 10:10.

Memory expects the pose of advertisements, both hands up. The long hand stays where it is and the
short one is turned.

>>> scene, knobs = sample(random.Random(0), 256)
>>> scene.solve({"thing": 0})
'10:10'
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["CLOCKS", "Clock", "Clocks"]

City = Literal["Rome", "Paris", "Oslo", "Lima", "Cairo", "Tokyo", "Delhi", "Quito"]
Dial = Literal["figures", "ticks"]
Rim = Literal["black", "red", "blue", "green"]

_CITIES: tuple[City, ...] = ("Rome", "Paris", "Oslo", "Lima", "Cairo", "Tokyo", "Delhi", "Quito")
_RIMS: dict[Rim, tuple[int, int, int]] = {
    "black": INK,
    "red": (188, 44, 48),
    "blue": (45, 98, 190),
    "green": (40, 120, 62),
}
_USUAL_HOUR, _USUAL_MINUTE = 10, 10
_QUARTERS = ((0.25, 0.21), (0.75, 0.21), (0.25, 0.71), (0.75, 0.71))
_APART = 20.0  # degrees between the hands, so that neither hides the other
_WHITE, _LONG_HAND = (255, 255, 255), (206, 44, 49)


class Clock(BaseModel):
    """One clock; x, y: the middle of its face, radius: of its rim, in units of the side."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    city: City
    hour: int = Field(ge=1, le=12)
    minute: int = Field(ge=5, le=55)
    dial: Dial
    rim: Rim
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    radius: float = Field(ge=0.17, le=0.24)

    @model_validator(mode="after")
    def _readable(self) -> Clock:
        between = abs(self.hour_angle - self.minute_angle) % 360
        if min(between, 360 - between) < _APART:
            raise ValueError("one hand hides the other")
        return self

    @property
    def hour_angle(self) -> float:
        """Of the short hand, in degrees from 12, clockwise."""
        return 30.0 * (self.hour % 12) + 0.5 * self.minute

    @property
    def minute_angle(self) -> float:
        """Of the long hand, in degrees from 12, clockwise."""
        return 6.0 * self.minute

    @property
    def time(self) -> str:
        """What it shows, such as "7:05"."""
        return f"{self.hour}:{self.minute:02d}"

    def at(self, angle: float, reach: float) -> tuple[float, float]:
        """A point on the face; reach in radii."""
        turn = math.radians(angle)
        far = reach * self.radius
        return self.x + far * math.sin(turn), self.y - far * math.cos(turn)


class Clocks(Scene):
    """Two to four clocks of different cities."""

    family: ClassVar[str] = "clocks"
    clocks: tuple[Clock, ...] = Field(min_length=2, max_length=4)

    @model_validator(mode="after")
    def _apart(self) -> Clocks:
        if len({clock.city for clock in self.clocks}) < len(self.clocks):
            raise ValueError("two clocks have the same city")
        for place, one in enumerate(self.clocks):
            for other in self.clocks[:place]:
                if max(abs(one.x - other.x), abs(one.y - other.y)) < one.radius + other.radius:
                    raise ValueError("two clocks touch")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for clock in self.clocks:
            _draw_face(canvas, clock)
            _draw_hands(canvas, clock)
            canvas.text(clock.x, clock.y + clock.radius + 0.042, clock.city, 0.065)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"What time does the clock of {self._asked(ask).city} show?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return self._asked(ask).time

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        hour = int(answer.split(":", 1)[0])
        city = self._asked(ask).city
        return f"Is the short hand of the clock of {city} between {hour} and {hour % 12 + 1}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        clock = self.clocks[int(path[1])]
        x, y, reach = clock.x, clock.y, clock.radius
        return x - reach, y - reach, x + reach, y + reach

    def _asked(self, ask: Ask) -> Clock:
        return self.clocks[int(str(ask["thing"]))]


def _draw_face(canvas: Canvas, clock: Clock) -> None:
    canvas.disc(clock.x, clock.y, clock.radius, _WHITE, _RIMS[clock.rim], 0.016)
    for hour in range(1, 13):
        angle, quarter = 30.0 * hour, hour % 3 == 0
        if clock.dial == "figures" and quarter:
            x, y = clock.at(angle, 0.76)
            canvas.text(x, y, str(hour), 0.055)
        else:
            ends = [clock.at(angle, 0.76 if quarter else 0.82), clock.at(angle, 0.91)]
            canvas.line(ends, INK, 0.014 if quarter else 0.008)


def _draw_hands(canvas: Canvas, clock: Clock) -> None:
    middle = (clock.x, clock.y)
    canvas.line([middle, clock.at(clock.minute_angle, 0.84)], _LONG_HAND, 0.016)
    # Wider at its end than at the axle: the whole of a turn by one hour is seen.
    angle = clock.hour_angle
    hand = [clock.at(angle - 90, 0.06), clock.at(angle - 17, 0.46), clock.at(angle, 0.58),
            clock.at(angle + 17, 0.46), clock.at(angle + 90, 0.06)]  # fmt: skip
    canvas.polygon(hand, INK)
    canvas.disc(*middle, 0.09 * clock.radius, INK)


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four clocks at 10:10, in quarters of the picture."""
    count = rng.randint(2, 4)
    quarters = sorted(rng.sample(range(len(_QUARTERS)), count))
    dial: Dial = rng.choice(("figures", "ticks"))
    clocks, knobs = [], []
    for place, (city, quarter) in enumerate(zip(rng.sample(_CITIES, count), quarters, strict=True)):
        x, y = _QUARTERS[quarter]
        clocks.append(
            Clock(
                city=city,
                hour=_USUAL_HOUR,
                minute=_USUAL_MINUTE,
                dial=dial,
                rim=rng.choice(sorted(_RIMS)),
                x=x + rng.uniform(-0.02, 0.02),
                y=y + rng.uniform(-0.01, 0.01),
                radius=rng.uniform(0.185, 0.195),
            )
        )
        # At 2 the short hand would lie under the long one.
        others = [hour for hour in range(1, 13) if hour not in (_USUAL_HOUR, 2)]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the time on the clock of {city}",
                path=("clocks", place, "hour"),
                values=(_USUAL_HOUR, *others),
                ask={"thing": place},
                instruction=f"Turn the short hand of the clock of {city}, so that it shows "
                "{answer}. Change nothing else.",
            )
        )
    return Clocks(size=size, clocks=tuple(clocks)), tuple(knobs)


CLOCKS = Family(
    name="clocks",
    subset="RWS",
    scene=Clocks,
    sample=sample,
    prior="clocks in pictures show 10:10",
)
