"""The offline demonstration: a gap between solving and judging, and what closes it.

The embedded reasoner solves chains of three digits and misjudges a third of what it solves. Two
short trainings begin with it and differ in the reward alone: `additive` rewards its solution and
its verdict, `solve_only` its solution. All three are measured on the same questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from planish.methods import Shown
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Items, task_items
from planish.methods.s2j.learning.course import Course, curves, take
from planish.methods.s2j.measuring.probe import (
    CELLS,
    CLAIMS_READ,
    RATES,
    Claim,
    Probe,
    claims,
    num_calls,
    probe,
)
from planish.methods.s2j.method import Arm
from planish.parallel import one_thread
from planish.records import write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.report import Report
from planish.tasks.load import load_task

__all__ = ["demo"]

_MODEL, _TASK = "embedded:reasoner", "chain:3"
_QUESTIONS, _STEPS = 200, 80
_ARMS: tuple[Arm, ...] = ("additive", "solve_only")
_NAMES = {"before": "before", "additive": "additive", "solve_only": "solve only"}
_CLAIM = (
    "A model that solves a question does not thereby judge it. Rewarding the solution and the "
    "verdict of one output closes the gap; rewarding the solution alone does not."
)
_LIMITS = (
    "Intervals are over questions. Each arm was trained once, so they say nothing about another "
    "training; the room's README has several bases and seeds. A tiny model shows the mechanism, "
    "not the paper's number."
)


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Measures the embedded reasoner, trains it by two rewards, and measures what came of it."""
    config = Config.tiny().model_copy(update={"solves": 4, "seed": seed})
    plan = {"model": _MODEL, "task": _TASK, "limit": _QUESTIONS, "steps": _STEPS}
    plan |= config.model_dump()
    with Run.create("s2j", "demo", plan, seed=seed, root=root, stage="demo") as run, one_thread():
        screen.note(f"run {run.path}")
        items = task_items(
            load_task(_TASK),
            split="report",
            limit=_QUESTIONS,
            both_wrong=config.both_wrong,
            seed=seed,
        )
        probes = {"before": _measure("before", _MODEL, items, config, None, run, screen)}
        courses: dict[Arm, Course] = {}
        for arm in _ARMS:
            taken = take(arm, model=_MODEL, task=_TASK, steps=_STEPS, run=run, screen=screen)
            courses[arm] = taken
            model, base = f"hf:{taken.checkpoint}", probes["before"]
            probes[arm] = _measure(arm, model, items, config, base, run, screen)
        told = claims(probes["before"], probes["additive"], probes["solve_only"])
        summary = _summary(probes, told)
        run.finish(**summary)
        report = _report(run, probes, courses, told)
        report.save(run.report_path)
    _show(screen, probes, told)
    judge = courses["additive"].checkpoint
    return Shown(
        report=report,
        summary=summary,
        folder=run.path,
        then=(
            command(
                *("planish", "s2j", "gap", "--model", f"hf:{judge}"),
                *("--task", _TASK, "--preset", "tiny"),
            ),
        ),
    )


def _measure(
    name: str,
    model: str,
    items: Items,
    config: Config,
    base: Probe | None,
    run: Run,
    screen: Screen,
) -> Probe:
    """One model; every draw, row and number of it is kept under its name."""
    title = f"{_NAMES[name]}: solves and judges"
    with screen.progress(title, num_calls(items, config)) as step:
        frozen = None if base is None else base.questions
        found = probe(f"{model}?batch_size=256", items, config, frozen=frozen, step=step)
    write_jsonl(run.artifact(f"{name}/solves.jsonl"), found.samples.solves)
    write_jsonl(run.artifact(f"{name}/judgments.jsonl"), found.samples.judgments)
    write_jsonl(run.artifact(f"{name}/interventions.jsonl"), found.made)
    for row in found.rows:
        run.record("row", row, id=f"{name}/{row.item_id}")
    run.record("report", found.report, id=name)
    return found


