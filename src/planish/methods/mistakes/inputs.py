"""Inputs of a task: what its arguments may be, told by the task or read off its tests.

    strategy = check_strategy(task.strategy, where="tasks.jsonl:3")
    to_hypothesis(strategy)  # draws tuples such as ([0, 3, 3],)
    draw(task, 60, seed=0, box=box, limits=limits)  # as canonical texts

A strategy is one description for each argument; `kinds` has the table of them. `inferring.py`
reads one off inputs that tests use, `drawing.py` runs what rules inputs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.drawing import Drawn, draw, draw_many
from planish.methods.mistakes.inferring import infer
from planish.methods.mistakes.kinds import Strategy, kinds_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "Drawn",
    "Strategy",
    "admits",
    "check_strategy",
    "draw",
    "draw_many",
    "infer",
    "to_hypothesis",
]


def check_strategy(strategy: Any, where: str) -> Strategy:
    """The strategy as it came, if every description of it can be read.

    Args:
        strategy: one description for each argument.
        where: file and line or task, for the error.

    Raises:
        BadInput: it is no list, or a description has an unknown kind, an unknown field, a missing
            one, a smallest above its largest, or no value at all.
    """
    kinds_of(strategy, where)
    return tuple(dict(each) for each in strategy)


def to_hypothesis(strategy: Sequence[Any]) -> SearchStrategy[tuple[Any, ...]]:
    """Draws one tuple of arguments.

    Raises:
        BadInput: the strategy cannot be read.
    """
    from hypothesis import strategies as st

    return st.tuples(*(each.drawn() for each in kinds_of(strategy)))


def admits(strategy: Sequence[Any], arguments: tuple[Any, ...]) -> bool:
    """Whether a strategy has these arguments, types and all."""
    kinds = kinds_of(strategy)
    return len(kinds) == len(arguments) and all(
        kind.admits(each) for kind, each in zip(kinds, arguments, strict=True)
    )
