"""Stage `evaluate`: a judge on benchmarks and at its other work, beside the model it came from.

planish rise evaluate --model hf:./judge --before hf:./base --pairs rewardbench2.jsonl pairs.jsonl
planish rise evaluate --model hf:./judge --before hf:./base --ability chain:3 questions.jsonl
planish rise evaluate --model hf:./judge --pairs pairs.jsonl --trained-on data --lm-eval gsm8k
planish rise evaluate --model hf:./judge --before scalar:./reward-model --pairs pairs.jsonl
planish rise evaluate --resume runs/rise/20250102-030405-judge

Both models judge the same cases and solve the same questions, so that what is compared is paired.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from planish.judges import Case
from planish.judges.benches import Bench, BenchResult, bench_result
from planish.judges.formats import Format
from planish.judges.formats.trained import read_trained
from planish.judges.overlap import check_untrained
from planish.judges.recording import below_floor, judge_cases, remedy
from planish.judges.resumable import again, kept, resumable
from planish.judges.scalar import ScalarJudge, is_scalar
from planish.methods.rise.judging.cases import read_cases
from planish.methods.rise.judging.config import EvaluateConfig
from planish.methods.rise.judging.evaluation import Evaluation, Outcome
from planish.methods.rise.judging.evaluation_pages import show, write_report
from planish.methods.rise.judging.evaluation_plan import Plan, make_plan, resumed_plan
from planish.models import load
from planish.models.base import LanguageModel, Steps
from planish.models.cache import CachedModel
from planish.models.harness import HarnessResults, check_tasks, run_harness
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find
from planish.tasks.ability import Solution, SolveResult, ability_examples, solve_rate
from planish.tasks.base import Task
from planish.tasks.load import load_task

__all__ = ["evaluate"]

AGAIN = "planish rise evaluate --resume"

_Several = Parameter(consume_multiple=True, negative="")


def evaluate(
    *,
    model: str | None = None,
    before: str | None = None,
    pairs: Annotated[tuple[Path, ...], _Several] = (),
    ability: Annotated[
        tuple[str, ...] | None, Parameter(consume_multiple=True, negative="--no-ability")
    ] = None,
    lm_eval: Annotated[tuple[str, ...], _Several] = (),
    lm_eval_include: Path | None = None,
    trained_on: Annotated[tuple[Path, ...], _Several] = (),
    format: Format = "auto",
    preset: Preset | None = None,
    config: EvaluateConfig = EvaluateConfig(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Evaluate a judge on benchmarks, and on what else it could do before it was trained.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:reasoner, scripted:NAME, replay:FILE, or
            scalar:PATH for a reward head.
        before: The model to compare with, usually what --model was trained from.
        pairs: One benchmark a file: JudgeBench, RewardBench, RewardBench 2, or own pairs.
        ability: Verifiable tasks: chain:3, chain:4:+-*, countdown:3, routes:12:3:4:0:shown, or a
            file of questions with targets; by default chain:2 to chain:4 for embedded models and
            the preset tiny.
        lm_eval: Tasks of lm-evaluation-harness (pip install 'planish[lm-eval]').
        lm_eval_include: Folder of YAML tasks of your own for --lm-eval.
        trained_on: Rows of synthesize (file or folder) or pairs; an item that was trained on
            stops the command, near-duplicates included.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them.
        limit: Only the first so many cases of each file.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    given = {
        "model": model,
        "before": before,
        "pairs": pairs or None,
        "ability": ability,
        "lm_eval": lm_eval or None,
        "lm_eval_include": lm_eval_include,
        "trained_on": trained_on or None,
        "format": None if format == "auto" else format,
        "limit": limit,
        "cache": cache,
    }
    folder = find(runs, resume).path if resume else None
    if folder is None:
        plan = make_plan(given, config, preset)
    else:
        plan = resumed_plan(read_info(folder), given, config, preset)
    benches, tasks = _benches(plan, screen), {name: load_task(name) for name in plan.ability}
    _check_untrained(plan, benches, tasks)
    plan, ready = _ready(plan, benches)
    if folder is None:
        slug = plan.model.partition("@")[0].partition("?")[0][-32:]
        run = Run.create(
            *("rise", slug, plan), seed=plan.seed, root=runs, stage="evaluate", again=AGAIN
        )
    else:
        run = Run.resume(folder, plan)
    with run:
        with resumable(run, screen):
            after = _outcome(run, plan, benches, tasks, ready, screen)
            del ready  # two large models rarely fit side by side
            base = None
            if plan.before is not None:
                old = _open(plan.before)
                base = _outcome(run, plan, benches, tasks, old, screen, before=True)
        return _close(run, plan, Evaluation(benches, after, base, plan.seed), screen)


def _benches(plan: Plan, screen: Screen) -> list[Bench]:
    """One bench a file, named like it."""
    names = _apart(Path(path).name.partition(".")[0] or Path(path).name for path in plan.pairs)
    return [
        Bench(name, read_cases(path, plan.format, plan.limit, screen))
        for name, path in zip(names, plan.pairs, strict=True)
    ]


def _apart(names: Iterable[str]) -> list[str]:
    """The names in their order; one that was taken before is numbered: q, q-2, q-3."""
    found: list[str] = []
    for name in names:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        found.append(next(each for each in itertools.chain([name], numbered) if each not in found))
    return found


def _check_untrained(plan: Plan, benches: Sequence[Bench], tasks: dict[str, Task]) -> None:
    """Everything that is reported on, against everything that was trained on.

    Raises:
        BadInput: with the count and the first item that was trained on.
    """
    examples = {
        name: ability_examples(task, limit=plan.num_examples, seed=plan.seed)
        for name, task in tasks.items()
    }
    reported = {path: bench.cases for path, bench in zip(plan.pairs, benches, strict=True)}
    reported |= {
        f"task {name}": [Case(example=example, replies=("",)) for example in found]
        for name, found in examples.items()
    }
    for rows in plan.trained_on:
        trained = read_trained(Path(rows))
        for source, cases in reported.items():
            check_untrained(cases, trained, source=source, near=plan.near_duplicate)


def _open(spec: str) -> LanguageModel | ScalarJudge:
    return ScalarJudge(spec) if is_scalar(spec) else load(spec)


def _ready(plan: Plan, benches: Sequence[Bench]) -> tuple[Plan, LanguageModel | ScalarJudge]:
    """The plan with what its names mean now, and the model; whatever does not fit is told here.

    Raises:
        BadInput: a model or a task that is not there, or dials that do not fit.
    """
    known: dict[str, str] = {}
    if plan.lm_eval:
        include = Path(plan.lm_eval_include) if plan.lm_eval_include else None
        known["lm_eval_version"] = check_tasks(plan.lm_eval, include)
    if plan.before is not None:
        old = _open(plan.before)
        known["template_hash"] = plan.check(old, benches)
        known["before_revision"] = old.revision
        del old
    model = _open(plan.model)
    # A reward head has no prompt; the other model's then stands alone.
    known["template_hash"] = plan.check(model, benches) or known.get("template_hash", "")
    known["revision"] = model.revision
    return plan.model_copy(update=known), model


def _outcome(
    run: Run,
    plan: Plan,
    benches: Sequence[Bench],
    tasks: dict[str, Task],
    model: LanguageModel | ScalarJudge,
    screen: Screen,
    *,
    before: bool = False,
) -> Outcome:
    """Everything that one model is asked."""
    end = "_before" if before else ""
    outcome = Outcome(name=plan.before or "" if before else plan.model)
    if isinstance(model, ScalarJudge):  # its rewards are kept in its judgments
        outcome.benches = _judged(run, plan, benches, model, screen, end)
        return outcome
    own = run.artifact(f"replies{end}.jsonl") if plan.cache is None else Path(plan.cache)
    with kept(model, own, screen) as cached:
        outcome.benches = _judged(run, plan, benches, cached, screen, end)
        for name, task in zip(_apart(map(_shown, tasks)), tasks.values(), strict=True):
            outcome.ability[name] = _solve(run, plan, task, cached, screen, f"solution{end}")
        if plan.lm_eval:
            outcome.harness = _run_harness(plan, cached, screen)
    return outcome


def _judged(
    run: Run,
    plan: Plan,
    benches: Sequence[Bench],
    model: CachedModel | ScalarJudge,
    screen: Screen,
    end: str,
) -> dict[str, BenchResult]:
    """What one model makes of every bench; `end` keeps two models' records apart."""
    results = {}
    for bench in benches:
        judged = {}
        what = f"{model.name} judges {bench.name}"
        for made, judge, cases in plan.judges(model, bench):
            for judgment in judge_cases(
                run, judge, cases, what, screen, kind=made + end, prefix=f"{bench.name}/"
            ):
                judged[judgment.case_id] = judgment
        results[bench.name] = bench_result(bench, judged, mode=plan.mode, seed=plan.seed)
    return results


