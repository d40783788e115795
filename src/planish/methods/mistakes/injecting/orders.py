"""Right operations in the wrong order: cut before sorted, tested before put right, ... (MOOV)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from planish.methods.mistakes.injecting.editing import (
    Code,
    Edit,
    Injector,
    Swaps,
    called,
    expression,
    is_call,
)

__all__ = ["ORDERS"]

_SPLITTING = ("split", "rsplit", "splitlines", "findall")
_PUT_RIGHT = ("lower", "upper", "strip", "lstrip", "rstrip", "replace", "casefold", "title")


def cut_before(code: Code) -> Iterator[Edit]:
    """A part is taken before things are sorted or joined."""
    for each in code.nodes(ast.Subscript):
        if not isinstance(each.slice, ast.Slice) or not is_call(each.value, "sorted", "list"):
            continue
        call = each.value
        assert isinstance(call, ast.Call)
        part = ast.Subscript(expression("list($0)", call.args[0]), each.slice, ast.Load())
        new = ast.Call(call.func, [part, *call.args[1:]], call.keywords)
        yield {each: new}, f"Takes a part before {called(call)} and not of what comes out."
    for call in code.nodes(ast.Call):
        if is_call(call, "join") and isinstance(call.args[0], ast.Subscript):
            part = call.args[0]
            if isinstance(part.slice, ast.Slice):
                whole = ast.Call(call.func, [part.value], [])
                new_one = ast.Subscript(whole, part.slice, ast.Load())
                yield {call: new_one}, "Cuts the text and not the things that it is made of."


def cut_statement_before(code: Code) -> Iterator[Edit]:
    """A part is taken in a statement before the one that sorts."""
    for last in code.nodes(ast.Return):
        part = last.value
        if not isinstance(part, ast.Subscript) or not isinstance(part.slice, ast.Slice):
            continue
        if not isinstance(part.value, ast.Name):
            continue
        name = part.value.id
        for each in code.block(last):
            sorts = isinstance(each, ast.Expr) and is_call(each.value, "sort", "reverse")
            if sorts and name in {x.id for x in ast.walk(each) if isinstance(x, ast.Name)}:
                cut = ast.Assign([ast.Name(name, ast.Store())], part, lineno=1)
                yield {each: [cut, each], part: part.value}, "Takes a part before it sorts."


def cut_before_filtered(code: Code) -> Iterator[Edit]:
    """The first ones of all are taken, and then those that will do."""
    for part in code.nodes(ast.Subscript):
        if not isinstance(part.slice, ast.Slice) or not isinstance(part.value, ast.Name):
            continue
        for each in code.nodes(ast.Assign):
            value = each.value
            target = each.targets[0]
            if not isinstance(target, ast.Name) or target.id != part.value.id:
                continue
            if isinstance(value, ast.ListComp) and value.generators[0].ifs:
                loop = value.generators[0]
                fewer = ast.Subscript(expression("list($0)", loop.iter), part.slice, ast.Load())
                first = ast.comprehension(loop.target, fewer, loop.ifs, 0)
                swaps = {loop: first, part: part.value}
                yield swaps, "Takes the first ones before it leaves out those that do not count."


def tested_before_put_right(code: Code) -> Iterator[Edit]:
    """A value is put right after it has been tested."""
    for each in code.nodes(ast.Assign):
        target = each.targets[0]
        after = code.after(each)
        if not isinstance(target, ast.Name) or not after or not isinstance(after[0], ast.If):
            continue
        used = {x.id for x in ast.walk(each.value) if isinstance(x, ast.Name)}
        test = after[0]
        if target.id in used & {x.id for x in ast.walk(test.test) if isinstance(x, ast.Name)}:
            later = ast.If(test.test, [each, *test.body], test.orelse)
            yield {each: [], test: [later]}, f"Puts {target.id} right after it was tested."


def changed_before_chosen(code: Code) -> Iterator[Edit]:
    """Things are changed, and the changed ones are asked whether they will do."""
    kinds = (ast.ListComp, ast.GeneratorExp, ast.SetComp)
    for each in code.nodes(ast.expr):
        if not isinstance(each, kinds) or len(each.generators) != 1:
            continue
        loop = each.generators[0]
        if not loop.ifs or not isinstance(loop.target, ast.Name) or isinstance(each.elt, ast.Name):
            continue
        changed = ast.GeneratorExp(each.elt, [ast.comprehension(loop.target, loop.iter, [], 0)])
        chosen = [ast.comprehension(loop.target, changed, loop.ifs, 0)]
        yield {each: type(each)(loop.target, chosen)}, "Changes things before it chooses them."


def changed_after_split(code: Code) -> Iterator[Edit]:
    """A text is taken apart before it is put right."""
    for each in code.nodes(ast.Call):
        if not is_call(each, *_SPLITTING) or not isinstance(each.func, ast.Attribute):
            continue
        inner = each.args[-1] if called(each) == "findall" and each.args else each.func.value
        if not is_call(inner, *_PUT_RIGHT):
            continue
        assert isinstance(inner, ast.Call)
        assert isinstance(inner.func, ast.Attribute)
        raw = inner.func.value
        if inner is each.func.value:
            function = ast.Attribute(raw, each.func.attr, ast.Load())
            whole = ast.Call(function, each.args, each.keywords)
        else:
            whole = ast.Call(each.func, [*each.args[:-1], raw], each.keywords)
        change = ast.Call(
            ast.Attribute(ast.Name("piece", ast.Load()), inner.func.attr, ast.Load()),
            inner.args,
            [],
        )
        new = expression("[$0 for piece in $1]", change, whole)
        yield {each: new}, "Takes the text apart before it is put right."


def sorted_after(code: Code) -> Iterator[Edit]:
    """What comes out is sorted, and not what goes in."""
    returned = code.returned()
    for loop in code.nodes(ast.For):
        if is_call(loop.iter, "sorted") and returned:
            assert isinstance(loop.iter, ast.Call)
            result = returned[-1]
            if isinstance(result, ast.Name | ast.ListComp):
                late = ast.Call(loop.iter.func, [result], loop.iter.keywords)
                swaps: Swaps = {loop.iter: loop.iter.args[0], result: late}
                yield swaps, "Sorts what comes out and not what goes in."
    for each in code.nodes(ast.ListComp):
        first = each.generators[0]
        if is_call(first.iter, "sorted") and len(each.generators) == 1:
            assert isinstance(first.iter, ast.Call)
            raw = ast.comprehension(first.target, first.iter.args[0], first.ifs, 0)
            new = expression("sorted($0)", ast.ListComp(each.elt, [raw]))
            yield {each: new}, "Sorts what comes out and not what goes in."


def sorted_before(code: Code) -> Iterator[Edit]:
    """What goes in is sorted, and not what comes out."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "sorted") or len(each.args) != 1:
            continue
        value = each.args[0]
        if isinstance(value, ast.Name) and len(known := code.assigned(value.id)) == 1:
            value = known[0]
        if not isinstance(value, ast.ListComp | ast.GeneratorExp) or len(value.generators) != 1:
            continue
        if isinstance(value.elt, ast.Name) and not each.keywords:
            continue
        loop = value.generators[0]
        early = ast.comprehension(loop.target, expression("sorted($0)", loop.iter), loop.ifs, 0)
        if value is each.args[0]:
            yield (
                {each: ast.ListComp(value.elt, [early])},
                "Sorts what goes in, not what comes out.",
            )
        else:
            swaps = {loop: early, each: each.args[0]}
            yield swaps, "Sorts what goes in, not what comes out."


