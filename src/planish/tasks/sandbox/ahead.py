"""Calls that tests are sure to make, in their order, told by reading them.

    >>> planned("def check(candidate):\\n    assert candidate(2) == 4\\n")
    ('{"tuple":[2]}',)

Most tests are a straight line: one `assert` after the other, each of which calls the candidate once
and on literals. Which call comes next then hangs on no answer, so that a candidate's process can be
given all of them at once, which saves a question and a wait for each. Whatever is not such a line
has no plan. A plan decides nothing: the tests run as ever, and where they ask for another call than
the next one of the plan, the job is run again without it.
"""

from __future__ import annotations

import ast
import re

from planish.tasks.sandbox.tame import parsed
from planish.tasks.sandbox.values import UnknownType, dumps

__all__ = ["planned"]

_MAX_CALLS = 500
_MAX_CHARS = 50_000
"""Of all arguments: more would not fit into a socket at once."""

_SILENT = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef)


def planned(tests: str, tree: ast.Module | None = None) -> tuple[str, ...]:
    """Canonical text of the arguments of every call; () where the tests are no straight line.

    Args:
        tests: source that defines `check(candidate)`.
        tree: of it, where it has been parsed.
    """
    try:
        return _planned(tests, parsed(tests) if tree is None else tree)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError, SystemError):
        return ()  # `literal_eval` and `dumps` say so of what is no plain literal


def _planned(tests: str, tree: ast.Module) -> tuple[str, ...]:
    checks = [node for node in tree.body if getattr(node, "name", "") == "check"]
    if len(checks) != 1 or not all(isinstance(node, _SILENT) or _says(node) for node in tree.body):
        return ()
    check = checks[0]
    if not isinstance(check, ast.FunctionDef) or check.decorator_list:
        return ()
    (name,) = [one.arg for one in (*check.args.posonlyargs, *check.args.args)]
    plan = []
    for node in check.body:
        if isinstance(node, ast.Assert):
            call = _call(node.test, name)
            if call is not None:
                plan.append(dumps(_arguments(call)))
        elif not _says(node):
            return ()
    # named once more, it could be called where no reader sees it
    if len(re.findall(rf"\b{name}\b", tests)) != 1 + len(plan):
        return ()
    return tuple(plan) if len(plan) <= _MAX_CALLS and sum(map(len, plan)) <= _MAX_CHARS else ()


def _says(node: ast.stmt) -> bool:
    """Whether a statement only says something."""
    constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return constant or isinstance(node, ast.Pass)


def _call(node: ast.expr, name: str) -> ast.Call | None:
    """The call of a name in an expression, where it is made whatever the rest comes to."""
    parts: list[ast.expr] = []
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id == name:
            return node
        parts = [node.func, *node.args]
    elif isinstance(node, ast.Compare):
        parts = [node.left, node.comparators[0]]
    elif isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp):
        parts = [node.operand]
    elif isinstance(node, ast.Attribute | ast.Subscript):
        parts = [node.value]
    return next((call for part in parts if (call := _call(part, name)) is not None), None)


def _arguments(call: ast.Call) -> object:
    """What a call passes, as `candidate.call` takes it.

    Raises:
        ValueError, TypeError: not all of it is literal.
    """
    positional: list[object] = []
    for one in call.args:
        if isinstance(one, ast.Starred):
            several = ast.literal_eval(one.value)
            if not isinstance(several, tuple | list):
                raise UnknownType("more than a row of literals")
            positional += several
        else:
            positional.append(ast.literal_eval(one))
    named = {one.arg or "": ast.literal_eval(one.value) for one in call.keywords}
    if "" in named:
        raise UnknownType("names that are no literals")
    return [tuple(positional), named] if named else tuple(positional)
