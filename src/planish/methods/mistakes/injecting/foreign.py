"""Code for something else: the body of another task, or of another purpose (GC).

    for text, note, by in foreign(task, own_tasks()):
        ...

Bodies come from tasks of the same split, so that nothing of what is reported on is fitted on.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.injecting.editing import Code, statements
from planish.methods.mistakes.injecting.layouts import Kind, result_kind

__all__ = ["foreign", "function_of"]

_PURPOSES: dict[Kind, tuple[tuple[str, str], ...]] = {
    "number": (
        (
            "code = 7\nfor value in $0:\n    for sign in str(value):\n"
            "        code = code * 31 ^ ord(sign)\nreturn code % 97",
            "Computes a check number.",
        ),
        (
            "seen = set()\nfor value in $0:\n    seen.update(repr(value))\nreturn len(seen)",
            "Counts the characters that its arguments are written with.",
        ),
    ),
    "text": (
        (
            "letters = sorted(''.join(str(value) for value in $0))\n"
            "half = len(letters) // 2\nreturn ''.join(letters[half:] + letters[:half])",
            "Shuffles the characters of its arguments.",
        ),
        (
            "code = 5381\nfor value in $0:\n    for sign in str(value):\n"
            "        code = code * 33 + ord(sign)\nreturn format(code % 65536, 'x')",
            "Computes a check number in hexadecimal digits.",
        ),
    ),
    "list": (
        (
            "found = []\nfor value in $0:\n    for sign in str(value):\n"
            "        if sign not in found:\n            found.append(sign)\nreturn found",
            "Lists the characters that its arguments are written with.",
        ),
        (
            "sizes = [len(str(value)) for value in $0]\nwhile len(sizes) < 4:\n"
            "    sizes.append(sizes[-1] * 2 + 1)\nreturn sizes",
            "Makes up a growing row of numbers.",
        ),
    ),
    "mapping": (
        (
            "counts = {}\nfor value in $0:\n    for sign in str(value):\n"
            "        counts[sign] = counts.get(sign, 0) + 1\nreturn counts",
            "Counts the characters of its arguments.",
        ),
    ),
    "tuple": (
        (
            "text = ''.join(str(value) for value in $0)\n"
            "return len(text), sum(ord(sign) for sign in text) % 11",
            "Computes a size and a check number.",
        ),
    ),
    "boolean": (
        (
            "text = ''.join(str(value) for value in $0)\nreturn len(set(text)) * 2 > len(text)",
            "Asks whether characters are repeated often.",
        ),
    ),
    "": (),
}
"""What a function returns -> bodies that return the same kind, of whatever arguments."""


def function_of(task: CodeTask) -> str:
    """Name of the function that is written; "" where only the code itself has it."""
    return "" if ":" in task.entry_point else task.entry_point


def foreign(task: CodeTask, others: Sequence[CodeTask]) -> Iterator[tuple[str, str, str]]:
    """Text, what it does instead, and the name of what made it."""
    code = Code.read(task.reference, function_of(task))
    if code is None:
        return
    for other in others:
        if other.task_id == task.task_id or other.split != task.split:
            continue
        donor = _read(other.reference, function_of(other))
        if donor is not None and _alike(task, code, other, donor):
            told = f"Does what belongs to {other.task_id}."
            yield _grafted(code, donor), told, "body of another task"
    arguments = f"({', '.join(code.parameters)},)" if code.parameters else ""
    if arguments:
        for text, note in _PURPOSES[result_kind(code)]:
            swaps = _instead(code, statements(text, arguments))
            yield code.swapped(swaps), note, "body of another purpose"


@functools.lru_cache(256)
def _read(text: str, entry: str) -> Code | None:
    return Code.read(text, entry)


def _alike(task: CodeTask, code: Code, other: CodeTask, donor: Code) -> bool:
    """Whether it takes as many arguments of the same kinds, in the same surroundings."""
    if len(code.parameters) != len(donor.parameters):
        return False
    if task.template or other.template:
        owned = code.function.args.args[:1] and code.function.args.args[0].arg == "self"
        others = donor.function.args.args[:1] and donor.function.args.args[0].arg == "self"
        return bool(owned) == bool(others) and task.template == other.template
    return _kinds(task) == _kinds(other)


def _kinds(task: CodeTask) -> list[object]:
    return [each.get("kind") for each in task.strategy or ()]


def _grafted(code: Code, donor: Code) -> str:
    """The function with the body of another one, whose arguments take the names of its own."""
    names = dict(zip(donor.parameters, code.parameters, strict=True))

    class Renaming(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.Name:
            return ast.Name(names.get(node.id, node.id), node.ctx)

    body = [Renaming().visit(each) for each in statements(_text(donor.body))]
    beside = [each for each in donor.tree.body if each is not donor.function]
    swaps = _instead(code, body)
    whole = code.swapped(swaps)
    first = ast.unparse(ast.Module(beside, []))
    return f"{first}\n\n\n{whole}" if first else whole


def _text(body: Sequence[ast.stmt]) -> str:
    return ast.unparse(ast.Module(list(body), []))


def _instead(code: Code, body: Sequence[ast.stmt]) -> dict[ast.AST, list[ast.AST]]:
    """All statements of the function for others."""
    first, *rest = code.body
    swaps: dict[ast.AST, list[ast.AST]] = {each: [] for each in rest}
    swaps[first] = list(body)
    return swaps
