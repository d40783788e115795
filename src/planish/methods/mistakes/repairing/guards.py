"""Boundary cases: a guard put before the work, taken away, or answered otherwise.

list(changes(Site(source, "f", examples)))

A guard is only tried where it would answer one of the failing inputs as expected: the conditions
are asked of the inputs, which are plain data; nothing of the candidate's is run.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.conditions import parts_in_scope
from planish.methods.mistakes.repairing.site import Change, Site, literal, name, parsed
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes"]

TEST: tuple[Category, ...] = ("CE",)

_ASKED: tuple[tuple[str, Callable[[Any], bool]], ...] = (
    ("not {}", lambda value: not value),
    ("len({}) == 1", lambda value: len(value) == 1),
    ("len({}) < 2", lambda value: len(value) < 2),
    ("len({}) == 2", lambda value: len(value) == 2),
    ("len({}) < 3", lambda value: len(value) < 3),
    ("{} == 0", lambda value: value == 0),
    ("{} == 1", lambda value: value == 1),
    ("{} == 2", lambda value: value == 2),
    ("{} < 0", lambda value: value < 0),
    ("{} <= 0", lambda value: value <= 0),
    ("{} <= 1", lambda value: value <= 1),
    ("{} < 2", lambda value: value < 2),
    ("{} is None", lambda value: value is None),
    ("not {}.strip()", lambda value: not value.strip()),
    ("len(set({})) == 1", lambda value: len(set(value)) == 1),
)


def changes(site: Site) -> Iterator[Change]:
    """Every change of a boundary case."""
    for statement in site.statements():
        if isinstance(statement, ast.FunctionDef) and statement.name == site.entry:
            yield from _added(site, statement)
        elif isinstance(statement, ast.If):
            yield from _dropped(site, statement)
        elif isinstance(statement, ast.Return):
            yield from _answered(site, statement)
        if isinstance(statement, ast.For | ast.While):
            yield from _skipped(site, statement)
        if isinstance(statement, ast.Expr | ast.Assign | ast.AugAssign | ast.Return):
            yield from _guarded(site, statement)


def _added(site: Site, function: ast.FunctionDef) -> Iterator[Change]:
    first = next((each for each in function.body if not _is_docstring(each)), None)
    if first is None:
        return
    for test, answer in _boundaries(site, function):
        guard = ast.If(test, [ast.Return(answer)], [])
        patch = Patch(first, "before", (guard,))
        yield site.rewrite([patch], "guard added", TEST, role="condition", wide=2)


def _boundaries(site: Site, function: ast.FunctionDef) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Tests that hold on a failing input, with what is expected there."""
    names = [each.arg for each in [*function.args.posonlyargs, *function.args.args]]
    names = names[1:] if names[:1] == ["self"] else names
    tried: dict[tuple[str, str], None] = {}
    for example in site.examples:
        pairs = list(zip(names, example.arguments, strict=False))
        answers = [each for each in [literal(example.expected)] if each is not None]
        answers += [name(key) for key, value in pairs if _alike(value, example.expected)]
        asked = [
            text.format(key)
            for key, value in pairs
            for text, holds in _ASKED
            if _holds(holds, value)
        ]
        asked += [
            f"{one} {operator} {two}"
            for one, left in pairs
            for two, right in pairs
            if one != two
            for operator in _compared(left, right)
        ]
        for answer in answers:
            for text in asked:
                if (text, ast.unparse(answer)) not in tried:
                    tried[text, ast.unparse(answer)] = None
                    yield parsed(text), answer


def _holds(asked: Callable[[Any], bool], value: Any) -> bool:
    try:
        return bool(asked(value))
    except (TypeError, AttributeError, ValueError):
        return False


def _compared(left: Any, right: Any) -> Iterator[str]:
    if type(left) is type(right):
        if left == right:
            yield "=="
        elif not isinstance(left, dict) and _holds(lambda pair: pair[0] < pair[1], (left, right)):
            yield "<"
    if isinstance(right, list | tuple | set | str | dict):
        if _holds(lambda pair: pair[0] in pair[1], (left, right)):
            yield "in"
        elif _holds(lambda pair: pair[0] not in pair[1], (left, right)):
            yield "not in"