def sorted_inside(code: Code) -> Iterator[Edit]:
    """A list that is built up in a loop is sorted before it is complete."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "sorted") or not isinstance(each.args[0], ast.Name):
            continue
        name = each.args[0].id
        for loop in code.nodes(ast.For):
            for inner in ast.walk(loop):
                if isinstance(inner, ast.Call) and ast.unparse(inner.func) == f"{name}.append":
                    early = ast.Call(each.func, [loop.iter], [])
                    swaps: Swaps = {each: each.args[0], loop.iter: early}
                    yield swaps, "Sorts what goes in, not what comes out."


def rounded_before_added(code: Code) -> Iterator[Edit]:
    """Parts are rounded and then added, instead of the other way round."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "round") or not isinstance(each.args[0], ast.BinOp):
            continue
        inside = each.args[0]
        if isinstance(inside.op, ast.Div) and is_call(inside.left, "sum"):
            assert isinstance(inside.left, ast.Call)
            part = ast.BinOp(ast.Name("part", ast.Load()), ast.Div(), inside.right)
            rounded = ast.Call(each.func, [part, *each.args[1:]], [])
            new = expression("sum($0 for part in $1)", rounded, inside.left.args[0])
            yield {each: new}, "Rounds every part before it adds them up."
    for quotient in code.nodes(ast.BinOp):
        if isinstance(quotient.op, ast.FloorDiv) and is_call(quotient.left, "sum"):
            assert isinstance(quotient.left, ast.Call)
            part = ast.BinOp(ast.Name("part", ast.Load()), ast.FloorDiv(), quotient.right)
            new = expression("sum($0 for part in $1)", part, quotient.left.args[0])
            yield {quotient: new}, "Divides every part before it adds them up."


