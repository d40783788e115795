"""Photographs of one's own: which cue decides, listed by a person, one JSON object a line.

{"id": "helmet", "image": "helmet.jpg", "mask": "helmet_mask.png", "licence": "mine",
 "question": "What colour is the helmet?", "options": ["red", "blue", "white", "green"],
 "gold_raw": "red", "gold_edited": "blue", "cue": "the colour of the helmet",
 "old": "red", "new": "blue", "instruction": "Paint the helmet blue. Change nothing else."}

In place of `mask` there may be a `box`, [left, top, right, bottom] in pixels of the upright
picture. `edited` names a picture that somebody edited already; then no editor is asked. Further
fields: `placebo_box` with `placebo_instruction` or a `placebo` picture; `perception`, yes-or-no
questions about the new value, and `perception_old`, about the old one; `subset`. Pictures lie in
the folder of the list or below it. What a model proposed has `"confirmed": false` until a person
has looked at it, and is refused until then.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from planish.methods.vfaith.bench import leads_inside
from planish.methods.vfaith.building.masks import box_mask
from planish.methods.vfaith.building.pairs import (
    Desk,
    Edited,
    edit_record,
    edit_seeds,
    placebo_check,
)
from planish.methods.vfaith.data import LETTERS, Check, EditPair, Perception, Source, Subset
from planish.methods.vfaith.editing.contract import EditResult
from planish.methods.vfaith.images import Loaded, open_image, open_mask
from planish.methods.vfaith.method import ordered
from planish.methods.vfaith.verifying.gates import Bools
from planish.methods.vfaith.verifying.scene_gates import is_same
from planish.methods.vfaith.verifying.witnesses import Case
from planish.models.pictures import read_bytes
from planish.records import BadInput, explain, read_jsonl

__all__ = [
    "FAMILY",
    "GIVEN",
    "Entry",
    "Photograph",
    "case_of",
    "cue_case",
    "perceived_in",
    "photo_pair",
    "read_photographs",
]

FAMILY = "photograph"
GIVEN = "given"
"""Backend of a picture that somebody edited already."""

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[\w.:-]+$", max_length=120)]
Box = tuple[int, int, int, int]


class Photograph(BaseModel):
    """One line of the list.

    Args:
        image, mask, edited, placebo: files, relative to the list's folder.
        box, placebo_box: left, top, right, bottom in pixels; right and bottom are excluded.
        perception: yes-or-no questions about the new value, no before the edit and yes after it;
            perception_old: about the old one. See `perceived_in`.
        confirmed: a person has looked at the cue and its answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    image: Words
    question: Words
    options: tuple[Words, ...] = Field(min_length=2, max_length=len(LETTERS))
    gold_raw: Words
    gold_edited: Words
    cue: Words
    old: Words
    new: Words
    instruction: str = ""
    mask: Words | None = None
    box: Box | None = None
    placebo_instruction: Words | None = None
    placebo_box: Box | None = None
    placebo: Words | None = None
    licence: Words
    subset: Subset = "RWS"
    edited: Words | None = None
    perception: tuple[Words, ...] = ()
    perception_old: tuple[Words, ...] = ()
    confirmed: bool = True

    @model_validator(mode="after")
    def _sound(self) -> Photograph:
        if len({option.casefold() for option in self.options}) < len(self.options):
            raise ValueError("an option is there twice")
        for one, two in combinations(self.options, 2):
            if is_same(one, two):
                raise ValueError(f"more than one option is true: {one!r} says the same as {two!r}")
        for name in ("gold_raw", "gold_edited"):
            if getattr(self, name) not in self.options:
                raise ValueError(f"{name} {getattr(self, name)!r} is not among the options")
        if self.gold_raw == self.gold_edited:
            raise ValueError("gold_raw and gold_edited are the same: the edit must move the answer")
        if self.old.casefold() == self.new.casefold():
            raise ValueError("old and new are the same: the edit must change the cue")
        if (self.mask is None) == (self.box is None):
            raise ValueError("give mask or box, one of the two")
        if (self.placebo_box is None) != (
            self.placebo_instruction is None and self.placebo is None
        ):
            raise ValueError("placebo_box goes with placebo_instruction or a placebo picture")
        if self.edited is None and not self.instruction.strip():
            raise ValueError("an instruction is missing: what shall the editor do?")
        return self


