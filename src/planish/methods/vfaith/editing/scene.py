"""The exact editor: changes one field of a scene and draws it again.

    request = EditRequest(image=png, instruction="...", scene=scene.dump(),
                          change={"path": ["fruits", 0, "colour"], "value": "blue"})
    SceneEditor().edit(request).image       PNG; the same request gives the same bytes

It needs no mask: whatever a change of the scene leaves alone is drawn alike, pixel for pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
from pydantic import ValidationError

from planish.methods.vfaith.editing.contract import EditRequest, EditResult, request_key
from planish.methods.vfaith.images import encode
from planish.methods.vfaith.scenes import load_scene
from planish.records import BadInput, explain

__all__ = ["SceneEditor"]

_VERSION = "1"  # of how this package draws; counted up when a family's pixels change


class SceneEditor:
    """Draws the changed scene; see `Editor`."""

    name = "scene"

    @property
    def version(self) -> str:
        """How scenes are drawn, and by which Pillow, whose glyphs may differ."""
        return f"{_VERSION}+pillow-{PIL.__version__}"

    def edit(self, request: EditRequest) -> EditResult:
        """See `Editor.edit`.

        Raises:
            BadInput: no scene or no change is given, or the scene does not allow it.
        """
        if request.scene is None or request.change is None:
            raise BadInput(
                "the scene editor changes scenes, and this picture comes without one",
                where="editor scene",
                fix="name a generative editor for photographs, such as openai:MODEL",
            )
        change: dict[str, Any] = dict(request.change)
        try:
            scene = load_scene(request.scene).changed(change["path"], change["value"])
        except ValidationError as error:
            raise _impossible(explain(error)) from None
        except (LookupError, TypeError) as error:
            raise _impossible(f"{type(error).__name__}: {error}") from None
        pixels = np.asarray(scene.draw())
        return EditResult(
            image=encode(pixels),
            backend=self.name,
            version=self.version,
            request=request_key(self, request),
            usage={},
            deterministic=True,
            exact_mask=True,
            native_size=(scene.size, scene.size),
            pixels=pixels,
        )


def _impossible(why: str) -> BadInput:
    return BadInput(
        f"the scene does not allow this change ({why})",
        where="editor scene",
        fix="check path and value",
    )
