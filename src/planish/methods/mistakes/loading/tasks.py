"""Tasks from the package or from a file, whichever of the known shapes its lines have.

    {"task_id", "entry_point", "prompt", "reference", "tests", ...}     ours: fields of `CodeTask`
    {"task_id", "entry_point", "prompt", "canonical_solution", "test"}  HumanEval
    {..., "canonical_solution", "base_input", "plus_input"}             EvalPlus, see `evalplus`
    {"name", "code", "file_content", "level", ...}                      CoderEval, see `codereval`

Each line is looked at for itself, so a file may mix them. A reference whose body is glued to the
text before it is mended.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from planish.errors import BadInput
from planish.methods.mistakes.data import MARKER, CodeTask
from planish.methods.mistakes.kinds import kinds_of
from planish.methods.mistakes.loading.arity import positional, told
from planish.methods.mistakes.loading.codereval import from_codereval
from planish.methods.mistakes.loading.evalplus import from_evalplus
from planish.methods.mistakes.loading.fields import Line
from planish.methods.mistakes.loading.joining import completed, mended
from planish.methods.mistakes.loading.rows import rows
from planish.methods.mistakes.loading.sources import defined, parse
from planish.records import explain
from planish.tasks.sandbox.values import loads

__all__ = ["OWN", "load_tasks", "place_of"]

OWN: Mapping[str, Literal["plain", "projects"] | None] = {
    "own": None,
    "own:plain": "plain",
    "own:projects": "projects",
}


def load_tasks(source: str) -> tuple[CodeTask, ...]:
    """The tasks that a name or a file stands for, in their order.

    Args:
        source: "own", "own:plain", "own:projects", or a path that ends in .jsonl or .jsonl.gz; or
            in .json, where it is one document (see `rows`).

    Raises:
        BadInput: no such file, broken JSON, a field that is missing or of the wrong type, a shape
            that is not known, a source that is no Python, a task that is there twice, or none.
    """
    if source in OWN:
        return _own(OWN[source])
    if source.startswith("own:"):
        raise BadInput(f"{source!r} is not known", where="tasks", fix=f"use {', '.join(OWN)}")
    path = Path(source)
    seen: dict[str, str] = {}
    tasks = []
    for value, where in rows(path):
        line = Line(value, where)
        task = _read(line, path)
        if task.task_id in seen:
            raise line.bad(f"task {task.task_id!r} is there twice (first in {seen[task.task_id]})")
        seen[task.task_id] = line.where
        tasks.append(task)
    if not tasks:
        raise BadInput("holds no task", where=str(path), fix="write one {...} per line")
    return tuple(tasks)


def place_of(task_id: str, source: str) -> str:
    """Where a task stands, for a complaint about it: file and line, or its id alone.

    Args:
        source: as `load_tasks` has read it.
    """
    path = Path(source)
    if source not in OWN and path.is_file():
        for value, where in rows(path):
            if task_id in (value.get("task_id"), value.get("_id")):
                return where
    return f"task {task_id}"


def _own(kind: Literal["plain", "projects"] | None) -> tuple[CodeTask, ...]:
    from planish.methods.mistakes.own import own_tasks

    return own_tasks(kind)


def _read(line: Line, path: Path) -> CodeTask:
    if line.has("reference"):
        task = _ours(line)
    elif line.has("file_content"):
        task = from_codereval(line, path)
    elif line.has("base_input"):
        task = from_evalplus(line)
    elif line.has("canonical_solution"):
        task = _humaneval(line)
    elif line.has("test_list"):
        raise line.bad(
            "a task of MBPP, which does not tell how its function is called",
            fix="take MBPP+ as EvalPlus publishes it (MbppPlus.jsonl.gz)",
        )
    else:
        raise line.bad(
            "the field 'reference' is missing, and it is no task of HumanEval "
            "('canonical_solution'), EvalPlus ('base_input') or CoderEval ('file_content') either",
            fix="see `planish.methods.mistakes.loading.tasks` for the fields",
        )
    _check(task, line)
    return task


def _ours(line: Line) -> CodeTask:
    for name in ("task_id", "entry_point"):
        line.name(name)
    for name in ("prompt", "reference"):
        line.text(name)
    fields = {name: value for name, value in line.value.items() if value is not None}
    if line.has("strategy"):
        kinds_of(line.value["strategy"], line.where)
    fields["reference"] = mended(fields["reference"], fields["prompt"])
    try:
        return CodeTask.model_validate(fields)
    except ValidationError as error:
        raise line.bad(f"not a task: {explain(error)}") from None


def _humaneval(line: Line) -> CodeTask:
    prompt = line.text("prompt")
    return CodeTask(
        task_id=line.name("task_id"),
        entry_point=line.name("entry_point"),
        prompt=prompt,
        reference=mended(completed(prompt, line.text("canonical_solution")), prompt),
        tests=line.text("test", "tests", empty=False),
    )


# ---- what every task must hold ---------------------------------------------------------------


def _check(task: CodeTask, line: Line) -> None:
    """Refuses what could never pass; nothing is run."""
    if bool(task.tests) == bool(task.inputs):
        both = "both 'tests' and 'inputs'" if task.tests else "neither 'tests' nor 'inputs'"
        raise line.bad(f"task {task.task_id!r} has {both}", fix="give one of them")
    if task.template and MARKER not in task.template:
        raise line.bad(
            f"task {task.task_id!r} has a template without its marker",
            fix=f"put the line {MARKER!r} where the code goes",
        )
    for name, source in _sources(task).items():
        if parse(source) is None:
            raise line.bad(f"the {name} of task {task.task_id!r} is no Python", fix="mend it")
    if task.tests and "check" not in defined(task.tests):
        raise line.bad(
            f"the tests of task {task.task_id!r} define no check(candidate)",
            fix="put the assertions into `def check(candidate):`",
        )
    if task.precondition and "precondition" not in defined(task.precondition):
        raise line.bad(
            f"the precondition of task {task.task_id!r} defines no precondition(...)",
            fix="put it into `def precondition(...):` with the function's arguments",
        )
    _check_arities(task, line)
    for path in (task.module, *(each.path for each in task.files)):
        line.inside(path)
    if ":" not in task.entry_point and task.entry_point not in defined(
        task.program(task.reference)
    ):
        raise line.bad(
            f"the reference of task {task.task_id!r} does not define {task.entry_point!r}",
            fix="name the function in 'entry_point'",
        )
    for number, text in enumerate(task.inputs, 1):
        _check_input(task, text, number, line)


def _check_arities(task: CodeTask, line: Line) -> None:
    """A strategy or precondition of another function would leave the task without inputs."""
    drawn = None if task.strategy is None else len(task.strategy)
    asked = {
        "the reference": positional(task.program(task.reference), task.entry_point),
        "its precondition": positional(task.precondition, "precondition"),
    }
    for what, taken in asked.items():
        if drawn is not None and taken is not None and drawn not in taken:
            raise line.bad(
                f"the strategy of task {task.task_id!r} describes {drawn} arguments, and {what} "
                f"takes {told(taken)}",
                fix="give one description for each argument",
            )


def _sources(task: CodeTask) -> dict[str, str]:
    found = {
        "reference": textwrap.dedent(task.program(task.reference)),
        "tests": task.tests,
        "precondition": task.precondition,
    }
    return {name: source for name, source in found.items() if source or name == "reference"}


def _check_input(task: CodeTask, text: str, number: int, line: Line) -> None:
    try:
        arguments = loads(text)
    except ValueError as error:
        raise line.bad(f"input {number} of task {task.task_id!r}: {error}") from None
    if not isinstance(arguments, tuple):
        raise line.bad(
            f"input {number} of task {task.task_id!r} is no tuple of arguments",
            fix="write it with planish.tasks.sandbox.values.dumps",
        )
