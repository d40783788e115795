"""Stage `verify`: runs recorded code again, and tells where the record says otherwise.

planish mistakes verify --tasks tasks.jsonl --runs runs.jsonl
planish mistakes verify --tasks own --runs samples.jsonl --out results.jsonl --json
planish mistakes verify --resume last

Each line of `records.jsonl` is written as its run ends, so that one that was stopped goes on where
it was. The same code of a task is run once and told for each run that has it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.methods.mistakes.config import Sandboxing
from planish.methods.mistakes.data import RunRecord
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.asked import write_asked
from planish.methods.mistakes.running.executing import (
    Stage,
    digest_of,
    opened,
    referenced,
    whole,
)
from planish.methods.mistakes.running.reading import known_references, resumed
from planish.methods.mistakes.showing.verified import Verified, write_report
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Json
from planish.runs.presets import digest, regiven
from planish.tasks.sandbox.contract import ExecResult

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
        recorded: A .jsonl(.gz) file of runs: ours, or samples of HumanEval or EvalPlus; or
            EvalPlus' _eval_results.json.
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
    folder = None if resume is None else resumed(resume, "verify", root)
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
        references = referenced(tasks.values(), box, plan, screen, known, plan.tasks)
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


def _close(stage: Stage, plan: Plan, out: Path | None) -> int:
    made, screen = stage.made, stage.screen
    verified = Verified(stage.todo, stage.results, stage.programs, stage.seconds)
    summary = verified.numbers() | {"tasks": len(stage.tasks)}
    if out is not None:
        write_asked("--out", out, (_line(run, stage.results[run.key]) for run in stage.todo))
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
    with telling_full(made.report_path):
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
