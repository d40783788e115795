"""Wrong places: windows, ends, bounds and fields that are off, in more than one place (IOM).

One index that is off by one is what the repairs mend in a single step; here an index is off
wherever it is used, or the whole way of indexing is another one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.injecting.editing import (
    Code,
    Edit,
    Injector,
    Swaps,
    expression,
    is_call,
    statements,
)

__all__ = ["POSITIONS"]


_LOOKED_UP = ("index", "find", "rindex", "rfind")


def _slices(code: Code) -> Iterator[tuple[ast.Subscript, ast.Slice]]:
    for each in code.nodes(ast.Subscript):
        if isinstance(each.slice, ast.Slice) and each.slice.step is None:
            yield each, each.slice


def _number(node: ast.AST | None) -> int | None:
    """The number that an index is, if it is one."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


def end_from_rest(code: Code) -> Iterator[Edit]:
    """The end of a part is counted from where the part begins."""
    for each, at in _slices(code):
        if at.lower is not None and at.upper is not None and _number(at.lower) is None:
            new = expression("$0[$1:][:$2]", each.value, at.lower, at.upper)
            yield {each: new}, "Counts the end of a part from where the part begins."


def length_as_end(code: Code) -> Iterator[Edit]:
    """How long a part is stands for where it ends, and it begins at the front."""
    for each, at in _slices(code):
        if at.lower is None or at.upper is None or _number(at.lower) is not None:
            continue
        length: ast.expr = ast.BinOp(at.upper, ast.Sub(), at.lower)
        if isinstance(at.upper, ast.BinOp) and ast.unparse(at.upper.left) == ast.unparse(at.lower):
            length = at.upper.right
        new = expression("$0[:$1]", each.value, length)
        yield {each: new}, "Takes the front, as long as the part."


def block_number(code: Code) -> Iterator[Edit]:
    """Where a block begins is taken for its number."""
    for each, at in _slices(code):
        if not isinstance(at.lower, ast.Name) or not isinstance(at.upper, ast.BinOp):
            continue
        if ast.unparse(at.upper.left) == at.lower.id and isinstance(at.upper.op, ast.Add):
            new = expression("$0[$1 * $2 : ($1 + 1) * $2]", each.value, at.lower, at.upper.right)
            yield {each: new}, "Takes the place where a block begins for its number."


def wrong_end(code: Code) -> Iterator[Edit]:
    """The last ones are taken instead of the first ones."""
    for each, at in _slices(code):
        if at.lower is None and at.upper is not None and _number(at.upper) is None:
            new = expression("$0[-$1:]", each.value, at.upper)
            yield {each: new}, "Takes the last ones instead of the first ones."


def both_from_one_end(code: Code) -> Iterator[Edit]:
    """What is to be left off at both ends is left off at one."""
    for each, at in _slices(code):
        first, last = _number(at.lower), _number(at.upper)
        if first and last is not None and first > 0 > last:
            off = first - last
            yield {each: expression(f"$0[{off}:]", each.value)}, "Leaves all off at the front."
            yield {each: expression(f"$0[:-{off}]", each.value)}, "Leaves all off at the end."


def pairs_late(code: Code) -> Iterator[Edit]:
    """Neighbours are paired from the second one on, or never the last ones."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "zip") or len(each.args) != 2:
            continue
        one, two = each.args
        if isinstance(two, ast.Subscript) and ast.unparse(two.value) == ast.unparse(one):
            late = expression("zip($0[1:], $0[2:])", one)
            yield {each: late}, "Leaves the first pair of neighbours out."
            soon = expression("zip($0[:-2], $0[1:-1])", one)
            yield {each: soon}, "Leaves the last pair of neighbours out."


def from_nought(code: Code) -> Iterator[Edit]:
    """Places are told from 0 on, all of them, where people count from 1."""
    swaps: dict[ast.AST, ast.AST] = {}
    for each in code.nodes(ast.Call):
        if is_call(each, "enumerate"):
            starts = [*each.args[1:], *(keyword.value for keyword in each.keywords)]
            swaps |= {start: ast.Constant(0) for start in starts if _number(start) == 1}
    for sum_ in code.nodes(ast.BinOp):
        shown = any(isinstance(up, ast.Return | ast.Tuple | ast.FormattedValue)
                    for up, _ in code.up(sum_))  # fmt: skip
        place = _is_place(code, sum_.left)
        if isinstance(sum_.op, ast.Add) and _number(sum_.right) == 1 and shown and place:
            swaps[sum_] = sum_.left
    if len(swaps) > 1:
        yield swaps, "Counts all places from 0."


def _is_place(code: Code, node: ast.expr) -> bool:
    """Whether it is a place for sure: counted by a loop, or looked up."""
    if not isinstance(node, ast.Name):
        return is_call(node, *_LOOKED_UP)
    if any(is_call(value, *_LOOKED_UP) for value in code.assigned(node.id)):
        return True
    loops: list[ast.For | ast.comprehension] = [*code.nodes(ast.For)]
    loops += code.nodes(ast.comprehension)
    return any(_counter(each.target, each.iter) == node.id for each in loops)


def _counter(target: ast.expr, iterated: ast.expr) -> str | None:
    """The name that a loop counts with."""
    if is_call(iterated, "enumerate") and isinstance(target, ast.Tuple):
        target = target.elts[0]
    elif not is_call(iterated, "range"):
        return None
    return target.id if isinstance(target, ast.Name) else None


def bounds_exchanged(code: Code) -> Iterator[Edit]:
    """Two loops, one in the other, run to each other's end."""
    for outer in code.nodes(ast.For):
        for inner in outer.body:
            if not isinstance(inner, ast.For) or not _ranges(outer.iter, inner.iter):
                continue
            swaps: Swaps = {outer.iter: inner.iter, inner.iter: outer.iter}
            used = {each.id for each in ast.walk(inner.iter) if isinstance(each, ast.Name)}
            if ast.unparse(outer.target) not in used:
                yield swaps, "Takes the bounds of rows for those of columns."


