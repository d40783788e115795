"""A bench folder: read with care, for anybody may have made it.

    bench = read_bench("bench")
    bench.pairs[0], len(bench.pairs), bench.digest
    bench.path(bench.pairs[0].raw)      checked: inside the folder, there, and with these bytes

A file name that leads out of the folder is refused before anything is opened. A bench may hold any
number of pairs: in memory are their places in the file, and a pair while somebody looks at it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import weakref
import zlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self, overload

from pydantic import ValidationError

from planish.methods.vfaith.data import EditPair, Picture
from planish.methods.vfaith.images import check_png, open_mask
from planish.methods.vfaith.numbered import Numbered
from planish.models.image_files import sha256_of
from planish.models.pictures import read_bytes
from planish.records import BadInput, explain, read_jsonl

__all__ = [
    "BUILD",
    "PAIRS",
    "REJECTED",
    "TABLE",
    "Bench",
    "Pairs",
    "inside",
    "leads_inside",
    "read_bench",
]

PAIRS, TABLE, REJECTED, BUILD = "pairs.jsonl", "pairs.parquet", "rejected.jsonl", "build.json"

_MEND = "give the planish vfaith build command of this bench again: it mends what is damaged"
_SHOWN = 80  # characters of a file's name
_LATELY = 64  # pairs, or files, that are still known when they are asked for again


class Pairs(Sequence[EditPair]):
    """The pairs of a `pairs.jsonl`, each read when it is asked for: twelve bytes a pair.

    The file stays open, so that one that is put in its place changes nothing here.

    Args:
        path: of the file.

    Raises:
        BadInput: it cannot be read; later, a line is not what it was any more.

    Attributes:
        digest: SHA-256 of the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = hashlib.sha256()
        self._starts, self._sums = array("Q"), array("I")
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, handle)
            with os.fdopen(handle, "rb", closefd=False) as file:
                self._file = os.fstat(handle)
                place = 0
                for line in file:
                    whole.update(line)
                    if _text(line, place):
                        self._starts.append(place)
                        self._sums.append(zlib.crc32(line))
                    place += len(line)
        except OSError as error:
            raise BadInput(
                error.strerror or str(error), where=str(path), fix="check the path"
            ) from None
        self.digest = whole.hexdigest()
        self._end = place
        self._handle = handle
        self._lately: OrderedDict[int, EditPair] = OrderedDict()

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, place: int) -> EditPair: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[EditPair, ...]: ...
    def __getitem__(self, place: int | slice) -> EditPair | tuple[EditPair, ...]:
        if isinstance(place, slice):
            return tuple(self._read(each) for each in range(*place.indices(len(self))))
        place = range(len(self))[place]
        pair = self._lately.get(place)
        if pair is None:
            pair = self._lately[place] = self._read(place)
            while len(self._lately) > _LATELY:
                self._lately.popitem(last=False)
        return pair

    def __iter__(self) -> Iterator[EditPair]:
        return map(self._read, range(len(self)))

    def is_still(self) -> bool:
        """Whether the path still leads to the file that was read, unchanged."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return all(
            getattr(now, name) == getattr(self._file, name)
            for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns")
        )

    def _read(self, place: int) -> EditPair:
        begin = self._starts[place]
        end = self._starts[place + 1] if place + 1 < len(self) else self._end
        line = os.pread(self._handle, end - begin, begin)
        line = line[: line.find(b"\n") + 1] or line  # blank lines may follow
        if zlib.crc32(line) != self._sums[place]:
            raise BadInput(
                "the file was changed while it was in use", where=str(self.path), fix="start again"
            )
        text = _text(line, begin)
        try:
            return EditPair.model_validate_json(text)  # three times as fast, and a bit stricter
        except ValidationError:
            return EditPair.model_validate(json.loads(text))


def _text(line: bytes, place: int) -> str:
    """A line as `read_jsonl` sees it; what is no text is told there."""
    return line.decode("utf-8" if place else "utf-8-sig", "replace").strip()


@dataclass(frozen=True)
class Bench:
    """The pairs of a folder that passed every gate.

    Args:
        folder: of the bench.
        pairs: in the file's order, see `Pairs`.
        digest: SHA-256 of `pairs.jsonl`, shortened; it holds the hashes of all pictures.
        looked_at: every file was checked before; only its hash is compared again.
    """

    folder: Path
    pairs: Sequence[EditPair]
    digest: str
    looked_at: bool = False
    _checked: OrderedDict[tuple[str, str], Path] = field(
        default_factory=OrderedDict, repr=False, compare=False
    )
    _sizes: OrderedDict[tuple[str, str], tuple[int, int]] = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    def path(self, picture: Picture) -> Path:
        """The picture's file.

        Raises:
            BadInput: it is not there, leads out of the folder, or holds other bytes.
        """
        return self.file(picture.file, picture.sha256)

    def size(self, picture: Picture) -> tuple[int, int]:
        """Width and height of a picture that can be sent; looked at lately, it is not again.

        Raises:
            BadInput: as `path`, or what the file holds is no plain RGB as PNG.
        """
        path, known = self.path(picture), (picture.file, picture.sha256)
        if known not in self._sizes:
            self._seen(known, check_png(read_bytes(path), str(path)))
        return self._sizes[known]

    def _seen(self, known: tuple[str, str], size: tuple[int, int]) -> None:
        self._sizes[known] = size
        while len(self._sizes) > _LATELY:
            self._sizes.popitem(last=False)

    def check_cue(self, pair: EditPair, size: tuple[int, int]) -> None:
        """Mask and box are of the pair's picture.

        Args:
            size: its width and height.

        Raises:
            BadInput: they are not, or the mask cannot be used.
        """
        known = pair.cue.mask, f"mask {pair.cue.mask_sha256}"
        if self._sizes.get(known) != size:
            open_mask(self.file(pair.cue.mask, pair.cue.mask_sha256), size)
            self._seen(known, size)
        _, _, right, bottom = pair.cue.box
        if right > size[0] or bottom > size[1]:
            raise BadInput(
                f"cue.box {list(pair.cue.box)} is not inside the picture of {size[0]} x {size[1]}",
                where=f"{self.folder / PAIRS}, pair {pair.pair_id}",
                fix="give left, top, right, bottom of the mask in pixels",
            )

    def file(self, name: str, sha256: str) -> Path:
        """As `path`, for any file of the bench; what was hashed lately is not hashed again."""
        if self.looked_at:
            return self._still(name, sha256)
        known = name, sha256
        if known not in self._checked:
            path = inside(self.folder, name)
            try:
                found = hashlib.sha256(read_bytes(path)).hexdigest()
            except OSError as error:
                raise BadInput(error.strerror or str(error), where=str(path), fix=_MEND) from None
            if found != sha256:
                raise BadInput(
                    "the file is not the one that the pairs were made with",
                    where=str(path),
                    fix=_MEND,
                )
            self._checked[known] = path
            while len(self._checked) > _LATELY:
                self._checked.popitem(last=False)
        return self._checked[known]

    def _still(self, name: str, sha256: str) -> Path:
        """A file that was looked at before, on its way to a model: it may have been swapped."""
        path = self.folder / name
        try:
            found = sha256_of(str(path))  # kept for the cache's key, which asks for it next
        except OSError as error:
            raise BadInput(error.strerror or str(error), where=str(path), fix=_MEND) from None
        if found != sha256:
            raise BadInput("the file was changed while it was in use", where=str(path), fix=_MEND)
        return path

    def trusted(self) -> Self:
        """The same, whose pictures the caller has looked at; none is decoded again."""
        return replace(self, looked_at=True)


def inside(folder: Path, name: str, line: int | None = None) -> Path:
    """A file of the folder, links followed.

    Args:
        line: of the list of pairs that names it, for messages.

    Raises:
        BadInput: the name leads out of the folder, round in circles, or is none.
    """
    path, where = folder / name, str(folder / PAIRS) + ("" if line is None else f":{line}")
    shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
    try:
        led_out = not leads_inside(folder, name)
    except (ValueError, OSError, RuntimeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition("\n")[0]
        raise BadInput(
            f"the file name {shown!r} is none that can be ({ascii(why)[1:-1]})",
            where=where,
            fix="names are relative to the bench's folder",
        ) from None
    if led_out:
        raise BadInput(
            f"the file name {shown!r} leads out of the bench",
            where=where,
            fix="names are relative to the bench's folder",
        )
    return path


def leads_inside(folder: Path, name: str) -> bool:
    """Whether a name stays inside the folder, links followed.

    Raises:
        ValueError: no file can have this name, such as one with a null byte or half a character.
        OSError, RuntimeError: links that lead round in circles; a name that is too long.
    """
    if "\0" in name:
        raise ValueError("a null byte")
    path = folder / name
    inner = path.resolve().is_relative_to(folder.resolve())
    if inner:
        # Newer Pythons resolve links that lead round in circles to themselves.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            path.stat()
    return inner


def read_bench(folder: str | Path) -> Bench:
    """Reads `pairs.jsonl` of a folder; pictures are checked when they are used.

    Raises:
        BadInput: no such folder or file, one whose building was stopped, a broken line, an id that
            is there twice, a pair that a gate kept out, or no pair at all; with file and line.
    """
    folder = Path(folder)
    path = folder / PAIRS
    if not folder.is_dir():
        raise BadInput("no such folder", where=str(folder), fix="planish vfaith build --out DIR")
    _check_complete(folder)
    pairs = Pairs(path)
    ids = Numbered(_checked_ids(folder, path))
    if not pairs.is_still() or len(ids) != len(pairs):
        raise BadInput("the file was changed while it was read", where=str(path), fix="start again")
    if (twice := ids.twice()) is not None:
        _refuse_twice(path, *twice)
    if not pairs:
        raise BadInput("no pairs", where=str(path), fix="planish vfaith build --out DIR")
    return Bench(folder, pairs, pairs.digest[:16])


def _checked_ids(folder: Path, path: Path) -> Iterator[str]:
    """The id of every pair, each line looked at."""
    for line, value in read_jsonl(path):
        try:
            pair = EditPair.model_validate(value)
        except ValidationError as error:
            raise BadInput(
                f"not an EditPair: {explain(error)}",
                where=f"{path}:{line}",
                fix="mend the line; a bench of another version is built again",
            ) from None
        if not pair.passed:
            raise BadInput(
                f"pair {pair.pair_id!r} did not pass its gates ({', '.join(_failed(pair))})",
                where=f"{path}:{line}",
                fix=f"move it to {REJECTED}",
            )
        for name in _files(pair):
            inside(folder, name, line)
        yield pair.pair_id


def _failed(pair: EditPair) -> Iterator[str]:
    """Each failed gate by its code; by its name where it has none."""
    return (check.code or check.gate for check in pair.checks if not check.passed)


def _refuse_twice(path: Path, first: int, later: int) -> None:
    """Goes through the file again for the numbers of two lines."""
    found = {place: row for place, row in enumerate(read_jsonl(path)) if place in (first, later)}
    raise BadInput(
        f"pair_id {found[later][1]['pair_id']!r} is also in line {found[first][0]}",
        where=f"{path}:{found[later][0]}",
        fix="give every pair an id of its own",
    )


def _check_complete(folder: Path) -> None:
    """A bench that somebody wrote by hand has no `build.json`, and is taken as it is."""
    path = folder / BUILD
    if not path.exists():
        return
    try:
        whole = json.loads(path.read_text("utf-8"))["complete"] is True
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(
            f"cannot be read ({error})", where=str(path), fix="build the bench again"
        ) from None
    if not whole:
        raise BadInput(
            "the bench is not complete: its building was stopped",
            where=str(folder),
            fix="give the same planish vfaith build command again; it goes on",
        )


def _files(pair: EditPair) -> Iterator[str]:
    yield from (pair.raw.file, pair.edited.file, pair.cue.mask)
    if pair.placebo is not None:
        yield pair.placebo.file
