"""The gates between two pictures: did the edit change what it should, and nothing else?

    checks = compare(raw, edited, mask, Gates(), exact=False)
    [check.code for check in checks if not check.passed]     ["leak"]
    CODES["leak"]                                            what that means, in words

Every measure takes the largest of the three channels: in luminance a recolouring of equal
brightness cannot be seen, and that is just what a careless editor leaves. A generative editor codes
the whole picture anew and so shifts every pixel a little, up and down; what it repaints shifts a
patch of them one way. Its differences are therefore averaged with their signs over a small window
before they are compared with anything. An editor that promises exactness is held to single pixels.

The order and the form of the gates follow the room's specification; windows and limits are ours.
LPIPS is not among them: it needs weights that are not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import Check
from planish.records import BadInput

__all__ = [
    "CODES",
    "GATES",
    "Bools",
    "Pixels",
    "cells",
    "changed",
    "check_mask",
    "compare",
    "differences",
    "fit",
    "limits",
    "undecodable",
    "widened",
]

Pixels = NDArray[np.uint8]
"""Height, width, 3: red, green, blue."""

Bools = NDArray[np.bool_]
"""Height, width."""

WINDOW = 5
"""Pixels a side over which a generative edit's differences are averaged; under the 8 of a JPEG
block, over the two or three of a line's soft edge."""

CLEARLY = 1.25
"""So many times the noise, and a patch is another colour: where edges are coded anew pixels differ
by a little over the noise, in lines as long as the edge."""

SPECK = 16
"""Pixels that a patch may have in any picture: nobody paints that little."""

ASPECT = 0.02
"""Width over height may differ by this share: editors round sides to multiples of 8 or 16."""

CELLS = 32
"""The duplicate test looks at means of so many cells a side."""

ALIKE = 1.0
"""Levels: pictures whose cells differ by no more are the same picture."""

_SIGMA, _RADIUS = 1.5, 5  # the usual window of structural similarity: truncated at 3.5 sigma

GATES: dict[str, str] = {
    "decode": "the editor's reply is a picture",
    "size": "the edited picture has the raw one's size or shape; value: its width over the raw's",
    "containment": "share of pixels outside the widened mask that differ",
    "containment_patch": "share of them that the largest patch of clearly other colours takes",
    "containment_mean": "mean difference outside the widened mask, in levels of 255",
    "containment_max": "largest difference of one pixel outside the widened mask, in levels",
    "efficacy": "share of the mask that differs",
    "ssim_outside": "mean structural similarity outside the mask",
    "duplicate": "largest difference of a thumbnail's cell, in levels",
    "region": "changed pixels outside the box of the thing that was to change",
    "cue": "fields beside the cue that differ; the old value must be gone and the new one there",
    "options": "options that are true, before and after",
    "placebo": "how many times more pixels the one of cue and placebo changes than the other",
    "cue_seen": "share of verifiers' replies: old value there before the edit, the new one after",
    "letters": "p of a chi-square test that the right answers' letters are drawn evenly",
    "text_only": "accuracy on edited items of a classifier that reads the words alone",
    "placebo_cue": "accuracy of a classifier that tells the cue's change from the placebo's",
}
"""Every gate in its order, and what its number is."""

