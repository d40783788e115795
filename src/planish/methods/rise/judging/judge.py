"""Stage `judge`: a model judges recorded pairs, and the result is compared with gold.

planish rise judge --model hf:./checkpoint --pairs pairs.jsonl
planish rise judge --model openai:m@http://localhost:8000/v1 --pairs pairs.jsonl --samples 4
planish rise judge --resume runs/rise/20250102-030405-m
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from planish.judges import Case, Judgment, agreement
from planish.judges.asking import PromptedJudge
from planish.judges.formats import Format
from planish.judges.pages import headline, show_agreement
from planish.judges.recording import (
    below_floor,
    judge_cases,
    lost_calls,
    lost_kinds,
    record_scores,
    remedy,
)
from planish.judges.resumable import again, kept, resumable
from planish.judges.scalar import ScalarJudge, is_scalar
from planish.judges.templates import template_name
from planish.methods.rise.config import Config
from planish.methods.rise.judging.cases import check_slots, read_cases, refuse_dials
from planish.methods.rise.judging.pages import write_report
from planish.models import load
from planish.models.base import LanguageModel
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.runs.store import StoredRun, find

__all__ = ["judge"]


def judge(
    *,
    model: str | None = None,
    pairs: Path | None = None,
    format: Format = "auto",
    preset: Preset | None = None,
    config: Config = Config(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Let a model judge pairs in both orders, and compare its verdicts with gold.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:reasoner, scripted:NAME, replay:FILE, or
            scalar:PATH for a reward head.
        pairs: JSON Lines of pairs: JudgeBench, RewardBench, or question, reply_a, reply_b, gold.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them.
        limit: Only the first so many pairs.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    folder: Path | None = None
    if resume is None:
        if model is None or pairs is None:
            raise BadInput(
                "is missing",
                where="--model" if model is None else "--pairs",
                fix="give it, or --resume RUN to go on with a run",
            )
        plan = _plan(model, pairs, format, limit, cache, resolve(preset, config))
        _check_dials(model, config, cache)
    else:
        found = find(runs, resume)
        folder = found.path
        plan = _resumed(found, model, pairs, format, limit, cache, config, preset)
    cases = read_cases(plan.pairs, plan.format, plan.limit, screen)
    _check_pairs(cases, plan.pairs)
    asked = ScalarJudge(plan.model) if is_scalar(plan.model) else load(plan.model)
    # Dials or cases that do not fit are told before anything is written.
    judge: PromptedJudge | ScalarJudge = (
        asked if isinstance(asked, ScalarJudge) else plan.judge(asked)
    )
    judge.check(cases)
    check_slots(plan.orders, cases, where=plan.pairs)
    template_hash = "" if isinstance(judge, ScalarJudge) else judge.template.hash
    plan = plan.model_copy(update={"template_hash": template_hash, "revision": asked.revision})
    with contextlib.ExitStack() as stack:
        if plan.cache:
            judge = stack.enter_context(_keeping(plan, asked, Path(plan.cache), screen))
        if folder is None:
            slug = plan.model.partition("@")[0].partition("?")[0][-32:]
            run = Run.create(
                *("rise", slug, plan),
                seed=plan.seed,
                root=runs,
                stage="judge",
                again="planish rise judge --resume",
            )
        else:
            run = Run.resume(folder, plan)
        stack.enter_context(run)
        with resumable(run, screen):
            if not plan.cache:
                replies = run.artifact("replies.jsonl")
                judge = stack.enter_context(_keeping(plan, asked, replies, screen))
            judgments = judge_cases(run, judge, cases, f"judging with {plan.model}", screen)
        return _close(run, plan, cases, judgments, screen)


@contextlib.contextmanager
def _keeping(
    plan: Plan, model: LanguageModel | ScalarJudge, replies: Path, screen: Screen
) -> Iterator[PromptedJudge | ScalarJudge]:
    """The judge, with every reply kept in a file; rewards are kept in its judgments alone."""
    if isinstance(model, ScalarJudge):
        yield model
        return
    with kept(model, replies, screen) as cached:
        yield plan.judge(cached)


def _check_dials(model: str, config: Config, cache: Path | None) -> None:
    """A reward head is asked nothing: only what is counted afterwards can be set."""
    if is_scalar(model):
        refuse_dials(config.model_fields_set - {"min_coverage", "seed"})
        refuse_dials(() if cache is None else ("cache",))


def _check_pairs(cases: Sequence[Case], where: str) -> None:
    lists = [case.id for case in cases if len(case.replies) != 2]
    if lists:
        raise BadInput(
            f"{len(lists)} of {len(cases)} cases are no pairs, the first is {lists[0]}",
            where=where,
            fix="planish rise evaluate judges lists too",
        )


class Plan(Config):
    """What determines the result: it is kept in run.json, and a resume must match it.

    Paths are absolute, so that a run can be resumed from anywhere. The template's hash and the
    model's revision are kept because a file behind a name may change between two visits.
    """

    model: str
    pairs: str
    pairs_sha256: str
    format: Format
    limit: int | None
    cache: str | None
    template_hash: str = ""
    revision: str = ""


def _plan(
    model: str,
    pairs: Path,
    format: Format,
    limit: int | None,
    cache: Path | None,
    config: Config,
) -> Plan:
    return Plan(
        model=model,
        pairs=str(pairs.resolve()),
        pairs_sha256=digest(pairs),
        format=format,
        limit=limit,
        cache=str(cache.resolve()) if cache else None,
        **{**config.model_dump(), "template": template_name(config.template)},
    )


def _resumed(
    run: StoredRun,
    model: str | None,
    pairs: Path | None,
    format: Format,
    limit: int | None,
    cache: Path | None,
    config: Config,
    preset: Preset | None,
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared."""
    assert run.info is not None
    before = config_of(run.info, "rise", "judge", Plan)
    return _plan(
        model or before.model,
        pairs or Path(before.pairs),
        before.format if format == "auto" else format,
        before.limit if limit is None else limit,
        cache or (Path(before.cache) if before.cache else None),
        regiven(before, config, preset),
    )


def _close(
    run: Run,
    plan: Plan,
    cases: Sequence[Case],
    judgments: Sequence[Judgment],
    screen: Screen,
) -> int:
    result = agreement(cases, judgments, seed=plan.seed)
    template = f"template {Path(plan.template).name}"
    how = "one reward per reply" if is_scalar(plan.model) else template
    lost = result.statuses.get("transport", 0)
    calls = sum(result.statuses.values())
    failed = below_floor(lost, calls, plan.min_coverage)
    summary = headline(result)
    record_scores(run, cases, judgments)
    run.finish(**summary)
    write_report(
        run,
        cases,
        judgments,
        result,
        title=f"{plan.model} as a judge",
        subtitle=f"{Path(plan.pairs).name}, {how}",
        min_coverage=plan.min_coverage,
        tiny=plan.model.startswith(("embedded:", "scripted:")),
    )
    show_agreement(result, plan.min_coverage, screen)
    if plan.stop_early:
        screen.say("votes stopped early: the figures of both orders are of fewer samples")
    if lost:
        made = [call for judgment in judgments for call in judgment.calls]
        reason = f"{lost} of {calls} calls brought no reply ({lost_calls(made)})"
        retry = f"to ask for them again: {again(run)}"
        budget = None if is_scalar(plan.model) else "--max-tokens"
        screen.warn(f"{reason}; {remedy(lost_kinds(made), retry, budget=budget)}")
        if failed:
            run.close("failed", reason)
    screen.close(
        summary,
        run=run.path,
        report=run.report_path,
        then=[command("planish", "runs", "show", run.path)],
    )
    return int(failed)
