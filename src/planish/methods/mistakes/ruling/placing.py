"""What the places are like in which a program's tree differs from the reference's.

    evidence = list(places(task, code))

Both trees are gone through together, from above, down to the smallest parts that differ. What took
a part's place says more than what the whole is made of: where one expression stands in another's
place, with the same variables in it, and one of the two calls the library, it is the use of the
library that is in question, whatever indices and numbers came along. Code that is written in
another way than the reference differs from it everywhere; so all of this counts by how much
structure the two share.
"""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from planish.methods.mistakes.data import Category, CodeTask, Evidence
from planish.methods.mistakes.observing.structure import ast_diff
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.source import read
from planish.methods.mistakes.ruling.reading import is_library_call

__all__ = ["places"]

Part = ast.AST | list[ast.AST]
"""A node, or neighbours in a list of nodes; an empty list where there is nothing."""


@dataclass(frozen=True)
class _Above:
    """A node of the reference, that of the code beside it, and the field that a part stands in."""

    wanted: ast.AST
    node: ast.AST
    name: str


@dataclass(frozen=True)
class _Place:
    """A part of the reference, and what the code has there; above: from the root down."""

    wanted: Part
    part: Part
    above: tuple[_Above, ...]


_KINDS: dict[str, tuple[Category, str]] = {
    "call not made": ("MLA", "a call is named and not made"),
    "other arguments": ("MLA", "a call is given other arguments"),
    "call for call": ("MLA", "a call stands in another one's place"),
    "call for expression": ("MLA", "one calls the library where the other does not"),
    "call in a test": ("MLA", "a test calls the library, in one of the two"),
    "call for formula": ("MFLE", "one calculates where the other calls the library"),
    "formula": ("MFLE", "another formula stands there"),
    "call around": ("MOFE", "a call is put around something, or left out"),
    "test": ("CE", "something else is tested"),
    "more or less": ("CE", "something is too much there, or missing"),
    "index": ("IOM", "another index or slice stands there"),
    "something else": ("GC", "something else stands there"),
}
"""Kind of place -> what it speaks for (ours), and in words."""

_TESTS = {(ast.If, "test"), (ast.While, "test"), (ast.IfExp, "test"), (ast.comprehension, "ifs")}


def places(task: CodeTask, code: str) -> Iterator[Evidence]:
    """Evidence of the places in which the code differs from the reference, by their kind.

    None of code that cannot be read, or is nested too deeply to be gone through.
    """
    reference, source = read(task.reference), read(code)
    if reference is None or source is None:
        return
    foreign = _take_imports(source.tree) - _take_imports(reference.tree)
    try:
        found = _lifted(list(_differing(reference.tree, source.tree, ())))
    except RecursionError:
        return
    if foreign:
        yield Evidence(
            rule="foreign import",
            category="MLA",
            strength=1.0,
            note="It imports what the reference does without.",
        )
    if not found:
        return
    near = ast_diff(task.reference, code).share
    kinds: Counter[str] = Counter()
    for place in found:
        for kind, weight in _kinds(place):
            kinds[kind] += weight  # type: ignore[assignment]
    for kind, weight in kinds.items():
        category, words = _KINDS[kind]
        if weight:
            yield Evidence(
                rule=f"place: {kind}",
                category=category,
                strength=min(1.0, near * weight / len(found)),
                note=f"In {len(found)} places it differs from the reference; {words}.",
            )
    yield Evidence(
        rule="many places",
        category="GC",
        strength=near * (1 - 1 / len(found)),
        note=f"It differs from the reference in {len(found)} places.",
    )


def _take_imports(tree: ast.Module) -> set[str]:
    """Takes docstrings and imports out of a tree, and returns the modules that were imported.

    A block is left as it is where nothing else stands in it.
    """
    modules: set[str] = set()
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if not isinstance(block, list):
                continue
            if name == "body" and isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                block = block[1:] if len(block) > 1 and _is_text(block[0]) else block
            kept = [each for each in block if not isinstance(each, ast.Import | ast.ImportFrom)]
            for each in block:
                if isinstance(each, ast.Import):
                    modules |= {alias.name for alias in each.names}
                elif isinstance(each, ast.ImportFrom):
                    modules.add(each.module or ".")
            setattr(node, name, kept or block)
    return modules


def _is_text(statement: ast.AST) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


# ---- where they differ -----------------------------------------------------------------------


def _differing(wanted: ast.AST, node: ast.AST, above: tuple[_Above, ...]) -> Iterator[_Place]:
    """The smallest parts that differ; a node itself where its own name, value or operator does."""
    if ast.dump(wanted) == ast.dump(node):
        return
    whole = _Place(wanted, node, above)
    if type(wanted) is not type(node):
        yield whole
        return
    inside: list[_Place] = []
    for name, one in ast.iter_fields(wanted):
        other: Any = getattr(node, name, None)
        below = (*above, _Above(wanted, node, name))
        if isinstance(one, ast.expr_context):
            continue
        if _is_part(one) and _is_part(other):
            inside += _differing(one, other, below)
        elif _are_parts(one) and _are_parts(other):
            inside += _beside(one, other, below)
        elif _text(one) != _text(other):
            yield whole
            return
    yield from inside


