"""The package's own tasks, and code for them that is wrong in a way that is known.

    >>> tasks = own_tasks("plain")
    >>> {task.split for task in tasks} == {"train", "report"}
    True
    >>> {wrong.by for wrong in hand_made()}
    {'hand'}

Plain tasks are the tables of `plain/<theme>.toml`: small jobs as people ask for them, each with a
reference, tests, a strategy for inputs, and the mistakes that were made by hand. Whether a task is
trained on or reported on was settled before any mistake was made. Tasks with a project around them
are those of `projects/`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Any, Literal

from planish.methods.mistakes.data import CodeTask, Labelled

__all__ = ["hand_made", "own_tasks"]


def own_tasks(kind: Literal["plain", "projects"] | None = None) -> tuple[CodeTask, ...]:
    """Our tasks, always in the same order (ours).

    Args:
        kind: those that are one module, or those with a project around them; None: both.
    """
    tasks: tuple[CodeTask, ...] = ()
    if kind != "projects":
        tasks += _plain()[0]
    if kind != "plain":
        from planish.methods.mistakes.own.projects import project_tasks

        tasks += project_tasks()
    return tasks


def hand_made() -> tuple[Labelled, ...]:
    """Wrong code for our tasks, made and labelled by hand, in the order of the tasks (ours)."""
    from planish.methods.mistakes.own.projects import project_mistakes

    return _plain()[1] + project_mistakes()


@functools.cache
def _plain() -> tuple[tuple[CodeTask, ...], tuple[Labelled, ...]]:
    tasks, mistakes = [], []
    for table in _tables():
        wrong = table.pop("mistake")
        task = CodeTask.model_validate(table)
        tasks.append(task)
        mistakes += [Labelled.model_validate({"task_id": task.task_id, **row}) for row in wrong]
    return tuple(tasks), tuple(mistakes)


def _tables() -> Iterator[dict[str, Any]]:
    files = [
        file
        for file in resources.files(__name__).joinpath("plain").iterdir()
        if file.name.endswith(".toml")
    ]
    for file in sorted(files, key=lambda file: file.name):
        yield from tomllib.loads(file.read_text(encoding="utf-8"))["task"]
