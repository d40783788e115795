"""Things in each other's place, in several places; values read or divided too early (MOOV)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from planish.methods.mistakes.injecting.editing import (
    Code,
    Edit,
    Injector,
    Swaps,
    called,
    is_call,
    statements,
)
from planish.methods.mistakes.injecting.formulas import is_number

__all__ = ["TURNS"]

_ONE_WAY = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod)

FAR = 3
"""Further than this no single step of the repairs moves a statement."""


def elements_rotated(code: Code) -> Iterator[Edit]:
    """Three things or more stand one place further on, the last one first."""
    for each in code.nodes(ast.expr):
        if isinstance(each, ast.Tuple | ast.List) and len(each.elts) > 2:
            new: ast.expr = type(each)([each.elts[-1], *each.elts[:-1]], each.ctx)
            yield {each: new}, "Has all parts one place further on."
        elif is_call(each, called(each)) and called(each) != "range":
            assert isinstance(each, ast.Call)
            if len(each.args) > 2:
                new = ast.Call(each.func, [each.args[-1], *each.args[:-1]], each.keywords)
                yield {each: new}, f"Gives all arguments of {called(each)} one place further on."


def operands_turned(code: Code) -> Iterator[Edit]:
    """Whatever is subtracted or divided is so the wrong way round."""
    every = [
        each
        for each in code.nodes(ast.BinOp)
        if isinstance(each.op, _ONE_WAY) and not isinstance(each.right, ast.Constant)
    ]
    inner = {id(below) for each in every for below in ast.walk(each) if below is not each}
    outer = [each for each in every if id(each) not in inner]
    if len(outer) > 1:
        swaps: Swaps = {each: ast.BinOp(each.right, each.op, each.left) for each in outer}
        yield swaps, "Subtracts and divides the wrong way round."


def arguments_turned(code: Code) -> Iterator[Edit]:
    """Two arguments stand in each other's place wherever the function is called."""
    found: dict[str, list[ast.Call]] = defaultdict(list)
    for each in code.nodes(ast.Call):
        simple = not any(isinstance(one, ast.Starred) for one in each.args)
        if simple and len(each.args) == 2 and called(each) not in ("range", "max", "min", "zip"):
            found[called(each)].append(each)
    for name, calls in found.items():
        if len(calls) > 1:
            swaps: Swaps = {
                each: ast.Call(each.func, [*reversed(each.args)], each.keywords) for each in calls
            }
            yield swaps, f"Gives {name} its arguments the wrong way round."
    pairs = [calls[0] for calls in found.values() if len(calls) == 1]
    told = defaultdict(list)
    for each in pairs:
        told[tuple(ast.unparse(one) for one in each.args)].append(each)
    for same in told.values():
        if len(same) > 1:
            swaps = {
                each: ast.Call(each.func, [*reversed(each.args)], each.keywords) for each in same
            }
            yield swaps, "Gives arguments the wrong way round."


def names_turned(code: Code) -> Iterator[Edit]:
    """Three things that are unpacked get each other's names."""
    for loop in code.nodes(ast.comprehension):
        yield from _turned(loop.target)
    for statement in code.nodes(ast.For):
        yield from _turned(statement.target)


def _turned(target: ast.expr) -> Iterator[Edit]:
    if isinstance(target, ast.Tuple) and len(target.elts) == 3:
        one, two, three = target.elts
        yield {target: ast.Tuple([two, three, one], ast.Store())}, "Unpacks in another order."


def read_too_early(code: Code) -> Iterator[Edit]:
    """A part of what is returned is read before anything is done."""
    body = code.body
    last = body[-1]
    if len(body) < FAR + 2 or not isinstance(last, ast.Return) or last.value is None:
        return
    known = {*code.parameters, "self"}
    for each in ast.walk(last.value):
        if not isinstance(each, ast.Attribute | ast.Call | ast.Subscript):
            continue
        above, field = code.parents[each]
        if isinstance(above, ast.Call) and field == "func":
            continue
        local = {
            one.id for one in code.nodes(ast.Name) if isinstance(one.ctx, ast.Store)
        }  # fmt: skip
        used = {one.id for one in ast.walk(each) if isinstance(one, ast.Name)}
        if used & known and not used & (local - known):
            early = ast.Assign([ast.Name("early", ast.Store())], each, lineno=1)
            swaps: Swaps = {body[0]: [early, body[0]], each: ast.Name("early", ast.Load())}
            yield swaps, f"Reads {ast.unparse(each)} before it has changed."


