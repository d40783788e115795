"""A short training and what its rollouts were like, step by step: the demonstration's arms.

    course = take("additive", model="embedded:reasoner", task="chain:3", steps=80, ...)
    course.checkpoint, course.curves["judge"]

It is stage `train` with the preset `tiny`, inside another run: checkpoint and rewards are in the
run's `artifacts/ARM/`, its numbers in `metrics.jsonl` beside the arm's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.s2j.learning.config import TrainConfig
from planish.methods.s2j.learning.lesson import prepare
from planish.methods.s2j.learning.online import learn_online
from planish.methods.s2j.learning.plan import Given, make_plan
from planish.methods.s2j.learning.rewarding import REWARDS, RewardRow, read_rewards
from planish.methods.s2j.method import Arm
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate, ratio
from planish.training.job import Job

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planish.runs.plots import Series
    from planish.training.callbacks import Recorder

__all__ = ["Course", "Point", "curves", "take"]

_CURVES = {"judge": "right verdicts", "solve": "right solutions"}
_POINTS = 16  # of a curve; a point per step would be all noise


@dataclass(frozen=True)
class Point:
    """A stretch of the training: its middle, and a share with its interval over items."""

    step: float
    share: Estimate


@dataclass(frozen=True)
class Course:
    """What was trained, and its rollouts.

    Args:
        curves: "judge" for right verdicts, "solve" for right solutions.
    """

    arm: Arm
    checkpoint: Path
    steps: int
    num_rollouts: int
    curves: dict[str, list[Point]]


@dataclass(frozen=True)
class _Part(Job):
    """A training whose files and numbers stand apart from those of the others in its run."""

    arm: str

    def checkpoints(self, name: str) -> Path:
        return super().checkpoints(f"{self.arm}/{name}")

    @contextlib.contextmanager
    def recorder(self, title: str, total: int, **labels: str) -> Iterator[Recorder]:
        with super().recorder(title, total, arm=self.arm, **labels) as recorder:
            yield recorder


def take(arm: Arm, *, model: str, task: str, steps: int, run: Run, screen: Screen) -> Course:
    """Trains `model` by one arm; the run's seed decides everything."""
    out = run.artifact(f"{arm}/judge")
    config = TrainConfig(steps=steps, save_every=steps + 1, seed=run.info.seed)
    given = Given(
        model=model, task=task, pairs=None, arm=arm, out=out, preset="tiny", config=config
    )
    plan = make_plan(given)
    learn_online(plan, prepare(plan, resumed=False), _Part(run.path, run, screen, arm))
    rows = list(read_rewards(out.with_name(REWARDS)))
    return Course(
        arm=arm,
        checkpoint=out,
        steps=steps,
        num_rollouts=len(rows),
        curves={
            "judge": _curve([(row, row.j) for row in rows], steps),
            "solve": _curve([(row, row.s) for row in rows], steps),
        },
    )


def _curve(told: Sequence[tuple[RewardRow, float | None]], steps: int) -> list[Point]:
    """Shares over stretches of equal length."""
    length = max(1, round(steps / _POINTS))
    stretches: dict[int, dict[str, list[float]]] = {}
    for row, value in told:
        if value is not None:
            items = stretches.setdefault((row.step - 1) // length, {})
            items.setdefault(row.item_id, []).append(value)
    return [
        Point(
            step=(index * length + 1 + min((index + 1) * length, steps)) / 2,
            share=ratio(
                [sum(values) for values in items.values()],
                [float(len(values)) for values in items.values()],
            ),
        )
        for index, items in sorted(stretches.items())
    ]


def curves(courses: Sequence[Course]) -> list[tuple[Figure, str]]:
    """Judging right and solving right by step, a line for each training; with a caption."""
    from planish.runs.plots import line_plot

    lines = {
        name: [_line(course.arm, course.curves[name]) for course in courses] for name in _CURVES
    }
    lowest = min(low for many in lines.values() for line in many for low in line.low or ())
    return [
        (
            # On one scale: beside what verdicts gain, solutions hardly move.
            line_plot(many, xlabel="step", ylabel=_CURVES[name], ylim=(lowest - 0.02, 1.0)),
            f"{_CURVES[name].capitalize()} among the rollouts with the form, with 95 % intervals "
            "over items.",
        )
        for name, many in lines.items()
    ]


def _line(arm: Arm, points: Sequence[Point]) -> Series:
    from planish.runs.plots import Series

    known = [(point.step, point.share, point.share.value) for point in points]
    told = [(step, share, value) for step, share, value in known if value is not None]
    return Series(
        arm.replace("_", " "),
        [step for step, _, _ in told],
        [value for _, _, value in told],
        [value if share.low is None else share.low for _, share, value in told],
        [value if share.high is None else share.high for _, share, value in told],
    )
