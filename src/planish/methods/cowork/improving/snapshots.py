"""The shelf: every library that was ever in use, and a pointer to the one that is.

    with Shelf(folder) as shelf:
        shelf.start(library)
        shelf.promote(better, round=1)
        shelf.active, shelf.anchor

A library is written whole, read back and only then pointed to; the pointer is swapped in one step.
Whatever kills the process, and wherever, the old pointer or the new one is there, and what it
points to. What cannot be written is not promoted: `NotKept`, and everything stays as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from planish.errors import BadInput
from planish.methods.cowork.data import Promotion
from planish.methods.cowork.skills import Library, Unsound, parse_library
from planish.runs.folder import lock
from planish.runs.lines import LineFile, mend

__all__ = ["NotKept", "Pointer", "Shelf", "write_whole"]

POINTER, SNAPSHOTS, PROMOTIONS = "active.json", "snapshots", "promotions.jsonl"
_DRAFT = ".part"


class NotKept(OSError):
    """A promotion is refused, for it could not be kept on disk; nothing has changed."""


class Pointer(BaseModel):
    """What is in use.

    Args:
        active, anchor: digests.
        round: of the last change.
        last: the last change, so that a crash before it reached the log loses nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: str
    anchor: str
    round: int = 0
    last: Promotion | None = None


