"""Documents from files: none is lost, and what is wrong is told by file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from planish.methods.lookahead.data import file_name
from planish.methods.lookahead.dumping.folder import _SHARD, Dump
from planish.methods.lookahead.dumping.reading import items_of_file
from planish.methods.lookahead.running.evaluate import _shares
from planish.records import BadInput


def _file(folder: Path, *rows: dict[str, object]) -> Path:
    path = folder / "documents.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _ids(path: Path) -> list[str]:
    return [
        item.id
        for split in ("train", "gate", "report")
        for item in items_of_file(path, split, None)
    ]


def test_a_document_without_an_id_goes_by_its_line(tmp_path: Path) -> None:
    rows = [{"id": None, "text": f"document {number}"} for number in range(9)]
    found = _ids(_file(tmp_path, *rows, {"text": "another"}))
    assert sorted(found) == sorted(f"documents.jsonl:{number}" for number in range(1, 11))


@pytest.mark.parametrize("split", ["train", "gate", "report"])
def test_an_id_that_comes_twice_is_refused_in_every_split(tmp_path: Path, split: str) -> None:
    path = _file(
        tmp_path, {"id": "a", "text": "one"}, {"id": "b", "text": "two"}, {"id": "a", "text": "x"}
    )
    with pytest.raises(BadInput, match=r"documents\.jsonl:3.*'a' was there before"):
        list(items_of_file(path, split, None))


@pytest.mark.parametrize("words", [("nan",), ("0.1,nan",), ("inf",), ("0",), ("-0.1",), ("1.5",)])
def test_a_share_that_is_none_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="is no share"):
        _shares(words)


def test_damaged_projections_are_told(tmp_path: Path) -> None:
    (tmp_path / "projections.safetensors").write_bytes(b"\x08\0\0\0")
    dump = Dump.__new__(Dump)
    dump.folder = tmp_path
    with pytest.raises(BadInput, match=r"projections\.safetensors.*cannot be read"):
        dump.projections()


def test_only_what_a_dump_writes_is_cleared_away() -> None:
    ours = Path(file_name("a document", "0123456789abcdef")).name
    for name in (ours, f".{ours}.tmp"):
        assert _SHARD.search(name), name
    for name in ("notes.txt", "model.safetensors", f"{ours}.bak", "x-0123456789ab.bin"):
        assert not _SHARD.search(name), name
