"""Whether an edit of the prompt helped: exact test, interval, correction, decision.

    >>> trials = [Trial("EC", edit=Count(31, 40), placebo=Count(9, 40), base=Count(8, 40))]
    >>> judge("task", trials)[0].holds
    True

Method (ours; the paper changes prompts by hand and looks): the effect of an edit is its pass rate
less that of a placebo, which changes the prompt as much and tells nothing. Fisher's exact test,
one-sided, Holm over the reasons that were tried, and the interval has to lie above 0.

The interval is Agresti and Caffo's ("Simple and effective confidence intervals for proportions and
differences of proportions", The American Statistician 54, 2000): one success and one failure are
added to each arm. Of the closed forms it keeps its level best at the sizes that are used here: with
28 samples an arm its coverage is at least 0.938 at all pairs of rates from 0.02 to 0.98, where
Newcombe's falls to 0.916 (every table enumerated). A bootstrap has no width where an arm never
passed, which is the usual case here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from planish.methods.mistakes.data import Reason, ReasonReport
from planish.methods.mistakes.reasoning.power import check_samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

__all__ = ["Count", "Trial", "bounds", "decide", "fisher", "judge", "stable", "unready"]

LEAST_SCORED = 0.9
"""Share of an arm's samples that must have been scored; samples that are lost are rarely lost by
chance alone."""


class Count(NamedTuple):
    """Of one arm: samples that passed, samples that could be scored, samples that could not."""

    passes: int
    n: int
    unscored: int = 0

    @property
    def rate(self) -> float | None:
        """Pass rate among the scored samples; None without any."""
        return self.passes / self.n if self.n else None


class Trial(NamedTuple):
    """One reason on one task.

    Args:
        edit, placebo, base: of the three arms, scored alike; None where an arm was not run.
        why: reason for which nothing was run, such as an edit that leaks.
        unstable: the first and the second half of the base samples do not agree.
    """

    reason: Reason
    edit: Count | None = None
    placebo: Count | None = None
    base: Count | None = None
    why: str = ""
    unstable: bool = False


def fisher(edit: Count, placebo: Count) -> float:
    """P-value of Fisher's exact test that the edit passes more often; 1 where an arm is empty."""
    from scipy.stats import hypergeom

    if not edit.n or not placebo.n:
        return 1.0
    drawn = edit.passes + placebo.passes
    found = float(hypergeom.sf(edit.passes - 1, edit.n + placebo.n, drawn, edit.n))
    return min(1.0, max(0.0, found))


def bounds(edit: Floats | int, n: int, placebo: Floats | int, m: int) -> tuple[Floats, Floats]:
    """95 % interval of the difference edit / n - placebo / m, for counts or arrays of counts."""
    import numpy as np
    from scipy.special import ndtri

    above = (np.asarray(edit, dtype=float) + 1) / (n + 2)
    below = (np.asarray(placebo, dtype=float) + 1) / (m + 2)
    half = ndtri(0.975) * np.sqrt(above * (1 - above) / (n + 2) + below * (1 - below) / (m + 2))
    return np.maximum(above - below - half, -1.0), np.minimum(above - below + half, 1.0)


def stable(passed: Sequence[bool]) -> bool:
    """Whether both halves of the draws pass about as often: Fisher, two-sided, at 1 %.

    An endpoint that changes while it is asked would be taken for an effect.
    """
    from scipy.stats import fisher_exact

    half = len(passed) // 2
    if not half:
        return True
    first, second = sum(passed[:half]), sum(passed[half:])
    table = [[first, half - first], [second, len(passed) - half - second]]
    return float(fisher_exact(table)[1]) >= 0.01


def decide(p_holm: float, low: float, alpha: float = 0.05) -> bool:
    """Whether a reason holds."""
    return p_holm < alpha and low > 0


def judge(
    task_id: str,
    trials: Sequence[Trial],
    *,
    alpha: float = 0.05,
    max_base_rate: float = 0.8,
) -> tuple[ReasonReport, ...]:
    """One report for each trial, in their order; several reasons may hold, or none.

    Args:
        trials: all that were tried on the task; Holm runs over those that could be measured.
        max_base_rate: pass rate of the unchanged prompt above which there is nothing to mend.

    Raises:
        BadInput: the samples are so few that nothing could be found.
    """
    from planish.stats import holm

    why = [_unmeasured(trial, max_base_rate) for trial in trials]
    tried = [index for index, reason in enumerate(why) if not reason]
    if tried:
        _check_sizes([trials[index] for index in tried], alpha)
    values = {index: _p(trials[index]) for index in tried}
    adjusted = dict(zip(values, holm(list(values.values())), strict=True))
    return tuple(
        _report(task_id, trial, why[index], values.get(index), adjusted.get(index), alpha)
        for index, trial in enumerate(trials)
    )


def _check_sizes(trials: Sequence[Trial], alpha: float) -> None:
    asked = [
        count.n + count.unscored
        for trial in trials
        for count in (trial.edit, trial.placebo)
        if count is not None
    ]
    check_samples(min(asked), alpha=alpha, reasons=len(trials))


def _p(trial: Trial) -> float:
    assert trial.edit is not None  # _unmeasured has seen to it
    assert trial.placebo is not None
    return fisher(trial.edit, trial.placebo)


def unready(base: Count | None, unstable: bool, max_base_rate: float) -> str:
    """Why nothing can be tried on a model that passes the unchanged prompt so often, or ""."""
    if why := _too_few("original", base):
        return why
    rate = base.rate if base is not None else None
    if rate is not None and rate > max_base_rate:
        return f"nothing to mend: the unchanged prompt passes in {rate:.0%} of its samples"
    if unstable:
        return "the unchanged prompt's pass rate is not stable: its first and second half differ"
    return ""


def _too_few(name: str, count: Count | None) -> str:
    if count is None:
        return f"the arm {name} was not run"
    total = count.n + count.unscored
    if not count.n or count.n < LEAST_SCORED * total:
        return f"{count.unscored} of {total} samples of the arm {name} could not be scored"
    return ""


def _unmeasured(trial: Trial, max_base_rate: float) -> str:
    return (
        trial.why
        or unready(trial.base, trial.unstable, max_base_rate)
        or _too_few("edit", trial.edit)
        or _too_few("placebo", trial.placebo)
    )


def _report(
    task_id: str,
    trial: Trial,
    why: str,
    p: float | None,
    p_holm: float | None,
    alpha: float,
) -> ReasonReport:
    base = None if trial.base is None else trial.base.rate
    placebo = None if trial.placebo is None else trial.placebo.rate
    known: dict[str, Any] = {"base_rate": base, "placebo_rate": placebo, "why": why}
    edit = None if trial.edit is None else trial.edit.rate
    if p is None or p_holm is None or edit is None or placebo is None:
        return ReasonReport(task_id=task_id, reason=trial.reason, **known)
    assert trial.edit is not None
    assert trial.placebo is not None
    low, high = bounds(trial.edit.passes, trial.edit.n, trial.placebo.passes, trial.placebo.n)
    return ReasonReport(
        task_id=task_id,
        reason=trial.reason,
        effect=edit - placebo,
        low=float(low),
        high=float(high),
        p=p,
        p_holm=p_holm,
        holds=decide(p_holm, float(low), alpha),
        **known,
    )
