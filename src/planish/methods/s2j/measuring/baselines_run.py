"""One comparison of the training-free baselines, from its plan to its last line.

code = compare_baselines(make_plan(given, config, preset), None, Path("runs"), screen)
"""

from __future__ import annotations

from pathlib import Path

from planish.judges.recording import below_floor, lost_calls, lost_kinds, remedy
from planish.methods.s2j.data import Items
from planish.methods.s2j.measuring.arms import Asking
from planish.methods.s2j.measuring.baselines import Asked, ask_arms
from planish.methods.s2j.measuring.baselines_pages import show, write_report
from planish.methods.s2j.measuring.baselines_plan import Plan
from planish.methods.s2j.measuring.baselines_results import compare, summarize
from planish.models import load
from planish.models.cache import CachedModel
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
        screen.note(f"run {run.path}")
        for line in run.repaired:
            screen.warn(line)
        replies = Path(plan.cache) if plan.cache else run.artifact("replies.jsonl")
        try:
            with CachedModel(model, replies) as cached:
                if cached.repaired:
                    screen.warn(cached.repaired)
                asked = ask_arms(cached, items, asking, screen.progress)
                if cached.hits and folder is not None:
                    total = cached.hits + cached.misses
                    screen.note(f"{cached.hits} of {total} replies were there before")
        except KeyboardInterrupt:
            screen.warn(f"go on with: {_again(run)}")
            raise
        return _close(run, plan, items, asking, asked, screen)


def _again(run: Run) -> str:
    return command(*AGAIN.split(), run.path)


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
        again = f"to ask for them again: {_again(run)}"
        help = remedy(lost_kinds(asked.calls), again, budget="--max-tokens")
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
