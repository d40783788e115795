"""Stage `judge`: a model judges recorded pairs, and the result is compared with gold.

planish rise judge --model hf:./checkpoint --pairs pairs.jsonl
planish rise judge --model openai:m@http://localhost:8000/v1 --pairs pairs.jsonl --samples 4
planish rise judge --resume runs/rise/20250102-030405-m
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from planish.judges import TEMPLATES, Agreement, Case, Judgment, agreement
from planish.judges.agreement import case_scores
from planish.judges.asking import PromptedJudge
from planish.judges.benches import is_rated
from planish.judges.formats import read_pairs
from planish.judges.prompted import Orders
from planish.judges.scalar import ScalarJudge, is_scalar
from planish.methods.rise.config import Config, Format, Preset, resolve
from planish.methods.rise.data import digest
from planish.methods.rise.pages import show, write_report
from planish.models import load
from planish.models.base import LanguageModel, Steps
from planish.models.cache import CachedModel
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.rows import read_rows
from planish.runs.store import StoredRun, find

__all__ = [
    "check_slots",
    "headline",
    "judge",
    "judge_cases",
    "lost_calls",
    "own_template",
    "read_cases",
    "record_scores",
]


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
        screen.note(f"run {run.path}")
        for line in run.repaired:
            screen.warn(line)
        if not plan.cache:
            replies = run.artifact("replies.jsonl")
            judge = stack.enter_context(_keeping(plan, asked, replies, screen))
        try:
            judgments = judge_cases(run, judge, cases, f"judging with {plan.model}", screen)
        except KeyboardInterrupt:
            screen.warn(f"go on with: {_again(run)}")
            raise
        return _close(run, plan, cases, judgments, screen)


@contextlib.contextmanager
def _keeping(
    plan: Plan, model: LanguageModel | ScalarJudge, replies: Path, screen: Screen
) -> Iterator[PromptedJudge | ScalarJudge]:
    """The judge, with every reply kept in a file; rewards are kept in its judgments alone."""
    if isinstance(model, ScalarJudge):
        yield model
        return
    with CachedModel(model, replies) as cached:
        if cached.repaired:
            screen.warn(cached.repaired)
        yield plan.judge(cached)


def _check_dials(model: str, config: Config, cache: Path | None) -> None:
    """A reward head is asked nothing: only what is counted afterwards can be set."""
    given = sorted(config.model_fields_set - {"min_coverage", "seed"})
    given += [] if cache is None else ["cache"]
    if is_scalar(model) and given:
        raise BadInput(
            "means nothing to a reward head, which reads one reply at a time",
            where="--" + given[0].replace("_", "-"),
            fix="leave it out",
        )


def _again(run: Run) -> str:
    return command("planish", "rise", "judge", "--resume", run.path)


def _check_pairs(cases: Sequence[Case], where: str) -> None:
    lists = [case.id for case in cases if len(case.replies) != 2]
    if lists:
        raise BadInput(
            f"{len(lists)} of {len(cases)} cases are no pairs, the first is {lists[0]}",
            where=where,
            fix="planish rise evaluate judges lists too",
        )


def check_slots(orders: Orders, cases: Sequence[Case], *, where: str) -> None:
    """One order and one gold slot: a judge that always names the slot would look perfect.

    Raises:
        BadInput: the order is fixed, and every gold reply stands in one slot.
    """
    golds = {case.gold for case in cases}
    if orders == "fixed" and len(golds) == 1 and len(cases) > 1:
        raise BadInput(
            f"every gold reply stands in slot {golds.pop()}, and the order is fixed",
            where=where,
            fix="use --orders both or random",
        )


def read_cases(path: str, format: Format, limit: int | None, screen: Screen) -> list[Case]:
    """The first cases of a file; identical replies, as one benchmark has, are told.

    Raises:
        BadInput: as `read_pairs`, or a case without gold.
    """
    cases = read_pairs(path, format)[:limit]
    for case in cases:
        if case.gold is None and not is_rated(case):
            raise BadInput(
                "has no gold label",
                where=f"{path}, case {case.id}",
                fix="give every pair a gold label",
            )
    identical = [case.id for case in cases if case.example.meta.get("identical")]
    if identical:
        screen.warn(f"{len(identical)} pair has identical replies, first {identical[0]}: counted")
    return cases


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
        **{**config.model_dump(), "template": own_template(config.template)},
    )


def own_template(template: str) -> str:
    """The name of a shipped template, or the whole path of a file of your own."""
    own = Path(template)
    return str(own.resolve()) if template not in TEMPLATES and own.is_file() else template


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
    given = {name: getattr(config, name) for name in config.model_fields_set}
    if preset is not None:
        given = resolve(preset, config).model_dump()
    settings = {name: getattr(before, name) for name in Config.model_fields}
    return _plan(
        model or before.model,
        pairs or Path(before.pairs),
        before.format if format == "auto" else format,
        before.limit if limit is None else limit,
        cache or (Path(before.cache) if before.cache else None),
        Config(**(settings | given)),
    )


def judge_cases(
    run: Run,
    judge: PromptedJudge | ScalarJudge,
    cases: Sequence[Case],
    what: str,
    screen: Screen,
    *,
    kind: str = "judgment",
    prefix: str = "",
) -> list[Judgment]:
    """Judges what the run does not hold yet; every judgment is on disk as soon as it is whole.

    Args:
        run: where judgments are recorded, under `kind`, with `prefix` before the case's id.
        judge: who judges.
        cases: what is judged.
        what: is shown beside the progress bar.
        screen: shows it.
    """
    ids = {prefix + case.id for case in cases}
    done: dict[str, Judgment] = {}
    for row in read_rows(run.path, kind):
        judgment = row.read(Judgment)
        # A lost call deserves another chance.
        if row.id in ids and "transport" not in judgment.statuses:
            done[judgment.case_id] = judgment
    todo = [case for case in cases if case.id not in done]
    if done:
        screen.note(f"{len(cases) - len(todo)} of {len(cases)} cases were judged before")
    with screen.progress(what, judge.num_calls(todo)) as step:
        fresh = judge.judgments(
            todo,
            on_judgment=lambda judgment: run.record(kind, judgment, id=prefix + judgment.case_id),
            watcher=Steps(step),
        )
    done.update({judgment.case_id: judgment for judgment in fresh})
    return [done[case.id] for case in cases]


def headline(result: Agreement) -> dict[str, Any]:
    """The numbers of a run, by the names that `--json` and run.json use."""
    return {
        "num_cases": result.num_cases,
        "mode": result.mode,
        "vote_accuracy": result.vote_accuracy,
        "call_accuracy": result.call_accuracy,
        "both_right": result.both_right,
        "consistency": result.consistency,
        "first_slot_rate": result.first_slot_rate,
        "coverage": result.coverage,
        "first_parse_rate": result.first_parse_rate,
        "accuracy": result.accuracy,
        "tie_rate": result.tie_rate,
        "margin": result.margin,
        "order_alpha": result.order_alpha,
        "kappa": result.kappa,
        "length_slope": result.length_slope.slope,
        "calibration_error": result.calibration_error,
        "brier": result.brier,
        "counts": result.counts,
        "statuses": result.statuses,
        "cost": result.cost.model_dump(),
    }


def record_scores(run: Run, cases: Sequence[Case], judgments: Sequence[Judgment]) -> None:
    """Right or wrong per case: `planish runs compare` pairs by it."""
    for case, judgment in zip(cases, judgments, strict=True):
        run.record("score", case_scores(case, judgment), id=case.id)


def lost_calls(judgments: Iterable[Judgment]) -> str:
    """Why calls brought no reply: every kind with its count, and one message in full."""
    last = [
        call.failures[-1]
        for judgment in judgments
        for call in judgment.calls
        if call.finish == "error" and call.failures
    ]
    kinds = Counter(failure.kind for failure in last)
    listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{listed}; {last[0].message}" if last and last[0].message else listed


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
    failed = lost > (1 - plan.min_coverage) * calls
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
    show(result, plan.min_coverage, screen)
    if plan.stop_early:
        screen.say("votes stopped early: the figures of both orders are of fewer samples")
    if lost:
        reason = f"{lost} of {calls} calls brought no reply ({lost_calls(judgments)})"
        screen.warn(f"{reason}; to ask for them again: {_again(run)}")
        if failed:
            run.close("failed", reason)
    screen.close(
        summary,
        run=run.path,
        report=run.report_path,
        then=[command("planish", "runs", "show", run.path)],
    )
    return int(failed)
