"""What a program's text says beside the reference's, without running either.

    evidence = list(structure(task, code))

Code that is written in another way than the reference differs from it without being wrong, so that
these rules are weaker than the others; where nothing was mended they are all there is.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections import Counter
from collections.abc import Iterator

from planish.methods.mistakes.data import Category, CodeTask, Evidence
from planish.methods.mistakes.jobs import entry_of
from planish.methods.mistakes.observing.structure import ast_diff
from planish.methods.mistakes.repairing.roles import Roles, function_name
from planish.methods.mistakes.repairing.source import read

__all__ = ["is_library_call", "structure"]

_MODULES = (
    "bisect",
    "collections",
    "copy",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "math",
    "operator",
    "re",
    "statistics",
    "string",
    "textwrap",
)
_PLAIN_CALLS = frozenset({"len", "range", "print", "isinstance"})
_LIBRARY = frozenset(
    name
    for owner in (builtins, str, list, dict, set, tuple, *map(importlib.import_module, _MODULES))
    for name in dir(owner)
    if not name.startswith("_")
)
_IN_PLACE = frozenset(
    {"sort", "reverse", "append", "extend", "insert", "remove", "clear", "update", "add", "discard"}
)
_NEW_TEXT = frozenset(
    {"strip", "lstrip", "rstrip", "lower", "upper", "title", "replace", "capitalize", "zfill"}
)


def is_library_call(node: ast.Call) -> bool:
    """Whether a call is, by its name, one of the library that can be misused."""
    name = function_name(node)
    return name in _LIBRARY and name not in _PLAIN_CALLS


def structure(task: CodeTask, code: str) -> Iterator[Evidence]:
    """Evidence of the text, most of it from what only one of both programs has."""
    diff = ast_diff(task.reference, code)
    if diff.reordered:
        yield Evidence(
            rule="statements reordered",
            category="MOOV",
            strength=1.0,
            note="It has the statements of the reference in another order.",
        )
    yield Evidence(
        rule="little shared",
        category="GC",
        strength=1.0 - diff.share,
        note=f"{100 * diff.share:.0f} % of its structure is that of the reference.",
    )
    source, wanted = read(code), read(task.reference)
    if source is None or wanted is None:
        return
    entry = entry_of(task)
    misused = list(_misused(source.tree))
    yield from misused
    one = _inventory(wanted.tree, Roles(wanted, entry))
    other = _inventory(source.tree, Roles(source, entry))
    total = sum(((one[kind] - other[kind]) + (other[kind] - one[kind])).total() for kind in one)
    for kind, rule, category, words in _COMPARED:
        missing, extra = one[kind] - other[kind], other[kind] - one[kind]
        count = missing.total() + extra.total()
        if count:
            told = ", ".join(sorted(extra or missing)[:3])
            yield Evidence(
                rule=rule,
                category=category,
                strength=count / total,
                note=f"It differs from the reference in {words}: {told[:100]}.",
            )
    extra = other["call"] - one["call"]
    if extra:
        yield Evidence(
            rule="foreign calls",
            category="MLA",
            strength=extra.total() / (1 + extra.total()),
            note=f"It calls what the reference does not: {', '.join(sorted(extra)[:4])}.",
        )
    if total == 0 and not diff.reordered and not misused:
        yield Evidence(
            rule="same parts",
            category="MOOV",
            strength=1.0,
            note="It is made of the same parts as the reference, put together in another way.",
        )


_COMPARED: tuple[tuple[str, str, Category, str], ...] = (
    ("test", "other tests", "CE", "what it tests"),
    ("index", "other indices", "IOM", "indices, slices and ranges"),
    ("arithmetic", "other arithmetic", "MFLE", "operators and numbers"),
    ("call", "other calls", "MLA", "what it calls"),
    ("text", "other texts", "MOFE", "texts that it returns"),
)


def _inventory(tree: ast.Module, roles: Roles) -> dict[str, Counter[str]]:
    """What a program is made of, by kind; names of variables do not count."""
    found: dict[str, Counter[str]] = {kind: Counter() for kind, *_ in _COMPARED}
    inside = _within_indices(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for operator in node.ops:
                found["test"][type(operator).__name__] += 1
        elif isinstance(node, ast.BoolOp | ast.Not):
            found["test"][type(node.op if isinstance(node, ast.BoolOp) else node).__name__] += 1
        elif isinstance(node, ast.If | ast.IfExp | ast.Continue | ast.Break):
            found["test"][type(node).__name__] += 1
        elif isinstance(node, ast.Subscript):
            found["index"]["slice" if isinstance(node.slice, ast.Slice) else "index"] += 1
        elif isinstance(node, ast.BinOp):
            kind = "index" if node in inside else "arithmetic"
            if not roles.is_text(node):
                found[kind][type(node.op).__name__] += 1
        elif isinstance(node, ast.AugAssign):
            found["arithmetic"][type(node.op).__name__] += 1
        elif isinstance(node, ast.Constant):
            _constant(node, node in inside, roles, found)
        elif isinstance(node, ast.FormattedValue):
            told = ast.unparse(node.format_spec) if node.format_spec else "value"
            found["text"][told] += 1
        elif isinstance(node, ast.Call):
            _call(node, found)
        elif isinstance(node, ast.Return) and node.value is not None:
            found["text"][f"returns {type(node.value).__name__}"] += 1
    return found


def _within_indices(tree: ast.Module) -> set[ast.AST]:
    """Nodes of subscripts, and of the arguments of range and enumerate."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            inside.update(ast.walk(node.slice))
        elif isinstance(node, ast.Call) and function_name(node) in ("range", "enumerate"):
            for each in [*node.args, *node.keywords]:
                inside.update(ast.walk(each))
    return inside


