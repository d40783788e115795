"""Every change of one place of a program, in the order in which they are worth trying.

    for change in mutants(code, "f", examples, suspicion):
        change.code, change.operator, change.categories

Statements of the module that only try out what it defines are taken out first (`isolated`): what
they do is no mistake of the function. Nothing here runs any code.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType
from typing import Any

from planish.methods.mistakes.repairing import (
    arithmetic,
    calls,
    conditions,
    conversions,
    formats,
    guards,
    indices,
    order,
    statements,
)
from planish.methods.mistakes.repairing.noise import noise
from planish.methods.mistakes.repairing.site import Change, Example, Site
from planish.methods.mistakes.repairing.source import read

__all__ = ["digest", "isolated", "mutants"]

_KINDS = (indices, conditions, arithmetic, calls, conversions, order, formats, statements, guards)
"""Modules of operators; a text that two of them yield goes to the first."""


def isolated(code: str) -> str:
    """The code without what only tries it out, line for line; the same text where there is none."""
    source = read(code)
    if source is None:
        return code
    tried = noise(source.tree)
    lines = source.lines
    for each in tried:
        last = each.end_lineno or each.lineno
        beside = [
            other
            for other in source.tree.body
            if other not in tried
            and not (last < other.lineno or (other.end_lineno or other.lineno) < each.lineno)
        ]
        if not beside:
            lines[each.lineno - 1 : last] = [""] * (last - each.lineno + 1)
    return "\n".join(lines) if tried else code


def mutants(
    code: str,
    entry: str,
    examples: Sequence[Example] = (),
    suspicion: Mapping[int, float] | None = None,
) -> Iterator[Change]:
    """Changes of one place; no two of the same tree, none that changes nothing.

    Args:
        code: of a module.
        entry: name of the function that is to be right.
        examples: inputs on which it fails.
        suspicion: line -> how suspicious; where it is told, changes of what no failing input runs
            are left out, since nothing can come of them.
    """
    source = read(code)
    if source is None:
        return
    site = Site(source, entry, examples)
    known = {line: value for line, value in (suspicion or {}).items() if value > 0}
    every = [change for kind in _KINDS for change in kind.changes(site) if _reached(change, known)]
    every.sort(key=lambda change: (change.wide, -_suspicion(change, known), change.line))
    seen = {digest(source.text)}
    for change in every:
        same = digest(change.code)
        if same is not None and same not in seen:
            seen.add(same)
            yield change


def digest(code: str) -> int | None:
    """Stands for what Python makes of a module: the same for any layout; None: it is no module.

    The module is compiled and not run. Equal trees have equal digests, and so have some others
    that do the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return hash(_plain(compile(code, "candidate", "exec", dont_inherit=True)))
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
            return None


def _plain(code: CodeType) -> tuple[Any, ...]:
    """A compiled module without its line numbers."""
    constants = tuple(
        _plain(each) if isinstance(each, CodeType) else (type(each), repr(each))
        for each in code.co_consts
    )
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    return (code.co_code, constants, names, code.co_flags, code.co_argcount, code.co_exceptiontable)


def _reached(change: Change, known: Mapping[int, float]) -> bool:
    first, last = change.lines
    return not known or not first or any(first <= line <= last for line in known)


def _suspicion(change: Change, known: Mapping[int, float]) -> float:
    first, last = change.lines if change.lines[0] else (change.line, change.line)
    return max((value for line, value in known.items() if first <= line <= last), default=0.0)