def _beside(
    wanted: Sequence[ast.AST], nodes: Sequence[ast.AST], above: tuple[_Above, ...]
) -> Iterator[_Place]:
    """Lists beside each other: what is as long in both is gone through in pairs."""
    one, other = [_text(each) for each in wanted], [_text(each) for each in nodes]
    for tag, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        if b - a == d - c:
            for left, right in zip(wanted[a:b], nodes[c:d], strict=True):
                yield from _differing(left, right, above)
        else:
            yield _Place(list(wanted[a:b]), list(nodes[c:d]), above)


def _is_part(value: object) -> bool:
    """Whether something is a node that may have another one in its place; operators have none."""
    return isinstance(value, ast.AST) and not isinstance(
        value, ast.operator | ast.cmpop | ast.boolop | ast.unaryop
    )


def _are_parts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_part, value))


def _text(value: object) -> str:
    if isinstance(value, list):
        return repr([_text(each) for each in value])
    return ast.dump(value) if isinstance(value, ast.AST) else repr(value)


def _lifted(found: Sequence[_Place]) -> list[_Place]:
    """Where a callee differs, or the number of arguments, the whole call does, and it does once."""
    calls = {
        id(place.above[-1].wanted)
        for place in found
        if place.above
        and isinstance(place.above[-1].wanted, ast.Call)
        and (place.above[-1].name == "func" or isinstance(place.part, list))
    }
    kept: dict[tuple[int, ...], _Place] = {}
    for place in found:
        while place.above and id(place.above[-1].wanted) in calls:
            last = place.above[-1]
            place = _Place(last.wanted, last.node, place.above[:-1])
        kept.setdefault((*map(id, _listed(place.wanted)), 0, *map(id, _listed(place.part))), place)
    return list(kept.values())


def _listed(part: Part) -> list[ast.AST]:
    return part if isinstance(part, list) else [part]


# ---- what a place is like --------------------------------------------------------------------


def _kinds(place: _Place) -> Iterator[tuple[str, float]]:
    """Kinds of a place, with how much each counts, 0 to 1."""
    wanted, part = _core(place.wanted), _core(place.part)
    if isinstance(wanted, list) or isinstance(part, list):
        yield "more or less", 1.0
        return
    tested = _is_tested(place.above)
    both = (wanted, part)
    unmade = isinstance(wanted, ast.Call) and isinstance(part, ast.Attribute)
    if unmade or any(isinstance(each, ast.Call) and is_library_call(each) for each in both):
        yield _kind_of_call(wanted, part), _alike(wanted, part)
        if tested:
            yield "call in a test", 1.0
    elif tested:
        yield "test", 1.0
    elif isinstance(wanted, ast.AugAssign) or any(map(_is_formula, both)):
        yield "formula", 1.0
    elif any(isinstance(each, ast.Subscript) for each in both) or any(
        isinstance(each.wanted, ast.Subscript) and each.name == "slice" for each in place.above[-4:]
    ):
        yield "index", 1.0
    else:
        yield "something else", 1.0


def _kind_of_call(wanted: ast.AST, part: ast.AST) -> str:
    if _holds(wanted, part) or _holds(part, wanted):
        unmade = isinstance(wanted, ast.Call) and isinstance(part, ast.Attribute)
        return "call not made" if unmade else "call around"
    if isinstance(wanted, ast.Call) and isinstance(part, ast.Call):
        same = function_name(wanted) == function_name(part)
        return "other arguments" if same else "call for call"
    if _is_formula(wanted) or _is_formula(part):
        return "call for formula"
    return "call for expression"


def _core(part: Part) -> Part:
    """An expression without the statement that it alone is, and without a `not`."""
    if isinstance(part, list):
        return _core(part[0]) if len(part) == 1 else part
    if isinstance(part, ast.Expr):
        return _core(part.value)
    if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
        return _core(part.operand)
    return part


def _is_formula(node: ast.AST) -> bool:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    return negative or isinstance(node, ast.BinOp)


def _is_tested(above: Sequence[_Above]) -> bool:
    for each in reversed(above):
        if (type(each.wanted), each.name) in _TESTS:
            return True
        if isinstance(each.wanted, ast.stmt):
            return False
    return False


def _holds(large: ast.AST, small: ast.AST) -> bool:
    text = ast.dump(small)
    return any(ast.dump(each) == text for each in ast.walk(large) if each is not large)


def _alike(one: ast.AST, other: ast.AST) -> float:
    """Share of the variables in either that are in both."""
    left, right = _variables(one), _variables(other)
    return len(left & right) / len(left | right) if left | right else 1.0


def _variables(node: ast.AST) -> set[str]:
    names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
    return {name for name in names if not hasattr(builtins, name)}
