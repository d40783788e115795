"""What came of a diagnosis: numbers, tables, and the overview of a run.

findings = Findings(cases, total=378)
findings.numbers()
show(screen, findings)
write_report(run, findings, tasks)

The same code counts once, however often a model wrote it, and intervals are drawn over tasks:
failures of one task are not independent of each other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import (
    CATEGORIES,
    CATEGORY_NAMES,
    Category,
    CodeTask,
    Diagnosed,
    Diagnosis,
    ReasonReport,
    Repair,
    Search,
)
from planish.methods.mistakes.observing.observe import UNASKED
from planish.methods.mistakes.showing.verified import MEANINGS, say_walls
from planish.methods.mistakes.showing.visible import visible
from planish.stats import Estimate, ratio
from planish.tasks.sandbox.contract import LEVELS, STATUSES, Level

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen
    from planish.runs.report import Report

__all__ = ["Findings", "mended_by", "show", "sure", "write_report"]

_SHORT = 60  # characters of a change that are told in a line
_CLAUSE = re.compile("[:;] ")  # what comes after it is of one case


@dataclass(frozen=True)
class Findings:
    """Diagnosed failures.

    Args:
        cases: one for each program.
        total: failed runs, the same code of a task as often as it came.
        seed: of the intervals.
    """

    cases: Sequence[Diagnosed]
    total: int
    seed: int = 0

    @property
    def ran(self) -> list[Diagnosed]:
        """Those of which something can be said."""
        return [case for case in self.cases if case.could_run]

    @property
    def asked(self) -> list[Diagnosis]:
        """What came of each program that a model was asked about, or would have been."""
        told = [case.diagnosis for case in self.cases if case.diagnosis is not None]
        return [each for each in told if each.detector != "rules"]

    @property
    def lost(self) -> list[Diagnosis]:
        """Those for which no reply came."""
        return [each for each in self.asked if each.lost]

    @property
    def unasked(self) -> list[str]:
        """Tasks of which no input could be tried; only their tests tell."""
        bare = [case for case in self.ran if case.observation.why == UNASKED]
        return list(dict.fromkeys(case.run.task_id for case in bare))

    def share(self, chosen: Sequence[Diagnosed]) -> Estimate:
        """Their share of what could be run, with an interval over tasks."""
        whole = Counter(case.run.task_id for case in self.ran)
        part = Counter(case.run.task_id for case in chosen)
        return ratio([part[task] for task in whole], list(whole.values()), seed=self.seed)

    def of(self, category: Category | None) -> list[Diagnosed]:
        """Those that were said to be of a category; of None: abstentions."""
        return [case for case in self.ran if case.category == category]

    @cached_property
    def shares(self) -> dict[Category, Estimate]:
        """Category -> share of all that could be run, those that were abstained on included."""
        return {category: self.share(self.of(category)) for category in CATEGORIES}

    @property
    def by_status(self) -> dict[str, int]:
        """How many of each status, those that came up."""
        counted = Counter(case.observation.status for case in self.cases)
        return {status: counted[status] for status in STATUSES if counted[status]}

    @property
    def abstentions(self) -> list[tuple[str, int]]:
        """(why, how often), without the numbers of each case, the most frequent first."""
        found = Counter(
            _CLAUSE.split(case.diagnosis.why)[0] if case.diagnosis else "was not asked"
            for case in self.of(None)
        )
        return found.most_common()

    @property
    def level(self) -> Level | None:
        """The weakest sandbox that one had."""
        found = {case.sandbox_level for case in self.cases}
        return max(found, key=LEVELS.index) if found else None

    def numbers(self) -> dict[str, Any]:
        """Everything for `run.json` and `--json`."""
        ran = self.ran
        said = [case for case in ran if case.category is not None]
        repaired = [case for case in ran if case.search.repairs]
        told = [case.diagnosis for case in self.cases if case.diagnosis is not None]
        return {
            "num_failures": self.total,
            "unique": len(self.cases),
            "tasks": len({case.run.task_id for case in self.cases}),
            "diagnosed": len(said),
            "abstained": len(ran) - len(said),
            "not_run": len(self.cases) - len(ran),
            "coverage": self.share(said),
            "by_category": {category: len(self.of(category)) for category in CATEGORIES},
            "share_by_category": {
                category: [estimate.value, estimate.low, estimate.high]
                for category, estimate in self.shares.items()
            },
            "by_status": self.by_status,
            "repaired": len(repaired),
            "repaired_everywhere": sum(mended_by(case.search) is not None for case in repaired),
            "searches_complete": sum(case.search.complete for case in ran),
            "changes_tried": sum(case.search.tried for case in ran),
            "tasks_without_inputs": len(self.unasked),
            "lost": len(self.lost),
            "calls": sum(each.calls for each in told),
            "tokens": sum(each.tokens for each in told),
            "sandbox_level": self.level,
            "seconds": sum(case.seconds for case in self.cases),
        }


def mended_by(search: Search) -> Repair | None:
    """The best repair that passes the tests and agrees on every input; None where there is none."""
    for repair in search.repairs:
        if repair.passes_tests and repair.inputs and repair.agreement == repair.inputs:
            return repair
    return None


def sure(confidence: float) -> str:
    """A confidence as it is read; nothing is wholly certain."""
    return "above 0.99" if confidence >= 0.995 else f"{confidence:.2f}"


def title(findings: Findings) -> str:
    """The finding in one line."""
    numbers = findings.numbers()
    return (
        f"{numbers['diagnosed']} of {numbers['unique']} failing programs diagnosed, "
        f"{numbers['abstained']} abstained"
    )


def show(screen: Screen, findings: Findings) -> None:
    """The closing tables."""
    rows = [
        (category, CATEGORY_NAMES[category], str(len(findings.of(category))), str(estimate))
        for category, estimate in findings.shares.items()
    ]
    if findings.cases:
        columns = ("category", "", "programs", "share, 95 % interval")
        screen.table(columns, rows, title=title(findings), text=True)
    numbers = findings.numbers()
    screen.say(
        f"{numbers['num_failures']} failed runs are {numbers['unique']} programs of "
        f"{numbers['tasks']} tasks; one change mends {numbers['repaired']}, "
        f"{numbers['repaired_everywhere']} of them on every input"
    )
    for why, count in findings.abstentions:
        screen.say(f"abstained on {count}: {visible(why)}")
    say_walls(screen, findings.level)


# ---- the overview ----------------------------------------------------------------------------


def write_report(
    run: Run,
    findings: Findings,
    tasks: Mapping[str, CodeTask],
    detector: str,
    notes: Sequence[str] = (),
    reasons: Mapping[str, Sequence[ReasonReport]] | None = None,
) -> None:
    """The overview of a run, and a page for each failure in its artifacts.

    Args:
        tasks: by id, those of the failures.
        detector: its name.
        notes: what a reader must know first.
        reasons: effects by task, of a run of reasons.
    """
    from planish.methods.mistakes.showing.failures import write_pages
    from planish.runs.report import Report

    pages = write_pages(run, findings.cases, tasks, reasons or {})
    numbers = findings.numbers()
    page = Report(
        title(findings),
        f"{findings.total} failed runs, each program once; detector: {detector}",
        note="Confidence is of the detector and not of a person who has read the code. Shares are "
        "of all programs that could be run; their intervals are drawn over tasks.",
        run=run,
    )
    for note in notes:
        page.text(note)
    page.numbers(
        {
            "coverage": numbers["coverage"],
            "programs": numbers["unique"],
            "failed runs": numbers["num_failures"],
            "mended by one change": numbers["repaired"],
            "calls of a model": numbers["calls"],
            "sandbox": numbers["sandbox_level"],
        }
    )
    if findings.ran:
        _add_categories(page, findings)
    _add_statuses(page, findings)
    _add_links(page, findings, pages)
    page.save(run.report_path)


def _add_categories(page: Report, findings: Findings) -> None:
    from planish.runs.plots import interval_plot

    page.section("Categories")
    rows = [(f"{name} {CATEGORY_NAMES[name]}", x, None) for name, x in findings.shares.items()]
    silent = findings.of(None)
    rows.append(("abstained", findings.share(silent), None))
    page.figure(
        interval_plot(rows, xlabel="share of the programs"),
        "Bars are 95 % intervals, by resampling tasks.",
        alt="share of each category with its interval",
    )
    page.table(
        ("category", "name", "programs", "failed runs", "share"),
        [
            *(
                (name, CATEGORY_NAMES[name], len(of), sum(len(case.copies) for case in of), share)
                for name, share in findings.shares.items()
                for of in [findings.of(name)]
            ),
            (
                "none",
                "abstained",
                len(silent),
                sum(len(case.copies) for case in silent),
                findings.share(silent),
            ),
        ],
        align="llrrl",
    )


def _add_statuses(page: Report, findings: Findings) -> None:
    page.section("What came of running them")
    rows = [(status, count, MEANINGS[status]) for status, count in findings.by_status.items()]
    page.table(("status", "programs", "meaning"), rows, "Each program counts once.")
    if findings.abstentions:
        page.section("Why nothing was said")
        silent = [(visible(why), count) for why, count in findings.abstentions]
        page.table(("why", "programs"), silent)


def _add_links(page: Report, findings: Findings, pages: Mapping[str, Any]) -> None:
    groups: list[tuple[str, list[Diagnosed]]] = [
        (f"{category}: {CATEGORY_NAMES[category]}", findings.of(category))
        for category in CATEGORIES
    ]
    groups.append(("Abstained", findings.of(None)))
    groups.append(("Could not be run", [case for case in findings.cases if not case.could_run]))
    for name, cases in groups:
        if not cases:
            continue
        page.section(f"{name} ({len(cases)})")
        for case in sorted(cases, key=lambda case: (-_confidence(case), case.run.key)):
            mended = f", mended in {_change(case)}" if case.search.repairs else ""
            often = f", {len(case.copies)} runs" if len(case.copies) > 1 else ""
            text = (
                f"{case.run.task_id}, run {case.run.run}: {_headline(case)}, "
                f"{case.observation.status}{mended}{often}"
            )
            page.link(visible(text, 240), pages[case.run.key])


def _change(case: Diagnosed) -> str:
    """Where the best repair changes what, on one line."""
    best = case.search.repairs[0]
    old, new = (" ".join(text.split()) for text in (best.before, best.after))
    if not old or not new or max(len(old), len(new)) > _SHORT:
        return f"line {best.line} ({best.operator.replace('_', ' ')})"
    return f"line {best.line}: {old} → {new}"


def _headline(case: Diagnosed) -> str:
    """What was said, in a few words."""
    if case.diagnosis is None or case.diagnosis.category is None:
        return "abstained" if case.could_run else "could not be run"
    category, confidence = case.diagnosis.ranked[0]
    return f"{category} {sure(confidence)}"


def _confidence(case: Diagnosed) -> float:
    ranked = case.diagnosis.ranked if case.diagnosis else ()
    return ranked[0][1] if ranked else 0.0