def _summary(probes: Mapping[str, Probe], told: list[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    return {
        **{f"{rate}_{name}": found.rates[rate] for rate in RATES for name, found in probes.items()},
        **{claim.key: claim.difference for claim in told},
        "claims": {claim.key: claim.held for claim in told},
        "claims_held": sum(claim.held for claim in told),
        "num_claims": len(told),
        "num_frozen": probes["before"].report.num_frozen,
        "steps": _STEPS,
    }


def _numbers(probes: Mapping[str, Probe]) -> list[tuple[Any, ...]]:
    """A row per rate, a column per model."""
    return [(RATES[rate], *(found.rates[rate] for found in probes.values())) for rate in RATES]


def _cells(probes: Mapping[str, Probe]) -> list[tuple[Any, ...]]:
    """The tables of solution and verdict, side by side."""
    shares = [found.cells for found in probes.values()]
    return [
        (f"solved {solution}, judged {verdict}", *(each[name] for each in shares))
        for name, (solution, verdict) in CELLS.items()
    ]


def _show(screen: Screen, probes: Mapping[str, Probe], told: list[Claim]) -> None:
    columns, report = [_NAMES[name] for name in probes], probes["before"].report
    screen.table(
        (f"after {_STEPS} steps of GRPO", *columns),
        [tuple(map(str, row)) for row in _numbers(probes)],
        title=f"the embedded reasoner, {report.num_one_right} chains of 3 digits, both orders; "
        f"{report.num_frozen} it solves",
    )
    screen.table(
        ("", *columns),
        [tuple(map(str, row)) for row in _cells(probes)],
        title="judgments by own solution and verdict, one candidate right",
    )
    screen.table(
        ("claim, fixed before looking", "compared", "paired difference", "held"),
        [
            (claim.text, claim.compared, claim.shown, "yes" if claim.held else "NO")
            for claim in told
        ],
        title="what the two rewards changed, on the same questions",
    )
    screen.say(_verdict(probes, told))
    screen.say(_LIMITS)


def _verdict(probes: Mapping[str, Probe], told: list[Claim]) -> str:
    """What came of it, also where that is not what was claimed."""
    gaps = {name: found.rates["gap"] for name, found in probes.items()}
    held = sum(claim.held for claim in told)
    failed = [claim.text for claim in told if not claim.held]
    text = (
        f"It misjudged {gaps['before']} of what it solves. With solution and verdict rewarded that "
        f"is {gaps['additive']}, with the solution alone {gaps['solve_only']}. {held} of "
        f"{len(told)} claims held"
    )
    return f"{text}." if not failed else f"{text}. It did NOT hold that {'; that '.join(failed)}."


def _report(
    run: Run, probes: Mapping[str, Probe], courses: Mapping[Arm, Course], told: list[Claim]
) -> Report:
    from planish.runs.plots import interval_plot

    first, columns = probes["before"].report, [_NAMES[name] for name in probes]
    report = Report(
        "s2j: it can solve it, can it judge it?",
        subtitle="Solve-to-Judge, arXiv 2509.22099",
        claim=_CLAIM,
        note=_LIMITS,
        run=run,
        tiny=True,
    )
    gaps = {f"gap {_NAMES[name]}": found.rates["gap"] for name, found in probes.items()}
    report.numbers({**gaps, "additive minus before": told[0].difference})
    report.section(
        "The gap, before and after",
        f"{_verdict(probes, told)}\n\nThe gap is the share of wrong verdicts on the "
        f"{first.num_frozen} of {first.num_one_right} questions that the reasoner solved in all of "
        f"{first.solves} draws before any training; {first.judgments} judgments in either order.",
    )
    report.figure(
        interval_plot(
            [
                (f"{_NAMES[name]}: {words}", found.rates[rate], None)
                for rate, words in (("gap", "gap"), ("inner_gap", "own solution right"))
                for name, found in probes.items()
            ]
        ),
        "Wrong verdicts: on what the reasoner solves, and where a judgment's own solution is "
        "right. 95 % intervals over questions.",
        "Dots with intervals for both gaps before training and after either reward",
    )
    _add_curves(report, courses)
    report.section(
        "Claims, fixed before looking",
        f"Differences are paired over the same questions. {CLAIMS_READ}",
    )
    report.table(
        ("claim", "compared", "difference", "held"),
        [
            (claim.text, claim.compared, claim.shown, "yes" if claim.held else "NO")
            for claim in told
        ],
    )
    report.section(
        "All numbers",
        "Copies are judgments whose own solution answers as a candidate does where both are wrong. "
        "A verdict follows if it names the candidate whose solution was put in the place of the "
        "judge's own.",
    )
    report.table(("", *columns), _numbers(probes))
    report.table(
        ("own solution, verdict", *columns),
        _cells(probes),
        "Shares of the judgments with a solution and a verdict, one candidate right. A right "
        "verdict below a wrong solution is luck.",
    )
    return report


def _add_curves(report: Report, courses: Mapping[Arm, Course]) -> None:
    rollouts = sum(course.num_rollouts for course in courses.values())
    report.section(
        "What was learned, step by step",
        f"{_STEPS} steps of GRPO by either reward, from the same weights, on the same questions in "
        f"the same order: {rollouts:,} rollouts in all, none of them on a question above.",
    )
    for figure, caption in curves(list(courses.values())):
        report.figure(figure, caption, caption)
