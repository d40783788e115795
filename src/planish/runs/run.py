"""The run folder: what was done, with what, and every finished item, one line each.

    >>> with Run.create("rise", "always-a", {"limit": 270}) as run:  # doctest: +SKIP
    ...     for case in cases:
    ...         if not run.done(case.id):
    ...             run.record("judgment", judge(case), id=case.id)
    ...     run.finish(accuracy=0.7)

`runs/rise/20250102-030405-always-a/` then holds `run.json` (config, versions, seed, machine,
status, summary), `records.jsonl`, `metrics.jsonl`, `artifacts/` and `report.html`. The folder
is the truth: there is no database, and a run that was killed goes on with `Run.resume`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel

from planish.records import BadInput, read_jsonl, write_text
from planish.runs.folder import claim, lock, slugify
from planish.runs.info import (
    INFO,
    Resumption,
    RunInfo,
    Status,
    command,
    dumps,
    flatten,
    machine,
    now,
    plain,
    read_info,
    versions,
)
from planish.runs.lines import DiskFull, LineFile, mend, raise_if_full
from planish.runs.rows import RECORDS, Row, read_rows, to_line

__all__ = ["IGNORABLE", "DiskFull", "Row", "Run"]

R = TypeVar("R", bound=BaseModel)

METRICS, ARTIFACTS, REPORT = "metrics.jsonl", "artifacts", "report.html"
IGNORABLE = frozenset({"progress"})
"""Config fields that may differ when a run is resumed: they change no number."""


class Run:
    """One run on disk. Make one with `create`, `open` or `resume`, and use it in a `with`.

    Leaving the `with` settles the status: "done", "failed" with the reason, or "interrupted"
    after Ctrl-C.

    Attributes:
        path: the folder.
        info: what `run.json` says.
        repaired: what a crash had left behind and was mended on opening, one line each.
    """

    def __init__(self, path: Path, info: RunInfo, handle: int) -> None:
        self.path, self.info = path, info
        self.repaired: list[str] = []
        self._lock: int | None = handle
        self._records = LineFile(path / RECORDS)
        self._metrics = LineFile(path / METRICS)
        self._ids: dict[str, set[str]] | None = None

    @classmethod
    def create(
        cls,
        room: str,
        slug: str,
        config: Mapping[str, Any] | BaseModel,
        *,
        seed: int = 0,
        root: str | os.PathLike[str] = "runs",
        stage: str = "",
        again: str = "",
    ) -> Self:
        """Makes a new run folder, `<root>/<room>/<time>-<slug>/`.

        Args:
            room: the room, a folder under `root`.
            slug: a word or two that tell runs apart, such as the model's name.
            again: the command that goes on with a run when the folder follows it; "" if none.
            config: the resolved config; a resume must bring the same.

        Raises:
            BadInput: the folder cannot be made.
            DiskFull: no room for it.
        """
        info = RunInfo(
            room=room,
            stage=stage,
            again=again,
            status="running",
            seed=seed,
            started=now(),
            command=command(),
            config=plain(config),
            versions=versions(),
            machine=machine(),
        )
        parent = Path(root) / slugify(room)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            # Built under a hidden name, so that no one ever sees a run without its run.json.
            folder = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
            try:
                return cls._settle(folder, parent, slug, info)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        except OSError as error:
            raise_if_full(error, parent)
            raise BadInput(
                f"cannot make a run folder ({error.strerror})",
                where=str(parent),
                fix="choose another folder for runs",
            ) from None

    @classmethod
    def _settle(cls, folder: Path, room: Path, slug: str, info: RunInfo) -> Self:
        folder.chmod(room.stat().st_mode & 0o777)
        handle = lock(folder)
        try:
            cls(folder, info, handle)._save()
            return cls(claim(folder, room, slug), info, handle)
        except BaseException:
            os.close(handle)
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Opens a run to go on with it. What a crash tore is mended and told in `repaired`.

        Raises:
            BadInput: no run folder, a broken one, or one that a process is working on.
        """
        folder = Path(path)
        read_info(folder)
        handle = lock(folder)
        try:
            run = cls(folder, read_info(folder), handle)
            for name in (RECORDS, METRICS):
                if done := mend(folder / name):
                    run.repaired.append(done)
            for rows in (read_rows(folder), run.metrics()):
                for _ in rows:
                    pass  # a broken line is told now, not hours later
            visit = Resumption(time=now(), command=command(), versions=versions())
            run._update(
                status="running",
                finished=None,
                reason="",
                resumed=(*run.info.resumed, visit),
            )
        except BaseException:
            os.close(handle)
            raise
        return run

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        config: Mapping[str, Any] | BaseModel,
        *,
        seed: int | None = None,
        ignore: Collection[str] = IGNORABLE,
    ) -> Self:
        """Opens a run after checking that it was started with the same config (and seed).

        Args:
            ignore: names of fields that may differ.

        Raises:
            BadInput: as `open`, and for the first field that differs, with both values.
        """
        info = read_info(path)
        before, after = dict(flatten(info.config)), dict(flatten(plain(config)))
        if seed is not None:
            before["seed (of the run)"], after["seed (of the run)"] = info.seed, seed
        for name in [*before, *(name for name in after if name not in before)]:
            if set(name.split(".")) & set(ignore):
                continue
            values = [dumps(side[name]) if name in side else "nothing" for side in (before, after)]
            if values[0] != values[1]:
                raise BadInput(
                    f"the run was started with {name} = {values[0]}, this is {values[1]}",
                    where=str(path),
                    fix="use the same settings or start a new run",
                )
        return cls.open(path)

    def log(self, step: int, **numbers: Any) -> None:
        """Appends numbers of a step to `metrics.jsonl`; NaN and infinities become null."""
        self._metrics.append(dumps({"step": step, **plain(numbers)}))

    def metrics(self) -> Iterator[dict[str, Any]]:
        """What was logged, in order."""
        if self._metrics.path.exists():
            for _, value in read_jsonl(self._metrics.path):
                yield value

    def record(self, kind: str, obj: BaseModel | Mapping[str, Any], id: str = "") -> None:
        """Appends a finished item to `records.jsonl`; it is safe once this returns.

        Raises:
            DiskFull: no room; what was recorded before is whole.
        """
        self._records.append(to_line(kind, obj, id))
        if self._ids is not None:
            self._ids.setdefault(kind, set()).add(id)

    def records(self, kind: str, model: type[R]) -> Iterator[R]:
        """The records of a kind, in the order they were recorded.

        Raises:
            BadInput: a line that is not such a record, by file and line.
        """
        for row in read_rows(self.path, kind):
            yield row.read(model)

    def done(self, id: str, kind: str | None = None) -> bool:
        """Whether an item with this id was recorded (under `kind`, if given)."""
        known = self._known()
        if kind is not None:
            return id in known.get(kind, ())
        return any(id in ids for ids in known.values())

    def done_ids(self, kind: str) -> frozenset[str]:
        """The ids recorded under `kind`."""
        return frozenset(self._known().get(kind, ()))

    def _known(self) -> dict[str, set[str]]:
        """Ids by kind, read when first asked for: whoever keeps a book of his own needs none."""
        if self._ids is None:
            known: dict[str, set[str]] = {}
            for row in read_rows(self.path):
                known.setdefault(row.kind, set()).add(row.id)
            self._ids = known
        return self._ids

    def artifact(self, name: str) -> Path:
        """Where to write the file `name` of this run; its folder exists afterwards.

        Raises:
            BadInput: the name leads out of the run's `artifacts/`.
        """
        home = self.path / ARTIFACTS
        path = home / name
        # Symbolic links inside the folder may lead out of it as well.
        tame = name and "\0" not in name and ".." not in Path(name).parts
        if not tame or home.resolve() not in path.resolve().parents:
            raise BadInput(f"{name!r} is not a file name inside the run", where=str(home))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def report_path(self) -> Path:
        """Where the run's report goes."""
        return self.path / REPORT

    def finish(self, **summary: Any) -> None:
        """Marks the run done and keeps its final numbers.

        An estimate `x` is kept as `x`, its interval `x_ci` and `x_n`, how many items it is from.
        """
        numbers: dict[str, Any] = {}
        for name, value in summary.items():
            if all(hasattr(value, part) for part in ("value", "low", "high")):
                numbers[name] = value.value
                numbers[f"{name}_ci"] = None if value.low is None else (value.low, value.high)
                numbers[f"{name}_n"] = getattr(value, "n", None)
            else:
                numbers[name] = value
        self._update(status="done", finished=now(), summary=plain(numbers))

    def close(self, status: Status | None = None, reason: str = "") -> None:
        """Closes the files, settles the status and frees the folder. Safe to call twice."""
        if self._lock is None:
            return
        try:
            self._records.close()
            self._metrics.close()
            if status is not None:
                self._update(status=status, finished=now(), reason=reason)
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
        if error is None:
            self.close("done" if self.info.status == "running" else None)
            return
        stopped = isinstance(error, KeyboardInterrupt)
        reason = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        if isinstance(error, BadInput):
            reason = str(error)
        # The disk may be full by now; the reason that the caller hears of is the first one.
        with contextlib.suppress(OSError):
            self.close("interrupted" if stopped else "failed", reason[:500])

    def _update(self, **changes: Any) -> None:
        self.info = self.info.model_copy(update=changes)
        self._save()

    def _save(self) -> None:
        path = self.path / INFO
        try:
            text = dumps(self.info.model_dump(mode="json"), indent=2)
            write_text(path, text + "\n")
        except OSError as error:
            raise_if_full(error, path)
            raise
