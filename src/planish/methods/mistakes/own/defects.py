"""Prompts with one known defect, and a model whose success depends on nothing else.

    >>> defect = defects()[0]
    >>> coder = ScriptedCoder()
    >>> coder.probability(defect.defective), coder.probability(defect.clean)
    (0.2, 0.7)

Reasons are found by changing the prompt. Here it is known what has to be found: the reason that was
planted, and none in the placebo worlds, where the model passes as often whatever the prompt says.
Pairs, worlds and rates are ours; the six reasons are those of arXiv 2411.01414.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import random
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from planish.methods.mistakes.data import CodeTask, Reason
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.own.elements import (
    CLEAN,
    Element,
    asked_name,
    asked_part,
    rename,
    rename_words,
)
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Chat, Record

__all__ = ["CLEAN", "Defect", "Element", "Placebo", "ScriptedCoder", "defects", "placebos"]


class Defect(Record):
    """A prompt that misleads in one way, and the same one without that.

    Args:
        task_id: of `task`, whose prompt is the defective one; no other defect has the same.
        element: all of it stands in `clean`, and not all of it in `defective`.
        reworded: the defective prompt in other words, the defect left as it is.
        wrong: what a misled model writes; it fails the tests.
    """

    task_id: str
    reason: Reason
    task: CodeTask
    defective: str
    clean: str
    reworded: str
    element: tuple[Element, ...]
    wrong: str

    def mended(self, prompt: str) -> bool:
        """Whether a prompt, edited by whomever, is free of the defect."""
        return all(element.stands(prompt) for element in self.element)


class Placebo(Record):
    """A task of our own that is passed equally often whatever its prompt says.

    Args:
        rate: how often; wrong: what is written else.
    """

    task: CodeTask
    rate: float
    wrong: tuple[str, ...]


def defects() -> tuple[Defect, ...]:
    """All pairs, in the order of the file; eight for each reason, half of them to report on."""
    return tuple(defect for base in _bases() for defect in base.defects)


@functools.cache
def placebos() -> tuple[Placebo, ...]:
    """The placebo worlds, in the order of the file: every own task is one.

    So many, since none with a reason among 73 leaves room for 4.9 % (exact, at 95 %).
    """
    tasks = {task.task_id: task for task in own_tasks()}
    wrong = _wrong_codes()
    return tuple(
        Placebo(
            task=tasks[row["task_id"]].model_copy(
                update={"meta": {CLEAN: _changed(tasks[row["task_id"]].prompt, row["reworded"])}}
            ),
            rate=row["rate"],
            wrong=wrong[row["task_id"]],
        )
        for row in _file()["placebo"]
    )


# ---- the file --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Base:
    """A task, its name in the clean prompt, and its defects."""

    name: str
    reference: str
    prompt: str
    defects: tuple[Defect, ...]


def _file() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("defects.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def _bases() -> tuple[_Base, ...]:
    return tuple(
        _Base(
            name=row["name"],
            reference=row["reference"].lstrip("\n"),
            prompt=row["prompt"].lstrip("\n"),
            defects=tuple(_defect(row, each) for each in row["defect"]),
        )
        for row in _file()["task"]
    )


def _defect(row: dict[str, Any], each: dict[str, Any]) -> Defect:
    name, clean, named = row["name"], row["prompt"], each.get("named", row["name"])
    defective = rename_words(_changed(clean, *each.get("edits", [])), name, named)
    reworded = _changed(defective, row["reworded"])
    elements = [
        *(("holds", pattern) for pattern in each.get("holds", [])),
        *(("lacks", pattern) for pattern in each.get("lacks", [])),
        *(("first", pattern) for pattern in each.get("first", [])),
        # A name that only has something added to it says what it said before.
        *(("lacks", re.escape(word)) for word in [named] if word != name),
    ]
    task = CodeTask(
        task_id=f"own/defects/{name}/{each['reason']}",
        entry_point=named,
        prompt=defective,
        reference=rename(row["reference"].lstrip("\n"), name, named),
        tests=row["tests"],
        strategy=row["strategy"],
        precondition=row.get("precondition", ""),
        split=row["split"],
        meta={CLEAN: clean if each["reason"] == "MCQS" else reworded},
    )
    return Defect(
        task_id=task.task_id,
        reason=each["reason"],
        task=task,
        defective=defective,
        clean=clean,
        reworded=reworded,
        element=tuple(Element(kind=kind, pattern=pattern) for kind, pattern in elements),
        wrong=rename(each["wrong"].lstrip("\n"), name, named),
    )


def _changed(text: str, *edits: Sequence[str]) -> str:
    for old, new in edits:
        if text.count(old) != 1:
            raise ValueError(f"{old!r} is not once in {text!r}")
        text = text.replace(old, new)
    return text


def _wrong_codes() -> dict[str, tuple[str, ...]]:
    codes: dict[str, tuple[str, ...]] = {}
    for each in hand_made():
        codes[each.task_id] = (*codes.get(each.task_id, ()), each.code)
    return codes


# ---- the model -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _World:
    """What the coder knows of a task.

    Args:
        texts: its prompts; rate: of a task whose prompt does not matter; wrong: programs.
    """

    name: str
    reference: str
    texts: tuple[str, ...]
    wrong: tuple[str, ...]
    defects: tuple[Defect, ...] = ()
    rate: float = 0.0


@dataclass(frozen=True)
class _Asked:
    """What may be replied to a prompt, and how often it is right."""

    rate: float
    right: str
    wrong: tuple[str, ...]


class ScriptedCoder(ScriptedModel):
    """Writes the reference or a wrong program, at a rate that the prompt's planted elements set.

    It knows every task of `defects` and all of `own_tasks`, finds out by the words of a prompt
    which one it is asked for, and calls the function as the prompt calls it. A reply is a function
    of the prompt and the seed of the draw.

    Args:
        low: rate of passing while a defect stands; high: when all of a task's are mended.
    """

    def __init__(self, low: float = 0.2, high: float = 0.7) -> None:
        self.low, self.high = low, high
        worlds = _worlds()
        self._finder = _Finder(worlds)
        self._asked = functools.lru_cache(maxsize=4096)(self._read)
        digest = hashlib.sha256(repr((low, high, worlds)).encode()).hexdigest()
        super().__init__("planted:defects", self._reply, revision=digest[:16])

    def probability(self, prompt: str) -> float:
        """How often the coder passes when it is asked this.

        Raises:
            BadInput: the prompt is of no task that it knows.
        """
        return self._asked(prompt).rate

    def _read(self, prompt: str) -> _Asked:
        world = self._finder.find(prompt)
        standing = [defect for defect in world.defects if not defect.mended(prompt)]
        rate = (self.low if standing else self.high) if world.defects else world.rate
        name = asked_name(prompt, world.name)
        misled = [defect.wrong for defect in standing]
        return _Asked(
            rate=rate,
            right=_named(world, world.reference, name),
            wrong=tuple(_named(world, code, name) for code in misled or world.wrong),
        )

    def _reply(self, chat: Chat, seed: int | None, sample: int) -> str:
        prompt = "\n".join(each.content for each in chat if each.role == "user")
        asked = self._asked(prompt)
        draw = ("sample", sample) if seed is None else ("seed", seed)
        source = random.Random(json.dumps([*draw, prompt]))
        code = asked.right if source.random() < asked.rate else source.choice(asked.wrong)
        return f"Here is the function.\n\n```python\n{code}\n```\n"


def _named(world: _World, code: str, name: str) -> str:
    """The code with the function called as it is asked for."""
    (own,) = {each for each in _names(world) if re.search(rf"^def {each}\(", code, re.MULTILINE)}
    return rename(code, own, name).strip()


def _names(world: _World) -> set[str]:
    return {world.name, *(defect.task.entry_point for defect in world.defects)}


def _worlds() -> tuple[_World, ...]:
    rates = {each.task.task_id: each.rate for each in placebos()}
    wrong = _wrong_codes()
    planted = [
        _World(
            name=base.name,
            reference=base.reference,
            texts=(base.prompt, *(defect.defective for defect in base.defects)),
            wrong=tuple(defect.wrong for defect in base.defects),
            defects=base.defects,
        )
        for base in _bases()
    ]
    others = [
        _World(
            name=asked_name(task.prompt, task.entry_point),
            reference=task.reference,
            texts=(task.prompt,),
            wrong=wrong[task.task_id],
            rate=rates[task.task_id],
        )
        for task in own_tasks()
    ]
    return (*planted, *others)


class _Finder:
    """Tells by its words which world a prompt belongs to, however it has been edited.

    A word counts for more the fewer worlds have it. A world is as likely as the share of the words
    of its function, by weight, that are in the prompt: whatever else is in there takes nothing
    away. The prompt's function is looked at first, because a project around it may hold others.
    """

    def __init__(self, worlds: Sequence[_World]) -> None:
        self.worlds = worlds
        counts = Counter(
            word for world in worlds for word in _vocabulary(" ".join(map(asked_part, world.texts)))
        )
        self.weights = {word: math.log(1 + len(worlds) / count) for word, count in counts.items()}
        self.texts = [[_vocabulary(asked_part(text)) for text in world.texts] for world in worlds]

    def find(self, prompt: str) -> _World:
        """The likeliest world.

        Raises:
            BadInput: none has half of its words in the prompt.
        """
        for part in (asked_part(prompt), prompt):
            words = _vocabulary(part)
            shares = [max(self._share(words, own) for own in texts) for texts in self.texts]
            best = max(range(len(shares)), key=shares.__getitem__)
            if shares[best] >= 0.5:
                return self.worlds[best]
        raise BadInput(
            f"no planted task is asked for in the prompt {prompt[:60]!r}",
            where="planted:defects",
            fix="ask it for the package's own tasks, plain, with a project, or with a defect",
        )

    def _share(self, words: frozenset[str], own: frozenset[str]) -> float:
        whole = sum(self.weights[word] for word in own)
        return sum(self.weights[word] for word in own & words) / whole


_WORD = re.compile(r"[a-z]{3,}")


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))
