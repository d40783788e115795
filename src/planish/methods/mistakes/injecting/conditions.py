"""Wrong tests: branches dropped or merged, cases forgotten, conditions misread (CE)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.injecting.editing import (
    Code,
    Edit,
    Injector,
    Swaps,
    called,
    expression,
)

__all__ = ["CONDITIONS"]

_ORDERS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}


def _inner(statement: ast.If) -> ast.If | None:
    """The elif of an if."""
    first = statement.orelse[0] if len(statement.orelse) == 1 else None
    return first if isinstance(first, ast.If) else None


def branch_dropped(code: Code) -> Iterator[Edit]:
    """An elif or an else is not there."""
    for each in code.nodes(ast.If):
        inner = _inner(each)
        if inner is not None:
            shorter = ast.If(each.test, each.body, inner.orelse)
            yield {each: [shorter]}, f"Forgets the case {ast.unparse(inner.test)}."
        elif each.orelse:
            shorter = ast.If(each.test, each.body, [])
            yield {each: [shorter]}, f"Does nothing unless {ast.unparse(each.test)}."
    for choice in code.nodes(ast.IfExp):
        yield {choice: choice.body}, f"Never asks whether {ast.unparse(choice.test)}."


def branches_merged(code: Code) -> Iterator[Edit]:
    """Two branches do what the first one does."""
    for each in code.nodes(ast.If):
        inner = _inner(each)
        if inner is not None:
            either = ast.BoolOp(ast.Or(), [each.test, inner.test])
            merged = ast.If(either, each.body, inner.orelse)
            yield {each: [merged]}, f"Treats {ast.unparse(inner.test)} as the case before it."
        elif each.orelse and not isinstance(each.body[-1], ast.Return | ast.Raise | ast.Continue):
            yield {each: each.body}, f"Does the same whether or not {ast.unparse(each.test)}."


def one_of_two(code: Code) -> Iterator[Edit]:
    """Exactly one of two conditions is asked for."""
    for each in code.nodes(ast.BoolOp):
        if len(each.values) == 2 and code.is_tested(each):
            one, two = each.values
            new = expression("bool($0) != bool($1)", one, two)
            yield {each: new}, "Asks that exactly one of two conditions holds."


def part_forgotten(code: Code) -> Iterator[Edit]:
    """A part of a condition that is no simple comparison of names is not asked for."""
    for each in code.nodes(ast.BoolOp):
        if not code.is_tested(each):
            continue
        for value in each.values:
            if not _is_involved(value):
                continue
            rest = [other for other in each.values if other is not value]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(each.op, rest)
            yield {each: new}, f"Does not ask whether {ast.unparse(value)}."
    for generator in code.nodes(ast.comprehension):
        if generator.ifs and all(map(_is_involved, generator.ifs)):
            new_one = ast.comprehension(generator.target, generator.iter, [], 0)
            yield {generator: new_one}, "Takes everything, whatever the condition says."


def _is_involved(test: ast.expr) -> bool:
    return any(isinstance(each, ast.Call | ast.Subscript | ast.BoolOp) for each in ast.walk(test))


def bounds_misread(code: Code) -> Iterator[Edit]:
    """Every bound of the function is taken to belong to the other side."""
    every = [
        each for each in code.nodes(ast.Compare) if any(type(op) in _ORDERS for op in each.ops)
    ]
    if len(every) < 2:
        return
    swaps: Swaps = {
        each: ast.Compare(
            each.left, [_ORDERS.get(type(op), type(op))() for op in each.ops], each.comparators
        )
        for each in every
    }
    yield swaps, "Takes every bound for one that counts where it does not, and the other way round."


def any_for_enough(code: Code) -> Iterator[Edit]:
    """Any at all will do, where a number of them is asked for."""
    for each in code.nodes(ast.Compare):
        if isinstance(each.left, ast.Name | ast.Constant) or len(each.ops) != 1:
            continue
        if isinstance(each.ops[0], ast.Gt | ast.GtE) and code.is_tested(each):
            yield {each: each.left}, f"Is content with any {ast.unparse(each.left)} but nought."


def sizes_compared(code: Code) -> Iterator[Edit]:
    """Two numbers are compared without their signs."""
    for each in code.nodes(ast.Compare):
        sides = (each.left, each.comparators[0])
        if len(each.ops) > 1 or type(each.ops[0]) not in _ORDERS:
            continue
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        new = ast.Compare(
            expression("abs($0)", sides[0]), each.ops, [expression("abs($0)", sides[1])]
        )
        yield {each: new}, "Compares how large two numbers are, whatever their signs."


def first_decides(code: Code) -> Iterator[Edit]:
    """The first round of a loop decides, where any round may."""
    for loop in code.nodes(ast.For):
        last, after = loop.body[-1], code.after(loop)
        if not isinstance(last, ast.If) or last.orelse or not after:
            continue
        if isinstance(last.body[-1], ast.Return) and isinstance(after[0], ast.Return):
            refused = ast.If(ast.UnaryOp(ast.Not(), last.test), [after[0]], [])
            yield {last: [refused, *last.body]}, "The first one decides, whatever comes later."


def loop_once(code: Code) -> Iterator[Edit]:
    """What should go on while is done if."""
    for loop in code.nodes(ast.While):
        if not any(isinstance(each, ast.Break | ast.Continue) for each in ast.walk(loop)):
            yield {loop: [ast.If(loop.test, loop.body, [])]}, "Does once what has to go on."


def case_forgotten(code: Code) -> Iterator[Edit]:
    """A case of its own is not treated apart."""
    for each in code.nodes(ast.If):
        leaves = isinstance(each.body[-1], ast.Return | ast.Raise | ast.Continue)
        if each.orelse or not leaves:
            continue
        answer = each.body[-1]
        fixed = isinstance(answer, ast.Return) and isinstance(
            answer.value, ast.Constant | ast.List | ast.UnaryOp | None
        )
        if (not fixed or _is_involved(each.test)) and not _is_guard(code, each):
            yield {each: []}, f"Has no case of its own for {ast.unparse(each.test)}."
    for choice in code.nodes(ast.BoolOp):
        if isinstance(choice.op, ast.Or) and isinstance(choice.values[-1], ast.Constant):
            yield {choice: choice.values[0]}, "Has nothing to fall back on."


def _is_guard(code: Code, each: ast.If) -> bool:
    """Whether it asks something simple of the arguments first of all, and answers it.

    A repair puts such guards in, since a failing input tells both the test and the answer.
    """
    answer = each.body[-1]
    if each is not code.body[0] or not isinstance(answer, ast.Return):
        return False
    told = [*ast.walk(each.test), *(ast.walk(answer.value) if answer.value else ())]
    if any(isinstance(part, ast.Subscript | ast.BoolOp | ast.JoinedStr) for part in told):
        return False
    names = {part.id for part in told if isinstance(part, ast.Name)}
    calls = {called(part) for part in told if isinstance(part, ast.Call)}
    return names <= {*code.parameters, *_ASKED} and calls <= _ASKED


_ASKED = {"len", "set", "strip"}


def nested_case_lost(code: Code) -> Iterator[Edit]:
    """A test within a branch goes with all that depends on it."""
    for each in code.nodes(ast.If):
        if not code.in_loop(each) or each.orelse or len(each.body) < 2:
            continue
        yield {each: []}, f"Nothing is done where {ast.unparse(each.test)}."


CONDITIONS: tuple[Injector, ...] = (
    branch_dropped,
    branches_merged,
    one_of_two,
    part_forgotten,
    bounds_misread,
    any_for_enough,
    sizes_compared,
    first_decides,
    loop_once,
    case_forgotten,
    nested_case_lost,
)
