"""A bench folder: read with care, for anybody may have made it.

    bench = read_bench("bench")
    bench.pairs, bench.digest
    bench.path(bench.pairs[0].raw)      checked: inside the folder, there, and with these bytes

A file name that leads out of the folder is refused before anything is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from planish.methods.vfaith.data import EditPair, Picture
from planish.records import BadInput, explain, read_jsonl

__all__ = ["BUILD", "PAIRS", "REJECTED", "TABLE", "Bench", "inside", "leads_inside", "read_bench"]

PAIRS, TABLE, REJECTED, BUILD = "pairs.jsonl", "pairs.parquet", "rejected.jsonl", "build.json"


_MEND = "give the planish vfaith build command of this bench again: it mends what is damaged"


@dataclass(frozen=True)
class Bench:
    """The pairs of a folder that passed every gate.

    Args:
        folder: of the bench.
        pairs: in the file's order.
        digest: SHA-256 of `pairs.jsonl`, shortened; it holds the hashes of all pictures.
    """

    folder: Path
    pairs: tuple[EditPair, ...]
    digest: str
    _checked: dict[tuple[str, str], Path] = field(default_factory=dict, repr=False, compare=False)

    def path(self, picture: Picture) -> Path:
        """The picture's file.

        Raises:
            BadInput: it is not there, leads out of the folder, or holds other bytes.
        """
        return self.file(picture.file, picture.sha256)

    def file(self, name: str, sha256: str) -> Path:
        """As `path`, for any file of the bench; each is hashed once."""
        known = name, sha256
        if known not in self._checked:
            path = inside(self.folder, name)
            try:
                found = hashlib.sha256(path.read_bytes()).hexdigest()
            except OSError as error:
                raise BadInput(error.strerror or str(error), where=str(path), fix=_MEND) from None
            if found != sha256:
                raise BadInput(
                    "the file is not the one that the pairs were made with",
                    where=str(path),
                    fix=_MEND,
                )
            self._checked[known] = path
        return self._checked[known]


def inside(folder: Path, name: str) -> Path:
    """A file of the folder, links followed.

    Raises:
        BadInput: the name leads out of the folder, round in circles, or is none.
    """
    path, where = folder / name, str(folder / PAIRS)
    try:
        led_out = not leads_inside(folder, name)
    except (ValueError, OSError, RuntimeError) as error:
        why = str(getattr(error, "strerror", None) or error).partition("\n")[0]
        raise BadInput(
            f"the file name {name!r} is none that can be ({ascii(why)[1:-1]})",
            where=where,
            fix="names are relative to the bench's folder",
        ) from None
    if led_out:
        raise BadInput(
            f"the file name {name!r} leads out of the bench",
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
    pairs: list[EditPair] = []
    lines: dict[str, int] = {}
    for line, value in read_jsonl(path):
        try:
            pair = EditPair.model_validate(value)
        except ValidationError as error:
            raise BadInput(f"not an EditPair: {explain(error)}", where=f"{path}:{line}") from None
        if pair.pair_id in lines:
            raise BadInput(
                f"pair_id {pair.pair_id!r} is also in line {lines[pair.pair_id]}",
                where=f"{path}:{line}",
                fix="give every pair an id of its own",
            )
        if not pair.passed:
            raise BadInput(
                f"pair {pair.pair_id!r} did not pass its gates ({', '.join(pair.codes)})",
                where=f"{path}:{line}",
                fix=f"move it to {REJECTED}",
            )
        for name in _files(pair):
            inside(folder, name)
        lines[pair.pair_id] = line
        pairs.append(pair)
    if not pairs:
        raise BadInput("no pairs", where=str(path), fix="planish vfaith build --out DIR")
    return Bench(folder, tuple(pairs), hashlib.sha256(path.read_bytes()).hexdigest()[:16])


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
