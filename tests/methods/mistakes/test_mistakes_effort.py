"""What a search is reckoned to cost: nothing that the load of a machine changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.mistakes.repairing.effort import CALL, PROGRAM, SCREENED, SLOW, price
from planish.tasks.sandbox import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import dumps

ONE = CallResult(arguments=dumps((1,)), status="value", value="1")
LATE = CallResult(arguments=dumps((2,)), status="timeout")
NOT = CallResult(arguments=dumps((3,)), status="not_run")


def job(module: str = "candidate.py", **limits: float) -> Job:
    return Job(
        key="k",
        code="",
        entry_point="f",
        inputs=(dumps((1,)),),
        module=module,
        limits=Limits(**limits),  # type: ignore[arg-type]
    )


def result(*calls: CallResult, **more: Any) -> ExecResult:
    told = {"key": "k", "status": "pass", "sandbox_level": "fork", "python": ""} | more
    return ExecResult(per_input=calls, **told)


@pytest.mark.parametrize(
    ("asked", "calls", "seconds"),
    [
        (job(), (ONE, ONE), PROGRAM + 2 * CALL),
        (job("_planish_pack.py"), (ONE, ONE), PROGRAM + 2 * SCREENED),
        (job(), (), PROGRAM),
        (job(), (ONE, NOT), PROGRAM + CALL),
        (job(seconds=4, call_seconds=0.5), (ONE, LATE, NOT), PROGRAM + 2 * CALL + 0.5),
        (job(seconds=4), (ONE, LATE), PROGRAM + 2 * CALL + 4),
    ],
)
def test_each_thing_has_its_price(
    asked: Job, calls: tuple[CallResult, ...], seconds: float
) -> None:
    assert price(asked, result(*calls)) == pytest.approx(seconds)


def test_what_hangs_while_it_is_loaded_costs_its_limit() -> None:
    assert price(job(seconds=3), result(status="timeout")) == pytest.approx(PROGRAM + 3)


@given(st.floats(0, 1e6), st.floats(0, SLOW * PROGRAM))
def test_neither_wall_time_nor_a_little_more_computing_changes_a_price(
    wall: float, cpu: float
) -> None:
    assert price(job(), result(ONE, wall_s=wall, cpu_s=cpu)) == price(job(), result(ONE))


def test_a_program_that_computes_for_long_costs_what_it_computes() -> None:
    assert price(job(), result(ONE, cpu_s=2.5, wall_s=90.0)) == 2.5
