"""One measurement of the gap, from its plan to its last line.

code = measure_gap(make_plan(given, Config()), None, Path("runs"), Screen(), force=False)
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from planish.judges.recording import below_floor, lost_calls, lost_kinds, remedy
from planish.judges.resumable import again, kept, resumable
from planish.methods.s2j.data import Item, Items
from planish.methods.s2j.measuring.drawing import Drawing
from planish.methods.s2j.measuring.estimating import (
    Samples,
    against,
    estimate,
    solved_questions,
)
from planish.methods.s2j.measuring.gap_pages import show, write_report
from planish.methods.s2j.measuring.gap_plan import Base, Plan, keep_questions, load_base
from planish.methods.s2j.measuring.gap_tables import Measured, headline
from planish.methods.s2j.measuring.intervening import (
    intervention_report,
    make_interventions,
    plan_interventions,
    refuses_to_go_on,
)
from planish.methods.s2j.measuring.records import (
    GapReport,
    GapRow,
    Intervention,
    JudgeSample,
    Purpose,
    SolveSample,
)
from planish.models import load
from planish.models.base import Steps
from planish.records import BadInput, Cost, Record, Sampling
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.rows import read_rows

__all__ = ["AGAIN", "FEWEST", "measure_gap"]

AGAIN = "planish s2j gap --resume"
FEWEST = 30
"""Solved questions that a gap needs: below, its interval is wide and a little too narrow still."""


def measure_gap(plan: Plan, folder: Path | None, runs: Path, screen: Screen, *, force: bool) -> int:
    """Lets a model solve and judge, and tells how far the two are apart.

    Args:
        plan: what is measured, and how.
        folder: the run to go on with; None starts one.
        runs: where runs are.
        screen: shows it.
        force: tells a gap of fewer than `FEWEST` questions, too.

    Returns:
        The exit code: 1 where too many calls brought no reply.

    Raises:
        BadInput: items, template, base or a model that do not fit, or too few solved questions.
    """
    items, template = plan.items(), plan.solving_template()
    _tell_dropped(items, screen)
    template.render(items.items[0].case, (0, 1))  # what does not render is told before a call
    base = None if plan.base is None else load_base(Path(plan.base), plan)
    if base is not None:
        _tell_changes(plan, base, screen)
    model = load(plan.model)
    plan = plan.model_copy(
        update={
            "template_hash": template.hash,
            "revision": model.revision,
            "base_sha256": "" if base is None else base.questions.sha256,
        }
    )
    if folder is None:
        slug = f"gap-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
        run = Run.create(*("s2j", slug, plan), seed=plan.seed, root=runs, stage="gap", again=AGAIN)
    else:
        run = Run.resume(folder, plan)
    with run:
        replies = plan.cache or run.artifact("replies.jsonl")
        with resumable(run, screen), kept(model, replies, screen) as cached:
            measuring = _Measuring(plan, run, screen, Drawing(cached, items, template), base)
            complete = measuring.draw(force=force)
            if cached.hits and folder is not None:
                total = cached.hits + cached.misses
                screen.note(f"{cached.hits} of {total} replies were there before")
        return _close(measuring, complete)


def _tell_dropped(items: Items, screen: Screen) -> None:
    for why, ids in items.dropped.items():
        screen.warn(f"{len(ids)} left out: {why}, the first is {ids[0]}")
    unknown = len(items) - len(items.with_target)
    if unknown:
        screen.warn(f"{unknown} of {len(items)} pairs have no gold answer: their verdicts count")


def _tell_changes(plan: Plan, base: Base, screen: Screen) -> None:
    names = ("template", "tau", "solves", "judgments", "temperature", "max_tokens")
    changed = [name for name in names if getattr(plan, name) != getattr(base.plan, name)]
    if changed:
        told = ", ".join(f"{name} {getattr(base.plan, name)}" for name in changed)
        screen.warn(f"the base model was measured with {told}")


@dataclass
class _Measuring:
    """What is drawn so far, and where it is kept."""

    plan: Plan
    run: Run
    screen: Screen
    drawing: Drawing
    base: Base | None
    solves: list[SolveSample] = field(default_factory=list)
    judgments: list[JudgeSample] = field(default_factory=list)
    made: list[Intervention] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def items(self) -> Items:
        return self.drawing.items

    @property
    def samples(self) -> Samples:
        return Samples(self.items.items, self.solves, self.judgments)

    def failed(self) -> bool:
        """Whether more calls were lost than the floor allows."""
        lost, calls = len(lost_kinds(self.drawing.calls)), len(self.drawing.calls)
        return below_floor(lost, calls, self.plan.min_coverage)

    def draw(self, *, force: bool) -> bool:
        """Everything that the model is asked; stops early where most calls are lost."""
        known, every = self.items.with_target, self.items.items
        one_right = [item for item in known if item.slice == "one_right"]
        plan, ask = self.plan, self.drawing
        self._solve(one_right, "choose", plan.choosing)
        if self.failed():
            return False
        self._check_questions(force)
        self._solve(known, "report", plan.reporting)
        self._solve(known, "greedy", plan.greedy)
        if self.failed():
            return False
        for greedy, sampling in ((False, plan.judging), (True, plan.greedy)):
            with self._progress("judges", 2 * len(every) * sampling.n):
                self.judgments += ask.judgments(every, sampling, greedy=greedy)
        self._keep_judgments()
        if self.failed():
            return False
        self._check_form()
        asked = one_right[: plan.interventions]
        planned, self.left_out = plan_interventions(ask, asked, self.judgments)
        if why := refuses_to_go_on(ask, planned, plan.greedy):
            self.left_out["the server does not go on with a reply that was begun"] = len(planned)
            self.screen.warn(
                f"whether verdicts follow their solution is not told: the server does not go on "
                f"with a reply that was begun ({why})"
            )
            planned = []
        with self._progress("goes on from other solutions", len(planned)):
            self.made = make_interventions(ask, planned, plan.greedy)
        for each in self.made:
            if each.why != "transport":
                self._keep("intervention", f"{each.item_id}/{each.order}/{each.kind}", each)
        return not self.failed()

    def _solve(self, asked: Sequence[Item], purpose: Purpose, sampling: Sampling) -> None:
        different = len({item.example.prompt for item in asked})
        with self._progress("solves", different * sampling.n):
            found = self.drawing.solves(asked, sampling, purpose)
        self.solves += found
        for each in found:
            if each.finish != "error":  # a lost call is not finished
                self._keep("solve", f"{each.item_id}/{purpose}/{each.sample_idx}", each)

    def _keep_judgments(self) -> None:
        for each in self.judgments:
            if each.came:
                number = "greedy" if each.greedy else each.sample_idx
                self._keep("judge", f"{each.item_id}/{each.order}/{number}", each)

    def _keep(self, kind: str, id: str, record: Record) -> None:
        if not self.run.done(id, kind):
            self.run.record(kind, record, id=id)

    @contextlib.contextmanager
    def _progress(self, what: str, total: int) -> Iterator[None]:
        """A bar that the drawing's calls move."""
        with self.screen.progress(f"{self.plan.model} {what}", total) as step:
            self.drawing.watcher = Steps(step)
            yield
        self.drawing.watcher = None

    def _check_questions(self, force: bool) -> None:
        """Refuses a gap over so few questions that nothing would follow from it."""
        own = solved_questions(self.samples, self.plan.tau)
        keep_questions(self.run, self.plan, own)
        asked = len({each.item_id for each in self.solves})
        share = "all" if self.plan.tau == 1 else f"{self.plan.tau:.0%} of"
        what = f"{len(own)} of {asked} questions are solved in {share} {self.plan.solves} draws"
        if not own:
            raise BadInput(
                f"{what}: there is no gap to measure",
                where=self.plan.source,
                fix=self._cut() or "take easier questions, or a lower --tau in a new run",
            )
        frozen = own if self.base is None else self.base.frozen.ids
        here = [item.id for item in self.items.of("one_right") if item.id in frozen]
        if self.base is not None and not here:
            raise BadInput(
                f"none of the {len(frozen)} questions that the base model solves is here",
                where=f"--base {self.plan.base}",
                fix="measure both models on the same items",
            )
        few = what if len(own) < FEWEST else f"{len(here)} questions of the base model are here"
        if min(len(own), len(here)) < FEWEST and not force:
            raise BadInput(
                f"{few}, and a gap needs {FEWEST}",
                where=self.plan.source,
                fix=self._cut() or f"raise --limit in a new run, or: {again(self.run)} --force",
            )

    def _cut(self) -> str:
        """What helps where most solutions were not finished; "" where they were."""
        cut, drawn = sum(each.finish == "length" for each in self.solves), len(self.solves)
        if 2 * cut <= drawn:
            return ""
        budget = self.plan.max_tokens
        return f"{cut} of {drawn} solutions were cut: raise --max-tokens ({budget}) in a new run"

    def _check_form(self) -> None:
        """Refuses a model that never writes a solution between the marks."""
        came = [each for each in self.judgments if each.came]
        if came and all(each.solution is None for each in came):
            mark = (self.drawing.template.solution or ("", ""))[1].strip()
            raise BadInput(
                f"none of {len(came)} judgments holds a solution that ends with {mark}, the first "
                f"is of item {came[0].item_id}: {came[0].status}",
                where=self.plan.model,
                fix="raise --max-tokens, or choose another --template in a new run",
            )


