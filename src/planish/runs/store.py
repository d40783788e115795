"""Finding runs on disk, and comparing them.

>>> for run in list_runs("runs", room="rise"):  # doctest: +SKIP
...     print(run.name, run.status)
>>> compare([find("runs", "last"), find("runs", "rise/20250102")])  # doctest: +SKIP
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from planish.records import BadInput, Record
from planish.runs.folder import is_locked
from planish.runs.info import INFO, RunInfo, flatten, read_info
from planish.runs.rows import Row, read_rows
from planish.stats import Paired, paired

__all__ = [
    "Comparison",
    "ConfigRow",
    "NumberRow",
    "PairedRow",
    "StoredRun",
    "compare",
    "find",
    "list_runs",
]


@dataclass(frozen=True)
class StoredRun:
    """A run folder as found on disk, for reading only: it may be in use, or broken.

    `info` is None for a broken one, and `problem` says why, in one line.
    """

    path: Path
    info: RunInfo | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """`room/folder`, which `find` understands."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def status(self) -> str:
        """ "running", "done", "failed", "interrupted" or "broken".

        A run that says it is running while no process holds it was killed: "interrupted".
        """
        if self.info is None:
            return "broken"
        if self.info.status == "running" and not is_locked(self.path):
            return "interrupted"
        return self.info.status

    def rows(self, kind: str | None = None) -> Iterator[Row]:
        """The recorded rows; a line that is being written is left out."""
        return read_rows(self.path, kind)


def _stored(path: Path) -> StoredRun:
    try:
        return StoredRun(path, read_info(path))
    except BadInput as error:
        return StoredRun(path, problem=str(error))


def _age(run: StoredRun) -> tuple[float, str]:
    if run.info is not None:
        try:
            return datetime.fromisoformat(run.info.started).timestamp(), run.path.name
        except ValueError:
            pass
    try:
        return run.path.stat().st_mtime, run.path.name
    except OSError:
        return 0.0, run.path.name


def _folders(path: Path) -> Iterator[Path]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir() and not entry.name.startswith("."):
                    yield Path(entry.path)
    except OSError:
        return  # not there, or not ours to read: no runs


def list_runs(root: str | os.PathLike[str] = "runs", room: str | None = None) -> list[StoredRun]:
    """Every run under `root`, newest first; broken folders are listed as broken."""
    rooms = _folders(Path(root)) if room is None else [Path(root) / room]
    runs = [_stored(folder) for place in rooms for folder in _folders(place)]
    return sorted(runs, key=_age, reverse=True)


def find(root: str | os.PathLike[str], name: str | os.PathLike[str]) -> StoredRun:
    """One run, by path, by name, by the beginning of its name, or "last" for the newest.

    A name may carry its room: "rise/20250102". A whole name goes before a beginning.

    Raises:
        BadInput: no such run, several, or a broken one.
    """
    text = os.fspath(name)
    if (Path(text) / INFO).exists():
        return StoredRun(Path(text), read_info(text))
    runs = list_runs(root)
    if text == "last":
        found = [run for run in runs if run.info is not None][:1]
    else:
        both = [(run, (run.path.name, run.name)) for run in runs]
        found = [run for run, names in both if text in names] or [
            run for run, names in both if text and any(each.startswith(text) for each in names)
        ]
    if not found:
        raise BadInput(
            f"no run {text!r}", where=str(root), fix="`planish runs list` shows the runs there are"
        )
    if len(found) > 1:
        some = ", ".join(run.name for run in found[:3]) + (", ..." if len(found) > 3 else "")
        raise BadInput(
            f"{len(found)} runs match {text!r} ({some})", where=str(root), fix="write more of it"
        )
    if found[0].info is None:
        raise BadInput(found[0].problem)
    return found[0]


