"""Whether a call of the candidate's is right, given what the reference returns.

verdict(call, wanted, tolerance=0.0, leniency="equal")  # True, False or None
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from planish.methods.mistakes.jobs import agree
from planish.tasks.sandbox.contract import CallResult, ExecResult
from planish.tasks.sandbox.values import loads, same

__all__ = ["FLOATS", "Leniency", "leniency", "loosely_same", "manner", "verdict"]

FLOATS = 1e-9
"""Floats may differ so much, relative and absolute: the order of a sum is nobody's mistake."""

Leniency = Literal["typed", "equal", "loose"]
"""`typed`: 1 is not 1.0; `equal`: as `==` says; `loose`: a tuple is a list, too."""


def verdict(
    call: CallResult, wanted: CallResult, tolerance: float = 0.0, leniency: Leniency = "equal"
) -> bool | None:
    """Whether the candidate did what the reference did; None where its call was not made.

    Args:
        wanted: the reference's call, with a value.
    """
    if call.status == "not_run" or wanted.value is None:
        return None
    if call.status != "value" or call.value is None:
        return False
    if call.value == wanted.value:
        return True
    tolerance = max(tolerance, FLOATS)
    if leniency == "typed":
        return same(loads(wanted.value), loads(call.value), tolerance=tolerance)
    if agree(wanted.value, call.value, tolerance):
        return True
    return leniency == "loose" and loosely_same(wanted.value, call.value, tolerance)


def loosely_same(left: str, right: str, tolerance: float = FLOATS) -> bool:
    """Whether two canonical texts are equal but for types: tuple or list, 1 or 1.0 or True."""
    return same(_loose(loads(left)), _loose(loads(right)), tolerance=tolerance)


def _loose(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_loose(each) for each in value]
    if isinstance(value, dict):
        return {key: _loose(each) for key, each in value.items()}
    if type(value) is int and abs(value) >= 2**53:
        return value
    return float(value) if type(value) in (bool, int, float) else value


def leniency(
    tested: ExecResult, wanted: Mapping[str, CallResult], tolerance: float = 0.0
) -> Leniency:
    """How strictly the tests compare, as far as the calls that they accepted tell.

    Args:
        tested: the candidate under its tests. Where it passed, every call was accepted; where it
            did not, all but the last one were.
        wanted: arguments -> the reference's call.
    """
    accepted: Iterable[CallResult] = tested.per_input
    if tested.status != "pass":
        accepted = tested.per_input[:-1]
    for call in accepted:
        known = wanted.get(call.arguments)
        if known is None or known.value is None or call.value is None:
            continue
        if not verdict(call, known, tolerance) and loosely_same(known.value, call.value):
            return "loose"
    return "equal"


def manner(call: CallResult) -> str:
    """How a call fails; a failing input that was made small must still fail in this way."""
    return call.exception or call.status if call.status == "exception" else call.status
