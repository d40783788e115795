"""The reply cache's file: lines behind keys, appended whole, one process at a time.

    >>> file = ReplyFile("replies.jsonl")                       # doctest: +SKIP
    >>> file.append("reply", key, {"sample": 0}, completion)    # doctest: +SKIP
    >>> file.read(key, "completion", Completion).text           # doctest: +SKIP
    '4'

The first line says what the file is, so that no other file is ever mistaken for one and mended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import weakref
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from planish.records import BadInput, explain
from planish.runs.lines import DiskFull, LineFile, mend

__all__ = ["ReplyFile"]

R = TypeVar("R", bound=BaseModel)

_HEADER = b'{"kind": "reply cache", "version": 1}\n'
# Kind of line -> where its record stands.
_FIELDS = {"reply": "completion", "failure": "failure", "scores": "scores"}


class ReplyFile:
    """An append-only file of replies, open to this process alone.

    Only the places of the lines are kept in memory, see `_Places`.

    Raises:
        BadInput: not such a file, a broken line that is not the last one, or in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(path))
        self.repaired: str | None = None
        self._places = _Places()
        self._guard = threading.Lock()
        if self.path.suffix == ".gz":
            raise BadInput("a reply cache cannot be compressed", where=str(path))
        with contextlib.ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                stack.callback(_lock(self.path))
                self.path.touch()
                self._lines = LineFile(self.path)
                stack.callback(self._lines.close)
                self._reader = stack.enter_context(self.path.open("rb"))
            except OSError as error:
                raise BadInput(
                    error.strerror or str(error),
                    where=str(path),
                    fix="choose a file that can be written",
                ) from None
            self._open()
            # A cache that is dropped without `close` frees its file as well.
            self._release = weakref.finalize(self, stack.pop_all().close)

    def _open(self) -> None:
        head = self._reader.read(len(_HEADER))
        if head != _HEADER and not (_HEADER.startswith(head) and not self._reader.read(1)):
            # Said before anything is mended: the file may be somebody's pairs.
            raise BadInput(
                "not a reply cache",
                where=str(self.path),
                fix="give the path of a cache or of a new file",
            )
        self.repaired = mend(self.path) or None
        if self.path.stat().st_size < len(_HEADER):
            self._lines.append(_HEADER.decode().rstrip("\n"))
            return
        place = len(_HEADER)
        self._reader.seek(place)
        for number, line in enumerate(iter(self._reader.readline, b""), 2):
            if not self._index(line, place, f"{self.path}:{number}"):
                # It has its newline: blocks of it never reached the disk.
                os.truncate(self.path, place)
                self.repaired = f"{self.path.name}: removed a broken last line ({len(line)} bytes)"
                return
            place += len(line)

    def _index(self, line: bytes, place: int, where: str) -> bool:
        """Notes where a line stands; False for a last line that is no JSON at all."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if not self._reader.read(1):
                return False
            raise BadInput("broken JSON", where=where, fix="mend or remove the line") from None
        try:
            kind, digest = row["kind"], bytes.fromhex(row["key"])
            _FIELDS[kind]
        except (TypeError, ValueError, KeyError):
            raise BadInput(
                "not a line of a reply cache", where=where, fix="mend or remove the line"
            ) from None
        if kind != "failure":
            self._places.put(digest, place)
        return True

    def read(self, key: str, field: str, kind: type[R]) -> R | None:
        """The record `field` of the line behind a key, or None."""
        place = self._places.find(bytes.fromhex(key))
        if place is None:
            return None
        with self._guard:
            self._reader.seek(place)
            line = self._reader.readline()
        try:
            row = json.loads(line)
            if row["key"] != key:
                return None  # it shares the bits that are kept of a key
            return kind.model_validate(row[field])
        except (ValidationError, LookupError, TypeError, ValueError) as error:
            why = explain(error) if isinstance(error, ValidationError) else repr(error)
            raise BadInput(
                f"not a {kind.__name__} at byte {place} ({why})",
                where=str(self.path),
                fix="remove the line, or start a new cache",
            ) from None

    def append(self, kind: str, key: str, row: dict[str, Any], record: BaseModel) -> None:
        """Writes a line; it is safe once this returns.

        Raises:
            OSError: it could not be written; the file still ends with its last whole line.
        """
        if not self._release.alive:
            raise ValueError(f"the reply cache {self.path} is closed")
        # Not pydantic's JSON: it turns infinities into null and refuses half surrogate pairs.
        value = {"kind": kind, "key": key, **row, _FIELDS[kind]: record.model_dump()}
        line = json.dumps(value, ensure_ascii=False)
        if not _is_utf8(line):
            line = json.dumps(value)
        with self._guard:
            # Asked, not counted: an interrupted append may have written its line.
            place = os.fstat(self._reader.fileno()).st_size
            try:
                self._lines.append(line)
            except DiskFull:
                raise
            except OSError as error:
                why = f"{error.strerror or error}: every finished reply was kept; run it again"
                raise OSError(error.errno, why, str(self.path)) from error
            if kind != "failure":
                self._places.put(bytes.fromhex(key), place)

    def close(self) -> None:
        """Closes the file and frees it for others. Safe to call twice."""
        self._release()


class _Places:
    """Key -> where its line stands, in some forty bytes a key where a dict takes two hundred.

    64 bits of a key are kept. The line that they lead to tells whether it is the right one.
    """

    def __init__(self) -> None:
        self._count = 0
        self._keys, self._places = _zeros(1024), _zeros(1024)  # places from 1; 0 where none is

    def find(self, key: bytes) -> int | None:
        """The place that was put last; None where there is none."""
        slot = self._slot(int.from_bytes(key[:8], "big"))
        return self._places[slot] - 1 if self._places[slot] else None

    def put(self, key: bytes, place: int) -> None:
        """Notes where the line of a key stands."""
        if 3 * self._count >= 2 * len(self._keys):
            self._grow()
        self._put(int.from_bytes(key[:8], "big"), place + 1)

    def _put(self, key: int, place: int) -> None:
        slot = self._slot(key)
        self._count += not self._places[slot]
        self._keys[slot], self._places[slot] = key, place

    def _slot(self, key: int) -> int:
        """Where the key is, or the empty slot where it belongs: the first behind its own."""
        slot = key % len(self._keys)
        while self._places[slot] and self._keys[slot] != key:
            slot = (slot + 1) % len(self._keys)
        return slot

    def _grow(self) -> None:
        keys, places = self._keys, self._places
        self._keys, self._places = _zeros(2 * len(keys)), _zeros(2 * len(keys))
        self._count = 0
        for key, place in zip(keys, places, strict=True):
            if place:
                self._put(key, place)


def _zeros(number: int) -> array[int]:
    return array("Q", bytes(8 * number))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lock(path: Path) -> Callable[[], None]:
    """Takes the file for this process; returns what frees it.

    The lock is a file beside it that holds the owner's process id. The kernel frees it with the
    process, however that ends; the file itself may stay and does no harm.

    Raises:
        BadInput: another process (or another model of this one) has it.
    """
    beside = path.with_name(f"{path.name}.lock")
    while True:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise BadInput(
                f"in use by process {owner or '(starting)'}",
                where=str(path),
                fix="wait until it ends, or use another file",
            ) from None
        except OSError:
            os.close(handle)
            raise
        # The previous owner may have removed the file between our opening and locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(beside)):
                break
        os.close(handle)
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)

    def free() -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        os.close(handle)

    return free
