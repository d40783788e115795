"""One comparison of the training-free baselines, from its plan to its last line.

code = compare_baselines(make_plan(given, config, preset), None, Path("runs"), screen)
"""

from __future__ import annotations

from pathlib import Path

from planish.judges.recording import below_floor, lost_calls, lost_kinds, remedy
from planish.judges.resumable import again, kept, resumable
from planish.methods.s2j.data import Items
from planish.methods.s2j.measuring.arms import Asking
from planish.methods.s2j.measuring.baselines import Asked, ask_arms
from planish.methods.s2j.measuring.baselines_pages import show, write_report
from planish.methods.s2j.measuring.baselines_plan import Plan
from planish.methods.s2j.measuring.baselines_results import compare, summarize
from planish.models import load
from planish.records import Cost
from planish.runs import Run
from planish.runs.console import Screen, command

__all__ = ["AGAIN", "compare_baselines"]

AGAIN = "planish s2j baselines --resume"


def compare_baselines(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    """Asks in every arm and tells what came of it.

    Args:
        plan: what to ask.
        folder: the run to go on with; None starts one.
        runs: where runs are.
        screen: shows it.

    Returns:
        The exit code: 1 where too many calls brought no reply.

    Raises:
        BadInput: items, templates or a model that do not fit.
    """
    items, asking = plan.items(), plan.asking()
    _tell_dropped(items, screen)
    plan = plan.checked(asking, items)
    model = load(plan.model)
    plan = plan.model_copy(update={"revision": model.revision})
    if folder is None:
        slug = f"baselines-{plan.model.partition('@')[0].partition('?')[0][-24:]}"
        run = Run.create(
            *("s2j", slug, plan), seed=plan.seed, root=runs, stage="baselines", again=AGAIN
        )
    else:
        run = Run.resume(folder, plan)
    with run:
        replies = plan.cache or run.artifact("replies.jsonl")
        with resumable(run, screen), kept(model, replies, screen) as cached:
            asked = ask_arms(cached, items, asking, screen.progress)
            if cached.hits and folder is not None:
                total = cached.hits + cached.misses
                screen.note(f"{cached.hits} of {total} replies were there before")
        return _close(run, plan, items, asking, asked, screen)


def _tell_dropped(items: Items, screen: Screen) -> None:
    for why, ids in items.dropped.items():
        screen.warn(f"{len(ids)} left out: {why}, the first is {ids[0]}")
    others = len(items) - len(items.of("one_right"))
    if others:
        screen.warn(f"{others} left out: both candidates are right, or both wrong")


def _close(run: Run, plan: Plan, items: Items, asking: Asking, asked: Asked, screen: Screen) -> int:
    results = compare(asked.rows, seed=plan.seed)
    summary = summarize(asked, results, seed=plan.seed)
    summary |= {
        "num_left_out": {why: len(ids) for why, ids in items.dropped.items()},
        "cost_of_all_arms": Cost.of(asked.calls).model_dump(),
    }
    for rows in asked.rows.values():
        for row in rows:
            # What was lost before may be there now: the last record of an id counts.
            if row.lost or not run.done(f"{row.arm} {row.item_id}", "arm"):
                run.record("arm", row, id=f"{row.arm} {row.item_id}")
    lost = sum(call.finish == "error" for call in asked.calls)
    failed = below_floor(lost, len(asked.calls), plan.min_coverage)
    run.finish(**summary)
    write_report(run, plan, asking, asked, results, summary)
    show(plan, asking, asked, results, summary, screen)
    if lost:
        reason = f"{lost} of {len(asked.calls)} calls brought no reply ({lost_calls(asked.calls)})"
        retry = f"to ask for them again: {again(run)}"
        help = remedy(lost_kinds(asked.calls), retry, budget="--max-tokens")
        screen.warn(f"{reason}; {help}")
        if failed:
            run.close("failed", reason)
    screen.close(
        summary,
        run=run.path,
        report=run.report_path,
        then=[command("planish", "s2j", "gap", "--model", plan.model, *plan.source_option)],
    )
    return int(failed)
