"""How many arguments a function takes, read off its source.

positional("def f(x, y=0): ...", "f")  # range(1, 3)
"""

from __future__ import annotations

import ast
import sys

from planish.methods.mistakes.loading.sources import bindings, parse

__all__ = ["positional", "told"]

_ANY = sys.maxsize


def positional(source: str, name: str) -> range | None:
    """How many positional arguments a function at the top of a module takes.

    None where that is not to be read: no such function, more than one binding of the name, a
    decorator that may change it, or arguments that must be named.
    """
    tree = parse(source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [] if tree is None else [s for s in tree.body if name in bindings(s)]
    if len(found) != 1 or not isinstance(found[0], functions) or found[0].decorator_list:
        return None
    given = found[0].args
    if any(default is None for default in given.kw_defaults):
        return None
    most = len(given.posonlyargs) + len(given.args)
    return range(most - len(given.defaults), _ANY if given.vararg else most + 1)


def told(taken: range) -> str:
    """The numbers, as they are read."""
    if taken.stop == _ANY:
        return f"{taken.start} or more"
    return f"{taken.start}" if len(taken) == 1 else f"{taken.start} to {taken.stop - 1}"
