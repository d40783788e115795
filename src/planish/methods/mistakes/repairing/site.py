"""What every operator stands on: the places of a program, names in scope, what is expected there.

site = Site(source, "f", hints)
for node in site.expressions():
    yield site.change(node, site.number(2), "constant", ("MFLE",))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.noise import noise
from planish.methods.mistakes.repairing.roles import Role, Roles, function_name
from planish.methods.mistakes.repairing.source import Patch, Source

__all__ = [
    "OF_ROLE",
    "Change",
    "Example",
    "Site",
    "call",
    "literal",
    "method",
    "name",
    "number",
    "parsed",
]

MANY = 7
"""Names in scope that are tried in one place at most."""

OF_ROLE: dict[Role, tuple[Category, ...]] = {
    "index": ("IOM",),
    "condition": ("CE",),
    "arithmetic": ("MFLE",),
    "call": ("MLA",),
    "order": ("MOOV",),
    "format": ("MOFE",),
    "literal": ("MFLE",),
    "statement": ("MFLE",),
}


@dataclass(frozen=True)
class Change:
    """One change of one place; its texts are only made when they are asked for.

    Args:
        source: of the module; at: the expression or the statements that are changed.
        new: an expression, for an expression.
        wide: 0 a slip of the pen, 1 a small rewrite, 2 a part that was made up; searched in turn.
        lines: first and last line of what must run for it to matter; (0, 0): not known.
    """

    source: Source
    at: ast.expr | tuple[Patch, ...]
    new: ast.expr | None
    operator: str
    categories: tuple[Category, ...]
    role: Role
    line: int
    wide: int = 0
    lines: tuple[int, int] = (0, 0)

    @cached_property
    def code(self) -> str:
        """The whole module after it."""
        if isinstance(self.at, tuple):
            return self.source.patched(self.at)
        assert self.new is not None
        return self.source.replaced(self.at, self.new)

    @cached_property
    def before(self) -> str:
        """Source of the place; "" where something is only put in."""
        if not isinstance(self.at, tuple):
            return self.source.segment(self.at)
        gone = [patch.at for patch in self.at if patch.where == "instead"]
        return "\n".join(self.source.segment(each) for each in gone)

    @cached_property
    def after(self) -> str:
        """What stands there instead; "" where something is only dropped."""
        if self.new is not None:
            return self.source.spelled(self.new)
        assert isinstance(self.at, tuple)
        items = [item for patch in self.at for item in patch.items]
        return "\n".join(self.source.spelled(each) for each in items)


@dataclass(frozen=True)
class Example:
    """A failing input: arguments, what is expected there, and what came instead."""

    arguments: tuple[Any, ...]
    expected: Any
    got: Any = None
    returned: bool = True


@dataclass
class Site:
    """A program under repair.

    Args:
        source: its text and tree; statements of the module that only try it out are left alone.
        entry: name of the function.
        examples: inputs on which it fails; they tell which boundary values are worth trying.
    """

    source: Source
    entry: str
    examples: Sequence[Example] = ()
    roles: Roles = field(init=False)
    _assigned: dict[ast.AST, list[tuple[int, str]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.roles = Roles(self.source, self.entry)

    # ---- places

    def statements(self) -> Iterator[ast.stmt]:
        """Every statement that may be at fault, outermost first; no docstrings, no imports."""
        tried = noise(self.source.tree)
        for statement in self.source.tree.body:
            if statement not in tried:
                yield from self._below(statement)

    def _below(self, statement: ast.stmt) -> Iterator[ast.stmt]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return
        if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement
        for node in ast.iter_child_nodes(statement):
            if isinstance(node, ast.stmt):
                yield from self._below(node)
            elif isinstance(node, ast.ExceptHandler | ast.match_case):
                for each in node.body:
                    yield from self._below(each)

    @cached_property
    def _expressions(self) -> tuple[ast.expr, ...]:
        return tuple(
            node
            for statement in self.statements()
            for field_name, child in _parts(statement)
            if field_name not in ("returns", "annotation", "decorator_list", "bases", "keywords")
            for node in self._expressions_below(child)
        )

    def expressions(self) -> tuple[ast.expr, ...]:
        """Every expression that may be at fault and is read, not written."""
        return self._expressions

    def _expressions_below(self, node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.arguments):
            for default in [*node.defaults, *node.kw_defaults]:
                if default is not None:
                    yield from self._expressions_below(default)
            return
        if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None), ast.Load | None):
            yield node
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.stmt):
                yield from self._expressions_below(child)

    def names(self, node: ast.AST) -> list[str]:
        """Variables that are bound where it stands, the nearest first; no functions."""
        found: dict[str, None] = {}
        line = self.source.line(node)
        for each in self.source.up(node):
            if isinstance(each, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
                for generator in each.generators:
                    found.update(dict.fromkeys(_bound(generator.target)))
            elif isinstance(each, ast.For | ast.AsyncFor):
                found.update(dict.fromkeys(_bound(each.target)))
            elif isinstance(each, ast.Lambda):
                found.update(dict.fromkeys(_parameters(each.args)))
            elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                if each not in self._assigned:
                    self._assigned[each] = list(_assigned(each))
                bound = [text for at, text in self._assigned[each] if at < line]
                found.update(dict.fromkeys(bound))
                found.update(dict.fromkeys(_parameters(each.args)))
        return [each for each in found if each not in ("self", "cls", "_")][:MANY]

    def in_range(self, node: ast.AST) -> bool:
        """Whether it is a part of the bounds of a range."""
        for each in self.source.up(node):
            if isinstance(each, ast.stmt):
                return False
            if isinstance(each, ast.Call):
                return function_name(each) == "range"
        return False

    def is_shown(self, node: ast.expr) -> bool:
        """Whether the value is returned, or becomes an element of what is returned."""
        parent, field = self.source.parents[node]
        if isinstance(parent, ast.Return):
            return True
        if isinstance(parent, ast.IfExp):
            return field != "test" and self.is_shown(parent)
        if isinstance(node, ast.Constant | ast.Starred | ast.Slice):
            return False
        part = field in ("elts", "elt", "key")
        part = part or (field == "value" and isinstance(parent, ast.DictComp | ast.Assign))
        part = part or (field == "values" and isinstance(parent, ast.Dict))
        if isinstance(parent, ast.Call) and field == "args":
            part = function_name(parent) in ("append", "add", "insert")
        ends = self.roles.ends(node)
        return part and "return" in ends and "index" not in ends

    @cached_property
    def _called(self) -> frozenset[str]:
        every = (each for each in self.expressions() if isinstance(each, ast.Call))
        names = {function_name(each) for each in every}
        return frozenset(names | {"sorted"} if "sort" in names else names)

    def of_earlier(self, called: str, categories: tuple[Category, ...]) -> tuple[Category, ...]:
        """Of a call that is missing in a place: one that is made elsewhere is made too late."""
        if called not in self._called:
            return categories
        return tuple(dict.fromkeys(("MOOV", *categories)))

    # ---- changes

    def change(
        self,
        node: ast.expr,
        new: ast.expr,
        operator: str,
        categories: tuple[Category, ...] | None = None,
        *,
        role: Role | None = None,
        wide: int = 0,
    ) -> Change:
        """Another expression in its place; its categories are by default those of its role."""
        own = role or self.roles.role(node)
        return Change(
            source=self.source,
            at=node,
            new=new,
            operator=operator,
            categories=OF_ROLE[own] if categories is None else categories,
            role=own,
            line=self.source.line(node),
            wide=wide,
            lines=self._reach(node),
        )

    def rewrite(
        self,
        patches: Sequence[Patch],
        operator: str,
        categories: tuple[Category, ...],
        *,
        role: Role = "statement",
        wide: int = 1,
        reach: bool = False,
    ) -> Change:
        """Statements changed.

        Args:
            reach: nothing comes of it unless one of the statements is run as it is.
        """
        first = min(patches, key=lambda patch: patch.at.lineno).at
        return Change(
            source=self.source,
            at=tuple(patches),
            new=None,
            operator=operator,
            categories=categories,
            role=role,
            line=first.lineno,
            wide=wide,
            lines=self._reach(first) if reach else (0, 0),
        )

    def _reach(self, node: ast.AST) -> tuple[int, int]:
        """First and last line of the part of its statement that runs when it is evaluated."""
        statement = self.source.statement(node)
        if statement is None or isinstance(
            statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        ):
            return 0, 0
        body = getattr(statement, "body", None)
        end = body[0].lineno - 1 if isinstance(body, list) else statement.end_lineno
        return statement.lineno, max(statement.lineno, end or 0)


def number(value: float) -> ast.expr:
    """A number as Python writes it."""
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def name(text: str) -> ast.expr:
    """A name that is read."""
    return ast.Name(text, ast.Load())


def call(function: str, *arguments: ast.expr, **keywords: ast.expr) -> ast.Call:
    """A call of a function by its name."""
    given = [ast.keyword(key, value) for key, value in keywords.items()]
    return ast.Call(name(function), list(arguments), given)


def method(receiver: ast.expr, called: str, *arguments: ast.expr) -> ast.Call:
    """A call of a method."""
    return ast.Call(ast.Attribute(receiver, called, ast.Load()), list(arguments), [])


def parsed(text: str) -> ast.expr:
    """An expression from its text; nothing is run."""
    return ast.parse(text, mode="eval").body


def literal(value: Any) -> ast.expr | None:
    """An expression for a plain value; None where there is no short one."""
    text = repr(value)
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return parsed(f"float({text!r})")
    if len(text) > 60 or value != value:
        return None
    try:
        ast.literal_eval(text)
        return parsed(text)
    except (ValueError, SyntaxError):
        return parsed("set()") if value == set() else None


def _parts(statement: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    """Nodes of a statement that are not statements themselves."""
    for field_name, value in ast.iter_fields(statement):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.ExceptHandler):
                continue
            if isinstance(each, ast.AST) and not isinstance(each, ast.stmt):
                yield field_name, each


def _bound(target: ast.AST) -> list[str]:
    return [
        node.id
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]


def _assigned(function: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((node.lineno, text) for text in _bound(target))
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For):
            yield from ((node.lineno, text) for text in _bound(node.target))


def _parameters(arguments: ast.arguments) -> list[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [each.arg for each in every]
