"""A picture in a size that a backend can do, and the way back.

    fitted = fit(pixels, editable, (1536, 1024))
    fitted.pixels.shape         (1024, 1536, 3): scaled alike in both directions, edges continued
    fitted.window               where the raw picture is in it, as shares of its sides

A backend that is given another aspect than its own draws the whole scene anew, and nothing lies
where it lay. Padding keeps every pixel in its place; the padding is protected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Fitted", "fit"]


@dataclass(frozen=True)
class Fitted:
    """A picture and its mask in a backend's size.

    Args:
        pixels: uint8, (height, width, 3); editable: bool, (height, width).
        native_size: width and height of them.
        window: left, top, right, bottom of the raw picture in it, as shares; None if it fills it.
    """

    pixels: npt.NDArray[np.uint8]
    editable: npt.NDArray[np.bool_]
    native_size: tuple[int, int]
    window: tuple[float, float, float, float] | None


def fit(
    pixels: npt.NDArray[np.uint8],
    editable: npt.NDArray[np.bool_],
    size: tuple[int, int],
    *,
    enlarge: bool = True,
) -> Fitted:
    """Scales picture and mask into `size` (width, height) and pads what is left.

    The mask is scaled so that no pixel that may be changed is lost.

    Args:
        enlarge: a small picture is scaled up to `size`, else only padded.
    """
    from PIL import Image

    width, height = size
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    if not enlarge:
        scale = min(scale, 1.0)
    inner = (
        min(width, max(1, round(pixels.shape[1] * scale))),
        min(height, max(1, round(pixels.shape[0] * scale))),
    )
    picture, mask = Image.fromarray(pixels), Image.fromarray(editable.astype(np.uint8) * 255)
    if inner != picture.size:
        picture = picture.resize(inner, Image.Resampling.LANCZOS)
        mask = mask.resize(inner, Image.Resampling.BOX)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    around: Any = ((top, height - inner[1] - top), (left, width - inner[0] - left))
    window = None
    if inner != size:
        window = (
            left / width, top / height, (left + inner[0]) / width, (top + inner[1]) / height
        )  # fmt: skip
    return Fitted(
        np.pad(np.asarray(picture), (*around, (0, 0)), mode="edge"),
        np.pad(np.asarray(mask) > 0, around),
        size,
        window,
    )
