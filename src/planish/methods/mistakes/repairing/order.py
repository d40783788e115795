"""Changes of order: statements, operands, arguments, calls in a row, what binds first.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import combinations, pairwise

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import Change, Site, call
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes"]

ORDER: tuple[Category, ...] = ("MOOV",)

_ONE_WAY = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.RShift)
_LOOPS = (ast.For, ast.While)
_LEAVING = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def changes(site: Site) -> Iterator[Change]:
    """Every change of an order."""
    for node in site.expressions():
        if isinstance(node, ast.BinOp):
            yield from _operands(site, node)
        elif isinstance(node, ast.Call):
            yield from _arguments(site, node)
            yield from _calls(site, node)
            yield from _inside_out(site, node)
        elif isinstance(node, ast.Tuple | ast.List) and 2 <= len(node.elts) <= 4:
            yield from _elements(site, node)
        elif isinstance(node, ast.ListComp | ast.GeneratorExp) and len(node.generators) == 2:
            turned = type(node)(node.elt, [*reversed(node.generators)])
            yield site.change(node, turned, "loops in turn", ORDER, role="order")
        yield from _reversed(site, node)
    for statement in site.statements():
        yield from _neighbours(site, statement)
        if isinstance(statement, _LOOPS):
            yield from _across(site, statement)
        elif isinstance(statement, ast.Assign):
            yield from _targets(site, statement)


def _operands(site: Site, node: ast.BinOp) -> Iterator[Change]:
    text = site.roles.is_text(node)
    if isinstance(node.op, (_ONE_WAY, ast.Add)):
        new = ast.BinOp(node.right, node.op, node.left)
        wide = 0 if text or not isinstance(node.op, ast.Add) else 1
        yield site.change(node, new, "operands in turn", ORDER, role="order", wide=wide)
    left, right = node.left, node.right
    if isinstance(left, ast.BinOp) and not text:
        grouped = ast.BinOp(left.left, left.op, ast.BinOp(left.right, node.op, right))
        yield site.change(node, grouped, "grouping", ORDER, role="order")
        turned = ast.BinOp(ast.BinOp(left.left, node.op, right), left.op, left.right)
        yield site.change(node, turned, "grouping", ORDER, role="order")
    if isinstance(right, ast.BinOp) and not text:
        grouped = ast.BinOp(ast.BinOp(left, node.op, right.left), right.op, right.right)
        yield site.change(node, grouped, "grouping", ORDER, role="order")
    for side, other in ((left, right), (right, left)):
        if isinstance(side, ast.UnaryOp) and isinstance(side.op, ast.USub) and side is left:
            inner = ast.UnaryOp(ast.USub(), ast.BinOp(side.operand, node.op, other))
            yield site.change(node, inner, "grouping", ORDER, role="order")


def _arguments(site: Site, node: ast.Call) -> Iterator[Change]:
    arguments = node.args
    if any(isinstance(each, ast.Starred) for each in arguments):
        return
    categories: tuple[Category, ...] = ORDER
    if function_name(node) == "range":
        categories = ("IOM", "MOOV")
    if 2 <= len(arguments) <= 4:
        for one, two in combinations(range(len(arguments)), 2):
            swapped = list(arguments)
            swapped[one], swapped[two] = swapped[two], swapped[one]
            new = ast.Call(node.func, swapped, node.keywords)
            yield site.change(node, new, "arguments in turn", categories, role="order")
    if isinstance(node.func, ast.Attribute) and len(arguments) == 1 and not node.keywords:
        new = ast.Call(
            ast.Attribute(arguments[0], node.func.attr, ast.Load()), [node.func.value], []
        )
        yield site.change(node, new, "receiver and argument", ORDER, role="order")


def _calls(site: Site, node: ast.Call) -> Iterator[Change]:
    """x.f().g() for x.g().f(), and f(g(x)) for g(f(x))."""
    function = node.func
    if isinstance(function, ast.Attribute):
        inner = function.value
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            first = ast.Attribute(inner.func.value, function.attr, ast.Load())
            below = ast.Call(first, node.args, node.keywords)
            above = ast.Attribute(below, inner.func.attr, ast.Load())
            new = ast.Call(above, inner.args, inner.keywords)
            yield site.change(node, new, "calls in turn", ORDER, role="order")
    elif len(node.args) >= 1 and isinstance(node.args[0], ast.Call):
        inner = node.args[0]
        if isinstance(inner.func, ast.Name) and inner.args:
            below = ast.Call(function, [inner.args[0], *node.args[1:]], node.keywords)
            new = ast.Call(inner.func, [below, *inner.args[1:]], inner.keywords)
            yield site.change(node, new, "calls in turn", ORDER, role="order")
    argument = node.args[0] if node.args else None
    if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute):
        # f(x.g()) for f(x).g()
        below = ast.Call(function, [argument.func.value, *node.args[1:]], node.keywords)
        above = ast.Attribute(below, argument.func.attr, ast.Load())
        new = ast.Call(above, argument.args, argument.keywords)
        yield site.change(node, new, "calls in turn", ORDER, role="order", wide=1)
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call):
        inner = function.value
        if isinstance(inner.func, ast.Name) and inner.args:
            within = ast.Attribute(inner.args[0], function.attr, ast.Load())
            below = ast.Call(within, node.args, node.keywords)
            new = ast.Call(inner.func, [below, *inner.args[1:]], inner.keywords)
            yield site.change(node, new, "calls in turn", ORDER, role="order", wide=1)


def _inside_out(site: Site, node: ast.Call) -> Iterator[Change]:
    """f(a + b) for f(a) + b, and the other way round."""
    if function_name(node) in ("range", "append", "") or node.keywords or not node.args:
        return
    argument = node.args[0]
    if isinstance(argument, ast.BinOp):
        first = ast.Call(node.func, [argument.left, *node.args[1:]], [])
        out = ast.BinOp(first, argument.op, argument.right)
        yield site.change(node, out, "inside out", ORDER, role="order", wide=1)
        both = ast.BinOp(first, argument.op, ast.Call(node.func, [argument.right], []))
        yield site.change(node, both, "inside out", ORDER, role="order", wide=1)
    parent, field = site.source.parents[node]
    if isinstance(parent, ast.BinOp) and field == "left":
        within = ast.BinOp(argument, parent.op, parent.right)
        new = ast.Call(node.func, [within, *node.args[1:]], [])
        yield site.change(parent, new, "outside in", ORDER, role="order", wide=1)
        right = parent.right
        if isinstance(right, ast.Call) and function_name(right) == function_name(node):
            within = ast.BinOp(argument, parent.op, right.args[0] if right.args else right)
            new = ast.Call(node.func, [within, *node.args[1:]], [])
            yield site.change(parent, new, "outside in", ORDER, role="order", wide=1)


def _elements(site: Site, node: ast.Tuple | ast.List) -> Iterator[Change]:
    for one, two in combinations(range(len(node.elts)), 2):
        swapped = list(node.elts)
        swapped[one], swapped[two] = swapped[two], swapped[one]
        new = type(node)(swapped, ast.Load())
        yield site.change(node, new, "elements in turn", ORDER, role="order")


def _reversed(site: Site, node: ast.expr) -> Iterator[Change]:
    field = site.source.parents[node][1]
    if field == "iter" and not isinstance(node, ast.Dict):
        yield site.change(node, call("reversed", node), "reversed", ORDER, role="order", wide=1)
    if isinstance(node, ast.Call) and function_name(node) == "reversed" and node.args:
        yield site.change(node, node.args[0], "not reversed", ORDER, role="order")


def _neighbours(site: Site, statement: ast.stmt) -> Iterator[Change]:
    """A statement and those after it in the other order."""
    block = site.source.block(statement)
    at = block.index(statement)
    for other in block[at + 1 : at + 4]:
        if isinstance(other, _LEAVING) or isinstance(statement, _LEAVING):
            continue
        if isinstance(other, ast.FunctionDef | ast.Import | ast.ImportFrom):
            continue
        swapped = [Patch(statement, "instead", (other,)), Patch(other, "instead", (statement,))]
        near = other is block[at + 1]
        yield site.rewrite(
            swapped, "statements in turn", ORDER, role="order", wide=0 if near else 1
        )
        if not near:
            for order in (
                [Patch(statement, "instead", ()), Patch(other, "after", (statement,))],
                [Patch(other, "instead", ()), Patch(statement, "before", (other,))],
            ):
                yield site.rewrite(order, "statement moved", ORDER, role="order")


def _across(site: Site, loop: ast.For | ast.While) -> Iterator[Change]:
    """Statements moved into a loop or out of it."""
    block = site.source.block(loop)
    at = block.index(loop)
    out: tuple[Category, ...] = ORDER

    def made(patches: list[Patch], operator: str) -> Change:
        return site.rewrite(patches, operator, out, role="order")

    if len(loop.body) > 1:
        last, first = loop.body[-1], loop.body[0]
        yield made([Patch(last, "instead", ()), Patch(loop, "after", (last,))], "out of loop")
        yield made([Patch(first, "instead", ()), Patch(loop, "before", (first,))], "out of loop")
    for nested in loop.body:
        body = getattr(nested, "body", None)
        if isinstance(nested, ast.If | ast.For | ast.While) and isinstance(body, list):
            last = body[-1]
            if isinstance(nested, ast.If) and nested.orelse:
                last = nested.orelse[-1]
                if isinstance(last, ast.Return):
                    patches = [Patch(last, "instead", ()), Patch(loop, "after", (last,))]
                    yield made(patches, "out of loop")
                    continue
            if isinstance(last, ast.Return) and len(body) > 1:
                yield made(
                    [Patch(last, "instead", ()), Patch(loop, "after", (last,))], "out of loop"
                )
    if at > 0 and not isinstance(block[at - 1], ast.FunctionDef):
        before = block[at - 1]
        patches = [Patch(before, "instead", ()), Patch(loop.body[0], "before", (before,))]
        yield made(patches, "into loop")
    for after in block[at + 1 : at + 2]:
        patches = [Patch(after, "instead", ()), Patch(loop.body[-1], "after", (after,))]
        yield made(patches, "into loop")
        if isinstance(loop.body[-1], ast.If | ast.For | ast.While):
            deep = loop.body[-1].body[-1]
            patches = [Patch(after, "instead", ()), Patch(deep, "after", (after,))]
            yield made(patches, "into loop")
    inner = loop.body[0]
    if isinstance(loop, ast.For) and isinstance(inner, ast.For) and len(loop.body) == 1:
        below = ast.For(loop.target, loop.iter, inner.body, [])
        turned = ast.For(inner.target, inner.iter, [below], [])
        yield made([Patch(loop, "instead", (turned,))], "loops in turn")


def _targets(site: Site, statement: ast.Assign) -> Iterator[Change]:
    target, value = statement.targets[0], statement.value
    if isinstance(target, ast.Name | ast.Subscript) and isinstance(value, ast.Name | ast.Subscript):
        left = type(value)(**{**dict(ast.iter_fields(value)), "ctx": ast.Store()})
        right = type(target)(**{**dict(ast.iter_fields(target)), "ctx": ast.Load()})
        new = ast.Assign([left], right, lineno=statement.lineno)
        yield site.rewrite(
            [Patch(statement, "instead", (new,))], "sides in turn", ORDER, role="order"
        )
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = list(zip(target.elts, value.elts, strict=False))
        # one after the other instead of all at once
        for order in (pairs, pairs[::-1]):
            items = [ast.Assign([one], two, lineno=statement.lineno) for one, two in order]
            patch = Patch(statement, "instead", tuple(items))
            yield site.rewrite([patch], "one by one", ORDER, role="order")
    block = site.source.block(statement)
    for one, two in pairwise(block):
        if one is statement and isinstance(two, ast.Assign):
            # all at once instead of one after the other
            targets = ast.Tuple([one.targets[0], two.targets[0]], ast.Store())
            values = ast.Tuple([one.value, two.value], ast.Load())
            new = ast.Assign([targets], values, lineno=one.lineno)
            patches = [Patch(one, "instead", (new,)), Patch(two, "instead", ())]
            yield site.rewrite(patches, "at once", ORDER, role="order")
