"""Changes of indexes, slices and ranges: one off, the wrong end, the wrong start or step.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import Change, Site, call, name, number
from planish.methods.mistakes.repairing.source import substituted

__all__ = ["changes", "moved"]

INDEX: tuple[Category, ...] = ("IOM",)


def changes(site: Site) -> Iterator[Change]:
    """Every change of an index."""
    for node in site.expressions():
        if isinstance(node, ast.Subscript):
            yield from _subscript(site, node)
        elif isinstance(node, ast.Slice):
            yield from _slice(site, node)
        elif isinstance(node, ast.Call):
            if function_name(node) == "range":
                yield from _range(site, node)
            elif function_name(node) == "enumerate":
                yield from _enumerate(site, node)
        elif isinstance(node, ast.Constant | ast.BinOp | ast.Name):
            yield from _offset(site, node)
        elif isinstance(node, ast.Compare):
            yield from _twins(site, node)
        yield from _part(site, node)


def moved(node: ast.expr, by: int) -> ast.expr:
    """The expression and a number, told as shortly as can be."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return number(node.value + by)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = node.operand
        if isinstance(inner, ast.Constant) and type(inner.value) is int:
            return number(by - inner.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        right = node.right
        if isinstance(right, ast.Constant) and type(right.value) is int:
            value = right.value if isinstance(node.op, ast.Add) else -right.value
            return _plus(node.left, value + by)
    return _plus(node, by)


def _plus(node: ast.expr, value: int) -> ast.expr:
    if value == 0:
        return node
    operator = ast.Add() if value > 0 else ast.Sub()
    return ast.BinOp(node, operator, number(abs(value)))


def _length(node: ast.expr) -> ast.expr:
    return call("len", node)


def _subscript(site: Site, node: ast.Subscript) -> Iterator[Change]:
    at = node.slice
    if isinstance(at, ast.Slice | ast.Tuple) or site.roles.is_text(at):
        return
    for by in (1, -1):
        yield site.change(at, moved(at, by), "index shift", INDEX, role="index")
    if isinstance(at, ast.Constant) and type(at.value) is int:
        for value in {0, -1, 1, -2, 2, -at.value} - {at.value}:
            yield site.change(at, number(value), "index end", INDEX, role="index")
    elif isinstance(at, ast.UnaryOp):
        for value in (0, 1, -2, 2):
            yield site.change(at, number(value), "index end", INDEX, role="index")
    else:
        mirrored = moved(ast.BinOp(_length(node.value), ast.Sub(), at), -1)
        negative = ast.UnaryOp(ast.USub(), at)
        for new in (mirrored, negative, moved(negative, -1), *map(number, (0, -1))):
            yield site.change(at, new, "index end", INDEX, role="index", wide=1)
    if isinstance(node.value, ast.Subscript) and not isinstance(node.value.slice, ast.Slice):
        inner = ast.Subscript(node.value.value, at, ast.Load())
        swapped = ast.Subscript(inner, node.value.slice, ast.Load())
        yield site.change(node, swapped, "swapped indexes", ("IOM", "MOOV"), role="index")


def _slice(site: Site, node: ast.Slice) -> Iterator[Change]:
    lower, upper, step = node.lower, node.upper, node.step

    def made(low: ast.expr | None, up: ast.expr | None, by: ast.expr | None) -> Iterator[Change]:
        new = ast.Slice(low, up, by)
        yield site.change(node, new, "slice bounds", INDEX, role="index")

    for by in (1, -1):
        if lower is not None:
            yield from made(moved(lower, by), upper, step)
        if upper is not None:
            yield from made(lower, moved(upper, by), step)
        if lower is not None and upper is not None:
            yield from made(moved(lower, by), moved(upper, by), step)
        if isinstance(step, ast.Constant):
            yield from made(lower, upper, moved(step, by))
    if lower is None:
        yield from made(number(1), upper, step)
        if upper is not None:
            yield from made(upper, None, step)
            yield from made(ast.UnaryOp(ast.USub(), upper), None, step)
    else:
        yield from made(None, upper, step)
        yield from made(ast.UnaryOp(ast.USub(), lower), upper, step)
        if upper is None:
            yield from made(None, lower, step)
    if upper is None:
        yield from made(lower, number(-1), step)
    else:
        yield from made(lower, None, step)
        yield from made(lower, ast.UnaryOp(ast.USub(), upper), step)
        if lower is not None:
            yield from made(lower, ast.BinOp(lower, ast.Add(), upper), step)
            yield from made(upper, lower, step)
            yield from made(lower, moved(ast.BinOp(lower, ast.Add(), upper), 1), step)
    if step is None:
        for value in (-1, 2):
            yield from made(lower, upper, number(value))
    else:
        yield from made(lower, upper, None)
        if lower is None:
            yield from made(number(1), upper, step)
        else:
            yield from made(number(0), upper, step)


def _range(site: Site, node: ast.Call) -> Iterator[Change]:
    bounds = node.args
    if not bounds or any(isinstance(each, ast.Starred) for each in bounds) or len(bounds) > 3:
        return
    ends = site.roles.ends(node)
    categories: tuple[Category, ...] = INDEX if "index" in ends else ("IOM", "MFLE")
    start = bounds[0] if len(bounds) > 1 else number(0)
    stop = bounds[1] if len(bounds) > 1 else bounds[0]
    step = bounds[2] if len(bounds) == 3 else None
    tail = [] if step is None else [step]

    def made(first: ast.expr, last: ast.expr, by: list[ast.expr], wide: int = 0) -> Change:
        is_zero = isinstance(first, ast.Constant) and first.value == 0
        given = [last] if is_zero and not by else [first, last, *by]
        new = call("range", *given)
        return site.change(node, new, "range bounds", categories, role="index", wide=wide)

    for by in (1, -1):
        yield made(start, moved(stop, by), tail)
        yield made(moved(start, by), stop, tail)
        yield made(moved(start, by), moved(stop, by), tail)
        if step is not None:
            yield made(start, stop, [moved(step, by)])
    for value in (0, 1, 2):
        yield made(number(value), stop, tail)
        yield made(number(value), moved(stop, 1), tail, wide=1)
    if step is None:
        yield made(start, stop, [number(2)])
        yield made(moved(stop, -1), moved(start, -1), [number(-1)])
        yield made(stop, start, [number(-1)], wide=1)
    else:
        yield made(start, stop, [])
        yield made(start, stop, [ast.UnaryOp(ast.USub(), step)])
        yield made(stop, start, [step])
        yield made(moved(start, -1), moved(stop, -1), [step])
    if len(bounds) > 1:
        yield made(number(0), stop, tail)
        yield made(stop, start, tail)
    for each in _indexes(site, node):
        yield made(name(each), stop, tail, wide=1)
        yield made(moved(name(each), 1), stop, tail, wide=1)
        yield made(start, name(each), tail, wide=1)
        yield made(start, moved(name(each), 1), tail, wide=1)


def _indexes(site: Site, node: ast.AST) -> list[str]:
    """Loop variables in scope, which may bound an inner loop."""
    home = site.source.up(node)
    targets = [each.target for each in home if isinstance(each, ast.For)]
    return [each.id for each in targets if isinstance(each, ast.Name)]


def _enumerate(site: Site, node: ast.Call) -> Iterator[Change]:
    starts = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "start")]
    if not node.args:
        return
    new = call("enumerate", node.args[0]) if starts else call("enumerate", node.args[0], number(1))
    yield site.change(node, new, "enumerate start", ("IOM", "MLA"), role="index")


