"""Stage `generate`: a model writes code for tasks, which is run right away.

planish mistakes generate --model openai:MODEL@http://localhost:8000/v1 --tasks own --samples 5
planish mistakes generate --model hf:./checkpoint --tasks tasks.jsonl --preset laptop
planish mistakes generate --resume last

Every reply is kept as it came before anything is decided by it (`artifacts/replies.jsonl`); then
`records.jsonl` has for each program its reply, its code, and what running it has found. So
`planish mistakes diagnose` takes the run folder as it takes one of verify.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from planish.methods.mistakes.config import Generating, Sandboxing
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.loading import chat_of, code_of, load_tasks
from planish.methods.mistakes.running.coders import load_coder
from planish.methods.mistakes.running.executing import (
    RUN,
    Stage,
    digest_of,
    opened,
    referenced,
    whole,
)
from planish.methods.mistakes.running.reading import known_references, resumed
from planish.methods.mistakes.showing.generated import Rates, write_report
from planish.methods.mistakes.showing.verified import Verified
from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Completion, Record, Usage
from planish.runs import Run, read_rows
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json
from planish.runs.presets import Preset, regiven, resolve

__all__ = ["AGAIN", "CHUNK", "Plan", "Reply", "generate"]

AGAIN = "planish mistakes generate --resume"

CHUNK = 64
"""Tasks that are handed over at once to a model of this process; then their code is run."""

ROUNDS = 8
"""To an endpoint so many rounds of its calls in flight."""

REPLY = "reply"

_FREE = frozenset({"workers", "accept_level", "tasks", "cache"})
_Flat = Parameter(name="*")
_Place = Annotated[Path, Parameter(name="--runs-dir")]


class Plan(Generating, Sandboxing):
    """What determines the code and the verdicts: kept in run.json, and a resume must match it.

    Args:
        model: as it was named; revision: what that stood for.
        tasks: as they were named; tasks_digest: what they were.
        limit: tasks at most, the first ones.
        cache: a reply cache that runs share; None: the run's own.
    """

    model: str
    revision: str = ""
    tasks: str
    tasks_digest: str = ""
    limit: int | None = None
    cache: str | None = None


class Reply(Record):
    """One reply as it came.

    Args:
        run: number of the sample; text: raw.
        finish: "length": it was cut at the budget, and its code may end in the middle.
    """

    task_id: str
    model: str
    run: int
    text: str
    finish: Literal["stop", "length", "error"]
    usage: Usage = Usage()


def generate(
    *,
    model: str | None = None,
    tasks: str | None = None,
    preset: Preset | None = None,
    config: Annotated[Generating, _Flat] = Generating(),  # noqa: B008 - frozen
    sandbox: Annotated[Sandboxing, _Flat] = Sandboxing(),  # noqa: B008 - frozen
    limit: Count | None = None,
    cache: Path | None = None,
    resume: str | None = None,
    root: _Place = RUNS,
    json: Json = False,
) -> int:
    """Let a model write code for tasks, and run it: pass@k, and failures to diagnose.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:NAME, replay:FILE, or planted:defects, a
            script that writes code for the package's own tasks.
        tasks: own, own:plain, own:projects, or a .jsonl(.gz) file: ours, HumanEval, EvalPlus,
            CoderEval.
        preset: Settings to start from; single options override them. Embedded models get tiny.
        limit: At most so many tasks, the first ones.
        cache: A reply cache to share between runs; by default each run has its own.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        root: Folder that holds the runs of planish.
        json: One JSON object on stdout.
    """
    given = {
        "model": model,
        "tasks": None if tasks is None else whole(tasks),
        "limit": limit,
        "cache": None if cache is None else str(cache.resolve()),
    }
    told = {name: value for name, value in given.items() if value is not None}
    folder = None if resume is None else resumed(resume, "generate", root)
    if folder is None:
        plan = make_plan(told, preset, config, sandbox)
    else:
        before = config_of(read_info(folder), "mistakes", "generate", Plan)
        dials = regiven(before, config, preset)
        boxed = regiven(before, sandbox, None)
        plan = before.model_copy(update={**dials.model_dump(), **boxed.model_dump(), **told})
    return _carry_out(plan, folder, root, Screen(json=json))


def make_plan(
    told: Mapping[str, Any], preset: Preset | None, config: Generating, sandbox: Sandboxing
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Raises:
        BadInput: no model or no tasks are named.
    """
    for name, example in (("model", "hf:./checkpoint"), ("tasks", "own")):
        if name not in told:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix=f"give --{name} {example}, or --resume RUN to go on with a run",
            )
    if preset is None and told["model"].startswith("embedded:"):
        preset = "tiny"
    dials = resolve(preset, config)
    return Plan(**dials.model_dump(), **sandbox.model_dump(), **told)


