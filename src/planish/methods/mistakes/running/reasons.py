"""Stage `reasons`: change one thing in the prompts of failed tasks, draw again, count.

planish mistakes reasons last --model openai:MODEL@http://localhost:8000/v1
planish mistakes reasons runs.jsonl --tasks tasks.jsonl --model hf:./checkpoint --samples 28
planish mistakes reasons last --model openai:MODEL --editor openai:EDITOR
planish mistakes reasons --resume last

What has failed is kept as it was (`artifacts/failed.jsonl`, `artifacts/tasks.jsonl`): a resume
neither runs it nor looks for it again, whatever has become of its source. Every reply is kept as it
came before anything is decided by it (`artifacts/replies.jsonl`); `records.jsonl` has each sample
with its seed, its code and what running it has found, each arm with the change of its prompt,
leaking edits included, and for each reason its effect.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.mistakes.config import Intervening, Sandboxing
from planish.methods.mistakes.data import REASONS, CodeTask, Intervention, Reason, ReasonReport
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.reasoning.arms import Outcome, Sample, intervene
from planish.methods.mistakes.reasoning.edits import Editor, RuleEditor
from planish.methods.mistakes.reasoning.failures import look
from planish.methods.mistakes.reasoning.planning import make_plans
from planish.methods.mistakes.reasoning.power import check_samples
from planish.methods.mistakes.reasoning.writing import ModelEditor
from planish.methods.mistakes.running.coders import load_coder
from planish.methods.mistakes.running.executing import opened, whole
from planish.methods.mistakes.running.failing import keep_failures, keep_references, pinned
from planish.methods.mistakes.running.reading import newest_of, resumed
from planish.methods.mistakes.showing.reasons import Findings, show, write_report
from planish.models.base import LanguageModel, Steps
from planish.models.load import load
from planish.records import BadInput, Record
from planish.runs import Run, read_rows
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json
from planish.runs.presets import Preset, regiven, resolve
from planish.tasks.sandbox.contract import LEVELS, Level

if TYPE_CHECKING:
    from planish.tasks.sandbox import Sandbox

__all__ = ["AGAIN", "CHUNK", "Plan", "Settled", "reasons"]

AGAIN = "planish mistakes reasons --resume"

CHUNK = 4
"""Tasks whose arms are drawn at once: thirteen prompts each, then their code is run."""

SAMPLE, INTERVENTION, REPORT, TASK = "sample", "intervention", "reason", "task"
"""Kinds of records; of several with one id the last counts."""

_FREE = frozenset({"workers", "accept_level", "cache"})
_Flat = Parameter(name="*")
_Several = Parameter(consume_multiple=True, negative="")
_Place = Annotated[Path, Parameter(name="--runs-dir")]


class Plan(Intervening, Sandboxing):
    """What determines the effects: kept in run.json, and a resume must match it.

    Args:
        source: where the runs are, an absolute path; tasks: of a file of runs.
        digest: SHA-256 of the tasks and of the code that failed, or of the whole file of runs.
        model: that has failed; revision: what that stood for.
        editor: a model that edits; editor_revision: what that stood for.
        edits_by_model: reasons for which it edits.
        reasons: that are tried.
        limit: tasks at most, the first ones.
        cache: a reply cache that runs share; None: the run's own.
    """

    source: str
    tasks: str = ""
    digest: str = ""
    model: str
    revision: str = ""
    editor: str | None = None
    editor_revision: str = ""
    edits_by_model: tuple[Reason, ...] = ("MCQS",)
    reasons: tuple[Reason, ...] = REASONS
    limit: int | None = None
    cache: str | None = None


class Settled(Record):
    """A task that is finished.

    Args:
        holds: reasons that hold; lost: samples for which no reply came; unedited: edits likewise.
    """

    task_id: str
    holds: tuple[Reason, ...] = ()
    lost: int = 0
    unedited: int = 0


def reasons(
    source: Annotated[str | None, Parameter(name="RUN")] = None,
    /,
    *,
    model: str | None = None,
    editor: str | None = None,
    edits_by_model: Annotated[tuple[Reason, ...], _Several] = (),
    only: Annotated[tuple[Reason, ...], _Several] = (),
    tasks: str | None = None,
    preset: Preset | None = None,
    config: Annotated[Intervening, _Flat] = Intervening(),  # noqa: B008 - frozen
    sandbox: Annotated[Sandboxing, _Flat] = Sandboxing(),  # noqa: B008 - frozen
    limit: Count | None = None,
    cache: Path | None = None,
    resume: str | None = None,
    root: _Place = RUNS,
    json: Json = False,
) -> int:
    """Find out why a model's code fails: edit the prompt, draw again, compare with a placebo.

    Args:
        source: A run of verify or generate (a path, a name, or last), or a file of runs.
        model: The model that has failed: hf:PATH-OR-ID, openai:NAME@URL, embedded:NAME,
            replay:FILE, or planted:defects for the package's own defects.
        editor: A model that puts misleading specifications clearly; without it only rules edit.
        edits_by_model: Reasons for which the editor edits in place of the rules; by default MCQS.
        only: Try these reasons only; by default all six.
        tasks: Of a file of runs: own, own:plain, own:projects, or a .jsonl(.gz) file.
        preset: Settings to start from; single options override them.
        limit: At most so many failed tasks, the first ones.
        cache: A reply cache to share between runs; by default each run has its own.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        root: Folder that holds the runs of planish.
        json: One JSON object on stdout.
    """
    given = {
        "source": source,
        "model": model,
        "editor": editor,
        "edits_by_model": edits_by_model or None,
        "reasons": tuple(reason for reason in REASONS if reason in only) or None,
        "tasks": None if tasks is None else whole(tasks),
        "limit": limit,
        "cache": None if cache is None else str(cache.resolve()),
    }
    told = {name: value for name, value in given.items() if value is not None}
    folder = None if resume is None else resumed(resume, "reasons", root)
    if folder is None:
        plan = make_plan(told, preset, config, sandbox)
    else:
        before = config_of(read_info(folder), "mistakes", "reasons", Plan)
        dials, boxed = regiven(before, config, preset), regiven(before, sandbox, None)
        plan = before.model_copy(update={**dials.model_dump(), **boxed.model_dump(), **told})
    if plan.editor is None and edits_by_model:
        raise BadInput(
            f"no model edits for {', '.join(edits_by_model)}",
            where="--edits-by-model",
            fix="give --editor openai:EDITOR@URL as well, or leave it out",
        )
    check_samples(plan.samples, alpha=plan.alpha, reasons=len(plan.reasons))
    if folder is None or told.keys() & {"source", "tasks"}:
        found, held = pinned(plan.source, plan.tasks, root)
        plan = plan.model_copy(update={"source": found, "digest": held})
    return _carry_out(plan, folder, root, Screen(json=json))


def make_plan(
    told: Mapping[str, Any], preset: Preset | None, config: Intervening, sandbox: Sandboxing
) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: no runs or no model are named.
    """
    missing = (("source", "RUN", "last"), ("model", "--model", "openai:MODEL@URL"))
    for name, flag, example in missing:
        if name not in told:
            raise BadInput(
                "is missing",
                where=flag,
                fix=f"give {example if flag == 'RUN' else f'{flag} {example}'}, "
                "or --resume RUN to go on with a run",
            )
    return Plan(**resolve(preset, config).model_dump(), **sandbox.model_dump(), **told)


