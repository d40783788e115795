"""Stage verify as a person runs it, and the gates of a whole bench."""

import json
import random
from itertools import count

import numpy as np
import pytest
from PIL import Image

from planish.cli import main
from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import Cue, Edit, EditPair, Picture, Source
from planish.methods.vfaith.method import draw, is_typical
from planish.methods.vfaith.scenes import FAMILIES
from planish.methods.vfaith.verifying.bench_gates import (
    check_bench,
    letter_shares,
    measure_bench,
)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["vfaith", "verify", *(str(argument) for argument in arguments)])
    return stop.value.code


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(40, 200, (12, 16, 3), dtype=np.uint8))
    raw = np.asarray(small.resize((160, 120), Image.Resampling.BICUBIC))
    mask = np.zeros((120, 160), bool)
    mask[30:70, 40:90] = True
    edited = raw.copy()
    edited[mask] += 50
    leaky = edited.copy()
    leaky[90:110, 100:130] = 255
    for name, pixels in {
        "raw": raw,
        "edited": edited,
        "leaky": leaky,
        "mask": mask.astype(np.uint8),  # 1 is not black, and that is all that counts
        "nothing": np.zeros_like(mask, np.uint8),
        "everything": np.full(mask.shape, 255, np.uint8),
        "wide": np.zeros((120, 161), np.uint8),
        "squeezed": np.asarray(Image.fromarray(edited).resize((160, 160))),
    }.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "raw.png").read_bytes()[:900])
    return tmp_path


def test_a_good_edit_exits_with_0_and_gives_the_numbers(files, capsys):
    words = (files / "raw.png", files / "edited.png", "--mask", files / "mask.png")
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is True
    assert found["codes"] == []
    assert found["containment"] == 0
    assert found["efficacy"] > 0.9
    assert found["ssim_outside"] == 1
    assert found["checks"]["containment_mean"]["limit"] == "<= 3"
    assert run(*words, "--exact") == 0
    assert "passed every gate" in capsys.readouterr().out


