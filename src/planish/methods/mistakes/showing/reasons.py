"""What came of interventions: which reasons hold, and the page with every effect and edit.

findings = Findings(tasks, reports, interventions)
show(screen, findings)
write_report(run, findings, "hf:./checkpoint", samples=40)

A task counts once, whatever was drawn of it: intervals of shares are exact (Clopper-Pearson) over
tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import (
    REASON_NAMES,
    REASONS,
    Intervention,
    Reason,
    ReasonReport,
)
from planish.methods.mistakes.showing.verified import say_walls
from planish.methods.mistakes.showing.visible import visible
from planish.stats import Estimate
from planish.stats.estimates import exact_bounds
from planish.tasks.sandbox.contract import Level

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen
    from planish.runs.report import Report

__all__ = ["Findings", "show", "write_report"]

NONE = "none"


@dataclass(frozen=True)
class Findings:
    """All reports and arms of these tasks.

    Args:
        level: the weakest sandbox that a program had; None where nothing was run.
    """

    tasks: tuple[str, ...]
    reports: tuple[ReasonReport, ...]
    interventions: tuple[Intervention, ...]
    level: Level | None = None

    def holds(self, task_id: str) -> tuple[Reason, ...]:
        """The reasons that hold for a task; () is "none"."""
        return tuple(each.reason for each in self.reports if each.task_id == task_id and each.holds)

    def of(self, reason: Reason) -> list[ReasonReport]:
        """The reports on a reason that could be measured."""
        return [each for each in self.reports if each.reason == reason and each.p is not None]

    @property
    def leaks(self) -> list[Intervention]:
        """Edits that were not scored, with what they leak or break."""
        return [each for each in self.interventions if each.leak_check]

    @property
    def drawn(self) -> int:
        """Samples that were asked for."""
        return sum(each.n for each in self.interventions)

    @property
    def scored(self) -> int:
        """Samples that could be scored."""
        return sum(each.n - each.unscored for each in self.interventions)

    def numbers(self) -> dict[str, Any]:
        """The summary."""
        explained = sum(bool(self.holds(task)) for task in self.tasks)
        measured = sum(self.measured(task) for task in self.tasks)
        shares = {reason: self.share(reason) for reason in REASONS}
        return {
            "tasks": len(self.tasks),
            "measured": measured,
            "explained": explained,
            "none": measured - explained,
            "explained_share": share_of(explained, measured),
            "none_share": share_of(measured - explained, measured),
            "by_reason": {
                reason: sum(each.holds for each in self.of(reason)) for reason in REASONS
            },
            "share_by_reason": {
                reason: [each.value, each.low, each.high] for reason, each in shares.items()
            },
            "tried": {reason: len(self.of(reason)) for reason in REASONS},
            "untried": self.untried,
            "leaks": len(self.leaks),
            "drawn": self.drawn,
            "coverage": self.scored / self.drawn if self.drawn else None,
            "sandbox_level": self.level,
        }

    def measured(self, task_id: str) -> bool:
        """Whether any reason could be measured for a task."""
        return any(each.task_id == task_id and each.p is not None for each in self.reports)

    def share(self, reason: Reason) -> Estimate:
        """Share of the tasks that a reason holds for, of those it was tried on."""
        reports = self.of(reason)
        return share_of(sum(each.holds for each in reports), len(reports))

    @property
    def untried(self) -> dict[Reason, str]:
        """Reasons that could be measured on no task, with why, in the words of most tasks."""
        found: dict[Reason, str] = {}
        for reason in REASONS:
            whys = Counter(each.why for each in self.reports if each.reason == reason)
            if not whys or self.of(reason):
                continue
            ((why, count),) = whys.most_common(1)
            rest = whys.total() - count
            found[reason] = f"{why} ({count} tasks; {rest} otherwise)" if rest else why
        return found

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """(reason, name, tasks it was tried on, tasks it holds for, their share)."""
        return [
            (reason, REASON_NAMES[reason], str(len(self.of(reason))), str(held), str(share))
            for reason in REASONS
            for held in [sum(each.holds for each in self.of(reason))]
            for share in [self.share(reason)]
        ]


def share_of(part: int, whole: int) -> Estimate:
    """A share of tasks, with its exact interval."""
    if not whole:
        return Estimate(value=None)
    low, high = exact_bounds(part / whole, whole, 0.95)
    return Estimate(value=part / whole, low=low, high=high, n=whole)


def effect_of(report: ReasonReport) -> Estimate:
    """The effect with its interval."""
    return Estimate(value=report.effect, low=report.low, high=report.high, n=1)


def verdict(findings: Findings, task_id: str) -> str:
    """The reasons that hold, "none", or "not measured"."""
    held = findings.holds(task_id)
    return ", ".join(held) or (NONE if findings.measured(task_id) else "not measured")


def show(screen: Screen, findings: Findings) -> None:
    """The reasons, over all tasks and by task."""
    screen.table(
        ("reason", "", "tried on", "holds for", "share, 95 % interval"),
        findings.rows(),
        title=f"{len(findings.tasks)} failed tasks",
    )
    for reason, why in findings.untried.items():
        screen.say(f"{reason} was tried on none: {visible(why)}")
    numbers = findings.numbers()
    screen.say(
        f"of {numbers['measured']} tasks {numbers['explained']} have a reason, "
        f"{numbers['explained_share']}, and {numbers['none']} none, {numbers['none_share']}"
    )
    rows = []
    for task in findings.tasks:
        held = [each for each in findings.reports if each.task_id == task and each.holds]
        effects = "; ".join(f"{each.reason} {effect_of(each)}" for each in held)
        rows.append((task, verdict(findings, task), effects))
    screen.table(("task", "reasons", "pass rate, edit less placebo"), rows, text=True)
    say_walls(screen, findings.level)


def write_report(
    run: Run, findings: Findings, model: str, samples: int, notes: Sequence[str] = ()
) -> None:
    """The page of a run.

    Args:
        samples: of each arm; notes: what a reader must know, such as samples that were lost.
    """
    from planish.runs.report import Report

    numbers = findings.numbers()
    page = Report(
        f"{model}: why its code fails",
        f"{len(findings.tasks)} failed tasks, {samples} samples of each prompt",
        note="An effect is the pass rate after the edit less that after a placebo, which changes "
        "the prompt as much and tells nothing. A reason holds if Holm's p is below the level and "
        "the 95 % interval above 0; several may hold, or none.",
        run=run,
        tiny=model.startswith(("embedded:", "planted:")),
    )
    for note in notes:
        page.text(note)
    page.numbers(
        {
            "tasks": numbers["tasks"],
            "explained": numbers["explained_share"],
            "none": numbers["none_share"],
            "coverage": numbers["coverage"],
            "sandbox": numbers["sandbox_level"],
        }
    )
    page.table(
        ("reason", "name", "tried on", "holds for", "share"),
        findings.rows(),
        "Shares are of the tasks that a reason was tried on; intervals are exact, over tasks.",
        align="llrrl",
    )
    if findings.untried:
        untried = [(reason, visible(why)) for reason, why in findings.untried.items()]
        page.table(("tried on none", "why"), untried)
    for task in findings.tasks:
        _add_task(page, findings, task)
    page.save(run.report_path)


_COLUMNS = ("reason", "effect", "p", "p, Holm", "original", "placebo", "holds", "why not")


def _add_task(page: Report, findings: Findings, task_id: str) -> None:
    page.section(task_id, f"Reasons: **{verdict(findings, task_id)}**")
    page.table(
        _COLUMNS,
        [
            (
                each.reason,
                effect_of(each),
                each.p,
                each.p_holm,
                each.base_rate,
                each.placebo_rate,
                each.holds,
                each.why,
            )
            for each in findings.reports
            if each.task_id == task_id
        ],
    )
    for arm in findings.interventions:
        if arm.task_id != task_id or arm.reason is None:
            continue
        passed = f"{arm.passes} of {arm.n - arm.unscored} pass"
        if not arm.n:
            passed = "not drawn"
        if arm.unscored:
            passed += f", {arm.unscored} not scored"
        told = f"not scored: {arm.leak_check}" if arm.leak_check else passed
        page.details(f"{arm.reason}, {arm.arm}: {told}", arm.edit_diff)
