"""The gates: what they must catch, what they must let through, and in which order."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.method import draw
from planish.methods.vfaith.scenes import FAMILIES
from planish.methods.vfaith.verifying.gates import CODES, GATES, compare, fit, limits, widened
from planish.methods.vfaith.verifying.planted import FAULTS, planted_photograph, planted_scene
from planish.methods.vfaith.verifying.scene_gates import check_scenes
from planish.records import BadInput

LOOSE = Gates(min_ssim=0.85, leak_mean=3)  # as benchmarks/bench_vfaith_gates.py chooses
LUMA = np.array([0.299, 0.587, 0.114])


def picture(size=(64, 80), seed=0):
    return np.random.default_rng(seed).integers(40, 200, (*size, 3), dtype=np.uint8)


def box(shape=(64, 80), top=20, left=20, side=16):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def painted(raw, mask, levels=50):
    edited = raw.copy()
    edited[mask] = edited[mask] + levels
    return edited


def by_gate(checks):
    return {check.gate: check for check in checks}


def codes(checks):
    return [check.code for check in checks if not check.passed]


@pytest.mark.parametrize("exact", [True, False])
def test_a_good_edit_passes_every_gate_in_order(exact):
    raw, mask = picture(), box()
    checks = compare(raw, painted(raw, mask), mask, Gates(), exact=exact)
    assert codes(checks) == []
    names = [check.gate for check in checks]
    assert names == [name for name in GATES if name in names]
    assert names == list(limits(Gates(), exact=exact))
    found = by_gate(checks)
    assert found["containment"].value == 0
    assert found["efficacy"].value > 0.5
    assert found["ssim_outside"].value == 1.0


@given(
    row=st.integers(0, 63),
    column=st.integers(0, 79),
    channel=st.integers(0, 2),
    level=st.sampled_from([-1, 1]),
)
def test_one_level_at_one_pixel_breaks_the_promise_of_exactness(row, column, channel, level):
    raw, mask = picture(), box()
    edited = painted(raw, mask)
    edited[row, column, channel] = int(edited[row, column, channel]) + level
    checks = compare(raw, edited, mask, Gates(), exact=True)
    assert codes(checks) == ([] if mask[row, column] else ["leak"])
    assert by_gate(checks)["containment_max"].value == (0 if mask[row, column] else 1)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_widening_reaches_as_far_as_asked_and_no_further(seed, pixels):
    rng = np.random.default_rng(seed)
    mask = rng.random((24, 31)) < 0.01
    grown = widened(mask, pixels)
    rows, columns = np.mgrid[:24, :31]
    places = np.argwhere(mask)
    expected = np.zeros_like(mask)
    for row, column in places:
        expected |= np.maximum(abs(rows - row), abs(columns - column)) <= pixels
    assert (grown == expected).all()


@pytest.mark.parametrize("margin", [0, 3])
def test_an_edit_up_to_the_masks_edge_does_not_leak(margin):
    raw, mask = np.full((64, 80, 3), 120, np.uint8), box()
    checks = compare(raw, painted(raw, mask, 120), mask, Gates(margin=margin), exact=False)
    assert codes(checks) == []


def test_a_recolouring_of_equal_luminance_outside_is_a_leak_in_every_measure_but_brightness():
    raw, mask = np.full((128, 128, 3), 128, np.uint8), box((128, 128))
    edited = painted(raw, mask)
    shift = np.array([40, -round(40 * LUMA[0] / LUMA[1]), 0])
    edited[90:110, 90:110] = edited[90:110, 90:110] + shift
    assert abs(shift @ LUMA) < 0.5
    checks = by_gate(compare(raw, edited, mask, Gates(), exact=False))
    assert checks["containment"].code == "leak"
    assert checks["containment"].value > 0.02
    assert checks["containment_max"].value == 40


@pytest.mark.parametrize("side", [256, 512])
def test_a_small_patch_is_found_though_it_is_little_of_the_picture(side):
    raw, mask = picture((side, side)), box((side, side))
    edited = painted(raw, mask)
    width = side // 32  # .1 % of the picture
    edited[-2 * width : -width, -2 * width : -width] = (255, 0, 255)
    found = compare(raw, edited, mask, Gates(), exact=False)
    assert codes(found) == ["patch"]
    assert 0.001 <= by_gate(found)["containment_patch"].value <= 0.002  # with its soft edge
    assert codes(compare(raw, edited, mask, Gates(leak_patch=0.002), exact=False)) == []


def test_marks_of_coding_are_no_patch():
    for seed in range(1, 9):  # seeds for choosing limits
        case = planted_photograph(seed)
        checks = compare(case.raw, case.edited, case.mask, Gates(), exact=False)
        assert by_gate(checks)["containment_patch"].passed


def test_an_edit_in_colour_alone_has_effect_and_is_no_duplicate():
    raw, mask = np.full((64, 80, 3), 128, np.uint8), box()
    edited = raw.copy()
    edited[mask] = edited[mask] + np.array([40, -20, 0])
    assert codes(compare(raw, edited, mask, Gates(), exact=False)) == []


def test_noise_up_and_down_is_neither_a_leak_nor_an_edit():
    raw, mask = picture((128, 128)), box((128, 128))
    noise = np.random.default_rng(1).choice([-17, 17], raw.shape)
    edited = (raw + noise).astype(np.uint8)
    found = by_gate(compare(raw, edited, mask, Gates(leak_mean=10), exact=False))
    assert found["containment_max"].value == 17  # above what single pixels may shift
    assert found["containment"].passed
    assert found["efficacy"].code == "no_change"


def test_a_shift_of_the_whole_picture_is_drift():
    raw, mask = picture((128, 128)), box((128, 128))
    edited = painted(raw, mask) + np.uint8(6)
    assert codes(compare(raw, edited, mask, Gates(), exact=False)) == ["drift"]


def test_a_redrawn_background_is_degraded():
    from PIL import Image, ImageFilter

    raw, mask = picture((128, 128)), box((128, 128))
    blurred = np.asarray(Image.fromarray(raw).filter(ImageFilter.GaussianBlur(3)))
    edited = np.where(mask[..., None], painted(raw, mask), blurred)
    assert "degraded" in codes(compare(raw, edited, mask, Gates(), exact=False))


@pytest.mark.parametrize("exact", [True, False])
def test_the_same_picture_again_is_no_edit_and_a_duplicate(exact):
    raw, mask = picture(), box()
    assert codes(compare(raw, raw, mask, Gates(), exact=exact)) == ["no_change", "near_identical"]


def test_another_size_is_resampled_and_another_shape_refused():
    from PIL import Image

    smooth = np.asarray(
        Image.fromarray(picture((8, 10))).resize((80, 64), Image.Resampling.BICUBIC)
    )
    mask = box()
    twice = np.asarray(Image.fromarray(painted(smooth, mask)).resize((160, 128)))
    checks = compare(smooth, twice, mask, Gates(), exact=False)
    assert (checks[0].code, checks[0].passed, checks[0].value) == ("resampled", True, 2.0)
    assert codes(checks) == []
    wide = np.asarray(Image.fromarray(twice).resize((160, 160)))
    (only,) = compare(smooth, wide, mask, Gates(), exact=False)
    assert (only.gate, only.code, only.passed) == ("size", "wrong_size", False)
    fitted, check = fit(smooth, smooth)
    assert fitted is smooth
    assert check.code == ""


def test_similarity_is_the_librarys_over_the_pixels_outside():
    from skimage.metrics import structural_similarity

    raw, mask = picture((96, 96)), box((96, 96), 40, 40)
    edited = raw.copy()
    edited[5:9, 5:9] = 0
    _, full = structural_similarity(
        raw, edited, full=True, data_range=255, channel_axis=-1,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    outside = ~widened(widened(mask, 3), 5)
    found = by_gate(compare(raw, edited, mask, Gates(), exact=False))
    assert found["ssim_outside"].value == pytest.approx(full[outside].mean(), abs=1e-6)


def test_what_cannot_be_measured_has_no_number():
    raw, mask = picture((8, 9)), box((8, 9), 0, 0, 7)
    found = by_gate(compare(raw, painted(raw, mask), mask, Gates(), exact=False))
    assert (found["containment"].value, found["containment"].code) == (None, "nothing_outside")
    assert not found["containment"].passed
    assert (found["ssim_outside"].value, found["ssim_outside"].code) == (None, "too_small")


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (np.zeros((64, 80), bool), "nothing"),
        (np.ones((64, 80), bool), "everything"),
        (box((80, 64)), "64 x 80"),
    ],
)
def test_a_mask_that_says_nothing_is_bad_input(mask, told):
    with pytest.raises(BadInput, match=told):
        compare(picture(), picture(), mask, Gates(), exact=False)


# ---- planted faults


@pytest.mark.parametrize("make", [planted_scene, planted_photograph])
def test_planted_faults_are_caught_and_marks_of_coding_let_through(make):
    cases = [make(seed) for seed in [*range(0, 70, 10), *range(1, 30)]]
    assert {case.fault for case in cases} == {"", *FAULTS}
    alarms = []
    for case in cases:
        checks = compare(case.raw, case.edited, case.mask, LOOSE, exact=case.exact)
        if case.fault:
            assert codes(checks), case.fault
        elif codes(checks):
            alarms.append(checks)
    assert len(alarms) <= 1, alarms


@pytest.mark.parametrize("fault", ["recolour_small", "recolour_large"])
def test_planted_recolourings_keep_their_brightness(fault):
    rng = random.Random(3)
    case = next(case for seed in range(1, 99) if not (case := planted_photograph(seed)).fault)
    bad = FAULTS[fault](case.raw, case.raw, case.mask, rng)
    moved = (bad != case.raw).any(-1)
    assert moved.any()
    assert not (moved & case.mask).any()
    before, after = (each[moved].astype(float) @ LUMA for each in (case.raw, bad))
    assert abs(before.mean() - after.mean()) < 2
    assert np.abs(bad[moved].astype(float) - case.raw[moved]).max() >= 20


# ---- drawn pairs


def drafted(kind="pair", seed=3):
    return draw(
        FAMILIES["colours"], random.Random(seed), size=256, typical=True, place=0, kind=kind
    )


def checked(draft, **other):
    fields = {
        "raw": draft.raw,
        "edited": draft.edited,
        "placebo": draft.placebo,
        "ask": draft.ask,
        "options": draft.options,
        "gold_raw": draft.gold_raw,
        "gold_edited": draft.gold_edited,
        "cue_path": draft.cue.path,
        "other_path": draft.other.path,
        "question": draft.question,
    }
    return check_scenes(**{**fields, **other})


@pytest.mark.parametrize("kind", ["pair", "perception"])
@pytest.mark.parametrize("seed", range(6))
def test_drawn_pairs_pass(kind, seed):
    draft = drafted(kind, seed)
    checks = checked(draft)
    assert codes(checks) == []
    assert [check.gate for check in checks] == ["region", "cue", "options", "placebo"]
    pixels = tuple(np.asarray(each.draw()) for each in (draft.raw, draft.edited, draft.placebo))
    assert checked(draft, rendered=pixels) == checks


def test_a_change_elsewhere_overflows_and_is_another_field():
    draft = drafted()
    both = draft.edited.changed(draft.other.path, "blue")
    found = by_gate(checked(draft, edited=both))
    assert found["region"].code == "overflow"
    assert found["region"].value > 0
    assert (found["cue"].code, found["cue"].value) == ("other_field", 1)


def test_an_edit_that_does_not_move_the_answer_fails_cue_and_options():
    draft = drafted()
    found = by_gate(checked(draft, edited=draft.raw))
    assert found["cue"].code == "old_present"
    assert found["options"].code == "new_absent"


def test_golds_are_what_the_solver_reads():
    draft = drafted()
    swapped = {"gold_raw": draft.gold_edited, "gold_edited": draft.gold_raw}
    assert codes(checked(draft, **swapped)) == ["gold_wrong", "gold_wrong"]
    perception = drafted("perception")
    turned = {"gold_raw": perception.gold_edited, "gold_edited": perception.gold_raw}
    assert codes(checked(perception, **turned)) == ["gold_wrong"]


def test_exactly_one_option_is_true():
    draft = drafted()
    twice = (*draft.options, f" {draft.gold_raw.upper()} ")
    found = by_gate(checked(draft, options=twice))["options"]
    assert (found.code, found.value) == ("several_true", 2)
    without = tuple(option for option in draft.options if option != draft.gold_edited)
    found = by_gate(checked(draft, options=without))["options"]
    assert (found.code, found.value) == ("none_true", 0)


def test_a_placebo_must_be_seen_and_must_not_matter():
    draft = drafted()
    assert by_gate(checked(draft, placebo=draft.raw))["placebo"].code == "uneven"
    same = checked(draft, placebo=draft.edited, other_path=draft.cue.path)
    assert by_gate(same)["placebo"].code == "answer_moved"
    assert by_gate(same)["region"].code == "overlap"


def test_every_code_and_gate_is_explained():
    import re
    from pathlib import Path

    import planish.methods.vfaith.verifying as room

    home = Path(room.__path__[0])
    files = (*home.glob("*gates.py"), *(home.parent / "building").glob("*.py"))
    text = "".join(path.read_text() for path in files)
    used = set(re.findall(r'code = "(\w+)"|code="(\w+)"', text))
    used = {code for pair in used for code in pair if code}
    assert used <= CODES.keys()
    assert set(re.findall(r'gate="(\w+)"', text)) <= GATES.keys()


@pytest.mark.parametrize("maker", [planted_scene, planted_photograph])
def test_a_planted_leak_is_tiny_and_tells_how_much_it_covers(maker):
    cases = [maker(seed, leaks=True) for seed in range(1, 7)]
    assert {case.fault for case in cases} == {"leak"}
    assert not any(case.exact for case in cases)
    assert all(0.0001 < case.area < 0.005 for case in cases)
    assert len({case.area for case in cases}) > 2