def test_a_leak_exits_with_1_and_says_what_it_means(files, capsys):
    words = (files / "raw.png", files / "leaky.png", "--mask", files / "mask.png")
    assert run(*words, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is False
    assert "leak" in found["codes"]
    assert found["containment"] > 0.02
    assert found["checks"]["containment"]["code"] == "leak"
    assert run(*words) == 1
    shown = capsys.readouterr().out
    assert "outside the mask were repainted" in shown
    assert max(map(len, shown.splitlines())) <= 100
    loose = ("--leak-share", 0.5, "--leak-patch", 0.5, "--leak-mean", 90, "--min-ssim", 0.1)
    assert run(*words, *loose) == 0


def test_another_shape_has_no_numbers_but_a_reason(files, capsys):
    words = (files / "raw.png", files / "squeezed.png", "--mask", files / "mask.png")
    assert run(*words, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["codes"] == ["wrong_size"]
    assert found["containment"] is found["efficacy"] is found["ssim_outside"] is None


@pytest.mark.parametrize(
    ("edited", "mask", "told"),
    [
        ("nowhere", "mask", "nowhere.png"),
        ("cut", "mask", "cut.png"),
        ("edited", "nothing", "nothing.png"),
        ("edited", "everything", "everything.png"),
        ("edited", "wide", "wide.png"),
        ("edited", "nowhere", "nowhere.png"),
    ],
)
def test_what_cannot_be_used_exits_with_2_and_one_line(files, capsys, edited, mask, told):
    raw = files / "raw.png"
    assert run(raw, files / f"{edited}.png", "--mask", files / f"{mask}.png") == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert told in shown.err


def test_what_had_to_be_changed_in_a_file_is_told(files, capsys):
    grey = Image.open(files / "raw.png").convert("L")
    grey.save(files / "grey.png")
    run(files / "raw.png", files / "grey.png", "--mask", files / "mask.png", "--json")
    assert "no colours" in capsys.readouterr().err


def test_json_tells_what_had_to_be_changed_to_read_a_picture(files, capsys):
    exif = Image.Exif()
    exif[274] = 3
    upright = Image.open(files / "edited.png")
    upright.rotate(180).save(files / "turned.png", exif=exif)
    words = (files / "raw.png", files / "turned.png", "--mask", files / "mask.png", "--json")
    assert run(*words) == 0
    assert json.loads(capsys.readouterr().out)["flags"] == {"raw": [], "edited": ["rotated"]}


# ---- a whole bench


def worded(number, *, typical=None, place=None, kind="pair"):
    """A pair whose pictures are names alone."""
    rng = random.Random(f"words:{kind}:{number}")
    draft = draw(
        FAMILIES["colours"], rng, size=256, kind=kind,
        typical=is_typical(number, kind) if typical is None else typical,
        place=number // 4 % 4 if place is None else place,
    )  # fmt: skip

    def picture(name, gold):
        return Picture(file=f"{name}-{kind}-{number}", sha256=name, gold=gold)

    return EditPair(
        pair_id=f"{kind}-{number}",
        kind=kind,
        family="colours",
        subset="RWS",
        source=Source(id=f"{kind}-{number}", licence="made by planish"),
        question=draft.question,
        options=draft.options,
        shuffle_seed=draft.shuffle_seed,
        raw=picture("raw", draft.gold_raw),
        edited=picture("edited", draft.gold_edited),
        placebo=picture("placebo", draft.gold_raw),
        cue=Cue(
            name="", old=draft.old, new=draft.new, mask="", mask_sha256="", box=(0, 0, 1, 1)
        ),
        edit=Edit(
            backend="scene", version="1", instruction="", request="", deterministic=True,
            exact_mask=True, native_size=(256, 256),
        ),
    )  # fmt: skip


def fair(picture):
    """Edit and placebo paint a box somewhere, by one rule."""
    pixels = np.full((64, 64, 3), 200, np.uint8)
    if not picture.file.startswith("raw"):
        rng = np.random.default_rng(list(picture.file.encode()))
        top, left = rng.integers(0, 54, 2)
        pixels[top : top + 10, left : left + 10] = rng.integers(0, 200, 3)
    return pixels


def test_a_fair_bench_passes():
    pairs = [worded(number) for number in range(320)]
    pairs += [worded(number, kind="perception") for number in range(40)]
    found = measure_bench(pairs, fair)
    assert [check.gate for check in found.checks] == ["letters", "text_only", "placebo_cue"]
    assert all(check.passed for check in found.checks), found
    assert found.chance == 0.25
    assert found.text_only.n == 320  # perception items have no words that could tell
    assert found.placebo_cue.n == 360
    assert found.letters[4] == dict.fromkeys("ABCD", 0.25)
    assert found.letters[2] == dict.fromkeys("AB", 0.5)
    assert check_bench(pairs, fair) == found.checks


def test_words_that_tell_are_found():
    # The edited answer is never the usual one: a reader who knows bananas gains.
    pairs = [worded(number, typical=True, place=number % 4) for number in range(400)]
    letters, words, _ = check_bench(pairs, fair)
    assert letters.passed
    assert (words.passed, words.code) == (False, "words_tell")
    assert words.value > 0.3


def test_letters_that_tell_are_found():
    pairs = [worded(number, place=number % 3) for number in range(60)]
    letters = check_bench(pairs, fair)[0]
    assert (letters.passed, letters.code) == (False, "letters_tell")
    assert letter_shares(pairs)[4]["D"] == 0


@pytest.mark.parametrize("kind", ["place", "size", "colour"])
def test_looks_that_tell_are_found(kind):
    def load(picture):
        pixels = fair(picture).copy()
        if picture.file.startswith("placebo"):
            if kind == "place":
                pixels[:, 32:] = 200
                pixels[10:20, 4:12] = 90
            elif kind == "size":
                pixels = np.where(fair(picture) != 200, pixels, 200).astype(np.uint8)
                pixels[np.argwhere((pixels != 200).any(-1))[0][0]] = 90
            else:
                pixels[..., 0] = 200
        return pixels

    looks = check_bench([worded(number) for number in range(120)], load)[2]
    assert (looks.passed, looks.code) == (False, "looks_tell")
    assert looks.value > 0.6


def test_a_small_bench_is_not_judged():
    pairs = [worded(number) for number in range(8)]
    _, words, looks = check_bench(pairs, fair)
    for check in (words, looks):
        assert (check.value, check.passed, check.code) == (None, True, "too_few")
    assert [check.code for check in check_bench([], fair)] == ["too_few"] * 3


def test_numbers_that_tell_by_their_rank_are_found():
    # The right answer is always the second largest, whatever the numbers are.
    def pair(number):
        rng = random.Random(number)
        numbers = rng.sample(range(10, 99), 4)
        options = tuple(map(str, numbers))
        golds = sorted(options, key=int)
        base = worded(number)
        return base.model_copy(
            update={
                "question": "How many?",
                "options": options,
                "raw": base.raw.model_copy(update={"gold": golds[0]}),
                "edited": base.edited.model_copy(update={"gold": golds[2]}),
                "placebo": base.placebo.model_copy(update={"gold": golds[0]}),
            }
        )

    words = check_bench([pair(number) for number in range(120)], fair, Gates())[1]
    assert words.code == "words_tell"
    assert words.value > 0.9


def test_pairs_of_one_source_are_held_out_together():
    # Ten sources, each with answers of its own: what is learned of one must not help with it.
    numbers = count()

    def pair(source):
        base = worded(next(numbers))
        options = tuple(f"{source} {letter}" for letter in "efgh")
        return base.model_copy(
            update={
                "source": Source(id=str(source), licence=""),
                "question": f"Which of {source}?",
                "options": options,
                "raw": base.raw.model_copy(update={"gold": options[0]}),
                "edited": base.edited.model_copy(update={"gold": options[1 + source % 3]}),
            }
        )

    pairs = [pair(source) for source in range(10) for _ in range(12)]
    found = measure_bench(pairs, fair)
    assert found.text_only.value < 0.7