CODES: dict[str, str] = {
    "refused": "the editor will not make this edit: its moderation says so",
    "undecodable": "the editor's reply could not be opened as a picture",
    "resampled": "the edited picture had another size and was brought to the raw one's",
    "wrong_size": "the edited picture has another shape: it cannot be laid over the raw one",
    "leak": "pixels outside the mask were repainted",
    "patch": "a patch outside the mask was painted in another colour",
    "drift": "on average the picture outside the mask has shifted too far",
    "nothing_outside": "the widened mask covers the whole picture: nothing shows what leaked",
    "too_small": "the picture is smaller than the window of structural similarity",
    "no_change": "hardly anything changed inside the mask",
    "degraded": "the picture outside the mask has lost structure: blurred, redrawn or moved",
    "near_identical": "the two pictures cannot be told apart at a glance",
    "overflow": "a change shows outside the box of the thing that was to change",
    "overlap": "the boxes of cue and placebo overlap",
    "other_field": "another field of the scene changed too",
    "old_present": "the old value still answers the question after the edit",
    "new_absent": "the new value does not answer the question after the edit",
    "old_absent": "no verifier sees the old value before the edit",
    "new_present": "every verifier sees the new value before the edit",
    "split": "verifiers do not say the same of the cue",
    "unread": "what a verifier says of the cue could not be read",
    "gold_wrong": "the raw picture's gold is not what the solver reads",
    "none_true": "no option is true",
    "several_true": "more than one option is true",
    "answer_moved": "the placebo changes the right answer",
    "uneven": "cue and placebo change very different numbers of pixels",
    "letters_tell": "the letter of the right answer is not drawn evenly",
    "words_tell": "the words alone tell more than chance",
    "looks_tell": "the look of a change tells whether it is the cue's",
    "too_few": "too few items to tell it from chance",
}
"""What a reason code means."""


@dataclass(frozen=True)
class _Differences:
    """Levels by which pixels differ, the largest of the channels; zero on the other side.

    Args:
        inside: the mask; outside: what is not in the widened mask.
        single_HW: of single pixels outside; inside_HW, outside_HW: what the gates count.
    """

    inside: Bools
    outside: Bools
    single_HW: NDArray[Any]
    inside_HW: NDArray[Any]
    outside_HW: NDArray[Any]


def compare(
    raw: Pixels,
    edited: Pixels,
    mask: Bools,
    gates: Gates,
    *,
    exact: bool,
    region: Bools | None = None,
) -> tuple[Check, ...]:
    """Every gate between two pictures, in order.

    Measure a generative edit as it came: what is pasted back over the raw picture hides its leaks.

    Args:
        raw, edited: [height, width, 3] uint8; the edited picture may have another size.
        mask: [height, width] of the raw picture; True where the edit may change pixels.
        exact: the editor promises to leave every pixel outside the mask alone. Then the mask is not
            widened, and one level at one pixel is a leak.
        region: [height, width], what an exact edit is held to where the mask was made of what
            differs and therefore holds all of it.

    Returns:
        size, containment, containment_patch (not of exact edits), containment_mean,
        containment_max, efficacy, ssim_outside, duplicate; only the first if the shapes differ.

    Raises:
        BadInput: the mask has another size, or lets an edit change nothing or everything.
    """
    check_mask(mask, raw)
    fitted, size = fit(raw, edited)
    if fitted is None:
        return (size,)
    found = differences(raw, fitted, mask, gates, exact=exact)
    held = found if region is None else differences(raw, fitted, region, gates, exact=exact)
    return (
        size,
        *_containment(held, gates, exact=exact),
        _efficacy(found, gates),
        _similarity(raw, fitted, found, gates),
        _duplicate(raw, fitted),
    )


def check_mask(mask: Bools, raw: Pixels) -> None:
    """Raises `BadInput` unless the mask fits the picture and lets something but not all change."""
    if mask.shape != raw.shape[:2]:
        high, wide = mask.shape
        raise BadInput(
            f"the mask is {wide} x {high}, the picture {raw.shape[1]} x {raw.shape[0]}",
            where="mask",
            fix="give a mask of the raw picture's size",
        )
    if not mask.any() or mask.all():
        amount = "everything" if mask.any() else "nothing"
        raise BadInput(
            f"it lets {amount} change",
            where="mask",
            fix="nonzero is where the edit may change pixels, zero the rest",
        )


def undecodable() -> Check:
    """The check of a reply that is no picture."""
    return Check(gate="decode", passed=False, code="undecodable")


