"""Stage `improve`: DPO of a policy on labelled pairs of its replies, compared before and after.

planish rise improve --policy hf:./policy --pairs labels --task chain:4 --out better
planish rise improve --policy hf:./policy --pairs labels --task chain:4 --out better \
    --judge openai:another-model
planish rise improve --resume runs/rise/20250102-030405-improve-better

The verifier solves the same report prompts with both; with `--judge` another judge than the one
that made the labels compares their replies in both orders. The judge that rewarded a policy is
refused: it would praise what it taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from planish.judges import Case
from planish.judges.overlap import Asked, check_disjoint
from planish.judges.recording import below_floor, lost_calls
from planish.methods.rise.learning.config import DpoConfig, TrainConfig
from planish.methods.rise.learning.training import (
    StageResult,
    carry_out,
    prepare,
    settle,
)
from planish.methods.rise.teaching.comparison import Compared, Side, compare, duels_of, lost
from planish.methods.rise.teaching.config import ImproveConfig
from planish.methods.rise.teaching.improve_pages import show, summarize, write_pages
from planish.methods.rise.teaching.improve_plan import Given, Plan, make_plan, resumed_plan
from planish.models import load
from planish.models.base import LanguageModel, Steps
from planish.models.cache import CachedModel
from planish.records import BadInput, Example, read_table
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.options import RUNS, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find
from planish.tasks.ability import ability_examples
from planish.tasks.base import Task
from planish.tasks.load import load_task
from planish.training.job import model_path, said_once
from planish.training.rewards import Scored, round_robin
from planish.training.rows import Row, read_rows

__all__ = ["improve"]


def improve(
    *,
    policy: str | None = None,
    pairs: Path | None = None,
    out: Path | None = None,
    task: str | None = None,
    judge: str | None = None,
    preset: Preset | None = None,
    training: DpoConfig = DpoConfig(),  # noqa: B008 - frozen
    evaluation: ImproveConfig = ImproveConfig(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Improve a policy by DPO on labelled pairs, and compare it before and after.

    Args:
        policy: The policy whose replies were labelled: hf:PATH-OR-ID or embedded:reasoner.
        pairs: Rows of planish rise label: a folder with dpo.jsonl, JSON Lines or parquet.
        out: Folder for the trained checkpoint; it must not exist yet.
        task: Whose report split both solve: chain, chain:4, chain:4:+-*, or a file of questions.
        judge: Another judge that compares both, a model as in openai:NAME@URL; never the one
            that made the labels.
        preset: Settings to start from; single options override them.
        resume: Go on with this run (a path, a name, or last), training and comparison alike.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    dials = TrainConfig(**training.model_dump(exclude_unset=True))
    given = Given(policy, pairs, out, task, judge, preset, dials, evaluation)
    return said_once(lambda: _improve(given, resume, runs, Screen(json=json)))


def _improve(given: Given, resume: str | None, runs: Path, screen: Screen) -> int:
    before = find(runs, resume).path if resume else None
    plan = make_plan(given) if before is None else resumed_plan(before, given)
    task = load_task(plan.task)
    examples = ability_examples(task, limit=plan.evaluation.limit)
    _check_apart(plan, read_rows(Path(plan.data["dpo"]), "dpo"), examples)
    judge = load(plan.judge) if plan.judge else None
    if judge is not None:
        _check_judge(plan, judge)
        template = plan.evaluation.judging(judge, plan.seed).template
        plan = plan.model_copy(
            update={"judge_revision": judge.revision, "template_hash": template.hash}
        )
    data = prepare(plan, resumed=before is not None)
    _check_room(plan)
    return carry_out(
        *(plan, data, "improve"),
        before=before,
        runs=runs,
        screen=screen,
        close=partial(_close, comparing=_Comparing(plan, task, examples, judge)),
    )


def _check_room(plan: Plan) -> None:
    """Told before the training: a budget that no prompt fits beside.

    Raises:
        BadInput: replies may be as long as the policy's whole context.
    """
    from planish.models.local_loading import open_tokenizer

    _, context = open_tokenizer(model_path(plan.model))
    if context is not None and plan.evaluation.max_tokens >= context:
        raise BadInput(
            f"{plan.evaluation.max_tokens} leaves no room for a prompt in the context of {context} "
            f"of {plan.model}",
            where="--max-tokens",
            fix="lower it",
        )


def _check_apart(plan: Plan, rows: Sequence[Row], examples: Sequence[Example]) -> None:
    """Refuses rows that ask what the report asks."""
    check_disjoint(
        [Asked(row.id, row.question or row.prompt_text) for row in rows],
        [Case(example=example, replies=("",)) for example in examples],
        source=f"{plan.data['dpo']} and the report split of {plan.task}",
        near=plan.near_duplicate,
        what="rows",
    )


def _check_judge(plan: Plan, judge: LanguageModel) -> None:
    """Refuses the judge that made the labels.

    Raises:
        BadInput: its name or its revision is that of a row.
    """
    path = plan.data["dpo"]
    for number, row in read_table(path):
        name, revision = row.get("judge"), row.get("judge_revision")
        if judge.name == name or (revision and judge.revision == revision):
            raise BadInput(
                f"{plan.judge} made the labels ({path}:{number}): the judge that rewards a policy "
                "cannot say whether it got better",
                where="--judge",
                fix="name another judge, or leave it out",
            )


@dataclass(frozen=True)
class _Comparing:
    """What it takes to compare the policy before and after."""

    plan: Plan
    task: Task
    examples: Sequence[Example]
    judge: LanguageModel | None

    def carry_out(self, run: Run, screen: Screen) -> Compared:
        """Lets both answer and the judge compare; no finished call is made again."""
        replies = run.artifact("replies.jsonl")
        sides = [
            self._answers(f"{when} training", spec, replies, screen)
            for when, spec in (("before", self.plan.model), ("after", f"hf:{self.plan.out}"))
        ]
        duels = self._duels(sides, replies, screen)
        return compare(self.examples, sides[0], sides[1], duels)

    def _answers(self, when: str, spec: str, replies: Path, screen: Screen) -> Side:
        sampling = self.plan.evaluation.sampling.model_copy(update={"seed": self.plan.seed})
        total = len(self.examples) * sampling.n
        # A model is opened only here: two at once may be too many for one device.
        with (
            CachedModel(load(spec), replies) as model,
            screen.progress(f"the policy answers, {when}", total) as step,
        ):
            drawn = model.generate(
                [example.prompt for example in self.examples], sampling, watcher=Steps(step)
            )
        return Side.of(self.task, self.examples, drawn)

    def _duels(self, sides: Sequence[Side], replies: Path, screen: Screen) -> list[Scored] | None:
        """The other judge's view of each two replies, after against before."""
        if self.judge is None:
            return None
        asked = duels_of(self.examples, *sides)
        calls = 2 * sum(len(different) == 2 for _, different in asked)
        with (
            CachedModel(self.judge, replies) as model,
            screen.progress(f"{model.name} compares", calls) as step,
        ):
            judging = self.plan.evaluation.judging(model, self.plan.seed)
            return round_robin(judging, asked, watcher=Steps(step))