def _carry_out(plan: Plan, folder: Path | None, root: Path, screen: Screen) -> int:
    from planish.judges.resumable import kept, resumable

    with opened(plan) as box:
        model = load_coder(plan.model)
        editor = None if plan.editor is None else load(plan.editor)
        plan = plan.model_copy(
            update={
                "revision": model.revision,
                "editor_revision": "" if editor is None else editor.revision,
            }
        )
        if folder is None:
            slug = f"reasons-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
            made = Run.create(
                "mistakes", slug, plan, seed=plan.seed, root=root, stage="reasons", again=AGAIN
            )
        else:
            made = Run.resume(folder, plan, ignore=_FREE)
        with made, resumable(made, screen), contextlib.ExitStack() as stack:
            queue = keep_failures(made, plan, plan, root, box, screen)
            chosen = queue.tasks[: plan.limit]
            references = keep_references(made, chosen, plan, box, screen)
            replies = plan.cache or made.artifact("replies.jsonl")
            cached = stack.enter_context(kept(model, replies, screen))
            editing = _editor(plan, editor, made, stack, screen)
            stage = _Stage(plan, made, cached, editing, box, references, screen)
            stage.run([(task, queue.codes[task.task_id]) for task in chosen])
            return _close(stage, [task.task_id for task in chosen])


