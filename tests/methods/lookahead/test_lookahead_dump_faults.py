"""What goes wrong with a dump: it is told before the work, and leaves nothing in the way."""

from __future__ import annotations

import errno
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from planish.cli import main
from planish.methods.lookahead.config import Dumping
from planish.methods.lookahead.dumping import folder as folders
from planish.methods.lookahead.dumping import places, reading
from planish.methods.lookahead.dumping.folder import PROJECTIONS, Dump
from planish.methods.lookahead.dumping.places import check_place
from planish.methods.lookahead.dumping.reading import items_of_file
from planish.methods.lookahead.running.dump import dump
from planish.records import BadInput
from planish.tasks.load import load_task

MODEL, TASK = "embedded:recall", "recall:lookup:384"


def _dump(folder: Path, **given: Any) -> int:
    words: dict[str, Any] = {"task": TASK, "limit": 2, "model": MODEL, "out": folder / "dump"}
    return dump(**(words | {"runs": folder / "runs", "json": True} | given))


def _lines(folder: Path, *lines: str) -> Path:
    path = folder / "documents.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would be told only with the model at hand is told too late."""

    def opened(spec: str) -> None:
        raise AssertionError(f"{spec} was opened")

    monkeypatch.setattr(reading, "local_model", opened)


GOOD = json.dumps({"text": "r1 : k1 v1"})


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("given", "lines", "told"),
    [
        ({"task": "nope"}, (), "nope"),
        ({"task": None}, (GOOD,) * 40 + ("{",), r"documents\.jsonl:41.*broken JSON"),
        ({"task": None}, ('{"id": "\\ud800", "text": "x"}',), r"jsonl:1.*half of a character"),
        ({"task": None}, ('{"text": "\\udfff"}',), r"jsonl:1.*half of a character"),
        ({"task": None}, (), "no document of the split train"),
        ({"out": Path("documents.jsonl/dump")}, (GOOD,), "documents.jsonl is no folder"),
    ],
)
def test_bad_documents_and_places_are_told_before_anything_is_done(
    tmp_path: Path, given: dict[str, Any], lines: tuple[str, ...], told: str
) -> None:
    path = _lines(tmp_path, *lines)
    if given.get("task", TASK) is None:
        given = {**given, "documents": path, "limit": None}
    if "out" in given:
        given = {**given, "out": tmp_path / given["out"]}
    with pytest.raises(BadInput, match=told):
        _dump(tmp_path, **given)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("resume", [False, True])
def test_a_dump_that_got_no_document_gives_way_to_another(tmp_path: Path, resume: bool) -> None:
    with pytest.raises(BadInput, match=r"projections need .* above the cap of 100; give a higher"):
        _dump(tmp_path, max_gigabytes=100 / 1e9)
    taken = sum(each.stat().st_size for each in (tmp_path / "dump").rglob("*") if each.is_file())
    with pytest.raises(BadInput, match=r"next document .* of 0 documents, above .*; give a higher"):
        _dump(tmp_path, max_gigabytes=1e-3)
    (tmp_path / "dump" / PROJECTIONS).write_bytes(b"of another backbone")
    other = Dumping.tiny().model_copy(update={"chunk_tokens": 8, "continuation": 24})
    assert taken < 10_000
    assert _dump(tmp_path, config=other, preset=None, limit=1, resume=resume) == 0
    found = Dump(tmp_path / "dump")
    assert (len(found.documents), found.header.chunk_tokens) == (1, 8)
    assert found.projections()


def test_what_a_full_disk_leaves_gives_way_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            _dump(tmp_path)
    assert not (tmp_path / "dump" / "dump.json").exists()
    check_place(tmp_path / "dump", goes_on=False)
    (tmp_path / "dump" / "notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="is no dump"):
        check_place(tmp_path / "dump", goes_on=False)


def test_a_stopped_dump_tells_the_command_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = folders.Writer.add

    def add(self: Any, shard: Any) -> None:
        kept(self, shard)
        raise KeyboardInterrupt

    config = Dumping.tiny().model_copy(update={"continuation": 24})
    given = config.model_copy()
    given.__pydantic_fields_set__.clear()
    given.__pydantic_fields_set__.update({"continuation"})
    with monkeypatch.context() as patch:
        patch.setattr(folders.Writer, "add", add)
        with pytest.raises(KeyboardInterrupt):
            _dump(tmp_path / "a folder", config=given, preset="tiny", max_gigabytes=0.25)
    said = capsys.readouterr().err
    (line,) = (line for line in said.splitlines() if line.startswith("go on with: "))
    words = shlex.split(line.removeprefix("go on with: "))
    assert words[:3] == ["planish", "lookahead", "dump"]
    with pytest.raises(SystemExit) as stop:
        main([*words[1:], "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (stop.value.code, told["documents_before"], told["documents"]) == (0, 1, 2)
    assert Dump(tmp_path / "a folder" / "dump").header.max_bytes == 250_000_000


@pytest.mark.parametrize(
    ("source", "rule"), [(TASK, False), ("recall:cwe:128", True), ("documents", True)]
)
def test_the_command_that_a_dump_recommends_trains(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    rule: bool,
) -> None:
    """Also of documents that do not tell what they need, which the preset tiny asks for."""
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {"task": source}
    if source == "documents":
        prompts = (each.prompt[-1].content for each in load_task(TASK).examples("train", 12, 3))
        path = _lines(tmp_path, *(json.dumps({"text": text}) for text in prompts))
        given = {"task": None, "documents": path}
    assert _dump(tmp_path, **given, limit=6, json=False) == 0
    shown = capsys.readouterr().out.splitlines()
    (line,) = (line for line in shown if line.startswith("next "))
    words = shlex.split(line)[2:]
    assert ("--rule" in words) == rule
    with pytest.raises(SystemExit) as stop:
        main([*words, "--epochs", "1", "--json"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0, err
    assert json.loads(out)["train_tokens"] > 0
    assert (tmp_path / "indexer" / "indexer.json").is_file()


def test_two_sources_of_documents_are_told_as_two(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--task and --documents: are both given; leave one out"):
        _dump(tmp_path, documents=_lines(tmp_path, GOOD))
    with pytest.raises(BadInput, match="one of --task and --documents is needed"):
        _dump(tmp_path, task=None)


def test_an_id_with_half_a_character_is_told_by_its_line(tmp_path: Path) -> None:
    path = _lines(tmp_path, GOOD, '{"id": "a\\udc80", "text": "x"}')
    with pytest.raises(BadInput, match=r"documents\.jsonl:2: holds half of a character"):
        list(items_of_file(path, "train", None))


@pytest.mark.parametrize("stage", ["dump", "train"])
def test_a_disk_that_takes_no_file_is_told_before_the_work(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def read_only(dir: Path) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(places.tempfile, "TemporaryFile", read_only)
    source = {"dump": ("--model", "embedded:recall", "--task", "recall:ruler:128")}
    words = source.get(stage, ("--dump", str(tmp_path / "dump")))
    with pytest.raises(SystemExit) as ended:
        main(["lookahead", stage, *words, "--out", str(tmp_path / "new" / "out")])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert f"{tmp_path} cannot be written; name a new folder" in " ".join(told.split())
    assert not (tmp_path / "new").exists()
