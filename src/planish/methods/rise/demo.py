"""The offline demonstration: can the metrics be trusted, what is a tiny judge worth, can it learn?

Four scripted judges carry a known fault each; the metrics must find every one of them again.
Then the embedded reasoner, which solves digit chains, is asked to judge them; and the embedded
apprentice is taught to judge in two stages, beside SFT alone.
"""

from __future__ import annotations

from pathlib import Path

from planish.judges import Agreement, Case, agreement
from planish.judges.pages import add_agreement, headline
from planish.judges.pairs import task_cases
from planish.judges.planted import Finding, planted_cases, planted_judges, recovered
from planish.methods import Shown
from planish.methods.rise.config import Config
from planish.methods.rise.learning.lesson import Lesson, teach
from planish.methods.rise.learning.lesson_pages import add_lesson, lesson_numbers, show_lesson
from planish.models import LanguageModel, load
from planish.models.base import Steps
from planish.records import Sampling, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.report import Report
from planish.stats import Estimate, ratio
from planish.tasks.chain import ChainTask

__all__ = ["demo"]

_PLANTED, _CHAINS = 400, 200
_CLAIM = (
    "A judge that follows the slot, the length or a coin is found out by asking in both orders; "
    "a model that solves a task does not thereby judge it, but it can be taught to."
)


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Plants four faults and finds them again, measures the embedded reasoner, teaches a judge."""
    config = Config.tiny().model_copy(update={"seed": seed})
    plan = {"planted_cases": _PLANTED, "chains": _CHAINS, **config.model_dump()}
    with Run.create("rise", "demo", plan, seed=seed, root=root, stage="demo") as run:
        screen.note(f"run {run.path}")
        planted = _find_planted(screen, seed)
        task = ChainTask(num_operands=3)
        cases = task_cases(task, split="report", limit=_CHAINS, seed=seed)
        write_jsonl(run.artifact("pairs.jsonl"), cases)
        model = load("embedded:reasoner?batch_size=100")
        result, solved = _measure(model, task, cases, config, run, screen)
        lesson = teach(home=run.artifact("lesson/sft").parent, seed=seed, screen=screen)
        found = [finding.found for rows in planted.values() for finding in rows.values()]
        summary = {
            **headline(result),
            "solve_rate": solved,
            "planted_numbers": len(found),
            "planted_found": sum(found),
            **lesson_numbers(lesson),
        }
        run.finish(**summary)
        report = _report(run, planted, result, solved, lesson, seed)
        report.save(run.report_path)
    _show(screen, planted, result, solved)
    show_lesson(lesson, screen)
    screen.say("A tiny model shows the mechanism, not the paper's number.")
    return Shown(
        report=report,
        summary=summary,
        folder=run.path,
        then=(
            command(
                *("planish", "rise", "evaluate", "--model", f"hf:{lesson.checkpoint}"),
                *("--before", "embedded:apprentice", "--preset", "tiny"),
                *("--pairs", run.artifact("pairs.jsonl")),
            ),
        ),
    )


def _find_planted(screen: Screen, seed: int) -> dict[str, dict[str, Finding]]:
    """Every fault's numbers, with intervals that hold jointly."""
    cases = planted_cases(_PLANTED, seed)
    judges = planted_judges(cases, seed=seed)
    numbers = sum(len(judge.expected) for judge in judges)
    # Bonferroni: with twenty 95 % intervals one would miss by chance alone.
    confidence = 1 - 0.05 / numbers
    findings = {}
    with screen.progress("planting faults", len(judges)) as step:
        for judge in judges:
            judgments = judge.judge(seed).judgments(cases)
            result = agreement(cases, judgments, seed=seed, confidence=confidence)
            findings[judge.name] = recovered(result, judge.expected)
            step()
    return findings


