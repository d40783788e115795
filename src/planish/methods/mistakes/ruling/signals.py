"""Everything that was seen of a failing program and speaks for a category.

    evidence = signals(task, code, observation, search)

Each rule is a function that yields what it noticed; none of them decides. What a list of evidence
says of each category is settled in `confidence.py`. The rules are those of arXiv 2411.01414's
categories as we read them (ours).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planish.methods.mistakes.data import CodeTask, Evidence, Observation, Search
from planish.methods.mistakes.ruling.behaving import behaviour
from planish.methods.mistakes.ruling.beside import beside
from planish.methods.mistakes.ruling.mending import agreement, mended
from planish.methods.mistakes.ruling.placing import places
from planish.methods.mistakes.ruling.reading import structure

__all__ = ["signals"]

_EXPLAIN = frozenset({"call error", "index error", "undefined", "other type", "shared relation"})
"""Rules that say by themselves why a program is never right."""

_WRITING = frozenset(
    {"call left out", "wrapper", "conversion", "method added", "slice", "literal", "f-string"}
)
"""Operators of repairs that may change no more than how a value is written."""


def signals(
    task: CodeTask,
    code: str,
    observation: Observation,
    search: Search,
    right: Sequence[str] = (),
) -> tuple[Evidence, ...]:
    """What speaks for which category; the same, in the same order, for the same arguments.

    Args:
        task: whose reference the code is laid beside; neither is run here.
        code: that fails, and of which `observation` and `search` tell.
        right: other programs that pass the task's tests. The text is laid beside the one of them,
            or the reference, that is most like it.

    Returns:
        Nothing where the function is right and only code around it fails: that is no mistake of
        any category.
    """
    if any(repair.operator == "module_level" for repair in search.repairs[:1]):
        return ()
    seen = list(behaviour(task, code, observation))
    repairs = list(mended(search))
    near = beside(task, code, right)
    text = list(structure(near, code))
    parts = list(places(near, code))
    if near is not task:
        text, parts = _reworded(text), _reworded(parts)
    explained = max((each.strength for each in seen if each.rule in _EXPLAIN), default=0.0)
    return (
        *seen,
        *repairs,
        *text,
        *parts,
        *_written(seen, search),
        *_residual(observation, repairs, text, explained),
    )


def _reworded(found: Sequence[Evidence]) -> list[Evidence]:
    """Sentences that speak of a program that passed, and not of the reference."""
    return [
        each.model_copy(update={"note": each.note.replace("the reference", "one that passes")})
        for each in found
    ]


def _written(seen: Sequence[Evidence], search: Search) -> Iterator[Evidence]:
    """Values that only look different, and a repair that only changes how they look."""
    looks = [
        each
        for each in seen
        if each.category == "MOFE" and each.rule in ("shared relation", "other type")
    ]
    best = next((each for each in search.repairs if each.categories), None)
    if looks and best is not None and best.operator in _WRITING and best.role != "condition":
        yield Evidence(
            rule="format repair",
            category="MOFE",
            strength=max(each.strength for each in looks) * agreement(best),
            line=best.line,
            note="Outputs differ in how they are written, and so does what mends them.",
        )


def _residual(
    observation: Observation,
    repairs: Sequence[Evidence],
    text: Sequence[Evidence],
    explained: float,
) -> Iterator[Evidence]:
    """What is left where nothing mends it, it is seldom right, and it has another structure."""
    unmended = max((each.strength for each in repairs if each.rule == "no repair"), default=0.0)
    foreign = max((each.strength for each in text if each.rule == "little shared"), default=0.0)
    failing, passing = len(observation.failing), len(observation.passing)
    if not failing or not unmended:
        return
    wrong = failing / (failing + passing)
    yield Evidence(
        rule="residual",
        category="GC",
        strength=unmended * foreign**0.5 * wrong**0.5 * (1 - 0.7 * explained),
        note=(
            f"No change of one place mends it, it is right on {passing} inputs, and "
            f"{100 * foreign:.0f} % of its structure is not that of a right program."
        ),
    )
