"""Hypothesis as a library: draws values of a strategy that depend on nothing but a seed.

    drawn_by(kinds_of(strategy), 50, seed=0)
    seeded(integers(0, 9), 50, seed=0)  # of any strategy of hypothesis

What hypothesis draws by itself depends on the constants in whatever modules are loaded, and it
keeps those in a folder of the working directory. Here the choices are made by an alternative
backend, which is hypothesis' documented way of replacing them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, PrimitiveProvider
from hypothesis.strategies import SearchStrategy, tuples

from planish.methods.mistakes.kinds import Kind

__all__ = ["drawn_by", "seeded"]

_Value = TypeVar("_Value")

_NAME = "planish-seeded"
_WIDE = 64  # ranges up to here are drawn from evenly: letters, places in a list, digits
_NEAR = 12


class _Seeded(PrimitiveProvider):
    """Chooses by a generator of its own, and goes to the ends of a range more often than chance."""

    source = random.Random(0)

    def draw_boolean(self, p: float = 0.5) -> bool:
        return p >= 1 or (p > 0 and self.source.random() < p)

    def draw_integer(
        self,
        min_value: int | None = None,
        max_value: int | None = None,
        *,
        weights: dict[int, float] | None = None,
        shrink_towards: int = 0,
    ) -> int:
        source = self.source
        if weights is not None and source.random() < sum(weights.values()):
            return source.choices(list(weights), list(weights.values()))[0]
        low = -(2**31) if min_value is None else min_value
        high = max(low, 2**31) if max_value is None else max_value
        part = source.random()
        if high - low <= _WIDE:
            return source.randint(low, high)
        if part < 0.2:
            ends = (low, low + 1, high - 1, high, -1, 0, 1, 2)
            return source.choice([each for each in ends if low <= each <= high])
        nearest = min(max(shrink_towards, low), high)
        if part < 0.7:
            low, high = max(low, nearest - _NEAR), min(high, nearest + _NEAR)
        return source.randint(low, high)

    def draw_float(
        self,
        *,
        min_value: float = -1e9,
        max_value: float = 1e9,
        allow_nan: bool = True,
        smallest_nonzero_magnitude: float = 0.0,
    ) -> float:
        raise NotImplementedError("descriptions draw numbers as whole steps")

    def draw_string(self, intervals: Any, *, min_size: int = 0, max_size: int = 0) -> str:
        raise NotImplementedError("descriptions draw text as lists of letters")

    def draw_bytes(self, min_size: int = 0, max_size: int = 0) -> bytes:
        raise NotImplementedError("no description draws bytes")


AVAILABLE_PROVIDERS[_NAME] = f"{__name__}.{_Seeded.__name__}"


def seeded(strategy: SearchStrategy[_Value], number: int, seed: int) -> list[_Value]:
    """So many values, the simplest one first; the same for the same strategy and seed.

    Values may repeat; a strategy that has only a few gives fewer.
    """
    values: list[_Value] = []

    @settings(
        max_examples=number,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        backend=_NAME,
    )
    @given(strategy)
    def keep(value: _Value) -> None:
        values.append(value)

    with _chosen_by(seed):
        keep()
    return values


def drawn_by(kinds: Sequence[Kind], number: int, seed: int) -> list[tuple[Any, ...]]:
    """So many tuples of arguments of these kinds."""
    return seeded(tuples(*(kind.drawn() for kind in kinds)), number, seed)


@contextlib.contextmanager
def _chosen_by(seed: int) -> Iterator[None]:
    # The engine seeds the global generator for what it runs; whoever runs this keeps its own.
    state = random.getstate()
    _Seeded.source = random.Random(seed)
    try:
        yield
    finally:
        random.setstate(state)