def _carry_out(plan: Plan, folder: Path | None, root: Path, screen: Screen) -> int:
    from planish.judges.resumable import kept, resumable

    tasks = load_tasks(plan.tasks)[: plan.limit]
    with opened(plan) as box:
        references = referenced(tasks, box, plan, screen, known_references(folder), plan.tasks)
        model = load_coder(plan.model)
        plan = plan.model_copy(
            update={"revision": model.revision, "tasks_digest": digest_of(tasks)}
        )
        if folder is None:
            slug = f"generate-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
            made = Run.create(
                "mistakes", slug, plan, seed=plan.seed, root=root, stage="generate", again=AGAIN
            )
        else:
            made = Run.resume(folder, plan, ignore=_FREE)
        with made, resumable(made, screen):
            known_tasks = {task.task_id: task for task in tasks}
            running = Stage(made, known_tasks, (), references, box, screen)
            running.keep_references()
            replies = plan.cache or made.artifact("replies.jsonl")
            with kept(model, replies, screen) as cached:
                stage = _Generation(plan, running, cached)
                stage.write(getattr(model, "in_flight", None))
            return _close(stage)


# ---- writing ---------------------------------------------------------------------------------


@dataclass
class _Generation:
    """A run under way.

    Args:
        model: with every reply kept.
        codes: what it wrote, by key.
        lost: calls that brought no reply, with why.
        cut: replies that ended at the budget.
    """

    plan: Plan
    stage: Stage
    model: LanguageModel
    codes: dict[str, RunRecord] = field(default_factory=dict)
    lost: dict[str, Completion] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)

    def write(self, in_flight: int | None) -> None:
        """Asks for whatever is not there yet, and runs it chunk by chunk."""
        made = self.stage.made
        self.codes = {row.id: row.read(RunRecord) for row in read_rows(made.path, RUN)}
        for row in read_rows(made.path, REPLY):
            if row.data["finish"] == "length":
                self.cut.add(row.id)
        tasks = list(self.stage.tasks.values())
        todo = [task for task in tasks if not all(self._written(each) for each in self.keys(task))]
        left = sum(not self._written(key) for task in todo for key in self.keys(task))
        total = len(tasks) * self.plan.samples
        if left < total:
            self.stage.screen.note(f"{total - left} of {total} programs were written before")
        self._run(self.codes)  # those whose visit ended before they were run
        size = CHUNK if in_flight is None else max(1, ROUNDS * in_flight // self.plan.samples)
        with self.stage.screen.progress(f"{self.plan.model} writes", left) as step:
            for first in range(0, len(todo), size):
                self._ask(todo[first : first + size], step)

    def _ask(self, tasks: Sequence[CodeTask], step: Any) -> None:
        chats = [chat_of(task) for task in tasks]
        self.model.generate(chats, self.plan.sampling(), watcher=_Keeper(self, tasks, step))
        self._run([key for task in tasks for key in self.keys(task) if key in self.codes])

    def _run(self, keys: Sequence[str] | Mapping[str, RunRecord]) -> None:
        self.stage.todo = tuple(self.codes[key] for key in keys)
        self.stage.run(quiet=True)

    def keys(self, task: CodeTask) -> list[str]:
        """Of its samples, in their order."""
        return [self._key(task, sample) for sample in range(self.plan.samples)]

    def _key(self, task: CodeTask, sample: int) -> str:
        return RunRecord(task_id=task.task_id, model=self.plan.model, run=sample, code="").key

    def _written(self, key: str) -> bool:
        return key in self.codes

    def keep(self, task: CodeTask, sample: int, completion: Completion) -> bool:
        """Writes a reply down, and the code in it; False for one that was there."""
        key = self._key(task, sample)
        if self._written(key):
            return False
        if completion.finish == "error":
            self.lost[key] = completion
            return True
        self.lost.pop(key, None)
        named = {"task_id": task.task_id, "model": self.plan.model, "run": sample}
        made = self.stage.made
        reply = Reply(
            **named, text=completion.text, finish=completion.finish, usage=completion.usage
        )
        made.record(REPLY, reply, id=key)
        if completion.finish == "length":
            self.cut.add(key)
        run = RunRecord(**named, code=code_of(completion.text, task))
        made.record(RUN, run, id=key)
        self.codes[key] = run
        return True


class _Keeper(Watcher):
    """Writes every reply down the moment it comes."""

    def __init__(self, stage: _Generation, tasks: Sequence[CodeTask], step: Any) -> None:
        self.stage, self.tasks, self.step = stage, tasks, step

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        if self.stage.keep(self.tasks[chat], sample, completion):
            self.step()


# ---- the end ---------------------------------------------------------------------------------


def _close(stage: _Generation) -> int:
    plan, running = stage.plan, stage.stage
    made, screen = running.made, running.screen
    wanted = [key for task in running.tasks.values() for key in stage.keys(task)]
    runs = [stage.codes[key] for key in wanted if key in stage.codes]
    results = {run.key: running.results[run.key] for run in runs}
    verified = Verified(runs, results, running.programs, running.seconds)
    rates = Rates.of(verified, (1, 5, 10, plan.samples), plan.seed)
    cut = sum(key in stage.cut for key in wanted)
    summary = _summary(plan, verified, rates, len(wanted)) | {"cut": cut}
    notes = [*_lost(stage, len(wanted))]
    if cut:
        notes.append(
            f"{cut} of {len(runs)} replies were cut at {plan.max_tokens} tokens: raise --max-tokens"
        )
    for note in notes:
        screen.warn(note)
    if not verified.scored:
        made.close("failed", "no program could be scored")
        screen.close(summary, run=made.path)
        screen.warn("no program could be scored")
        return 1
    made.finish(**summary)
    with telling_full(made.report_path):
        write_report(made, verified, rates, plan.model, notes)
    verified.show(screen)
    rates.show(screen)
    failed = any(verified.score(run) == 0 for run in runs)
    then = ("planish", "mistakes", "diagnose") if failed else ("planish", "runs", "show")
    screen.close(summary, run=made.path, report=made.report_path, then=[command(*then, made.path)])
    return 0


def _summary(plan: Plan, verified: Verified, rates: Rates, wanted: int) -> dict[str, Any]:
    numbers = verified.numbers()
    dropped = ("num_recorded", "agreement", "num_disagreements", "disagreements")
    return {
        "model": plan.model,
        "revision": plan.revision,
        "tasks": len(rates.scores),
        **rates.numbers(),
        **{name: value for name, value in numbers.items() if name not in dropped},
        "coverage": len(verified.scored) / wanted,
        "errors": wanted - len(verified.runs),
    }


def _lost(stage: _Generation, wanted: int) -> list[str]:
    if not stage.lost:
        return []
    from planish.judges.recording import lost_calls, lost_kinds, remedy
    from planish.judges.resumable import again

    lost = list(stage.lost.values())
    once_more = f"to ask for them again: {again(stage.stage.made)}"
    how = remedy(lost_kinds(lost), once_more, budget="--max-tokens")
    return [f"{len(lost)} of {wanted} calls brought no reply ({lost_calls(lost)}); {how}"]
