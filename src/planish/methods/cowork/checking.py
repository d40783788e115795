"""What makes a library one that can be acted from, beyond its schema.

    check_library(library)     # raises Unsound("cycle", "methods/wait", ...)

Every name must be known, every task reachable from the root, and none may contain itself or lie
deeper than an agent decomposes.
"""

from __future__ import annotations

from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS
from planish.methods.cowork.skills import ROOT, Library, Method, Unsound, read_call

__all__ = ["MAX_DEPTH", "MAX_NODES", "check_library"]

MAX_DEPTH = 12
"""Methods below one another, from the root down to an operator."""

MAX_NODES = 200
"""More operators, methods and parameters than this is not a library that a person can read."""


def check_library(library: Library) -> None:
    """References, cycles, reachability, sizes.

    Raises:
        Unsound: the first fault found.
    """
    if library.size > MAX_NODES:
        raise Unsound("too_large", "library", f"{library.size} nodes; {MAX_NODES} are allowed")
    _check_ids(library)
    _check_conditions(library)
    _check_operators(library)
    by_task = _check_subtasks(library)
    reached = _check_cycles(by_task)
    for method in library.methods:
        if method.task not in reached:
            raise Unsound(
                "unreachable",
                f"methods/{method.id}",
                f"task {method.task!r} is never part of {ROOT!r}",
            )
    _check_depth(by_task)


def _check_ids(library: Library) -> None:
    for kind in ("params", "operators", "methods"):
        seen: set[str] = set()
        for node in getattr(library, kind):
            if node.id in seen:
                raise Unsound("duplicate_id", f"{kind}/{node.id}", "the id is used twice")
            seen.add(node.id)
    for name in sorted(library.values.keys() & THINGS.keys()):
        raise Unsound("ambiguous_id", f"params/{name}", f"{name!r} is also a thing")


def _check_conditions(library: Library) -> None:
    for where, condition in library.conditions():
        call = read_call(condition)
        if call.name not in PREDICATES:
            raise Unsound("unknown_predicate", where, f"unknown predicate {call.name!r}")
        arity = PREDICATES[call.name].arity
        if len(call.args) != arity:
            raise Unsound(
                "wrong_arguments",
                where,
                f"{call.name} takes {arity} arguments, not {len(call.args)}",
            )
        for arg in call.args:
            if arg not in library.values and arg not in THINGS and not arg.isdigit():
                raise Unsound("unknown_argument", where, f"unknown argument {arg!r} of {call.name}")


def _check_operators(library: Library) -> None:
    for operator in library.operators:
        where, controller = f"operators/{operator.id}", operator.controller
        if controller not in CONTROLLERS:
            raise Unsound("unknown_controller", where, f"unknown controller {controller!r}")
        wanted = CONTROLLERS[controller].args
        if set(operator.args) != set(wanted):
            raise Unsound(
                "wrong_arguments",
                where,
                f"{controller} takes {', '.join(wanted) or 'no arguments'}",
            )
        for key, value in operator.args.items():
            if value not in wanted[key]:
                raise Unsound("unknown_argument", where, f"{key} cannot be {value!r}")


def _check_subtasks(library: Library) -> dict[str, list[Method]]:
    """Task -> its methods."""
    operators = {operator.id for operator in library.operators}
    by_task: dict[str, list[Method]] = {}
    for method in library.methods:
        if method.task in operators:
            raise Unsound(
                "ambiguous_id", f"methods/{method.id}", f"task {method.task!r} is also an operator"
            )
        by_task.setdefault(method.task, []).append(method)
    for method in library.methods:
        for subtask in method.subtasks:
            if subtask not in operators and subtask not in by_task:
                raise Unsound(
                    "unknown_subtask",
                    f"methods/{method.id}",
                    f"subtask {subtask!r} is neither an operator nor a task",
                )
    if ROOT not in by_task:
        raise Unsound("no_root", "methods", f"no method for the task {ROOT!r}")
    return by_task


def _check_cycles(by_task: dict[str, list[Method]]) -> set[str]:
    """The tasks that can be reached from the root, and beyond it every cycle is a fault, too."""
    done: set[str] = set()

    def visit(task: str, above: frozenset[str]) -> None:
        for method in by_task[task]:
            for subtask in method.subtasks:
                if subtask in above:
                    raise Unsound(
                        "cycle", f"methods/{method.id}", f"task {subtask!r} contains itself"
                    )
                if subtask in by_task and subtask not in done:
                    visit(subtask, above | {subtask})
        done.add(task)

    visit(ROOT, frozenset({ROOT}))
    reached = set(done)
    for task in sorted(by_task):
        if task not in done:
            visit(task, frozenset({task}))
    return reached


def _check_depth(by_task: dict[str, list[Method]]) -> None:
    """No chain of methods from the root may be longer than an agent follows."""
    tasks = [ROOT]
    for _ in range(MAX_DEPTH):
        below = {
            subtask: method
            for task in tasks
            for method in by_task[task]
            for subtask in method.subtasks
            if subtask in by_task
        }
        tasks = list(below)
    if tasks:
        raise Unsound(
            "too_deep",
            f"methods/{below[tasks[0]].id}",
            f"task {tasks[0]!r} lies below {MAX_DEPTH} methods; no agent looks so deep",
        )
