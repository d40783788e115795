"""What the text of code has in common with that of its reference, without running either.

ast_diff("a = 1\\nb = a\\n", "b = a\\na = 1\\n").reordered  # True
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["AstDiff", "ast_diff"]


@dataclass(frozen=True)
class AstDiff:
    """Two pieces of code beside each other.

    Args:
        share: of the structure that they have in common, names and numbers aside, 0 to 1.
        reordered: the same statements, in another order.
    """

    share: float = 0.0
    reordered: bool = False


def ast_diff(reference: str, code: str) -> AstDiff:
    """Compares statements (of compound ones the heads) and structure.

    Args:
        reference, code: Python; what cannot be parsed, or is nested too deeply to be gone through,
            has nothing in common with anything.
    """
    one, other = _parsed(reference), _parsed(code)
    if one is None or other is None:
        return AstDiff()
    try:
        left, right = list(_statements(one)), list(_statements(other))
        share = _share(Counter(_edges(one)), Counter(_edges(other)))
    except RecursionError:
        return AstDiff()
    return AstDiff(share=share, reordered=left != right and Counter(left) == Counter(right))


def _parsed(code: str) -> ast.Module | None:
    try:
        return ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _statements(node: ast.AST) -> Iterator[str]:
    """Texts in the order of the code; a docstring is no statement."""
    for child in ast.iter_child_nodes(node):
        if _idle(child):
            continue
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield _head(child)
            yield from _statements(child)


def _idle(node: ast.AST) -> bool:
    """A docstring, or what stands beside every name and does nothing."""
    alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return alone or isinstance(node, ast.expr_context)


def _head(statement: ast.AST) -> str:
    parts = [type(statement).__name__]
    for name, value in ast.iter_fields(statement):
        if name in ("body", "orelse", "handlers", "finalbody", "cases", "type_comment"):
            continue
        for each in value if isinstance(value, list) else [value]:
            # Operators alone have no text of their own.
            text = ast.unparse(each) if isinstance(each, ast.AST) else repr(each)
            parts.append(text or type(each).__name__)
    return " ".join(parts)


def _edges(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Kind of each node, where it hangs, and the kind it hangs on."""
    for node in ast.walk(tree):
        if _idle(node):
            continue
        for name, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST) and not _idle(each):
                    yield type(node).__name__, name, type(each).__name__


def _share(one: Counter[tuple[str, str, str]], other: Counter[tuple[str, str, str]]) -> float:
    both = one.total() + other.total()
    return 2 * (one & other).total() / both if both else 1.0
