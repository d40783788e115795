"""A bench under construction on disk: one process, whole lines, and the same bytes in the end.

    with Site.open(Path("bench"), plan) as site:
        if not site.has("colours-0000"):
            site.add(pair_id, line, passed=True)    appended and safe; a crash costs one line
        site.settle()                               pairs in order of their ids, and as parquet
        site.complete(numbers)                      build.json says that it is complete

`build.json` holds the settings, the versions they were built with and what came of it; it names no
date and no machine, so that the same command gives the same bytes wherever it stopped in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from planish.methods.vfaith.bench import BUILD, PAIRS, REJECTED, TABLE, inside
from planish.methods.vfaith.building.plan import Plan
from planish.methods.vfaith.building.table import write_table
from planish.methods.vfaith.data import EditPair
from planish.methods.vfaith.verifying.witnesses import GATE
from planish.models.pictures import read_bytes
from planish.records import BadInput, explain, read_jsonl, read_records, write_text
from planish.runs import LineFile, mend
from planish.runs.folder import lock
from planish.runs.info import flatten
from planish.runs.lines import raise_if_full, rewriting

__all__ = ["BuildInfo", "Site", "versions"]

_DRAWN_WITH = ("planish", "pillow", "numpy")


class BuildInfo(BaseModel):
    """What `build.json` holds.

    Args:
        complete: everything that was asked for is there, and the files are settled.
        settings: the plan.
        versions: of what draws the pictures.
        numbers: counts, and the gates over the whole bench; empty until it is complete.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    complete: bool = False
    settings: Plan
    versions: dict[str, str]
    numbers: dict[str, Any] = {}


class Site:
    """The folder of a bench while one process builds it; use it in a `with`.

    Attributes:
        folder, plan: as given.
        info: what `build.json` says.
        notes: what was mended, and what is different from when it was begun, one line each.
    """

    def __init__(self, folder: Path, plan: Plan, handle: int) -> None:
        self.folder, self.plan = folder, plan
        self.info = BuildInfo(settings=plan, versions=versions())
        self.notes: list[str] = []
        self._handle: int | None = handle
        self._files = {True: LineFile(folder / PAIRS), False: LineFile(folder / REJECTED)}
        self._ids: dict[bool, set[str]] = {True: set(), False: set()}

    @classmethod
    def open(cls, folder: Path, plan: Plan) -> Self:
        """Takes a folder, new or begun with the same plan.

        Raises:
            BadInput: it cannot be written, is being built by another process, was begun with other
                settings, or holds something else; nothing of it is touched.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise_if_full(error, folder)
            raise BadInput(
                error.strerror or str(error), where=str(folder), fix="choose another folder"
            ) from None
        _check_is_ours(folder)
        handle = lock(folder)
        try:
            site = cls(folder, plan, handle)
            site._begin()
        except BaseException:
            os.close(handle)
            raise
        return site

    def _begin(self) -> None:
        if (self.folder / BUILD).exists():
            self.info = _read_info(self.folder, self.plan)
            changed = {
                name: f"{name} {self.info.versions.get(name)} then, {number} now"
                for name, number in versions().items()
                if self.info.versions.get(name) != number
            }
            if changed:
                told = "; ".join(changed.values())
                self.notes.append(f"begun with other versions, pictures may differ: {told}")
        else:
            self._save()
        for torn in self.folder.glob("*/.*.tmp"):  # what a killed process left half written
            torn.unlink(missing_ok=True)
        for passed, name in ((True, PAIRS), (False, REJECTED)):
            if repaired := mend(self.folder / name):
                self.notes.append(repaired)
            if (self.folder / name).exists():
                for _, value in read_jsonl(self.folder / name):
                    self._ids[passed].add(str(value.get("pair_id")))
        self._drop_unseen()
        self._drop_damaged()

    def _drop_damaged(self) -> None:
        """Takes out pairs whose pictures are gone or hold other bytes: they are made again."""
        damaged = {pair.pair_id for pair in self.pairs() if not _is_whole(self.folder, pair)}
        if not damaged:
            return
        self._take_out(damaged, passed=True)
        told = f"{len(damaged)} pairs had pictures that were gone or damaged: they are made again"
        self.notes.append(told)

    def _drop_unseen(self) -> None:
        """Takes out what other verifiers let through or kept out: what these say is to count.

        Edits and replies that were paid for stay.
        """
        before, now = self.info.settings.verifiers, self.plan.verifiers
        if before == now:
            return
        for passed in (True, False):
            stale = {
                pair.pair_id
                for pair in self.pairs(passed=passed)
                if passed or any(check.gate == GATE for check in pair.checks)
            }
            if stale:
                self._take_out(stale, passed=passed)
        was = " and ".join(before) or "nobody"
        self.notes.append(
            f"{was} verified its cues before, now {' and '.join(now)} do: every pair is seen again"
        )
        self.info = self.info.model_copy(
            update={"settings": self.plan, "complete": False, "numbers": {}}
        )
        self._save()

    def _take_out(self, pair_ids: set[str], *, passed: bool) -> None:
        path = self.folder / (PAIRS if passed else REJECTED)
        self._is_changing()
        with path.open("rb") as file, rewriting(path) as out:
            for line in file:
                if line.strip() and json.loads(line)["pair_id"] not in pair_ids:
                    out.write(line)
        self._ids[passed] -= pair_ids

    def has(self, pair_id: str, *, passed: bool = True) -> bool:
        """Whether a pair is there (or among the rejected)."""
        return pair_id in self._ids[passed]

    def add(self, pair_id: str, line: str, *, passed: bool) -> None:
        """Keeps the line of a pair, or of one that a gate kept out; once.

        Raises:
            DiskFull: no room; what was kept before is whole.
        """
        if pair_id not in self._ids[passed]:
            self._is_changing()
            self._files[passed].append(line)
            self._ids[passed].add(pair_id)

    def _is_changing(self) -> None:
        """A bench that was whole is not while it is changed: its numbers are of another state."""
        if self.info.complete:
            self.info = self.info.model_copy(update={"complete": False, "numbers": {}})
            self._save()

    def count(self, *, passed: bool = True) -> int:
        """Pairs that are there, or rejected ones."""
        return len(self._ids[passed])

    def pairs(self, *, passed: bool = True) -> Iterator[EditPair]:
        """What is there, one after the other."""
        path = self.folder / (PAIRS if passed else REJECTED)
        if path.exists():
            yield from read_records(path, EditPair)

    def settle(self) -> None:
        """Puts both files into the order of their ids, and writes the table."""
        for passed, name in ((True, PAIRS), (False, REJECTED)):
            self._files[passed].close()
            _sort_lines(self.folder / name)
        write_table(self.folder / TABLE, self.pairs())

    def complete(self, numbers: Mapping[str, Any]) -> None:
        """Marks the bench as whole, with what is to be known of it."""
        self.info = self.info.model_copy(update={"complete": True, "numbers": dict(numbers)})
        self._save()

    def close(self) -> None:
        """Closes the files and lets go of the folder."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            for file in self._files.values():
                file.close()
        finally:
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

    def _save(self) -> None:
        path = self.folder / BUILD
        try:
            write_text(path, json.dumps(self.info.model_dump(mode="json"), indent=2) + "\n")
        except OSError as error:
            raise_if_full(error, path)
            raise