def _shown(task: str) -> str:
    """A task as it was typed; of a file its name."""
    return Path(task).name if Path(task).is_file() else task


def _solve(
    run: Run, plan: Plan, task: Task, model: CachedModel, screen: Screen, kind: str
) -> SolveResult:
    count = len(ability_examples(task, limit=plan.num_examples, seed=plan.seed))
    with screen.progress(f"{model.name} solves {_shown(task.name)}", count) as step:
        return solve_rate(
            model,
            task,
            limit=plan.num_examples,
            sampling=plan.solving,
            seed=plan.seed,
            watcher=Steps(step),
            on_solution=lambda solution: _keep(run, kind, task.name, solution),
        )


def _keep(run: Run, kind: str, task: str, solution: Solution) -> None:
    """A graded reply, once; a lost one is not finished."""
    place = f"{task}/{solution.example_id}"
    if solution.status != "lost" and not run.done(place, kind):
        run.record(kind, solution, id=place)


def _run_harness(plan: Plan, model: CachedModel, screen: Screen) -> HarnessResults:
    screen.note(f"lm-evaluation-harness asks {model.name}: {', '.join(plan.lm_eval)}")
    found = run_harness(
        model,
        plan.lm_eval,
        include=Path(plan.lm_eval_include) if plan.lm_eval_include else None,
        limit=plan.ability_limit,
        seed=plan.seed,
    )
    if found.ignored:
        screen.warn(f"settings of these tasks that were left out: {', '.join(found.ignored)}")
    return found


def _close(run: Run, plan: Plan, found: Evaluation, screen: Screen) -> int:
    for item, scores in found.score_rows():
        run.record("score", scores, id=item)
    summary = found.summary(plan.min_coverage)
    run.finish(**summary)
    write_report(run, found, plan)
    show(found, plan.min_coverage, screen)
    retry = f"to ask for them again: {again(run)}"
    failed = ""
    for outcome in found.outcomes:
        for name, lost, calls in outcome.losses():
            reason = f"{lost} of {calls} calls of {outcome.name} on {name} brought no reply"
            # The harness has its own budgets, and a reward head writes nothing.
            writes = name not in outcome.metrics() and not is_scalar(outcome.name)
            budget = "--max-tokens" if writes else None
            helps = remedy(outcome.lost_kinds(name), retry, budget=budget)
            screen.warn(f"{reason} ({outcome.reason(name)}); {helps}")
            if below_floor(lost, calls, plan.min_coverage):
                failed = failed or reason
    if failed:
        run.close("failed", failed)
    screen.close(
        summary,
        run=run.path,
        report=run.report_path,
        then=[command("planish", "runs", "show", run.path)],
    )
    return int(bool(failed))
