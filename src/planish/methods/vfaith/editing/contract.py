"""What an editor is: it gets a picture and words, and gives a picture back.

    editor = load_editor("openai:gpt-image-2-2026-04-21?quality=high")
    request = EditRequest(image=png, instruction="Make the banana blue.", mask=mask_png)
    result = Shelf(Path("bench/edits")).edit(editor, request)       see `shelf`

| editor | what it is |
|---|---|
| `scene` | draws the changed scene: exact, free, the same bytes every time |
| `openai:MODEL`, `openai:MODEL@http://HOST/v1` | `POST /images/edits` of an endpoint |
| `diffusers:FOLDER` | a saved pipeline, `pip install 'planish[diffusers]'` |

Backends disagree about masks: an endpoint repaints where alpha is 0, a pipeline where the mask is
white. Here a mask is a PNG in which **whatever is not black may be changed**; each editor turns it
into what its backend wants.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from planish.methods.vfaith.images import decode, encode
from planish.records import BadInput, explain

__all__ = [
    "EditFailed",
    "EditRefused",
    "EditRequest",
    "EditResult",
    "Editor",
    "Options",
    "checked",
    "cropped",
    "editable_of",
    "load_editor",
    "request_key",
]

Window = tuple[float, float, float, float]

_EDITORS = ("scene", "openai:MODEL@URL", "diffusers:FOLDER")


class EditRefused(BadInput):
    """The backend will not make this edit (its moderation says so); others it may make."""


class EditFailed(OSError):
    """No picture came, whatever was tried; nothing about the request is wrong."""


@dataclass(frozen=True)
class EditRequest:
    """One edit.

    Args:
        image: of the raw picture, PNG.
        instruction: in words.
        mask: PNG of the picture's size, not black where pixels may change; None: anywhere.
        scene: what is drawn, as `Scene.dump` wrote it; None for a photograph.
        change: {"path": [...], "value": ...} of the scene.
        seed: for backends that take one; for the others it tells two tries apart.
        params: of the backend; they go before the options of the editor.
    """

    image: bytes
    instruction: str
    mask: bytes | None = None
    scene: Mapping[str, JsonValue] | None = None
    change: Mapping[str, JsonValue] | None = None
    seed: int = 0
    params: Mapping[str, JsonValue] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """SHA-256 of all of it."""
        parts = {
            "image": hashlib.sha256(self.image).hexdigest(),
            "instruction": self.instruction,
            "mask": None if self.mask is None else hashlib.sha256(self.mask).hexdigest(),
            "scene": self.scene,
            "change": self.change,
            "seed": self.seed,
            "params": dict(self.params),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class EditResult:
    """What an editor made of a request.

    Args:
        image: as it came, before anybody looked at it; it may be no picture at all.
        backend, version: of the editor; the version holds everything but the request that decides
            the pixels.
        request: `request_key` of editor and request.
        usage: what it cost, as the backend says.
        deterministic: the same request gives the same bytes.
        exact_mask: the editor promises to leave everything outside the mask alone.
        native_size: width and height that the editor worked in.
        window: left, top, right, bottom, as shares of the picture, of the part that is the raw
            picture; the rest was added to fit a size that the backend can do. None: all of it.
        pixels: of the image, [height, width, 3] uint8, where the editor had them anyway: nobody
            needs to decode it then.
    """

    image: bytes
    backend: str
    version: str
    request: str
    usage: Mapping[str, JsonValue]
    deterministic: bool
    exact_mask: bool
    native_size: tuple[int, int]
    window: Window | None = None
    pixels: npt.NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)


class Editor(Protocol):
    """Whoever makes edits. It can be pickled, so that processes may share the work."""

    @property
    def name(self) -> str:
        """Of the backend."""

    @property
    def version(self) -> str:
        """All that decides the pixels besides the request: model, weights, options."""

    def edit(self, request: EditRequest) -> EditResult:
        """Makes one edit and looks at nothing: what was paid for is kept first, see `Shelf`.

        Raises:
            EditRefused: the backend will not do this one.
            EditFailed: no picture came.
            BadInput: the request or the editor's set-up is wrong.
        """


def request_key(editor: Editor, request: EditRequest) -> str:
    """SHA-256 of the request and of who is asked; results are kept under it."""
    text = json.dumps([editor.name, editor.version, request.key])
    return hashlib.sha256(text.encode()).hexdigest()


def cropped(result: EditResult) -> EditResult:
    """The result without what was added around the raw picture; in the backend's resolution.

    A picture that cannot be read stays as it is: the gates say so.
    """
    if result.window is None:
        return result
    try:
        picture = decode(result.image, result.backend)
    except BadInput:
        return result
    left, top, right, bottom = (
        round(share * side) for share, side in zip(result.window, picture.size * 2, strict=True)
    )
    part = encode(picture.pixels[top:bottom, left:right])
    return replace(result, image=part, window=None, pixels=None)


def editable_of(request: EditRequest, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """The request's mask, bool (height, width), true where pixels may change.

    Raises:
        BadInput: it cannot be read or has another size.
    """
    if request.mask is None:
        return np.ones(size[::-1], dtype=np.bool_)
    mask = decode(request.mask, "mask of an edit")
    if mask.size != size:
        raise BadInput(
            f"the mask has {mask.size[0]} x {mask.size[1]} pixels, its picture "
            f"{size[0]} x {size[1]}",
            where="mask of an edit",
            fix="give a mask of the picture's size",
        )
    editable: npt.NDArray[np.bool_] = (mask.pixels != 0).any(axis=-1)
    return editable


class Options(BaseModel):
    """Base of what may follow the question mark of an editor's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


