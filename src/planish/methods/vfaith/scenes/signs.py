"""Family `signs`: signs of well-known form; an octagon says STOP, or does it?

Memory expects each form with its usual word, which form and colour alone give away. The other words
are as long and as large.

>>> scene, knobs = sample(random.Random(4), 256)
>>> scene.question({"thing": 0}), scene.solve({"thing": 0})
('What does the octagonal sign say?', 'STOP')
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

from planish.methods.vfaith.scenes.base import INK, Ask, Canvas, Family, Knob, Scene

__all__ = ["SIGNS", "Sign", "Signs"]

Form = Literal["octagon", "door", "shop", "taxi", "diamond", "tag"]
Word = Literal[
    "STOP", "EXIT", "OPEN", "TAXI", "SLOW", "SALE", "TURN", "WAIT", "PARK", "FISH", "MILK", "GATE",
]  # fmt: skip

_WORDS: tuple[Word, ...] = (
    "STOP", "EXIT", "OPEN", "TAXI", "SLOW", "SALE", "TURN", "WAIT", "PARK", "FISH", "MILK", "GATE",
)  # fmt: skip
_USUAL: dict[Form, Word] = {
    "octagon": "STOP",
    "door": "EXIT",
    "shop": "OPEN",
    "taxi": "TAXI",
    "diamond": "SLOW",
    "tag": "SALE",
}
_NAMES: dict[Form, str] = {
    "octagon": "octagonal sign",
    "door": "sign over the door",
    "shop": "sign that hangs from a nail",
    "taxi": "sign on the roof of the car",
    "diamond": "diamond-shaped road sign",
    "tag": "price tag",
}
_QUARTERS = ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
_LETTERS = 0.25  # height of the letters, as a share of the sign's width
_WHITE = (255, 255, 255)
_RED, _GREEN, _YELLOW = (196, 32, 40), (20, 122, 66), (250, 206, 40)
_BLUE, _GREY, _WOOD = (36, 78, 158), (120, 124, 134), (150, 108, 70)


class Sign(BaseModel):
    """One sign; x, y: its middle, width: of the square around it, in units of the side."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    form: Form
    word: Word
    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    width: float = Field(ge=0.25, le=0.5)


class Signs(Scene):
    """Two to four signs of different forms."""

    family: ClassVar[str] = "signs"
    signs: tuple[Sign, ...] = Field(min_length=2, max_length=4)

    @model_validator(mode="after")
    def _different(self) -> Signs:
        if len({sign.form for sign in self.signs}) < len(self.signs):
            raise ValueError("two signs have the same form")
        return self

    def draw(self) -> Image.Image:
        """See `Scene`."""
        canvas = Canvas(self.size)
        for sign in self.signs:
            _FORMS[sign.form](canvas, sign)
        return canvas.finished()

    def question(self, ask: Ask) -> str:
        """See `Scene`."""
        return f"What does the {_NAMES[self._asked(ask).form]} say?"

    def solve(self, ask: Ask) -> str:
        """See `Scene`."""
        return self._asked(ask).word

    def statement(self, ask: Ask, answer: str) -> str:
        """See `Scene`."""
        return f"Does the {_NAMES[self._asked(ask).form]} say {answer}?"

    def region(self, path: Sequence[str | int]) -> tuple[float, float, float, float]:
        """See `Scene`."""
        sign = self.signs[int(path[1])]
        half = 0.5 * sign.width
        return sign.x - half, sign.y - half, sign.x + half, sign.y + half

    def _asked(self, ask: Ask) -> Sign:
        return self.signs[int(str(ask["thing"]))]


def _around(sign: Sign, *points: tuple[float, float]) -> list[tuple[float, float]]:
    """Points in halves of the sign's width around its middle, to units."""
    half = 0.5 * sign.width
    return [(sign.x + half * x, sign.y + half * y) for x, y in points]


def _box(
    canvas: Canvas, sign: Sign, left: float, top: float, right: float, bottom: float,
    fill: tuple[int, int, int], width: float = 0.006,
) -> None:  # fmt: skip
    (x0, y0), (x1, y1) = _around(sign, (left, top), (right, bottom))
    canvas.box(x0, y0, x1, y1, fill, INK, width)


def _word(
    canvas: Canvas, sign: Sign, down: float, fill: tuple[int, int, int], letters: float = _LETTERS
) -> None:
    [(x, y)] = _around(sign, (0, down))
    canvas.text(x, y, sign.word, letters * sign.width, fill)


def _octagon(canvas: Canvas, sign: Sign) -> None:
    corners = [math.radians(45 * corner + 22.5) for corner in range(8)]
    for reach, fill in ((1.02, INK), (0.99, _WHITE), (0.92, _RED)):
        outline = [(reach * math.cos(angle), reach * math.sin(angle)) for angle in corners]
        canvas.polygon(_around(sign, *outline), fill)
    _word(canvas, sign, 0, _WHITE)


