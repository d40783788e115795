"""Stage `diagnose`: what is wrong in each failing program, with evidence, or an abstention.

planish mistakes diagnose last
planish mistakes diagnose runs.jsonl --tasks tasks.jsonl --export pairs.jsonl
planish mistakes diagnose last --detector react --model openai:MODEL@http://localhost:8000/v1
planish mistakes diagnose --resume last
planish mistakes diagnose --resume RUN --reasons last

The same program of a task is looked at once. It is run beside the reference, failing inputs are
made small, every change of one place is tried, and the detector says which category it is. A line
of `records.jsonl` holds all of that for one program; what a model was asked and said is kept in
`artifacts/replies.jsonl`, as it came.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.mistakes.config import Detecting, Diagnosing, Sandboxing
from planish.methods.mistakes.data import (
    CodeTask,
    Diagnosed,
    ReasonReport,
    RunRecord,
)
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.asked import write_asked
from planish.methods.mistakes.running.diagnosing import Queued, Work, by_task, unique
from planish.methods.mistakes.running.executing import (
    REFERENCE,
    TASKS,
    Stage,
    opened,
    referenced,
    whole,
)
from planish.methods.mistakes.running.reading import (
    known_references,
    named,
    read_effects,
    read_failures,
    resumed,
)
from planish.methods.mistakes.running.speaking import speaking
from planish.methods.mistakes.showing.diagnosed import Findings, show, write_report
from planish.methods.mistakes.showing.pairs import made_pairs
from planish.methods.mistakes.showing.visible import visible
from planish.records import BadInput, Pair, read_records, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json, Seed
from planish.runs.presets import Preset, digest, regiven, resolve

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["AGAIN", "Plan", "diagnose"]

AGAIN = "planish mistakes diagnose --resume"

QUEUE = "failures.jsonl"
"""Among the artifacts: the programs that failed, each once."""

EFFECTS = "effects.jsonl"
"""Among the artifacts: what a run of reasons has found, once one was named."""

PASSED = "passed.jsonl"
"""Among the artifacts: programs of the same tasks that passed, each once."""

_FREE = frozenset({"workers", "accept_level", "source", "tasks", "limit", "cache"})
_Flat = Parameter(name="*")
_Place = Annotated[Path, Parameter(name="--runs-dir")]


class Plan(Diagnosing, Detecting, Sandboxing):
    """What determines the diagnoses: kept in run.json, and a resume must match it.

    Args:
        source: the runs, as they were named; tasks: of a file of runs.
        digest: SHA-256 of the file of runs; "" for a run folder.
        model: of the detector; revision: what that stood for.
        limit: programs at most, the first ones.
        seed: of inputs and intervals.
        cache: a reply cache that runs share; None: the run's own.
    """

    source: str
    tasks: str = ""
    digest: str = ""
    model: str | None = None
    revision: str = ""
    limit: int | None = None
    seed: int = 0
    cache: str | None = None


def diagnose(
    source: Annotated[str | None, Parameter(name="RUN")] = None,
    /,
    *,
    tasks: str | None = None,
    model: str | None = None,
    preset: Preset | None = None,
    config: Annotated[Diagnosing, _Flat] = Diagnosing(),  # noqa: B008 - frozen
    detecting: Annotated[Detecting, _Flat] = Detecting(),  # noqa: B008 - frozen
    sandbox: Annotated[Sandboxing, _Flat] = Sandboxing(),  # noqa: B008 - frozen
    limit: Count | None = None,
    export: Path | None = None,
    reasons: str | None = None,
    seed: Seed | None = None,
    cache: Path | None = None,
    resume: str | None = None,
    root: _Place = RUNS,
    json: Json = False,
) -> int:
    """Find out what is wrong in failing code: category with evidence, and what mends it.

    Args:
        source: A run of verify or generate (a path, a name, or last), or a file of runs.
        tasks: Of a file of runs: own, own:plain, own:projects, or a .jsonl(.gz) file.
        model: Of the detectors direct, evidence and react: hf:PATH-OR-ID, openai:NAME@URL,
            embedded:NAME, or replay:FILE.
        preset: Settings to start from; single options override them.
        limit: At most so many failing programs, the first ones.
        export: Write programs that one change mends to this file, as pairs for planish rise.
        reasons: A run of reasons (a path, a name, or last), whose effects are shown beside the
            failures of each task, by later visits as well.
        seed: Of inputs and intervals; by default 0.
        cache: A reply cache to share between runs; by default each run has its own.
        resume: Go on with this run (a path, a name, or last); nothing finished is done again.
        root: Folder that holds the runs of planish.
        json: One JSON object on stdout.
    """
    if export is not None and export.is_dir():
        raise BadInput("is a folder", where=f"--export {export}", fix="name a file")
    given = {
        "source": source,
        "tasks": None if tasks is None else whole(tasks),
        "model": model,
        "limit": limit,
        "seed": seed,
        "cache": None if cache is None else str(cache.resolve()),
    }
    told = {name: value for name, value in given.items() if value is not None}
    folder = None if resume is None else resumed(resume, "diagnose", root)
    if folder is None:
        plan = _new_plan(told, preset, config, detecting, sandbox)
    else:
        before = config_of(read_info(folder), "mistakes", "diagnose", Plan)
        update = regiven(before, config, preset).model_dump()
        for part in (detecting, sandbox):
            update |= regiven(before, part, None).model_dump()
        plan = before.model_copy(update=update | told)
    _check(plan)
    if folder is None or told.keys() & {"source", "tasks"}:
        found, held = named(plan.source, plan.tasks, root)
        plan = plan.model_copy(update={"source": found, "digest": held})
    screen = Screen(json=json)
    effects = None if reasons is None else read_effects(reasons, screen, root=root)
    return _carry_out(plan, folder, root, export, effects, screen)


def _new_plan(
    told: Mapping[str, Any],
    preset: Preset | None,
    config: Diagnosing,
    detecting: Detecting,
    sandbox: Sandboxing,
) -> Plan:
    if "source" not in told:
        raise BadInput("is missing", where="RUN", fix="give last, a run, or a file of runs")
    dials = resolve(preset, config)
    return Plan(**dials.model_dump(), **detecting.model_dump(), **sandbox.model_dump(), **told)


def _check(plan: Plan) -> None:
    if plan.detector != "rules" and plan.model is None:
        raise BadInput(
            f"the detector {plan.detector} asks a model",
            where="--model",
            fix="give --model openai:MODEL@URL, or --detector rules",
        )
    if plan.detector == "rules" and plan.model is not None:
        raise BadInput(
            "the detector rules asks no model",
            where="--model",
            fix="leave it out, or give --detector direct, evidence or react",
        )


# ---- what there is to diagnose ---------------------------------------------------------------


def _carry_out(
    plan: Plan,
    folder: Path | None,
    root: Path,
    export: Path | None,
    effects: Mapping[str, Sequence[ReasonReport]] | None,
    screen: Screen,
) -> int:
    from planish.judges.resumable import resumable

    with contextlib.ExitStack() as stack:
        box = stack.enter_context(opened(plan))
        model = _model(plan)
        if model is not None:
            plan = plan.model_copy(update={"revision": model.revision})
        if folder is None:
            slug = f"diagnose-{plan.detector}-{Path(plan.source).name.partition('.')[0]}"[:40]
            made = Run.create(
                "mistakes", slug, plan, seed=plan.seed, root=root, stage="diagnose", again=AGAIN
            )
        else:
            made = Run.resume(folder, plan, ignore=_FREE)
        stack.enter_context(made)
        stack.enter_context(resumable(made, screen))
        tasks, queue, right = _failures(plan, made, box, root, screen)
        chosen = queue[: plan.limit]
        used = dict.fromkeys(each.run.task_id for each in chosen)
        references = _references([tasks[name] for name in used], made, box, plan, screen)
        speaker = speaking(plan, model, made, box, tasks, references, stack, screen)
        at_once = plan.detector == "rules"
        work = Work(plan, plan.seed, made, box, tasks, references, screen, speaker, at_once, right)
        work.run(chosen)
        cases = [work.cases[each.run.key] for each in chosen]
        return _close(plan, made, tasks, cases, export, _effects(made, effects), screen)


def _effects(
    made: Run, told: Mapping[str, Sequence[ReasonReport]] | None
) -> dict[str, list[ReasonReport]]:
    """What reasons have found, by task: as it is told now, else as it was told before."""
    path = made.artifact(EFFECTS)
    if told is not None:
        with telling_full(path):
            write_jsonl(path, (report for reports in told.values() for report in reports))
    found: dict[str, list[ReasonReport]] = {}
    for report in read_records(path, ReasonReport) if path.exists() else ():
        found.setdefault(report.task_id, []).append(report)
    return found


def _failures(
    plan: Plan, made: Run, box: Sandbox, root: Path, screen: Screen
) -> tuple[dict[str, CodeTask], list[Queued], dict[str, list[str]]]:
    """Tasks by id, the programs that failed, and those that passed by task.

    They come from the run's own folder once they are there.
    """
    path, home, other = (made.artifact(name) for name in (QUEUE, TASKS, PASSED))
    if not path.exists():
        if plan.tasks:
            failed, passed = _run_file(plan, made, box, screen)
            used = {run.task_id for run in failed}
        else:
            known, failed, _, passed = read_failures(plan.source, root=root)
            used = {run.task_id for run in failed}
            with telling_full(home):
                write_jsonl(home, (task for name, task in known.items() if name in used))
        with telling_full(other):
            write_jsonl(other, unique(run for run in passed if run.task_id in used))
        with telling_full(path):
            write_jsonl(path, unique(failed))
    tasks = {task.task_id: task for task in read_records(home, CodeTask)}
    right = by_task(read_records(other, Queued) if other.exists() else ())  # older runs have none
    return tasks, list(read_records(path, Queued)), right


def _run_file(
    plan: Plan, made: Run, box: Sandbox, screen: Screen
) -> tuple[Sequence[RunRecord], Sequence[RunRecord]]:
    """Runs a file of runs as verify does, and returns those that failed and those that passed."""
    if digest(Path(plan.source)) != plan.digest:
        raise BadInput("has changed since", where=plan.source, fix="start a new run")
    every = load_tasks(plan.tasks)
    runs = load_runs(plan.source, every)
    used = {run.task_id for run in runs}
    tasks = {task.task_id: task for task in every if task.task_id in used}
    references = _references(list(tasks.values()), made, box, plan, screen)
    stage = Stage(made, tasks, runs, references, box, screen)
    stage.keep_references()
    stage.run()
    failed, passed = (
        [run for run in runs if stage.results[run.key].score == score] for score in (0, 1)
    )
    return failed, passed


def _references(
    tasks: Sequence[CodeTask], made: Run, box: Sandbox, plan: Plan, screen: Screen
) -> References:
    source = plan.tasks or str(made.artifact(TASKS))
    references = referenced(tasks, box, plan, screen, known_references(made.path), source)
    for name, result in references.results.items():
        if not made.done(name, REFERENCE):
            made.record(REFERENCE, result, id=name)
    return references


def _model(plan: Plan) -> Any:
    if plan.model is None:
        return None
    from planish.models.load import load

    return load(plan.model)


# ---- the end ---------------------------------------------------------------------------------


def _close(
    plan: Plan,
    made: Run,
    tasks: Mapping[str, CodeTask],
    cases: Sequence[Diagnosed],
    export: Path | None,
    effects: Mapping[str, Sequence[ReasonReport]],
    screen: Screen,
) -> int:
    findings = Findings(cases, sum(len(case.copies) for case in cases), plan.seed)
    pairs = list(made_pairs(tasks, cases))
    summary = findings.numbers() | {
        "detector": plan.detector,
        "model": plan.model,
        "revision": plan.revision,
        "num_pairs": len(pairs),
    }
    if export is not None:
        write_asked("--export", export, pairs)
        summary["export"] = str(export)
        screen.note(f"{len(pairs)} pairs {export}")
    notes = list(_notes(findings, made))
    for note in notes:
        screen.warn(note)
    if cases and not findings.ran:
        made.close("failed", "no failing program could be run")
        screen.close(summary, run=made.path)
        return 1
    if findings.lost and len(findings.lost) == len(findings.asked):
        made.close("failed", "the detector brought no reply")
        screen.close(summary, run=made.path)
        return 1
    made.finish(**summary)
    with telling_full(made.report_path):
        write_report(made, findings, tasks, plan.detector, notes, effects)
    show(screen, findings)
    then = list(_then(plan, made, pairs, export, cases))
    screen.close(summary, run=made.path, report=made.report_path, then=then)
    return 0


def _notes(findings: Findings, made: Run) -> Iterator[str]:
    from planish.judges.resumable import again

    if not findings.cases:
        yield "no run has failed: there is nothing to diagnose"
    lost = len(findings.cases) - len(findings.ran)
    if lost:
        yield f"{lost} of {len(findings.cases)} programs could not be run, and are left out"
    if bare := findings.unasked:
        yield (
            f"no input of {len(bare)} of {findings.numbers()['tasks']} tasks could be tried "
            f"({visible(', '.join(bare[:3]), 200)}{', ...' if len(bare) > 3 else ''}), so that "
            "only their tests tell: see what precondition and strategy allow"
        )
    if findings.lost:
        why = findings.lost[0].why
        yield (
            f"for {len(findings.lost)} of {len(findings.asked)} programs that the detector was "
            f"asked about no reply came ({visible(why, 200)}); to ask again: {again(made)}"
        )


def _then(
    plan: Plan,
    made: Run,
    pairs: Sequence[Pair],
    export: Path | None,
    cases: Sequence[Diagnosed],
) -> Iterator[str]:
    if cases:
        of = ("--tasks", plan.tasks) if plan.tasks else ()
        yield command(
            "planish", "mistakes", "reasons", plan.source, *of, "--model", "openai:MODEL@URL"
        )
    if pairs and export is None:
        yield command(*AGAIN.split(), made.path, "--export", "pairs.jsonl")
    yield command("planish", "runs", "show", made.path)
