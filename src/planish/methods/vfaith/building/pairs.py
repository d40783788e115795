"""One pair from a slot: drawn, edited, edited beside the point, and put through every gate.

    desk = Desk(Path("bench"), plan, load_editor("scene"))
    pair = draw_pair(desk, plan.slots(plan.parts[0])[0])
    pair.passed, pair.codes

An editor that is exact is given the scene and the change; the mask is where its picture differs
from the raw one, and what it must keep to is not the mask but the thing's region. Any other editor
is given the raw picture, the instruction and the box of the thing as its mask. Its picture is
measured as it came; only then is everything outside the mask put back, so that a model sees nothing
but the edit. What it was paid for is on the shelf before that.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import JsonValue, ValidationError

from planish.methods.vfaith.building.masks import box_mask, box_of, one_bit
from planish.methods.vfaith.building.plan import Plan, Slot
from planish.methods.vfaith.data import Check, Cue, Edit, EditPair, Picture, Source
from planish.methods.vfaith.editing.contract import (
    Editor,
    EditRefused,
    EditRequest,
    EditResult,
    request_key,
)
from planish.methods.vfaith.editing.shelf import Shelf
from planish.methods.vfaith.images import decode, encode, keep
from planish.methods.vfaith.method import Draft, draw, perceived
from planish.methods.vfaith.scenes import FAMILIES, Scene
from planish.methods.vfaith.scenes.base import Knob
from planish.methods.vfaith.verifying.gates import (
    Bools,
    Pixels,
    changed,
    compare,
    fit,
    undecodable,
    widened,
)
from planish.methods.vfaith.verifying.scene_gates import Rendered, check_scenes, region_of
from planish.records import BadInput

__all__ = ["EDITS", "LICENCE", "Desk", "Edited", "draw_pair"]

EDITS = "edits"
"""Folder of a bench with everything that an editor was paid for."""

LICENCE = "CC0-1.0"
"""Of drawn scenes: nobody needs to ask."""


@dataclass(frozen=True)
class Edited:
    """What came of one request.

    Args:
        result: of the editor.
        pixels: [height, width, 3] uint8 of the raw picture's size; the raw picture itself where
            nothing could be used.
        checks: of the gates between raw and edited picture.
    """

    result: EditResult
    pixels: Pixels
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every one of its gates let it through."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Desk:
    """Where pairs are made: the bench's folder, its plan, and the editor."""

    folder: Path
    plan: Plan
    editor: Editor

    @property
    def exact(self) -> bool:
        """Whether scenes are edited as data."""
        return self.plan.editor == "scene"

    def edit(self, request: EditRequest) -> EditResult:
        """Asks the editor; a paid reply is kept before anybody looks at it."""
        if self.exact:
            return self.editor.edit(request)  # free, and the same bytes every time
        return Shelf(self.folder / EDITS).edit(self.editor, request)

    def edit_pixels(
        self, raw: Pixels, instruction: str, mask: Bools, seed: int, where: str
    ) -> Edited:
        """An edit by a generative editor: gated as it came, then put into the raw picture."""
        request = self.request(raw, instruction, mask, seed)
        try:
            return self.gated(raw, self.edit(request), mask, where)
        except EditRefused:
            refused = Check(gate="decode", passed=False, code="refused")
            return self.unedited(raw, request, refused)

    def request(self, raw: Pixels, instruction: str, mask: Bools, seed: int) -> EditRequest:
        """What a generative editor is asked."""
        return EditRequest(image=encode(raw), instruction=instruction, mask=encode(mask), seed=seed)

    def unedited(self, raw: Pixels, request: EditRequest, *checks: Check) -> Edited:
        """The raw picture in place of an edit that never was."""
        nothing = EditResult(
            image=b"",
            backend=self.editor.name,
            version=self.editor.version,
            request=request_key(self.editor, request),
            usage={},
            deterministic=False,
            exact_mask=False,
            native_size=(raw.shape[1], raw.shape[0]),
        )
        return Edited(nothing, raw, checks)

    def gated(self, raw: Pixels, result: EditResult, mask: Bools, where: str) -> Edited:
        """A result as it came through the gates, then put into the raw picture."""
        try:
            pixels = decode(result.image, where).pixels
        except BadInput:
            return Edited(result, raw, (undecodable(),))
        checks = compare(raw, pixels, mask, self.plan.gates, exact=False)
        fitted, _ = fit(raw, pixels)
        if fitted is None:
            return Edited(result, raw, checks)
        inside = widened(mask, self.plan.gates.margin)
        return Edited(result, np.where(inside[..., None], fitted, raw), checks)

    def keep(self, pixels: Pixels, gold: str, scene: Scene | None = None) -> Picture:
        """Puts a picture into the bench."""
        return self.keep_bytes(encode(pixels), gold, scene)

    def keep_bytes(self, data: bytes, gold: str, scene: Scene | None = None) -> Picture:
        """As `keep`, of PNG bytes."""
        name, sha256 = keep(self.folder, "images", data)
        return Picture(
            file=name, sha256=sha256, gold=gold, scene=None if scene is None else scene.dump()
        )

    def keep_cue(self, name: str, old: str, new: str, mask: Bools) -> Cue:
        """Puts a mask into the bench."""
        file, sha256 = keep(self.folder, "masks", one_bit(mask))
        return Cue(name=name, old=old, new=new, mask=file, mask_sha256=sha256, box=box_of(mask))