def _door(canvas: Canvas, sign: Sign) -> None:
    _box(canvas, sign, -0.5, -0.1, 0.5, 0.97, _GREY)
    _box(canvas, sign, 0.28, 0.4, 0.4, 0.52, _YELLOW)
    _box(canvas, sign, -0.95, -0.95, 0.95, -0.15, _GREEN)
    _word(canvas, sign, -0.55, _WHITE)


def _shop(canvas: Canvas, sign: Sign) -> None:
    nail = (0.0, -0.9)
    canvas.line(_around(sign, (-0.8, -0.28), nail, (0.8, -0.28)), INK, 0.008)
    [(x, y)] = _around(sign, nail)
    canvas.disc(x, y, 0.015, INK)
    _box(canvas, sign, -0.96, -0.3, 0.96, 0.6, _WOOD)
    _box(canvas, sign, -0.9, -0.22, 0.9, 0.52, _WHITE, 0.004)
    _word(canvas, sign, 0.15, _BLUE)


def _taxi(canvas: Canvas, sign: Sign) -> None:
    body = ((-0.97, 0.75), (-0.97, 0.35), (-0.72, 0.3), (-0.5, -0.1), (0.5, -0.1), (0.72, 0.3),
            (0.97, 0.35), (0.97, 0.75))  # fmt: skip
    canvas.polygon(_around(sign, *body), INK)
    canvas.polygon(_around(sign, (-0.5, 0.28), (-0.36, 0.02), (-0.06, 0.02), (-0.06, 0.28)), _WHITE)
    canvas.polygon(_around(sign, (0.06, 0.28), (0.06, 0.02), (0.36, 0.02), (0.5, 0.28)), _WHITE)
    for x, y in _around(sign, (-0.55, 0.75), (0.55, 0.75)):
        canvas.disc(x, y, 0.1 * sign.width, _GREY, INK, 0.01)
    _box(canvas, sign, -0.9, -0.85, 0.9, -0.1, _YELLOW)
    _word(canvas, sign, -0.47, INK)


def _diamond(canvas: Canvas, sign: Sign) -> None:
    for reach, fill in ((0.99, INK), (0.93, _YELLOW)):
        canvas.polygon(_around(sign, (0, -reach), (reach, 0), (0, reach), (-reach, 0)), fill)
    _word(canvas, sign, 0, INK, 0.22)


def _tag(canvas: Canvas, sign: Sign) -> None:
    outline = _around(sign, (0, -0.95), (0.95, -0.35), (0.95, 0.7), (-0.95, 0.7), (-0.95, -0.35))
    canvas.polygon(outline, (224, 92, 36))
    canvas.line([*outline, outline[0], outline[1]], INK, 0.008)
    [(x, y)] = _around(sign, (0, -0.55))
    canvas.disc(x, y, 0.07 * sign.width, _WHITE, INK, 0.008)
    _word(canvas, sign, 0.16, _WHITE)


_FORMS: dict[Form, Callable[[Canvas, Sign], None]] = {
    "octagon": _octagon,
    "door": _door,
    "shop": _shop,
    "taxi": _taxi,
    "diamond": _diamond,
    "tag": _tag,
}


def sample(rng: random.Random, size: int) -> tuple[Scene, tuple[Knob, ...]]:
    """Two to four signs with their usual words, in quarters of the picture."""
    forms = rng.sample(sorted(_USUAL), rng.randint(2, 4))
    quarters = sorted(rng.sample(range(len(_QUARTERS)), len(forms)))
    signs, knobs = [], []
    for place, (form, quarter) in enumerate(zip(forms, quarters, strict=True)):
        x, y = _QUARTERS[quarter]
        signs.append(
            Sign(
                form=form,
                word=_USUAL[form],
                x=x + rng.uniform(-0.015, 0.015),
                y=y + rng.uniform(-0.015, 0.015),
                width=rng.uniform(0.43, 0.46),
            )
        )
        others = [word for word in _WORDS if word != _USUAL[form]]
        rng.shuffle(others)
        knobs.append(
            Knob(
                name=f"the word of the {_NAMES[form]}",
                path=("signs", place, "word"),
                values=(_USUAL[form], *others),
                ask={"thing": place},
                instruction=f"Make the {_NAMES[form]} say {{answer}}, in the same letters. "
                "Change nothing else.",
            )
        )
    return Signs(size=size, signs=tuple(signs)), tuple(knobs)


SIGNS = Family(
    name="signs",
    subset="TIF",
    scene=Signs,
    sample=sample,
    prior="signs of well-known form say their usual word",
)
