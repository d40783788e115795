"""Edits with a known fault, and faultless ones: what the gates must catch and must let through.

    case = planted_scene(1017)      or planted_photograph(1017)
    case.fault                      "leak_small", or "" for a good edit
    compare(case.raw, case.edited, case.mask, Gates(), exact=case.exact)

Ten in a hundred cases are bad, each kind of fault as often as the next. A good generative edit
recolours or repaints the inside of its mask and leaves the marks that coding leaves everywhere:
those of JPEG at quality 92 to 98, a slight blur, a picture that was worked on in another size. A
bad one has those too, and its fault on top, so that nothing but the fault tells them apart.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from planish.methods.vfaith.method import Exhausted, draw
from planish.methods.vfaith.scenes import FAMILIES
from planish.methods.vfaith.verifying.gates import Bools, Pixels, widened

__all__ = ["FAULTS", "LEAK", "SHARE", "Planted", "planted_photograph", "planted_scene"]

SHARE = 0.1
"""Of the cases that are bad."""

SIZE = 256
"""Pixels a side of every case."""

STRENGTH = 24
"""Levels by which a planted leak differs from what was there, in one channel at least."""

_TINY, _SMALL, _LARGE = (0.0002, 0.004), (0.004, 0.015), (0.03, 0.12)  # of the picture's area
_CLEAR = 8  # pixels between the mask and a planted leak
_TRIES = 200
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Planted:
    """A raw picture, an edit of it, and what is wrong with the edit.

    Args:
        raw, edited: [height, width, 3] uint8.
        mask: True where the edit may change pixels.
        exact: made by an editor that promises exactness.
        fault: one of `FAULTS`, `LEAK`, or "".
        area: share of the picture that the fault changed.
    """

    raw: Pixels
    edited: Pixels
    mask: Bools
    exact: bool
    fault: str
    area: float = 0.0


def planted_scene(seed: int, *, leaks: bool = False) -> Planted:
    """A drawn scene: half of them edited exactly, half as a generative editor would.

    Args:
        leaks: a generative edit with a leak of any size from tiny on, whatever the seed.
    """
    rng = random.Random(f"scene:{seed}")
    family = FAMILIES[rng.choice(sorted(FAMILIES))]
    while True:
        try:
            draft = draw(family, rng, size=SIZE, typical=rng.random() < 0.75, place=0)
            break
        except Exhausted:
            continue
    raw, edited = (np.asarray(scene.draw()) for scene in (draft.raw, draft.edited))
    exact = rng.random() < 0.5 and not leaks
    changed = (raw != edited).any(-1)
    # An exact editor gives its mask; for the others a person draws one around the thing.
    mask = changed if exact else widened(changed, 2)
    return _planted(raw, edited, mask, rng, seed, exact=exact, leaks=leaks)


def planted_photograph(seed: int, *, leaks: bool = False) -> Planted:
    """A crop of one of scikit-image's own photographs, edited as a generative editor would."""
    rng = random.Random(f"photograph:{seed}")
    raw, other = _crop(rng), _crop(rng)
    mask = _blob(rng, rng.uniform(0.04, 0.2))
    edited = _shifted(raw, mask, rng, 48, 128)
    if rng.random() < 0.5 and np.abs(raw[mask].mean(0) - other[mask].mean(0)).max() > STRENGTH:
        edited[mask] = other[mask]
    soft = np.asarray(
        Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(1)), np.float32
    )
    edited = _uint8(raw + (edited.astype(np.float32) - raw) * (soft / 255)[..., None])
    return _planted(raw, edited, mask, rng, seed, exact=False, leaks=leaks)


def _planted(
    raw: Pixels,
    edited: Pixels,
    mask: Bools,
    rng: random.Random,
    seed: int,
    *,
    exact: bool,
    leaks: bool,
) -> Planted:
    bad, good = round(1 / SHARE), edited
    fault = list(FAULTS)[seed // bad % len(FAULTS)] if seed % bad == 0 else ""
    if leaks:
        # As many of each order of magnitude, so that the floor is seen.
        area = math.exp(rng.uniform(*map(math.log, _TINY)))
        fault, edited = LEAK, _leak((area, area))(raw, edited, mask, rng)
    elif fault:
        edited = FAULTS[fault](raw, edited, mask, rng)
    same = edited.shape == good.shape
    area = float((edited != good).any(-1).mean()) if same else 1.0
    if not exact:
        edited = _coded(edited, rng)
    return Planted(raw, edited, mask, exact, fault, area)


# ---- marks of coding, which are no fault


def _coded(pixels: Pixels, rng: random.Random) -> Pixels:
    image = Image.fromarray(pixels)
    kind = rng.choice(("jpeg", "blur", "size", "none"))
    if kind == "blur":
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.6)))
    elif kind == "size":
        scale = rng.uniform(1.5, 2.5)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
        )
    if kind == "none":
        return np.asarray(image)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=rng.randint(92, 98))
    with Image.open(stream) as reopened:
        return np.asarray(reopened.convert("RGB"))


# ---- faults


def _leak(area: tuple[float, float]) -> Callable[..., Pixels]:
    """Something new is painted outside the mask, beside a good edit."""

    def plant(raw: Pixels, edited: Pixels, mask: Bools, rng: random.Random) -> Pixels:
        patch = _apart(mask, rng, rng.uniform(*area))
        return _shifted(edited, patch, rng, STRENGTH, 96)

    return plant


