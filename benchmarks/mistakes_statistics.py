"""The statistics of reasons, drawn alone: what Holm, interval, placebo and stability are worth.

    table, shares = statistics_table()

No prompt, no code and no sandbox: passes of an arm are drawn from its rate, and judged as
`planish mistakes reasons` judges them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planish.methods.mistakes.data import REASONS
from planish.methods.mistakes.reasoning.effects import Count, Trial, decide, judge, stable

SAMPLES, DRAWN = 40, 2000


def statistics_table() -> tuple[str, dict[str, float]]:
    """Shares of tasks with a reason, with the whole statistics and without a part of them."""
    source = np.random.default_rng(0)
    lines = [
        "| six reasons on a task | whole | without Holm | without the interval | without a placebo "
        "| without the check of stability |",
        "|---" * 6 + "|",
    ]
    shares: dict[str, float] = {}
    cases = [(f"none holds, pass rate {rate}", rate, rate, rate) for rate in (0.1, 0.2, 0.5, 0.7)]
    cases += [("any change helps, 0.2 to 0.5", 0.2, 0.5, 0.5)]
    for name, base, placebo, edit in cases:
        told = [_task(source, base, placebo, [edit] * len(REASONS)) for _ in range(DRAWN)]
        lines.append(_line(name, told, shares))
    one = [0.7] + [0.2] * (len(REASONS) - 1)
    told = [_task(source, 0.2, 0.2, one) for _ in range(DRAWN)]
    lines.append(_line("one holds, 0.2 to 0.7", told, shares))
    told = [_task(source, 0.2, 0.6, [0.6] * len(REASONS), late=0.6) for _ in range(DRAWN)]
    lines.append(_line("none holds, the model changes half-way, 0.2 to 0.6", told, shares))
    return "\n".join(lines), shares


def _task(
    source: np.random.Generator,
    base: float,
    placebo: float,
    edits: Sequence[float],
    late: float | None = None,
) -> tuple[bool, ...]:
    """Whether any reason is found: whole, without Holm, interval, placebo, check of stability."""
    half = SAMPLES // 2
    draws = [*(source.random(half) < base), *(source.random(half) < (late or base))]
    unchanged = Count(sum(map(int, draws)), SAMPLES)
    trials = [
        Trial(
            reason,
            edit=Count(int(source.binomial(SAMPLES, rate)), SAMPLES),
            placebo=Count(int(source.binomial(SAMPLES, placebo)), SAMPLES),
            base=unchanged,
            unstable=not stable([bool(each) for each in draws]),
        )
        for reason, rate in zip(REASONS, edits, strict=True)
    ]
    told = judge("task", trials)
    alone = judge("task", [each._replace(placebo=each.base) for each in trials])
    unchecked = judge("task", [each._replace(unstable=False) for each in trials])
    return (
        any(each.holds for each in told),
        any(each.p is not None and decide(each.p, each.low or 0.0) for each in told),
        any(each.p_holm is not None and each.p_holm < 0.05 for each in told),
        any(each.holds for each in alone),
        any(each.holds for each in unchecked),
    )


def _line(name: str, told: Sequence[tuple[bool, ...]], shares: dict[str, float]) -> str:
    found = [sum(each) / len(told) for each in zip(*told, strict=True)]
    for part, share in zip(("whole", "Holm", "interval", "placebo", "stable"), found, strict=True):
        shares[f"{name}: {part}"] = share
    return f"| {name} | " + " | ".join(f"{share:.3f}" for share in found) + " |"
