"""Cues that a model proposes for photographs, for a person to confirm.

    propose(Path("photos.jsonl"), load("openai:gpt-5"), screen)     photos.proposed.jsonl

Each line of the list needs `id` and `image`; a `question` and a `licence` are passed on. The model
is asked for a few things in the picture on which a question would hang. What it says is written
down with `"confirmed": false`; the stage refuses such a line until a person has looked at it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from planish.methods.vfaith.building.photographs import Entry, Name, Photograph, Words
from planish.methods.vfaith.images import open_image
from planish.models.base import LanguageModel
from planish.records import (
    BadInput,
    Chat,
    Message,
    Sampling,
    explain,
    read_jsonl,
    write_jsonl,
)
from planish.runs.console import Screen

__all__ = ["Proposed", "cues_in", "propose", "proposed_path"]

CUES = 3
"""That are asked for, per photograph."""

_BATCH = 16
_STARTS = 100  # brackets of a reply at which an array may begin; a flood of them ends here
_SAMPLING = Sampling(temperature=0, max_tokens=2048)
_PROMPT = """\
Look at this picture of {wide} x {high} pixels. Find up to {cues} things in it on which the answer \
to a question hangs, such as a colour, a number, a word or a direction, so that an editor could \
change just that thing and another answer would be right.{about}

Reply with a JSON array and nothing else. Each item is an object with
"question": asked of the picture, without giving the answer away;
"options": four short answers, of which exactly one is right now;
"gold_raw": the option that is right now;
"gold_edited": the option that is right after the edit;
"cue": what the answer hangs on, such as "the colour of the helmet";
"old" and "new": its value before and after;
"instruction": the edit in one sentence, which ends with "Change nothing else.";
"box": [left, top, right, bottom] in pixels around that thing and nothing more;
"placebo_instruction" and "placebo_box": the same kind of edit of another thing, which leaves the \
answer as it is."""


class _Asked(BaseModel):
    """A line of a list that has no cue yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Name
    image: Words
    question: str = ""
    licence: Words = "not known"


class Proposed(BaseModel):
    """What came of it: cues written down, replies and cues that could not be used."""

    model_config = ConfigDict(frozen=True)

    path: Path
    photographs: int
    cues: int
    unusable: int
    silent: int


def proposed_path(path: Path) -> Path:
    """Where proposals for a list go."""
    return path.with_name(f"{path.name.removesuffix('.jsonl')}.proposed.jsonl")


def propose(path: Path, model: LanguageModel, screen: Screen) -> Proposed:
    """Asks a model that sees for cues and writes them beside the list.

    Raises:
        BadInput: a broken line, a picture that cannot be read, or proposals that are there already.
    """
    target = proposed_path(path)
    if target.exists():
        raise BadInput(
            "there are proposals already, perhaps confirmed ones",
            where=str(target),
            fix="move the file away first",
        )
    asked = list(_asked(path))
    rows: list[dict[str, Any]] = []
    unusable = silent = 0
    with screen.progress("looking for cues", len(asked)) as step:
        for begin in range(0, len(asked), _BATCH):
            part = asked[begin : begin + _BATCH]
            replies = model.generate([chat for _, chat in part], _SAMPLING)
            for (line, _), (reply, *_) in zip(part, replies, strict=True):
                step()
                cues = [] if reply.finish == "error" else cues_in(reply.text)
                silent += not cues
                found = [_photograph(line, cue, number) for number, cue in enumerate(cues, 1)]
                rows += [row for row in found if row is not None]
                unusable += sum(row is None for row in found)
    write_jsonl(target, rows)
    return Proposed(
        path=target, photographs=len(asked), cues=len(rows), unusable=unusable, silent=silent
    )


def cues_in(text: str) -> list[dict[str, Any]]:
    """The objects of the first JSON array in a reply that holds any; fences and talk around it
    do not matter."""
    decoder = json.JSONDecoder()
    start = text.find("[")
    for _ in range(_STARTS):
        if start < 0:
            break
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list):
            found = [item for item in value if isinstance(item, dict)]
            if found:
                return found
        start = text.find("[", start + 1)
    return []


def _asked(path: Path) -> Iterator[tuple[_Asked, Chat]]:
    for number, value in read_jsonl(path):
        where = f"{path}:{number}"
        try:
            line = _Asked.model_validate(value)
        except ValidationError as error:
            raise BadInput(explain(error), where=where, fix="a line needs id and image") from None
        file = Entry.inside(path.parent, line.image, where)
        wide, high = open_image(file).size
        about = f" The question to begin with: {line.question}" if line.question else ""
        prompt = _PROMPT.format(wide=wide, high=high, cues=CUES, about=about)
        yield line, (Message(role="user", content=prompt, images=(str(file),)),)


def _photograph(line: _Asked, cue: dict[str, Any], number: int) -> dict[str, Any] | None:
    """A line for the list of proposals, or None if it is no cue that could ever be used."""
    told = {name: value for name, value in cue.items() if name in _FROM_MODEL}
    own = {"id": f"{line.id}-{number}", "image": line.image, "licence": line.licence}
    try:
        photo = Photograph.model_validate({**told, **own, "confirmed": False})
    except ValidationError:
        return None
    return photo.model_dump(mode="json", exclude_none=True)


_FROM_MODEL = frozenset(
    {
        "question", "options", "gold_raw", "gold_edited", "cue", "old", "new", "instruction",
        "box", "placebo_instruction", "placebo_box", "perception",
    }
)  # fmt: skip
