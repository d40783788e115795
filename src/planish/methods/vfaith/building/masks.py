"""Masks of edits: [height, width] bool, true where pixels may change.

mask = box_mask((10, 10, 40, 40), (64, 96))
box_of(mask)                                    (10, 10, 40, 40)
one_bit(mask)                                   PNG
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from planish.methods.vfaith.verifying.gates import Bools

__all__ = ["box_mask", "box_of", "one_bit"]


def box_mask(box: Sequence[float], shape: tuple[int, ...]) -> Bools:
    """True inside a box of left, top, right, bottom in pixels; [height, width]."""
    left, top, right, bottom = box
    mask = np.zeros(shape[:2], np.bool_)
    mask[max(0, int(top)) : int(np.ceil(bottom)), max(0, int(left)) : int(np.ceil(right))] = True
    return mask


def box_of(mask: Bools) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a mask that is not empty; right and bottom excluded."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def one_bit(mask: Bools) -> bytes:
    """A mask as PNG with one bit a pixel: a tenth of the time, and pictures are most of it."""
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG", compress_level=3)
    return stream.getvalue()