def read_once(code: Code) -> Iterator[Edit]:
    """A value that changes from round to round is read once, before the loop."""
    for loop in code.loops():
        if not isinstance(loop, ast.While):
            continue
        found: dict[str, list[ast.expr]] = defaultdict(list)
        for each in code.nodes(ast.expr):
            inside = any(above is loop for above, _ in code.up(each))
            reads = isinstance(each, ast.Call) and code.parents[each][1] != "func"
            if inside and reads and not isinstance(code.parents[each][0], ast.Expr):
                found[ast.unparse(each)].append(each)
        for text, places in found.items():
            if len(places) > 1:
                before = ast.Assign([ast.Name("before", ast.Store())], places[0], lineno=1)
                swaps: Swaps = {each: ast.Name("before", ast.Load()) for each in places}
                yield {loop: [before, loop], **swaps}, f"Reads {text} once, before the loop."


def text_parts_rotated(code: Code) -> Iterator[Edit]:
    """The values in a text stand one place further on."""
    for each in code.nodes(ast.JoinedStr):
        values = [part for part in each.values if isinstance(part, ast.FormattedValue)]
        if len(values) > 2:
            turned = [values[-1], *values[:-1]]
            swaps: Swaps = {one.value: two.value for one, two in zip(values, turned, strict=True)}
            yield swaps, "Has all values of a text one place further on."


def steps_turned_in_branches(code: Code) -> Iterator[Edit]:
    """Both branches do their two steps the wrong way round."""
    for each in code.nodes(ast.If):
        if len(each.body) == 2 and len(each.orelse) == 2:
            swaps: Swaps = {
                one: [two]
                for block in (each.body, each.orelse)
                for one, two in zip(block, reversed(block), strict=True)
            }
            yield swaps, "Does the two steps of each branch the wrong way round."


def sorted_by_turned_key(code: Code) -> Iterator[Edit]:
    """The second key comes first, and the sign goes with the first place."""
    for each in code.nodes(ast.Lambda):
        key = each.body
        if not isinstance(key, ast.Tuple) or len(key.elts) != 2:
            continue
        one, two = key.elts
        if isinstance(one, ast.UnaryOp) and isinstance(one.op, ast.USub):
            turned = ast.Tuple([two, one.operand], ast.Load())
            yield {key: turned}, "Sorts by the second key first, and the first one upwards."


def looked_up_before_changed(code: Code) -> Iterator[Edit]:
    """A value is put right where it is used, but not where it is tested."""
    for each in code.nodes(ast.Assign):
        target, value = each.targets[0], each.value
        if not isinstance(target, ast.Name) or not isinstance(value, ast.Call):
            continue
        uses = [
            one
            for one in code.nodes(ast.Name)
            if one.id == target.id and isinstance(one.ctx, ast.Load) and one not in ast.walk(value)
        ]
        if target.id in {one.id for one in ast.walk(value) if isinstance(one, ast.Name)} and uses:
            last = [one for one in uses if not code.is_tested(one)]
            if last:
                swaps: Swaps = {each: [], **dict.fromkeys(last, value)}
                yield swaps, f"Puts {target.id} right where it is used, after it was tested."


def parts_rounded(code: Code) -> Iterator[Edit]:
    """Each part is divided for itself, so that what is left over gets lost or stays."""
    for each in code.nodes(ast.BinOp):
        inner = each.left
        if not isinstance(each.op, ast.FloorDiv | ast.Mod) or code.is_index(each):
            continue
        summed = isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Add | ast.Sub)
        if summed and is_number(code, each):
            assert isinstance(inner, ast.BinOp)
            one, two = (ast.BinOp(side, each.op, each.right) for side in (inner.left, inner.right))
            yield {each: ast.BinOp(one, inner.op, two)}, "Divides every part instead of the whole."


def divided_first(code: Code) -> Iterator[Edit]:
    """A share is rounded before it is taken off, in one formula for all of it."""
    for each in code.nodes(ast.AugAssign):
        value = each.value
        if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.FloorDiv):
            continue
        product = value.left
        if isinstance(product, ast.BinOp) and isinstance(product.op, ast.Mult):
            operator = "-" if isinstance(each.op, ast.Sub) else "+"
            new = statements(
                f"$0 = $0 // $1 * ($1 {operator} $2)",
                ast.unparse(each.target),
                value.right,
                product.right,
            )
            yield {each: new}, "Divides before it multiplies."


TURNS: tuple[Injector, ...] = (
    elements_rotated,
    operands_turned,
    arguments_turned,
    names_turned,
    read_too_early,
    read_once,
    text_parts_rotated,
    steps_turned_in_branches,
    sorted_by_turned_key,
    looked_up_before_changed,
    parts_rounded,
    divided_first,
)
