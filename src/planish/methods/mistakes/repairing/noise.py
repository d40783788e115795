"""Statements of a module that only try out what it defines.

    tried = noise(ast.parse(source))

Prints, asserts and what runs under `__name__` change nothing that a caller of its functions sees.
"""

from __future__ import annotations

import ast

from planish.methods.mistakes.repairing.roles import function_name

__all__ = ["noise"]

_SHOWING = frozenset({"print", "pprint", "input", "exit", "quit", "testmod", "main"})
"""Calls of a module that only show what it can do, or end it."""


def noise(module: ast.Module) -> list[ast.stmt]:
    """Statements of a module that only try out what it defines.

    They call what the module defines, or show something, and touch no value of the module that a
    function reads: a loop that fills a table is no such statement, and neither is a seed.
    """
    defined = {
        each.name
        for each in module.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    read = _read_inside(module) - defined
    return [each for each in module.body if _only_tries(each, defined | _SHOWING, read)]


def _only_tries(statement: ast.stmt, called: frozenset[str] | set[str], read: set[str]) -> bool:
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.Assert):
        return True
    if isinstance(statement, ast.If):
        test = {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)}
        if "__name__" in test:
            return True
        if _defines(statement):
            return False
    elif not isinstance(statement, ast.Expr | ast.For | ast.While | ast.With | ast.Raise):
        return False
    calls = (node for node in ast.walk(statement) if isinstance(node, ast.Call))
    return not names & read and any(function_name(call) in called for call in calls)


def _read_inside(module: ast.Module) -> set[str]:
    """Names of the module's values that some function reads."""
    read: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside = [each for each in ast.walk(node) if isinstance(each, ast.Name)]
            own = {each.id for each in inside if not isinstance(each.ctx, ast.Load)}
            own |= {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
            own -= {
                name
                for each in ast.walk(node)
                if isinstance(each, ast.Global)
                for name in each.names
            }
            read |= {each.id for each in inside} - own
    return read & _bound(module)


def _bound(module: ast.Module) -> set[str]:
    return {
        node.id
        for each in module.body
        if isinstance(each, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for node in ast.walk(each)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _defines(statement: ast.If) -> bool:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)
    return any(isinstance(node, (*kinds, ast.Assign)) for node in ast.walk(statement))
