"""Pictures as messages name them: a file path or a `data:` URL, opened with care.

    open_picture("chart.png").mode          "RGB"
    open_picture("data:image/png;base64,...")

A picture is turned as its EXIF tag says, put on white where it is transparent, brought down to 8
bits, and only the first frame of an animation is taken, so that every model sees what a person
would see. Nothing is decoded before its size is known and allowed, so that a small file cannot fill
the memory; formats that run other programs or hold pages (EPS, PDF) are not opened at all.
"""

from __future__ import annotations

import base64
import binascii
import errno
import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from planish.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "BROKEN",
    "FORMATS",
    "LONGEST_SIDE",
    "MOST_PIXELS",
    "decoded",
    "open_picture",
    "picture_bytes",
    "read_bytes",
    "unreadable",
    "upright",
]

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

MOST_PIXELS = 64_000_000
"""Larger pictures are refused before a pixel is decoded: 64 megapixels are 192 MB."""

LONGEST_SIDE = 16_384
"""Pixels a side beyond which a picture is refused, besides `MOST_PIXELS` in all."""

BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, OverflowError, TypeError,
    MemoryError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow's readers raise on broken files."""

_SHOWN = 80
_SHARP = 1 << 16
_LARGEST = 1 << 30  # bytes: twice what the most pixels take with 16 bits and no compression


def read_bytes(path: str | Path) -> bytes:
    """A whole file, as anybody may have named it: a pipe or a device has no end, and is not opened.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger than any picture.
        ValueError: no file can have this name.
    """
    path = Path(path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.EINVAL, "not a plain file", str(path))
    if found.st_size > _LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return path.read_bytes()


def picture_bytes(picture: str) -> bytes:
    """The bytes behind a path or a `data:` URL.

    Raises:
        BadInput: they cannot be read.
    """
    if not picture.startswith("data:"):
        try:
            return read_bytes(picture)
        except (OSError, ValueError) as error:
            raise _refused(picture, getattr(error, "strerror", None) or str(error)) from None
    head, comma, body = picture.partition(",")
    if not comma:
        raise _refused(picture, "a data: URL without a comma")
    if not head.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise _refused(picture, str(error)) from None


def open_picture(picture: str) -> Image.Image:
    """The picture, RGB, whole in memory.

    Raises:
        BadInput: it cannot be read; see `decoded` and `upright`.
    """
    where = _short(picture)
    return upright(decoded(picture_bytes(picture), where), where)


def decoded(data: bytes, where: str, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A picture's bytes, loaded as they are.

    Args:
        where: the file, or whoever sent the bytes; for messages.
        formats: that may be opened.

    Raises:
        BadInput: not a picture, cut off or otherwise broken, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are looked at here
            image = Image.open(io.BytesIO(data), formats=formats)
            width, height = image.size
            if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
                raise BadInput(
                    f"{width:,} x {height:,} pixels are too many",
                    where=where,
                    fix=f"shrink it to {MOST_PIXELS // 1_000_000} megapixels and {LONGEST_SIDE:,} "
                    "a side at most",
                )
            image.load()
    except UnidentifiedImageError:
        raise BadInput(
            "not a picture, or cut off within its first bytes" if data else "the file is empty",
            where=where,
            fix=f"give one of {', '.join(formats)}",
        ) from None
    except Image.DecompressionBombError:
        raise BadInput(
            "too many pixels", where=where, fix=f"at most {MOST_PIXELS // 1_000_000} megapixels"
        ) from None
    except BROKEN as error:
        if isinstance(error, BadInput):
            raise
        raise unreadable(where, error) from None
    return image


def upright(image: Image.Image, where: str) -> Image.Image:
    """A loaded picture as RGB of 8 bits, turned as its EXIF tag says, on white.

    Raises:
        BadInput: its pixels have no known range (TIFF files of floats), or cannot be turned.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            turned = ImageOps.exif_transpose(image)
            if turned.mode.startswith(("I", "F")):
                turned = _narrowed(turned, where)
            if turned.has_transparency_data:
                turned = turned.convert("RGBA")
                ground = Image.new("RGBA", turned.size, (255, 255, 255, 255))
                turned = Image.alpha_composite(ground, turned)
            return turned.convert("RGB")
    except BROKEN as error:
        if isinstance(error, BadInput):
            raise
        raise unreadable(where, error) from None


def _narrowed(image: Image.Image, where: str) -> Image.Image:
    """Grey of 16 bits as grey of 8; Pillow's own conversion would clip it at 255."""
    import numpy as np
    from PIL import Image

    deep = np.asarray(image)
    if deep.dtype.kind == "f" or deep.min() < 0 or deep.max() >= _SHARP:
        raise BadInput(
            f"pixels of type {image.mode} have no known range",
            where=where,
            fix="save the picture with 8 or 16 bits a channel",
        )
    return Image.fromarray((deep // 257).astype(np.uint8))


def unreadable(where: str, error: BaseException) -> BadInput:
    """What is said of a file that is a picture, and broken."""
    return BadInput(
        f"the picture cannot be read ({error or type(error).__name__})",
        where=where,
        fix="it may be cut off; fetch or save it again",
    )


def _refused(picture: str, why: str) -> BadInput:
    return BadInput(
        f"the image cannot be read ({why})", where=_short(picture), fix="check the image"
    )


def _short(picture: str) -> str:
    """A path as it is, however long; of a data: URL its beginning."""
    return picture[:_SHOWN] + "..." if picture.startswith("data:") else picture
