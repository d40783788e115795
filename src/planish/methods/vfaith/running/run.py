"""Stage `run`: asks a model every question of a bench, with each picture and without one.

planish vfaith run --model hf:./checkpoint --bench bench
planish vfaith run --model openai:MODEL-2025-01-31@http://localhost:8000/v1 --bench bench
planish vfaith run --model openai:MODEL --unpinned --bench bench --arms raw edited
planish vfaith run --resume runs/vfaith/20250102-030405-run-checkpoint

The run folder keeps every reply twice: as it came, before anything is decided by it
(`artifacts/replies.jsonl`), and as it was read (`records.jsonl`). A run that was stopped goes on
where it was, and makes no finished call again; `planish vfaith score` tells what the replies mean.
Pairs are read when their turn comes: in memory is what is under way, and a few bytes a call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.methods.vfaith.bench import Bench, read_bench
from planish.methods.vfaith.cautions import cautions
from planish.methods.vfaith.config import Asking
from planish.methods.vfaith.data import ARMS, Arm
from planish.methods.vfaith.numbered import Numbered, digest_of
from planish.methods.vfaith.running.asking import Stage
from planish.methods.vfaith.running.ledger import Ledger
from planish.methods.vfaith.running.pages import show, write_report
from planish.methods.vfaith.running.pinning import check_pinned, loose
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.prompts import picture_of, prompt
from planish.methods.vfaith.running.records import (
    Calls,
    Tally,
    scores,
    tally,
)
from planish.methods.vfaith.usable import chosen
from planish.methods.vfaith.verifying.independence import check_not_verifier
from planish.records import BadInput
from planish.runs import Run, read_rows
from planish.runs.console import Screen, command
from planish.runs.info import config_of, dumps, read_info
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, regiven, resolve
from planish.runs.store import find

__all__ = ["AGAIN", "Plan", "run"]

AGAIN = "planish vfaith run --resume"

# Change no reply; a bench may have been moved, its digest tells whether it is the same.
_FREE = frozenset({"bench", "cache", "retries", "min_coverage", "unpinned"})
_Several = Parameter(consume_multiple=True, negative="")


class Plan(Asking):
    """What determines the replies: it is kept in run.json, and a resume must match it.

    Args:
        model: as it was named; revision: what that stood for.
        bench: its folder; bench_digest: what it held.
        arms: that are asked, in the order of `data.ARMS`.
        limit: pairs at most.
        cache: a reply cache that runs share; None: the run's own.
        unpinned: the model's name may stand for another model tomorrow, and whoever asked knew.
    """

    model: str
    revision: str = ""
    bench: str
    bench_digest: str = ""
    arms: tuple[Arm, ...] = ARMS
    limit: int | None = None
    cache: str | None = None
    unpinned: bool = False


def run(
    *,
    model: str | None = None,
    bench: Path | None = None,
    arms: Annotated[tuple[Arm, ...], _Several] = (),
    preset: Preset | None = None,
    config: Asking = Asking(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    unpinned: Annotated[bool, Parameter(negative="")] = False,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Ask a model every question of a bench, with each picture and without one.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:viewer-NAME, replay:FILE, or a model with
            a known fault: planted:oracle, random, position, memory, cached, blind or sheet.
        bench: Folder that planish vfaith build made.
        arms: What to ask; by default all: the question with each picture and with none (text),
            and whether the changed thing is seen at all (perception_raw, perception_edited).
        preset: Settings to start from; single options override them. Embedded models get tiny.
        limit: At most so many pairs, of every family in proportion.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        unpinned: Ask a model whose name may stand for another one tomorrow (a server's without a
            date, one on the Hub); its scores are marked.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    told = {
        "model": model,
        "bench": None if bench is None else str(bench.resolve()),
        "arms": tuple(arm for arm in ARMS if arm in arms) or None,
        "limit": limit,
        "cache": None if cache is None else str(cache.resolve()),
    }
    given = {name: value for name, value in told.items() if value is not None}
    folder = None if resume is None else find(runs, resume).path
    if folder is None:
        plan = make_plan(given, config, preset, unpinned=unpinned)
    else:
        before = config_of(read_info(folder), "vfaith", "run", Plan)
        dials = regiven(before, config, preset)
        plan = before.model_copy(update={**dials.model_dump(), **given})
    return _carry_out(plan, folder, runs, Screen(json=json))


def make_plan(
    given: Mapping[str, Any],
    config: Asking,
    preset: Preset | None = None,
    *,
    unpinned: bool = False,
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Args:
        unpinned: takes a model that is not pinned.

    Raises:
        BadInput: no model or no bench is named, or a model that is not pinned.
    """
    for name, example in (("model", "hf:./checkpoint"), ("bench", "DIR")):
        if name not in given:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix=f"give --{name} {example}, or --resume RUN to go on with a run",
            )
    if preset is None and given["model"].startswith("embedded:"):
        preset = "tiny"
    if not unpinned:
        check_pinned(given["model"])
    dials = resolve(preset, config).model_dump()
    return Plan(**dials, **given, unpinned=bool(loose(given["model"])))


