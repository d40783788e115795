"""Source text beside its tree: changes are spliced in where the node is, so layout stays.

    source = Source("def f(x):\\n    return x + 1  # one more\\n")
    source.replaced(node, new_expression)      # text of the whole module
    source.patched([after(statement, [new])])  # the same for statements

Expressions that the change leaves as they were keep their own spelling, quotes and all.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planish.tasks.sandbox.tame import parsed

__all__ = ["Patch", "Source", "read", "substituted"]

_COMPOUND = (
    ast.BinOp,
    ast.BoolOp,
    ast.Compare,
    ast.UnaryOp,
    ast.IfExp,
    ast.Lambda,
    ast.NamedExpr,
    ast.Await,
    ast.Yield,
    ast.YieldFrom,
    ast.Starred,
    ast.Slice,
    ast.Tuple,
    ast.FormattedValue,
)
"""Kinds whose spelling depends on what stands around them; they are spelled anew."""

_BINDS: dict[type[ast.AST], int] = {
    ast.BitOr: 5,
    ast.BitXor: 6,
    ast.BitAnd: 7,
    ast.LShift: 8,
    ast.RShift: 8,
    ast.Add: 9,
    ast.Sub: 9,
    ast.Mult: 10,
    ast.Div: 10,
    ast.FloorDiv: 10,
    ast.Mod: 10,
    ast.MatMult: 10,
    ast.Pow: 12,
}

_ATOM = 15


@dataclass(frozen=True)
class Patch:
    """Statements that come instead of one, before it or after it.

    Args:
        at: a statement of the source.
        items: statements of the source, to be moved or copied, or new ones.
    """

    at: ast.stmt
    where: Literal["instead", "before", "after"]
    items: tuple[ast.stmt, ...]


def read(code: str) -> Source | None:
    """The source of this text; None where Python cannot read it."""
    try:
        return Source(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Source:
    """A module's text, its tree, and where in the tree each node is.

    Args:
        code: text of a module.

    Raises:
        SyntaxError, ValueError, RecursionError: it is not one.
    """

    def __init__(self, code: str) -> None:
        self.text = code.replace("\r\n", "\n").replace("\r", "\n")
        self.tree = parsed(self.text)
        self._data = self.text.encode()
        self._starts = [0]
        for line in self._data.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self.lines = self.text.split("\n")
        self.parents: dict[ast.AST, tuple[ast.AST, str]] = {}
        self._inside: dict[ast.AST, ast.JoinedStr] = {}
        self._link(self.tree, None)

    def _link(self, node: ast.AST, joined: ast.JoinedStr | None) -> None:
        inner = joined or (node if isinstance(node, ast.JoinedStr) else None)
        for field, child in children(node):
            self.parents[child] = (node, field)
            if inner is not None:
                self._inside[child] = inner
            self._link(child, inner)

    # ---- looking

    def up(self, node: ast.AST) -> Iterator[ast.AST]:
        """What it is in, the nearest first."""
        while node in self.parents:
            node = self.parents[node][0]
            yield node

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that it is, or is in."""
        if isinstance(node, ast.stmt):
            return node
        return next((each for each in self.up(node) if isinstance(each, ast.stmt)), None)

    def block(self, statement: ast.stmt) -> list[ast.stmt]:
        """The statements among which it stands."""
        parent, field = self.parents[statement]
        found: list[ast.stmt] = getattr(parent, field)
        return found

    def segment(self, node: ast.AST) -> str:
        """Its text; spelled anew where positions are not known, as in f-strings."""
        if node in self._inside or node not in self.parents or not hasattr(node, "lineno"):
            return ast.unparse(node)
        start, end = self._span(node)
        return self._data[start:end].decode()

    def line(self, node: ast.AST) -> int:
        """The line where it begins, from 1."""
        outer = self._inside.get(node, node)
        if hasattr(outer, "lineno"):
            return int(outer.lineno)
        return next((int(each.lineno) for each in self.up(outer) if hasattr(each, "lineno")), 1)

    def _span(self, node: Any) -> tuple[int, int]:
        return (
            self._starts[node.lineno - 1] + node.col_offset,
            self._starts[node.end_lineno - 1] + node.end_col_offset,
        )

    # ---- expressions

    def replaced(self, node: ast.expr, new: ast.expr) -> str:
        """The text with another expression in its place."""
        outer = self._inside.get(node)
        if outer is not None:
            return self.replaced(outer, substituted(outer, node, new))
        start, end = self._span(node)
        text = self.spelled(new)
        if self._open(node, new, start, end):
            text = f"({text})"
        return (self._data[:start] + text.encode() + self._data[end:]).decode()

    def _open(self, node: ast.expr, new: ast.expr, start: int, end: int) -> bool:
        """Whether the new text needs parentheses of its own."""
        parent, field = self.parents[node]
        if isinstance(node, ast.GeneratorExp) and isinstance(parent, ast.Call):
            shares = self._span(parent)[1] == end
            return shares and not isinstance(new, ast.GeneratorExp)
        if isinstance(new, ast.NamedExpr) and not isinstance(parent, ast.Call):
            return True
        before, after = self._data[:start].rstrip(), self._data[end:].lstrip()
        if before.endswith(b"(") and after.startswith(b")"):
            return False
        if isinstance(parent, ast.comprehension):
            return isinstance(new, ast.IfExp | ast.Lambda)
        outer = _binding(parent, field)
        if isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Pow):
            return binding(new) < outer or (binding(new) == outer and field == "right")
        return binding(new) <= outer

    def spelled(self, new: ast.AST) -> str:
        """Text of a new node, in which nodes of the source keep theirs."""
        kept: list[str] = []
        marked = self._marked(new, kept)
        text = ast.unparse(marked)
        return re.sub(r"_planish_(\d+)_", lambda found: kept[int(found[1])], text)

    def _marked(self, node: ast.AST, kept: list[str]) -> ast.AST:
        whole = isinstance(node, ast.expr) and not isinstance(node, _COMPOUND)
        if whole and node in self.parents and node not in self._inside:
            text = self.segment(node)
            plain = not isinstance(node, ast.Constant | ast.JoinedStr) or "\n" not in text
            if plain:
                kept.append(text)
                return ast.Name(f"_planish_{len(kept) - 1}_", ast.Load())
        if isinstance(node, ast.JoinedStr):
            return node
        made = copy.copy(node)
        if isinstance(made, ast.stmt) and not hasattr(made, "lineno"):
            made.lineno = 0  # which unparse looks for
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                setattr(made, field, self._marked(value, kept))
            elif isinstance(value, list):
                items = [self._marked(x, kept) if isinstance(x, ast.AST) else x for x in value]
                setattr(made, field, items)
        return made

    # ---- statements

    def patched(self, patches: Sequence[Patch]) -> str:
        """The text with the statements changed; as few lines as can be are touched."""
        if all(self._alone(patch.at) for patch in patches):
            return self._by_lines(patches)
        chains = [[*self.up(patch.at)] for patch in patches]
        common = [node for node in chains[0] if all(node in chain for chain in chains)]
        for owner in common:
            if isinstance(owner, ast.stmt) and self._alone(owner):
                new = _rebuilt(owner, {id(patch.at): patch for patch in patches})
                assert isinstance(new, ast.stmt)
                return self._by_lines([Patch(owner, "instead", (new,))])
        whole = _rebuilt(self.tree, {id(patch.at): patch for patch in patches})
        return self.spelled(whole) + "\n"

    def _by_lines(self, patches: Sequence[Patch]) -> str:
        made = []
        for patch in patches:
            begin, end = _first(patch.at) - 1, patch.at.end_lineno or patch.at.lineno
            indent = self._indent(patch.at)
            new = [line for item in patch.items for line in self._lines_of(item, indent)]
            if patch.where == "instead":
                alone = len(self.block(patch.at)) == 1
                made.append((begin, end, new if new or not alone else [f"{indent}pass"]))
            else:
                at = begin if patch.where == "before" else end
                made.append((at, at, new))
        lines = list(self.lines)
        for begin, end, new in sorted(made, key=lambda each: (-each[0], -each[1])):
            lines[begin:end] = new
        return "\n".join(lines)

    def _lines_of(self, item: ast.stmt, indent: str) -> list[str]:
        if item in self.parents and self._alone(item):
            lines = self.lines[_first(item) - 1 : item.end_lineno]
            own = self._indent(item)
            if own == indent:
                return lines
            if not _has_long_text(item) and all(
                line.startswith(own) or not line.strip() for line in lines
            ):
                return [indent + line.removeprefix(own) if line else line for line in lines]
        return textwrap.indent(self.spelled(item), indent).split("\n")

    def _indent(self, statement: ast.stmt) -> str:
        line = self.lines[_first(statement) - 1]
        return line[: len(line) - len(line.lstrip())]

    def _alone(self, statement: ast.stmt) -> bool:
        """Whether it has its lines for itself."""
        start, end = self._span(statement)
        before = self._data[self._starts[statement.lineno - 1] : start]
        line_end = self._starts[statement.end_lineno or statement.lineno] - 1
        after = self._data[end:line_end].strip()
        is_elif = self._data[start : start + 4] == b"elif"
        return not before.strip() and (not after or after.startswith(b"#")) and not is_elif


