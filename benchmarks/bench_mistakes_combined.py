"""Two mistakes in one program: are both named, and one of them first?

    python benchmarks/bench_mistakes_combined.py --work FOLDER [--per-task 2] [--seed 0]

Pairs of mistakes of two categories, made by hand on the tasks of the split "report", put into one
program; those stay that fail the tests together and whose changes do not touch. The rules were
fitted on programs with one mistake, and a repair is one change: nothing in them is made for two.
GC is left out, since a program that is none of the task's has no second mistake.

Named are the first two categories of the ranking. Measured are the exact set (both, and so no
other), F1 over sets of labels (micro, and macro over six categories), whether the first is one of
the two, and the share that is answered at all. Beside it stands what two of the six categories
drawn by chance would have, exactly: one set in fifteen, a third of the labels. Intervals are over
tasks. What is kept in the work folder is not run again.

Predicted before any of these programs was looked at: the first is one of the two in .8 or more of
the answered, exact sets are above chance and below half, and more programs are abstained on than
of those with one mistake (.957 answered).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planish.methods.mistakes.config import Config
from planish.methods.mistakes.data import CATEGORIES, Category, CodeTask, Labelled
from planish.methods.mistakes.injecting.combining import Combined, combined
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.gathering import Row, gather
from planish.methods.mistakes.ruling.signals import signals
from planish.stats import Estimate, ratio
from planish.tasks.sandbox import Sandbox
from support import write_result

DIALS = Config.tiny().diagnosing
SINGLE = tuple(category for category in CATEGORIES if category != "GC")
CHANCE = {"exact set": 1 / 15, "micro-F1": 1 / 3, "macro-F1": 1 / 3, "one of the two first": 1 / 3}


@dataclass(frozen=True)
class Told:
    """What was said of one program.

    Args:
        labels: both mistakes.
        named: the first two of the ranking, the likeliest first, also where nothing is said.
        said: the first was likely enough.
    """

    task_id: str
    labels: frozenset[Category]
    named: tuple[Category, ...]
    said: bool


def told(row: Row, labels: frozenset[Category], task: CodeTask) -> Told:
    """By the package's weights."""
    evidence = signals(task, row.labelled.code, row.observation, row.search)
    said = not rank(row.key, evidence, threshold=DIALS.threshold).abstained
    ranked = [name for name, _ in rank(row.key, evidence, threshold=0.0).ranked if name in SINGLE]
    return Told(row.labelled.task_id, labels, tuple(ranked[:2]), said)


def over_tasks(answers: Sequence[Told], top: Callable[[Told], float], bottom: float) -> Estimate:
    """Sum of `top` over `bottom` for each program, with an interval over tasks."""
    tasks = sorted({each.task_id for each in answers})
    groups = [[each for each in answers if each.task_id == task] for task in tasks]
    return ratio([sum(map(top, group)) for group in groups], [bottom * len(g) for g in groups])


def macro(answers: Sequence[Told]) -> float:
    """Mean F1 of the six categories, each as a label that a program has or has not."""
    scores = []
    for category in SINGLE:
        right = sum(category in each.labels and category in each.named for each in answers)
        whole = sum((category in each.labels) + (category in each.named) for each in answers)
        scores.append(2 * right / whole if whole else 0.0)
    return sum(scores) / len(scores)


def page(answers: Sequence[Told], programs: int) -> str:
    """All figures, as Markdown."""
    said = [each for each in answers if each.said]
    rows = [
        ("exact set", lambda each: float(set(each.named) == each.labels), 1.0),
        # Two labels and two names: micro precision, recall and F1 are the same.
        ("micro-F1", lambda each: float(len(each.labels & set(each.named))), 2.0),
        ("one of the two first", lambda each: float(each.named[:1] != () and
                                                    each.named[0] in each.labels), 1.0),
    ]  # fmt: skip
    lines = ["| | answered | all | by chance |", "|---|---|---|---|"]
    for name, top, bottom in rows:
        cells = [str(over_tasks(group, top, bottom)) for group in (said, answers)]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {CHANCE[name]:.3f} |")
    lines.append(
        f"| macro-F1 | {macro(said):.3f} | {macro(answers):.3f} | about {CHANCE['macro-F1']:.3f} |"
    )
    coverage = over_tasks(answers, lambda each: float(each.said), 1.0)
    tasks = len({each.task_id for each in answers})
    return "\n\n".join(
        [
            f"{len(answers)} of {programs} programs of {tasks} tasks of the split report, each "
            "with two mistakes made by hand; named are the first two categories of the ranking. "
            f"The package's weights, threshold {DIALS.threshold}, dials of `Config.tiny()`. "
            "Intervals are over tasks.",
            "\n".join(lines),
            f"Answered: {coverage}.",
        ]
    )


def main() -> None:
    """Makes the programs, searches them, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--per-task", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    every = own_tasks()
    tasks: Mapping[str, CodeTask] = {task.task_id: task for task in every}
    report = [task for task in every if task.split == "report"]
    with Sandbox(workers=1) as box:
        pairs = combined(report, hand_made(), box, seed=options.seed, per_task=options.per_task)
    rows = gather(
        every, [single(each) for each in pairs], options.work / "combined.jsonl", dials=DIALS,
        progress=lambda done, whole: print(f"{done} of {whole}", flush=True),
    )  # fmt: skip
    answers = [
        told(row, both.categories, tasks[both.task_id])
        for row, both in zip(rows, pairs, strict=True)
    ]
    write_result("mistakes-combined", "Two mistakes in one program", page(answers, len(pairs)))


def single(both: Combined) -> Labelled:
    """As a program with one label, which is what a row of the work folder holds."""
    return Labelled(**both.model_dump(exclude={"also"}))


if __name__ == "__main__":
    main()
