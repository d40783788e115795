"""How long the calls of a decision take, so that none is begun that would overrun its deadline.

    pace = Pace()
    pace.timed("wanted(onion)", test, view, ONION)      calls it and remembers how long it took
    pace.of("wanted(onion)")                            nanoseconds: the quicker of its last two

A pause of the machine seldom hits two calls in a row, so it makes no call a slow one; what is slow
by itself is slow both times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, TypeVar

from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.kitchen.layouts import Layout
from planish.methods.cowork.kitchen.simulator import Kitchen

__all__ = ["Pace", "Rehearsed"]

T = TypeVar("T")

Rehearsed = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]
"""What is called, and its arguments after the view."""


class Pace:
    """What the predicates and controllers of one agent took."""

    def __init__(self) -> None:
        self._took: dict[str, tuple[int, int]] = {}

    def of(self, name: str) -> int:
        """What the next such call will take at least; 0 where two have not been seen."""
        last, before = self._took.get(name, (0, 0))
        return last if last < before else before

    def timed(self, name: str, call: Callable[..., T], view: View, *args: Any, **named: Any) -> T:
        """What the call says."""
        begun = perf_counter_ns()
        found = call(view, *args, **named)
        took = perf_counter_ns() - begun
        self._took[name] = (took, self._took.get(name, (0, 0))[0])
        return found

    def rehearse(
        self,
        calls: Mapping[str, Rehearsed],
        layout: Layout,
        seat: int,
        values: dict[str, float],
        limit: int,
    ) -> None:
        """Makes every call twice on the opening kitchen; those known to exceed the limit, no more.

        So what is too slow is known before the first tick, and the layout has been measured.
        """
        kitchen = Kitchen(layout)
        for name, (call, args, named) in calls.items():
            for _ in range(2):
                if self.of(name) <= limit:
                    memory = Memory()
                    memory.update(kitchen, seat)
                    self.timed(name, call, View(kitchen, seat, memory, values), *args, **named)
