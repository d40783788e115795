"""Append-only JSON Lines that survive a crash: whole lines stay, a torn last one is mended.

>>> mend("records.jsonl")                    # doctest: +SKIP
'records.jsonl: removed a torn last line (31 bytes, starts {"kind": "call", "id": "7)'
>>> lines = LineFile(Path("records.jsonl"))  # doctest: +SKIP
>>> lines.append('{"kind": "call", "id": "7", "data": {}}')
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planish.records import replacing

__all__ = ["FULL", "DiskFull", "LineFile", "mend", "raise_if_full", "rewriting", "telling_full"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors that say that there is no room."""

_BLOCK = 1 << 16


class DiskFull(OSError):
    """No room to write. Every line that was written before is whole and still there."""

    def __init__(self, path: Path, code: int = errno.ENOSPC) -> None:
        super().__init__(
            code,
            f"{os.strerror(code)}: every finished line was kept; free some space and resume",
            str(path),
        )

    def __reduce__(self) -> tuple[type[DiskFull], tuple[Path, int]]:
        """As it comes from another process: an OSError is made anew from what it was given."""
        return DiskFull, (Path(self.filename), self.errno or errno.ENOSPC)


def raise_if_full(error: OSError, path: Path) -> None:
    """Raises `DiskFull` when that is what `error` means."""
    if error.errno in FULL:
        raise DiskFull(path, error.errno or errno.ENOSPC) from error


@contextlib.contextmanager
def telling_full(path: Path) -> Iterator[None]:
    """Raises `DiskFull` for whatever finds no room inside; `path` is what was to be written."""
    try:
        yield
    except DiskFull:
        raise
    except OSError as error:
        raise_if_full(error, path)
        raise


@contextlib.contextmanager
def rewriting(path: Path) -> Iterator[Any]:
    """A file of bytes that takes the place of `path` when it is whole; see `records.replacing`.

    Raises:
        DiskFull: no room; what was there is left.
    """
    with telling_full(path), replacing(path) as out:
        yield out


class LineFile:
    """Appends whole lines to a file, from any thread; the file appears with the first line.

    A line goes to the operating system before `append` returns, so a killed process loses
    nothing that was appended. A line that cannot be written whole is taken back.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._lock = threading.Lock()

    def append(self, line: str) -> None:
        """Writes `line` and a newline, all or nothing.

        Raises:
            DiskFull: no room; the file ends with the last whole line.
        """
        data = memoryview(line.encode("utf-8") + b"\n")
        with self._lock:
            if self._handle is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._handle = os.open(self.path, flags, 0o666)
            start = os.fstat(self._handle).st_size
            try:
                while data:
                    data = data[os.write(self._handle, data) :]
            except BaseException as error:
                # Ctrl-C may arrive between the last write and here: a whole line stays.
                if data:
                    os.ftruncate(self._handle, start)
                if isinstance(error, OSError):
                    raise_if_full(error, self.path)
                raise

    def close(self) -> None:
        """Sends the lines to the disk itself and closes the file."""
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is None:
            return
        try:
            os.fsync(handle)
        except OSError as error:
            raise_if_full(error, self.path)
            raise
        finally:
            with contextlib.suppress(OSError):
                os.close(handle)


def last_line_start(path: Path) -> tuple[int, int]:
    """(where what follows the last newline starts, size of the file), in bytes."""
    with path.open("rb") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - _BLOCK)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1, size
            end = begin
    return 0, size


def count_whole(path: Path) -> int:
    """How many lines of a file end in a newline; a line that is being written does not count."""
    count = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            count += block.count(b"\n")
    return count


def mend(path: str | os.PathLike[str]) -> str:
    """Repairs a last line that lacks its newline; returns what was done, or "".

    A line that is whole but for the newline gets one; anything else was torn by a crash and is
    removed. Lines before it are not looked at: they were whole when the next one was begun.
    """
    path = Path(path)
    if not path.exists():
        return ""
    start, size = last_line_start(path)
    if start == size:
        return ""
    with path.open("r+b") as file:
        file.seek(start)
        tail = file.read()
        try:
            whole = isinstance(json.loads(tail), dict)
        except (ValueError, RecursionError):
            whole = False
        if whole:
            file.seek(size)
            file.write(b"\n")
            return f"{path.name}: ended the last line, which lacked its newline"
        file.truncate(start)
    beginning = tail[:40].decode("utf-8", "replace").replace("\x00", "\\0")
    return f"{path.name}: removed a torn last line ({len(tail)} bytes, starts {beginning!r})"
