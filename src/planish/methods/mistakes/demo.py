"""The offline demonstration: known mistakes are named with evidence, and planted reasons found.

Mistakes that were made and labelled by hand, five of each category, on tasks that nothing was
fitted on. Each is run beside its reference, its failing inputs are made small, changes of one place
are tried, and rules name the category or abstain. Then prompts with one planted defect each, and
worlds where the prompt does not matter: a model by script is asked with the prompt as it is,
with an edit and with a placebo, and its code is run. All code runs in the sandbox.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods import Shown
from planish.methods.mistakes.claims import (
    Explained,
    Named,
    by_category,
    claims,
    coverage,
    guesses,
    macro_f1,
)
from planish.methods.mistakes.config import Config, Diagnosing, Intervening
from planish.methods.mistakes.data import (
    CATEGORIES,
    REASON_NAMES,
    REASONS,
    Category,
    Diagnosis,
    Evidence,
    Labelled,
    Observation,
    RunRecord,
    Search,
)
from planish.methods.mistakes.jobs import check_references
from planish.methods.mistakes.observing.observe import Known, observe_many
from planish.methods.mistakes.observing.shrinking import Answers
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.reasoning.arms import Outcome, intervene
from planish.methods.mistakes.reasoning.edits import RuleEditor
from planish.methods.mistakes.reasoning.failures import look
from planish.methods.mistakes.reasoning.planning import make_plans
from planish.methods.mistakes.repairing.search import repair
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.signals import signals
from planish.methods.mistakes.showing.reasons import Findings, effect_of
from planish.methods.mistakes.showing.reasons import verdict as verdict_on
from planish.parallel import one_thread
from planish.records import Record, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.stats import Claim, claim_rows, tally, verdict
from planish.tasks.sandbox.contract import Limits

if TYPE_CHECKING:
    from planish.runs.report import Report
    from planish.tasks.sandbox import Sandbox

__all__ = ["Case", "demo", "drawn"]

PER_CATEGORY = 5
"""Mistakes of each category."""

WORLDS = 3
"""Placebo worlds beside the six planted defects."""

# The clock decides nothing: a bound on the changes alone gives the same numbers every time.
_DIAGNOSING = Diagnosing(inputs=40, failing=6, mutants=200, repair_seconds=600)
_MISTAKES, _MISLED, _PROMPTS = "mistakes.jsonl", "misled.jsonl", "prompts.jsonl"
_CLAIM = (
    "What is wrong in generated code can be told from what running it shows, and why it is wrong "
    "from what changes when one thing in the prompt is changed. A placebo tells luck from effect."
)
_LIMITS = (
    "Small tasks, mistakes made by hand, and a model by script: this shows the "
    "mechanism, not what a real model's failures look like. Intervals are over tasks."
)
_NO_WALLS = (
    "no sandbox with walls can be had here, so the demonstration's own code runs in plain "
    "processes with limits; code of a model is not run like that unless you say so"
)


class Case(Record):
    """A known mistake and all that was found.

    Args:
        mistake: with its label, which nothing below has seen.
        evidence: that `diagnosis` refers to by number.
    """

    mistake: Labelled
    observation: Observation
    search: Search
    evidence: tuple[Evidence, ...]
    diagnosis: Diagnosis

    @property
    def named(self) -> Named:
        """As the claims take it."""
        return Named(
            self.mistake.task_id,
            self.mistake.category,
            None if self.diagnosis.abstained else self.diagnosis.category,
            self.observation.exception,
        )


@dataclass(frozen=True)
class _Found:
    """All there is to tell."""

    level: str
    cases: tuple[Case, ...]
    explained: tuple[Explained, ...]
    findings: Findings

    @property
    def named(self) -> list[Named]:
        return [case.named for case in self.cases]


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Names known mistakes by rules, and finds planted reasons by changing the prompt."""
    from planish.tasks.sandbox import Sandbox

    dials = Config.tiny().intervening.model_copy(update={"seed": seed})
    settings = {"per_category": PER_CATEGORY, "worlds": WORLDS, **_DIAGNOSING.model_dump()}
    settings |= dials.model_dump()
    with (
        Run.create("mistakes", "demo", settings, seed=seed, root=root, stage="demo") as run,
        one_thread(),
        Sandbox(accept="fork") as box,
    ):
        screen.note(f"run {run.path}")
        if box.level == "fork":
            screen.warn(_NO_WALLS)
        cases = _diagnosed(box, run, screen, seed)
        outcomes, planted = _explained(box, dials, run, screen)
        findings = Findings(
            tasks=tuple(each.task_id for each in outcomes),
            reports=sum((each.reports for each in outcomes), ()),
            interventions=sum((each.interventions for each in outcomes), ()),
            level=box.level,
        )
        explained = tuple(
            Explained(each.task_id, planted.get(each.task_id), findings.holds(each.task_id))
            for each in outcomes
        )
        found = _Found(box.level, tuple(cases), explained, findings)
        told = claims(found.named, explained)
        summary = _summary(found, told)
        run.finish(**summary)
        report = _report(run, found, told)
        report.save(run.report_path)
    _show(screen, found, told)
    kept = run.path / "artifacts"
    return Shown(
        report=report,
        summary=summary,
        folder=run.path,
        then=(
            command("planish", "mistakes", "diagnose", kept / _MISTAKES, "--tasks", "own:plain"),
            command(
                *("planish", "mistakes", "reasons", kept / _MISLED),
                *("--tasks", kept / _PROMPTS, "--model", "planted:defects"),
            ),
        ),
    )


