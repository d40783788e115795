"""What Python source defines and uses, without running it.

defined("def f(x):\\n    return g(x)\\n")  # {"f"}
free_names("def f(x):\\n    return g(x)\\n")  # {"g"}
"""

from __future__ import annotations

import ast
import builtins
import symtable
import warnings

from planish.tasks.sandbox.tame import parsed

__all__ = ["bindings", "compiles", "defined", "free_names", "parse", "tree_text", "without"]

_BUILTINS = frozenset(dir(builtins))


def parse(source: str) -> ast.Module | None:
    """The tree, or None where it is no Python: broken, NUL, half a character, too deep."""
    try:
        return parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None


def compiles(source: str) -> bool:
    """Whether Python takes it: `return` outside of a function has a tree, and is refused."""
    if parse(source) is None:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(source, "source", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
            return False
    return True


def tree_text(source: str) -> str:
    """The tree as text, the same whatever layout and comments; of what is no Python, the source."""
    tree = parse(source)
    if tree is not None:
        try:
            return ast.dump(tree)
        except (RecursionError, MemoryError):
            pass
    return source


def bindings(statement: ast.stmt) -> frozenset[str]:
    """The names that a statement at the top of a module binds."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return frozenset({statement.name})
        case ast.Import() | ast.ImportFrom():
            names = (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
            return frozenset(names)
        case _:
            return frozenset(
                node.id
                for node in ast.walk(statement)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            )


def defined(source: str) -> frozenset[str]:
    """The names that a module binds at its top; none where it is no Python."""
    tree = parse(source)
    if tree is None:
        return frozenset()
    return frozenset(name for statement in tree.body for name in bindings(statement))


def free_names(source: str) -> frozenset[str]:
    """The names that a module uses and neither binds nor finds among the builtins."""
    if parse(source) is None:
        return frozenset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        top = symtable.symtable(source, "source", "exec")
    known = {each.get_name() for each in top.get_symbols() if _is_bound(each)}
    found: set[str] = set()
    tables = [top]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            outside = table is top or symbol.is_global()
            if outside and symbol.is_referenced():
                found.add(symbol.get_name())
    return frozenset(found - known - _BUILTINS)


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def without(source: str, name: str) -> str:
    """The module without the function of this name at its top; "" where it is no Python."""
    tree = parse(source)
    if tree is None:
        return ""
    kept = [statement for statement in tree.body if name not in bindings(statement)]
    return ast.unparse(ast.Module(kept, [])) + "\n" if kept else ""
