"""Observes and repairs labelled programs, and keeps what came of it in a file.

    rows = gather(tasks, hand_made(), Path("work/rows.jsonl"), dials=Config.tiny().diagnosing)

Nearly all the time of fitting and of measuring goes into this, so that what is in the file already
is not run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import CodeTask, Labelled, Observation, RunRecord, Search
from planish.methods.mistakes.observing.observe import observe_many
from planish.methods.mistakes.repairing.search import repair
from planish.records import Record
from planish.tasks.sandbox import Sandbox
from planish.tasks.sandbox.contract import Level, Limits

__all__ = ["Row", "gather", "known_rows", "row_key"]

BATCH = 8
"""Programs after which the file is written."""


class Row(Record):
    """One labelled program, and what running and repairing it showed.

    Args:
        key: of program, label and dials; see `row_key`.
    """

    key: str
    labelled: Labelled
    observation: Observation
    search: Search


def row_key(task: CodeTask, labelled: Labelled, dials: Diagnosing) -> str:
    """SHA-256 of everything that a row depends on, the version of this package aside."""
    told = "\0".join(
        (
            labelled.model_dump_json(),
            task.model_dump_json(),
            dials.model_dump_json(exclude={"threshold"}),
        )
    )
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


def gather(
    tasks: Sequence[CodeTask],
    labelled: Sequence[Labelled],
    path: Path,
    *,
    dials: Diagnosing,
    accept: Level = "unshare",
    progress: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """One row for each labelled program, in order.

    Args:
        tasks: among them those of the programs.
        path: of the file; rows are added as they come, so that it may be stopped at any time.
        accept: the weakest sandbox that will do.
        progress: called with (done, total) programs.
    """
    by_id = {task.task_id: task for task in tasks}
    known = known_rows(path)
    keys = [row_key(by_id[each.task_id], each, dials) for each in labelled]
    fresh = [(key, each) for key, each in zip(keys, labelled, strict=True) if key not in known]
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        _mend(path)
        with Sandbox(accept=accept, workers=1) as box:
            for first in range(0, len(fresh), BATCH):
                part = fresh[first : first + BATCH]
                pairs = [
                    (
                        by_id[each.task_id],
                        RunRecord(task_id=each.task_id, model=key, code=each.code),
                    )
                    for key, each in part
                ]
                seen = observe_many(pairs, box, dials=dials, limits=Limits())
                with path.open("a", encoding="utf-8") as file:
                    for (key, each), (task, run), observation in zip(
                        part, pairs, seen, strict=True
                    ):
                        search = repair(
                            task, run.code, observation, box, dials=dials, limits=Limits()
                        )
                        row = Row(key=key, labelled=each, observation=observation, search=search)
                        known[key] = row
                        file.write(row.model_dump_json() + "\n")
                if progress is not None:
                    progress(len(labelled) - len(fresh) + first + len(part), len(labelled))
    return [known[key] for key in keys]


def _mend(path: Path) -> None:
    """A line that was torn must not swallow the next one."""
    if path.exists() and (text := path.read_bytes()) and not text.endswith(b"\n"):
        with path.open("ab") as file:
            file.write(b"\n")


def known_rows(path: Path) -> dict[str, Row]:
    """Key -> row, of a file that may not be there or end in the middle of a line."""
    if not path.exists():
        return {}
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = Row.model_validate_json(line)
        except ValueError:  # the last one, where the writer was stopped
            continue
        rows[row.key] = row
    return rows