# ---- mistakes --------------------------------------------------------------------------------


def drawn(made: Iterable[Labelled], per_category: int) -> list[Labelled]:
    """So many of each category, from as many tasks as there are: the same ones every time.

    Args:
        made: mistakes to draw from; their order does not matter.
        per_category: how many of each; fewer where there are not enough.
    """
    by_category: dict[Category, list[Labelled]] = {category: [] for category in CATEGORIES}
    for each in sorted(made, key=_order):
        by_category[each.category].append(each)
    used: dict[str, int] = {}
    chosen = []
    for left in by_category.values():
        for _ in range(min(per_category, len(left))):
            each = min(left, key=lambda one: used.get(one.task_id, 0))
            left.remove(each)
            used[each.task_id] = used.get(each.task_id, 0) + 1
            chosen.append(each)
    return chosen


def _order(mistake: Labelled) -> str:
    text = f"{mistake.task_id}\0{mistake.category}\0{mistake.code}"
    return hashlib.sha256(text.encode()).hexdigest()


def _diagnosed(box: Sandbox, run: Run, screen: Screen, seed: int) -> list[Case]:
    """Every mistake with evidence and diagnosis; each is kept."""
    tasks = {task.task_id: task for task in own_tasks("plain") if task.split == "report"}
    limits = Limits()
    references = check_references(tasks.values(), box, limits)
    mistakes = drawn((one for one in hand_made() if one.task_id in tasks), PER_CATEGORY)
    pairs = [
        (
            tasks[each.task_id],
            RunRecord(task_id=each.task_id, model=each.by, run=number, code=each.code),
        )
        for number, each in enumerate(mistakes)
    ]
    write_jsonl(run.artifact(_MISTAKES), [made for _, made in pairs])
    with screen.progress("mistakes are run beside their references", len(pairs)) as step:
        observations = observe_many(
            pairs,
            box,
            dials=_DIAGNOSING,
            limits=limits,
            seed=seed,
            known=Known(references, Answers(box, limits)),
            progress=lambda *_: step(),
        )
    cases = []
    with screen.progress("repairs are sought", len(pairs)) as step:
        for mistake, (task, made), observation in zip(mistakes, pairs, observations, strict=True):
            bounds = references.limits(task)
            search = repair(task, made.code, observation, box, dials=_DIAGNOSING, limits=bounds)
            evidence = signals(task, made.code, observation, search)
            case = Case(
                mistake=mistake,
                observation=observation,
                search=search,
                evidence=evidence,
                diagnosis=rank(made.key, evidence, threshold=_DIAGNOSING.threshold),
            )
            run.record("case", case, id=made.key)
            cases.append(case)
            step()
    return cases


# ---- reasons ---------------------------------------------------------------------------------


def _explained(
    box: Sandbox, dials: Intervening, run: Run, screen: Screen
) -> tuple[list[Outcome], dict[str, Any]]:
    """What came of every arm, and task -> the reason that was planted."""
    from planish.methods.mistakes.own.defects import ScriptedCoder, defects, placebos

    first = {each.reason: each for each in reversed(defects()) if each.task.split == "report"}
    chosen = [first[reason] for reason in REASONS]
    worlds = [each for each in placebos() if each.task.split == "report"][:WORLDS]
    pairs = [(each.task, [each.wrong]) for each in chosen]
    pairs += [(each.task, list(each.wrong)) for each in worlds]
    write_jsonl(run.artifact(_PROMPTS), [task for task, _ in pairs])
    write_jsonl(
        run.artifact(_MISLED),
        [RunRecord(task_id=task.task_id, code=codes[0]) for task, codes in pairs],
    )
    references = check_references([task for task, _ in pairs], box, Limits())
    outcomes, coder = [], ScriptedCoder()
    with screen.progress("prompts are changed, and code drawn again", len(pairs)) as step:
        failures = look(pairs, box, references, seed=dials.seed)
        for plan in make_plans(failures, RuleEditor(), box, references):
            (outcome,) = intervene([plan], coder, box, references, dials)
            for arm in outcome.interventions:
                run.record("intervention", arm, id=f"{arm.task_id}|{arm.arm}/{arm.reason}")
            for report in outcome.reports:
                run.record("reason", report, id=f"{report.task_id}|{report.reason}")
            outcomes.append(outcome)
            step()
    return outcomes, {each.task_id: each.reason for each in chosen}


