"""Vision models that look for the cue, and why none of them is ranked on what it verified."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.cli import main as command
from planish.methods.vfaith.bench import BUILD, read_bench
from planish.methods.vfaith.building import build as stage
from planish.methods.vfaith.building import pages
from planish.methods.vfaith.editing.contract import EditRequest, EditResult, request_key
from planish.methods.vfaith.images import decode, encode
from planish.methods.vfaith.running import run as run_stage
from planish.methods.vfaith.verifying import witnesses
from planish.methods.vfaith.verifying.independence import check_apart, same_model
from planish.methods.vfaith.verifying.witnesses import SEEN, Seen, verdict
from planish.records import BadInput, Sampling, read_records, write_jsonl
from planish.runs import Run
from support.pictures import make_bench
from support.vision import save_vision

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
    "box": list(BOX),
    "licence": "mine",
    "edited": "edited.png",
}
HERE = str(Path(__file__).parent)


def painted(paint: tuple[int, int, int], seed: int = 0) -> np.ndarray[Any, Any]:
    noise = np.random.default_rng(seed).integers(0, 60, (HIGH, WIDE, 3))
    pixels = (100 + noise).astype(np.uint8)
    pixels[FAR[1] + 2 : FAR[3] - 2, FAR[0] + 2 : FAR[2] - 2] = (200, 200, 30)
    pixels[BOX[1] + 2 : BOX[3] - 2, BOX[0] + 2 : BOX[2] - 2] = paint
    return pixels


RED, BLUE, GREY = (200, 30, 30), (30, 30, 200), (230, 120, 120)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photographs: a good edit, one that is still red, and one that was blue before."""
    for name, paint, seed in (
        ("helmet", RED, 0), ("edited", BLUE, 0), ("faint", GREY, 0), ("blue", BLUE, 1),
        ("bluer", (10, 90, 250), 1),
    ):  # fmt: skip
        (tmp_path / f"{name}.png").write_bytes(encode(painted(paint, seed)))
    path = tmp_path / "photos.jsonl"
    write_jsonl(
        path,
        [
            LINE,
            {**LINE, "id": "still-red", "edited": "faint.png"},
            {**LINE, "id": "was-blue", "image": "blue.png", "edited": "bluer.png"},
        ],
    )
    return path


@pytest.fixture
def page() -> None:
    """The test looks at the page; drawing it takes longer than all the rest."""


