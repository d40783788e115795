"""Photographs of one's own: the same records and gates, and bad lists in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from planish.cli import main as command
from planish.methods.vfaith.bench import read_bench
from planish.methods.vfaith.building import filling
from planish.methods.vfaith.building.build import build_bench, make_plan
from planish.methods.vfaith.building.filling import fill
from planish.methods.vfaith.building.photographs import Photograph, perceived_in, read_photographs
from planish.methods.vfaith.building.proposing import cues_in, propose, proposed_path
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.editing.contract import EditFailed, EditRequest, EditResult, request_key
from planish.methods.vfaith.images import decode, encode, open_image
from planish.models.base import Watcher
from planish.records import BadInput, Chat, Completion, Sampling, write_jsonl
from planish.runs.console import Screen

QUIET = Screen(json=True)
WIDE, HIGH = 96, 64
BOX = (10, 10, 40, 40)
FAR = (60, 10, 90, 40)

LINE: dict[str, Any] = {
    "id": "helmet",
    "image": "helmet.png",
    "question": "What colour is the helmet?",
    "options": ["red", "blue", "white", "green"],
    "gold_raw": "red",
    "gold_edited": "blue",
    "cue": "the colour of the helmet",
    "old": "red",
    "new": "blue",
    "instruction": "Paint the helmet blue. Change nothing else.",
    "box": list(BOX),
    "licence": "mine",
    "edited": "edited.png",
    "perception": ["Is the helmet blue?"],
}


def main(words: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        command(words)
    return int(str(left.value.code))


def photo(seed: int = 0) -> np.ndarray[Any, Any]:
    """Something like a photograph: soft, with a red patch and a yellow one."""
    noise = np.random.default_rng(seed).integers(0, 60, (HIGH, WIDE, 3))
    pixels = (100 + noise).astype(np.uint8)
    for (left, top, right, bottom), paint in ((BOX, (200, 30, 30)), (FAR, (200, 200, 30))):
        pixels[top + 2 : bottom - 2, left + 2 : right - 2] = paint
    return pixels


def painted(pixels: np.ndarray[Any, Any], box: Sequence[int] = BOX) -> np.ndarray[Any, Any]:
    left, top, right, bottom = box
    after = pixels.copy()
    after[top + 2 : bottom - 2, left + 2 : right - 2] = (30, 30, 200)
    return after


def listed(folder: Path, *lines: dict[str, Any]) -> Path:
    """A list with its pictures."""
    (folder / "helmet.png").write_bytes(encode(photo()))
    (folder / "edited.png").write_bytes(encode(painted(photo())))
    (folder / "placebo.png").write_bytes(encode(painted(photo(), FAR)))
    path = folder / "photos.jsonl"
    write_jsonl(path, lines or (LINE,))
    return path


def built(path: Path, out: Path) -> list[Any]:
    plan, entries = make_plan(photos=path)
    build_bench(out, plan, QUIET, entries=entries)
    return list(read_bench(out).pairs)


def test_a_picture_that_was_edited_already(tmp_path: Path) -> None:
    path = listed(tmp_path, {**LINE, "placebo": "placebo.png", "placebo_box": list(FAR)})
    words = ["vfaith", "build", "--photos", str(path), "--out", str(tmp_path / "b"), "--json"]
    assert main([*words, "--runs", str(tmp_path / "runs")]) == 0
    (pair,) = read_bench(tmp_path / "b").pairs
    assert pair.family == "photograph"
    assert pair.source.licence == "mine"
    assert sorted(pair.options) == sorted(LINE["options"])
    assert (pair.raw.gold, pair.edited.gold) == ("red", "blue")
    assert pair.edit.backend == "given"
    assert pair.perception[0].text == "Is the helmet blue?"
    assert pair.cue.box == BOX
    assert pair.placebo is not None
    edited = open_image(tmp_path / "b" / pair.edited.file).pixels
    assert np.array_equal(edited, painted(photo()))
    assert [check.gate for check in pair.checks][:2] == ["decode", "size"]
    assert pair.checks[-1].gate == "placebo"
    page = next((tmp_path / "runs").glob("vfaith/*/report.html")).read_text()
    assert "Photographs have no solver" in page


def test_a_bad_edit_of_a_photograph_is_kept_out(tmp_path: Path) -> None:
    path = listed(tmp_path, LINE, {**LINE, "id": "leaky", "edited": "leaky.png"})
    leaky = painted(photo())
    leaky[45:, :] = 0
    (tmp_path / "leaky.png").write_bytes(encode(leaky))
    pairs = built(path, tmp_path / "b")
    assert [pair.pair_id for pair in pairs] == ["helmet"]
    assert '"code":"leak"' in (tmp_path / "b" / "rejected.jsonl").read_text()


def test_letters_go_round(tmp_path: Path) -> None:
    path = listed(tmp_path, *({**LINE, "id": f"p{number}"} for number in range(8)))
    places = [pair.options.index("blue") for pair in built(path, tmp_path / "b")]
    assert sorted(places) == [0, 0, 1, 1, 2, 2, 3, 3]


class Painter:
    """An editor of photographs that counts its calls; see `Editor`."""

    name, version = "painter", "1"

    def __init__(self) -> None:
        self.calls = 0

    def edit(self, request: EditRequest) -> EditResult:
        self.calls += 1
        assert request.mask is not None
        box = BOX if decode(request.mask, "mask").pixels[20, 20].any() else FAR
        return EditResult(
            image=encode(painted(decode(request.image, "picture").pixels, box)),
            backend=self.name,
            version=self.version,
            request=request_key(self, request),
            usage={},
            deterministic=False,
            exact_mask=False,
            native_size=(WIDE, HIGH),
        )


def test_an_editor_is_asked_once_for_each_edit(tmp_path: Path) -> None:
    own = {name: value for name, value in LINE.items() if name != "edited"}
    own |= {"placebo_box": list(FAR), "placebo_instruction": "Paint the bag blue."}
    path = listed(tmp_path, own)
    plan, entries = make_plan(photos=path, editor="openai:m@http://127.0.0.1:1/v1")
    painter = Painter()
    for out in ("b", "b"):
        with Site.open(tmp_path / out, plan) as site:
            assert fill(site, painter, QUIET, entries=entries).empty == 0
            (tmp_path / out / "pairs.jsonl").unlink()  # as if it had been killed just before
    assert painter.calls == 2


def test_an_edit_that_fails_costs_its_own_place_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {name: value for name, value in LINE.items() if name != "edited"}
    path = listed(tmp_path, *({**own, "id": f"p{number}"} for number in range(4)))
    painter, down = Painter(), {2, 3}
    edit = painter.edit

    def shaky(request: EditRequest) -> EditResult:
        if painter.calls + 1 in down:
            painter.calls += 1
            raise EditFailed("http 503 3 times")
        return edit(request)

    monkeypatch.setattr(painter, "edit", shaky)
    monkeypatch.setattr("planish.methods.vfaith.building.build.load_editor", lambda spec: painter)
    words = ["vfaith", "build", "--photos", str(path), "--editor", "openai:m", "--workers", "1"]
    words += ["--out", str(tmp_path / "b"), "--runs", str(tmp_path / "runs"), "--json"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["edits_failed"] == json.loads(out)["unfilled"] == 2
    assert "no picture came of 2 edits, the first because: http 503" in err
    assert [pair.pair_id for pair in read_bench(tmp_path / "b").pairs] == ["p0", "p3"]
    down.clear()
    assert main(words) == 0
    assert len(read_bench(tmp_path / "b").pairs) == 4
    assert painter.calls == 6  # what came the first time is not paid for again


def test_an_editor_that_is_down_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {name: value for name, value in LINE.items() if name != "edited"}
    path = listed(tmp_path, *({**own, "id": f"p{number}"} for number in range(5)))
    painter = Painter()

    def down(request: EditRequest) -> EditResult:
        painter.calls += 1
        raise EditFailed("no connection")

    monkeypatch.setattr(painter, "edit", down)
    monkeypatch.setattr("planish.methods.vfaith.building.build.load_editor", lambda spec: painter)
    monkeypatch.setattr(filling, "_ROUND", 2)
    words = ["vfaith", "build", "--photos", str(path), "--editor", "openai:m", "--workers", "1"]
    assert main([*words, "--out", str(tmp_path / "b"), "--runs", str(tmp_path / "runs")]) == 1
    assert painter.calls == 2
    assert "no picture came of 2 edits" in capsys.readouterr().err


def test_a_turned_picture_is_upright_and_says_so(tmp_path: Path) -> None:
    path = listed(tmp_path, {**LINE, "image": "phone.png"})
    image = Image.fromarray(photo()).transpose(Image.Transpose.ROTATE_90)
    exif = image.getexif()
    exif[274] = 6  # turn it by 90 degrees clockwise
    image.save(tmp_path / "phone.png", exif=exif)
    (pair,) = built(path, tmp_path / "b")
    assert np.array_equal(open_image(tmp_path / "b" / pair.raw.file).pixels, photo())
    assert pair.checks[0].code == "rotated"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold_edited": "red"}, "gold_raw and gold_edited are the same"),
        ({"gold_edited": "pink"}, "gold_edited 'pink' is not among the options"),
        ({"options": ["red", "Red", "blue"]}, "an option is there twice"),
        ({"options": ["red", "Red.", "blue"]}, "more than one option is true: 'red'"),
        ({"options": ["3", "3.0", "red", "blue"]}, "more than one option is true: '3'"),
        ({"old": "Blue"}, "old and new are the same"),
        ({"mask": "mask.png"}, "give mask or box"),
        ({"box": None}, "give mask or box"),
        ({"box": [0, 0, 97, 64]}, "is not inside the picture of 96 x 64"),
        ({"box": [30, 10, 20, 40]}, "is not inside the picture"),
        ({"box": [0, 0, 96, 64]}, "lets the whole picture change"),
        ({"box": None, "mask": "small.png"}, "small.png: the mask has 10 x 10 pixels"),
        ({"box": None, "mask": "black.png"}, "nothing of the picture is editable"),
        ({"placebo_box": list(FAR)}, "placebo_box goes with"),
        ({"placebo": "placebo.png"}, "placebo_box goes with"),
        ({"placebo": "placebo.png", "placebo_box": list(BOX)}, "placebo_box overlaps"),
        ({"edited": None}, "the scene editor draws scenes only"),
        ({"edited": None, "instruction": " "}, "an instruction is missing"),
        ({"image": "../secret.png"}, "leads out of the list's folder"),
        ({"image": "/etc/passwd"}, "leads out of the list's folder"),
        ({"image": "a\0b"}, "no file can have the name"),
        ({"box": None, "mask": "../secret.png"}, "leads out of the list's folder"),
        ({"edited": "nowhere.png"}, "nowhere.png: No such file"),
        ({"image": "torn.png"}, "torn.png: "),
        ({"id": "../up"}, "id: "),
        ({"confirmed": False}, "is not confirmed by a person"),
        ({"colour": "red"}, "colour: "),
        ({"colour": "red"}, "see docs/vfaith.md"),
        ({"licence": ""}, "licence: "),
    ],
)
def test_a_bad_line_is_told_with_its_number_before_anything_is_written(
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "photos"
    home.mkdir()
    path = listed(home, {**LINE, "id": "fine"}, {**LINE, **change})
    (tmp_path / "secret.png").write_bytes(encode(photo()))
    (home / "torn.png").write_bytes(encode(photo())[:3000])
    (home / "small.png").write_bytes(encode(np.eye(10, dtype=np.bool_)))
    (home / "black.png").write_bytes(encode(np.zeros((HIGH, WIDE), np.bool_)))
    out = tmp_path / "b"
    assert main(["vfaith", "build", "--photos", str(path), "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count(f"{path.name}:2: ") == 1
    assert f"{path}:2: " in line
    assert message in line
    assert not out.exists()


@pytest.mark.parametrize("kind", ["cmyk", "gif", "alpha"])
def test_odd_pictures_come_in_and_say_what_they_were(tmp_path: Path, kind: str) -> None:
    stream, plain = io.BytesIO(), Image.fromarray(photo())
    if kind == "cmyk":
        plain.convert("CMYK").save(stream, "TIFF")
    elif kind == "gif":
        second = Image.fromarray(painted(photo()))
        plain.save(stream, "GIF", save_all=True, append_images=[second])
    else:
        plain.putalpha(255)
        plain.putpixel((0, 0), (0, 0, 0, 0))
        plain.save(stream, "PNG")
    path = listed(tmp_path, {**LINE, "image": "odd", "edited": "odd_edited.png"})
    (tmp_path / "odd").write_bytes(stream.getvalue())
    upright = open_image(tmp_path / "odd").pixels
    (tmp_path / "odd_edited.png").write_bytes(encode(painted(upright)))
    (pair,) = built(path, tmp_path / "b")
    assert {"gif": "animation"}.get(kind, kind) in pair.checks[0].code


def test_the_same_id_twice_and_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"photos.jsonl:2: id 'helmet' is also in line 1"):
        read_photographs(listed(tmp_path, LINE, LINE))
    (tmp_path / "photos.jsonl").write_text("")
    with pytest.raises(BadInput, match="no photographs"):
        read_photographs(tmp_path / "photos.jsonl")


def test_a_changed_list_is_another_bench(tmp_path: Path) -> None:
    path = listed(tmp_path)
    built(path, tmp_path / "b")
    write_jsonl(path, [LINE, {**LINE, "id": "second"}])
    with pytest.raises(BadInput, match="the bench was begun with num = 1, this is 2"):
        built(path, tmp_path / "b")


def test_options_of_scenes_do_not_go_with_photographs(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--subset: a bench of photographs holds those of its list"):
        make_plan(photos=listed(tmp_path), subsets=("RWS",))


# ---- proposals


class Seer:
    """A model that says the same of every picture."""

    name, revision = "seer", "1"

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Chat] = []

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        self.asked += chats
        return [[Completion(text=self.reply)] for _ in chats]


CUE = {
    name: LINE[name]
    for name in (
        "question", "options", "gold_raw", "gold_edited", "cue", "old", "new", "instruction", "box",
    )
}  # fmt: skip


def test_proposals_wait_for_a_person(tmp_path: Path) -> None:
    path = listed(tmp_path, {"id": "helmet", "image": "helmet.png", "question": "Which colour?"})
    bad = {**CUE, "gold_edited": "red"}
    model = Seer(f"Here they are [1]:\n```json\n{json.dumps([CUE, bad])}\n```")
    found = propose(path, model, QUIET)
    assert (found.cues, found.unusable, found.silent) == (1, 1, 0)
    ((message,),) = model.asked
    assert message.images == (str(tmp_path / "helmet.png"),)
    assert "Which colour?" in message.content
    assert "96 x 64" in message.content
    proposed = proposed_path(path)
    with pytest.raises(BadInput, match=r"photos.proposed.jsonl:1: .*not confirmed by a person"):
        make_plan(photos=proposed, editor="openai:m")
    line = json.loads(proposed.read_text())
    assert line["id"] == "helmet-1"
    assert line["licence"] == "not known"
    line |= {"confirmed": True, "edited": "edited.png"}
    write_jsonl(proposed, [line])
    assert len(built(proposed, tmp_path / "b")) == 1
    with pytest.raises(BadInput, match="there are proposals already"):
        propose(path, model, QUIET)


def test_a_model_that_says_nothing_of_use(tmp_path: Path) -> None:
    path = listed(tmp_path, {"id": "a", "image": "helmet.png"})
    found = propose(path, Seer("I see a helmet."), QUIET)
    assert (found.cues, found.silent) == (0, 1)
    path = listed(tmp_path, {"id": "a", "image": "../x.png"})
    proposed_path(path).unlink()
    with pytest.raises(BadInput, match=r"photos.jsonl:1: .*leads out"):
        propose(path, Seer("[]"), QUIET)
    path = listed(tmp_path, {"image": "helmet.png"})
    with pytest.raises(BadInput, match=r"photos.jsonl:1: id"):
        propose(path, Seer("[]"), QUIET)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", 0),
        ("[]", 0),
        ("[1, 2] and then [{}]", 1),
        ('[{"a": [1]}, 3, {"b": 2}]', 2),
        ("[[[", 0),
        ("[" * 3000, 0),
        ('```json\n[{"a": 1}]\n```', 1),
    ],
)
def test_cues_are_found_in_talk(text: str, number: int) -> None:
    assert len(cues_in(text)) == number


def photograph(**changes: Any) -> Photograph:
    return Photograph.model_validate({**LINE, **changes})


def test_every_second_photograph_is_asked_about_the_old_value() -> None:
    found = [perceived_in(photograph(), number) for number in range(64)]
    golds = [(asked.gold_raw, asked.gold_edited) for (asked,) in found]
    assert golds.count(("yes", "no")) == golds.count(("no", "yes")) == 32
    assert {asked.text for (asked,) in found} == {"Is the helmet blue?", "Is the helmet red?"}
    assert all(("red" in asked.text) == (asked.gold_raw == "yes") for (asked,) in found)
    for place in range(4):  # of the right answer: its letter tells nothing
        assert golds[place::4].count(("yes", "no")) == 8


def test_questions_about_the_old_value_may_be_listed_and_none_is_made_up() -> None:
    listed = photograph(perception_old=["Does the helmet look red?"])
    assert [perceived_in(listed, number)[0].text for number in (0, 1)] == [
        "Is the helmet blue?", "Does the helmet look red?",
    ]  # fmt: skip
    alone = photograph(perception=[], perception_old=["Is it red?"])
    assert [perceived_in(alone, number)[0].gold_raw for number in (0, 1)] == ["yes", "yes"]
    for text in ("Is it like the sky?", "Is the helmet blue, or is it red?", "Blue or bluer blue?"):
        (asked,) = perceived_in(photograph(perception=[text]), 1)
        assert (asked.text, asked.gold_raw) == (text, "no")
    assert perceived_in(photograph(perception=[]), 1) == ()


def test_a_list_without_placebos_says_what_will_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**LINE, "id": "b", "placebo": "placebo.png", "placebo_box": list(FAR)}
    runs = ["--runs", str(tmp_path / "runs")]
    for lines, told in (
        ([LINE], "no photograph has a placebo: there will be no Delta_net"),
        ([LINE, other], "1 of 2 photographs have no placebo: Delta_net will be over the others"),
        ([other], ""),
    ):
        path = listed(tmp_path, *lines)
        out = tmp_path / f"b{len(told)}"
        assert main(["vfaith", "build", "--photos", str(path), "--out", str(out), *runs]) == 0
        err = " ".join(capsys.readouterr().err.split())
        assert told in err
        assert told or "placebo" not in err