def _editor(
    plan: Plan,
    model: LanguageModel | None,
    made: Run,
    stack: contextlib.ExitStack,
    screen: Screen,
) -> Editor:
    from planish.judges.resumable import kept

    if model is None:
        return RuleEditor()
    cached = stack.enter_context(kept(model, made.artifact("edits.jsonl"), screen))
    return ModelEditor(cached, RuleEditor(), frozenset(plan.edits_by_model))


# ---- drawing ---------------------------------------------------------------------------------


@dataclass
class _Stage:
    """A run under way."""

    plan: Plan
    made: Run
    model: LanguageModel
    editor: Editor
    box: Sandbox
    references: References
    screen: Screen
    settled: dict[str, Settled] = field(default_factory=dict)

    def run(self, tasks: Sequence[tuple[CodeTask, Sequence[str]]]) -> None:
        """Settles whatever is not settled; tasks that have lost replies are tried again."""
        for row in read_rows(self.made.path, TASK):
            self.settled[row.id] = row.read(Settled)
        todo = [(task, codes) for task, codes in tasks if not self._finished(task.task_id)]
        if len(todo) < len(tasks):
            self.screen.note(f"{len(tasks) - len(todo)} of {len(tasks)} tasks were there before")
        with self.screen.progress("reasons are tried, task by task", len(todo)) as step:
            for first in range(0, len(todo), CHUNK):
                for outcome in self._try(todo[first : first + CHUNK]):
                    self._keep(outcome)
                    step()

    def _finished(self, task_id: str) -> bool:
        known = self.settled.get(task_id)
        return known is not None and not known.lost and not known.unedited

    def _try(self, tasks: Sequence[tuple[CodeTask, Sequence[str]]]) -> list[Outcome]:
        failures = look(tasks, self.box, self.references, seed=self.plan.seed)
        plans = make_plans(failures, self.editor, self.box, self.references, self.plan.reasons)
        total = sum(len(plan.arms) for plan in plans if plan.tried) * self.plan.samples
        with self.screen.progress(f"{self.plan.model} writes", total) as step:
            found = intervene(
                plans, self.model, self.box, self.references, self.plan, watcher=Steps(step)
            )
            for each in (each for outcome in found for each in outcome.interventions):
                if not each.n and not each.leak_check:  # the unchanged prompt has ruled it out
                    for _ in range(self.plan.samples):
                        step()
            return found

    def _keep(self, outcome: Outcome) -> None:
        made, name = self.made, outcome.task_id
        for sample in outcome.samples:
            arm = sample.arm if sample.reason is None else f"{sample.arm}/{sample.reason}"
            made.record(SAMPLE, sample, id=f"{name}|{arm}|{sample.sample}")
        for each in outcome.interventions:
            arm = each.arm if each.reason is None else f"{each.arm}/{each.reason}"
            made.record(INTERVENTION, each, id=f"{name}|{arm}")
        for report in outcome.reports:
            made.record(REPORT, report, id=f"{name}|{report.reason}")
        holds = tuple(report.reason for report in outcome.reports if report.holds)
        # The task comes last: without it a resume settles the task again, from the kept replies.
        self.settled[name] = Settled(
            task_id=name, holds=holds, lost=outcome.lost, unedited=outcome.unedited
        )
        made.record(TASK, self.settled[name], id=name)
        made.record("score", {"explained": float(bool(holds))}, id=name)


