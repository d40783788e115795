"""Stage build: what a bench holds, and that stopping it anywhere changes nothing."""

from __future__ import annotations

import errno
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.cli import main as command
from planish.methods.vfaith.bench import BUILD, PAIRS, REJECTED, TABLE, read_bench
from planish.methods.vfaith.building import filling, pairs, writing
from planish.methods.vfaith.building.build import build_bench, make_plan
from planish.methods.vfaith.building.pairs import Desk, draw_pair
from planish.methods.vfaith.building.plan import NUM, Plan, chosen_families, shares
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.config import Building, Gates
from planish.methods.vfaith.data import PAPER_PAIRS, PAPER_PERCEPTION, Check, EditPair
from planish.methods.vfaith.editing.contract import (
    EditRefused,
    EditRequest,
    EditResult,
    load_editor,
    request_key,
)
from planish.methods.vfaith.editing.scene import SceneEditor
from planish.methods.vfaith.images import decode, encode, open_image, open_mask
from planish.methods.vfaith.method import OPTIONS, draw, perceived
from planish.methods.vfaith.scenes import FAMILIES, load_scene
from planish.methods.vfaith.verifying import bench_gates
from planish.records import BadInput, read_records
from planish.runs.console import Screen

SMALL = Building(size=256, workers=1)
QUIET = Screen(json=True)


def main(words: list[str]) -> int:
    """A command as it is typed; its exit code."""
    with pytest.raises(SystemExit) as left:
        command(words)
    return int(str(left.value.code))


