"""Runs generated code under its tasks' tests: the same code of a task once, told for each run.

with opened(dials) as box:
    references = check_references(tasks, box, dials.limits())
    for run, result in execute(runs, tasks, references, box):
        ...
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import References, check_references, test_job
from planish.records import to_json
from planish.runs.console import Screen
from planish.tasks.sandbox.contract import ExecResult

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["digest_of", "distinct", "execute", "opened", "referenced"]

KEPT_CALLS = 20
"""Calls of one program that are kept where a task has thousands of inputs for tests."""


@contextlib.contextmanager
def opened(dials: Sandboxing) -> Iterator[Sandbox]:
    """A sandbox as the dials want it.

    Raises:
        BadInput: no level that they accept can be had here.
    """
    from planish.tasks.sandbox import Sandbox

    with Sandbox(accept=dials.accept_level, workers=dials.workers) as box:
        yield box


def referenced(
    tasks: Iterable[CodeTask],
    box: Sandbox,
    dials: Sandboxing,
    screen: Screen,
    known: Mapping[str, ExecResult] | None = None,
) -> References:
    """`check_references` with a bar.

    Raises:
        BadInput: as there.
    """
    chosen = list(tasks)
    todo = sum(task.task_id not in (known or {}) for task in chosen)
    with screen.progress("references are run", todo) as step:
        return check_references(
            chosen, box, dials.limits(), known=known, progress=lambda *_: step()
        )


def distinct(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by task and code, in the order in which each first comes up."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.digest, []).append(run)
    return found


def execute(
    runs: Iterable[RunRecord],
    tasks: Mapping[str, CodeTask],
    references: References,
    box: Sandbox,
) -> Iterator[tuple[RunRecord, ExecResult]]:
    """Every run with its result, as they come; each result bears the key of its run."""
    groups = list(distinct(runs).values())
    jobs = [
        test_job(
            tasks[same[0].task_id],
            same[0].code,
            same[0].key,
            references.limits(tasks[same[0].task_id]),
        )
        for same in groups
    ]
    for same, result in zip(groups, box.stream(jobs), strict=True):
        task = tasks[same[0].task_id]
        settled = _slim(task, references.settle(task, result))
        for run in same:
            yield run, settled.model_copy(update={"key": run.key})


def _slim(task: CodeTask, result: ExecResult) -> ExecResult:
    if task.tests or len(result.per_input) <= KEPT_CALLS:
        return result
    return result.model_copy(update={"per_input": result.per_input[:KEPT_CALLS]})


def digest_of(tasks: Iterable[CodeTask]) -> str:
    """SHA-256 of tasks: a run goes on only with those it was begun with."""
    found = hashlib.sha256()
    for task in tasks:
        found.update(to_json(task).encode() + b"\n")
    return found.hexdigest()
