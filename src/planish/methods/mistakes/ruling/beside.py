"""Which right program a wrong one is laid beside: of those that are known, the one most like it.

    beside(task, code, right).reference  # the task's own, or a program that passed

A reference is written by one hand and code by another, and where the hands differ the text differs
everywhere without being wrong. Programs of the same model that pass are mostly written as those of
it that fail. They are read here and never run: which values are right is for the reference to say,
and passing the tests is not being right.
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.loading.sources import tree_text
from planish.methods.mistakes.observing.structure import ast_diff

__all__ = ["beside"]


def beside(task: CodeTask, code: str, right: Sequence[str]) -> CodeTask:
    """The task, with the right program in its reference's place that shares most with the code.

    Args:
        right: programs that pass the task's tests; the code itself, where it passes at times, is
            none. Of equal ones the first counts, and the reference before all.
    """
    if not right:
        return task
    same = tree_text(code)
    known = [task.reference, *(each for each in right if tree_text(each) != same)]
    shares = [ast_diff(each, code).share for each in known]
    nearest = known[shares.index(max(shares))]
    return task if nearest == task.reference else task.model_copy(update={"reference": nearest})