def draw_pair(desk: Desk, slot: Slot) -> EditPair:
    """The pair of a slot, with its pictures in the bench; whether it passed is in its checks.

    Raises:
        Exhausted: the family gave no usable scene.
    """
    plan = desk.plan
    draft = draw(
        FAMILIES[slot.family],
        random.Random(slot.seed(plan.seed)),
        size=plan.size,
        typical=slot.typical,
        place=slot.place,
        kind=slot.kind,
    )
    raw = np.asarray(draft.raw.draw())
    if desk.exact:
        return _exact(desk, slot, draft, raw)
    return _generated(desk, slot, draft, raw)


# ---- exact edits


def _exact(desk: Desk, slot: Slot, draft: Draft, raw: Pixels) -> EditPair:
    data = encode(raw)
    edited, placebo = (
        desk.edit(
            EditRequest(
                image=data,
                instruction=words,
                scene=draft.raw.dump(),
                change={"path": list(knob.path), "value": _value(scene, knob)},
                seed=desk.plan.seed,
            )
        )
        for scene, knob, words in (
            (draft.edited, draft.cue, draft.instruction),
            (draft.placebo, draft.other, _placebo_words(draft)),
        )
    )
    after, beside = _pixels(edited), _pixels(placebo)
    mask = changed(raw, after)
    if not mask.any() or mask.all():  # the gates will say so
        mask = box_mask(_box(draft.raw, draft.cue), raw.shape[:2])
    # The mask is made of what differs, so that nothing could ever differ outside it: what the edit
    # is held to is where the thing stands, before and after.
    region = np.zeros_like(mask)
    for scene in (draft.raw, draft.edited):
        region |= box_mask(region_of(scene, draft.cue.path), region.shape)
    checks = (
        *compare(raw, after, mask, desk.plan.gates, exact=True, region=region),
        *_scene_checks(draft, (raw, after, beside)),
    )
    return _record(
        desk,
        slot,
        draft,
        raw=desk.keep_bytes(data, draft.gold_raw, draft.raw),
        edited=desk.keep_bytes(edited.image, draft.gold_edited, draft.edited),
        placebo=desk.keep_bytes(placebo.image, draft.gold_raw, draft.placebo),
        mask=mask,
        edit=edit_record(edited, draft.instruction, {}),
        checks=checks,
    )


# ---- generated edits of drawn scenes


def _generated(desk: Desk, slot: Slot, draft: Draft, raw: Pixels) -> EditPair:
    gates = desk.plan.gates
    masks = [
        widened(box_mask(_box(draft.raw, knob), raw.shape[:2]), gates.margin)
        for knob in (draft.cue, draft.other)
    ]
    seeds = edit_seeds(slot.seed(desk.plan.seed))
    edited = desk.edit_pixels(raw, draft.instruction, masks[0], seeds[0], slot.name)
    checks = (*edited.checks, *_cue_is_there(draft, edited, masks[0]))
    placebo: Picture | None = None
    # Nobody pays for a placebo of a bad edit, or for one that no arm shows.
    if slot.kind == "pair" and all(check.passed for check in checks):
        beside = desk.edit_pixels(raw, _placebo_words(draft), masks[1], seeds[1], slot.name)
        checks = (*checks, placebo_check(beside))
        placebo = desk.keep(beside.pixels, draft.gold_raw)
    return _record(
        desk,
        slot,
        draft,
        raw=desk.keep(raw, draft.gold_raw, draft.raw),
        edited=desk.keep(edited.pixels, draft.gold_edited),
        placebo=placebo,
        mask=masks[0],
        edit=edit_record(edited.result, draft.instruction, {"seed": seeds[0]}),
        checks=checks,
    )


