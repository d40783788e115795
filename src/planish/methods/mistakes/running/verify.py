"""Stage `verify`: runs recorded code again, and tells where the record says otherwise.

planish mistakes verify --tasks tasks.jsonl --runs runs.jsonl
planish mistakes verify --tasks own --runs samples.jsonl --out results.jsonl --json
planish mistakes verify --resume last

Each line of `records.jsonl` is written as its run ends, so that one that was stopped goes on where
it was. The same code of a task is run once and told for each run that has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.loading.tasks import OWN
from planish.methods.mistakes.running.executing import (
    digest_of,
    distinct,
    execute,
    opened,
    referenced,
)
from planish.methods.mistakes.running.reading import (
    REFERENCE,
    RESULT,
    RUN,
    TASKS,
    known_references,
)
from planish.methods.mistakes.showing.verified import Verified, write_report
from planish.records import BadInput, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Json
from planish.runs.presets import digest, regiven
from planish.runs.store import find
from planish.tasks.sandbox.contract import ExecResult

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["AGAIN", "Plan", "verify"]

AGAIN = "planish mistakes verify --resume"

# They change no verdict; files may have been moved, their digests tell whether they are the same.
_FREE = frozenset({"workers", "accept_level", "tasks", "recorded"})
_Place = Annotated[Path, Parameter(name="--runs-dir")]


class Plan(Sandboxing):
    """What determines the verdicts: it is kept in run.json, and a resume must match it.

    Args:
        tasks: as they were named; tasks_digest: what they were.
        recorded: the file of runs; recorded_digest: what it held.
    """

    tasks: str
    tasks_digest: str = ""
    recorded: str
    recorded_digest: str = ""


def verify(
    *,
    tasks: str | None = None,
    recorded: Annotated[Path | None, Parameter(name="--runs")] = None,
    out: Path | None = None,
    resume: str | None = None,
    sandbox: Annotated[Sandboxing, Parameter(name="*")] = Sandboxing(),  # noqa: B008 - frozen
    root: _Place = RUNS,
    json: Json = False,
) -> int:
    """Run recorded code again under its tasks' tests: what passes, and does the record agree?

    Args:
        tasks: own, own:plain, own:projects, or a .jsonl(.gz) file: ours, HumanEval, EvalPlus,
            CoderEval.
        recorded: A .jsonl(.gz) file of runs: ours, or samples of HumanEval or EvalPlus.
        out: Also write one line for each run to this file.
        resume: Go on with this run (a path, a name, or last); nothing finished is run again.
        root: Folder that holds the runs of planish.
        json: One JSON object on stdout.
    """
    given = {
        "tasks": None if tasks is None else whole(tasks),
        "recorded": None if recorded is None else str(recorded.resolve()),
    }
    told = {name: value for name, value in given.items() if value is not None}
    if out is not None and out.is_dir():
        raise BadInput("is a folder", where=f"--out {out}", fix="name a file")
    folder = None if resume is None else find(root, resume).path
    if folder is None:
        for name, option in (("tasks", "--tasks"), ("recorded", "--runs")):
            if name not in told:
                raise BadInput(
                    "is missing", where=option, fix=f"give {option} FILE, or --resume RUN"
                )
        plan = Plan(**sandbox.model_dump(), **told)
    else:
        before = config_of(read_info(folder), "mistakes", "verify", Plan)
        dials = regiven(before, sandbox, None)
        plan = before.model_copy(update={**dials.model_dump(), **told})
    return _carry_out(plan, folder, root, out, Screen(json=json))


def whole(source: str) -> str:
    """The tasks as they can be found again from elsewhere."""
    return source if source in OWN or source.startswith("own:") else str(Path(source).resolve())


def _carry_out(
    plan: Plan, folder: Path | None, root: Path, out: Path | None, screen: Screen
) -> int:
    from planish.judges.resumable import resumable

    every = load_tasks(plan.tasks)
    runs = load_runs(plan.recorded, every)
    used = {run.task_id for run in runs}
    tasks = {task.task_id: task for task in every if task.task_id in used}
    plan = plan.model_copy(
        update={
            "tasks_digest": digest_of(tasks.values()),
            "recorded_digest": digest(Path(plan.recorded)),
        }
    )
    with opened(plan) as box:
        known = known_references(folder)
        references = referenced(tasks.values(), box, plan, screen, known)
        if folder is None:
            slug = f"verify-{Path(plan.recorded).name.partition('.')[0]}"[:40]
            made = Run.create("mistakes", slug, plan, root=root, stage="verify", again=AGAIN)
        else:
            made = Run.resume(folder, plan, ignore=_FREE)
        with made, resumable(made, screen):
            stage = Stage(made, tasks, runs, references, box, screen)
            stage.keep_references()
            stage.run()
            return _close(stage, plan, out)


@dataclass
class Stage:
    """A run under way.

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
        bar: AbstractContextManager[Callable[[], None]] = (
            nullcontext(_nothing) if quiet else self.screen.progress("code is run", len(left))
        )
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


def _close(stage: Stage, plan: Plan, out: Path | None) -> int:
    made, screen = stage.made, stage.screen
    verified = Verified(stage.todo, stage.results, stage.programs, stage.seconds)
    summary = verified.numbers() | {"tasks": len(stage.tasks)}
    if out is not None:
        write_jsonl(out, (_line(run, stage.results[run.key]) for run in stage.todo))
        screen.note(f"results {out}")
    unscored = len(stage.todo) - len(verified.scored)
    if not verified.scored:
        why = ", ".join(f"{status} {count}" for status, count in verified.by_status.items())
        made.close("failed", f"no run could be scored ({why})")
        screen.close(summary, run=made.path)
        screen.warn(f"no run could be scored ({why})")
        return 1
    if unscored:
        screen.warn(f"{unscored} of {len(stage.todo)} runs could not be scored, and are left out")
    made.finish(**summary)
    write_report(made, verified, Path(plan.tasks).name, Path(plan.recorded).name)
    verified.show(screen)
    screen.close(summary, run=made.path, report=made.report_path, then=_then(verified, made.path))
    return 0


def _line(run: RunRecord, result: ExecResult) -> dict[str, Any]:
    told = result.model_dump(mode="json", exclude={"key"})
    return {
        "task_id": run.task_id,
        "model": run.model,
        "run": run.run,
        "recorded_pass": run.recorded_pass,
        "passed": None if result.score is None else bool(result.score),
        **told,
    }


def _then(verified: Verified, folder: Path) -> list[str]:
    if any(verified.score(run) == 0 for run in verified.runs):
        return [command("planish", "mistakes", "diagnose", folder)]
    return [command("planish", "runs", "show", folder)]
