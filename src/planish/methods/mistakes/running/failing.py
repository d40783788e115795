"""What failed, kept in the folder of the run that goes on with it: a resume runs none of it again.

source, digest = pinned("last", "", root)
with run:
    queue = keep_failures(run, plan, plan, root, box, screen)
    for task in queue.tasks:
        task, queue.codes[task.task_id]
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.executing import (
    REFERENCE,
    RESULT,
    TASKS,
    digest_of,
    execute,
    referenced,
)
from planish.methods.mistakes.running.reading import known_references, named, read_failures
from planish.records import BadInput, read_records, to_json, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.console import Screen
from planish.runs.lines import telling_full
from planish.tasks.sandbox.contract import ExecResult

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["FAILED", "Queue", "keep_failures", "keep_references", "pinned"]

FAILED = "failed.jsonl"
"""Among the artifacts of a run: the failed runs that it goes on with, as they were."""


class Queue(NamedTuple):
    """Tasks that have failed, and the code that did, by task."""

    tasks: tuple[CodeTask, ...]
    codes: dict[str, list[str]]


class _Sourced(Protocol):
    """The fields of a plan that say where failures come from."""

    @property
    def source(self) -> str: ...
    @property
    def tasks(self) -> str: ...
    @property
    def digest(self) -> str: ...


def pinned(source: str, tasks: str, root: Path) -> tuple[str, str]:
    """Where failures come from, as it can be found again, and SHA-256 of what decides them.

    Those are a file of runs with its tasks, or the failed programs of a run folder with theirs.

    Raises:
        BadInput: as `named`, and for whatever is wrong with runs or tasks.
    """
    found, held = named(source, tasks, root)
    if held:
        every = load_tasks(tasks)
        used = {run.task_id for run in load_runs(found, every)}
        return found, _digest([held], (task for task in every if task.task_id in used))
    failed = read_failures(found, root=root)
    used = {run.task_id for run in failed.runs}
    chosen = (task for name, task in failed.tasks.items() if name in used)
    return found, _digest(map(to_json, failed.runs), chosen)


def _digest(parts: Iterable[str], tasks: Iterable[CodeTask]) -> str:
    found = hashlib.sha256(digest_of(tasks).encode())
    for part in parts:
        found.update(part.encode() + b"\n")
    return found.hexdigest()


def keep_failures(
    made: Run, plan: _Sourced, dials: Sandboxing, root: Path, box: Sandbox, screen: Screen
) -> Queue:
    """What has failed: from the run's own folder once it is there, else looked at and kept.

    Raises:
        BadInput: the source has changed since the run was started, or a reference fails its tests.
    """
    path, home = made.artifact(FAILED), made.artifact(TASKS)
    if not path.exists():
        if pinned(plan.source, plan.tasks, root)[1] != plan.digest:
            raise BadInput("has changed since", where=plan.source, fix="start a new run")
        if plan.tasks:
            every, failed = _executed(made, plan, dials, box, screen)
        else:
            read = read_failures(plan.source, root=root)
            every, failed = list(read.tasks.values()), list(read.runs)
        used = {run.task_id for run in failed}
        with telling_full(home):
            write_jsonl(home, (task for task in every if task.task_id in used))
        with telling_full(path):
            write_jsonl(path, failed)
    codes: dict[str, list[str]] = {}
    for run in read_records(path, RunRecord):
        codes.setdefault(run.task_id, []).append(run.code)
    tasks = {task.task_id: task for task in read_records(home, CodeTask)}
    return Queue(tuple(tasks[name] for name in codes), codes)


def _executed(
    made: Run, plan: _Sourced, dials: Sandboxing, box: Sandbox, screen: Screen
) -> tuple[list[CodeTask], list[RunRecord]]:
    """Tasks and failed runs of a file of runs; each result is kept as it comes."""
    every = load_tasks(plan.tasks)
    runs = load_runs(plan.source, every)
    used = {run.task_id for run in runs}
    tasks = {task.task_id: task for task in every if task.task_id in used}
    references = keep_references(made, list(tasks.values()), dials, box, screen)
    results = {row.id: row.read(ExecResult) for row in read_rows(made.path, RESULT)}
    # What the sandbox failed at is tried again.
    left = [run for run in runs if run.key not in results or results[run.key].score is None]
    with screen.progress("code is run", len(left)) as step:
        for run, result in execute(left, tasks, references, box):
            made.record(RESULT, result, id=run.key)
            results[run.key] = result
            step()
    lost = sum(results[run.key].score is None for run in runs)
    if lost:
        screen.warn(f"{lost} of {len(runs)} runs could not be run, and are left out")
    return list(tasks.values()), [run for run in runs if results[run.key].score == 0]


def keep_references(
    made: Run, tasks: Sequence[CodeTask], dials: Sandboxing, box: Sandbox, screen: Screen
) -> References:
    """The references of these tasks; those that the run has kept are not run again."""
    known = known_references(made.path)
    references = referenced(tasks, box, dials, screen, known)
    for name, result in references.results.items():
        if name not in known:
            made.record(REFERENCE, result, id=name)
    return references
