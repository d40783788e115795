"""One string names a task: `load_task("chain:4:+-*")`, `load_task("questions.jsonl")`."""

from __future__ import annotations

import os
from collections.abc import Callable

from planish.records import BadInput
from planish.tasks.base import Task
from planish.tasks.chain import ChainTask
from planish.tasks.countdown import CountdownTask
from planish.tasks.gym import gym_task
from planish.tasks.questions import SUFFIXES, QuestionTask
from planish.tasks.recall import recall_task
from planish.tasks.routes import RoutesTask

__all__ = ["load_task"]

_MAX_DIGITS = 6


def load_task(spec: str) -> Task:
    """The task that a string names; what is left out at its end has a default.

    chain:3:+-          digit chains of 3 operands over these operators
    countdown:3:9:99    3 numbers from 1 to 9 and a target up to 99
    routes:64:4:7:0     64 nodes, 4 edges from each, walks of at most 7 steps, world 0; with
                        `:shown` at the end the question shows the graph
    gym:countdown:2000  the first 2,000 items of reasoning-gym's countdown; options of the data set
                        follow: gym:countdown:2000:min_numbers=3:max_numbers=3
    recall:ruler:2048   documents of 2,048 words of RULER's families; or one family, or several
                        with + between them, or extra, or all
    FILE                questions with targets: JSON Lines (`.gz` too) or parquet

    Raises:
        BadInput: no such task or file, or the file holds what is no question.
    """
    name, _, rest = spec.partition(":")
    if name in _TASKS and not os.path.isfile(spec):
        return _TASKS[name](spec, rest)
    if os.path.isfile(spec) or spec.endswith(SUFFIXES):
        return QuestionTask(spec)
    raise BadInput(
        f"no task is called {spec!r}",
        where="task",
        fix="use chain, chain:N, chain:N:OPERATORS, countdown[:NUMBERS:LARGEST:TARGET], "
        "routes[:NODES:EDGES:STEPS:WORLD][:shown], gym:NAME[:SIZE], recall[:FAMILY[:WORDS]], or a "
        "file of questions "
        f"({', '.join(SUFFIXES)})",
    )


def _chain(spec: str, rest: str) -> ChainTask:
    number, colon, operators = rest.partition(":")
    if spec.endswith(":") or (number and not (number.isascii() and number.isdigit())):
        raise BadInput(f"cannot read {spec!r}", where="task", fix="write it like chain:4:+-*")
    task = ChainTask(int(number[:4])) if number else ChainTask()
    return ChainTask(task.num_operands, operators) if colon else task


def _countdown(spec: str, rest: str) -> CountdownTask:
    numbers = _numbers(spec, rest.split(":") if rest else [], like="countdown:4:9:99", most=3)
    return CountdownTask(*numbers)


def _routes(spec: str, rest: str) -> RoutesTask:
    words = rest.split(":") if rest else []
    shown = words[-1:] == ["shown"]
    numbers = _numbers(spec, words[: len(words) - shown], like="routes:64:4:7:0", most=4)
    names = ("num_nodes", "num_edges", "max_steps", "world")
    return RoutesTask(**dict(zip(names, numbers, strict=False)), shown=shown)


def _numbers(spec: str, words: list[str], *, like: str, most: int) -> list[int]:
    well = all(word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS for word in words)
    if spec.endswith(":") or len(words) > most or not well:
        raise BadInput(f"cannot read {spec[:60]!r}", where="task", fix=f"write it like {like}")
    return list(map(int, words))


_TASKS: dict[str, Callable[[str, str], Task]] = {
    "chain": _chain,
    "countdown": _countdown,
    "gym": gym_task,
    "recall": recall_task,
    "routes": _routes,
}