@dataclass(frozen=True)
class Entry:
    """A photograph of a list, and where it stands.

    Args:
        number: of the photograph in the list, from 0.
        where: file and line, for messages.
    """

    photo: Photograph
    number: int
    folder: Path
    where: str

    def file(self, name: str) -> Path:
        """A file of the list.

        Raises:
            BadInput: it leads out of the list's folder.
        """
        return self.inside(self.folder, name, self.where)

    @staticmethod
    def inside(folder: Path, name: str, where: str) -> Path:
        """As `file`, of any list."""
        try:
            inner = leads_inside(folder, name)
        except (ValueError, OSError, RuntimeError):
            raise BadInput(
                f"no file can have the name {name!r}", where=where, fix="mend the line"
            ) from None
        if not inner:
            raise BadInput(
                f"the file name {name!r} leads out of the list's folder",
                where=where,
                fix="put the pictures beside the list",
            )
        return folder / name

    def open(self, name: str) -> Loaded:
        """A picture of the list, upright and RGB."""
        path = self.file(name)
        try:
            return open_image(path)
        except BadInput as error:
            raise self._here(error) from None

    def mask(self, size: tuple[int, int]) -> Bools:
        """Where its edit may change pixels."""
        if self.photo.box is not None:
            return self._boxed(self.photo.box, size, "box")
        path = self.file(str(self.photo.mask))
        try:
            return open_mask(path, size)
        except BadInput as error:
            raise self._here(error) from None

    def placebo_mask(self, size: tuple[int, int]) -> Bools | None:
        """Where its placebo may, if an editor is to make one."""
        box = self.photo.placebo_box
        return None if box is None else self._boxed(box, size, "placebo_box")

    def check(self, *, editor: bool) -> None:
        """Opens everything that it names, so that no edit is paid for in vain.

        Args:
            editor: there is one that can edit photographs.

        Raises:
            BadInput: anything that cannot be used, with the line that names it.
        """
        photo = self.photo
        if not photo.confirmed:
            raise BadInput(
                f"the cue of {photo.id!r} is not confirmed by a person",
                where=self.where,
                fix='look at picture, answers and box, then write "confirmed": true',
            )
        picture = self.open(photo.image)
        mask, beside = self.mask(picture.size), self.placebo_mask(picture.size)
        if beside is not None and (mask & beside).any():
            raise BadInput(
                "placebo_box overlaps what the cue's edit may change",
                where=self.where,
                fix="choose a place beside it",
            )
        for name in (photo.edited, photo.placebo):
            if name is not None:
                self.open(name)
        if not editor and (photo.edited is None or (beside is not None and photo.placebo is None)):
            raise BadInput(
                f"{photo.id!r} is still to be edited, and the scene editor draws scenes only",
                where=self.where,
                fix="add --editor openai:MODEL or diffusers:PATH, or give the edited picture",
            )

    def _boxed(self, box: Box, size: tuple[int, int], name: str) -> Bools:
        left, top, right, bottom = box
        if not (0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]):
            raise BadInput(
                f"{name} {list(box)} is not inside the picture of {size[0]} x {size[1]}",
                where=self.where,
                fix="give left, top, right, bottom in pixels",
            )
        if (right - left, bottom - top) == size:
            raise BadInput(
                f"{name} lets the whole picture change", where=self.where, fix="make it smaller"
            )
        return box_mask(box, (size[1], size[0]))

    def _here(self, error: BadInput) -> BadInput:
        what = f"{Path(error.where).name}: {error.what}" if error.where else error.what
        return BadInput(what, where=self.where, fix=error.fix)


def read_photographs(path: Path) -> list[Entry]:
    """Reads a list; files are looked at by `Entry.check`.

    Raises:
        BadInput: a line that is not a photograph, or an id that is there twice, by file and line.
    """
    found: list[Entry] = []
    lines: dict[str, int] = {}
    for line, value in read_jsonl(path):
        where = f"{path}:{line}"
        try:
            photo = Photograph.model_validate(value)
        except ValidationError as error:
            raise BadInput(explain(error), where=where, fix="see docs/vfaith.md") from None
        if photo.id in lines:
            raise BadInput(
                f"id {photo.id!r} is also in line {lines[photo.id]}",
                where=where,
                fix="give every photograph an id of its own",
            )
        lines[photo.id] = line
        found.append(Entry(photo, len(found), path.parent, where))
    if not found:
        raise BadInput("no photographs", where=str(path), fix="write one a line")
    return found


def cue_case(desk: Desk, entry: Entry) -> Case:
    """What verifiers look at before a photograph is edited; puts it into the bench.

    Raises:
        BadInput: it cannot be read.
    """
    photo = entry.photo
    raw = desk.keep(entry.open(photo.image).pixels, photo.gold_raw)
    return Case(photo.id, photo.cue, photo.old, photo.new, raw)


def case_of(pair: EditPair) -> Case:
    """What they look at once it is edited."""
    cue = pair.cue
    return Case(pair.pair_id, cue.name, cue.old, cue.new, pair.raw, pair.edited)