def _close(
    run: Run, _: object, results: list[StageResult], screen: Screen, *, comparing: _Comparing
) -> int:
    plan, curves = comparing.plan, settle(run, results)
    compared = comparing.carry_out(run, screen)
    calls = compared.calls
    num_lost = sum(map(lost, calls))
    if below_floor(num_lost, len(calls), plan.evaluation.min_coverage):
        what = f"{num_lost} of {len(calls)} calls brought no reply ({lost_calls(calls)})"
        run.close("failed", what)
        again = command("planish", "rise", "improve", "--resume", run.path)
        screen.warn(f"{what}; the checkpoint is whole; compare again with: {again}")
        screen.close({"transport": num_lost, "calls": len(calls)}, run=run.path)
        return 1
    for record in compared.records():
        for kind, data in (("score", record.score), ("replies", record.replies)):
            if not run.done(record.id, kind):
                run.record(kind, data, id=record.id)
    summary = summarize(plan, compared, results, curves)
    run.finish(**summary)
    write_pages(run, plan, results, curves, summary, compared)
    show(plan, summary, screen)
    label = command("planish", "rise", "label", "--policy", f"hf:{plan.out}", "--task", plan.task)
    screen.close(
        {**summary, "out": plan.out},
        run=run.path,
        report=run.report_path,
        then=[
            command("planish", "runs", "show", run.path),
            f"{label} --judge JUDGE --out LABELS",
        ],
    )
    return 0
