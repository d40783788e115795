"""Files that a command is asked to write: where there is no room, or no such place."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from planish.methods.mistakes.running import asked
from planish.records import BadInput
from planish.runs.lines import DiskFull


def test_rows_are_written(tmp_path: Path) -> None:
    asked.write_asked("--out", tmp_path / "o.jsonl", [{"a": 1}])
    assert (tmp_path / "o.jsonl").read_text() == '{"a": 1}\n'


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(asked, "write_jsonl", full)
    with pytest.raises(DiskFull, match=r"free some space and resume: '.*/o\.jsonl'"):
        asked.write_asked("--out", tmp_path / "o.jsonl", [])


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"^--export .*/file/o\.jsonl: .*; name a file that can be"):
        asked.write_asked("--export", tmp_path / "file" / "o.jsonl", [])