def _alike(left: Any, right: Any) -> bool:
    return type(left) is type(right) and repr(left) == repr(right)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _leaves(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _dropped(site: Site, statement: ast.If) -> Iterator[Change]:
    keep = tuple(statement.orelse)
    patch = Patch(statement, "instead", keep)
    yield site.rewrite([patch], "guard dropped", TEST, role="condition", reach=True)
    patch = Patch(statement, "instead", tuple(statement.body))
    yield site.rewrite([patch], "test dropped", TEST, role="condition", reach=True)
    if statement.orelse and not _leaves(statement.body):
        # what was done otherwise is done in any case
        alone = ast.If(statement.test, statement.body, [])
        patch = Patch(statement, "instead", (alone, *statement.orelse))
        yield site.rewrite([patch], "else dropped", TEST, role="condition", reach=True)
    if not statement.orelse:
        yield from _otherwise(site, statement)
        yield from _else_added(site, statement)
    elif len(statement.orelse) == 1 and isinstance(statement.orelse[0], ast.If):
        inner = statement.orelse[0]
        swapped = ast.If(
            inner.test, inner.body, [ast.If(statement.test, statement.body, inner.orelse)]
        )
        patch = Patch(statement, "instead", (swapped,))
        yield site.rewrite([patch], "branches in turn", ("MOOV", "CE"), role="order")
        both = (ast.If(statement.test, statement.body, []), inner)
        patch = Patch(statement, "instead", both)
        yield site.rewrite([patch], "elif to if", TEST, role="condition")


def _else_added(site: Site, statement: ast.If) -> Iterator[Change]:
    """What is left over by a chain of tests is answered as a failing input expects."""
    answers = {repr(each.expected): each.expected for each in site.examples}
    for value in list(answers.values())[:3]:
        answer = literal(value)
        if answer is not None:
            longer = ast.If(statement.test, statement.body, [ast.Return(answer)])
            patch = Patch(statement, "instead", (longer,))
            yield site.rewrite([patch], "else added", TEST, role="condition", wide=2)


def _otherwise(site: Site, statement: ast.If) -> Iterator[Change]:
    """The statement after an if becomes its else; a second if becomes an elif."""
    block = site.source.block(statement)
    at = block.index(statement)
    after = block[at + 1 : at + 2]
    if after and not _leaves(statement.body):
        joined = ast.If(statement.test, statement.body, after)
        patches = [Patch(statement, "instead", (joined,)), Patch(after[0], "instead", ())]
        yield site.rewrite(patches, "else made", TEST, role="condition")
    if after and isinstance(after[0], ast.If) and _leaves(statement.body):
        swapped = [
            Patch(statement, "instead", (after[0],)),
            Patch(after[0], "instead", (statement,)),
        ]
        yield site.rewrite(swapped, "branches in turn", ("MOOV", "CE"), role="order")
    for simple in statement.body:
        if isinstance(simple, ast.Expr | ast.Assign | ast.AugAssign):
            # the same, whether or not
            patches = [Patch(simple, "instead", ()), Patch(statement, "after", (simple,))]
            if len(statement.body) > 1:
                yield site.rewrite(patches, "moved out", ("MOOV", "CE"), role="order")


def _answered(site: Site, statement: ast.Return) -> Iterator[Change]:
    """What a boundary case answers: what is expected on an input that fails."""
    value = statement.value
    fixed = value is None or isinstance(
        value, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.Name | ast.UnaryOp
    )
    if not fixed:
        return
    tried: set[str] = set()
    for example in site.examples:
        new = literal(example.expected)
        if new is None or (text := ast.unparse(new)) in tried:
            continue
        tried.add(text)
        kinds: tuple[Category, ...] = TEST
        if example.returned and type(example.got) is not type(example.expected):
            kinds = ("MOFE", "CE")
        if value is None:
            patch = Patch(statement, "instead", (ast.Return(new),))
            yield site.rewrite([patch], "answer", kinds, role="literal", reach=True)
        else:
            yield site.change(value, new, "answer", kinds, role="literal", wide=1)


def _skipped(site: Site, loop: ast.For | ast.While) -> Iterator[Change]:
    """Rounds of a loop that are left out or end it."""
    first = loop.body[0]
    target = loop.target if isinstance(loop, ast.For) else None
    for part in parts_in_scope(site, first, bound_by=target):
        for leave in (ast.Continue(), ast.Break()):
            patch = Patch(first, "before", (ast.If(part, [leave], []),))
            yield site.rewrite([patch], "round skipped", TEST, role="condition", wide=2)


def _guarded(site: Site, statement: ast.stmt) -> Iterator[Change]:
    """A statement that is done only if; tests of names that it uses itself."""
    block = site.source.block(statement)
    if isinstance(statement, ast.Return) and statement is block[-1]:
        return
    used = {each.id for each in ast.walk(statement) if isinstance(each, ast.Name)}
    for part in parts_in_scope(site, statement):
        asked = {each.id for each in ast.walk(part) if isinstance(each, ast.Name)}
        if asked & used:
            patch = Patch(statement, "instead", (ast.If(part, [statement], []),))
            yield site.rewrite([patch], "done only if", TEST, role="condition", wide=2, reach=True)