def _constant(
    node: ast.Constant, inside: bool, roles: Roles, found: dict[str, Counter[str]]
) -> None:
    if isinstance(node.value, str):
        if roles.role(node) == "format":
            found["text"][repr(node.value)] += 1
    elif isinstance(node.value, bool) or node.value is None:
        found["test"][repr(node.value)] += 1
    elif isinstance(node.value, int | float):
        kind = "index" if inside else "test" if roles.is_tested(node) else "arithmetic"
        found[kind][repr(node.value)] += 1


def _call(node: ast.Call, found: dict[str, Counter[str]]) -> None:
    name = function_name(node)
    if name in ("range", "enumerate"):
        found["index"][f"{name} of {len(node.args)}"] += 1
    elif name in ("str", "format", "join", "list", "tuple"):
        found["text"][name] += 1
    elif is_library_call(node):
        found["call"][name] += 1
        for keyword in node.keywords:
            found["call"][f"{keyword.arg}="] += 1


def _misused(tree: ast.Module) -> Iterator[Evidence]:
    """Library calls of which the use contradicts what they give."""
    for node in ast.walk(tree):
        words = ""
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = function_name(node.value)
            if name in _NEW_TEXT and isinstance(node.value.func, ast.Attribute):
                words = f"{name} returns a new text, and nobody takes it"
            elif name in ("sorted", "reversed", "map", "filter") and hasattr(builtins, name):
                words = f"{name} changes nothing, and nobody takes what it returns"
        elif isinstance(node, ast.Assign | ast.Return | ast.For) and (
            called := _in_place(node.iter if isinstance(node, ast.For) else node.value)
        ):
            words = f"{called} changes its object and returns None"
        if words:
            yield Evidence(
                rule="contract",
                category="MLA",
                strength=1.0,
                line=getattr(node, "lineno", None),
                note=f"{words[0].upper()}{words[1:]}.",
            )


def _in_place(value: ast.expr | None) -> str:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        receiver = value.func.value
        if value.func.attr in _IN_PLACE and isinstance(receiver, ast.Name | ast.Call):
            return value.func.attr
    return ""
