"""The gates of a drawn pair: the solver, not a model, says that the edit did what it should.

    check_scenes(raw=draft.raw, edited=draft.edited, placebo=draft.placebo, ask=draft.ask,
                 options=draft.options, gold_raw=draft.gold_raw, gold_edited=draft.gold_edited,
                 cue_path=draft.cue.path, other_path=draft.other.path, question=draft.question)

The pixels between two renders are compared with the box that the family promises for the thing
that was changed, so that a change that reflows the picture is found even though the mask, made from
those same pixels, would cover it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from planish.methods.vfaith.data import Check
from planish.methods.vfaith.method import YES_NO
from planish.methods.vfaith.scenes import Scene
from planish.methods.vfaith.scenes.base import Ask
from planish.methods.vfaith.verifying.gates import Bools, Pixels, changed

__all__ = ["PLACEBO_FACTOR", "Rendered", "check_scenes", "is_same", "region_of"]

PLACEBO_FACTOR = 4.0
"""Cue or placebo may change so many times the other's pixels: things of one kind in one picture
differ in size, and a placebo that nobody can see would prove nothing."""

_MARKS = ".,;: "  # behind an answer they say nothing; other marks may: 3!, 5", 5 %

_EDGE = 1  # pixel that a soft edge may reach over a box

Path = Sequence[str | int]
Rendered = tuple[Pixels, Pixels, Pixels]
"""Raw, edited and placebo picture."""


def check_scenes(
    *,
    raw: Scene,
    edited: Scene,
    placebo: Scene,
    ask: Ask,
    options: Sequence[str],
    gold_raw: str,
    gold_edited: str,
    cue_path: Path,
    other_path: Path,
    question: str = "",
    rendered: Rendered | None = None,
) -> tuple[Check, ...]:
    """The gates region, cue, options and placebo, in this order.

    Args:
        ask: what the solver is asked about all three scenes.
        options, gold_raw, gold_edited: as they will be shown; yes and no in a perception item.
        cue_path, other_path: the fields that the edit and the placebo changed.
        question: of a perception item, so that its golds can be checked against the solver.
        rendered: the three pictures if they are there already; drawn otherwise.
    """
    pixels = rendered or tuple(np.asarray(each.draw()) for each in (raw, edited, placebo))
    cue, other = (changed(pixels[0], after) for after in pixels[1:])
    answers = raw.solve(ask), edited.solve(ask)
    if tuple(sorted(options)) == tuple(sorted(YES_NO)):
        true = [_yes_or_no(raw, ask, question, answer) for answer in answers]
    else:
        true = [[option for option in options if is_same(option, answer)] for answer in answers]
    return (
        _region(raw, cue, cue_path, other, other_path),
        _cue(raw, edited, cue_path, answers, (gold_raw, gold_edited), options),
        _options(true, (gold_raw, gold_edited)),
        _placebo(raw, placebo, ask, other_path, int(cue.sum()), int(other.sum())),
    )


def _region(raw: Scene, cue: Bools, cue_path: Path, other: Bools, other_path: Path) -> Check:
    boxes = [region_of(raw, path) for path in (cue_path, other_path)]
    spilled = 0
    for found, (left, top, right, bottom) in zip((cue, other), boxes, strict=True):
        spilled += int(found.sum()) - int(found[top:bottom, left:right].sum())
    first, second = (raw.region(path) for path in (cue_path, other_path))
    apart = (
        first[2] <= second[0] or second[2] <= first[0]
        or first[3] <= second[1] or second[3] <= first[1]
    )  # fmt: skip
    code = "overflow" if spilled else "" if apart else "overlap"
    return Check(gate="region", value=spilled, passed=not code, code=code)


def region_of(scene: Scene, path: Path) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the thing that a path belongs to, with its soft edge.

    Right and bottom are excluded.
    """
    left, top, right, bottom = (edge * scene.size for edge in scene.region(path))
    return (
        max(0, math.floor(left) - _EDGE),
        max(0, math.floor(top) - _EDGE),
        max(0, math.ceil(right) + _EDGE),
        max(0, math.ceil(bottom) + _EDGE),
    )


def _cue(
    raw: Scene,
    edited: Scene,
    path: Path,
    answers: tuple[str, str],
    golds: tuple[str, str],
    options: Sequence[str],
) -> Check:
    """One field differs, and with it the answer: the old one gone, the new one there."""
    others = _fields_beside(raw, edited, path)
    binary = set(options) == set(YES_NO)
    if others:
        code = "other_field"
    elif answers[1] == answers[0]:
        code = "old_present"
    elif not binary and not is_same(answers[0], golds[0]):
        code = "gold_wrong"
    elif not binary and not is_same(answers[1], golds[1]):
        code = "new_absent"
    else:
        code = ""
    return Check(gate="cue", value=others, passed=not code, code=code)


def _options(true: list[list[str]], golds: tuple[str, str]) -> Check:
    """One option is true before and one after, each the gold, and they are not the same."""
    counts = [len(found) for found in true]
    worst = max(counts, key=lambda count: abs(count - 1))
    if not all(counts):
        code = "none_true"
    elif worst > 1:
        code = "several_true"
    elif true[0] != [golds[0]]:
        code = "gold_wrong"
    elif true[1] != [golds[1]]:
        code = "new_absent"
    else:
        code = "" if golds[0] != golds[1] else "old_present"
    return Check(gate="options", value=worst, passed=not code, code=code)


def _yes_or_no(scene: Scene, ask: Ask, question: str, answer: str) -> list[str]:
    return ["yes" if scene.statement(ask, answer) == question else "no"]


def _placebo(
    raw: Scene, placebo: Scene, ask: Ask, path: Path, cue: int, other: int
) -> Check:  # fmt: skip
    few, many = sorted((cue, other))
    factor = many / few if few else None
    if _fields_beside(raw, placebo, path):
        code = "other_field"
    elif placebo.solve(ask) != raw.solve(ask):
        code = "answer_moved"
    else:
        code = "" if factor is not None and factor <= PLACEBO_FACTOR else "uneven"
    return Check(gate="placebo", value=factor, passed=not code, code=code)


def _fields_beside(before: Scene, after: Scene, path: Path) -> int:
    """Fields that differ, but for the one at the path."""
    first, second = (_leaves(each.dump()) for each in (before, after))
    meant = tuple(path)
    return sum(
        first.get(name) != second.get(name)
        for name in first.keys() | second.keys()
        if name[: len(meant)] != meant
    )


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    if isinstance(value, dict):
        pairs: Sequence[tuple[str | int, Any]] = list(value.items())
    elif isinstance(value, list | tuple):
        pairs = list(enumerate(value))
    else:
        return {path: value}
    return {
        name: leaf for key, inner in pairs for name, leaf in _leaves(inner, (*path, key)).items()
    }


def is_same(option: str, answer: str) -> bool:
    """Whether two options say the same: 3 and 3.0 do, "Red." and "red" do."""
    bare = [text.strip().rstrip(_MARKS).casefold() or text for text in (option, answer)]
    if bare[0] == bare[1]:
        return True
    try:
        return float(bare[0].replace(",", "")) == float(bare[1].replace(",", ""))
    except ValueError:
        return False