# ---- the end ---------------------------------------------------------------------------------


def _close(stage: _Stage, tasks: Sequence[str]) -> int:
    plan, made, screen = stage.plan, stage.made, stage.screen
    findings = _findings(made, tasks)
    summary = findings.numbers() | {
        "model": plan.model,
        "revision": plan.revision,
        "editor": plan.editor,
        "samples": plan.samples,
    }
    notes = list(_notes(stage, findings))
    for note in notes:
        screen.warn(note)
    if findings.drawn and not findings.scored:
        made.close("failed", "no sample could be scored")
        screen.close(summary, run=made.path)
        return 1
    made.finish(**summary)
    with telling_full(made.report_path):
        write_report(made, findings, plan.model, plan.samples, notes)
    show(screen, findings)
    then = [*_then(plan, made, findings), command("planish", "runs", "show", made.path)]
    screen.close(summary, run=made.path, report=made.report_path, then=then)
    return 0


def _then(plan: Plan, made: Run, findings: Findings) -> Iterator[str]:
    """What puts the effects on the pages of the failures: beside a diagnosis that is there."""
    if not findings.tasks:
        return
    diagnosis = newest_of("diagnose", made.path.parent.parent, of=plan.source)
    of = ("--tasks", plan.tasks) if plan.tasks else ()
    what = (plan.source, *of) if diagnosis is None else ("--resume", diagnosis)
    yield command("planish", "mistakes", "diagnose", *what, "--reasons", made.path)


def _findings(made: Run, tasks: Sequence[str]) -> Findings:
    reports = {row.id: row.read(ReasonReport) for row in read_rows(made.path, REPORT)}
    arms = {row.id: row.read(Intervention) for row in read_rows(made.path, INTERVENTION)}
    wanted = set(tasks)
    return Findings(
        tasks=tuple(tasks),
        reports=tuple(each for each in reports.values() if each.task_id in wanted),
        interventions=tuple(each for each in arms.values() if each.task_id in wanted),
        level=_weakest(made, wanted),
    )


def _weakest(made: Run, tasks: Collection[str]) -> Level | None:
    """The weakest sandbox that a sample of these tasks had."""
    samples = (row.read(Sample) for row in read_rows(made.path, SAMPLE))
    found = {sample.sandbox_level for sample in samples if sample.task_id in tasks}
    return max((level for level in LEVELS if level in found), key=LEVELS.index, default=None)


def _lost_kinds(made: Run, tasks: Collection[str]) -> set[str]:
    """Why samples brought no reply, as it was at the last visit."""
    last = {row.id: row.read(Sample) for row in read_rows(made.path, SAMPLE)}
    return {each.lost for each in last.values() if each.lost and each.task_id in tasks}


def _notes(stage: _Stage, findings: Findings) -> Iterator[str]:
    from planish.judges.recording import remedy
    from planish.judges.resumable import again

    if not findings.tasks:
        yield "no run has failed: there is nothing to explain"
    lost = sum(each.lost for each in stage.settled.values())
    if lost:
        once_more = f"to ask for them again: {again(stage.made)}"
        how = remedy(_lost_kinds(stage.made, findings.tasks), once_more, budget="--max-tokens")
        yield f"{lost} samples brought no reply; {how}"
    unedited = sum(each.unedited for each in stage.settled.values())
    if unedited:
        yield f"{unedited} edits brought no reply; to ask for them again: {again(stage.made)}"
    unscored = findings.drawn - findings.scored - lost
    if unscored > 0:
        yield f"{unscored} samples could not be run, and are left out"
    if findings.leaks:
        yield f"{len(findings.leaks)} edits leak or break the reference, and are not scored"
