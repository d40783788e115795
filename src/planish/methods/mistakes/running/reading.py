"""The failed runs of a run folder, with their tasks and what running them has found.

failures = read_failures("last")
for run in failures.runs:
    failures.tasks[run.task_id], failures.results[run.key]
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from planish.errors import BadInput
from planish.methods.mistakes.data import CodeTask, ReasonReport, RunRecord
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.executing import REFERENCE, RESULT, RUN, TASKS
from planish.runs import read_rows
from planish.runs.console import Screen, command
from planish.runs.info import read_info
from planish.runs.options import RUNS
from planish.runs.presets import digest
from planish.runs.store import StoredRun, find, list_runs
from planish.tasks.sandbox.contract import ExecResult

__all__ = [
    "STAGES",
    "Failures",
    "folder_of",
    "known_references",
    "named",
    "newest_of",
    "read_effects",
    "read_failures",
    "resumed",
]

STAGES = ("verify", "generate")
"""Those that leave runs with results."""


class Failures(NamedTuple):
    """What failed, and what passed; what could not be run is left out.

    Args:
        tasks: all tasks of the run folder by their ids, those without failures included.
        runs: the failed ones, in the order they were finished.
        results: of the failed runs, by `RunRecord.key`.
        passed: the others that could be run.
    """

    tasks: dict[str, CodeTask]
    runs: tuple[RunRecord, ...]
    results: dict[str, ExecResult]
    passed: tuple[RunRecord, ...] = ()


def read_failures(
    source: str | os.PathLike[str], *, root: str | os.PathLike[str] = RUNS
) -> Failures:
    """The failed runs of a run of verify or generate.

    Args:
        source: path, name, or "last": the newest of these stages.
        root: folder that holds the runs.

    Raises:
        BadInput: no such run, one of another stage, or one that has not ended.
    """
    folder = folder_of(source, root)
    known = {task.task_id: task for task in load_tasks(str(folder / "artifacts" / TASKS))}
    results = {row.id: row.read(ExecResult) for row in read_rows(folder, RESULT)}
    runs = {row.id: row.read(RunRecord) for row in read_rows(folder, RUN)}
    failed = {key: run for key, run in runs.items() if key in results and results[key].score == 0}
    passed = (run for key, run in runs.items() if key in results and results[key].score == 1)
    told = {key: results[key] for key in failed}
    return Failures(known, tuple(failed.values()), told, tuple(passed))


def read_effects(
    source: str | os.PathLike[str],
    screen: Screen,
    *,
    root: str | os.PathLike[str] = RUNS,
) -> dict[str, list[ReasonReport]]:
    """Task -> what a run of reasons has found; of several reports of a reason the last.

    Args:
        source: path, name, or "last": the newest of this stage; root: folder that holds the runs.
        screen: hears of a run that has not ended.

    Raises:
        BadInput: no such run, or one of another stage.
    """
    newest = newest_of("reasons", root) if os.fspath(source) == "last" else None
    stored = find(root, source if newest is None else newest)
    folder, info = stored.path, read_info(stored.path)
    if (info.room, info.stage) != ("mistakes", "reasons"):
        raise BadInput(
            f"is a run of {info.room} {info.stage}".rstrip(),
            where=str(folder),
            fix="give a run of planish mistakes reasons",
        )
    last = {row.id: row.read(ReasonReport) for row in read_rows(folder, "reason")}
    found: dict[str, list[ReasonReport]] = {}
    for report in last.values():
        found.setdefault(report.task_id, []).append(report)
    if stored.status != "done":
        screen.warn(
            f"the run of reasons is {stored.status}: {len(found)} tasks have effects so far"
        )
    return found


def newest_of(
    stage: str, root: str | os.PathLike[str] = RUNS, *, of: str | None = None
) -> Path | None:
    """The newest run of a stage of this room; None where there is none.

    Args:
        of: only one that went on with these runs, as its plan names them.
    """
    for stored in list_runs(root, "mistakes"):
        info = stored.info
        if info is not None and info.stage == stage and of in (None, info.config.get("source")):
            return stored.path
    return None


def resumed(name: str, stage: str, root: str | os.PathLike[str] = RUNS) -> Path:
    """The run that a stage goes on with.

    Args:
        name: path, name, or "last": the newest of all runs, as everywhere.

    Raises:
        BadInput: no such run, or "last" is one of another stage: then the newest of this is named.
    """
    folder = find(root, name).path
    info = read_info(folder)
    if name == "last" and (info.room, info.stage) != ("mistakes", stage):
        newest = newest_of(stage, root)
        which = "and there is none" if newest is None else f"the newest is {newest}"
        raise BadInput(
            f"is a run of {info.room} {info.stage}".rstrip(),
            where="--resume last",
            fix=f"give a run of planish mistakes {stage}: {which}",
        )
    return folder


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
        BadInput: no such run or file, a file without its tasks, a run together with tasks, or one
            that has not ended.
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
        BadInput: no such run, one of another stage, or one that has not ended: what failed in a
            part of the runs is not what failed.
    """
    if os.fspath(source) == "last":
        for stored in list_runs(root, "mistakes"):
            if stored.info is not None and stored.info.stage in STAGES:
                return _ended(stored)
        raise BadInput(
            f"no run of planish mistakes {' or '.join(STAGES)} is there",
            where=os.fspath(root),
            fix="make one, or give --runs-dir",
        )
    stored = find(root, source)
    info = read_info(stored.path)
    if info.room != "mistakes" or info.stage not in STAGES:
        raise BadInput(
            f"is a run of {info.room} {info.stage}".rstrip(),
            where=str(stored.path),
            fix=f"give a run of planish mistakes {' or '.join(STAGES)}",
        )
    return _ended(stored)


def _ended(stored: StoredRun) -> Path:
    if stored.status == "done":
        return stored.path
    there, wanted = len({row.id for row in read_rows(stored.path, RESULT)}), _wanted(stored)
    count = there if wanted is None else f"{there} of {wanted}"
    go_on = command(*("planish", "mistakes", read_info(stored.path).stage, "--resume"), stored.path)
    raise BadInput(
        f"{stored.status}: {count} runs there",
        where=str(stored.path),
        fix="wait until it has ended" if stored.status == "running" else f"finish with `{go_on}`",
    )


def _wanted(stored: StoredRun) -> int | None:
    """How many runs a folder is to have; None where that cannot be told any more."""
    config = read_info(stored.path).config
    try:
        tasks = load_tasks(str(stored.path / "artifacts" / TASKS))
        if "samples" in config:
            return len(tasks) * int(str(config["samples"]))
        return len(load_runs(str(config["recorded"]), tasks))
    except (BadInput, KeyError, ValueError):
        return None  # stopped before it had its tasks, or its file of runs is gone