def _cue_is_there(draft: Draft, edited: Edited, mask: Bools) -> tuple[Check, ...]:
    """Of all values of the cue, does the edited picture look most like the one asked for?

    The scene says what each would look like. Value: its distance from the one asked for, over that
    from the nearest other; below 1 it passes.
    """
    if not edited.passed:
        return ()
    pixels = edited.pixels[mask].astype(np.int16)

    def far(scene: Scene) -> float:
        return float(np.abs(pixels - np.asarray(scene.draw())[mask]).mean())

    wanted, old = far(draft.edited), far(draft.raw)
    rest = [
        far(scene)
        for scene in _alternatives(draft)
        if scene.solve(draft.ask) not in (draft.new, draft.old)
    ]
    nearest = min(old, *rest)
    code = "" if wanted < nearest else "old_present" if old == nearest else "new_absent"
    ratio = wanted / nearest if nearest else None
    return (Check(gate="cue", value=ratio, passed=not code, code=code),)


def _alternatives(draft: Draft) -> Iterator[Scene]:
    for value in draft.cue.values:
        with contextlib.suppress(ValidationError):  # not every value is legal in every scene
            yield draft.raw.changed(draft.cue.path, value)


def placebo_check(placebo: Edited) -> Check:
    """All gates of a generated placebo as one: it must be as good an edit as the cue's."""
    failed = [check for check in placebo.checks if not check.passed]
    value = next((check.value for check in placebo.checks if check.gate == "containment"), None)
    return Check(
        gate="placebo", value=value, passed=not failed, code=failed[0].code if failed else ""
    )


# ---- parts


def edit_record(result: EditResult, instruction: str, params: dict[str, JsonValue]) -> Edit:
    """How the edited picture came to be, for the record."""
    return Edit(
        backend=result.backend,
        version=result.version,
        instruction=instruction,
        params=params,
        request=result.request,
        deterministic=result.deterministic,
        exact_mask=result.exact_mask,
        native_size=result.native_size,
    )


def edit_seeds(text: str) -> tuple[int, int]:
    """Seeds of the edit and of its placebo; 31 bits, as every backend takes them."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1, int.from_bytes(digest[4:8], "big") >> 1


def _record(
    desk: Desk,
    slot: Slot,
    draft: Draft,
    *,
    raw: Picture,
    edited: Picture,
    placebo: Picture | None,
    mask: Bools,
    edit: Edit,
    checks: tuple[Check, ...],
) -> EditPair:
    return EditPair(
        pair_id=slot.name,
        kind=slot.kind,
        family=slot.family,
        subset=FAMILIES[slot.family].subset,
        source=Source(id=slot.name, licence=LICENCE),
        question=draft.question,
        options=draft.options,
        shuffle_seed=draft.shuffle_seed,
        ask=draft.ask,
        typical=draft.typical,
        raw=raw,
        edited=edited,
        placebo=placebo,
        placebo_name=draft.other.name,
        cue=desk.keep_cue(draft.cue.name, draft.old, draft.new, mask),
        perception=(perceived(draft, slot.name),) if slot.kind == "pair" else (),
        edit=edit,
        checks=checks,
    )


def _pixels(result: EditResult) -> Pixels:
    """Of an exact edit, which comes with them."""
    return decode(result.image, result.backend).pixels if result.pixels is None else result.pixels


def _scene_checks(draft: Draft, rendered: Rendered) -> tuple[Check, ...]:
    return check_scenes(
        raw=draft.raw,
        edited=draft.edited,
        placebo=draft.placebo,
        ask=draft.ask,
        options=draft.options,
        gold_raw=draft.gold_raw,
        gold_edited=draft.gold_edited,
        cue_path=draft.cue.path,
        other_path=draft.other.path,
        question=draft.question,
        rendered=rendered,
    )


def _placebo_words(draft: Draft) -> str:
    return draft.other.instruction.format(answer=draft.placebo.solve(draft.other.ask))


def _value(scene: Scene, knob: Knob) -> JsonValue:
    """What stands at a knob's path."""
    place: Any = scene.model_dump(mode="json")
    for step in knob.path:
        place = place[step]
    value: JsonValue = place
    return value


def _box(scene: Scene, knob: Knob) -> tuple[float, float, float, float]:
    """The knob's region in pixels."""
    left, top, right, bottom = (scene.size * at for at in scene.region(knob.path))
    return left, top, right, bottom