@pytest.fixture(autouse=True)
def _page_or_none(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "page" not in request.fixturenames:
        monkeypatch.setattr(pages, "write_report", lambda *_: None)


@pytest.fixture
def serve(chat_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("PYTHONPATH", HERE)
    return lambda **options: chat_server(replies="witness_replies:reply", **options)


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        command([str(word) for word in words])
    out, err = capsys.readouterr()
    return int(str(left.value.code)), out, err


def model(name: str, server: Any, options: str = "") -> str:
    return f"openai:{name}@{server.url}{options}"


def build(
    capsys: pytest.CaptureFixture[str], photos: Path, *words: object
) -> tuple[int, dict[str, Any], str]:
    home = photos.parent
    code, out, err = call(
        capsys, "vfaith", "build", "--photos", photos, "--out", home / "b", "--runs",
        home / "runs", "--workers", 1, "--json", *words,
    )  # fmt: skip
    return code, json.loads(out) if out else {}, err


def codes(folder: Path) -> dict[str, list[str]]:
    rows = [json.loads(line) for line in (folder / "rejected.jsonl").read_text().splitlines()]
    return {
        row["pair_id"]: [check["code"] for check in row["checks"] if not check["passed"]]
        for row in rows
    }


def asked(server: Any) -> Counter[tuple[str, str]]:
    """How often each model was asked the same."""
    return Counter(
        (row["body"]["model"], json.dumps(row["body"]["messages"], sort_keys=True))
        for row in server.log()
        if row["kind"] == "ok"
    )


# ---- what they say ---------------------------------------------------------------------------


@pytest.mark.usefixtures("page")
def test_two_models_that_agree_keep_bad_edits_out(
    photos: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server, bench = serve(), photos.parent / "b"
    both = ("--verifier", model("looks-b", server), model("looks-a", server, "?in_flight=2"))
    code, found, err = build(capsys, photos, *both)
    assert code == 1, err  # places stayed empty
    (pair,) = read_bench(bench).pairs
    assert pair.pair_id == "helmet"
    (check,) = [check for check in pair.checks if check.gate == "cue_seen"]
    assert (check.value, check.passed) == (1.0, True)
    assert codes(bench) == {"still-red": ["old_present"], "was-blue": ["old_absent"]}
    names = [f"openai:looks-a@{server.url}", f"openai:looks-b@{server.url}"]
    kept = json.loads((bench / BUILD).read_text())
    assert kept["settings"]["verifiers"] == names
    assert found["verifying"]["models"][names[0]] == {
        "revision": f"{server.url}#looks-a", "replies": 10, "as_expected": 6, "unread": 0,
    }  # fmt: skip
    assert found["verifying"]["answered_alike"] == found["verifying"]["questions"] == 10
    rows = [*read_records(bench / SEEN, Seen)]
    assert len(rows) == 20  # the one that was blue is not asked about once it is edited
    assert [row.place for row in rows] == sorted(row.place for row in rows)
    assert {row.text.splitlines()[0] for row in rows if row.pair_id == "helmet"} == {
        "The helmet looks red.", "The helmet looks blue.",
    }  # fmt: skip
    # The raw picture of the first two is the same one: nobody is asked about it twice.
    assert set(asked(server).values()) == {1}
    assert server.count() == 2 * (2 + 2 + 2 + 2)
    before = (bench / "pairs.jsonl").read_bytes(), (bench / BUILD).read_bytes()
    assert build(capsys, photos, *both)[0] == 1
    assert server.count() == 16
    assert ((bench / "pairs.jsonl").read_bytes(), (bench / BUILD).read_bytes()) == before
    # As if it had been killed before it wrote anything but the replies.
    seen = (bench / SEEN).read_bytes()
    for name in ("pairs.jsonl", "rejected.jsonl", SEEN):
        (bench / name).unlink()
    assert build(capsys, photos, *both)[0] == 1
    assert server.count() == 16
    assert (bench / SEEN).read_bytes() == seen
    assert (bench / "pairs.jsonl").read_bytes() == before[0]
    shown = max((photos.parent / "runs").glob("vfaith/*/report.html")).read_text()
    assert "Models that looked for the cue" in shown
    assert "no verifier sees the old value before the edit" in shown


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ("flatters", "split"),  # both values are there, it says, on every picture
        ("denies", "split"),
        ("blind", "split"),
        ("mumbles", "unread"),
    ],
)
def test_models_that_differ_or_say_nothing_keep_the_pair_out(
    photos: Path,
    serve: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    other: str,
    code: str,
) -> None:
    write_jsonl(photos, [LINE])
    server = serve()
    found = build(capsys, photos, "--verifier", model("looks", server), model(other, server))
    assert found[0] == 1
    assert codes(photos.parent / "b") == {"helmet": [code]}
    rows = list(read_records(photos.parent / "b" / SEEN, Seen))
    unread = [row.parsed is None for row in rows if other in row.model]
    assert all(unread) if other == "mumbles" else not any(unread)


def test_without_verifiers_nobody_is_asked_and_that_is_said(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, err = build(capsys, photos)
    assert code == 0
    assert "no model has looked whether the cues are there" in err
    assert "verifying" not in found
    assert len(read_bench(photos.parent / "b").pairs) == 3
    assert not (photos.parent / "b" / SEEN).exists()


def test_verifiers_may_come_later_and_may_not_be_left_out_again(
    photos: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server, bench = serve(), photos.parent / "b"
    assert build(capsys, photos)[0] == 0
    both = ("--verifier", model("a", server), model("b", server))
    code, _, err = build(capsys, photos, *both)
    assert code == 1
    assert "nobody verified its cues before" in err
    assert [pair.pair_id for pair in read_bench(bench).pairs] == ["helmet"]
    code, _, err = build(capsys, photos)
    assert code == 2
    assert "its cues were verified by" in err
    # Others are asked anew; whom they share is not.
    before = server.count()
    build(capsys, photos, "--verifier", model("a", server), model("flatters", server))
    fresh = Counter(row["body"]["model"] for row in server.log()[before:])
    assert fresh == {"flatters": 4}  # two raw pictures; it sees blue on both, and that is enough
    assert codes(bench)["helmet"] == ["split"]
    assert {row.model.partition("@")[0] for row in read_records(bench / SEEN, Seen)} == {
        "openai:a", "openai:flatters",
    }  # fmt: skip


# ---- what can go wrong -----------------------------------------------------------------------


class Painter:
    """An editor that counts what it is paid for; see `Editor`."""

    name, version = "painter", "1"

    def __init__(self) -> None:
        self.calls = 0

    def edit(self, request: EditRequest) -> EditResult:
        self.calls += 1
        pixels = decode(request.image, "picture").pixels.copy()
        pixels[BOX[1] + 2 : BOX[3] - 2, BOX[0] + 2 : BOX[2] - 2] = BLUE
        return EditResult(
            image=encode(pixels), backend=self.name, version=self.version,
            request=request_key(self, request), usage={}, deterministic=False,
            exact_mask=False, native_size=(WIDE, HIGH),
        )  # fmt: skip


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    found = Painter()
    monkeypatch.setattr(stage, "load_editor", lambda spec: found)
    return found


def unedited(photos: Path) -> None:
    own = {name: value for name, value in LINE.items() if name != "edited"}
    own["instruction"] = "Paint the helmet blue."
    write_jsonl(photos, [own, {**own, "id": "was-blue", "image": "blue.png"}])


def test_no_edit_is_paid_for_where_the_cue_is_not_there(
    photos: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str], painter: Painter
) -> None:
    unedited(photos)
    server = serve()
    words = ("--editor", "openai:m", "--verifier", model("a", server), model("b", server))
    assert build(capsys, photos, *words)[0] == 1
    assert painter.calls == 1
    assert codes(photos.parent / "b") == {"was-blue": ["old_absent"]}
    rejected = json.loads((photos.parent / "b" / "rejected.jsonl").read_text())
    assert rejected["edited"]["sha256"] == rejected["raw"]["sha256"]


def test_a_verifier_that_dies_costs_nothing_that_was_paid(
    photos: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str], painter: Painter
) -> None:
    unedited(photos)
    server, dead = serve(), serve()
    words = ("--editor", "openai:m", "--verifier", model("a", server))
    dead.kill()
    code, _, err = build(capsys, photos, *words, model("b", dead, "?retries=0"))
    assert code == 2
    (line,) = err.strip().splitlines()[-1:]
    assert "nobody answers" in line
    assert "Traceback" not in err
    assert painter.calls == 0  # it is asked before anybody edits
    ill = serve(script=("503",))  # every call fails once
    code, found, err = build(capsys, photos, *words, model("b", ill, "?retries=0"))
    assert code == 1
    assert found["cues_unseen"] == 2
    assert "2 pairs wait for a verifier" in err
    assert "openai:b@" in err
    assert painter.calls == 0
    code, found, err = build(capsys, photos, *words, model("b", ill, "?retries=0"))
    assert found["cues_unseen"] == 1  # the edited picture is new to it, and fails once
    assert painter.calls == 1
    code, found, err = build(capsys, photos, *words, model("b", ill, "?retries=0"))
    assert (code, found["cues_unseen"], found["pairs"]) == (1, 0, 1)
    assert painter.calls == 1
    assert set(asked(server).values()) == set(asked(ill).values()) == {1}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "one model's word is not enough"),
        (["a", "a"], "are one model"),
        (["Qwen/Qwen3-VL-8B", "b", "qwen3-vl-8b-fp8"], "are one model"),
    ],
)
def test_too_few_verifiers_are_told_in_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], names: list[str], message: str
) -> None:
    specs = [f"openai:{name}@http://localhost:{at}/v1" for at, name in enumerate(names, 1)]
    code, _, err = build(capsys, photos, "--verifier", *specs)
    assert code == 2
    (line,) = err.splitlines()
    assert message in line
    assert not (photos.parent / "b").exists()


