"""Changes of formulas: operators, constants, missing terms, other variables, where a sum starts.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.indices import moved
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import (
    OF_ROLE,
    Change,
    Site,
    call,
    name,
    number,
    parsed,
)
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes"]

FORMULA: tuple[Category, ...] = ("MFLE",)

_OPERATORS: tuple[type[ast.operator], ...] = (
    ast.Add,
    ast.Sub,
    ast.Mult,
    ast.Div,
    ast.FloorDiv,
    ast.Mod,
    ast.Pow,
)
_BITS: tuple[type[ast.operator], ...] = (
    ast.BitAnd,
    ast.BitOr,
    ast.BitXor,
    ast.LShift,
    ast.RShift,
    ast.Sub,
    ast.Add,
)


def changes(site: Site) -> Iterator[Change]:
    """Every change of a formula."""
    for node in site.expressions():
        if isinstance(node, ast.BinOp):
            yield from _binary(site, node)
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield from _constant(site, node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert):
            yield site.change(node, node.operand, "sign", _of(site, node))
        elif isinstance(node, ast.Name):
            yield from _variable(site, node)
        elif isinstance(node, ast.Call):
            yield from _choice(site, node)
        yield from _term(site, node)
    for statement in site.statements():
        if isinstance(statement, ast.AugAssign):
            yield from _augmented(site, statement)
        elif isinstance(statement, ast.Assign):
            yield from _accumulated(site, statement)


def _of(site: Site, node: ast.AST) -> tuple[Category, ...]:
    """Of a wrong part of a formula: a formula within a test is a formula first."""
    role = site.roles.role(node)
    if role == "index":
        return ("IOM",)
    if site.in_range(node):
        return ("IOM", "MFLE")
    if role == "condition":
        parent = site.source.parents[node][0]
        within = isinstance(node, ast.BinOp) or isinstance(parent, ast.BinOp)
        return ("MFLE", "CE") if within else ("CE",)
    return FORMULA if role in ("arithmetic", "call", "literal") else OF_ROLE[role]


def _binary(site: Site, node: ast.BinOp) -> Iterator[Change]:
    if site.roles.is_text(node):
        return
    categories = _of(site, node)
    family = _OPERATORS if isinstance(node.op, _OPERATORS) else _BITS
    if type(node.op) in _OPERATORS and isinstance(node.op, ast.Sub):
        family = (*_OPERATORS, ast.BitAnd, ast.BitOr, ast.BitXor)
    if isinstance(node.right, ast.Constant) and node.right.value == 1:
        family = (ast.Add, ast.Sub)  # times one is a term left out
    for kind in family:
        if not isinstance(node.op, kind):
            new = ast.BinOp(node.left, kind(), node.right)
            yield site.change(node, new, "operator", categories)
    yield site.change(node, node.left, "term left out", categories)
    yield site.change(node, node.right, "term left out", categories)


def _constant(site: Site, node: ast.Constant) -> Iterator[Change]:
    value = node.value
    assert isinstance(value, int | float)
    parent = site.source.parents[node][0]
    if isinstance(parent, ast.Subscript | ast.Slice | ast.FormattedValue):
        return
    values: list[float] = [value + 1, value - 1, 0, 1, 2, -value, value * 2, value * 10]
    if isinstance(value, int):
        values += [value // 2, value // 10, value + 2, value - 2]
    else:
        values += [value / 2, value / 10, float(int(value))]
    if value in (0, 1, 100, 1000):
        values += [0.5, 10, 100, 1000]
    categories = _of(site, node)
    if isinstance(parent, ast.Call) and function_name(parent) == "round" and parent.args[0] != node:
        categories = ("MOFE", "MFLE")
    tried = set()
    for each in values:
        if each != value and each not in tried and abs(each) < 1e12:
            tried.add(each)
            near = abs(each - value) <= 1 or each == -value
            yield site.change(node, number(each), "constant", categories, wide=0 if near else 1)
    if value in (0, 1, -1):
        for text in ("float('-inf')", "float('inf')"):
            yield site.change(node, parsed(text), "start", categories, wide=1)


def _variable(site: Site, node: ast.Name) -> Iterator[Change]:
    parent, field = site.source.parents[node]
    if field in ("func",) or (site.roles.role(node) == "index"):
        return
    known = site.names(node)
    if node.id not in known:
        return
    categories: tuple[Category, ...] = _of(site, node)
    if isinstance(parent, ast.Call) and site.roles.role(node) == "arithmetic":
        categories = ("MFLE", "MLA")
    for each in known:
        if each != node.id:
            yield site.change(node, name(each), "other variable", categories, wide=1)


def _choice(site: Site, node: ast.Call) -> Iterator[Change]:
    """The smallest for the largest, a sum for a number of things."""
    families = (("max", "min"), ("sum", "len", "max", "min"), ("sum", "prod"))
    called = function_name(node)
    if not isinstance(node.func, ast.Name):
        return
    for family in families:
        if called in family:
            for other in family:
                if other not in (called, "prod"):
                    new = ast.Call(name(other), node.args, node.keywords)
                    yield site.change(node, new, "aggregate", FORMULA, role="arithmetic")
    if called == "abs" and len(node.args) == 1:
        yield site.change(node, node.args[0], "no abs", FORMULA, role="arithmetic")


def _whole(site: Site, node: ast.expr) -> bool:
    """Whether it is a formula of its own: returned, assigned, added up, or given to a call."""
    parent, field = site.source.parents[node]
    if isinstance(parent, ast.Return | ast.Assign | ast.AugAssign):
        return field == "value"
    if isinstance(parent, ast.IfExp):
        return field != "test"
    places = (ast.Compare, ast.ListComp, ast.GeneratorExp, ast.BinOp)
    if isinstance(parent, ast.Call):
        return field == "args" and function_name(parent) != "range"
    return isinstance(parent, places) and field in ("left", "right", "comparators", "elt")


def _term(site: Site, node: ast.expr) -> Iterator[Change]:
    kinds = (ast.Name, ast.BinOp, ast.Call, ast.Subscript, ast.Attribute)
    if not isinstance(node, kinds) or not _whole(site, node) or site.roles.is_text(node):
        return
    role = site.roles.role(node)
    if role == "index":
        return
    categories = _of(site, node)
    parent = site.source.parents[node][0]
    outer = not isinstance(parent, ast.Call | ast.BinOp)
    for by in (1, -1):
        yield site.change(node, moved(node, by), "one off", categories, wide=0 if outer else 1)
    yield site.change(node, call("abs", node), "abs", categories, wide=1)
    yield site.change(node, ast.UnaryOp(ast.USub(), node), "sign", categories, wide=1)
    two = number(2)
    for kind in (ast.Mult, ast.FloorDiv, ast.Div, ast.Pow, ast.Mod):
        new = ast.BinOp(node, kind(), two)
        yield site.change(node, new, "factor", categories, wide=1)
    if not outer:
        return
    yield site.change(node, call("max", node, number(0)), "floor of zero", categories, wide=2)
    yield site.change(node, call("min", node, number(1)), "at most one", categories, wide=2)
    for each in site.names(node):
        for other in (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod):
            new = ast.BinOp(node, other(), name(each))
            yield site.change(node, new, "missing term", categories, wide=2)


def _augmented(site: Site, statement: ast.AugAssign) -> Iterator[Change]:
    categories: tuple[Category, ...] = FORMULA
    if isinstance(statement.target, ast.Name) and "index" in site.roles.ends(statement.value):
        categories = ("MFLE", "IOM")
    if site.roles.is_text(statement.value):
        return
    for kind in (*_OPERATORS, ast.BitXor, ast.BitOr, ast.BitAnd):
        if not isinstance(statement.op, kind):
            new = ast.AugAssign(statement.target, kind(), statement.value)
            patch = Patch(statement, "instead", (new,))
            yield site.rewrite(
                [patch], "operator", categories, role="arithmetic", wide=0, reach=True
            )
    if not isinstance(statement.value, ast.Constant):
        yield site.change(statement.value, number(1), "counted", FORMULA, role="arithmetic")
    plain = ast.Assign([statement.target], statement.value, lineno=statement.lineno)
    patch = Patch(statement, "instead", (plain,))
    yield site.rewrite([patch], "no sum", categories, role="arithmetic", reach=True)


def _accumulated(site: Site, statement: ast.Assign) -> Iterator[Change]:
    target = statement.targets[0]
    if len(statement.targets) != 1 or not isinstance(target, ast.Name | ast.Subscript):
        return
    if isinstance(statement.value, ast.Constant) and isinstance(target, ast.Name):
        for each in site.names(statement):
            first = ast.Subscript(name(each), number(0), ast.Load())
            for start in (first, name(each)):
                yield site.change(statement.value, start, "start", FORMULA, wide=1)
    in_loop = any(isinstance(each, ast.For | ast.While) for each in site.source.up(statement))
    if in_loop:
        for kind in (ast.Add, ast.Mult, ast.Sub):
            new = ast.AugAssign(target, kind(), statement.value)
            patch = Patch(statement, "instead", (new,))
            yield site.rewrite([patch], "sum", FORMULA, role="arithmetic", reach=True)
        for best in ("max", "min"):
            value = call(best, ast.Name(ast.unparse(target)), statement.value)
            yield site.change(statement.value, value, "best so far", FORMULA, wide=2)