def _offset(site: Site, node: ast.expr) -> Iterator[Change]:
    """Values that end up as an index, and what an index is compared with."""
    parent, field = site.source.parents[node]
    if isinstance(parent, ast.Subscript | ast.Slice) and field != "value":
        return
    if isinstance(node, ast.Constant) and type(node.value) is not int:
        return
    role = site.roles.role(node)
    if isinstance(parent, ast.Compare):
        beside = [parent.left, *parent.comparators]
        if any(site.roles.is_index(each) for each in beside if each is not node):
            for by in (1, -1):
                yield site.change(node, moved(node, by), "index bound", ("IOM", "CE"), role="index")
        return
    if role == "index" and not isinstance(parent, ast.Call):
        for by in (1, -1):
            yield site.change(node, moved(node, by), "index shift", INDEX)
        if isinstance(node, ast.Name):
            for each in site.names(node):
                if each != node.id and site.roles.is_index(node):
                    yield site.change(node, name(each), "other index", INDEX, wide=1)


def _twins(site: Site, node: ast.Compare) -> Iterator[Change]:
    """The same index on both sides of a comparison, moved on both."""
    inner = [each for each in ast.walk(node) if isinstance(each, ast.Subscript)]
    for first in inner:
        at = first.slice
        others = [each for each in inner if ast.dump(each.slice) == ast.dump(at)]
        if len(others) < 2 or others[0] is not first or isinstance(at, ast.Tuple):
            continue
        for by in (1, -1):
            changed: ast.expr = node
            for each in others:
                changed = substituted(changed, each.slice, _slid(each.slice, by))
            yield site.change(node, changed, "index shift", INDEX, role="index")


def _slid(at: ast.expr, by: int) -> ast.expr:
    if not isinstance(at, ast.Slice):
        return moved(at, by)
    lower = moved(at.lower, by) if at.lower is not None else number(1)
    return ast.Slice(lower, at.upper, at.step)


def _part(site: Site, node: ast.expr) -> Iterator[Change]:
    """The whole instead of a part, and a part instead of the whole."""
    parent, field = site.source.parents[node]
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        yield site.change(node, node.value, "no slice", INDEX, role="index")
    takes = field == "iter" or (
        isinstance(parent, ast.Call)
        and function_name(parent) in ("sum", "max", "min", "zip", "sorted", "len", "set", "join")
    )
    asked = field == "value" and isinstance(parent, ast.Attribute) and isinstance(node, ast.Name)
    if asked or (takes and isinstance(node, ast.Name | ast.Attribute | ast.Subscript)):
        for low, up in ((number(1), None), (None, number(-1))):
            new = ast.Subscript(node, ast.Slice(low, up, None), ast.Load())
            shown = asked and "return" in site.roles.ends(node)
            categories: tuple[Category, ...] = ("MOFE", "IOM") if shown else INDEX
            yield site.change(node, new, "slice", categories, role="index", wide=1)
