"""What built-ins and the standard library really do, where code often takes them for other things.

    >>> [fact.name for fact in facts_about("words = text.split('[,;]')")]
    ['str.split']

Own words; every fact carries a check that the tests run.
"""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterable
from importlib import resources

from planish.records import Record

__all__ = ["ApiFact", "api_facts", "facts_about"]


class ApiFact(Record):
    """One thing to know about one call.

    Args:
        name: of what is called, with its type or module; text: what is told; check: source whose
            assertions hold if the fact does.
    """

    name: str
    text: str
    check: str

    @property
    def called(self) -> str:
        """The last part of the name, as it stands in code."""
        return self.name.rpartition(".")[2]


@functools.cache
def api_facts() -> tuple[ApiFact, ...]:
    """All of them, in the order of the file."""
    text = resources.files(__package__).joinpath("api_facts.toml").read_text(encoding="utf-8")
    return tuple(ApiFact.model_validate(row) for row in tomllib.loads(text)["fact"])


def facts_about(*codes: str, prompt: str = "") -> tuple[ApiFact, ...]:
    """Facts about what the code calls, those that most pieces of code call first; then about what
    the prompt names in backquotes or with brackets."""
    counts = dict.fromkeys(api_facts(), 0)
    for code in codes:
        used = _used(code)
        for fact in counts:
            counts[fact] += any(_same_call(fact.name, each) for each in used)
    for fact in counts:
        called = re.escape(fact.called)
        # A bare word such as int or max is a type, or anybody's name.
        whole = rf"\b{re.escape(fact.name)}\b" if "." in fact.name else rf"\b{called}\("
        if not counts[fact] and re.search(rf"({whole}|`{called}(\(\))?`)", prompt):
            counts[fact] = 1
    found = [fact for fact, count in counts.items() if count]
    return tuple(sorted(found, key=lambda fact: -counts[fact]))


def _used(code: str) -> frozenset[str]:
    """Dotted names of what is called: `.split` for a method of who knows what."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(_dotted(tree))


def _dotted(tree: ast.AST) -> Iterable[str]:
    imported: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {
                each.asname or each.name: f"{node.module}.{each.name}" for each in node.names
            }
        elif isinstance(node, ast.Import):
            imported |= {each.asname or each.name: each.name for each in node.names}
    annotations = {id(part) for each in _annotations(tree) for part in ast.walk(each)}
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield imported.get(node.id, node.id)
        elif isinstance(node, ast.Attribute):
            owner = node.value
            module = imported.get(owner.id) if isinstance(owner, ast.Name) else None
            yield f"{module}.{node.attr}" if module else f".{node.attr}"


def _annotations(tree: ast.AST) -> Iterable[ast.expr]:
    """Types are named there, and not called."""
    for node in ast.walk(tree):
        for each in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(each, ast.expr):
                yield each


_METHODS = ("str.", "list.", "dict.")


def _same_call(fact: str, used: str) -> bool:
    if fact == used:
        return True
    # What a method belongs to cannot be seen; a module's function is called by its module.
    return (
        used.startswith(".") and fact.startswith((*_METHODS, "datetime.")) and fact.endswith(used)
    )