# ---- what is shown ---------------------------------------------------------------------------


def _effects(found: _Found) -> list[tuple[str, str, str, str]]:
    """(task, planted, found, effect of what holds)."""
    rows: list[tuple[str, str, str, str]] = []
    for each in found.explained:
        held = [
            f"{one.reason} {effect_of(one)}"
            for one in found.findings.reports
            if one.task_id == each.task_id and one.holds
        ]
        planted = each.planted or "nothing"
        told = verdict_on(found.findings, each.task_id)
        rows.append((each.task_id.removeprefix("own/"), planted, told, "; ".join(held)))
    return rows


_BY_CATEGORY = ("category", "", "mistakes", "named", "silent", "falsely named")
_EFFECTS = ("task", "planted", "found", "pass rate after the edit - after a placebo")
_CLAIMED = ("claim, fixed before looking", "compared", "number", "held")


def _show(screen: Screen, found: _Found, told: Sequence[Claim]) -> None:
    tasks = len({each.task_id for each in found.named})
    screen.table(
        _BY_CATEGORY,
        [(row[0], row[1], *map(str, row[2:])) for row in by_category(found.named)],
        title=f"{len(found.cases)} known mistakes of {tasks} tasks, sandbox {found.level}",
    )
    screen.numbers(guesses(found.named), title="share of all that is named rightly")
    screen.table(_EFFECTS, _effects(found), title="one thing in the prompt is changed", text=True)
    screen.table(
        (_CLAIMED[0], *_CLAIMED[2:]),
        claim_rows(told, compared=False),
    )
    screen.say(verdict(told))
    screen.say(_LIMITS)


def _report(run: Run, found: _Found, told: Sequence[Claim]) -> Report:
    from planish.runs.report import Report

    page = Report(
        "What is wrong in code, and why",
        f"{len(found.cases)} known mistakes and {len(found.explained)} prompts, "
        f"sandbox {found.level}",
        claim=_CLAIM,
        note=_LIMITS if found.level != "fork" else f"{_LIMITS} Here {_NO_WALLS}.",
        run=run,
        tiny=True,
    )
    page.numbers(
        {"macro-F1": macro_f1(found.named), "coverage": coverage(found.named)}
        | {f"named rightly, {name}": share for name, share in guesses(found.named).items()}
    )
    page.section("Categories", "Of five mistakes each: how many are named as the label says.")
    page.table(_BY_CATEGORY, by_category(found.named))
    page.section("Reasons", "Each planted defect is one of the six; worlds have nothing to find.")
    page.table(_EFFECTS, _effects(found), align="llll")
    page.section("Claims, fixed before looking")
    page.table(
        _CLAIMED,
        claim_rows(told),
    )
    page.section("Every mistake", "Its label, what was said of it, and why.")
    for case in found.cases:
        page.details(_headline(case), _evidence(case))
    page.section("Every edit")
    for arm in found.findings.interventions:
        if arm.reason is not None and arm.arm == "edit":
            told_of = arm.leak_check or f"{arm.passes} of {arm.n - arm.unscored} pass"
            name = f"{arm.task_id}: {REASON_NAMES[arm.reason]}: {told_of}"
            page.details(name, arm.edit_diff)
    return page


def _headline(case: Case) -> str:
    said = case.named.rules or "abstained"
    return f"{case.mistake.task_id}: {case.mistake.category}, said {said}"


def _evidence(case: Case) -> str:
    lines = [case.mistake.note, *(f"{one.category}: {one.note}" for one in case.evidence)]
    for seen in case.observation.failing[:1]:
        got = seen.call.exception if seen.call.value is None else seen.call.value
        lines += [
            "",
            f"input     {seen.arguments}",
            f"expected  {seen.expected}",
            f"got       {got}",
        ]
    lines += ["", *(one.diff for one in case.search.repairs[:1])]
    return "\n".join(lines).strip()


def _summary(found: _Found, told: Sequence[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    names = ("right", "right_exception", "right_majority")
    return {
        **dict(zip(names, guesses(found.named).values(), strict=True)),
        "macro_f1": macro_f1(found.named),
        "coverage": coverage(found.named),
        "mistakes": len(found.cases),
        "named": {row[0]: row[3] for row in by_category(found.named)},
        "repaired": sum(bool(case.search.repairs) for case in found.cases),
        "prompts": len(found.explained),
        "planted": sum(each.planted in each.found for each in found.explained if each.planted),
        "sandbox_level": found.level,
        **tally(told),
    }