def children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Nodes right below it with their fields; marks of context and operators left out."""
    for field, value in ast.iter_fields(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and not isinstance(
                each, ast.expr_context | ast.operator | ast.boolop | ast.unaryop | ast.cmpop
            ):
                yield field, each


def substituted(root: ast.expr, node: ast.expr, new: ast.expr) -> ast.expr:
    """A copy of an expression with another one in the place of a part of it."""

    def copied(each: Any) -> Any:
        if each is node:
            return new
        if isinstance(each, list):
            return [copied(x) for x in each]
        if not isinstance(each, ast.AST) or not any(below is node for below in ast.walk(each)):
            return each
        made = copy.copy(each)
        for field, value in ast.iter_fields(each):
            setattr(made, field, copied(value))
        return made

    result = copied(root)
    assert isinstance(result, ast.expr)
    return result


def binding(node: ast.AST) -> int:
    """How tightly an expression holds together; an atom does most."""
    if isinstance(node, ast.BinOp):
        return _BINDS[type(node.op)]
    if isinstance(node, ast.BoolOp):
        return 1 if isinstance(node.op, ast.Or) else 2
    if isinstance(node, ast.UnaryOp):
        return 3 if isinstance(node.op, ast.Not) else 11
    if isinstance(node, ast.Compare):
        return 4
    if isinstance(node, ast.IfExp | ast.Lambda | ast.NamedExpr | ast.Yield | ast.YieldFrom):
        return 0
    return 13 if isinstance(node, ast.Await) else _ATOM


def _binding(parent: ast.AST, field: str) -> int:
    """How tightly what stands in this place must hold together."""
    if isinstance(parent, ast.IfExp):
        return 0
    if isinstance(parent, ast.BinOp | ast.BoolOp | ast.Compare | ast.UnaryOp | ast.Await):
        return binding(parent)
    if isinstance(parent, ast.Attribute) or (
        isinstance(parent, ast.Call | ast.Subscript) and field in ("func", "value")
    ):
        return 14
    return 4 if isinstance(parent, ast.Starred) else -1


def _first(statement: ast.stmt) -> int:
    """Its first line, decorators counted."""
    decorators: Iterable[ast.expr] = getattr(statement, "decorator_list", ())
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _has_long_text(statement: ast.stmt) -> bool:
    return any(
        isinstance(node, ast.Constant | ast.JoinedStr) and node.end_lineno != node.lineno
        for node in ast.walk(statement)
    )


def _rebuilt(node: ast.AST, patches: dict[int, Patch]) -> ast.AST:
    """A copy of the tree with the statements changed."""
    made = copy.copy(node)
    for field, value in ast.iter_fields(node):
        if isinstance(value, list) and any(isinstance(each, ast.stmt) for each in value):
            new: list[ast.AST] = []
            for each in value:
                patch = patches.get(id(each))
                if patch is None:
                    new.append(_rebuilt(each, patches))
                elif patch.where == "instead":
                    new.extend(patch.items)
                else:
                    both = [_rebuilt(each, {k: v for k, v in patches.items() if v is not patch})]
                    items: list[ast.AST] = list(patch.items)
                    new.extend(items + both if patch.where == "before" else both + items)
            setattr(made, field, new or [ast.Pass()])
        elif isinstance(value, list):
            rest = [_rebuilt(x, patches) if isinstance(x, ast.AST) else x for x in value]
            setattr(made, field, rest)
    return made
