"""Code that is right, taken apart; and the text of it with some nodes swapped for others.

    code = Code.read("def f(x):\\n    return x + 1\\n", "f")
    for node in code.nodes(ast.Constant):
        code.swapped({node: expression("$0 * 2", node)})

Nothing here knows a category; the modules of injectors do.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

__all__ = ["Code", "Edit", "Injector", "Swaps", "called", "expression", "is_call", "statements"]

Node = TypeVar("Node", bound=ast.AST)

Swaps = Mapping[ast.AST, ast.AST | Sequence[ast.AST]]

Edit = tuple[Swaps, str]
"""Nodes with what comes in their place (a list where statements do), and what is wrong then."""


@dataclass(frozen=True)
class Code:
    """A piece of code with a function that is asked for.

    Args:
        tree: of all of it; function: the one that is asked for.
        parents: node -> the node it is in, and the field.
    """

    tree: ast.Module
    function: ast.FunctionDef
    parents: dict[ast.AST, tuple[ast.AST, str]]

    @classmethod
    def read(cls, text: str, entry: str) -> Self | None:
        """The code, if it is a module with a function; the last one where none has the name."""
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
        functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
        if not functions:
            return None
        named = [each for each in functions if each.name == entry]
        parents = {
            below: (node, field)
            for node in ast.walk(tree)
            for field, value in ast.iter_fields(node)
            for below in (value if isinstance(value, list) else [value])
            if isinstance(below, ast.AST)
        }
        return cls(tree, (named or functions)[-1], parents)

    # ---- looking

    def nodes(self, kind: type[Node]) -> Iterator[Node]:
        """Nodes of a kind in the order of the text, annotations and the docstring left out."""
        yield from self._below(self.function, kind)
        for other in self.tree.body:
            if other is not self.function and isinstance(other, ast.FunctionDef):
                yield from self._below(other, kind)

    def loops(self) -> Iterator[ast.For | ast.While]:
        """Its loops."""
        for each in self.nodes(ast.stmt):
            if isinstance(each, ast.For | ast.While):
                yield each

    def _below(self, node: ast.AST, kind: type[Node]) -> Iterator[Node]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list"):
                continue
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, ast.AST) or _is_docstring(node, field, each):
                    continue
                if isinstance(each, kind):
                    yield each
                yield from self._below(each, kind)

    def up(self, node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
        """What it is in, the nearest first, each with the field that it is in."""
        while node in self.parents:
            node, field = self.parents[node]
            yield node, field

    def is_tested(self, node: ast.AST) -> bool:
        """Whether it is part of a test."""
        return any(field in ("test", "ifs") or _compares(above) for above, field in self.up(node))

    def is_index(self, node: ast.AST) -> bool:
        """Whether it is part of an index, a slice or a range."""
        return any(
            field == "slice" or (isinstance(above, ast.Call) and called(above) == "range")
            for above, field in self.up(node)
        )

    def in_loop(self, node: ast.AST) -> bool:
        """Whether it is done again and again."""
        return any(
            isinstance(above, ast.For | ast.While) and field == "body"
            for above, field in self.up(node)
        )

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which it stands."""
        above, field = self.parents[statement]
        found: list[ast.stmt] = getattr(above, field)
        return found

    def after(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements behind it in its block."""
        block = self.block(statement)
        return block[block.index(statement) + 1 :]

    @property
    def body(self) -> list[ast.stmt]:
        """Statements of the function, its docstring left out."""
        return [each for each in self.function.body if not _is_text(each)]

    @property
    def parameters(self) -> list[str]:
        """Names of its arguments, without self."""
        arguments = self.function.args
        names = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
        return [each for each in names if each not in ("self", "cls")]

    def returned(self) -> list[ast.expr]:
        """Values that the function itself returns."""
        return [
            each.value
            for each in self.nodes(ast.Return)
            if each.value is not None and self._home(each) is self.function
        ]

    def _home(self, node: ast.AST) -> ast.AST | None:
        return next((up for up, _ in self.up(node) if isinstance(up, ast.FunctionDef)), None)

    def assigned(self, name: str) -> list[ast.expr]:
        """Values that are given to a name, one after the other."""
        return [
            each.value
            for each in self.nodes(ast.Assign)
            if any(isinstance(to, ast.Name) and to.id == name for to in each.targets)
        ]

    # ---- changing

    def swapped(self, swaps: Swaps) -> str:
        """Text of the whole code after it; laid out anew.

        Raises:
            ValueError: what comes out cannot be told as text, such as some f-strings.
        """
        tree = _rebuilt(self.tree, swaps)
        return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


Injector = Callable[[Code], Iterator[Edit]]


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _is_docstring(node: ast.AST, field: str, each: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and field == "body" and _is_text(each)


def _compares(node: ast.AST) -> bool:
    return isinstance(node, ast.Compare)


def _rebuilt(node: Node, swaps: Swaps) -> Node:
    made = copy.copy(node)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            items: list[object] = []
            for each in value:
                new = swaps.get(each, each) if isinstance(each, ast.AST) else each
                if isinstance(new, ast.AST):
                    items.append(_rebuilt(new, swaps) if new is each else new)
                elif new is each:
                    items.append(new)
                else:
                    items += [_rebuilt(one, swaps) if one is each else one for one in new]
            if value and isinstance(value[0], ast.stmt) and field == "body" and not items:
                items = [ast.Pass()]
            setattr(made, field, items)
        elif isinstance(value, ast.AST):
            new = swaps.get(value, value)
            setattr(made, field, _rebuilt(value, swaps) if new is value else new)
    return made


def expression(text: str, *parts: ast.AST | str) -> ast.expr:
    """A new expression; $0, $1, ... stand for the parts, in parentheses where they are nodes."""
    return ast.parse(_filled(text, parts), mode="eval").body


def statements(text: str, *parts: ast.AST | str) -> list[ast.stmt]:
    """New statements, in the same manner."""
    return ast.parse(_filled(text, parts)).body


def _filled(text: str, parts: Sequence[ast.AST | str]) -> str:
    told = [each if isinstance(each, str) else f"({ast.unparse(each)})" for each in parts]
    return re.sub(r"\$(\d)", lambda found: told[int(found[1])], text)


def called(node: ast.AST) -> str:
    """Name of the function or the method that is called; "" where it has none."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Name):
        return node.func.id
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def is_call(node: ast.AST, *names: str) -> bool:
    """Whether one of these is called, with arguments that can be told one by one."""
    return (
        isinstance(node, ast.Call)
        and called(node) in names
        and not any(isinstance(each, ast.Starred) for each in node.args)
        and all(each.arg for each in node.keywords)
    )
