"""A bench folder is read with care: whoever wrote it, nothing outside it is opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from planish.methods.vfaith.bench import BUILD, PAIRS, inside, read_bench
from planish.records import BadInput
from support.pictures import make_bench


def rewrite(folder: Path, change: dict[str, object], line: int = 0) -> None:
    """Puts other values into one line; dots lead into nested records."""
    rows = [json.loads(text) for text in (folder / PAIRS).read_text().splitlines()]
    for name, value in change.items():
        *path, last = name.split(".")
        place = rows[line]
        for step in path:
            place = place[step]
        place[last] = value
    (folder / PAIRS).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_pairs_come_in_the_order_of_the_file_and_pictures_are_found(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, 3, perception=2)
    assert [pair.pair_id for pair in read_bench(tmp_path).pairs] == [
        "colours-0000", "colours-0001", "colours-0002", "colours-p0000", "colours-p0001",
    ]  # fmt: skip
    assert bench.path(bench.pairs[0].raw).is_file()


def test_the_digest_follows_the_pairs(tmp_path: Path) -> None:
    before = make_bench(tmp_path, 2).digest
    rewrite(tmp_path, {"question": "another one?"})
    assert read_bench(tmp_path).digest != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raw.file": "../../etc/passwd"}, "leads out of the bench"),
        ({"placebo.file": "/etc/passwd"}, "leads out of the bench"),
        ({"cue.mask": "masks/../../x.png"}, "leads out of the bench"),
        ({"pair_id": "colours-0001"}, "'colours-0001' is also in line 1"),
        ({"edited.gold": "no colour"}, "not among the options"),
        ({"options": ["red", "red"]}, "an option is there twice"),
        ({"options": ["red", "yellow", "blue", "blue "]}, "two of them read alike"),
        ({"options": ["red", "yellow", "blue", "\ud800"]}, "options"),
        ({"pair_id": "\ud800"}, "pair_id"),
        ({"source.licence": "\ud800"}, "licence"),
        ({"checks": [{"gate": "efficacy", "value": float("nan")}]}, "finite number"),
        ({"checks": [{"gate": "efficacy", "passed": False}]}, r"its gates \(efficacy\)"),
        ({"cue.box": [10, 10, 5, 20]}, "box"),
        ({"cue.box": [-1, 0, 5, 20]}, "box"),
        ({"question": " \n"}, "question"),
        ({"checks": [{"gate": "efficacy", "passed": False, "code": "no_change"}]}, "no_change"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bad_line_is_told_with_its_number(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    make_bench(tmp_path, 2)
    rewrite(tmp_path, change)
    where = ":2: " if change.get("pair_id") == "colours-0001" else ":1: "
    with pytest.raises(BadInput, match=message) as caught:
        read_bench(tmp_path)
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("other", ["raw", "placebo"])
def test_one_picture_cannot_have_two_right_answers(tmp_path: Path, other: str) -> None:
    picture = getattr(make_bench(tmp_path, 1).pairs[0], other)
    rewrite(tmp_path, {"edited.file": picture.file, "edited.sha256": picture.sha256})
    with pytest.raises(BadInput, match=r"pairs.jsonl:1: .*one picture has two right answers"):
        read_bench(tmp_path)


def test_the_answer_must_move(tmp_path: Path) -> None:
    gold = make_bench(tmp_path, 1).pairs[0].raw.gold
    rewrite(tmp_path, {"edited.gold": gold})
    with pytest.raises(BadInput, match=r"pairs.jsonl:1: .*same before and after"):
        read_bench(tmp_path)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"x")
    folder = tmp_path / "bench"
    make_bench(folder, 1)
    (folder / "images" / "link.png").symlink_to(secret)
    with pytest.raises(BadInput, match="leads out"):
        inside(folder, "images/link.png")


@pytest.mark.parametrize("name", ["a\0b", "images/\ud800.png", "round", "round/x.png", "x" * 5000])
def test_a_name_that_no_file_can_have_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    make_bench(tmp_path, 1)
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(BadInput, match="the file name") as caught:
        inside(tmp_path, name)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # can be told on any terminal
    assert inside(tmp_path, "images/not-there.png").name == "not-there.png"


def test_a_file_is_checked_against_every_hash_that_is_claimed_of_it(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, 1)
    picture = bench.pairs[0].raw
    assert bench.path(picture).is_file()
    with pytest.raises(BadInput, match="not the one that the pairs were made with"):
        bench.file(picture.file, "0" * 64)


def test_a_picture_with_other_bytes_is_refused(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, 1)
    picture = bench.pairs[0].edited
    (tmp_path / picture.file).write_bytes(b"another picture")
    with pytest.raises(BadInput, match="not the one that the pairs were made with"):
        bench.path(picture)
    (tmp_path / picture.file).unlink()
    with pytest.raises(BadInput, match="No such file"):
        bench.path(picture)


def test_no_folder_no_pairs_and_a_torn_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        read_bench(tmp_path / "nowhere")
    (tmp_path / PAIRS).write_text("")
    with pytest.raises(BadInput, match="no pairs"):
        read_bench(tmp_path)
    (tmp_path / PAIRS).write_text('{"pair_id": "a"')
    with pytest.raises(BadInput, match=f"{PAIRS}:1: broken JSON"):
        read_bench(tmp_path)


def test_blank_lines_do_not_shift_the_numbers(tmp_path: Path) -> None:
    make_bench(tmp_path, 1)
    text = (tmp_path / PAIRS).read_text()
    (tmp_path / PAIRS).write_text(f"\n{text}\n{text}")
    with pytest.raises(BadInput, match=r"pairs.jsonl:4: .*also in line 2"):
        read_bench(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"complete": false}', "not complete: its building was stopped"),
        ("[]", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_a_bench_that_is_half_built_is_refused(tmp_path: Path, text: str, message: str) -> None:
    make_bench(tmp_path, 1)
    (tmp_path / BUILD).write_text(text)
    with pytest.raises(BadInput, match=message):
        read_bench(tmp_path)
    (tmp_path / BUILD).write_text('{"complete": true}')
    assert len(read_bench(tmp_path).pairs) == 1


def test_pairs_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    pairs = make_bench(tmp_path, 5).pairs
    every = list(pairs)
    assert [pairs[place] for place in range(5)] == every
    assert pairs[-1] == every[-1]
    assert pairs[1:4] == tuple(every[1:4])
    assert pairs[::-1] == tuple(every[::-1])
    with pytest.raises(IndexError):
        pairs[5]
    # What is put in the file's place later changes nothing: it stays open.
    (tmp_path / "other").write_text("{}\n")
    (tmp_path / "other").replace(tmp_path / PAIRS)
    assert list(pairs) == every


def test_a_bench_that_is_changed_while_it_is_in_use_is_told(tmp_path: Path) -> None:
    pairs = make_bench(tmp_path, 3).pairs
    text = (tmp_path / PAIRS).read_bytes()
    (tmp_path / PAIRS).write_bytes(text.replace(b"colours-", b"kolours-"))
    with pytest.raises(BadInput, match="changed while it was in use"):
        list(pairs)
    (tmp_path / PAIRS).write_bytes(text[: len(text) // 2])
    with pytest.raises(BadInput, match="changed while it was in use"):
        pairs[2]


@pytest.mark.parametrize("cut", [1, 2, 200, 3_000])
def test_a_bench_that_was_cut_off_is_refused_with_its_line(tmp_path: Path, cut: int) -> None:
    make_bench(tmp_path, 3)
    text = (tmp_path / PAIRS).read_bytes()
    (tmp_path / PAIRS).write_bytes(text[:-cut])
    if cut == 1:  # the newline alone
        assert len(read_bench(tmp_path).pairs) == 3
        return
    with pytest.raises(BadInput, match=rf"{PAIRS}:[23]: broken JSON") as caught:
        read_bench(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pipe_in_place_of_a_picture_does_not_hold_a_run_up(tmp_path: Path) -> None:
    bench = make_bench(tmp_path, 1)
    (path := tmp_path / bench.pairs[0].raw.file).unlink()
    os.mkfifo(path)
    with pytest.raises(BadInput, match="not a plain file"):
        read_bench(tmp_path).path(bench.pairs[0].raw)


def test_a_name_that_leads_out_is_told_by_line_and_a_long_one_is_short(tmp_path: Path) -> None:
    make_bench(tmp_path, 2)
    rewrite(tmp_path, {"raw.file": "../" * 1000}, line=1)
    with pytest.raises(BadInput, match=r"pairs\.jsonl:2: ") as caught:
        read_bench(tmp_path)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