def photo_pair(desk: Desk, entry: Entry, before: Check | None = None) -> EditPair:
    """The pair of a photograph, with its pictures in the bench; its checks say whether it passed.

    Args:
        before: what verifiers say of the raw picture; nobody pays for an edit of a cue that is not
            there.

    Raises:
        BadInput: what it names cannot be used.
    """
    photo = entry.photo
    picture = entry.open(photo.image)
    raw, mask = picture.pixels, entry.mask(picture.size)
    seed_text = f"{desk.plan.seed}:{FAMILY}:{photo.id}"
    seeds = edit_seeds(seed_text)
    if photo.edited is not None:
        edited = desk.gated(raw, _given(entry, photo.edited), mask, photo.id)
    elif before is not None and not before.passed:
        edited = desk.unedited(raw, desk.request(raw, photo.instruction, mask, seeds[0]))
    else:
        edited = desk.edit_pixels(raw, photo.instruction, mask, seeds[0], photo.id)
    checks = (Check(gate="decode", code=",".join(picture.flags)), *edited.checks)
    if before is not None and not before.passed:
        checks = (*checks, before)
    beside: Edited | None = None
    if all(check.passed for check in checks):  # nobody pays for a placebo of a bad edit
        beside = _placebo(desk, entry, picture, seeds[1])
    if beside is not None:
        checks = (*checks, placebo_check(beside))
    shuffle_seed = seeds[0]
    place = entry.number % len(photo.options)
    return EditPair(
        pair_id=photo.id,
        family=FAMILY,
        subset=photo.subset,
        source=Source(id=hashlib.sha256(raw.tobytes()).hexdigest()[:16], licence=photo.licence),
        question=photo.question,
        options=ordered(photo.options, photo.gold_edited, place, shuffle_seed),
        shuffle_seed=shuffle_seed,
        raw=desk.keep(raw, photo.gold_raw),
        edited=desk.keep(edited.pixels, photo.gold_edited),
        placebo=None if beside is None else desk.keep(beside.pixels, photo.gold_raw),
        placebo_name=photo.placebo_instruction or "",
        cue=desk.keep_cue(photo.cue, photo.old, photo.new, mask),
        perception=perceived_in(photo, entry.number),
        edit=edit_record(
            edited.result, photo.instruction, {} if photo.edited else {"seed": seeds[0]}
        ),
        checks=checks,
    )


def perceived_in(photo: Photograph, number: int) -> tuple[Perception, ...]:
    """Whether a viewer sees the cue: about its new value or, in every second pair, its old one.

    Were it always the new one, whoever says yes to everything would be right about every edited
    picture. A question about the new value is turned into one about the old by its words, where
    `perception_old` gives none and the new value stands in it once.

    Args:
        number: of the photograph in its list. It decides, by a rule that goes through all places
            of the answer, so that the letter does not tell which it is.
    """
    turned = tuple(filter(None, (_about_old(photo, text) for text in photo.perception)))
    old = photo.perception_old or turned
    is_old = (number + number // len(photo.options)) % 2 == 1
    if old and (is_old or not photo.perception):
        return tuple(Perception(text=text, gold_raw="yes", gold_edited="no") for text in old)
    return tuple(
        Perception(text=text, gold_raw="no", gold_edited="yes") for text in photo.perception
    )


def _about_old(photo: Photograph, text: str) -> str:
    """The question with the old value in place of the new one; "" where words do not tell how."""
    new, old = (rf"(?<!\w){re.escape(value)}(?!\w)" for value in (photo.new, photo.old))
    if len(re.findall(new, text, re.IGNORECASE)) != 1 or re.search(old, text, re.IGNORECASE):
        return ""
    return re.sub(new, lambda _: photo.old, text, flags=re.IGNORECASE)


def _placebo(desk: Desk, entry: Entry, picture: Loaded, seed: int) -> Edited | None:
    photo, where = entry.photo, f"placebo of {entry.photo.id}"
    beside = entry.placebo_mask(picture.size)
    if beside is None:
        return None
    if photo.placebo is not None:
        return desk.gated(picture.pixels, _given(entry, photo.placebo), beside, where)
    words = photo.placebo_instruction or ""
    return desk.edit_pixels(picture.pixels, words, beside, seed, where)


def _given(entry: Entry, name: str) -> EditResult:
    """A picture that somebody edited, as if an editor had sent it."""
    data = read_bytes(entry.file(name))
    return EditResult(
        image=data,
        backend=GIVEN,
        version="1",
        request=hashlib.sha256(data).hexdigest(),
        usage={},
        deterministic=True,
        exact_mask=False,
        native_size=entry.open(name).size,
    )