def _close(measuring: _Measuring, complete: bool) -> int:
    run, plan, screen = measuring.run, measuring.plan, measuring.screen
    calls = measuring.drawing.calls
    kinds = lost_kinds(calls)
    lost = f"{len(kinds)} of {len(calls)} calls brought no reply ({lost_calls(calls)})"
    helps = remedy(kinds, f"to ask for them again: {again(run)}", budget="--max-tokens")
    if not complete:
        run.close("failed", lost)
        screen.warn(f"{lost}; {helps}")
        screen.close({"calls": len(calls), "lost": len(kinds)}, run=run.path)
        return 1
    found = _measured(measuring)
    _keep_rows(run, found)
    summary = headline(found)
    run.finish(**summary)
    write_report(run, found)
    show(found, screen)
    if kinds:
        screen.warn(f"{lost}; {helps}")
    screen.close(
        summary,
        run=run.path,
        report=run.report_path,
        then=_then(run, plan),
    )
    return 0


def _then(run: Run, plan: Plan) -> list[str]:
    """What is useful next: to close the gap, or to see what better asking does."""
    where, model = plan.source_option, plan.model.partition("?")[0]
    if not plan.model.startswith(("hf:", "embedded:")) or plan.base is not None:
        return [command("planish", "s2j", "baselines", "--model", plan.model, *where)]
    taught = ("--arm", "additive", "--out", "JUDGE")
    return [
        command("planish", "s2j", "train", "--model", model, *where, *taught),
        command(
            *("planish", "s2j", "gap", "--model", "hf:JUDGE", *where, *plan.settings_typed()),
            *("--base", run.path),
        ),
    ]