class Shelf:
    """A folder of libraries, for one process at a time.

    Args:
        folder: made if it is missing.

    Raises:
        BadInput: another process uses it, or what it holds is broken.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / SNAPSHOTS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"cannot be made ({error.strerror})", where=str(folder), fix="check its permissions"
            ) from None
        self._lock: int | None = lock(folder)
        self._log = LineFile(folder / PROMOTIONS)
        self._libraries: dict[str, Library] = {}
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever put on it."""
        return self._pointer is None

    @property
    def pointer(self) -> Pointer:
        """What is in use.

        Raises:
            ValueError: the shelf is empty.
        """
        if self._pointer is None:
            raise ValueError("the shelf is empty: start it with a library")
        return self._pointer

    @property
    def active(self) -> Library:
        """The library in use."""
        return self.load(self.pointer.active)

    @property
    def anchor(self) -> Library:
        """The library that total drift is measured from."""
        return self.load(self.pointer.anchor)

    @property
    def promotions(self) -> tuple[Promotion, ...]:
        """Every change, oldest first."""
        return tuple(self._logged)

    def start(self, library: Library) -> None:
        """Puts the first library on an empty shelf; on another one it does nothing.

        Raises:
            NotKept: it cannot be written.
        """
        if self._pointer is None:
            self.keep(library)
            self._swap(Pointer(active=library.digest, anchor=library.digest))

    def keep(self, library: Library) -> Path:
        """Writes a snapshot and reads it back; one that is there already is only read.

        Raises:
            NotKept: it cannot be written, or does not come back as it was.
        """
        path = self._path(library.digest)
        if path.exists():
            with contextlib.suppress(BadInput):
                self._read(library.digest)
                return path
        text = json.dumps(library.model_dump(mode="json"), indent=1) + "\n"
        try:
            write_whole(path, text, check=lambda draft: _check(draft, library.digest))
        except (OSError, Unsound, ValueError) as error:
            raise NotKept(f"the snapshot {path.name} could not be kept: {_why(error)}") from error
        self._libraries[library.digest] = library
        return path

    def load(self, digest: str) -> Library:
        """A library of the shelf.

        Raises:
            BadInput: it is not there, or not what it was.
        """
        if digest not in self._libraries:
            self._libraries[digest] = self._read(digest)
        return self._libraries[digest]

    def promote(
        self,
        library: Library,
        *,
        round: int,
        kind: Literal["promoted", "reverted"] = "promoted",
        anchor: str | None = None,
        detail: str = "",
    ) -> Promotion:
        """Points to another library from now on.

        The same change of the same round again does nothing, so that a round which was cut off
        can be done again.

        Args:
            kind: "reverted" where an earlier library comes back.
            anchor: digest of another anchor than now.

        Raises:
            NotKept: something cannot be written; the old library stays in use.
        """
        before = self.pointer
        promotion = Promotion(
            kind=kind,
            from_hash=before.active,
            to_hash=library.digest,
            anchor_hash=anchor or before.anchor,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            round=round,
            detail=detail,
        )
        if before.last is not None and before.active == library.digest:
            last = before.last
            if (last.kind, last.round) == (kind, round):
                return last
        self.keep(library)
        self._swap(
            Pointer(
                active=library.digest, anchor=promotion.anchor_hash, round=round, last=promotion
            )
        )
        with contextlib.suppress(OSError):  # the pointer has it; the log gets it when it can
            self._write_log()
        return promotion

    def move_anchor(self, digest: str) -> None:
        """Measures the total drift from another library of the shelf.

        Raises:
            NotKept: it cannot be written.
        """
        self.load(digest)
        if digest != self.pointer.anchor:
            self._swap(self.pointer.model_copy(update={"anchor": digest}))

    def close(self) -> None:
        """Frees the folder. Safe to call twice."""
        if self._lock is None:
            return
        try:
            self._log.close()
        finally:
            handle, self._lock = self._lock, None
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the disk

    def _open(self) -> None:
        for draft in (*self.folder.glob(f"*{_DRAFT}"), *self._home.glob(f"*{_DRAFT}")):
            draft.unlink(missing_ok=True)  # a crash left it; nothing points to it
        mend(self.folder / PROMOTIONS)
        self._logged = self._read_log()
        self._pointer = self._read_pointer()
        if self._pointer is not None:
            self.load(self._pointer.active)
            self.load(self._pointer.anchor)
            self._write_log()

    @property
    def _home(self) -> Path:
        return self.folder / SNAPSHOTS

    def _path(self, digest: str) -> Path:
        return self._home / f"{digest}.json"

    def _read(self, digest: str) -> Library:
        path = self._path(digest)
        try:
            return _check(path, digest)
        except FileNotFoundError:
            what = "the snapshot is missing"
        except (OSError, Unsound, ValueError) as error:
            what = f"the snapshot is broken: {_why(error)}"
        raise BadInput(what, where=str(path), fix="restore the file or start a new run")

    def _read_pointer(self) -> Pointer | None:
        path = self.folder / POINTER
        try:
            return Pointer.model_validate_json(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValidationError, ValueError) as error:
            raise BadInput(
                f"the pointer is broken: {_why(error)}",
                where=str(path),
                fix="restore the file or start a new run",
            ) from None

    def _read_log(self) -> list[Promotion]:
        path = self.folder / PROMOTIONS
        if not path.exists():
            return []
        try:
            lines = path.read_text("utf-8").splitlines()
            return [Promotion.model_validate_json(line) for line in lines]
        except (OSError, ValidationError, ValueError) as error:
            raise BadInput(
                f"the log is broken: {_why(error)}",
                where=str(path),
                fix="restore the file or start a new run",
            ) from None

    def _write_log(self) -> None:
        """Brings the log up to the pointer; a round that was done again is in it once."""
        last = self.pointer.last
        if last is None or any(_is_same(last, each) for each in self._logged):
            return
        self._log.append(last.model_dump_json())
        self._logged.append(last)

    def _swap(self, pointer: Pointer) -> None:
        path = self.folder / POINTER
        try:
            if self._pointer is not None:
                self._write_log()  # what only the pointer knows must not be written over
            write_whole(path, pointer.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise NotKept(f"the pointer could not be swapped: {_why(error)}") from error
        self._pointer = pointer


def write_whole(path: Path, text: str, *, check: Any = None) -> None:
    """Writes a file under another name, to the disk itself, and renames it.

    Args:
        check: called with the file before it takes its name; what it raises keeps it from that.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    draft = path.with_name(path.name + _DRAFT)
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(draft)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    # The name itself reaches the disk with its folder; where it cannot, the file is whole anyway.
    with contextlib.suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _check(path: Path, digest: str) -> Library:
    """The library in a file, if it is the one it should be."""
    library = parse_library(json.loads(path.read_text("utf-8")))
    if library.digest != digest:
        raise ValueError(f"its digest is {library.digest}, not {digest}")
    return library


def _is_same(one: Promotion, other: Promotion) -> bool:
    return one.model_copy(update={"time": ""}) == other.model_copy(update={"time": ""})


def _why(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split())[:200]
