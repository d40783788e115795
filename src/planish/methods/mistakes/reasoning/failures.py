"""What is known of a task's failed code before its prompt is touched.

    failures = look([(task, codes)], box, references)[0]
    failures.failing     inputs on which a piece of code differs from the reference

The inputs are those that the tests pass to the reference, as the sandbox saw them, and others that
the task's strategy gives and its precondition allows.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.drawing import draw_many
from planish.methods.mistakes.jobs import Box, References, agree, call_job
from planish.methods.mistakes.loading.replies import function_name
from planish.methods.mistakes.reasoning.prompts import demonstrations
from planish.tasks.sandbox.contract import CallResult
from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["Call", "Failures", "canonical", "look", "reference_values", "unpacked"]

MOST_CODES = 8
"""Pieces of failed code that are looked at for one task; the edits change little with more."""

INPUTS = 60
"""Of the tests and drawn, for each task."""


@dataclass(frozen=True)
class Call:
    """Canonical texts of arguments and of what the reference returns for them."""

    arguments: str
    value: str


@dataclass(frozen=True)
class Failures:
    """A task and its failed code.

    Args:
        codes: that failed; calls: of the tests on the reference; drawn: others, that no test makes.
        failing: those of both on which a piece of code differs; passing: the other ones.
        shown: what the prompt's demonstrations call, with what the reference returns.
    """

    task: CodeTask
    codes: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    drawn: tuple[Call, ...] = ()
    failing: tuple[Call, ...] = ()
    passing: tuple[Call, ...] = ()
    shown: tuple[Call, ...] = ()

    @property
    def name(self) -> str:
        """The function that is asked for."""
        return function_name(self.task)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of its parameters; those of the caller, where a project's function calls it."""
        return _parameters(self.task)

    @property
    def own_calls(self) -> bool:
        """Whether `calls` are calls of the very function that the prompt names."""
        return self.task.entry_point.rpartition(":")[2] == self.name


def unpacked(arguments: str) -> tuple[Any, ...]:
    """Arguments as Python values."""
    value = loads(arguments)
    return value if isinstance(value, tuple) else (value,)


def canonical(arguments: tuple[Any, ...]) -> str:
    """Canonical text of arguments; "" for those that have none."""
    try:
        return dumps(arguments)
    except UnknownType:
        return ""


def look(
    tasks: Sequence[tuple[CodeTask, Sequence[str]]],
    box: Box,
    references: References,
    *,
    seed: int = 0,
) -> list[Failures]:
    """Runs references and failed code on the tests' inputs and on drawn ones, all tasks at once."""
    drawn = draw_many([task for task, _ in tasks], INPUTS, seed, box, references.limits)
    calls = [_calls(each.calls) for each in drawn]
    shown = reference_values(
        [(task, _shown_inputs(task, task.prompt)) for task, _ in tasks], box, references
    )
    jobs, places = [], []
    for index, (task, codes) in enumerate(tasks):
        inputs = [call.arguments for call in calls[index]]
        for number, code in enumerate(dict.fromkeys(codes[:MOST_CODES])):
            if inputs:
                key = f"{task.task_id}|look|{number}"
                jobs.append(call_job(task, code, key, inputs, references.limits(task)))
                places.append(index)
    wrong: list[set[str]] = [set() for _ in tasks]
    for index, result in zip(places, box.run(jobs) if jobs else [], strict=True):
        task = tasks[index][0]
        if result.score is None:
            continue
        for call, made in zip(calls[index], result.per_input, strict=False):
            differs = made.value is None or not agree(made.value, call.value, task.tolerance)
            if made.status != "not_run" and differs:
                wrong[index].add(call.arguments)
    return [
        Failures(
            task=task,
            codes=tuple(dict.fromkeys(codes)),
            calls=calls[index][: drawn[index].asked],
            drawn=calls[index][drawn[index].asked :],
            failing=tuple(call for call in calls[index] if call.arguments in wrong[index]),
            passing=tuple(call for call in calls[index] if call.arguments not in wrong[index]),
            shown=shown[index],
        )
        for index, (task, codes) in enumerate(tasks)
    ]


def _shown_inputs(task: CodeTask, prompt: str) -> list[str]:
    """Arguments of the prompt's demonstrations, where they are arguments of the entry point."""
    failures = Failures(task)
    if not failures.own_calls:
        return []
    found = (canonical(demo.arguments) for demo in demonstrations(prompt, failures.name))
    return [arguments for arguments in found if arguments]


def reference_values(
    asked: Sequence[tuple[CodeTask, Sequence[str]]], box: Box, references: References
) -> list[tuple[Call, ...]]:
    """What the references return for these arguments, those left out on which they raise."""
    jobs, places = [], []
    for index, (task, inputs) in enumerate(asked):
        if inputs:
            key = f"{task.task_id}|values"
            jobs.append(call_job(task, task.reference, key, inputs, references.limits(task)))
            places.append(index)
    found: list[tuple[Call, ...]] = [() for _ in asked]
    for index, result in zip(places, box.run(jobs) if jobs else [], strict=True):
        found[index] = _calls(result.per_input)
    return found


def _calls(calls: Sequence[CallResult]) -> tuple[Call, ...]:
    return tuple(
        Call(call.arguments, call.value)
        for call in calls
        if call.status == "value" and call.value is not None
    )


def _parameters(task: CodeTask) -> tuple[str, ...]:
    wanted = task.entry_point.rpartition(":")[2]
    sources = [task.reference, *(file.text for file in task.files)]
    for source in sources:
        try:
            tree = ast.parse(textwrap.dedent(source))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == wanted:
                places = [*node.args.posonlyargs, *node.args.args]
                return tuple(place.arg for place in places if place.arg not in ("self", "cls"))
    return ()