def small_plan(num: int = 12, **options: Any) -> Plan:
    return make_plan(num=num, building=SMALL, families=("colours", "signs"), **options)[0]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a bench but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small bench of every family, built by the command."""
    home = tmp_path_factory.mktemp("built")
    words = ["--num", "40", "--size", "256", "--workers", "1"]
    folder = home / "bench"
    assert main(["vfaith", "build", *words, "--out", str(folder), "--runs", str(home)]) == 0
    return folder


# ---- the plan


def test_the_paper_s_proportions() -> None:
    plan = Plan(families=tuple(FAMILIES))
    assert NUM == plan.num == 755
    counts: Counter[tuple[str, str]] = Counter()
    for part in plan.parts:
        counts[part.kind, FAMILIES[part.family].subset] += part.count
    for subset, number in PAPER_PAIRS.items():
        assert counts["pair", subset] == number
    assert sum(n for (kind, _), n in counts.items() if kind == "perception") == PAPER_PERCEPTION
    by_subset: dict[str, set[int]] = {}
    for part in plan.parts:
        if part.kind == "pair":
            by_subset.setdefault(FAMILIES[part.family].subset, set()).add(part.count)
    assert all(max(found) - min(found) <= 1 for found in by_subset.values())


@given(
    st.integers(0, 5000),
    st.dictionaries(st.text(max_size=3), st.integers(1, 1000), min_size=1, max_size=8),
)
def test_shares_add_up_and_are_within_one_of_exact(num: int, weights: dict[str, int]) -> None:
    found = shares(num, weights)
    assert sum(found.values()) == num
    assert list(found) == list(weights)
    total = sum(weights.values())
    assert all(abs(found[name] - num * weights[name] / total) < 1 for name in weights)


@given(st.integers(1, 3000))
def test_neither_the_letter_nor_the_direction_tells_the_other(num: int) -> None:
    plan = Plan(num=num, families=tuple(FAMILIES))
    for kind, options in (("pair", OPTIONS), ("perception", 2)):
        slots = [slot for part in plan.parts if part.kind == kind for slot in plan.slots(part)]
        places = Counter(slot.place for slot in slots)
        assert (
            max(places.values(), default=0)
            - min((places[place] for place in range(options)), default=0)
            <= 1
        )
        odd = Counter(slot.place for slot in slots if not slot.typical)
        assert max(odd.values(), default=0) - min(odd[place] for place in range(options)) <= 1
        assert abs(sum(odd.values()) - len(slots) / options) < 1
        assert len({slot.name for slot in slots}) == len(slots)


@pytest.mark.parametrize(
    ("subsets", "families", "message"),
    [
        (("XYZ",), (), "no subset 'XYZ'; choose from RWS"),
        ((), ("fruit",), "no family 'fruit'; choose from"),
        (("TIF",), ("colours",), "no family of scenes carries subset TIF among colours"),
        (("RWS",), ("colours", "signs"), "family signs belongs to subset TIF"),
    ],
)
def test_names_that_are_not_there(
    subsets: tuple[str, ...], families: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        chosen_families(subsets, families)


def test_subsets_choose_their_families() -> None:
    assert {FAMILIES[name].subset for name in chosen_families(("RWS", "TIF"), ())} == {"RWS", "TIF"}
    assert chosen_families((), ("signs",)) == ("signs",)


# ---- what is built


def test_every_promise_of_a_bench(built: Path) -> None:
    bench = read_bench(built)
    assert len(bench.pairs) == 40
    assert Counter(pair.kind for pair in bench.pairs) == {"pair": 35, "perception": 5}
    assert {pair.family for pair in bench.pairs} == set(FAMILIES)
    assert [pair.pair_id for pair in bench.pairs] == sorted(pair.pair_id for pair in bench.pairs)
    for pair in bench.pairs:
        assert pair.placebo is not None
        assert pair.ask is not None
        raw, edited, placebo = (
            open_image(bench.path(each)).pixels for each in (pair.raw, pair.edited, pair.placebo)
        )
        mask = open_mask(bench.file(pair.cue.mask, pair.cue.mask_sha256), (256, 256))
        assert not (raw != edited)[~mask].any()
        assert (raw != placebo).any()
        left, top, right, bottom = pair.cue.box
        assert mask[top:bottom, left:right].sum() == mask.sum()
        assert pair.edit.exact_mask
        # Records say what was drawn: the pictures can be made again from them.
        assert pair.edited.scene is not None
        assert np.array_equal(edited, np.asarray(load_scene(pair.edited.scene).draw()))
        if pair.kind == "pair":
            assert load_scene(pair.edited.scene).solve(pair.ask) == pair.edited.gold
            assert len(pair.options) == OPTIONS
            (asked,) = pair.perception
            for picture, said in ((pair.raw, asked.gold_raw), (pair.edited, asked.gold_edited)):
                assert picture.scene is not None
                scene = load_scene(picture.scene)
                shown = scene.statement(pair.ask, scene.solve(pair.ask)) == asked.text
                assert said == ("yes" if shown else "no")
        else:
            assert sorted(pair.options) == ["no", "yes"]
    letters = Counter(pair.letter(pair.edited.gold) for pair in bench.pairs if pair.kind == "pair")
    assert max(letters.values()) - min(letters.values()) <= 1
    info = json.loads((built / BUILD).read_text())
    assert info["complete"]
    assert info["numbers"]["most_outside"] == 0
    assert info["numbers"]["unfilled"] == 0


def test_whoever_says_yes_sees_the_cue_of_half_of_the_pairs() -> None:
    plan = Plan(num=400, families=("colours",), size=256)
    slots = [slot for part in plan.parts for slot in plan.slots(part) if slot.kind == "pair"]
    yes: dict[tuple[bool, int], list[bool]] = {}
    for slot in slots:
        draft = draw(
            FAMILIES[slot.family], random.Random(slot.seed(0)), size=256, typical=slot.typical,
            place=slot.place,
        )  # fmt: skip
        asked = perceived(draft, slot.name)
        assert {asked.gold_raw, asked.gold_edited} == {"yes", "no"}
        yes.setdefault((slot.typical, slot.place), []).append(asked.gold_edited == "yes")
    every = [each for found in yes.values() for each in found]
    assert len(every) > 300
    assert 0.42 < sum(every) / len(every) < 0.58
    # Neither the direction nor the letter tells which value is asked for.
    assert len(yes) == 8
    assert all(0.2 < sum(found) / len(found) < 0.8 for found in yes.values())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_datasets_loads_both_files(built: Path, tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    ids = [pair.pair_id for pair in read_bench(built).pairs]
    for kind, name in (("parquet", TABLE), ("json", PAIRS)):
        found = datasets.load_dataset(
            kind, data_files=str(built / name), split="train", cache_dir=str(tmp_path / kind)
        )
        assert found["pair_id"][:] == ids
        assert found[0]["raw"]["file"].startswith("images/")
        assert found[0]["options"] == list(read_bench(built).pairs[0].options)


def test_the_report_shows_pairs_and_fetches_nothing(built: Path) -> None:
    page = next(built.parent.glob("vfaith/*/report.html")).read_text()
    assert page.count("data:image/png;base64,") >= 3 * len(FAMILIES)
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "35 pairs and 5 perception items" in page


# ---- stopped and gone on with


def test_stopped_anywhere_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_plan()
    build_bench(tmp_path / "whole", plan, QUIET, workers=1)
    monkeypatch.setattr(filling, "_CHUNK", 1)
    monkeypatch.setattr(filling, "_ROUND", 2)
    add, left = Site.add, 0  # lines until the next stop

    def dying(self: Site, pair_id: str, line: str, *, passed: bool) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        add(self, pair_id, line, passed=passed)

    part = tmp_path / "part"
    monkeypatch.setattr(Site, "add", dying)
    for lines in (0, 3, 1, 5):
        left = lines
        with pytest.raises(KeyboardInterrupt):
            build_bench(part, plan, QUIET, workers=1)
        with pytest.raises(BadInput, match="not complete"):
            read_bench(part)
        with (part / PAIRS).open("a") as file:  # what a power cut may leave
            file.write('{"pair_id": "torn')
    left = 100
    build_bench(part, plan, QUIET, workers=1)
    assert contents(part) == contents(tmp_path / "whole")
    build_bench(part, plan, QUIET, workers=1)  # nothing is left to do
    assert contents(part) == contents(tmp_path / "whole")


def test_pictures_that_are_gone_or_damaged_are_drawn_again(tmp_path: Path) -> None:
    plan = small_plan()
    build_bench(tmp_path, plan, QUIET, workers=1)
    before = contents(tmp_path)
    bench = read_bench(tmp_path)
    (tmp_path / bench.pairs[0].raw.file).unlink()
    (tmp_path / bench.pairs[2].cue.mask).write_bytes(b"")
    torn = tmp_path / bench.pairs[4].edited.file
    torn.write_bytes(torn.read_bytes()[:-1] + b"x")  # as long as it was
    with pytest.raises(BadInput, match=r"build command of this bench again"):
        read_bench(tmp_path).path(bench.pairs[4].edited)
    with Site.open(tmp_path, plan) as site:
        assert "3 pairs had pictures that were gone or damaged" in site.notes[0]
    with pytest.raises(BadInput, match="not complete"):
        read_bench(tmp_path)
    build_bench(tmp_path, plan, QUIET, workers=1)
    assert contents(tmp_path) == before


def test_a_folder_in_place_of_a_picture_is_told_and_left(tmp_path: Path) -> None:
    plan = small_plan()
    build_bench(tmp_path, plan, QUIET, workers=1)
    (path := tmp_path / read_bench(tmp_path).pairs[0].raw.file).unlink()
    path.mkdir()
    with pytest.raises(BadInput, match=r"Is a directory; put it out of the way"):
        Site.open(tmp_path, plan)
    assert path.is_dir()


def test_a_killed_process_loses_nothing_and_workers_change_nothing(tmp_path: Path) -> None:
    words = [
        sys.executable, "-m", "planish.cli", "vfaith", "build", "--num", "12", "--size", "256",
        "--family", "colours", "signs", "--out", str(tmp_path / "bench"),
        "--runs", str(tmp_path / "runs"), "--workers",
    ]  # fmt: skip
    process = subprocess.Popen([*words, "1"], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and len(list(tmp_path.glob("bench/images/*"))) < 5:
            time.sleep(0.01)
        process.kill()
    finally:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    subprocess.run([*words, "2"], check=True, capture_output=True)
    build_bench(tmp_path / "whole", small_plan(), QUIET, workers=1)
    assert contents(tmp_path / "bench") == contents(tmp_path / "whole")


def test_other_settings_and_foreign_folders_are_refused_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    with Site.open(folder, small_plan()):
        pass
    before = contents(folder)
    with pytest.raises(BadInput, match="begun with num = 12, this is 13"):
        Site.open(folder, small_plan(13))
    with pytest.raises(BadInput, match=r"begun with gates.margin = 3, this is 4"):
        Site.open(folder, small_plan(gates=Gates(margin=4)))
    assert contents(folder) == before
    (folder / BUILD).write_text("{")
    with pytest.raises(BadInput, match="cannot be read"):
        Site.open(folder, small_plan())
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    with pytest.raises(BadInput, match=r"holds 'thesis.tex' and no build.json"):
        Site.open(foreign, small_plan())
    assert contents(foreign) == {"thesis.tex": b"mine"}
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="File exists"):
        Site.open(tmp_path / "file", small_plan())


def test_the_second_builder_of_a_folder_is_refused(tmp_path: Path) -> None:
    with (
        Site.open(tmp_path / "bench", small_plan()),
        pytest.raises(BadInput, match="in use by this process"),
    ):
        Site.open(tmp_path / "bench", small_plan())


def test_other_versions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Site.open(tmp_path, small_plan()) as site:
        assert not site.notes
    monkeypatch.setattr(writing, "versions", lambda: {"pillow": "99"})
    with Site.open(tmp_path, small_plan()) as site:
        assert "99 now" in site.notes[0]


@pytest.mark.parametrize("after", [0, 5])
def test_a_full_disk_leaves_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from planish.methods.vfaith import images

    write, left = images.write_bytes, after

    def full(path: Path, data: bytes, **options: Any) -> None:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        write(path, data, **options)

    monkeypatch.setattr(images, "write_bytes", full)
    words = ["vfaith", "build", "--num", "4", "--family", "colours", "--size", "256"]
    words += ["--workers", "1", "--out", str(tmp_path / "bench"), "--runs", str(tmp_path)]
    assert main(words) in (1, 2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "No space left" in line]
    assert len(lines) == 1
    monkeypatch.setattr(images, "write_bytes", write)
    assert main(words) == 0
    bench = read_bench(tmp_path / "bench")
    assert len(bench.pairs) == 4
    for pair in bench.pairs:
        bench.path(pair.edited)


def test_lines_are_put_in_order_and_the_table_follows(tmp_path: Path) -> None:
    plan = small_plan()
    with Site.open(tmp_path, plan) as site:
        desk = Desk(tmp_path, plan, load_editor("scene"))
        made = [draw_pair(desk, slot) for part in plan.parts for slot in plan.slots(part)[:2]]
        for pair in reversed(made):
            site.add(pair.pair_id, pair.model_dump_json(), passed=True)
            site.add(pair.pair_id, "a line that is there already", passed=True)
        site.settle()
        assert [pair.pair_id for pair in site.pairs()] == sorted(pair.pair_id for pair in made)
    assert (tmp_path / TABLE).stat().st_size
    assert (tmp_path / REJECTED).read_text() == ""


# ---- pairs that a gate keeps out


def test_another_pair_takes_the_place_of_one_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = pairs.check_scenes

    def strict(**scenes: Any) -> tuple[Check, ...]:
        bad = scenes["gold_raw"] in ("yellow", "red", "yes")
        return (*check(**scenes), Check(gate="cue", passed=not bad, code="gold_wrong"))

    monkeypatch.setattr(pairs, "check_scenes", strict)
    plan = small_plan()
    numbers, unfilled = build_bench(tmp_path, plan, QUIET, workers=1)
    assert not unfilled
    bench = read_bench(tmp_path)
    rejected = list(read_records(tmp_path / REJECTED, EditPair))
    assert len(bench.pairs) == 12
    assert rejected
    assert numbers.total("rejected") == len(rejected) == sum(numbers.excluded.values())
    assert all("gold_wrong" in pair.codes for pair in rejected)
    assert not {pair.pair_id for pair in rejected} & {pair.pair_id for pair in bench.pairs}
    # Letters and directions are those of the plan, whatever was kept out.
    slots = {
        replace(slot, attempt=again).name: slot
        for part in plan.parts
        for slot in plan.slots(part)
        for again in range(filling.ATTEMPTS)
    }
    for pair in bench.pairs:
        slot = slots[pair.pair_id]
        assert pair.options.index(pair.edited.gold) == slot.place
        assert pair.typical == slot.typical


def test_nothing_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = (Check(gate="cue", passed=False, code="gold_wrong"),)
    monkeypatch.setattr(pairs, "check_scenes", lambda **scenes: failed)
    monkeypatch.setattr(filling, "ATTEMPTS", 2)
    words = ["vfaith", "build", "--num", "2", "--family", "colours", "--size", "256", "--json"]
    words += ["--workers", "1", "--out", str(tmp_path / "b"), "--runs", str(tmp_path)]
    for _ in range(2):
        assert main(words) == 1
        out, err = capsys.readouterr()
        assert json.loads(out)["pairs"] == 0
        assert json.loads(out)["unfilled"] == 2
        assert "4 pairs failed gate cue: gold_wrong" in err
    with pytest.raises(BadInput, match="not complete"):
        read_bench(tmp_path / "b")


@pytest.mark.parametrize("lack", ["gate", "place"])
def test_a_bench_that_lacks_something_is_left_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lack: str
) -> None:
    if lack == "gate":
        failed = Check(gate="letters", value=0.001, passed=False, code="letters_tell")
        monkeypatch.setattr(bench_gates, "_letters", lambda pairs: failed)
    else:
        check = pairs.check_scenes

        def strict(**scenes: Any) -> tuple[Check, ...]:
            bad = scenes["options"].index(scenes["gold_edited"]) == 0
            return (*check(**scenes), Check(gate="cue", passed=not bad, code="gold_wrong"))

        monkeypatch.setattr(pairs, "check_scenes", strict)
        monkeypatch.setattr(filling, "ATTEMPTS", 1)
    words = ["vfaith", "build", "--num", "4", "--family", "colours", "--size", "256"]
    words += ["--workers", "1", "--out", str(tmp_path / "b"), "--runs", str(tmp_path)]
    assert main(words) == 1
    err = capsys.readouterr().err
    said = {"gate": "gate letters over the bench", "place": "1 places stayed empty"}[lack]
    assert said in err
    assert "exit code 1" in err
    assert read_bench(tmp_path / "b").pairs
    info = json.loads((tmp_path / "b" / BUILD).read_text())
    assert info["complete"]
    passed = all(each["passed"] for each in info["numbers"]["bench_gates"]["checks"])
    assert passed == (lack == "place")
    assert info["numbers"]["unfilled"] == (lack == "place")


# ---- editors that are not exact


class Painter:
    """Edits as an endpoint would: pixels and words come in, pixels go out; calls are counted.

    `how`: "good" paints the scene that was asked for and shifts everything a little, "leak" paints
    outside, "idle" gives the picture back, "refuse" refuses, "noise" sends no picture, "other"
    paints another colour than it was told.
    """

    name, version = "painter", "7"

    def __init__(self, how: str = "good") -> None:
        self.how, self.calls = how, 0

    def edit(self, request: EditRequest) -> EditResult:
        self.calls += 1
        assert request.scene is None
        assert request.mask is not None
        if self.how == "refuse":
            raise EditRefused("not this one")
        pixels = decode(request.image, "request").pixels.copy()
        mask = decode(request.mask, "mask").pixels.any(-1)
        if self.how in ("good", "leak", "other"):
            word = request.instruction.split()[-4].rstrip(".")
            paint = PAINT["blue" if word != "blue" else "red"] if self.how == "other" else (
                PAINT[word])  # fmt: skip
            ground = pixels[0, 0]
            thing = mask & (np.abs(pixels.astype(int) - ground).sum(-1) > 60)
            ink = pixels.astype(int).sum(-1) < 200
            pixels[thing & ~ink] = paint
        if self.how == "leak":
            pixels[~mask & (np.arange(256) > 128)] = (0, 255, 0)
        if self.how != "idle":
            pixels = np.clip(pixels.astype(int) + 1, 0, 255).astype(np.uint8)
        data = b"sorry" if self.how == "noise" else encode(pixels)
        return EditResult(
            image=data,
            backend=self.name,
            version=self.version,
            request=request_key(self, request),
            usage={"tokens": 1},
            deterministic=False,
            exact_mask=False,
            native_size=(256, 256),
        )


PAINT = {
    "red": (206, 44, 49), "yellow": (238, 201, 44), "green": (62, 148, 70),
    "orange": (235, 131, 35), "purple": (121, 65, 148), "blue": (45, 98, 190),
    "brown": (134, 93, 58),
}  # fmt: skip


def painted(folder: Path, painter: Painter) -> Iterator[EditPair]:
    plan = make_plan(
        num=4, families=("colours",), editor="openai:m@http://x", building=SMALL
    )[0]  # fmt: skip
    desk = Desk(folder, plan, painter)
    for slot in plan.slots(plan.parts[0])[:3]:
        yield draw_pair(desk, slot)


def test_a_good_generated_edit_passes_and_is_put_into_the_raw_picture(tmp_path: Path) -> None:
    painter = Painter()
    made = list(painted(tmp_path, painter))
    assert [pair.codes for pair in made] == [()] * 3
    for pair in made:
        assert pair.placebo is not None
        raw, edited = (
            open_image(tmp_path / each.file).pixels for each in (pair.raw, pair.edited)
        )  # fmt: skip
        left, top, right, bottom = pair.cue.box
        inside = np.zeros((256, 256), np.bool_)
        inside[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = True
        assert not (raw != edited)[~inside].any()
        assert {check.gate: check.value for check in pair.checks}[
            "containment_max"
        ] == 1  # as it came
    assert painter.calls == 6
    again = list(painted(tmp_path, painter))
    assert painter.calls == 6  # nothing is paid for twice
    assert again == made


@pytest.mark.parametrize(
    ("how", "code", "calls"),
    [
        ("leak", "leak", 1),
        ("idle", "no_change", 1),
        ("noise", "undecodable", 1),
        ("refuse", "refused", 1),
        ("other", "new_absent", 1),
    ],
)
def test_a_bad_generated_edit_is_kept_out_and_kept(
    tmp_path: Path, how: str, code: str, calls: int
) -> None:
    painter = Painter(how)
    pair = next(painted(tmp_path, painter))
    assert not pair.passed
    assert code in pair.codes
    assert painter.calls == calls  # no placebo is paid for
    kept = list((tmp_path / "edits").glob("*/result.json"))
    assert len(kept) == (0 if how == "refuse" else 1)


def test_a_perception_item_pays_for_no_placebo(tmp_path: Path) -> None:
    painter = Painter()
    plan = make_plan(num=16, families=("colours",), editor="openai:m@http://x", building=SMALL)[0]
    desk = Desk(tmp_path, plan, painter)
    (part,) = (part for part in plan.parts if part.kind == "perception")
    pair = draw_pair(desk, plan.slots(part)[0])
    assert pair.passed
    assert pair.placebo is None
    assert painter.calls == 1


def test_an_exact_edit_that_spills_beyond_its_thing_has_leaked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spilling(SceneEditor):
        def edit(self, request: EditRequest) -> EditResult:
            found = super().edit(request)
            pixels = decode(found.image, "edit").pixels.copy()
            pixels[0, 0] ^= 1
            return replace(found, image=encode(pixels), pixels=pixels)

    plan = small_plan()
    slot = plan.slots(plan.parts[0])[0]
    fine, bad = (
        draw_pair(Desk(tmp_path, plan, each), slot) for each in (SceneEditor(), Spilling())
    )
    assert fine.passed
    assert {check.gate: check.value for check in bad.checks}["containment_max"] == 1
    assert "leak" in bad.codes
    mask = open_mask(tmp_path / bad.cue.mask, (256, 256))
    assert mask[0, 0]  # the record's mask is what differs, all of it


# ---- the command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--subset", "XYZ"], "--subset: no subset 'XYZ'"),
        (["--family", "nothing"], "--family: no family 'nothing'"),
        (["--editor", "brush"], "does not name an editor"),
        (["--size", "64"], "size"),
        (["--num", "0"], "num"),
        (["--propose", "scripted:always-a"], "no photographs"),
        (["--photos", "nowhere.jsonl"], "No such file"),
    ],
)
def test_bad_options(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "b"
    assert main(["vfaith", "build", *words, "--out", str(out), "--runs", str(tmp_path)]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert not out.exists()


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from planish.cli import main; "
        "main(['vfaith', 'build', '--help']); "
        "assert not {'torch', 'matplotlib', 'sklearn', 'skimage', 'datasets'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    for option in ("--subset", "--num", "--out", "--photos", "--editor", "--size", "--propose"):
        assert option in found.stdout