def taken_off_before_added(code: Code) -> Iterator[Edit]:
    """What is done to a sum is done to every part of it, before they are added."""
    for each in code.nodes(ast.Assign):
        after = code.after(each)
        target = each.targets[0]
        if not isinstance(target, ast.Name) or not is_call(each.value, "sum") or not after:
            continue
        assert isinstance(each.value, ast.Call)
        parts, step = each.value.args[0], after[0]
        if not isinstance(step, ast.AugAssign) or not isinstance(parts, ast.GeneratorExp):
            continue
        if ast.unparse(step.target) == target.id:
            value = _renamed(step.value, target.id, parts.elt)
            elt = ast.BinOp(parts.elt, step.op, value)
            swaps: Swaps = {parts: ast.GeneratorExp(elt, parts.generators), step: []}
            yield swaps, "Does to every part what should be done to the sum."


def _renamed(node: ast.expr, name: str, new: ast.expr) -> ast.expr:
    class Renaming(ast.NodeTransformer):
        def visit_Name(self, each: ast.Name) -> ast.expr:
            return new if each.id == name else each

    found = Renaming().visit(expression("$0", node))
    assert isinstance(found, ast.expr)
    return found


def chosen_before_added(code: Code) -> Iterator[Edit]:
    """Single amounts are asked whether they will do, where their sums should be."""
    for each in code.nodes(ast.ListComp):
        loop = each.generators[0]
        target = loop.target
        if not loop.ifs or not is_call(loop.iter, "items") or not isinstance(target, ast.Tuple):
            continue
        owner = ast.unparse(loop.iter.func.value)  # type: ignore[attr-defined]
        for put in code.nodes(ast.Assign):
            place, value = put.targets[0], put.value
            if not isinstance(place, ast.Subscript) or ast.unparse(place.value) != owner:
                continue
            if isinstance(value, ast.BinOp) and isinstance(target.elts[1], ast.Name):
                test = _renamed(loop.ifs[0], target.elts[1].id, value.right)
                free = ast.comprehension(target, loop.iter, loop.ifs[1:], 0)
                swaps: Swaps = {put: [ast.If(test, [put], [])], loop: free}
                yield swaps, "Asks single amounts whether they will do, not their sums."


def begun_anew_inside(code: Code) -> Iterator[Edit]:
    """What is set before two loops is set anew within the inner one, or within a branch."""
    for each in code.nodes(ast.Assign):
        for loop in code.after(each)[:3]:
            if not isinstance(loop, ast.For | ast.While):
                continue
            for inner in loop.body:
                body = getattr(inner, "body", None)
                if isinstance(inner, ast.For | ast.While | ast.If) and body:
                    target = ast.unparse(each.targets[0])
                    used = {x.id for x in ast.walk(inner) if isinstance(x, ast.Name)}
                    if target in used:
                        yield {each: [], body[0]: [each, body[0]]}, f"Begins anew with {target}."


def done_after_loop(code: Code) -> Iterator[Edit]:
    """What belongs into a branch of a loop is done once, after the loop."""
    for loop in code.loops():
        for inner in loop.body:
            body = getattr(inner, "body", [])
            simple = (ast.Expr, ast.AugAssign, ast.Assign)
            if not isinstance(inner, ast.If | ast.For | ast.While) or len(body) < 2:
                continue
            for step in body[:-1]:
                if isinstance(step, simple):
                    swaps: dict[ast.AST, list[ast.AST]] = {}
                    swaps[loop] = [_without(loop, inner, step), step]
                    yield swaps, "Does once after the loop what belongs into it."


