"""What came of generating code: pass rates with intervals, and the page of a generate run.

rates = Rates.of(verified, (1, 5))
write_report(run, verified, rates, "hf:./checkpoint", notes=["3 of 20 calls brought no reply"])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.showing.verified import Verified, add_failures
from planish.methods.mistakes.showing.visible import visible
from planish.stats import Estimate, mean, nested_bootstrap

if TYPE_CHECKING:
    from planish.runs import Run
    from planish.runs.console import Screen

__all__ = ["Rates", "pass_at", "write_report"]


def pass_at(samples: int, passed: int, k: int) -> float:
    """Chance that one of k samples passes, drawn without replacement from those that were made.

    Unbiased for a fresh draw (arXiv 2107.03374, section 2.1).

    Raises:
        ValueError: k is above the number of samples, or counts that cannot be.
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"{passed} of {samples} samples, k = {k}")
    return 1.0 - math.comb(samples - passed, k) / math.comb(samples, k)


@dataclass(frozen=True)
class Rates:
    """How often a model's code passes.

    Args:
        scores: task -> 1 or 0 for each of its samples that could be scored.
        first: pass@1: tasks are drawn anew, then their samples.
        at: k -> pass@k over the tasks that have k samples.
    """

    scores: dict[str, list[float]]
    first: Estimate
    at: dict[int, Estimate]

    @classmethod
    def of(cls, verified: Verified, ks: Iterable[int], seed: int = 0) -> Rates:
        """The rates of runs, of those that could be scored."""
        scores: dict[str, list[float]] = {}
        for run in verified.scored:
            scores.setdefault(run.task_id, []).append(verified.score(run) or 0.0)
        at = {}
        for k in sorted(set(ks)):
            each = [
                pass_at(len(found), sum(map(bool, found)), k)
                for found in scores.values()
                if len(found) >= k
            ]
            if k > 1 and each:
                at[k] = mean(each, seed=seed)
        return cls(scores, nested_bootstrap(list(scores.values()), seed=seed), at)

    def numbers(self) -> dict[str, Any]:
        """pass_at_1, and pass_at_k for each k."""
        return {"pass_at_1": self.first} | {f"pass_at_{k}": each for k, each in self.at.items()}

    def show(self, screen: Screen) -> None:
        """The rates with their intervals."""
        told = {f"pass@{name.rpartition('_')[2]}": each for name, each in self.numbers().items()}
        screen.numbers(told, title=f"{len(self.scores)} tasks; intervals over tasks")

    def rows(self) -> list[tuple[str, int, int, str]]:
        """(task, passed, samples, rate) of each task, the hardest first."""
        found = [
            (visible(task), sum(map(bool, each)), len(each), f"{sum(each) / len(each):.2f}")
            for task, each in self.scores.items()
        ]
        return sorted(found, key=lambda row: (row[1] / row[2], row[0]))


def write_report(
    run: Run, verified: Verified, rates: Rates, model: str, notes: Sequence[str] = ()
) -> None:
    """The page of a run.

    Args:
        notes: what a reader must know, such as calls that brought no reply.
    """
    from planish.runs.report import Report

    numbers = verified.numbers()
    page = Report(
        f"{model}: how often its code passes",
        f"{len(rates.scores)} tasks, {numbers['num_runs']} programs; intervals over tasks",
        run=run,
        tiny=model.startswith("embedded:"),
    )
    told = {f"pass@{name.rpartition('_')[2]}": each for name, each in rates.numbers().items()}
    page.numbers(
        {
            **told,
            "coverage": numbers["coverage"],
            "programs": numbers["num_runs"],
            "sandbox": numbers["sandbox_level"],
        }
    )
    for note in notes:
        page.text(note)
    add_failures(page, verified)
    page.section("By task")
    page.table(("task", "passed", "programs", "rate"), rates.rows())
    page.save(run.report_path)
