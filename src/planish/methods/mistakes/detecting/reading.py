"""Reads verdicts and actions out of replies: leniently in their form, never by guessing.

    read_verdict('{"ranked": [{"category": "IOM", "confidence": 0.8}], "why": "..."}').ranked
    read_action('```json\\n{"action": "inspect_spec"}\\n```')   # Action("inspect_spec", {})

Objects are looked for in blocks, between words, and with Python's quotes instead of JSON's.
Thinking is left out. Two verdicts in one reply that say different things are none, and so is one
with a category that does not exist, or with a confidence that is no share.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from planish.methods.mistakes.data import CATEGORIES, CATEGORY_NAMES, Category
from planish.records import Completion

__all__ = [
    "Action",
    "Reading",
    "read_action",
    "read_completion",
    "read_verdict",
    "verdict_of",
    "without_thinking",
]

_THINK = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})([^`\n]*)")
_TRAILING = re.compile(r",(?=\s*[}\]])")
_JSON = json.JSONDecoder()
_MOST = 64_000
"""Characters of a reply that are read, its last ones."""

_STARTS = 400
"""Places at which an object is looked for."""

_CODES: dict[str, Category] = {each: each for each in CATEGORIES} | {
    " ".join(re.findall(r"[a-z]+", name.lower())): code for code, name in CATEGORY_NAMES.items()
}
_RANKED = ("ranked", "categories", "ranking")


@dataclass(frozen=True)
class Reading:
    """What a reply says.

    Args:
        ranked: categories with confidence, the likeliest first.
        why: the model's words; evidence: numbers it rests on, from 0.
        abstains: it says that it cannot tell.
        problem: why nothing could be read; then nothing else is set.
    """

    ranked: tuple[tuple[Category, float], ...] = ()
    why: str = ""
    evidence: tuple[int, ...] = ()
    abstains: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Action:
    """What an agent wants done: a tool's name, and what goes with it."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read_completion(completion: Completion) -> Reading:
    """The verdict of a reply; one that was cut and holds none says so."""
    reading = read_verdict(completion.text)
    if reading.problem and completion.finish == "length":
        return Reading(problem="the reply was cut at its budget before it held a verdict")
    return reading


def read_verdict(text: str) -> Reading:
    """The one verdict of a text."""
    found = [each for each in _objects(text) if _looks_like_one(each)]
    if not found:
        return Reading(problem="the reply holds no verdict")
    readings = [verdict_of(each) for each in found]
    for reading in readings:
        if reading.problem:
            return reading
    if len({(each.ranked, each.abstains) for each in readings}) > 1:
        return Reading(problem="the reply holds verdicts that disagree")
    return readings[-1]


def read_action(text: str) -> Action | str:
    """The one action of a text, or what is wrong with it in one line."""
    found = [each for each in _objects(text) if "action" in each]
    if not found:
        return "no action was found"
    if any(each != found[0] for each in found):
        return f"{len(found)} actions were found, where one a turn is asked"
    fields = dict(found[0])
    tool = fields.pop("action")
    if not isinstance(tool, str):
        return "the name of the action is no text"
    nested = fields.get("arguments")
    if set(fields) == {"arguments"} and isinstance(nested, dict):
        fields = dict(nested)
    return Action(tool.strip(), fields)


def verdict_of(value: Mapping[str, Any]) -> Reading:
    """An object as a verdict."""
    why = value.get("why", value.get("reason", ""))
    why = why if isinstance(why, str) else ""
    if value.get("abstain") is True or value.get("abstained") is True:
        if any(value.get(name) for name in (*_RANKED, "category")):
            return Reading(problem="the verdict abstains and names a category")
        return Reading(abstains=True, why=why)
    pairs = list(_pairs(value))
    if not pairs:
        return Reading(problem="the verdict names no category")
    ranked: dict[Category, float] = {}
    for name, told in pairs:
        category, confidence = _category(name), _share(told)
        if category is None:
            return Reading(problem=f"there is no category {str(name)[:40]!r}")
        if confidence is None:
            return Reading(problem=f"the confidence of {category} is no share from 0 to 1")
        if category in ranked:
            return Reading(problem=f"the verdict names {category} twice")
        ranked[category] = confidence
    order = sorted(ranked.items(), key=lambda pair: (-pair[1], CATEGORIES.index(pair[0])))
    return Reading(ranked=tuple(order), why=why, evidence=_numbers(value.get("evidence")))