def _measure(
    model: LanguageModel,
    task: ChainTask,
    cases: list[Case],
    config: Config,
    run: Run,
    screen: Screen,
) -> tuple[Agreement, Estimate]:
    """The reasoner as a judge in both orders, and as a solver of the same questions."""
    with screen.progress("the embedded reasoner judges", 2 * len(cases)) as step:
        judgments = config.judge(model).judgments(
            cases,
            on_judgment=lambda judgment: run.record("judgment", judgment, id=judgment.case_id),
            watcher=Steps(step),
        )
    sampling = Sampling(temperature=config.temperature or 0, max_tokens=16, seed=config.seed)
    with screen.progress("the embedded reasoner solves", len(cases)) as step:
        solutions = model.generate(
            [case.example.prompt for case in cases], sampling, watcher=Steps(step)
        )
    right = [
        int(task.verify(case.example, solution.text).score == 1)
        for case, (solution,) in zip(cases, solutions, strict=True)
    ]
    return agreement(cases, judgments, seed=config.seed), ratio(right, [1] * len(right))


def _rows(planted: dict[str, dict[str, Finding]]) -> list[tuple[str, str, Finding]]:
    return [
        (name, metric.replace("_", " "), finding)
        for name, findings in planted.items()
        for metric, finding in findings.items()
    ]


def _show(
    screen: Screen,
    planted: dict[str, dict[str, Finding]],
    result: Agreement,
    solved: Estimate,
) -> None:
    rows = _rows(planted)
    screen.table(
        ("planted fault", "metric", "planted", "measured", "found"),
        [
            (
                name if index == 0 or rows[index - 1][0] != name else "",
                metric,
                f"{finding.planted:.3f}",
                str(finding.measured),
                "yes" if finding.found else "NO",
            )
            for index, (name, metric, finding) in enumerate(rows)
        ],
        title=f"four judges with a known fault, {_PLANTED} pairs, both orders",
    )
    found = sum(finding.found for *_, finding in rows)
    screen.say(f"{found} of {len(rows)} planted numbers lie in their interval (joint 95 %).")
    screen.numbers(
        {
            "solves the chain": solved,
            "judges it right, per call": result.call_accuracy,
            "judges it right, by vote": result.vote_accuracy,
            "right in both orders": result.both_right,
            "same verdict in both orders": result.consistency,
            "first-slot rate (0.5 is fair)": result.first_slot_rate,
            "coverage (calls read)": result.coverage,
        },
        title=f"the embedded reasoner, {result.num_cases} chains of 3 digits, temperature 1",
    )
    screen.say(
        "It solves nearly every chain and yet judges many of them wrongly: solving is not judging."
    )


def _report(
    run: Run,
    planted: dict[str, dict[str, Finding]],
    result: Agreement,
    solved: Estimate,
    lesson: Lesson,
    seed: int,
) -> Report:
    from planish.runs.plots import interval_plot

    report = Report(
        "rise: can it be a judge?",
        subtitle="LLM-as-a-Judge as a general ability, arXiv 2502.11689",
        claim=_CLAIM,
        note=f"Run {run.path.name}, seed {seed}.",
        tiny=True,
    )
    rows = _rows(planted)
    found = sum(finding.found for *_, finding in rows)
    report.section(
        "Four planted faults",
        f"Four scripted judges with a known fault judged {_PLANTED} pairs in both orders. "
        f"{found} of {len(rows)} planted numbers lie inside their interval; the intervals are "
        "widened so that all of them hold together with 95 %.",
    )
    report.figure(
        interval_plot(
            [
                (f"{name}: {metric}", finding.measured, finding.planted)
                for name, metric, finding in rows
            ]
        ),
        "Measured (dot and interval) against planted (hollow).",
        "Intervals of all metrics of the four scripted judges with the planted values",
    )
    report.section(
        "The embedded reasoner as a judge",
        f"It solves {_percent(solved)} of {result.num_cases} chains on its own. Asked which of "
        "two solutions is right, in both orders, it is right in both for "
        f"{_percent(result.both_right)}. What is missing is the comparison, not the knowledge.",
    )
    add_agreement(report, result, min_coverage=0.0)
    add_lesson(report, lesson)
    return report


def _percent(estimate: Estimate) -> str:
    return "n/a" if estimate.value is None else f"{100 * estimate.value:.0f} %"
