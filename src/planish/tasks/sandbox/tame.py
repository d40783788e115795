"""Tells programs that can leave nothing behind in their process, by reading them.

    >>> tame("def f(x):\\n    return sorted(x)[0]\\n"), tame("import os\\n")
    (True, False)

To start a process costs several times what a small program does. Programs that are tame may share
one, one after the other: they are made of plain statements, and name nothing but plain functions
and the methods of plain values. None of these changes anything that another program would see.
Whatever is not on the lists below is not tame, and gets a process of its own. The walls around all
of them are the same: this decides who shares a room, not who is locked up.
"""

from __future__ import annotations

import ast
import bisect
import builtins
import collections
import heapq
import itertools
import math
import string
import warnings

__all__ = ["parsed", "tame"]

_MAX_CHARS = 20_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STATEMENTS = (
    ast.Module, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Return, ast.Assign,
    ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.Pass, ast.Break, ast.Continue,
    ast.Expr, ast.Raise, ast.Try, ast.ExceptHandler, ast.Assert, ast.Global, ast.Nonlocal,
    ast.Delete, ast.Import, ast.ImportFrom, ast.alias, ast.BoolOp, ast.BinOp, ast.UnaryOp,
    ast.IfExp, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
    ast.comprehension, ast.Yield, ast.YieldFrom, ast.Compare, ast.Call, ast.keyword, ast.Starred,
    ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Name, ast.List, ast.Tuple, ast.NamedExpr, ast.expr_context, ast.boolop, ast.operator,
    ast.unaryop, ast.cmpop,
)  # fmt: skip

_BUILTINS = _words(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter "
    "float format frozenset hash hex int isinstance issubclass iter len list map max min next oct "
    "ord pow range repr reversed round set slice sorted str sum tuple zip type Ellipsis "
    "NotImplemented"
) | {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
}
"""No `print`: what was printed is told for each program."""

_EVERY_BUILTIN = frozenset(dir(builtins))

_MODULES: dict[str, frozenset[str]] = {
    "math": frozenset(one for one in dir(math) if one[0] != "_"),
    "itertools": frozenset(one for one in dir(itertools) if one[0] != "_"),
    "heapq": frozenset(heapq.__all__),
    "bisect": frozenset(one for one in dir(bisect) if one[0] != "_"),
    "collections": frozenset({"Counter", "defaultdict", "deque", "OrderedDict"}),
    "functools": frozenset({"reduce", "lru_cache", "cache", "cmp_to_key"}),
    "re": _words(
        "compile escape findall finditer fullmatch match search split sub subn "
        "I IGNORECASE M MULTILINE S DOTALL"
    ),
    "string": frozenset(
        one for one in dir(string) if one[0] != "_" and type(getattr(string, one)) is str
    ),
    "hashlib": frozenset({"md5", "sha1", "sha256"}),
    "statistics": frozenset({"mean", "median", "mode", "stdev", "pstdev", "variance"}),
    "typing": _words(
        "Any Callable DefaultDict Deque Dict FrozenSet Generator Iterable Iterator List Mapping "
        "Optional Sequence Set Tuple Union"
    ),
}
"""What may be imported, and what of it; none of it keeps anything."""

_PLAIN = (
    bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range,
    collections.Counter, collections.defaultdict, collections.deque, collections.OrderedDict,
)  # fmt: skip

_ATTRIBUTES = frozenset(
    {one for kind in _PLAIN for one in dir(kind) if one[0] != "_"}
    | set().union(*_MODULES.values())
    | {"group", "groups", "groupdict", "span", "hexdigest", "digest"}
) - {"format", "format_map"}
"""`format` of a text can read any attribute of what it formats."""


def tame(code: str) -> bool:
    """Whether a program may share a process with others that are tame as well."""
    if len(code) > _MAX_CHARS:
        return False
    try:
        nodes = list(ast.walk(parsed(code)))
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return False
    kinds = set(map(type, nodes))
    if ast.Try in kinds and kinds & {ast.Yield, ast.YieldFrom}:
        return False  # what it does when it is let go of may come in another one's time
    named = sum(1 for node in nodes if isinstance(node, ast.Name) and node.id == "type")
    return _compared(nodes) == named and all(map(_is_tame, nodes))


def parsed(code: str) -> ast.Module:
    """The tree of somebody else's code; no warning is let out.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError, SystemError: it is no Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an odd escape in somebody else's text
        for _ in range(5):
            try:
                return ast.parse(code)
            except SystemError:  # before 3.11.8, where another thread parses at the same time
                continue
        return ast.parse(code)


def _compared(nodes: list[ast.AST]) -> int:
    """How often a type is asked for only to be compared: called, `type(type(1))` makes classes."""
    sides = [
        side
        for node in nodes
        if isinstance(node, ast.Compare)
        for side in (node.left, *node.comparators)
    ]
    return sum(
        1
        for side in sides
        if isinstance(side, ast.Call)
        and isinstance(side.func, ast.Name)
        and side.func.id == "type"
        and len(side.args) == 1
        and not side.keywords
        and not isinstance(side.args[0], ast.Starred)
    )


def _is_tame(node: ast.AST) -> bool:
    if not isinstance(node, _STATEMENTS):
        return False
    if isinstance(node, ast.Name):
        if node.id.startswith("__"):
            return node.id == "__name__"
        return node.id not in _EVERY_BUILTIN or node.id in _BUILTINS
    if isinstance(node, ast.Attribute):
        return isinstance(node.ctx, ast.Load) and node.attr in _ATTRIBUTES
    if isinstance(node, ast.Import):
        return all(one.name in _MODULES for one in node.names)
    if isinstance(node, ast.ImportFrom):
        allowed = _MODULES.get(node.module or "", frozenset())
        return not node.level and all(one.name in allowed for one in node.names)
    if isinstance(node, ast.alias | ast.arg | ast.FunctionDef | ast.ExceptHandler | ast.keyword):
        names = [getattr(node, one, None) or "" for one in ("name", "asname", "arg")]
        return not any(one.startswith("__") for one in names)
    if isinstance(node, ast.Global | ast.Nonlocal):
        return not any(one.startswith("__") for one in node.names)
    return True
