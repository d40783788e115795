"""Puts one mistake of a known category into code that is right.

    wrong = inject(task, seed=0, per_category=3)
    {each.category for each in wrong}

Nothing is run: what comes out may be right by chance, see `injected`.
"""

from __future__ import annotations

import ast
import random
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Labelled
from planish.methods.mistakes.injecting.conditions import CONDITIONS
from planish.methods.mistakes.injecting.editing import Code, Injector
from planish.methods.mistakes.injecting.foreign import foreign, function_of
from planish.methods.mistakes.injecting.formulas import FORMULAS
from planish.methods.mistakes.injecting.layouts import LAYOUTS
from planish.methods.mistakes.injecting.orders import ORDERS
from planish.methods.mistakes.injecting.positions import POSITIONS
from planish.methods.mistakes.injecting.turns import TURNS
from planish.methods.mistakes.injecting.uses import USES
from planish.methods.mistakes.own import own_tasks

__all__ = ["INJECTORS", "inject", "shape"]

INJECTORS: dict[Category, tuple[Injector, ...]] = {
    "CE": CONDITIONS,
    "MFLE": FORMULAS,
    "MOFE": LAYOUTS,
    "MOOV": ORDERS + TURNS,
    "MLA": USES,
    "IOM": POSITIONS,
}
"""GC has no injector of one place: see `foreign`."""


def inject(
    task: CodeTask,
    *,
    seed: int,
    per_category: int,
    others: Sequence[CodeTask] | None = None,
) -> list[Labelled]:
    """Candidates: the reference with one mistake each (ours, after arXiv 2411.01414).

    Args:
        task: whose reference is changed.
        seed: decides which of many are taken; with the task's name, so that it does not matter
            which other tasks there are.
        per_category: so many of each category at most, of as many injectors as can be.
        others: tasks whose bodies may be put in; only those of the same split are taken. Our own
            where None.

    Returns:
        In the order of `CATEGORIES`, all of them parse, none has the tree of another one or of the
        reference. `line` is the first line that is another one than in the reference.
    """
    code = Code.read(task.reference, function_of(task))
    if code is None:
        return []
    known = own_tasks() if others is None else others
    source = random.Random(seed ^ zlib.crc32(task.task_id.encode("utf-8", "replace")))
    plain = code.swapped({})
    seen = {shape(plain)}
    found: list[Labelled] = []
    for category in CATEGORIES:
        left = per_category
        for text, note, by in _candidates(category, task, code, known, source):
            if left == 0:
                break
            tree = shape(text)
            if tree is None or tree in seen:
                continue
            seen.add(tree)
            left -= 1
            found.append(
                Labelled(
                    task_id=task.task_id,
                    category=category,
                    code=text,
                    by=by,
                    line=_first_other_line(plain, text),
                    note=note,
                )
            )
    return found


def shape(text: str) -> str | None:
    """The same for any layout of the same code; None: it is no code.

    Docstrings count as layout.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)


def _candidates(
    category: Category,
    task: CodeTask,
    code: Code,
    others: Sequence[CodeTask],
    source: random.Random,
) -> Iterator[tuple[str, str, str]]:
    """One of every injector in turn, injectors and what they give in a drawn order."""
    if category == "GC":
        every = list(foreign(task, others))
        groups = [
            [each for each in every if each[2] == by] for by in dict.fromkeys(x[2] for x in every)
        ]
    else:
        groups = [list(_texts(code, injector)) for injector in INJECTORS[category]]
    for group in groups:
        source.shuffle(group)
    source.shuffle(groups)
    rounds = chain.from_iterable(zip_longest(*groups))
    yield from (each for each in rounds if each is not None)


def _texts(code: Code, injector: Injector) -> Iterator[tuple[str, str, str]]:
    by = injector.__name__.replace("_", " ")
    for swaps, note in injector(code):
        try:
            yield code.swapped(swaps), note, by
        except ValueError:  # an f-string that this Python cannot tell as text
            continue


def _first_other_line(right: str, wrong: str) -> int:
    """The first line that differs, from 1."""
    lines, others = right.splitlines(), wrong.splitlines()
    same = 0
    while same < min(len(lines), len(others)) and lines[same] == others[same]:
        same += 1
    return min(same + 1, max(len(others), 1))