def _without(loop: ast.For | ast.While, inner: ast.stmt, step: ast.stmt) -> ast.stmt:
    """A loop in which one statement of an inner block is left out."""
    body = [each for each in getattr(inner, "body") if each is not step]  # noqa: B009
    fields = dict(ast.iter_fields(inner)) | {"body": body}
    shorter = type(inner)(**fields)
    whole = [shorter if each is inner else each for each in loop.body]
    return type(loop)(**(dict(ast.iter_fields(loop)) | {"body": whole}))


def parts_of_text_in_turn(code: Code) -> Iterator[Edit]:
    """Three parts are put together from the last to the first."""
    for each in code.nodes(ast.BinOp):
        inner = each.left
        if not isinstance(inner, ast.BinOp) or not isinstance(inner.right, ast.Constant):
            continue
        added = isinstance(each.op, ast.Add) and isinstance(inner.op, ast.Add)
        if added and isinstance(inner.right.value, str):
            new = expression("$0 + $1 + $2", each.right, inner.right, inner.left)
            yield {each: new}, "Puts the last part first."


def values_of_text_in_turn(code: Code) -> Iterator[Edit]:
    """Two values stand in each other's place in a text."""
    for each in code.nodes(ast.JoinedStr):
        values = [part for part in each.values if isinstance(part, ast.FormattedValue)]
        for one, two in pairwise(values):
            yield {one.value: two.value, two.value: one.value}, "Two values stand in turn."


def checked_after_done(code: Code) -> Iterator[Edit]:
    """A change is made before the tests that may forbid it."""
    body = code.body
    for at, each in enumerate(body):
        # within three statements it would be one step of the repairs to move it back
        guards = [one for one in body[: max(0, at - 3)] if isinstance(one, ast.If)]
        if isinstance(each, ast.AugAssign | ast.Expr) and guards:
            changes: Swaps = {guards[0]: [each, guards[0]], each: []}
            yield changes, "Makes a change before it tests whether it may."


def removed_before_sorted(code: Code) -> Iterator[Edit]:
    """Neighbours that are equal are left out before things are sorted, not after."""
    for each in code.nodes(ast.Call):
        inner = each.args[0] if is_call(each, "sorted") else None
        if inner is not None and is_call(inner, "set") and len(each.args) == 1:
            assert isinstance(inner, ast.Call)
            value = inner.args[0]
            if isinstance(value, ast.Name):
                new = expression(
                    "sorted(one for at, one in enumerate($0) if at == 0 or one != $0[at - 1])",
                    value,
                )
                yield {each: new}, "Leaves equal neighbours out before it sorts, not after."


def used_before_counted(code: Code) -> Iterator[Edit]:
    """The last step of a round that has a branch comes first, within every branch."""
    for loop in code.loops():
        steps = loop.body
        if len(steps) < 2 or not isinstance(steps[-1], ast.Assign | ast.AugAssign):
            continue
        for branch in steps[:-1]:
            if isinstance(branch, ast.If) and branch.orelse:
                both = ast.If(branch.test, [steps[-1], *branch.body], [steps[-1], *branch.orelse])
                yield {branch: [both], steps[-1]: []}, "Does the last step of a round too early."


def joined_before_changed(code: Code) -> Iterator[Edit]:
    """A text is joined before its parts are changed."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "join") or not isinstance(each.args[0], ast.GeneratorExp):
            continue
        parts = each.args[0]
        elt = parts.elt
        if isinstance(elt, ast.BinOp) and isinstance(elt.op, ast.Add):
            whole = ast.Call(each.func, [ast.GeneratorExp(elt.left, parts.generators)], [])
            yield {each: ast.BinOp(whole, ast.Add(), elt.right)}, "Joins before it adds to each."


ORDERS: tuple[Injector, ...] = (
    cut_before,
    cut_statement_before,
    cut_before_filtered,
    tested_before_put_right,
    changed_before_chosen,
    changed_after_split,
    sorted_after,
    sorted_before,
    sorted_inside,
    rounded_before_added,
    taken_off_before_added,
    chosen_before_added,
    begun_anew_inside,
    done_after_loop,
    parts_of_text_in_turn,
    values_of_text_in_turn,
    checked_after_done,
    removed_before_sorted,
    used_before_counted,
    joined_before_changed,
)