def _carry_out(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    from planish.judges.resumable import kept, resumable

    bench = read_bench(plan.bench)
    check_not_verifier(bench, plan.model)
    if folder is not None and bench.digest != plan.bench_digest:
        raise BadInput(
            "its pairs have changed since the run began", where=plan.bench, fix="start a new run"
        )
    calls = Calls(chosen(bench.pairs, plan.limit), plan.arms)
    names = Numbered(_checked(bench, calls, screen))
    for line in cautions(calls.pairs, [plan.model]):
        screen.warn(line)
    bench = bench.trusted()
    model = load_model(plan.model, bench)
    check_not_verifier(bench, plan.model, model.revision)
    plan = plan.model_copy(update={"revision": model.revision, "bench_digest": bench.digest})
    if folder is None:
        slug = f"run-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
        made = Run.create(
            "vfaith", slug, plan, seed=plan.seed, root=runs, stage="run", again=AGAIN
        )  # fmt: skip
    else:
        made = Run.resume(folder, plan, ignore=_FREE)
    with made, resumable(made, screen):
        if plan.unpinned:
            screen.note(f"{plan.model} is not pinned: its scores will be marked")
        replies = plan.cache or made.artifact("replies.jsonl")
        with kept(model, replies, screen) as cached:
            ledger = Ledger(names, plan.repeats, plan.max_tokens)
            stage = Stage(plan, made, bench, cached, calls, ledger, screen)
            stage.ask()
        return _close(plan, stage)


def _checked(bench: Bench, calls: Calls, screen: Screen) -> Iterator[str]:
    """The name of every call; before the first is paid for, every prompt and picture is looked at.

    Raises:
        BadInput: one cannot be used, or there is no call at all.
    """
    asked: set[Arm] = set()
    last = ""
    for call in calls:
        prompt(*call)
        picture = picture_of(call.pair, call.arm)
        if picture is not None:
            size = bench.size(picture)
            if call.pair.pair_id != last:
                last = call.pair.pair_id
                bench.check_cue(call.pair, size)
        asked.add(call.arm)
        yield call.name
    for arm in calls.arms:
        if arm not in asked:
            screen.note(f"no pair of this bench can be asked in the arm {arm}")
    if not asked:
        raise BadInput(
            f"no pair can be asked in the arms {', '.join(calls.arms)}",
            where=str(bench.folder),
            fix="choose other --arms",
        )


# ---- the end ---------------------------------------------------------------------------------


def _close(plan: Plan, stage: Stage) -> int:
    from planish.judges.recording import below_floor
    from planish.judges.resumable import again

    made, screen = stage.run, stage.screen
    counted = tally(stage.calls, plan.repeats, stage.ledger)
    summary = _summary(plan, counted)
    for line in _warnings(stage, counted, again(made)):
        screen.warn(line)
    if below_floor(counted.count("error"), counted.calls, plan.min_coverage):
        made.close("failed", f"{counted.count('error')} of {counted.calls} calls brought no reply")
        screen.close(summary, run=made.path)
        return 1
    _keep_scores(stage)
    made.finish(**summary)
    with telling_full(made.report_path):
        write_report(made, plan.model, counted, plan.min_coverage)
    show(screen, counted, plan.min_coverage)
    screen.close(summary, run=made.path, report=made.report_path, then=_then(made.path))
    return 0


def _summary(plan: Plan, counted: Tally) -> dict[str, Any]:
    covered = counted.coverage >= plan.min_coverage
    return {
        "model": plan.model,
        "revision": plan.revision,
        "pinned": not plan.unpinned,
        "bench": plan.bench,
        "bench_digest": plan.bench_digest,
        "pairs": counted.pairs,
        "usable": counted.usable,
        "coverage": counted.coverage,
        "calls": counted.calls,
        "unparsed": counted.count("unparsed"),
        "errors": counted.count("error"),
        "acc_raw": counted.acc_raw if covered else None,
        "acc_edited": counted.acc_edited if covered else None,
        "arms": {arm: dict(counts) for arm, counts in counted.arms.items()},
        "items": {arm: dict(counts) for arm, counts in counted.items.items()},
    }


def _warnings(stage: Stage, counted: Tally, resume: str) -> Iterator[str]:
    from planish.judges.recording import lost_calls, lost_kinds, remedy

    lost = stage.told_lost()
    if lost:
        helps = remedy(
            lost_kinds(lost), f"to ask for them again: {resume}", budget="--max-tokens"
        )  # fmt: skip
        yield f"{len(lost)} of {counted.calls} calls brought no reply ({lost_calls(lost)}); {helps}"
    if counted.cut:
        yield (
            f"{counted.cut} of {counted.count('unparsed')} unparsed replies were cut at "
            f"{stage.plan.max_tokens} tokens: raise --max-tokens in a new run"
        )


def _keep_scores(stage: Stage) -> None:
    """Right or wrong by pair: `planish runs compare` pairs by it."""
    before = {
        digest_of(row.id): digest_of(dumps(row.data)) for row in read_rows(stage.run.path, "score")
    }
    for pair_id, values in scores(stage.calls, stage.plan.repeats, stage.ledger):
        if before.get(digest_of(pair_id)) != digest_of(dumps(values)):
            stage.run.record("score", values, id=pair_id)


def _then(folder: Path) -> list[str]:
    return [command("planish", "vfaith", "score", folder)]