def _is_whole(folder: Path, pair: EditPair) -> bool:
    """Whether every file of a pair holds its bytes; one that does not is put out of the way."""
    pictures = [picture for picture in (pair.raw, pair.edited, pair.placebo) if picture]
    files = [(picture.file, picture.sha256) for picture in pictures]
    whole = True
    for name, sha256 in (*files, (pair.cue.mask, pair.cue.mask_sha256)):
        path = inside(folder, name)
        try:
            fine = hashlib.sha256(read_bytes(path)).hexdigest() == sha256
        except FileNotFoundError:
            fine = False
        except OSError as error:  # a folder or a pipe in its place is nobody's to remove
            raise BadInput(
                error.strerror or str(error), where=str(path), fix="put it out of the way"
            ) from None
        if not fine:
            path.unlink(missing_ok=True)  # one of the same length would be taken for whole
            whole = False
    return whole


def versions() -> dict[str, str]:
    """Of what decides how a picture looks, and the bytes of its file."""
    return {**{name: version(name) for name in _DRAWN_WITH}, "zlib": zlib.ZLIB_RUNTIME_VERSION}


def _check_is_ours(folder: Path) -> None:
    found = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if found and BUILD not in found:
        raise BadInput(
            f"the folder holds {found[0]!r} and no {BUILD}: no bench was begun here",
            where=str(folder),
            fix="name a new or empty folder",
        )


def _read_info(folder: Path, plan: Plan) -> BuildInfo:
    path = folder / BUILD
    try:
        info = BuildInfo.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        why = explain(error) if isinstance(error, ValidationError) else str(error)
        raise BadInput(
            f"cannot be read ({why})", where=str(path), fix="name a new or empty folder"
        ) from None
    before, after = (
        dict(flatten(each.model_dump(mode="json"))) for each in (info.settings, plan)
    )  # fmt: skip
    for name in [*before, *(name for name in after if name not in before)]:
        first, second = (side.get(name, "nothing") for side in (before, after))
        if name == "verifiers":
            if first and not second:
                raise BadInput(
                    f"its cues were verified by {' and '.join(first)}, and now by nobody",
                    where=str(folder),
                    fix="name them again with --verifier, or use another folder",
                )
            continue  # others may have their say, see `Site`
        if first != second:
            raise BadInput(
                f"the bench was begun with {name} = {first}, this is {second}",
                where=str(folder),
                fix="use the same settings or another folder",
            )
    return info


def _sort_lines(path: Path) -> None:
    """Lines in the order of their pair's id; only ids and places of lines are in memory."""
    if not path.exists():
        write_text(path, "")
        return
    places: list[tuple[str, int]] = []
    with path.open("rb") as file:
        start = 0
        for line in file:
            places.append((json.loads(line)["pair_id"], start))
            start += len(line)
    if places == sorted(places):
        return
    with path.open("rb") as file, rewriting(path) as out:
        for _, start in sorted(places):
            file.seek(start)
            out.write(file.readline())
