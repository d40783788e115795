"""Image files are read once while they stay as they are, and anew the moment they change."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from planish.errors import BadInput
from planish.models import image_files
from planish.models.image_files import data_url, sha256_of
from planish.models.pictures import open_picture

LONG_AGO = time.time() - 3600


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read; as if every file had been written long ago."""
    found = list[str]()
    read = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        found.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(image_files, "_SETTLED", -3600.0)
    return found


def test_a_file_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(b"pixels")
    for _ in range(3):
        assert sha256_of(str(path)) == hashlib.sha256(b"pixels").hexdigest()
        assert (
            data_url(str(path)) == f"data:image/webp;base64,{base64.b64encode(b'pixels').decode()}"
        )
    assert reads == ["a.webp"] * 2


@pytest.mark.parametrize("way", ["written", "replaced", "longer"])
def test_a_file_that_changed_is_read_again(tmp_path: Path, reads: list[str], way: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"before")
    os.utime(path, (LONG_AGO, LONG_AGO))
    first = sha256_of(str(path))
    if way == "replaced":  # with the same size and date
        (tmp_path / "b.png").write_bytes(b"behind")
        os.utime(tmp_path / "b.png", (LONG_AGO, LONG_AGO))
        os.replace(tmp_path / "b.png", path)
    else:
        path.write_bytes(b"behind" if way == "written" else b"before and after")
    assert sha256_of(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest() != first


def test_a_file_that_was_written_just_now_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for number in range(50):  # faster than the clock of a file system
        path.write_bytes(b"%03d" % number)
        assert sha256_of(str(path)) == hashlib.sha256(b"%03d" % number).hexdigest()


def test_a_large_file_is_not_kept(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_files, "_LARGEST", 3)
    (tmp_path / "a.png").write_bytes(b"four")
    assert sha256_of(str(tmp_path / "a.png")) == sha256_of(str(tmp_path / "a.png"))
    assert reads == ["a.png"] * 2


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        data_url(str(tmp_path / "a.png"))


@pytest.mark.parametrize("read", [data_url, sha256_of])
def test_what_has_no_end_is_not_read(tmp_path: Path, read: Callable[[str], object]) -> None:
    os.mkfifo(pipe := tmp_path / "pipe.png")
    for name in ("/dev/zero", str(pipe)):
        with pytest.raises(OSError, match="not a plain file"):
            read(name)


@pytest.mark.parametrize("name", ["/dev/zero", "pipe.png"])
def test_a_picture_of_a_message_that_has_no_end_is_told(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(BadInput, match="not a plain file"):
        open_picture(str(tmp_path / name))
