"""One diagnosis, from its plan to its last line.

code = diagnose_policy(make_plan(given, Config()), None, Path("runs"), Screen())
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.judges.recording import lost_calls, lost_kinds, remedy
from planish.judges.resumable import again, kept, resumable
from planish.methods.reheat.config import Config, LoopConfig, ReheatConfig
from planish.methods.reheat.data import PromptSet
from planish.methods.reheat.measuring.estimating import Seen, diagnosis, unsolved
from planish.methods.reheat.measuring.looking import Looking
from planish.methods.reheat.measuring.pages import Found, headline, show, write_report
from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import Diagnosis, ProbeRow, PromptRow, Who
from planish.methods.reheat.method import EntropyProbe, TokenEntropy, pass_at_k
from planish.methods.reheat.origin import check_models, local_path, typed
from planish.models import load
from planish.models.base import LanguageModel
from planish.records import Cost
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.rows import read_rows
from planish.tasks.base import Task

__all__ = ["AGAIN", "diagnose_policy"]

AGAIN = "planish reheat diagnose --resume"


@dataclass(frozen=True)
class _Asked:
    """What every policy is asked."""

    plan: Plan
    task: Task
    probe: PromptSet
    report: PromptSet
    run: Run
    screen: Screen
    replies: str | Path


def diagnose_policy(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    """Tells whether a policy has collapsed, what its samples earn, and what is out of their reach.

    Args:
        plan: what is looked at, and how.
        folder: the run to go on with; None starts one.
        runs: where runs are.
        screen: shows it.

    Returns:
        The exit code: 1 where too many calls brought no reply.

    Raises:
        BadInput: prompts, task or models that do not fit.
    """
    task = plan.load_task()
    probe, report = plan.prompts(task)
    check_models(plan.model, plan.reference)
    if plan.reference is not None and local_path(plan.reference) is None:
        load(plan.reference)  # costs nothing, and a wrong name is told now
    model = _load(plan.model, plan)
    plan = plan.model_copy(update={"revision": model.revision})
    if folder is None:
        slug = f"diagnose-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
        run = Run.create(
            *("reheat", slug, plan), seed=plan.seed, root=runs, stage="diagnose", again=AGAIN
        )
    else:
        run = Run.resume(folder, plan)
    with run:
        replies = plan.cache or run.artifact("replies.jsonl")
        asked = _Asked(plan, task, probe, report, run, screen, replies)
        with resumable(run, screen):
            ours = _look(asked, "model", model)
            del model  # a reference takes its room
            seen, theirs = ours.seen, None
            if plan.reference is not None and seen is not None:
                reference = _load(plan.reference, plan)
                theirs = _look(asked, "reference", reference, unsolved(seen.rows))
        return _close(asked, ours, theirs)


def _load(spec: str, plan: Plan) -> LanguageModel:
    """The model; how many rows it takes at once is the plan's to say, unless its name does."""
    options: dict[str, Any] = {}
    if local_path(spec) is not None and "batch_size=" not in spec.rpartition("?")[2]:
        options["batch_size"] = plan.batch_size
    return load(spec, **options)


@dataclass(frozen=True)
class _Looked:
    """A policy that was looked at; `seen` is None where too many of its calls were lost."""

    looking: Looking
    seen: Seen | None


def _look(
    asked: _Asked, who: Who, model: LanguageModel, hard: frozenset[str] | None = None
) -> _Looked:
    """Looks at one policy; `hard` are the prompts to be reached, by default its own unsolved."""
    plan, run, screen = asked.plan, asked.run, asked.screen
    spec = plan.model if who == "model" else plan.reference or ""
    looking = Looking(who, spec, plan, asked.task, run, screen)
    tokens = None
    if asked.probe.examples and local_path(spec) is not None:
        tokens = looking.entropies(model, asked.probe)  # type: ignore[arg-type]
    with kept(model, asked.replies, screen) as cached:
        rows = looking.draw(cached, asked.report)
        if rows is not None:
            rows = looking.reach(
                cached, asked.report, rows, unsolved(rows) if hard is None else hard
            )
        if cached.hits and run.info.resumed:
            total = cached.hits + cached.misses
            screen.note(f"{who}: {cached.hits} of {total} replies were there before")
    if rows is None or looking.failed():
        return _Looked(looking, None)
    told = [each for each in run.records("entropy", ProbeRow) if each.who == who]
    probe_rows = list({each.item_id: each for each in told}.values()) if tokens else []
    return _Looked(looking, Seen(rows, probe_rows, tokens))


