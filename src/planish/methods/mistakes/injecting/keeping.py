"""Keeps those injected mistakes that are mistakes: the tests fail, and some input shows it.

with Sandbox() as box:
    wrong = injected(own_tasks(), box, seed=0, per_category=2)
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Labelled
from planish.methods.mistakes.drawing import Drawn, draw_many
from planish.methods.mistakes.injecting.inject import inject, shape
from planish.methods.mistakes.jobs import Box, agree, call_job, test_job
from planish.methods.mistakes.own import hand_made
from planish.tasks.sandbox.contract import CallResult, ExecResult, Limits

__all__ = ["bounded", "injected", "wrong_ones"]

Wrong = TypeVar("Wrong", bound=Labelled)

SPARE = 4
"""So many times the candidates that are wanted are made, since some are right by chance."""

INPUTS = 40
"""Inputs on which a candidate is called."""

BATCH = 256

_LIMITS = Limits(seconds=2.0, call_seconds=0.5)

_BROKEN = ("NameError", "UnboundLocalError", "ImportError", "SyntaxError", "RecursionError")
"""What a mistake of these categories does not raise: the injection itself went wrong."""


def injected(
    tasks: Sequence[CodeTask],
    box: Box,
    *,
    seed: int,
    per_category: int,
    progress: Callable[[int, int], None] | None = None,
    known: Sequence[Labelled] | None = None,
) -> tuple[Labelled, ...]:
    """Wrong code for these tasks, each with one mistake (ours, after arXiv 2411.01414).

    Args:
        tasks: with references that pass.
        box: an open sandbox; everything runs there.
        seed: of injections and inputs.
        per_category: so many of each category for a task at most.
        progress: called with (done, total) candidates.
        known: wrong code that is there already and not made again; ours by hand where None.

    Returns:
        In the order of tasks and categories: code that parses, fails the task's tests, differs from
        the reference on an input that was drawn, and has the tree of none before. Programs that run
        out of time are left out, and so are those in which a name is missing.

    Raises:
        BadInput: a task's strategy cannot be read.
    """
    made_by_hand = hand_made() if known is None else known
    taken = {(each.task_id, shape(each.code)) for each in made_by_hand}
    candidates = [
        each
        for task in tasks
        for each in inject(task, seed=seed, per_category=SPARE * per_category)
        if (each.task_id, shape(each.code)) not in taken
    ]
    wrong = wrong_ones(tasks, candidates, box, seed=seed, progress=progress)
    counts: Counter[tuple[str, Category]] = Counter()
    kept = []
    for each in wrong:
        counts[each.task_id, each.category] += 1
        if counts[each.task_id, each.category] <= per_category:
            kept.append(each)
    return tuple(kept)


def wrong_ones(
    tasks: Sequence[CodeTask],
    candidates: Sequence[Wrong],
    box: Box,
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[Wrong]:
    """Those of the candidates that fail the tests and differ on an input, in their order."""
    by_id = {task.task_id: task for task in tasks}
    drawn = dict(
        zip(by_id, draw_many(list(by_id.values()), INPUTS, seed, box, _LIMITS), strict=True)
    )
    kept: list[Wrong] = []
    for first in range(0, len(candidates), BATCH):
        part = candidates[first : first + BATCH]
        failing = _failing(by_id, part, box)
        jobs = [
            call_job(by_id[each.task_id], each.code, "", drawn[each.task_id].inputs, _LIMITS)
            for each in failing
            if drawn[each.task_id].inputs
        ]
        results = iter(box.run(jobs))
        for each in failing:
            told = drawn[each.task_id]
            if told.inputs and _shows(by_id[each.task_id], told, next(results), each.category):
                kept.append(each)
        if progress is not None:
            progress(first + len(part), len(candidates))
    return kept


def _failing(by_id: Mapping[str, CodeTask], part: Sequence[Wrong], box: Box) -> list[Wrong]:
    """Those that fail the tests; tasks without tests are decided by their inputs later."""
    tested = [each for each in part if by_id[each.task_id].tests]
    jobs = [test_job(by_id[each.task_id], each.code, "", _LIMITS) for each in tested]
    passed = {
        id(each)
        for each, result in zip(tested, box.run(jobs), strict=True)
        if result.status not in ("wrong_value", "exception") or result.exception in _BROKEN
    }
    return [each for each in part if id(each) not in passed]


def _shows(task: CodeTask, drawn: Drawn, result: ExecResult, category: Category) -> bool:
    """Whether some input tells it from the reference, in a way that its category may have.

    Only a wrong use of the library or of an index may fail everywhere with an exception.
    """
    if result.status not in ("pass", "exception", "wrong_value"):
        return False
    pairs = list(zip(drawn.calls, result.per_input, strict=False))
    if any(call.exception in _BROKEN for _, call in pairs) or len(pairs) < len(drawn.calls):
        return False
    raising = sum(call.status == "exception" for _, call in pairs)
    if category not in ("MLA", "IOM") and 2 * raising > len(pairs):
        return False
    return any(not _right(task, wanted, call) for wanted, call in pairs)


def _right(task: CodeTask, wanted: CallResult, call: CallResult) -> bool:
    if call.status != "value" or call.value is None or wanted.value is None:
        return False
    return agree(wanted.value, call.value, max(task.tolerance, 1e-9))


def bounded(programs: Sequence[Labelled], most: int | None, seed: int = 0) -> list[Labelled]:
    """So many of each category at most, drawn by the seed, in the order in which they came."""
    drawn: set[int] = set()
    for category in CATEGORIES:
        mine = [at for at, each in enumerate(programs) if each.category == category]
        random.Random(seed).shuffle(mine)
        drawn.update(mine[:most])
    return [programs[at] for at in sorted(drawn)]
