"""Descriptions of values that hold no others, and what all descriptions can do."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import Field, JsonValue, model_validator

from planish.records import Record

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Described", "Sized"]

_Model = TypeVar("_Model", bound="Described")


class Described(Record):
    """One description, read."""

    def drawn(self) -> SearchStrategy[Any]:
        """As hypothesis draws it."""
        raise NotImplementedError

    def admits(self, value: Any) -> bool:
        """Whether the description has this value, type and all."""
        raise NotImplementedError

    def distinct(self) -> float:
        """How many values it has, or more; infinity where they are many."""
        return math.inf


class Integer(Described):
    """A whole number."""

    kind: Literal["integer"]
    min: int = -20
    max: int = 100

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _ordered(self, self.min, self.max)

    def drawn(self) -> SearchStrategy[int]:
        from hypothesis import strategies as st

        return st.integers(self.min, self.max)

    def admits(self, value: Any) -> bool:
        return type(value) is int and self.min <= value <= self.max

    def distinct(self) -> float:
        return self.max - self.min + 1


class Number(Described):
    """A float of so many digits after the point."""

    kind: Literal["number"]
    min: float = -20.0
    max: float = 100.0
    digits: int = Field(2, ge=0, le=12)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (math.isfinite(self.min) and math.isfinite(self.max)):
            raise ValueError("min and max must be finite")
        return _ordered(self, *self._steps())

    def _steps(self) -> tuple[int, int]:
        scale = 10**self.digits
        return math.ceil(self.min * scale - 1e-6), math.floor(self.max * scale + 1e-6)

    def drawn(self) -> SearchStrategy[float]:
        from hypothesis import strategies as st

        # Whole steps shrink to short numbers, where floats would shrink to odd ones.
        scale = 10**self.digits
        return st.integers(*self._steps()).map(lambda steps: steps / scale)

    def admits(self, value: Any) -> bool:
        return (
            type(value) is float
            and math.isfinite(value)
            and self.min <= value <= self.max
            and round(value, self.digits) == value
        )


class Boolean(Described):
    """True or False."""

    kind: Literal["boolean"]

    def drawn(self) -> SearchStrategy[bool]:
        from hypothesis import strategies as st

        return st.booleans()

    def admits(self, value: Any) -> bool:
        return type(value) is bool

    def distinct(self) -> float:
        return 2


class Nothing(Described):
    """None."""

    kind: Literal["none"]

    def drawn(self) -> SearchStrategy[None]:
        from hypothesis import strategies as st

        return st.none()

    def admits(self, value: Any) -> bool:
        return value is None

    def distinct(self) -> float:
        return 1


class Sized(Described):
    """A value that has a size."""

    min_size: int = Field(0, ge=0)
    max_size: int = Field(10, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _ordered(self, self.min_size, self.max_size)

    def fits(self, size: int) -> bool:
        """Whether a value may have this size."""
        return self.min_size <= size <= self.max_size

    def distinct(self) -> float:
        """One where only the empty value is left."""
        return 1 if self.max_size == 0 else math.inf


class Text(Sized):
    """Text from an alphabet."""

    kind: Literal["text"]
    alphabet: str = "abcdeABC 012,.-"

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.alphabet and self.max_size:
            raise ValueError("the alphabet is empty")
        return self

    def drawn(self) -> SearchStrategy[str]:
        from hypothesis import strategies as st

        if not self.max_size:
            return st.just("")
        # In the alphabet's own order, so that what is simplest stands first in it.
        letters = st.sampled_from(list(dict.fromkeys(self.alphabet)))
        return st.lists(letters, min_size=self.min_size, max_size=self.max_size).map("".join)

    def admits(self, value: Any) -> bool:
        return type(value) is str and self.fits(len(value)) and set(value) <= set(self.alphabet)


class Choice(Described):
    """One of these literals."""

    kind: Literal["choice"]
    of: tuple[JsonValue, ...] = Field(min_length=1)

    def drawn(self) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        # Read anew each time: a program may change the list that it is given.
        return st.sampled_from([json.dumps(each) for each in self.of]).map(json.loads)

    def admits(self, value: Any) -> bool:
        return any(_alike(each, value) for each in self.of)

    def distinct(self) -> float:
        return len({json.dumps(each, sort_keys=True) for each in self.of})


def _ordered(model: _Model, low: float, high: float) -> _Model:
    if low > high:
        raise ValueError("the smallest is above the largest")
    return model


def _alike(left: Any, right: Any) -> bool:
    """Equal, and of the same type all the way down: 1 is not True."""
    try:
        return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    except (TypeError, ValueError):
        return False
