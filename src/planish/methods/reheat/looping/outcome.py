"""What the policy of before and that of after make of the report's prompts, prompt by prompt.

    outcome = measure(plan, material, run, screen)
    outcome.after.pass_at[1], outcome.gains["pass_at_1"].difference

Both are drawn at temperature 1 with the same seeds; every reply is kept, so that a run that goes on
draws none of them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.judges.recording import lost_calls, lost_kinds
from planish.judges.resumable import kept
from planish.methods.reheat.config import Config
from planish.methods.reheat.looping.plan import Plan
from planish.methods.reheat.measuring.estimating import Seen, diagnosis
from planish.methods.reheat.measuring.looking import Looking
from planish.methods.reheat.measuring.plan import Plan as Asked
from planish.methods.reheat.measuring.records import PolicyNumbers, PromptRow, Who
from planish.methods.reheat.method import pass_at_k
from planish.methods.reheat.thawing.plan import Material
from planish.models import load
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Paired
from planish.training.job import model_path

__all__ = ["COMPARED", "Outcome", "measure"]

COMPARED = ("pass_at_1", "pass_at_k", "greedy", "zero_variance", "distinct")
"""What before and after are compared in."""


@dataclass(frozen=True)
class Outcome:
    """Both policies on the same prompts.

    Args:
        k: the largest k of pass@k.
        gains: after - before, paired by prompt.
        lost: in words, the calls that brought no reply; "" if all did.
    """

    k: int
    before: PolicyNumbers
    after: PolicyNumbers
    gains: dict[str, Paired]
    lost: str


def measure(plan: Plan, material: Material, run: Run, screen: Screen) -> Outcome:
    """Draws and grades what both say, and records every prompt."""
    asked = _asked(plan)
    before = _look(asked, "reference", model_path(plan.model), material, run, screen)
    after = _look(asked, "model", plan.out, material, run, screen)
    told = diagnosis(asked, Seen(after.rows, (), None), Seen(before.rows, (), None))
    assert told.reference is not None
    _keep(run, asked, before.rows, after.rows)
    return Outcome(
        k=asked.pass_k,
        before=told.reference,
        after=told.model,
        gains={name: told.differences[name] for name in COMPARED},
        lost="; ".join(each.lost for each in (before, after) if each.lost),
    )


def _asked(plan: Plan) -> Asked:
    """How the report's prompts are drawn, in the words of a diagnosis."""
    origin = {name: getattr(plan, name) for name in Asked.model_fields if hasattr(plan, name)}
    dials = {name: getattr(plan, name) for name in Config.model_fields}
    return Asked(
        **(origin | dials),
        pass_k=max(1, plan.samples // 2),
        reach_samples=1,
        cache=None,
    )


@dataclass(frozen=True)
class _Looked:
    rows: list[PromptRow]
    lost: str


def _look(
    asked: Asked, who: Who, path: str, material: Material, run: Run, screen: Screen
) -> _Looked:
    name = "before" if who == "reference" else "after"
    looking = Looking(who, name, asked, material.task, run, screen)
    model = load(f"hf:{Path(path)}", batch_size=asked.batch_size)
    with kept(model, run.artifact(f"replies-{name}.jsonl"), screen) as cached:
        rows = looking.draw(cached, material.sets.report)
    lost = lost_kinds(looking.calls)
    words = f"{name}: {len(lost)} of {len(looking.calls)} calls brought no reply "
    return _Looked(rows or [], f"{words}({lost_calls(looking.calls)})" if lost else "")


def _keep(run: Run, asked: Asked, before: list[PromptRow], after: list[PromptRow]) -> None:
    """Every prompt's counts, and the scores by which runs are compared."""
    for row in (*before, *after):
        name = row.item_id if row.who == "model" else f"before/{row.item_id}"
        if run.done(name, "row"):
            continue
        run.record("row", row, id=name)
        if row.who == "model":
            told = {1, asked.pass_k} if row.n >= asked.pass_k else {1} if row.n else set[int]()
            scores = {f"pass_at_{k}": pass_at_k(row.n, row.c, k) for k in sorted(told)}
            run.record("score", {**scores, "greedy": row.greedy}, id=name)
