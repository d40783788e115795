"""The failed runs of a run folder, with their tasks and what running them has found.

failures = read_failures("last")
for run in failures.runs:
    failures.tasks[run.task_id], failures.results[run.key]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from planish.errors import BadInput
from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import check_references
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.executing import REFERENCE, RESULT, RUN, TASKS, execute
from planish.runs import read_rows
from planish.runs.info import read_info
from planish.runs.options import RUNS
from planish.runs.presets import digest
from planish.runs.store import find, list_runs
from planish.tasks.sandbox.contract import ExecResult

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = [
    "STAGES",
    "Failures",
    "folder_of",
    "known_references",
    "named",
    "read_failures",
]

STAGES = ("verify", "generate")
"""Those that leave runs with results."""


class Failures(NamedTuple):
    """What failed; what passed or could not be run is left out.

    Args:
        tasks: all tasks of the run folder by their ids, those without failures included.
        runs: the failed ones, in the order they were finished.
        results: of the failed runs, by `RunRecord.key`.
    """

    tasks: dict[str, CodeTask]
    runs: tuple[RunRecord, ...]
    results: dict[str, ExecResult]


def read_failures(
    source: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] = RUNS,
    tasks: str = "",
    box: Sandbox | None = None,
    dials: Sandboxing = Sandboxing(),  # noqa: B008 - frozen
) -> Failures:
    """The failed runs of a run of verify or generate, or of a file of runs.

    Args:
        source: a run folder (path, name, or "last": the newest of these stages), or a file.
        root: folder that holds the runs.
        tasks: of a file: as `load_tasks` takes them.
        box: a sandbox, in which the runs of a file are run.
        dials: what a run of a file may use.

    Raises:
        BadInput: no such run, a run of another stage, a file without its tasks, or whatever is
            wrong with either.
    """
    if Path(source).is_file():
        if not tasks:
            raise BadInput(
                "a file of runs needs its tasks", where=str(source), fix="give --tasks FILE"
            )
        if box is None:
            raise BadInput(
                "is a file of runs that were not run here",
                where=str(source),
                fix=f"run planish mistakes verify --tasks {tasks} --runs {source} first",
            )
        return _from_file(source, tasks, box, dials)
    folder = folder_of(source, root)
    known = {task.task_id: task for task in load_tasks(str(folder / "artifacts" / TASKS))}
    results = {row.id: row.read(ExecResult) for row in read_rows(folder, RESULT)}
    runs = {row.id: row.read(RunRecord) for row in read_rows(folder, RUN)}
    return _failed(known, ((run, results[key]) for key, run in runs.items() if key in results))


def named(
    source: str | os.PathLike[str], tasks: str = "", root: str | os.PathLike[str] = RUNS
) -> tuple[str, str]:
    """Where failures come from, as it can be found again, and SHA-256 of what it holds.

    Args:
        source: a run folder (path, name, or "last"), or a file of runs.
        tasks: of a file of runs; a run folder brings its own.
        root: folder that holds the runs.

    Returns:
        An absolute path, and the digest of a file; "" of a run folder, which may still grow.

    Raises:
        BadInput: no such run or file, a file without its tasks, or a run together with tasks.
    """
    path = Path(source)
    if path.is_file():
        if not tasks:
            raise BadInput(
                "a file of runs needs its tasks", where=str(source), fix="give --tasks FILE"
            )
        return str(path.resolve()), digest(path)
    if not tasks:
        return str(folder_of(source, root).resolve()), ""
    if os.fspath(source) != "last":
        try:
            find(root, source)
        except BadInput:
            return str(path), digest(path)  # says what is wrong with a file that is not there
    raise BadInput("a run brings its own tasks", where="--tasks", fix="leave it out")


def known_references(folder: Path | None) -> dict[str, ExecResult]:
    """What came of the references that a run has kept, by task; nothing of a new run (None)."""
    if folder is None:
        return {}
    return {row.id: row.read(ExecResult) for row in read_rows(folder, REFERENCE)}


def folder_of(source: str | os.PathLike[str], root: str | os.PathLike[str] = RUNS) -> Path:
    """The run folder that a path, a name or "last" stands for.

    Raises:
        BadInput: no such run, or one of another stage.
    """
    if os.fspath(source) == "last":
        for stored in list_runs(root, "mistakes"):
            if stored.info is not None and stored.info.stage in STAGES:
                return stored.path
        raise BadInput(
            f"no run of planish mistakes {' or '.join(STAGES)} is there",
            where=os.fspath(root),
            fix="make one, or give --runs-dir",
        )
    folder = find(root, source).path
    info = read_info(folder)
    if info.room != "mistakes" or info.stage not in STAGES:
        raise BadInput(
            f"is a run of {info.room} {info.stage}".rstrip(),
            where=str(folder),
            fix=f"give a run of planish mistakes {' or '.join(STAGES)}",
        )
    return folder


def _from_file(
    source: str | os.PathLike[str], tasks: str, box: Sandbox, dials: Sandboxing
) -> Failures:
    known = {task.task_id: task for task in load_tasks(tasks)}
    runs = load_runs(source, known.values())
    used = {run.task_id for run in runs}
    chosen = [task for name, task in known.items() if name in used]
    references = check_references(chosen, box, dials.limits())
    return _failed(known, execute(runs, known, references, box))


def _failed(tasks: dict[str, CodeTask], pairs: Iterator[tuple[RunRecord, ExecResult]]) -> Failures:
    failed = [(run, result) for run, result in pairs if result.score == 0]
    results = {run.key: result for run, result in failed}
    return Failures(tasks, tuple(run for run, _ in failed), results)