def without_thinking(text: str) -> str:
    """A text without what stands in thinking tags.

    One that is never closed hides the rest; one that was opened before the text begins, as chat
    templates do, hides what stands before its end.
    """
    kept: list[str] = []
    start, is_open = 0, False
    for tag in _THINK.finditer(text):
        if tag[1]:
            if not is_open:
                kept.clear()
            is_open = False
        elif not is_open:
            kept.append(text[start : tag.start()])
            is_open = True
        start = tag.end() if not is_open else start
    return "".join(kept) if is_open else "".join([*kept, text[start:]])


# ---- verdicts --------------------------------------------------------------------------------


def _looks_like_one(value: Mapping[str, Any]) -> bool:
    return any(name in value for name in (*_RANKED, "category", "abstain", "abstained"))


def _pairs(value: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    """Categories and confidences, as they were written."""
    if "category" in value:
        yield value["category"], value.get("confidence")
    for name in _RANKED:
        told = value.get(name)
        if isinstance(told, dict):
            yield from told.items()
        for each in told if isinstance(told, list) else ():
            if isinstance(each, dict):
                yield each.get("category"), each.get("confidence")
            elif isinstance(each, list | tuple) and len(each) == 2:
                yield each[0], each[1]
            else:
                yield each, None


def _category(name: object) -> Category | None:
    if not isinstance(name, str):
        return None
    if name.strip().upper() in CATEGORIES:
        return _CODES[name.strip().upper()]
    return _CODES.get(" ".join(re.findall(r"[a-z]+", name.lower())))


def _share(told: object) -> float | None:
    if isinstance(told, str):
        match = re.fullmatch(r"\s*(\d{1,3}(?:\.\d{1,9})?|\.\d{1,9})\s*(%?)\s*", told)
        if match is None:
            return None
        told = float(match[1]) / (100 if match[2] else 1)
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    return float(told) if 0 <= told <= 1 and math.isfinite(told) else None


def _numbers(told: object) -> tuple[int, ...]:
    """Evidence is numbered from 1 in prompts, from 0 in records."""
    each = told if isinstance(told, list) else []
    kept = [one - 1 for one in each if type(one) is int and one >= 1]
    return tuple(dict.fromkeys(kept))


# ---- objects ---------------------------------------------------------------------------------


def _objects(text: str) -> list[dict[str, Any]]:
    """The outermost objects of a text, in their order; those in blocks where there are any."""
    text = without_thinking(text[-_MOST:])
    in_blocks = [each for block in _blocks(text) for each in _objects_of(block)]
    return in_blocks or _objects_of(text)


def _blocks(text: str) -> Iterator[str]:
    """What stands between fences, line by line; a block that is never closed goes to the end."""
    opened = ""
    lines: list[str] = []
    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line.rstrip())
        if not opened:
            opened, lines = (fence[1] if fence else ""), []
        elif fence and not fence[2] and fence[1].startswith(opened):
            yield "\n".join(lines)
            opened = ""
        else:
            lines.append(line)
    if opened:
        yield "\n".join(lines)


def _objects_of(text: str) -> list[dict[str, Any]]:
    whole = _whole(text.strip())
    if whole is not None:
        return [whole]
    found, at = [], 0
    for _ in range(_STARTS):
        at = text.find("{", at)
        if at < 0:
            break
        value, end = _at(text, at)
        if value is not None:
            found.append(value)
        at = end
    return found


def _at(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    """The object that begins here, and where to look on."""
    try:
        value, end = _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at + 1
    return (value if isinstance(value, dict) else None), end


def _whole(text: str) -> dict[str, Any] | None:
    """A text that is one object, in JSON or as Python writes it."""
    if not (text.startswith("{") and text.endswith("}")):
        return None
    for each in (text, _TRAILING.sub("", text)):
        try:
            value = json.loads(each)
        except (ValueError, RecursionError):
            continue
        return value if isinstance(value, dict) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    usable = isinstance(value, dict) and all(isinstance(name, str) for name in value)
    return value if usable else None