def _close(asked: _Asked, ours: _Looked, theirs: _Looked | None) -> int:
    plan, run, screen = asked.plan, asked.run, asked.screen
    every = [ours] if theirs is None else [ours, theirs]
    calls = [call for each in every for call in each.looking.calls]
    kinds = lost_kinds(calls)
    lost = f"{len(kinds)} of {len(calls)} calls brought no reply ({lost_calls(calls)})"
    helps = remedy(kinds, f"to ask for them again: {again(run)}", budget="--max-tokens")
    if ours.seen is None or (theirs is not None and theirs.seen is None):
        run.close("failed", lost)
        screen.warn(f"{lost}; {helps}")
        screen.close({"calls": len(calls), "lost": len(kinds)}, run=run.path)
        return 1
    reference = None if theirs is None else theirs.seen
    told = diagnosis(plan, ours.seen, reference)
    found = Found(
        plan, told, ours.seen, reference, ours.looking.replies, asked.report, Cost.of(calls)
    )
    _keep(asked, told, ours.seen.rows, () if reference is None else reference.rows)
    summary = headline(found)
    run.finish(**summary)
    write_report(run, found)
    show(found, screen)
    if kinds:
        screen.warn(f"{lost}; {helps}")
    screen.close(summary, run=run.path, report=run.report_path, then=_then(plan, told))
    return 0


def _keep(
    asked: _Asked, told: Diagnosis, rows: Sequence[PromptRow], reference: Sequence[PromptRow]
) -> None:
    """The probes, every prompt and the whole. The last record of an item counts."""
    run, plan = asked.run, asked.plan
    for who, numbers in (("reference", told.reference), ("model", told.model)):
        if numbers is not None and numbers.tokens is not None and not run.done(who, "probe"):
            run.record("probe", _probe(asked, told, who, numbers.tokens), id=who)
    before = {row.id: row.read(PromptRow) for row in read_rows(run.path, "row")}
    for row in (*rows, *reference):
        name = row.item_id if row.who == "model" else f"reference/{row.item_id}"
        if before.get(name) == row:
            continue
        run.record("row", row, id=name)
        if row.who == "model":
            run.record("score", _scores(row, plan), id=name)
    if list(run.records("report", Diagnosis))[-1:] != [told]:
        run.record("report", told)


def _probe(asked: _Asked, told: Diagnosis, who: str, tokens: TokenEntropy) -> EntropyProbe:
    reference = told.entropy_reference.value if who == "model" else None
    return EntropyProbe(
        step=0,
        phase="diagnosis",
        kind="on_policy",
        probe_set_hash=asked.probe.hash,
        entropy=tokens,
        entropy_ref=reference,
        ratio=told.entropy_ratio.value if who == "model" else None,
        seed=asked.plan.seed,
    )


def _scores(row: PromptRow, plan: Plan) -> dict[str, Any]:
    """What `planish runs compare` pairs by."""
    at = {k: pass_at_k(row.n, row.c, k) if row.n >= k else None for k in {1, plan.pass_k}}
    return {
        **{f"pass_at_{k}": value for k, value in sorted(at.items())},
        "greedy": row.greedy,
        "zero_variance": row.zero_variance,
        "unsolved": row.c == 0 if row.n else None,
    }


def _then(plan: Plan, told: Diagnosis) -> list[str]:
    """What is useful next: to thaw it, to train it, or to hold it against what it was."""
    if not plan.is_local:
        return []
    held: tuple[str, ...] = ()
    if plan.reference is not None:
        held = ("--reference", plan.reference)
    if plan.reference_entropy is not None:
        held = ("--reference-entropy", str(plan.reference_entropy))
    if told.collapsed is None:
        words = ["diagnose", "--model", plan.model, "--reference", "hf:BEFORE", "--task", plan.task]
        return [command("planish", "reheat", *words, *typed(plan, Config, Config))]
    model = ("--model", plan.model.partition("?")[0])
    if told.collapsed:
        words = ["run", *model, *held, "--task", plan.task, *typed(plan, Config, ReheatConfig)]
        return [command("planish", "reheat", *words, "--out", "WARM")]
    words = ["loop", *model, "--task", plan.task, *typed(plan, Config, LoopConfig)]
    return [command("planish", "reheat", *words, "--out", "POLICY")]
