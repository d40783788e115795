"""Two mistakes of different categories in one piece of code.

both = combine(task, labelled, other)
both.categories
"""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from difflib import SequenceMatcher

from planish.methods.mistakes.data import Category, CodeTask, Labelled
from planish.methods.mistakes.injecting.inject import shape
from planish.methods.mistakes.injecting.keeping import wrong_ones
from planish.methods.mistakes.jobs import Box

__all__ = ["Combined", "combine", "combined"]

_Patch = tuple[int, int, tuple[str, ...]]


class Combined(Labelled):
    """Code with two mistakes.

    Args:
        category: of the first one; also: of the second one.
    """

    also: Category

    @property
    def categories(self) -> frozenset[Category]:
        """Both, for measures over sets."""
        return frozenset((self.category, self.also))


def combine(task: CodeTask, labelled: Labelled, other: Labelled) -> Combined | None:
    """The reference with both changes, labelled with both categories (ours).

    Args:
        labelled, other: wrong code for this task, as it was made by hand or injected.

    Returns:
        None where both are of one category, where one is garbage as a whole, or where they change
        the same lines.
    """
    if labelled.category == other.category or "GC" in (labelled.category, other.category):
        return None
    right = _plain(task.reference)
    one, two = _patches(right, _plain(labelled.code)), _patches(right, _plain(other.code))
    if not one or not two or any(_meet(a, b) for a in one for b in two):
        return None
    lines = list(right)
    for begin, end, new in sorted([*one, *two], reverse=True):
        lines[begin:end] = new
    text = "\n".join(lines) + "\n"
    if shape(text) is None:
        return None
    return Combined(
        task_id=task.task_id,
        category=labelled.category,
        also=other.category,
        code=text,
        by=f"{labelled.by} + {other.by}",
        line=min(begin for begin, _, _ in (*one, *two)) + 1,
        note=f"{labelled.note} {other.note}".strip(),
    )


def combined(
    tasks: Sequence[CodeTask],
    labelled: Sequence[Labelled],
    box: Box,
    *,
    seed: int,
    per_task: int,
) -> tuple[Combined, ...]:
    """Pairs of these mistakes that fail the tests together too (ours).

    Args:
        labelled: mistakes that fail the tests, each for itself.
        per_task: so many pairs of each task at most.
    """
    made: list[Combined] = []
    for task in tasks:
        mine = [each for each in labelled if each.task_id == task.task_id]
        pairs = [(a, b) for at, a in enumerate(mine) for b in mine[at + 1 :]]
        random.Random(seed).shuffle(pairs)
        found = [both for a, b in pairs if (both := combine(task, a, b)) is not None]
        made += found[:per_task]
    return tuple(wrong_ones(tasks, made, box, seed=seed))


def _plain(text: str) -> list[str]:
    """Lines of the code laid out in one way; docstrings left out, which are not always copied."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).splitlines()


def _patches(right: Sequence[str], wrong: Sequence[str]) -> list[_Patch]:
    codes = SequenceMatcher(None, right, wrong, autojunk=False).get_opcodes()
    return [(a, b, tuple(wrong[c:d])) for kind, a, b, c, d in codes if kind != "equal"]


def _meet(one: _Patch, two: _Patch) -> bool:
    """Whether they touch; two that stand side by side do."""
    return one[0] <= two[1] and two[0] <= one[1]
