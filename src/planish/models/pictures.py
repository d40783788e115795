"""Pictures as messages name them: a file path or a `data:` URL, opened with care.

    open_picture("chart.png").mode          "RGB"
    open_picture("data:image/png;base64,...")

A picture is turned as its EXIF tag says, put on white where it is transparent, and only the first
frame of an animation is taken, so that every model sees what a person would see.
"""

from __future__ import annotations

import base64
import binascii
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from planish.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MOST_PIXELS", "open_picture", "picture_bytes", "upright"]

MOST_PIXELS = 64_000_000
"""Larger pictures are refused before a pixel is decoded: 64 megapixels are 192 MB."""

_SHOWN = 80


def picture_bytes(picture: str) -> bytes:
    """The bytes behind a path or a `data:` URL.

    Raises:
        BadInput: they cannot be read.
    """
    if not picture.startswith("data:"):
        try:
            return Path(picture).read_bytes()
        except (OSError, ValueError) as error:
            raise _unreadable(picture, getattr(error, "strerror", None) or str(error)) from None
    head, comma, body = picture.partition(",")
    if not comma:
        raise _unreadable(picture, "a data: URL without a comma")
    if not head.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise _unreadable(picture, str(error)) from None


def open_picture(picture: str) -> Image.Image:
    """The picture, RGB, whole in memory.

    Raises:
        BadInput: it cannot be read or decoded, or is larger than `MOST_PIXELS`.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a size that is looked at here
            image = Image.open(io.BytesIO(picture_bytes(picture)))
            if image.width * image.height > MOST_PIXELS:
                raise _unreadable(picture, f"{image.width} x {image.height} pixels are too many")
            image.load()
            return upright(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, BadInput):
            raise
        raise _unreadable(picture, str(error)) from None


def upright(image: Image.Image) -> Image.Image:
    """A loaded picture as RGB, turned as its EXIF tag says, on white."""
    from PIL import Image, ImageOps

    turned = ImageOps.exif_transpose(image)
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        ground = Image.new("RGBA", turned.size, (255, 255, 255, 255))
        turned = Image.alpha_composite(ground, turned)
    return turned.convert("RGB")


def _unreadable(picture: str, why: str) -> BadInput:
    where = picture if len(picture) <= _SHOWN else picture[:_SHOWN] + "..."
    return BadInput(f"the image cannot be read ({why})", where=where, fix="check the image")
