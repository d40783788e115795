"""Whether a call is right, by the same measure by which the observation called it wrong.

measure = Measure.of(observation, tolerance)
measure.right(seen, call)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from planish.methods.mistakes.data import Observation, Seen
from planish.methods.mistakes.jobs import agree
from planish.tasks.sandbox.contract import CallResult
from planish.tasks.sandbox.values import loads, same

__all__ = ["Measure"]

_FLOATS = 1e-9


@dataclass(frozen=True)
class Measure:
    """How strictly values are compared.

    Args:
        manner: "typed": 1 is not 1.0; "equal": as `==` says; "loose": a tuple is a list, too.
        tolerance: of floats, relative and absolute.
    """

    manner: Literal["typed", "equal", "loose"]
    tolerance: float

    @classmethod
    def of(cls, observation: Observation, tolerance: float) -> Self:
        """The measure under which the inputs fail and pass as the observation says."""
        equal = cls("equal", max(tolerance, _FLOATS))
        if any(equal.right(seen, seen.call) for seen in observation.failing):
            return cls("typed", equal.tolerance)
        if not all(equal.right(seen, seen.call) for seen in observation.passing):
            return cls("loose", equal.tolerance)
        return equal

    def right(self, seen: Seen, call: CallResult) -> bool:
        """Whether a call gives what is expected on an input."""
        if call.status != "value" or call.value is None:
            return False
        return self.agree(seen.expected, call.value)

    def agree(self, expected: str, got: str) -> bool:
        """Whether two canonical texts stand for the same value."""
        if expected == got:
            return True
        if self.manner == "equal":
            return agree(expected, got, self.tolerance)
        left, right = loads(expected), loads(got)
        if self.manner == "loose":
            left, right = _loose(left), _loose(right)
        return same(left, right, tolerance=self.tolerance)


def _loose(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_loose(each) for each in value]
    if isinstance(value, dict):
        return {key: _loose(each) for key, each in value.items()}
    plain = type(value) in (bool, int, float) and abs(value) < 2**53
    return float(value) if plain else value
