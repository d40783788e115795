"""What came of running code again: numbers, tables and the page of a verify run.

verified = Verified(runs, results, programs=1480, seconds=31.0)
verified.numbers()
write_report(run, verified, "tasks.jsonl", "runs.jsonl")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import RunRecord
from planish.methods.mistakes.showing.visible import visible
from planish.tasks.sandbox.contract import LEVELS, STATUSES, ExecResult

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen
    from planish.runs.report import Report

__all__ = ["Verified", "add_failures", "say_walls", "write_report"]

LISTED = 200
"""Disagreements that a summary lists; records.jsonl holds every run."""

_WORST = 20  # tasks with most failures that the page lists
_FIRST = 50  # failed runs that the page lists
_CUT = 200  # characters of a message in a table

MEANINGS = {
    "pass": "the tests hold",
    "wrong_value": "it returned something else",
    "exception": "it raised",
    "timeout": "it took too long, twice",
    "oom": "it took too much memory",
    "no_entry": "it does not define the function",
    "syntax": "it is no Python",
    "sandbox_error": "the sandbox failed: says nothing about the code",
    "harness": "the tests failed by themselves: says nothing about the code",
}


@dataclass(frozen=True)
class Verified:
    """Runs and what running them has found.

    Args:
        runs: every one that was to be run.
        results: by `RunRecord.key`; what is not there was not run.
        programs: that were run this time; the same code of a task is run once.
        seconds: that took.
    """

    runs: Sequence[RunRecord]
    results: Mapping[str, ExecResult]
    programs: int = 0
    seconds: float = 0.0

    def score(self, run: RunRecord) -> float | None:
        """1 passed, 0 failed, None could not be told."""
        result = self.results.get(run.key)
        return None if result is None else result.score

    @property
    def scored(self) -> list[RunRecord]:
        """Those of which something can be said."""
        return [run for run in self.runs if self.score(run) is not None]

    @property
    def compared(self) -> list[RunRecord]:
        """Those of which somebody has said before whether they pass."""
        return [run for run in self.scored if run.recorded_pass is not None]

    @property
    def disagreements(self) -> list[RunRecord]:
        """Those of which somebody has said otherwise."""
        return [run for run in self.compared if bool(self.score(run)) != run.recorded_pass]

    @property
    def agreement(self) -> float | None:
        """Share of those of which the same was said; None where nothing was."""
        if not self.compared:
            return None
        return 1 - len(self.disagreements) / len(self.compared)

    @property
    def by_status(self) -> dict[str, int]:
        """How many of each status, those that came up."""
        counted = Counter(result.status for result in self.results.values())
        return {status: counted[status] for status in STATUSES if counted[status]}

    @property
    def level(self) -> str | None:
        """The weakest sandbox that a run had; None where nothing was run."""
        found = {result.sandbox_level for result in self.results.values()}
        return max(found, key=LEVELS.index) if found else None

    def numbers(self) -> dict[str, Any]:
        """Everything for `run.json` and `--json`."""
        fast = self.programs / self.seconds if self.programs and self.seconds > 0 else None
        return {
            "num_runs": len(self.runs),
            "num_passed": sum(self.score(run) == 1 for run in self.runs),
            "num_recorded": sum(run.recorded_pass is not None for run in self.runs),
            "agreement": self.agreement,
            "num_disagreements": len(self.disagreements),
            "disagreements": [self._said(run) for run in self.disagreements[:LISTED]],
            "coverage": len(self.scored) / len(self.runs) if self.runs else None,
            "by_status": self.by_status,
            "retried": sum(result.retried for result in self.results.values()),
            "sandbox_level": self.level,
            "programs": self.programs,
            "seconds": self.seconds,
            "programs_per_second": fast,
        }

    def _said(self, run: RunRecord) -> dict[str, Any]:
        result = self.results[run.key]
        return {
            "key": run.key,
            "recorded_pass": run.recorded_pass,
            "status": result.status,
            "why": cause(result),
        }

    def worst(self) -> list[tuple[str, int, int, str]]:
        """(task, failed, scored, statuses) of the tasks that fail most."""
        failed: dict[str, list[ExecResult]] = {}
        scored = Counter(run.task_id for run in self.scored)
        for run in self.scored:
            if self.score(run) == 0:
                failed.setdefault(run.task_id, []).append(self.results[run.key])
        rows = [(task, len(found), scored[task], _counted(found)) for task, found in failed.items()]
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def show(self, screen: Screen) -> None:
        """The closing tables."""
        numbers = self.numbers()
        rate = numbers["programs_per_second"]
        rows = [(status, str(count), MEANINGS[status]) for status, count in self.by_status.items()]
        screen.table(("status", "runs", "meaning"), rows, title=title(self))
        for run in self.disagreements[:10]:
            said = "passes" if run.recorded_pass else "fails"
            result = self.results[run.key]
            line = f"{run.key}: was recorded as {said}, is {result.status}: {cause(result)}"
            screen.say(visible(line))
        if len(self.disagreements) > 10:
            screen.say(f"and {len(self.disagreements) - 10} more disagree")
        if rate is not None:
            screen.say(f"{self.programs} programs in {self.seconds:.1f} s, {rate:.1f} a second")
        say_walls(screen, self.level)


def say_walls(screen: Screen, level: str | None) -> None:
    """Tells that code was run without walls, where it was; `--json` names every level."""
    if level == "fork":
        screen.say("sandbox fork: no walls, only limits; for code that you trust")


def title(verified: Verified) -> str:
    """The finding in one line."""
    numbers = verified.numbers()
    line = f"{numbers['num_passed']} of {numbers['num_runs']} runs pass"
    if verified.agreement is None:
        return f"{line}; nothing was recorded to compare with"
    agreed = len(verified.compared) - len(verified.disagreements)
    return (
        f"{line}; {agreed} of {len(verified.compared)} agree with what was recorded "
        f"({verified.agreement:.2%})"
    )


def cause(result: ExecResult) -> str:
    """Why a run failed, in one short line; it holds what the candidate said, as that came."""
    parts = [result.exception or "", result.message, result.why]
    return " ".join(": ".join(part for part in parts if part).split())[:_CUT]


def write_report(run: Run, verified: Verified, tasks: str, runs: str) -> None:
    """The page of a run."""
    from planish.runs.report import Report

    page = Report(title(verified), f"{runs}, run again under the tests of {tasks}", run=run)
    numbers = verified.numbers()
    compared = {"agreement": numbers["agreement"]} if verified.compared else {}
    page.numbers(
        compared
        | {
            "runs": numbers["num_runs"],
            "passed": numbers["num_passed"],
            "coverage": numbers["coverage"],
            "programs a second": numbers["programs_per_second"],
            "sandbox": numbers["sandbox_level"],
        }
    )
    add_failures(page, verified)
    if verified.compared:
        page.section("Disagreements", "Runs of which something else was recorded.")
        rows = [
            (
                visible(run.task_id),
                visible(run.model),
                run.run,
                _word(run.recorded_pass),
                *_found(verified, run),
            )
            for run in verified.disagreements
        ]
        if rows:
            columns = ("task", "model", "run", "recorded", "found", "why")
            page.table(columns, rows[:LISTED])
        else:
            page.text("None.")
    page.save(run.report_path)


def add_failures(page: Report, verified: Verified) -> None:
    """What came of the runs, and which tasks fail most; at the end of the page as it stands."""
    page.section("What came of the runs")
    rows = [(status, count, MEANINGS[status]) for status, count in verified.by_status.items()]
    page.table(("status", "runs", "meaning"), rows, "Every run counts, repeated code included.")
    worst = verified.worst()
    if worst:
        page.section("Tasks that fail most", f"{len(worst)} tasks have failed runs.")
        rows_of_tasks = [(visible(task), *rest) for task, *rest in worst[:_WORST]]
        page.table(("task", "failed", "runs", "how"), rows_of_tasks)
        failed = [run for run in verified.runs if verified.score(run) == 0]
        page.section("How runs failed", f"The first {min(_FIRST, len(failed))} of {len(failed)}.")
        listed = [
            (visible(run.task_id), visible(run.model), run.run, *_found(verified, run))
            for run in failed[:_FIRST]
        ]
        page.table(("task", "model", "run", "found", "why"), listed)


def _found(verified: Verified, run: RunRecord) -> tuple[str, str]:
    result = verified.results[run.key]
    return result.status, visible(cause(result))


def _word(passed: bool | None) -> str:
    return "pass" if passed else "fail"


def _counted(results: Sequence[ExecResult]) -> str:
    counted = Counter(result.status for result in results)
    return ", ".join(f"{status} {count}" for status, count in counted.most_common())