def _ranges(*nodes: ast.AST) -> bool:
    return all(is_call(each, "range") for each in nodes)


def window_shifted(code: Code) -> Iterator[Edit]:
    """A window around a place is one place further on."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "range") or len(each.args) < 2:
            continue
        swaps: dict[ast.AST, ast.AST] = {}
        for inner in (part for argument in each.args for part in ast.walk(argument)):
            if isinstance(inner, ast.BinOp) and (by := _number(inner.right)) is not None:
                signed = by if isinstance(inner.op, ast.Add) else -by
                moved = expression(f"$0 + {signed + 1}", inner.left)
                swaps[inner] = moved if signed != -1 else inner.left
        if len(swaps) == 2:
            yield swaps, "Looks at a window that is one place further on."


def range_backwards(code: Code) -> Iterator[Edit]:
    """A range is run through from its end, with the bounds as they were."""
    for each in code.nodes(ast.Call):
        if is_call(each, "range") and 1 <= len(each.args) <= 2:
            first = each.args[0] if len(each.args) == 2 else ast.Constant(0)
            new = expression("range($0, $1, -1)", each.args[-1], first)
            yield {each: new}, "Runs back from the bound itself, and stops before the first one."


def fields_counted_from_one(code: Code) -> Iterator[Edit]:
    """All fields are one further on."""
    swaps: dict[ast.AST, ast.AST] = {}
    for each in code.nodes(ast.Subscript):
        value = _number(each.slice)
        if value is not None and value >= 0:
            swaps[each.slice] = ast.Constant(value + 1)
        elif isinstance(each.slice, ast.Slice) and (low := _number(each.slice.lower)):
            swaps[each.slice] = ast.Slice(ast.Constant(low + 1), each.slice.upper, None)
    if len(swaps) > 1:
        yield swaps, "Counts fields from 1."


def clamped(code: Code) -> Iterator[Edit]:
    """What should go round stays at the end."""
    for each in code.nodes(ast.BinOp):
        if isinstance(each.op, ast.Mod) and is_call(each.right, "len"):
            new = expression("min($0, $1 - 1)", each.left, each.right)
            yield {each: new}, "Stays at the last place instead of going round."


def off_wherever_used(code: Code) -> Iterator[Edit]:
    """One index is off by one wherever it is used in a statement."""
    for statement in code.nodes(ast.stmt):
        if isinstance(statement, ast.For | ast.While | ast.If | ast.FunctionDef):
            continue
        found: dict[str, list[ast.Name]] = {}
        for each in ast.walk(statement):
            if isinstance(each, ast.Name) and code.parents[each][1] in ("slice", "lower", "upper"):
                found.setdefault(each.id, []).append(each)
        for name, places in found.items():
            if len(places) > 1:
                swaps: Swaps = {each: expression("$0 + 1", each) for each in places}
                yield swaps, f"{name} is off by one wherever it is used."


def _loops(code: Code) -> Iterator[tuple[ast.For, str]]:
    taken = {each.id for each in code.nodes(ast.Name)}
    free = next(name for name in ("at", "place", "spot", "where") if name not in taken)
    for loop in code.nodes(ast.For):
        if isinstance(loop.iter, ast.Name | ast.Attribute):
            yield loop, free


def ends_skipped(code: Code) -> Iterator[Edit]:
    """The first and the last one are never looked at."""
    for loop, at in _loops(code):
        first = statements(f"$0 = $1[{at} + 1]", ast.unparse(loop.target), loop.iter)
        iterated = expression("range(len($0) - 2)", loop.iter)
        new = ast.For(ast.Name(at, ast.Store()), iterated, [*first, *loop.body], loop.orelse)
        yield {loop: [new]}, "Never looks at the first and the last one."


def one_behind(code: Code) -> Iterator[Edit]:
    """Every round looks at the one before; the first one twice, the last one never."""
    for loop, at in _loops(code):
        first = statements(f"$0 = $1[max({at} - 1, 0)]", ast.unparse(loop.target), loop.iter)
        iterated = expression("range(len($0))", loop.iter)
        new = ast.For(ast.Name(at, ast.Store()), iterated, [*first, *loop.body], loop.orelse)
        yield {loop: [new]}, "Looks at the one before in every round."


def ends_left_off(code: Code) -> Iterator[Edit]:
    """A comprehension goes over all but the first and the last one."""
    for loop in code.nodes(ast.comprehension):
        if isinstance(loop.iter, ast.Name):
            inner = expression("$0[1:][:-1]", loop.iter)
            shorter = ast.comprehension(loop.target, inner, loop.ifs, 0)
            yield {loop: shorter}, "Leaves the first and the last one out."


POSITIONS: tuple[Injector, ...] = (
    end_from_rest,
    length_as_end,
    block_number,
    wrong_end,
    both_from_one_end,
    pairs_late,
    from_nought,
    bounds_exchanged,
    window_shifted,
    range_backwards,
    fields_counted_from_one,
    clamped,
    off_wherever_used,
    ends_skipped,
    one_behind,
    ends_left_off,
)
