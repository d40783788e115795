"""Runs generated code under its tasks' tests: the same code of a task once, told for each run.

with opened(dials) as box:
    references = check_references(tasks, box, dials.limits())
    for run, result in execute(runs, tasks, references, box):
        ...
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import References, blind_graders, check_references, test_job
from planish.methods.mistakes.loading.tasks import OWN
from planish.records import to_json, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.console import Screen
from planish.runs.lines import telling_full
from planish.tasks.sandbox.contract import ExecResult

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = [
    "REFERENCE",
    "RESULT",
    "RUN",
    "TASKS",
    "Stage",
    "digest_of",
    "distinct",
    "execute",
    "opened",
    "referenced",
    "whole",
]

TASKS = "tasks.jsonl"
"""Among the artifacts of a run: its tasks, as they were."""

RUN, RESULT, REFERENCE = "run", "result", "reference"
"""Kinds of records."""

KEPT_CALLS = 20
"""Calls of one program that are kept where a task has thousands of inputs for tests."""


@contextlib.contextmanager
def opened(dials: Sandboxing) -> Iterator[Sandbox]:
    """A sandbox as the dials want it.

    Raises:
        BadInput: no level that they accept can be had here.
    """
    from planish.tasks.sandbox import Sandbox

    with Sandbox(accept=dials.accept_level, workers=dials.workers) as box:
        yield box


def referenced(
    tasks: Iterable[CodeTask],
    box: Sandbox,
    dials: Sandboxing,
    screen: Screen,
    known: Mapping[str, ExecResult] | None = None,
    source: str = "",
) -> References:
    """`check_references` with a bar, and a word about tests that let everything through.

    Raises:
        BadInput: as there.
    """
    chosen = list(tasks)
    fresh = [task for task in chosen if task.task_id not in (known or {})]
    with screen.progress("references are run", len(fresh)) as step:
        found = check_references(
            chosen,
            box,
            dials.limits(),
            known=known,
            source=source,
            progress=lambda *_: step(),
        )
    if blind := blind_graders(fresh, box, found):
        screen.note(
            f"a function that does nothing passes the tests of {len(blind)} of {len(fresh)} tasks "
            f"({', '.join(blind[:3])}{', ...' if len(blind) > 3 else ''}): what they say of a "
            "program means nothing"
        )
    return found


def distinct(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs by task and code, in the order in which each first comes up."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        found.setdefault(run.digest, []).append(run)
    return found


def execute(
    runs: Iterable[RunRecord],
    tasks: Mapping[str, CodeTask],
    references: References,
    box: Sandbox,
) -> Iterator[tuple[RunRecord, ExecResult]]:
    """Every run with its result, as they come; each result bears the key of its run."""
    groups = list(distinct(runs).values())
    jobs = [
        test_job(
            tasks[same[0].task_id],
            same[0].code,
            same[0].key,
            references.limits(tasks[same[0].task_id]),
        )
        for same in groups
    ]
    for same, result in zip(groups, box.stream(jobs), strict=True):
        task = tasks[same[0].task_id]
        settled = _slim(task, references.settle(task, result))
        for run in same:
            yield run, settled.model_copy(update={"key": run.key})


def _slim(task: CodeTask, result: ExecResult) -> ExecResult:
    if task.tests or len(result.per_input) <= KEPT_CALLS:
        return result
    return result.model_copy(update={"per_input": result.per_input[:KEPT_CALLS]})


def digest_of(tasks: Iterable[CodeTask]) -> str:
    """SHA-256 of tasks: a run goes on only with those it was begun with."""
    found = hashlib.sha256()
    for task in tasks:
        found.update(to_json(task).encode() + b"\n")
    return found.hexdigest()


def whole(source: str) -> str:
    """The tasks as they can be found again from elsewhere."""
    return source if source in OWN or source.startswith("own:") else str(Path(source).resolve())


@dataclass
class Stage:
    """Runs whatever of a run folder has no result yet.

    Args:
        made: its folder.
        todo: every run that is to have a result.
        results: what came so far, by key.
        programs, seconds: of this visit.
    """

    made: Run
    tasks: Mapping[str, CodeTask]
    todo: tuple[RunRecord, ...]
    references: References
    box: Sandbox
    screen: Screen
    results: dict[str, ExecResult] = field(default_factory=dict)
    programs: int = 0
    seconds: float = 0.0

    def keep_references(self) -> None:
        """Keeps the tasks and how their references did, for later visits and other stages."""
        path = self.made.artifact(TASKS)
        if not path.exists():
            with telling_full(path):
                write_jsonl(path, self.tasks.values())
        for name, result in self.references.results.items():
            if not self.made.done(name, REFERENCE):
                self.made.record(REFERENCE, result, id=name)
        for row in read_rows(self.made.path, RESULT):
            self.results[row.id] = row.read(ExecResult)

    def run(self, *, quiet: bool = False) -> None:
        """Runs whatever has no result yet; what the sandbox failed at is tried again.

        Args:
            quiet: without a bar.
        """
        left = [run for run in self.todo if not self._finished(run.key)]
        if len(left) < len(self.todo) and not quiet:
            self.screen.note(f"{len(self.todo) - len(left)} of {len(self.todo)} runs were there")
        finished = {run.digest: run for run in self.todo if self._finished(run.key)}
        for run in left:
            if run.digest in finished:  # the same code, stopped between the two
                before = self.results[finished[run.digest].key]
                self._keep(run, before.model_copy(update={"key": run.key}))
        left = [run for run in left if run.digest not in finished]
        programs, began = len(distinct(left)), time.monotonic()
        bar: contextlib.AbstractContextManager[Callable[[], None]] = contextlib.nullcontext(
            _nothing
        )
        if not quiet:
            bar = self.screen.progress("code is run", len(left))
        with bar as step:
            for run, result in execute(left, self.tasks, self.references, self.box):
                self._keep(run, result)
                step()
        self.programs += programs
        self.seconds += time.monotonic() - began

    def _finished(self, key: str) -> bool:
        return key in self.results and self.results[key].status != "sandbox_error"

    def _keep(self, run: RunRecord, result: ExecResult) -> None:
        if not self.made.done(run.key, RUN):
            self.made.record(RUN, run, id=run.key)
        self.made.record(RESULT, result, id=run.key)
        self.made.record("score", {"passed": result.score}, id=run.key)
        self.results[run.key] = result


def _nothing() -> None:
    """A step that nobody sees."""