def _equal_luminance(area: tuple[float, float]) -> Callable[..., Pixels]:
    """Something outside the mask changes its colour and keeps its brightness."""

    def plant(raw: Pixels, edited: Pixels, mask: Bools, rng: random.Random) -> Pixels:
        best, reached = edited, 0.0
        for _ in range(_TRIES):
            patch = _apart(mask, rng, rng.uniform(*area))
            turned = rng.uniform(0, 2 * np.pi)
            hue = np.array([np.cos(turned), 0, np.sin(turned)])
            hue[1] = -(hue @ _LUMA) / _LUMA[1]
            hue /= np.abs(hue).max()
            # As far as the colours have room: what is clipped would change in brightness.
            low, high = np.quantile(edited[patch], (0.02, 0.98), axis=0)
            room = np.where(hue > 0, 255 - high, low) / np.maximum(np.abs(hue), 1e-9)
            strength = min(float(room.min()), rng.uniform(STRENGTH, 2 * STRENGTH))
            if strength > reached:
                best, reached = edited.copy(), strength
                best[patch] = _uint8(edited[patch] + strength * hue)
            if reached >= STRENGTH:
                break
        return best

    return plant


def _no_op(raw: Pixels, edited: Pixels, mask: Bools, rng: random.Random) -> Pixels:
    """The editor gave the picture back."""
    return raw.copy()


def _wrong_region(raw: Pixels, edited: Pixels, mask: Bools, rng: random.Random) -> Pixels:
    """The edit was made, but beside the mask."""
    patch = _apart(mask, rng, min(0.12, max(_SMALL[0], float(mask.mean()))))
    return _shifted(raw, patch, rng, STRENGTH, 96)


def _wrong_size(raw: Pixels, edited: Pixels, mask: Bools, rng: random.Random) -> Pixels:
    """The picture was squeezed into another shape."""
    wide, high = rng.choice(((1.5, 1.0), (1.0, 1.5), (1.33, 1.0), (1.0, 0.75)))
    size = (round(raw.shape[1] * wide), round(raw.shape[0] * high))
    return np.asarray(Image.fromarray(edited).resize(size, Image.Resampling.BICUBIC))


LEAK = "leak"
"""Something new of .02 to .4 % of the picture, see `planted_scene`."""

FAULTS: dict[str, Callable[..., Pixels]] = {
    "leak_small": _leak(_SMALL),
    "leak_large": _leak(_LARGE),
    "no_op": _no_op,
    "wrong_region": _wrong_region,
    "wrong_size": _wrong_size,
    "recolour_small": _equal_luminance(_SMALL),
    "recolour_large": _equal_luminance(_LARGE),
}
"""Every fault by name: (raw, good edit, mask, random source) -> bad edit."""


# ---- shapes, colours, photographs


def _apart(mask: Bools, rng: random.Random, share: float) -> Bools:
    """A box or an ellipse of that share of the picture, clear of the mask."""
    near = widened(mask, _CLEAR)
    best = ~near
    for _ in range(_TRIES):
        patch = _blob(rng, share)
        if not (patch & near).any():
            return patch
    # The mask leaves no room for the whole shape.
    return best & patch if (best & patch).any() else best


def _blob(rng: random.Random, share: float) -> Bools:
    """A box or an ellipse somewhere in the picture."""
    stretch = rng.uniform(0.6, 1.6)
    wide, high = SIZE * (share * stretch) ** 0.5, SIZE * (share / stretch) ** 0.5
    left, top = rng.uniform(1, SIZE - wide - 1), rng.uniform(1, SIZE - high - 1)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    x, y = (columns - left) / wide - 0.5, (rows - top) / high - 0.5
    inside: Bools
    if rng.random() < 0.5:
        inside = np.maximum(np.abs(x), np.abs(y)) <= 0.5
    else:
        # An ellipse of the same area as the box.
        inside = x * x + y * y <= 1 / np.pi
    return inside


def _shifted(pixels: Pixels, where: Bools, rng: random.Random, least: float, most: float) -> Pixels:
    """Other colours there, by `least` to `most` levels, away from the nearer end of the scale."""
    away = np.where(pixels[where].mean(0) < 128, 1, -1)
    shift = away * np.array([rng.uniform(least, most) for _ in range(3)])
    shifted = pixels.copy()
    shifted[where] = _uint8(pixels[where] + shift)
    return shifted


def _uint8(values: NDArray[np.floating]) -> Pixels:
    levels: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


@lru_cache(maxsize=1)
def _photographs() -> tuple[Pixels, ...]:
    """Those that come with scikit-image itself, so that nothing is fetched."""
    from skimage import data

    names = (
        "astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "retina",
        "rocket",
    )  # fmt: skip
    return tuple(getattr(data, name)() for name in names)


def _crop(rng: random.Random) -> Pixels:
    photograph = rng.choice(_photographs())
    high, wide = photograph.shape[:2]
    top, left = rng.randrange(high - SIZE + 1), rng.randrange(wide - SIZE + 1)
    return np.array(photograph[top : top + SIZE, left : left + SIZE], np.uint8)