class NumberRow(Record):
    """One number of the summaries. `differences` are to the first run, whose own is None."""

    name: str
    values: tuple[float | None, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    differences: tuple[float | None, ...]


class ConfigRow(Record):
    """One setting in which the runs differ; a run that lacks it has None and is in `absent`."""

    name: str
    values: tuple[JsonValue, ...]
    absent: tuple[int, ...] = ()


class PairedRow(Paired):
    """Two runs on the items that both scored.

    Args:
        name: what was scored, such as "vote_right".
        a: the first run; `b`: the other.
    """

    name: str
    a: str
    b: str


class Comparison(Record):
    """Two or more runs side by side, in the order given."""

    names: tuple[str, ...]
    numbers: tuple[NumberRow, ...]
    config: tuple[ConfigRow, ...]
    paired: tuple[PairedRow, ...]


def compare(runs: Sequence[StoredRun], *, seed: int = 0) -> Comparison:
    """Compares the summaries and configs of runs, and their scores item by item.

    Items are paired by id within one named score; what only one of two runs scored is left
    out and counted. The first run is the baseline of every difference.

    Raises:
        BadInput: fewer than two runs, or a broken one.
    """
    if len(runs) < 2:
        raise BadInput("a comparison needs at least two runs", fix="name two or more")
    infos = []
    for run in runs:
        if run.info is None:
            raise BadInput(run.problem)
        infos.append(run.info)
    scores = [_scores(run) for run in runs]
    pairs = [
        _paired(name, (runs[0].name, scores[0][name]), (other.name, theirs[name]), seed)
        for other, theirs in zip(runs[1:], scores[1:], strict=True)
        for name in scores[0]
        if name in theirs
    ]
    return Comparison(
        names=tuple(run.name for run in runs),
        numbers=tuple(_numbers(infos)),
        config=tuple(_settings(infos)),
        paired=tuple(row for row in pairs if row is not None),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _interval(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = _number(value[0]), _number(value[1])
    return None if low is None or high is None else (low, high)


def _numbers(infos: Sequence[RunInfo]) -> Iterator[NumberRow]:
    summaries = [dict(flatten(info.summary)) for info in infos]
    names = list(dict.fromkeys(name for summary in summaries for name in summary))
    belongs = {f"{name}{end}" for name in names for end in ("_ci", "_n")}
    for name in names:
        values = [_number(summary.get(name)) for summary in summaries]
        if name in belongs or all(value is None for value in values):
            continue
        yield NumberRow(
            name=name,
            values=tuple(values),
            intervals=tuple(_interval(summary.get(f"{name}_ci")) for summary in summaries),
            differences=(None, *(_difference(value, values[0]) for value in values[1:])),
        )


def _difference(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def _settings(infos: Sequence[RunInfo]) -> Iterator[ConfigRow]:
    configs = [
        dict([*flatten(info.config), ("seed (of the run)", info.seed)])
        | {f"version of {name}": version for name, version in info.versions.items()}
        for info in infos
    ]
    for name in dict.fromkeys(name for config in configs for name in config):
        absent = tuple(index for index, config in enumerate(configs) if name not in config)
        values = tuple(config.get(name) for config in configs)
        if absent or any(value != values[0] for value in values):
            yield ConfigRow(name=name, values=values, absent=absent)


def _scores(run: StoredRun) -> dict[str, dict[str, float | None]]:
    """Name of a score -> item -> score, from the records of kind "score".

    Their data are scores by name, `{"vote_right": 1}`; the last record of an item counts.
    """
    found: dict[str, dict[str, float | None]] = {}
    for row in run.rows("score"):
        for name, score in row.data.items() if isinstance(row.data, dict) else ():
            found.setdefault(name, {})[row.id] = (
                float(score) if isinstance(score, bool) else _number(score)
            )
    return found


def _paired(
    name: str,
    ours: tuple[str, dict[str, float | None]],
    theirs: tuple[str, dict[str, float | None]],
    seed: int,
) -> PairedRow | None:
    found = paired(ours[1], theirs[1], seed=seed)
    if not found.n:
        return None
    return PairedRow(name=name, a=ours[0], b=theirs[0], **dict(found))