def test_drawn_scenes_need_no_verifier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--num", 4, "--verifier", "openai:a@http://h/v1", "openai:b@http://h/v1")
    code, _, err = call(capsys, "vfaith", "build", *words, "--out", tmp_path / "b")
    assert code == 2
    assert "what a drawn scene shows is known" in err
    assert not (tmp_path / "b").exists()


def test_what_was_said_before_must_be_readable(
    photos: Path, serve: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    both = ("--verifier", model("a", server), model("b", server))
    build(capsys, photos, *both)
    (photos.parent / "b" / SEEN).write_text('{"pair_id": "helmet"}\n')
    code, _, err = build(capsys, photos, *both)
    assert code == 2
    assert f"{SEEN}:1: not a Seen" in err


# ---- the leaderboard -------------------------------------------------------------------------


def test_a_verifier_is_neither_asked_nor_ranked(
    photos: Path,
    serve: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, bench, runs = serve(), photos.parent / "b", photos.parent / "runs"
    build(capsys, photos, "--verifier", model("a", server), model("maker/b-1", server))
    count = server.count()
    for name in (
        model("a", server), model("a", server, "?in_flight=3"), "openai:a@http://elsewhere/v1",
        "openai:b-1", "hf:maker/B-1", "openai:other/b-1-fp8@http://elsewhere/v1",
    ):  # fmt: skip
        words = ("vfaith", "run", "--model", name, "--bench", bench, "--unpinned")
        code, out, err = call(capsys, *words, "--runs", runs)
        assert (code, out, len(err.splitlines())) == (2, "", 1), err
        assert "verified the cues of this bench" in err
    assert server.count() == count
    monkeypatch.setattr(run_stage, "write_report", lambda *_: None)
    words = ("vfaith", "run", "--bench", bench, "--unpinned", "--runs", runs, "--json")
    code, out, err = call(capsys, *words, "--model", model("c", server), "--limit", 1)
    assert code == 0, err
    mine = json.loads(out)["run"]
    held = read_bench(bench)
    for name, revision, refused in (
        ("openai:a@http://elsewhere/v1", "", True),
        ("hf:./copy", f"{server.url}#maker/b-1", True),  # other name, same weights
        ("hf:./another", "123", False),
    ):
        config = {"model": name, "revision": revision, "bench": str(bench)}
        config["bench_digest"] = held.digest
        with Run.create("vfaith", "run-x", config, root=runs, stage="run") as run:
            run.finish()
        code, _, err = call(capsys, "vfaith", "score", mine, run.path, "--runs", runs)
        if refused:
            assert (code, len(err.splitlines())) == (2, 1)
            assert "it cannot be ranked on it" in err
        else:
            assert "verified" not in err


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("openai:gpt-4o", "openai:gpt-4o?in_flight=4", True),
        ("openai:gpt-4o", "openai:gpt-4o-2024-08-06", True),
        ("openai:gpt-4o-2024-05-13", "openai:gpt-4o-2024-08-06", False),
        ("openai:gpt-4o-2024-08-06", "openai:gpt-4o-20240806@http://h/v1", True),
        ("openai:gpt-4o-mini", "openai:gpt-4o", False),
        ("openai:openai/gpt-4o@https://router/v1", "openai:gpt-4o", True),
        ("openai:gpt-4-0613", "openai:gpt-4", True),
        ("openai:claude@20250101@http://h/v1", "openai:claude@http://i/v1", True),
        ("openai:Qwen/Qwen3-VL-8B@http://h/v1", "hf:Qwen/Qwen3-VL-8B", True),
        ("openai:qwen3-vl-8b-awq@http://h/v1", "hf:Qwen/Qwen3-VL-8B", True),
        ("openai:qwen/qwen3-vl-8b:free@http://h/v1", "hf:Qwen/Qwen3-VL-8B", True),
        ("hf:Qwen/Qwen3-VL-8B", "hf:Qwen/Qwen3-VL-4B", False),
        ("hf:Qwen/Qwen3-VL-8B", "hf:Qwen/Qwen3-VL-8B?lookahead=x", True),
        ("embedded:viewer-seeing", "embedded:viewer-blind", False),
        ("embedded:viewer-seeing", "embedded:viewer-seeing", True),
        ("planted:oracle", "openai:oracle", False),
        ("replay:a.jsonl", "replay:a.jsonl", True),
    ],
)
def test_which_names_are_one_model(a: str, b: str, same: bool) -> None:
    assert same_model(a, b) is same_model(b, a) is same


