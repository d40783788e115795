"""What a judgment is rewarded for: its form, its verdict and its own solution.

    >>> from planish.judges.templates import named
    >>> from planish.records import Completion
    >>> parts = parts_of(Completion(text="7 2 V [[A]]"), named("chain"), gold="A",
    ...                  verify=lambda solution: solution == "7 2")
    >>> parts, reward(parts, "additive", Weights())
    (Parts(form=True, judge=1.0, solve=1.0), 2.0)

One output holds a solution and a verdict (Solve-to-Judge, arXiv 2509.22099). With f for its form, j
for the verdict and s for the solution the reward is

    R = f * (w_j * j + w_s * s) - (1 - f) * p

The paper names j and s and no coefficients: w_j = w_s = 1 and p = 0.5 are ours. A part that nobody
can know (no gold verdict, no gold answer, a verifier that gave up) is None and drops out; it is
never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from planish.judges.base import SCORED, ParsedReply
from planish.judges.parse import hide_thinking, parse
from planish.judges.templates import LABEL, Template
from planish.records import BadInput, Completion

__all__ = ["ARMS", "Arm", "Parts", "Weights", "has_form", "parts_of", "reward"]

Arm = Literal["judge_only", "solve_only", "additive", "gated", "segment_credit"]

ARMS: tuple[Arm, ...] = get_args(Arm)
"""What is rewarded. `gated` is j * s + 0.2 * s: a verdict counts only on a right solution.
`segment_credit` is `additive` with each term's advantage on its own tokens only."""

_GATED_SOLVE = 0.2
# A label may be bold. Nothing is given back, for a hostile tail may be all blanks.
_CLOSING = re.compile(r"[\s.*]*+(?:</\w++>)?+[\s.*]*+")


@dataclass(frozen=True)
class Weights:
    """Of the verdict, of the solution, and the penalty for an output without the form.

    Raises:
        BadInput: a weight or the penalty is negative, or both weights are 0.
    """

    judge: float = 1.0
    solve: float = 1.0
    penalty: float = 0.5

    def __post_init__(self) -> None:
        if min(self.judge, self.solve, self.penalty) < 0 or self.judge == self.solve == 0:
            raise BadInput(
                f"judge {self.judge:g}, solve {self.solve:g}, penalty {self.penalty:g}",
                where="reward weights",
                fix="none may be negative, and one of judge and solve must be above 0",
            )


@dataclass(frozen=True)
class Parts:
    """What one output earned.

    Args:
        form: exactly one solution and exactly one verdict, which ends the output.
        judge: 1.0 for the verdict of the gold, else 0.0; None where no verdict is right.
        solve: 1.0 for a right solution, else 0.0; None where nobody can tell.
    """

    form: bool
    judge: float | None
    solve: float | None


def has_form(completion: Completion, reading: ParsedReply, template: Template) -> bool:
    """Whether an output holds one solution and one verdict, in this order, and then ends."""
    if completion.finish != "stop" or reading.status not in SCORED or reading.span is None:
        return False
    text = hide_thinking(completion.text)  # a draft in there is no second solution
    marks = [mark for mark in template.solution or () if mark]
    if any(text.count(mark) != 1 for mark in marks) or not reading.solution:
        return False
    start, end = reading.span
    return (
        len(LABEL.findall(text)) == 1
        and all(text.find(mark) < start for mark in marks)
        and _CLOSING.fullmatch(text, end) is not None
    )


def parts_of(
    completion: Completion,
    template: Template,
    *,
    gold: str | None,
    verify: Callable[[str], bool | None],
) -> Parts:
    """Takes an output apart.

    Args:
        completion: what the model wrote.
        template: what it was asked with; it names the marks around the solution.
        gold: the right verdict, "A" or "B" in the frame of the prompt; None where both candidates
            are wrong, or nobody knows.
        verify: whether a solution is right; None where that cannot be told.
    """
    reading = parse(completion, template)
    if not has_form(completion, reading, template):
        return Parts(form=False, judge=None, solve=None)
    right = verify(reading.solution or "")
    return Parts(
        form=True,
        judge=None if gold is None else float(reading.label == gold),
        solve=None if right is None else float(right),
    )


def reward(parts: Parts, arm: Arm, weights: Weights) -> float | None:
    """R of one output; None where no part that this arm rewards is known."""
    if not parts.form:
        return -weights.penalty
    if arm == "gated":
        if parts.solve is None:
            return None
        both = None if parts.judge is None else parts.judge * parts.solve
        return (both or 0.0) + _GATED_SOLVE * parts.solve
    terms = (
        (weights.judge, parts.judge, arm != "solve_only"),
        (weights.solve, parts.solve, arm != "judge_only"),
    )
    known = [weight * part for weight, part, used in terms if used and part is not None]
    return sum(known) if known else None
