"""Entropy and reward over all phases of a loop, one after the other, with the reheats shaded.

curves = curves_of(run, course)
curves.figures(reference, collapse_ratio)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planish.methods.reheat.method import EntropyProbe
from planish.runs import Run
from planish.runs.rows import read_rows
from planish.training.job import logged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from planish.methods.reheat.looping.turns import Course

__all__ = ["Curves", "Point", "curves_of"]

_POINTS = 60  # of the reward; a point per step would be all noise


@dataclass(frozen=True)
class Point:
    """A number of a phase, and where it stands among the steps of all."""

    phase: str
    step: float
    value: float


@dataclass(frozen=True)
class Curves:
    """What is drawn.

    Args:
        entropy: of fresh replies to the probe's prompts.
        reward: mean over the rollouts of stretches of RL.
        zero_variance: the same of the share of groups without variance.
        reheats: (name, first step, last step).
    """

    entropy: Sequence[Point]
    reward: Sequence[Point]
    zero_variance: Sequence[Point]
    reheats: Sequence[tuple[str, float, float]]

    def ends(self, phase: str) -> tuple[float | None, float | None]:
        """The first and the last entropy of a phase."""
        values = [point.value for point in self.entropy if point.phase == phase]
        return (values[0], values[-1]) if values else (None, None)

    def figures(
        self, reference: float | None, collapse_ratio: float
    ) -> Iterator[tuple[Figure, str, str]]:
        """(figure, caption, what it says to those who cannot see it)."""
        levels = {} if reference is None else {
            "reference": reference, "collapsed below": collapse_ratio * reference
        }  # fmt: skip
        yield (
            self._figure({"entropy": self.entropy}, "entropy in nats", levels),
            "Exact entropy at temperature 1 of fresh replies to the probe's prompts; reheats are "
            "shaded.",
            "entropy over the steps of all phases",
        )
        if self.reward:
            yield (
                self._figure({"reward": self.reward}, "reward", {}),
                "Mean over all rollouts of a stretch of RL; nothing is rewarded while reheating.",
                "reward over the steps of all phases",
            )
            yield (
                self._figure({"no variance": self.zero_variance}, "share of groups", {}),
                "Groups whose rollouts all earned the same: they taught nothing.",
                "share of groups without variance over the steps of all phases",
            )

    def _figure(
        self, lines: dict[str, Sequence[Point]], label: str, levels: dict[str, float]
    ) -> Figure:
        from planish.runs.plots import MUTED, Series, line_plot

        last = max((point.step for points in lines.values() for point in points), default=1.0)
        series = [
            Series(name, [point.step for point in points], [point.value for point in points])
            for name, points in lines.items()
        ]
        series += [Series(name, [0.0, last], [level] * 2) for name, level in levels.items()]
        figure = line_plot(series, xlabel="steps of all phases", ylabel=label)
        for _, first, end in self.reheats:
            figure.axes[0].axvspan(first, end, color=MUTED, alpha=0.2, linewidth=0)
        return figure


def curves_of(run: Run, course: Course) -> Curves:
    """Reads the numbers that all phases left in the run."""
    probes = _probes(run)
    entropy: list[Point] = []
    reward: list[Point] = []
    zero: list[Point] = []
    reheats = []
    start = 0
    for turn, each in enumerate(course.rounds, 1):
        entropy += _placed(each.name, start, probes.get(each.name, ()))
        rows = list(logged(run, phase=each.name))
        reward += _stretches(each.name, start, rows, "reward", course.steps)
        zero += _stretches(each.name, start, rows, "frac_reward_zero_std", course.steps)
        start += each.trained.steps
        if (thawed := each.thawed) is not None:
            name = f"reheat-{turn}"
            # Of a second attempt only, and without a step that was taken back.
            told = [(step, value) for step, value in probes.get(f"{name}/{thawed.attempts}", ())]
            entropy += _placed(name, start, [row for row in told if row[0] <= thawed.steps])
            reheats.append((name, float(start), float(start + thawed.steps)))
            start += thawed.steps
    return Curves(entropy, reward, zero, reheats)


def _probes(run: Run) -> dict[str, list[tuple[int, float]]]:
    """Phase -> its steps with the entropy of fresh replies; of a reheating by attempt."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(run.path, "probe"):
        probe = row.read(EntropyProbe)
        if probe.kind == "on_policy":
            phase = row.id.rpartition("/")[0].rpartition("/")[0]
            found.setdefault(phase, []).append((probe.step, probe.entropy.mean))
    return found


def _placed(phase: str, start: int, probes: Sequence[tuple[int, float]]) -> list[Point]:
    return [Point(phase, float(start + step), value) for step, value in sorted(probes)]


def _stretches(
    phase: str, start: int, rows: Sequence[dict[str, Any]], name: str, steps: int
) -> list[Point]:
    """Means over stretches of equal length."""
    length = max(1, round(steps / _POINTS))
    points = []
    for first in range(0, len(rows), length):
        part = rows[first : first + length]
        told = [row[name] for row in part if row.get(name) is not None]
        if told:
            points.append(Point(phase, float(start + part[-1]["step"]), sum(told) / len(told)))
    return points
