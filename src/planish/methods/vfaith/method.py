"""The idea: change the one thing that the answer hangs on, and another that it does not hang on.

    draft = draw(FAMILIES["colours"], random.Random(7), size=512, typical=True, place=2)
    draft.gold_raw, draft.gold_edited       two of draft.options; the second stands at place 2
    draft.raw, draft.edited, draft.placebo  three scenes

Both answers are among the same four options, so a reader of the words alone knows nothing: the
edited answer is what memory expects in one of four pairs, as chance has it. To that end a quarter
of the pairs run the other way, from an odd picture to a usual one. Cue and placebo are drawn by the
same rule from things of the same kind, so that nothing but the question tells them apart.

The paper lets a large model name the cues (second-hand). Here a solver finds them: a field is a cue
if a change of it moves the solver's answer to another listed option, and a placebo if it does not.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue, ValidationError

from planish.methods.vfaith.data import Kind, Perception
from planish.methods.vfaith.scenes.base import Ask, Family, Knob, Scene

__all__ = [
    "OPTIONS",
    "RETRIES",
    "YES_NO",
    "Draft",
    "Exhausted",
    "draw",
    "is_typical",
    "ordered",
    "perceived",
]

OPTIONS = 4
RETRIES = 50
"""Scenes that are tried before a family gives up; the rule of CLEVR (arXiv 1612.06890)."""

YES_NO = ("yes", "no")


class Exhausted(Exception):
    """A family gave no usable scene in `RETRIES` tries."""


@dataclass(frozen=True)
class Draft:
    """A pair before anything is rendered.

    Args:
        options: in the order in which they are shown, by shuffle_seed.
        ask: for `Scene.solve`.
        typical: the raw scene shows what memory expects, the edited one does not; or the reverse.
        cue, placebo: the fields that were turned; old, new: answers before and after the edit.
        statement: a yes-or-no question about the new value of the cue; the answer is no before the
            edit and yes after it.
    """

    kind: Kind
    family: str
    question: str
    options: tuple[str, ...]
    shuffle_seed: int
    ask: Ask
    typical: bool
    raw: Scene
    edited: Scene
    placebo: Scene
    gold_raw: str
    gold_edited: str
    cue: Knob
    other: Knob
    old: str
    new: str
    instruction: str
    statement: str


def is_typical(number: int, kind: Kind = "pair") -> bool:
    """Whether pair `number` begins with the usual picture.

    All do but one of as many as there are options: the edited
    answer is then what memory expects exactly as often as chance would have it.
    """
    options = len(YES_NO) if kind == "perception" else OPTIONS
    return number % options != options - 1


def draw(
    family: Family,
    rng: random.Random,
    *,
    size: int,
    typical: bool,
    place: int,
    kind: Kind = "pair",
) -> Draft:
    """Samples a scene and turns two of its knobs, one that matters and one that does not.

    Args:
        place: of the edited answer among the options.
        kind: "perception" asks yes or no about the cue itself.

    Raises:
        Exhausted: no scene of `RETRIES` could be turned.
    """
    for _ in range(RETRIES):
        scene, knobs = family.sample(rng, size)
        cue, other = rng.sample(list(knobs), 2)
        try:
            draft = _turned(family, scene, cue, other, rng, typical)
        except ValidationError:
            continue  # the family does not allow that value here
        if draft is not None:
            return _placed(
                _as_perception(draft, rng) if kind == "perception" else draft, rng, place
            )
    raise Exhausted(f"family {family.name} gave no usable scene in {RETRIES} tries")


def ordered(options: Sequence[str], gold: str, place: int, seed: int) -> tuple[str, ...]:
    """Options shuffled by a seed, with the gold at a place."""
    others = sorted(option for option in options if option != gold)
    random.Random(seed).shuffle(others)
    return (*others[:place], gold, *others[place:])


def perceived(draft: Draft, name: str) -> Perception:
    """Whether a viewer sees the cue: about its new value or, as often, about its old one.

    Were it always the new one, whoever says yes to everything would be right about every edited
    picture.

    Args:
        name: of the pair; it alone draws which, so that neither the direction of the edit nor the
            place of the answer tells it.
    """
    if random.Random(f"perception:{name}").random() < 0.5:
        return Perception(text=draft.statement, gold_raw="no", gold_edited="yes")
    text = draft.raw.statement(draft.ask, draft.old)
    return Perception(text=text, gold_raw="yes", gold_edited="no")


def _turned(
    family: Family, scene: Scene, cue: Knob, other: Knob, rng: random.Random, typical: bool
) -> Draft | None:
    old, new, values = _turn(cue, rng, typical)
    other_old, other_new, _ = _turn(other, rng, typical)
    raw = scene.changed(cue.path, old).changed(other.path, other_old)
    edited = raw.changed(cue.path, new)
    placebo = raw.changed(other.path, other_new)
    gold_raw, gold_edited = raw.solve(cue.ask), edited.solve(cue.ask)
    answers = [raw.changed(cue.path, value).solve(cue.ask) for value in values]
    if len(set(answers)) < len(answers) or placebo.solve(cue.ask) != gold_raw:
        return None
    return Draft(
        kind="pair",
        family=family.name,
        question=raw.question(cue.ask),
        options=tuple(answers),
        shuffle_seed=0,
        ask=cue.ask,
        typical=typical,
        raw=raw,
        edited=edited,
        placebo=placebo,
        gold_raw=gold_raw,
        gold_edited=gold_edited,
        cue=cue,
        other=other,
        old=gold_raw,
        new=gold_edited,
        instruction=cue.instruction.format(answer=gold_edited),
        statement=raw.statement(cue.ask, gold_edited),
    )


def _turn(
    knob: Knob, rng: random.Random, typical: bool
) -> tuple[JsonValue, JsonValue, list[JsonValue]]:
    """Old value, new value, and all that the options are made of; one of the two is the usual."""
    usual, *odd = knob.values
    chosen = rng.sample(odd, OPTIONS - 1)
    return (usual, chosen[0], [usual, *chosen]) if typical else (chosen[0], usual, [usual, *chosen])


def _as_perception(draft: Draft, rng: random.Random) -> Draft:
    """The same pictures with a yes-or-no question about either value of the cue."""
    asks_for_new = rng.random() < 0.5
    value = draft.gold_edited if asks_for_new else draft.gold_raw
    return replace(
        draft,
        kind="perception",
        question=draft.raw.statement(draft.ask, value),
        options=YES_NO,
        gold_raw="no" if asks_for_new else "yes",
        gold_edited="yes" if asks_for_new else "no",
    )


def _placed(draft: Draft, rng: random.Random, place: int) -> Draft:
    seed = rng.randrange(1 << 31)
    options = ordered(draft.options, draft.gold_edited, place % len(draft.options), seed)
    return replace(draft, options=options, shuffle_seed=seed)
