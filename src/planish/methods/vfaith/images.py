"""Pictures in and out of a bench: anybody's files as plain pixels, and PNG files named by their bytes.

    picture = open_image(Path("photo.jpg"))
    picture.pixels                          uint8, (height, width, 3), RGB
    picture.flags                           ("cmyk", "rotated"): what had to be changed to get there
    editable = open_mask(Path("mask.png"), (640, 480))
    name, sha256 = keep(Path("bench"), "images", encode(picture.pixels))

Nothing is decoded before its size is known and allowed, so that a small file cannot fill the
memory. Formats that run other programs or hold pages (EPS, PDF) are not opened at all.
"""  # noqa: E501 - one line to read

from __future__ import annotations

import contextlib
import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from planish.models.pictures import BROKEN, LONGEST_SIDE, decoded, read_bytes, unreadable, upright
from planish.records import BadInput, replacing
from planish.runs.lines import raise_if_full

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "FLAGS",
    "LONGEST_SIDE",
    "Loaded",
    "check_png",
    "decode",
    "encode",
    "keep",
    "open_image",
    "open_mask",
    "write_bytes",
]

Pixels = npt.NDArray[np.uint8]
Editable = npt.NDArray[np.bool_]

FLAGS: dict[str, str] = {
    "16-bit": "16 bits a channel, brought down to 8",
    "alpha": "transparent pixels, put on white",
    "animation": "several frames; the first was taken",
    "cmyk": "printing colours, turned to RGB without a profile",
    "grey": "no colours",
    "palette": "colours from a table",
    "rotated": "turned as its EXIF tag says",
}
"""What `Loaded.flags` may hold, and its meaning."""

_MASKS = ("PNG", "BMP", "GIF", "TIFF", "WEBP")
_ORIENTATION = 274  # the EXIF tag
_LEVEL = 3  # of zlib: a third of the default's time, and files 3 % larger on photographs
_UP = 2  # the PNG filter that predicts a byte from the one above
_COLOURS = {(): 0, (3,): 2, (4,): 6}  # PNG's colour types: grey, RGB, RGB with alpha
_HEAD = 1 << 12  # bytes of a WEBP file that tell how it was coded
_SUFFIX = ".png"
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Loaded:
    """A picture as every gate and every editor sees it.

    Args:
        pixels: uint8, (height, width, 3), RGB.
        flags: what was changed on the way, in the order of the alphabet; see `FLAGS`.
    """

    pixels: Pixels
    flags: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.pixels.shape[:2]
        return width, height


def open_image(path: Path) -> Loaded:
    """Reads a picture's file.

    Raises:
        BadInput: no such file, or as `decode`.
    """
    return decode(_bytes_of(path), str(path))


