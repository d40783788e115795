"""Everything that was seen of a failing program and speaks for a category.

    evidence = signals(task, code, observation, search)

Each rule is a function that yields what it noticed; none of them decides. What a list of evidence
says of each category is settled in `confidence.py`. The rules are those of arXiv 2411.01414's
categories as we read them (ours).
"""

from __future__ import annotations

from planish.methods.mistakes.data import CodeTask, Evidence, Observation, Search
from planish.methods.mistakes.ruling.behaving import behaviour
from planish.methods.mistakes.ruling.mending import mended
from planish.methods.mistakes.ruling.reading import structure

__all__ = ["signals"]


def signals(
    task: CodeTask, code: str, observation: Observation, search: Search
) -> tuple[Evidence, ...]:
    """What speaks for which category; the same for the same arguments, strongest first by rule.

    Args:
        task: whose reference the code is laid beside; neither is run here.
        code: that fails, and of which `observation` and `search` tell.

    Returns:
        Nothing where the function is right and only code around it fails: that is no mistake of
        any category.
    """
    if any(repair.operator == "module_level" for repair in search.repairs[:1]):
        return ()
    found = [
        *behaviour(task, code, observation),
        *mended(search),
        *structure(task, code, observation, search),
    ]
    return tuple(found)
