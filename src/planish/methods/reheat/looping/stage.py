"""One loop, from its plan to its last line.

code = carry_loop(plan, None, Path("runs"), Screen())
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.reheat.looping.plan import Plan, prepare
from planish.methods.reheat.thawing.plan import Material
from planish.records import write_text
from planish.runs import Run
from planish.runs.console import Screen
from planish.training.job import Command, Job, carry_out, clear_checkpoints

if TYPE_CHECKING:
    from planish.methods.reheat.looping.turns import Course

__all__ = ["carry_loop"]


def carry_loop(plan: Plan, before: Path | None, runs: Path, screen: Screen) -> int:
    """Trains, reheats, trains on, and shows what came of it.

    Args:
        plan: what decides the result.
        before: the run to go on with; None starts one.
        runs: where a new one goes.
        screen: what the user sees.

    Returns:
        The exit code: 1 where a number was not finite.

    Raises:
        BadInput: the task, the model, a prompt or `--out` cannot be used.
    """
    material = prepare(plan, resumed=before is not None)

    def work(job: Job) -> Course:
        from planish.methods.reheat.looping.turns import take_turns

        return take_turns(plan, material, job)

    return carry_out(
        Command("reheat", "loop", f"loop-{Path(plan.out).name}"),
        plan,
        work,
        lambda run, course: _close(run, plan, material, course, screen),
        before=before,
        runs=runs,
        screen=screen,
    )


def _close(run: Run, plan: Plan, material: Material, course: Course, screen: Screen) -> int:
    from planish.methods.reheat.looping.curves import curves_of
    from planish.methods.reheat.looping.outcome import measure
    from planish.methods.reheat.looping.pages import (
        Results,
        model_card,
        next_commands,
        write_page,
    )

    clear_checkpoints(run)
    outcome = measure(plan, material, run, screen)
    results = Results(plan, course, outcome, curves_of(run, course))
    summary = results.numbers()
    write_text(Path(plan.out) / "README.md", model_card(run, results, summary))
    run.finish(**summary)
    write_page(run, results, summary)
    if outcome.lost:
        screen.warn(outcome.lost)
    screen.say(f"\n{results.headline}")
    told = {name: value for name, value in summary.items() if name != "fired"}
    screen.numbers(told, title=plan.model)
    screen.close(
        {**summary, "sentence": results.headline, "out": plan.out},
        run=run.path,
        report=run.report_path,
        then=next_commands(results),
    )
    return 0