def decode(data: bytes, where: str) -> Loaded:
    """A picture's bytes as RGB pixels: turned upright, on white, the first frame of several.

    Args:
        where: the file, or whoever sent the bytes; for messages.

    Raises:
        BadInput: not a picture, cut off or otherwise broken, too large, or of pixels that have no
            known range (TIFF files of floats).
    """
    image = decoded(data, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flags = set(_flags(image))
    except BROKEN as error:
        raise unreadable(where, error) from None
    pixels = np.array(upright(image, where), dtype=np.uint8)
    return Loaded(pixels, tuple(sorted(flags)))


def check_png(data: bytes, where: str) -> tuple[int, int]:
    """Width and height of a picture that any model may be sent as it is.

    That is what a bench holds: a whole PNG file, RGB of 8 bits, that nobody has to turn.

    Raises:
        BadInput: it is anything else, such as a JPEG under a PNG's name, or is cut off.
    """
    if not data.startswith(_PNG):
        raise _unsendable("no PNG file, whatever its name says", where)
    _check_whole(data, where)
    image = decoded(data, where, ("PNG",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [FLAGS[flag] for flag in sorted(_flags(image))]
    if found:
        raise _unsendable(f"not plain RGB ({found[0]})", where)
    if data[12:16] != b"IHDR" or (data[24], data[25]) != (8, _COLOURS[3,]):
        raise _unsendable("not RGB of 8 bits", where)
    return image.size


def _check_whole(data: bytes, where: str) -> None:
    """Every part is there with its sum, to the last one: Pillow opens a file without its end."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        if len(data) < at + 12:
            raise _unsendable("cut off", where)
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 8 + length
        told = data[end : end + 4]
        if len(told) < 4:
            raise _unsendable("cut off", where)
        if struct.pack(">I", zlib.crc32(memoryview(data)[at + 4 : end])) != told:
            raise _unsendable("damaged", where)
        at = end + 4


def _unsendable(why: str, where: str) -> BadInput:
    return BadInput(
        f"the picture is {why}",
        where=where,
        fix="a bench holds whole PNG files, RGB of 8 bits: save it as one, and its hash with it",
    )


def _flags(image: Image.Image) -> Iterator[str]:
    """What has to be changed on the way; a broken file may fail only here."""
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        yield "animation"
    if image.has_transparency_data:
        yield "alpha"
    if image.mode in ("P", "PA"):
        yield "palette"
    elif image.mode == "CMYK":
        yield "cmyk"
    elif image.mode in ("1", "L", "LA", "La"):
        yield "grey"
    if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
        yield "rotated"
    if image.mode.startswith(("I", "F")):
        yield from ("16-bit", "grey")


def open_mask(path: Path, size: tuple[int, int]) -> Editable:
    """Where an edit may change pixels: wherever the mask's file, turned upright, is not black.

    Args:
        size: width and height of the picture that it belongs to.

    Returns:
        bool, (height, width).

    Raises:
        BadInput: as `decode`; another size than the picture's; a lossy file; several frames;
            transparent pixels, which mean the opposite to other tools; all or nothing editable.
    """
    where = str(path)
    data = _bytes_of(path)
    if data[:3] == b"\xff\xd8\xff":
        raise _blurred("JPEG", where)
    image = _mask_in(data, where)
    if image.size != size:
        raise BadInput(
            f"the mask has {_by(image.size)} pixels, its picture {_by(size)}",
            where=where,
            fix="give a mask of the picture's size",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if image.has_transparency_data and _some_clear(image):
            raise BadInput(
                "the mask has transparent pixels, which some tools take for editable and others "
                "for protected",
                where=where,
                fix="save it without alpha: white where the edit may change pixels, else black",
            )
        if image.mode.startswith(("I", "F")):
            editable: Editable = np.asarray(image) != 0
        elif image.mode in ("1", "L"):
            editable = np.asarray(image).astype(bool)
        else:
            editable = (np.asarray(image.convert("RGB")) != 0).any(axis=-1)
    if editable.all() or not editable.any():
        found = "all" if editable.all() else "nothing"
        raise BadInput(
            f"{found} of the picture is editable by this mask",
            where=where,
            fix="paint white what the edit may change and all else black; is the mask inverted?",
        )
    return editable


def encode(image: Image.Image | npt.NDArray[Any]) -> bytes:
    """PNG bytes: the same pixels give the same bytes, whatever else the image carries.

    Every line is written as its difference from the one above. Pillow tries five ways for each
    line, which takes three times as long on drawings and saves 2 % on photographs.

    Args:
        image: RGB or grey; as an array uint8 of (height, width) or (height, width, 3 or 4), or bool
            of (height, width), which becomes black and white.
    """
    # Through an array, so that no profile and no date of the source is written with it.
    array = np.asarray(image)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    colours = _COLOURS.get(array.shape[2:])
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or colours is None:
        raise TypeError(f"no picture: {array.dtype} of shape {array.shape}")
    height, width = array.shape[:2]
    lines = array.reshape(height, -1)
    filtered = np.empty((height, 1 + lines.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[:1, 1:] = lines[:1]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])  # modulo 256, as the format has it
    head = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), _LEVEL)), (b"IEND", b"")
    return _PNG + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file: length, kind, data, check sum."""
    sum_ = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", sum_)))


def keep(folder: Path, kind: Literal["images", "masks"], data: bytes) -> tuple[str, str]:
    """Puts PNG bytes into a bench under their hash; nothing is written that is there already.

    Returns:
        The name relative to the folder, and the SHA-256.

    Raises:
        BadInput: the folder cannot be written.
        DiskFull: no room; what was there is left.
    """
    digest = hashlib.sha256(data).hexdigest()
    name = f"{kind}/{digest}{_SUFFIX}"
    path = folder / name
    # After a power cut a file may be there and empty: the length tells.
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(data):
            return name, digest
    try:
        write_bytes(path, data)
    except OSError as error:
        raise_if_full(error, path)
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="name a folder that can be written"
        ) from None
    return name, digest


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> None:
    """Writes a whole file, all or nothing; a reader sees the old one or the new one.

    Args:
        sync: wait until the disk has it: for what cannot be made again for nothing.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path, sync=sync) as out:
        out.write(data)


def _mask_in(data: bytes, where: str) -> Image.Image:
    """One whole picture, upright, in which black is black."""
    from PIL import ImageOps

    image = decoded(data, where, _MASKS)
    if image.format == "WEBP" and b"VP8 " in data[:_HEAD]:
        raise _blurred("lossy WEBP", where)
    if image.format == "TIFF" and image.info.get("compression") in ("jpeg", "webp"):
        raise _blurred("lossy TIFF", where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if getattr(image, "n_frames", 1) > 1:
                raise BadInput(
                    "the mask has several frames", where=where, fix="save the one that is meant"
                )
            return ImageOps.exif_transpose(image)
    except BROKEN as error:
        if isinstance(error, BadInput):
            raise
        raise unreadable(where, error) from None


def _blurred(kind: str, where: str) -> BadInput:
    return BadInput(
        f"a {kind} mask is blurred, and nothing in it is quite black",
        where=where,
        fix="save the mask as PNG",
    )


def _bytes_of(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except (OSError, ValueError) as error:
        raise BadInput(
            getattr(error, "strerror", None) or str(error), where=str(path), fix="check the path"
        ) from None


def _some_clear(image: Image.Image) -> bool:
    return bool((np.asarray(image.convert("RGBA"))[..., 3] < 255).any())


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]:,} x {size[1]:,}"