def limits(gates: Gates, *, exact: bool) -> dict[str, str]:
    """What each gate of `compare` asks for, in short; "" for numbers that are only told."""
    outside = (
        {"containment": "0", "containment_mean": "", "containment_max": ""}
        if exact
        else {
            "containment": f"<= {gates.leak_share:g}",
            "containment_patch": f"<= {gates.leak_patch:g}",
            "containment_mean": f"<= {gates.leak_mean:g}",
            "containment_max": "",
        }
    )
    return {
        "size": "same shape",
        **outside,
        "efficacy": f">= {gates.min_changed:g}",
        "ssim_outside": f">= {gates.min_ssim:g}",
        "duplicate": f"> {ALIKE:g}",
    }


def fit(raw: Pixels, edited: Pixels) -> tuple[Pixels | None, Check]:
    """The edited picture in the raw one's size, and the check of its size.

    Returns:
        None and a failed check if the shapes differ by more than `ASPECT`.
    """
    (high, wide), (new_high, new_wide) = raw.shape[:2], edited.shape[:2]
    scale = new_wide / wide
    if (high, wide) == (new_high, new_wide):
        return edited, Check(gate="size", value=scale)
    if abs(new_wide * high / (new_high * wide) - 1) > ASPECT:
        return None, Check(gate="size", value=scale, passed=False, code="wrong_size")
    from PIL import Image

    resampled = Image.fromarray(edited).resize((wide, high), Image.Resampling.LANCZOS)
    return np.asarray(resampled), Check(gate="size", value=scale, code="resampled")


def changed(before: Pixels, after: Pixels) -> Bools:
    """Pixels that differ in any channel, [height, width]."""
    found = np.zeros(before.shape[:2], np.bool_)
    rows = _rows(before, after)
    by_channel = before[rows] != after[rows]
    # Three strided reads take a third of the time of any(-1).
    found[rows] = by_channel[..., 0] | by_channel[..., 1] | by_channel[..., 2]
    return found


def _rows(before: Pixels, after: Pixels) -> slice:
    """From the first row that differs to the last one: most edits are small."""
    height = before.shape[0]
    differ = np.flatnonzero((before != after).reshape(height, -1).any(1))
    return slice(int(differ[0]), int(differ[-1]) + 1) if differ.size else slice(0, 0)


def widened(mask: Bools, pixels: int) -> Bools:
    """The mask grown by so many pixels to all sides, corners included."""
    if not pixels:
        return mask
    from scipy.ndimage import maximum_filter

    grown: Bools = maximum_filter(mask, size=2 * pixels + 1, mode="constant", cval=0)
    return grown


def differences(
    raw: Pixels, edited: Pixels, mask: Bools, gates: Gates, *, exact: bool
) -> _Differences:
    """How two pictures of one size differ inside the mask and outside the widened mask."""
    single = np.zeros(raw.shape[:2], np.uint8)
    rows = _rows(raw, edited)
    unsigned = np.maximum(raw[rows], edited[rows]) - np.minimum(raw[rows], edited[rows])
    single[rows] = np.maximum(np.maximum(unsigned[..., 0], unsigned[..., 1]), unsigned[..., 2])
    outside = ~(mask if exact else widened(mask, gates.margin))
    if exact or not single.any():
        beyond = single * outside
        return _Differences(mask, outside, beyond, single * mask, beyond)
    signed = raw.astype(np.float32) - edited
    inside_HW, outside_HW = _averaged(signed, mask), _averaged(signed, outside)
    return _Differences(mask, outside, single * outside, inside_HW, outside_HW)


def _averaged(signed_HW3: NDArray[np.float32], where: Bools) -> NDArray[np.float32]:
    """The largest of the channels' mean differences around each pixel.

    What lies on the other side counts as unchanged, so that an edit up to the mask's edge does not
    spill over it here.
    """
    from scipy.ndimage import uniform_filter

    largest = np.zeros(where.shape, np.float32)
    for channel in range(3):
        kept = signed_HW3[..., channel] * where
        mean = uniform_filter(kept, WINDOW, mode="constant")
        np.maximum(largest, np.abs(mean), out=largest)
    return largest * where


