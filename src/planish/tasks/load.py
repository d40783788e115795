"""One string names a task: `load_task("chain:4:+-*")`, `load_task("questions.jsonl")`."""

from __future__ import annotations

import os

from planish.records import BadInput
from planish.tasks.base import Task
from planish.tasks.chain import ChainTask
from planish.tasks.questions import SUFFIXES, QuestionTask

__all__ = ["load_task"]


def load_task(spec: str) -> Task:
    """The task that a string names.

    chain, chain:4, chain:4:+-*     digit chains of so many operands over these operators
    FILE                            questions with targets: JSON Lines (`.gz` too) or parquet

    Raises:
        BadInput: no such task or file, or the file holds what is no question.
    """
    name, _, rest = spec.partition(":")
    if name == "chain" and not os.path.isfile(spec):
        return _chain(spec, rest)
    if os.path.isfile(spec) or spec.endswith(SUFFIXES):
        return QuestionTask(spec)
    raise BadInput(
        f"no task is called {spec!r}",
        where="task",
        fix="use chain, chain:N, chain:N:OPERATORS, or a file of questions "
        f"({', '.join(SUFFIXES)})",
    )


def _chain(spec: str, rest: str) -> ChainTask:
    number, colon, operators = rest.partition(":")
    if spec.endswith(":") or (number and not (number.isascii() and number.isdigit())):
        raise BadInput(f"cannot read {spec!r}", where="task", fix="write it like chain:4:+-*")
    task = ChainTask(int(number[:4])) if number else ChainTask()
    return ChainTask(task.num_operands, operators) if colon else task