O = TypeVar("O", bound=Options)  # noqa: E741


def checked(kind: type[O], given: Mapping[str, Any], where: str) -> O:
    """Options of an editor.

    Raises:
        BadInput: an unknown one, or a value that cannot be.
    """
    if unknown := sorted(given.keys() - kind.model_fields.keys()):
        known = ", ".join(kind.model_fields)
        raise BadInput(f"there is no option {unknown[0]!r}", where=where, fix=f"known: {known}")
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        raise BadInput(f"option {explain(error)}", where=where) from None


def load_editor(spec: str) -> Editor:
    """The editor that a string names, see the table above.

    Options follow a question mark: `openai:MODEL?quality=low&timeout=60`.

    Raises:
        BadInput: no such editor, no model named, an unknown option, a missing key, a folder that
            holds no pipeline, or an extra that is not installed.
    """
    scheme, _, rest = spec.strip().partition(":")
    target, _, query = rest.partition("?")
    options = _options(query, spec)
    if scheme == "scene" and not rest:
        from planish.methods.vfaith.editing.scene import SceneEditor

        return SceneEditor()
    if scheme == "openai":
        from planish.methods.vfaith.editing.openai_images import ImagesOptions, OpenAIImages

        # Model names may hold an @ of their own, so the URL's scheme decides.
        at = re.search(r"@(?=https?://)", target)
        model, url = (target[: at.start()], target[at.end() :]) if at else (target, "")
        if not model or "://" in model:
            raise BadInput(
                "no model is named, and what an endpoint takes by default changes without a word",
                where=spec,
                fix="write openai:MODEL or openai:MODEL@http://HOST:PORT/v1",
            )
        return OpenAIImages(model, url or None, checked(ImagesOptions, options, spec))
    if scheme == "diffusers" and target:
        from planish.methods.vfaith.editing.diffusion import Diffusion, DiffusionOptions

        return Diffusion(target, checked(DiffusionOptions, options, spec))
    raise BadInput(
        f"{spec!r} does not name an editor", where="editor", fix=f"one of {', '.join(_EDITORS)}"
    )


def _options(query: str, spec: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, equals, value = item.partition("=")
        if not equals or name in found:
            what = "is given twice" if name in found else "should read option=value"
            raise BadInput(f"{item!r} {what}", where=spec, fix="write ?option=value&option=value")
        found[name] = unquote(value)
    return found
