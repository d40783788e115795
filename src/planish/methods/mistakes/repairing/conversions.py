"""Calls that are missing, or too many: conversions, copies, look-ups with a default, shared rows.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.calls import CASES, USE
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import Change, Site, call, method

__all__ = ["changes"]


def changes(site: Site) -> Iterator[Change]:
    """Every call that is added or left out."""
    for node in site.expressions():
        if isinstance(node, ast.Call):
            yield from _unwrapped(site, node)
        elif isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
            yield from _looked_up(site, node)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            yield from _shared(site, node)
        elif isinstance(node, ast.Set | ast.SetComp):
            made = call("list", node)
            yield site.change(node, made, "container", USE, role="call", wide=1)
        yield from _wrapped(site, node)


def _looked_up(site: Site, node: ast.Subscript) -> Iterator[Change]:
    for value in (ast.Constant(0), ast.Constant(""), ast.Constant(None), ast.List([], ast.Load())):
        new = method(node.value, "get", node.slice, value)
        yield site.change(node, new, "look-up with default", USE, role="call", wide=1)


def _shared(site: Site, node: ast.BinOp) -> Iterator[Change]:
    """[[0] * n] * m holds the same row m times."""
    inner = node.left.elts[0] if isinstance(node.left, ast.List) and node.left.elts else None
    if isinstance(inner, ast.List | ast.BinOp | ast.Dict | ast.Set | ast.ListComp | ast.Call):
        loop = ast.comprehension(
            ast.Name("_", ast.Store()), call("range", node.right), [], is_async=0
        )
        yield site.change(node, ast.ListComp(inner, [loop]), "shared rows", USE, role="call")


def _unwrapped(site: Site, node: ast.Call) -> Iterator[Change]:
    """What is called is left out; where the value is returned as it is, that is format."""
    role = site.roles.role(node)
    categories: tuple[Category, ...] = USE
    if site.is_shown(node) or function_name(node) in CASES:
        ends = site.roles.ends(node)
        categories = ("MOFE",) if "return" in ends and "condition" not in ends else USE
    elif function_name(node) in ("abs", "round", "int", "floor", "ceil"):
        categories = ("MFLE", "MLA")
    if isinstance(node.func, ast.Name) and node.args:
        if not isinstance(node.args[0], ast.Starred) and node.func.id != "range":
            yield site.change(node, node.args[0], "call left out", categories, role=role)
    elif isinstance(node.func, ast.Attribute) and not isinstance(
        site.source.parents[node][0], ast.Expr
    ):
        yield site.change(node, node.func.value, "call left out", categories, role=role)


def _wrapped(site: Site, node: ast.expr) -> Iterator[Change]:
    """A conversion or a copy that is missing before a value is used."""
    parent, field = site.source.parents[node]
    used = (isinstance(parent, ast.Call) and field == "args") or field == "iter"
    compared = isinstance(parent, ast.Compare | ast.BinOp) and field in (
        "left",
        "right",
        "comparators",
    )
    assigned = isinstance(parent, ast.Assign) and field == "value"
    asked = field == "value" and isinstance(parent, ast.Attribute)
    simple = isinstance(node, ast.Name | ast.Call | ast.Subscript | ast.Attribute | ast.ListComp)
    if not simple or not (used or compared or assigned or asked):
        return
    if isinstance(parent, ast.Call) and function_name(parent) in ("range", "isinstance"):
        return
    for function in ("int", "str", "list", "set", "sorted", "float", "len", "round"):
        if isinstance(node, ast.Call) and function_name(node) == function:
            continue
        if assigned and function in ("float", "len"):
            continue
        categories = site.of_earlier(function, ("MFLE", "MLA") if function == "round" else USE)
        yield site.change(node, call(function, node), "conversion", categories, role="call", wide=1)
    for called in ("lower", "upper", "strip", "copy", "split"):
        categories = site.of_earlier(called, ("CE", "MLA") if compared else USE)
        if assigned and called in ("lower", "upper", "strip") and site.is_shown(node):
            categories = tuple(dict.fromkeys(("MOFE", *categories)))
        new = method(node, called)
        yield site.change(node, new, "method added", categories, role="call", wide=2)