def _keep_rows(run: Run, found: Measured) -> None:
    """Every item, and the whole. The last record of an item counts: a resume may know more."""
    before = {row.id: row.read(GapRow) for row in read_rows(run.path, "row")}
    for row in found.rows:
        if before.get(row.item_id) == row:
            continue
        run.record("row", row, id=row.item_id)
        scores = {
            "judge_rate": row.judge_rate,
            "both_right": row.both_right,
            "solve_rate": row.solve_rate,
        }
        run.record("score", scores, id=row.item_id)
    reports = [row.read(GapReport) for row in read_rows(run.path, "report")]
    if reports[-1:] != [found.report]:
        run.record("report", found.report)


def _measured(measuring: _Measuring) -> Measured:
    plan, base = measuring.plan, measuring.base
    samples = measuring.samples
    report, rows = estimate(
        samples, model=plan.model, config=plan, frozen=None if base is None else base.frozen
    )
    made, left_out = measuring.made, measuring.left_out
    report = report.model_copy(
        update={
            "interventions": intervention_report(made, left_out=left_out, seed=plan.seed),
            "versus": None
            if base is None
            else against(rows, base.rows, base.frozen, seed=plan.seed),
        }
    )
    return Measured(
        plan=plan,
        report=report,
        rows=rows,
        samples=samples,
        made=made,
        dropped={why: len(ids) for why, ids in measuring.items.dropped.items()},
        unknown=dict(measuring.items.unknown),
        cost=Cost.of(measuring.drawing.calls),
    )
