"""Changes of whole statements: dropped, done at the end too, a value put right before it is used.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import Change, Site, call, method, name
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes"]

_PREPARED: tuple[tuple[str, tuple[Category, ...]], ...] = (
    ("sorted", ("MLA", "MOOV")),
    ("list", ("MLA",)),
    ("set", ("MLA",)),
    ("abs", ("MFLE",)),
    ("str", ("MLA",)),
    ("int", ("MLA",)),
    (".lower", ("CE", "MLA")),
    (".strip", ("MLA", "CE")),
    (".copy", ("MLA",)),
)


def changes(site: Site) -> Iterator[Change]:
    """Every change of a statement."""
    for statement in site.statements():
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _prepared(site, statement)
            yield from _returned(site, statement)
        elif isinstance(statement, ast.Expr | ast.AugAssign | ast.Assign):
            yield from _dropped(site, statement)
        if isinstance(statement, ast.Expr):
            yield from _kept(site, statement)
        elif isinstance(statement, ast.Assign):
            yield from _in_place(site, statement)
        elif isinstance(statement, ast.Break | ast.Continue):
            yield from _left(site, statement)
        elif isinstance(statement, ast.For | ast.While):
            yield from _once_more(site, statement)


def _category(site: Site, statement: ast.stmt) -> tuple[Category, ...]:
    """Of a statement that should not be there."""
    if isinstance(statement, ast.AugAssign):
        return ("MOFE",) if site.roles.is_text(statement.value) else ("MFLE",)
    if isinstance(statement, ast.Expr):
        return ("MLA",)
    value = statement.value if isinstance(statement, ast.Assign) else None
    if isinstance(value, ast.BinOp):
        return ("MFLE",)
    return ("MLA",) if isinstance(value, ast.Call) else ("MFLE",)


def _dropped(site: Site, statement: ast.stmt) -> Iterator[Change]:
    patch = Patch(statement, "instead", ())
    categories = _category(site, statement)
    yield site.rewrite([patch], "statement dropped", categories, reach=True)


def _kept(site: Site, statement: ast.Expr) -> Iterator[Change]:
    """The value of a call that nobody keeps: x.strip() for x = x.strip()."""
    value = statement.value
    if not isinstance(value, ast.Call):
        return
    base: ast.expr | None = value.func
    while isinstance(base, ast.Attribute | ast.Call):
        base = base.value if isinstance(base, ast.Attribute) else base.func
    targets = [base] if isinstance(base, ast.Name) and base is not value.func else []
    if isinstance(value.func, ast.Name) and value.args and isinstance(value.args[0], ast.Name):
        targets = [value.args[0]]
    for target in targets:
        assert isinstance(target, ast.Name)
        new = ast.Assign([ast.Name(target.id, ast.Store())], value, lineno=statement.lineno)
        patch = Patch(statement, "instead", (new,))
        yield site.rewrite([patch], "value kept", ("MLA",), role="call", wide=0, reach=True)
    if function_name(value) in ("sorted", "reversed") and targets:
        called = "sort" if function_name(value) == "sorted" else "reverse"
        own = method(value.args[0], called)
        own.keywords = value.keywords
        patch = Patch(statement, "instead", (ast.Expr(own),))
        yield site.rewrite([patch], "in place", ("MLA",), role="call", wide=0, reach=True)


_IN_PLACE = frozenset({"append", "extend", "remove", "sort", "reverse", "insert", "update", "add"})


def _is_in_place(statement: ast.stmt) -> bool:
    """x = x.append(y), after which x is None."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return False
    function = statement.value.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr in _IN_PLACE
        and ast.unparse(function.value) == ast.unparse(statement.targets[0])
    )


def _in_place(site: Site, statement: ast.Assign) -> Iterator[Change]:
    """The value of an in-place method is not kept; nor anywhere else in the code."""
    if not _is_in_place(statement):
        return
    every = [each for each in site.statements() if _is_in_place(each)]
    for group in ([statement], every) if statement is every[0] else ([statement],):
        patches = [
            Patch(each, "instead", (ast.Expr(each.value),))
            for each in group
            if isinstance(each, ast.Assign)
        ]
        operator = "value of in-place method"
        yield site.rewrite(patches, operator, ("MLA",), role="call", wide=0, reach=True)


def _left(site: Site, statement: ast.stmt) -> Iterator[Change]:
    for new in (ast.Break(), ast.Continue(), ast.Pass()):
        if type(new) is not type(statement):
            patch = Patch(statement, "instead", (new,))
            yield site.rewrite(
                [patch], "end of round", ("CE",), role="condition", wide=0, reach=True
            )


def _prepared(site: Site, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Change]:
    """An argument put right before anything else is done; the end result, before it is returned."""
    first = next(
        (
            each
            for each in function.body
            if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        ),
        None,
    )
    if first is None:
        return
    for argument in function.args.args:
        if argument.arg in ("self", "cls"):
            continue
        for how, categories in _PREPARED:
            given = name(argument.arg)
            value = method(given, how[1:]) if how.startswith(".") else call(how, given)
            new = ast.Assign([ast.Name(argument.arg, ast.Store())], value, lineno=1)
            patch = Patch(first, "before", (new,))
            kinds = site.of_earlier(how.strip("."), categories)
            yield site.rewrite([patch], "prepared", kinds, wide=2)


def _returned(site: Site, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Change]:
    """A function that forgets to return."""
    last = function.body[-1]
    if isinstance(last, ast.Return | ast.Raise):
        return
    bound = [
        node.id
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    values: list[ast.expr] = [name(each) for each in dict.fromkeys(bound)]
    values += [ast.Constant(value) for value in (True, False, 0, -1, "")]
    for value in values[:12]:
        patch = Patch(last, "after", (ast.Return(value),))
        kinds: tuple[Category, ...] = ("MOFE",) if isinstance(value, ast.Name) else ("CE",)
        yield site.rewrite([patch], "return added", kinds, wide=1)
    if isinstance(last, ast.Expr):
        patch = Patch(last, "instead", (ast.Return(last.value),))
        yield site.rewrite([patch], "return added", ("MOFE",), wide=1)


def _once_more(site: Site, loop: ast.For | ast.While) -> Iterator[Change]:
    """What a loop does with a group is done with the last group too, after the loop."""
    for inner in loop.body:
        if not isinstance(inner, ast.If):
            continue
        for body in (inner.body, inner.orelse):
            if not body or not isinstance(body[0], ast.Expr | ast.Assign | ast.AugAssign):
                continue
            alone = Patch(loop, "after", (body[0],))
            yield site.rewrite([alone], "once more", ("CE",), role="condition", wide=2)
            used = {
                node.id
                for node in ast.walk(body[0])
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
            for each in sorted(used & set(site.names(inner))):
                guarded = ast.If(name(each), [body[0]], [])
                patch = Patch(loop, "after", (guarded,))
                yield site.rewrite([patch], "once more", ("CE",), role="condition", wide=2)