def test_folders_are_told_apart_by_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one/checkpoint", "two/checkpoint", "Qwen3-VL"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert same_model("hf:one/checkpoint", f"hf:{tmp_path}/one/checkpoint/")
    assert not same_model("hf:one/checkpoint", "hf:two/checkpoint")
    assert same_model("hf:./Qwen3-VL", "openai:/models/Qwen3-VL@http://h/v1")  # as vLLM calls it
    with pytest.raises(BadInput, match="are one model"):
        check_apart(["hf:Qwen3-VL", "openai:qwen/qwen3-vl@http://h/v1"])


def test_checkpoints_look_too_and_a_copy_is_the_same_model(
    photos: Path,
    serve: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = photos.parent
    write_jsonl(photos, [LINE])
    monkeypatch.setattr(witnesses, "_SAMPLING", Sampling(temperature=0, max_tokens=4, seed=0))
    one = save_vision(home / "one", "qwen2_5_vl")
    two = shutil.copytree(one, home / "another-name")
    code, _, err = build(capsys, photos, "--verifier", f"hf:{one}", f"hf:{two}")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "are one model" in err
    server = serve()
    code, _, err = build(capsys, photos, "--verifier", "embedded:reasoner", model("looks", server))
    assert code == 2
    assert "text-only" in err.splitlines()[-1]
    assert build(capsys, photos, "--verifier", f"hf:{one}", model("looks", server))[0] == 1
    assert codes(home / "b") == {"helmet": ["unread"]}  # its weights were never trained
    revisions = {row.model: row.revision for row in read_records(home / "b" / SEEN, Seen)}
    assert revisions.keys() == {f"hf:{one}", f"openai:looks@{server.url}"}
    # A bench with a pair to ask about, that the same two verified.
    bench = make_bench(home / "other", 1)
    told = {name: {"revision": revision} for name, revision in revisions.items()}
    settings = {"verifiers": [*revisions]}
    kept = {"complete": True, "settings": settings, "numbers": {"verifying": {"models": told}}}
    (bench.folder / BUILD).write_text(json.dumps(kept))
    words = ("vfaith", "run", "--model", f"hf:{two}", "--bench", bench.folder)
    code, _, err = call(capsys, *words, "--runs", home / "runs")
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"verified the cues of this bench as hf:{one}" in err


# ---- the verdict -----------------------------------------------------------------------------

PLACES = [("raw", "old"), ("raw", "new"), ("edited", "old"), ("edited", "new")]
GOOD = ["yes", "no", "no", "yes"]
ANSWERS = st.sampled_from(["yes", "no", None])


def rows(*answers: list[str | None]) -> list[Seen]:
    return [
        Seen(
            pair_id="p", model=f"m{number}", revision="", shown=shown, sha256="", value=value,
            question="", text="", parsed=given, expected=right,
        )
        for number, own in enumerate(answers)
        for (shown, value), given, right in zip(PLACES, own, GOOD, strict=True)
    ]  # fmt: skip


@given(st.lists(st.lists(ANSWERS, min_size=4, max_size=4), min_size=2, max_size=4))
def test_a_pair_passes_only_where_all_say_all_of_it(answers: list[list[str | None]]) -> None:
    found = verdict(rows(*answers))
    assert found.passed == all(own == GOOD for own in answers)
    assert found.passed == (found.code == "") == (found.value == 1.0)
    right = [given == good for own in answers for given, good in zip(own, GOOD, strict=True)]
    assert found.value == pytest.approx(sum(right) / len(right))
    assert verdict(rows(*reversed(answers))) == found


@pytest.mark.parametrize(
    ("one", "two", "code"),
    [
        (["no", "no", "no", "yes"], ["no", "no", "no", "yes"], "old_absent"),
        (["yes", "yes", "no", "yes"], ["yes", "yes", "no", "yes"], "new_present"),
        (["yes", "no", "yes", "yes"], ["yes", "no", "yes", "yes"], "old_present"),
        (["yes", "no", "no", "no"], ["yes", "no", "no", "no"], "new_absent"),
        (["yes", "no", "no", "no"], GOOD, "split"),
        (["yes", "no", "no", None], GOOD, "unread"),
        ([None, "no", "no", "no"], ["yes", "no", "no", "no"], "new_absent"),
    ],
)
def test_the_reason_is_what_all_of_them_say(
    one: list[str | None], two: list[str | None], code: str
) -> None:
    assert verdict(rows(one, two)).code == code
