"""Tells programs that can leave nothing behind in their process, by reading them.

    >>> tame("def f(x):\\n    return sorted(x)[0]\\n"), tame("import os\\n")
    (True, False)

To start a process costs several times what a small program does. Programs that are tame may share
one, one after the other: they are made of plain statements, and name nothing but plain functions
and the methods of plain values. None of these changes anything that another program would see.
Whatever is not on the lists below is not tame, and gets a process of its own. The walls around all
of them are the same: this decides who shares a room, not who is locked up. One that prints shares a
process only where what it printed is kept apart (`trying.py`).
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
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ATTRIBUTES",
    "BUILTINS",
    "EVERY_BUILTIN",
    "MAX_CHARS",
    "MODULES",
    "Tame",
    "parsed",
    "read",
    "tame",
]

MAX_CHARS = 20_000


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_KINDS: frozenset[type[ast.AST]] = frozenset((
    ast.Module, ast.FunctionDef, ast.Lambda, ast.arguments, ast.arg, ast.Return, ast.Assign,
    ast.AugAssign, ast.AnnAssign, ast.For, ast.While, ast.If, ast.Pass, ast.Break, ast.Continue,
    ast.Expr, ast.Raise, ast.Try, ast.ExceptHandler, ast.Assert, ast.Global, ast.Nonlocal,
    ast.Delete, ast.Import, ast.ImportFrom, ast.alias, ast.BoolOp, ast.BinOp, ast.UnaryOp,
    ast.IfExp, ast.Dict, ast.Set, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
    ast.comprehension, ast.Yield, ast.YieldFrom, ast.Compare, ast.Call, ast.keyword, ast.Starred,
    ast.FormattedValue, ast.JoinedStr, ast.Constant, ast.Attribute, ast.Subscript, ast.Slice,
    ast.Name, ast.List, ast.Tuple, ast.NamedExpr,
))  # fmt: skip

"""Of nodes that are allowed, without what stands for a context or an operator."""

_NAMING = frozenset({ast.alias, ast.arg, ast.FunctionDef, ast.ExceptHandler, ast.keyword})

_PLAIN_FIELDS = _words(
    "ctx op ops id attr module level type_comment simple conversion is_async arg name asname"
)
_INSIDE = {kind: tuple(one for one in kind._fields if one not in _PLAIN_FIELDS) for kind in _KINDS}
"""Where in a node of a kind other nodes can be."""

BUILTINS = _words(
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter "
    "float format frozenset hash hex int isinstance issubclass iter len list map max min next oct "
    "ord pow print range repr reversed round set slice sorted str sum tuple zip type Ellipsis "
    "NotImplemented"
) | {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
}

EVERY_BUILTIN = frozenset(dir(builtins))

MODULES: dict[str, frozenset[str]] = {
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

ATTRIBUTES = frozenset(
    {one for kind in _PLAIN for one in dir(kind) if one[0] != "_"}
    | set().union(*MODULES.values())
    | {"group", "groups", "groupdict", "span", "hexdigest", "digest"}
) - {"format", "format_map"}
"""`format` of a text can read any attribute of what it formats, unless its fields are plain."""


@dataclass(frozen=True)
class Tame:
    """A program that is tame.

    Args:
        prints: it names `print`.
        tree: of it, where it was read.
    """

    prints: bool
    tree: ast.Module | None = None


def tame(code: str) -> bool:
    """Whether a program may share a process with others that are tame as well."""
    found = read(code)
    return found is not None and not found.prints


def read(code: str) -> Tame | None:
    """Reads a program; None of one that is not tame."""
    if len(code) > MAX_CHARS:
        return None
    try:
        tree = parsed(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None
    return _read(tree)


def _read(tree: ast.Module) -> Tame | None:
    # every program that is run comes by here: `ast.walk` would take three times as long
    kinds: set[type] = set()
    named = compared = 0
    prints = False
    nodes: list[Any] = [tree]
    while nodes:
        node = nodes.pop()
        kind = type(node)
        if kind is ast.Constant or node is None or kind is str:
            continue  # a row of a tree may hold gaps, and names
        if kind not in _KINDS or not _is_tame(node, kind):
            return None
        if kind is ast.Name:
            named += node.id == "type"
            prints = prints or node.id == "print"
            continue
        kinds.add(kind)
        if kind is ast.Compare:
            compared += sum(map(_asks_type, (node.left, *node.comparators)))
        for name in _INSIDE[kind]:
            held = getattr(node, name)
            if type(held) is list:
                nodes += held
            else:
                nodes.append(held)
    if ast.Try in kinds and (ast.Yield in kinds or ast.YieldFrom in kinds):
        return None  # what it does when it is let go of may come in another one's time
    return Tame(prints, tree) if named == compared else None


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


def _asks_type(side: ast.expr) -> bool:
    """Whether a type is asked for only to be compared: called, `type(type(1))` makes classes."""
    return (
        isinstance(side, ast.Call)
        and isinstance(side.func, ast.Name)
        and side.func.id == "type"
        and len(side.args) == 1
        and not side.keywords
        and not isinstance(side.args[0], ast.Starred)
    )


def _is_tame(node: Any, kind: type) -> bool:
    """Whether the names in a node, of a kind that is allowed, are harmless."""
    if kind is ast.Name:
        if node.id.startswith("__"):
            return bool(node.id == "__name__")
        return node.id not in EVERY_BUILTIN or node.id in BUILTINS
    if kind is ast.Attribute:
        if type(node.ctx) is not ast.Load:
            return False
        return node.attr in ATTRIBUTES or (node.attr == "format" and _has_plain_fields(node.value))
    if kind is ast.Import:
        return all(one.name in MODULES for one in node.names)
    if kind is ast.ImportFrom:
        allowed = MODULES.get(node.module or "", frozenset())
        return not node.level and all(one.name in allowed for one in node.names)
    if kind in _NAMING:
        names = [getattr(node, one, None) or "" for one in ("name", "asname", "arg")]
        return not any(one.startswith("__") for one in names)
    if kind is ast.Global or kind is ast.Nonlocal:
        return not any(one.startswith("__") for one in node.names)
    return True


def _has_plain_fields(node: ast.expr) -> bool:
    """Whether this is a text in braces of which stands no more than a name or a number."""
    if not isinstance(node, ast.Constant) or type(node.value) is not str:
        return False
    todo = [node.value]
    try:
        while todo:
            for _, name, inner, _ in string.Formatter().parse(todo.pop()):
                if name and not (name.isascii() and name.replace("_", "").isalnum()):
                    return False
                todo += [inner] if inner else []
    except ValueError:
        return False
    return True