def _containment(found: _Differences, gates: Gates, *, exact: bool) -> tuple[Check, ...]:
    total = int(found.outside.sum())
    if not total:
        return (Check(gate="containment", passed=False, code="nothing_outside"),)
    share = float((found.outside_HW > (0 if exact else gates.noise)).sum() / total)
    mean = float(found.outside_HW.sum(dtype=np.float64) / total)
    largest = float(found.single_HW.max())
    leaks = largest > 0 if exact else share > gates.leak_share
    drifts = mean > gates.leak_mean and not exact
    return (
        Check(gate="containment", value=share, passed=not leaks, code="leak" if leaks else ""),
        *(() if exact else (_patch(found, gates, total),)),
        Check(
            gate="containment_mean", value=mean, passed=not drifts, code="drift" if drifts else ""
        ),
        Check(gate="containment_max", value=largest),
    )


def _patch(found: _Differences, gates: Gates, total: int) -> Check:
    """What is compact is seen long before it is a share of the picture."""
    from scipy.ndimage import label

    clear = found.outside_HW > CLEARLY * gates.noise
    largest = 0
    if clear.any():
        patches, _ = label(clear, structure=np.ones((3, 3)))  # corners touch
        largest = int(np.bincount(patches.ravel())[1:].max())
    painted = largest > max(SPECK, gates.leak_patch * total)
    return Check(
        gate="containment_patch",
        value=largest / total,
        passed=not painted,
        code="patch" if painted else "",
    )


def _efficacy(found: _Differences, gates: Gates) -> Check:
    share = float((found.inside_HW > gates.noise).sum() / found.inside.sum())
    fine = share >= gates.min_changed
    return Check(gate="efficacy", value=share, passed=fine, code="" if fine else "no_change")


def _similarity(raw: Pixels, edited: Pixels, found: _Differences, gates: Gates) -> Check:
    """Mean structural similarity over pixels whose window lies outside the widened mask."""
    gate = "ssim_outside"
    if min(raw.shape[:2]) < 2 * _RADIUS + 1:
        return Check(gate=gate, code="too_small")
    if not found.single_HW.any():
        return Check(gate=gate, value=1.0)  # every window is the same: 1 by definition
    outside = ~widened(~found.outside, _RADIUS)
    if not outside.any():
        return Check(gate=gate, code="nothing_outside")
    from skimage.metrics import structural_similarity

    rows, columns = (np.flatnonzero(outside.any(axis)) for axis in (1, 0))
    part = (
        slice(max(0, rows[0] - _RADIUS), rows[-1] + _RADIUS + 1),
        slice(max(0, columns[0] - _RADIUS), columns[-1] + _RADIUS + 1),
    )
    _, map_HW3 = structural_similarity(  # type: ignore[no-untyped-call]
        raw[part], edited[part], full=True, data_range=255, channel_axis=-1,
        gaussian_weights=True, sigma=_SIGMA, use_sample_covariance=False,
    )  # fmt: skip
    value = float(map_HW3[outside[part]].mean())
    fine = value >= gates.min_ssim
    return Check(gate=gate, value=value, passed=fine, code="" if fine else "degraded")


def _duplicate(raw: Pixels, edited: Pixels) -> Check:
    """Perceptual hashes go by luminance; means of small cells in each channel do not."""
    first, second = (cells(pixels, CELLS) for pixels in (raw, edited))
    largest = float(np.abs(first - second).max())
    same = largest <= ALIKE
    return Check(
        gate="duplicate", value=largest, passed=not same, code="near_identical" if same else ""
    )


def cells(pixels: Pixels, side: int) -> NDArray[np.int16]:
    """Means of side x side cells of a picture, [side, side, 3], in levels."""
    from PIL import Image

    small = Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)
    return np.asarray(small, np.int16)
