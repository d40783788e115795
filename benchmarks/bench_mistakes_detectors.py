"""Does a model name known mistakes better than the rules, and at what cost?

    python benchmarks/bench_mistakes_detectors.py --work FOLDER --model openai:NAME@URL
    python benchmarks/bench_mistakes_detectors.py --work FOLDER --model openai:NAME@URL --injected 2
    python benchmarks/bench_mistakes_detectors.py --work FOLDER --model ... --detectors direct react

All detectors see the same programs of the "report" split, observed and repaired once: mistakes made
by hand, or with `--injected` those that `bench_mistakes_categories.py` injects. What may be spent
on one program is the same for all that ask a model (`--calls`, `--tokens`), and so is the threshold
below which an answer is silence. `direct` is shown the prompt, the code and how its tests ended;
`evidence` what the rules were shown as well; `react` has tools. Rows lie in the work folder, where
`bench_mistakes_categories.py` keeps them too, and replies lie beside them: a second call of this
command asks only for what is missing.

Differences to the rules are paired: tasks are drawn once for both, and a program without an answer
is a miss. Calibration is that of answers that are said. Programs of which no reply came count as
silence, and how many there are is told; ask again before the table is read. The weights of the
rules come from the split "train"; a model may have read these tasks where the package is published.

No prediction is fixed: none was asked for, and the model is the caller's.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bench_mistakes_categories import (
    FIGURES,
    RESAMPLES,
    Answer,
    by_category,
    confusion,
    interval,
    macro_beside_all,
    noticed,
)
from planish.methods.mistakes.config import Config, Detecting, Diagnosing
from planish.methods.mistakes.data import CodeTask, Diagnosis, Labelled, RunRecord
from planish.methods.mistakes.detecting.base import Failed
from planish.methods.mistakes.detecting.load import DETECTORS, load_detector
from planish.methods.mistakes.injecting.keeping import bounded, injected
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.ruling.gathering import Row, gather
from planish.models.base import LanguageModel
from planish.models.cache import CachedModel
from planish.models.load import load
from planish.records import read_records, write_jsonl
from planish.tasks.sandbox import Sandbox
from support import write_result

RULES = "rules"
ASKING = tuple(name for name in DETECTORS if name != RULES)
DIALS = Config.tiny().diagnosing


class Dials(Diagnosing, Detecting):
    """Budgets, and the threshold that all share."""


def programs(
    tasks: Mapping[str, CodeTask], number: int | None, seed: int, work: Path
) -> list[Labelled]:
    """Those of the split "report" made by hand, or so many injected ones of a task and category.

    Injected ones are made once and kept under the name that `bench_mistakes_categories.py` uses.
    """
    report = [task for task in tasks.values() if task.split == "report"]
    if number is None:
        names = {task.task_id for task in report}
        return [each for each in hand_made() if each.task_id in names]
    path = work / f"injected-{number}-{seed}.jsonl"
    if not path.exists():
        with Sandbox() as box:
            made = injected(report, box, seed=seed, per_category=number)
        work.mkdir(parents=True, exist_ok=True)
        write_jsonl(path, made)
    return list(read_records(path, Labelled))


def cases(rows: Sequence[Row], tasks: Mapping[str, CodeTask]) -> list[Failed]:
    """What every detector sees; a label is nowhere in it."""
    return [
        Failed(
            task=tasks[row.labelled.task_id],
            run=RunRecord(task_id=row.labelled.task_id, model=row.key, code=row.labelled.code),
            observation=row.observation,
            search=row.search,
            evidence=noticed(row, tasks),
        )
        for row in rows
    ]


def answered(
    name: str,
    rows: Sequence[Row],
    seen: Sequence[Failed],
    model: LanguageModel | None,
    dials: Detecting,
) -> tuple[list[Answer], list[Diagnosis]]:
    """What a detector says, as answers beside the labels and as it said it."""
    with Sandbox() as box:
        told = load_detector(name, model, box, dials).detect(
            seen, lambda done, whole: print(f"{name}: {done} of {whole}", flush=True)
        )
    answers = [
        Answer(row, each.ranked[0][0], each.ranked[0][1], True)
        if each.ranked and not each.abstained
        else Answer(row, "GC", 0.0, False)
        for row, each in zip(rows, told, strict=True)
    ]
    return answers, told


def difference(first: Sequence[Answer], second: Sequence[Answer]) -> str:
    """Macro-F1 beside all of the first less that of the second, tasks drawn once for both.

    Args:
        first, second: of the same programs in the same order.
    """
    places: dict[str, list[int]] = {}
    for at, each in enumerate(first):
        places.setdefault(each.row.labelled.task_id, []).append(at)
    groups = list(places.values())
    source = np.random.default_rng(0)

    def gap(chosen: Sequence[int]) -> float:
        one, other = (macro_beside_all([each[at] for at in chosen]) for each in (first, second))
        return (one or 0.0) - (other or 0.0)

    draws = [
        gap([at for group in source.integers(0, len(groups), len(groups)) for at in groups[group]])
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{gap(range(len(first))):+.3f} [{low:+.3f}, {high:+.3f}]"


_FIGURES = {
    name: FIGURES[name]
    for name in ("macro-F1 (answered)", "macro-F1 (beside all)", "coverage", "calibration error")
}


def table(answers: Mapping[str, Sequence[Answer]], told: Mapping[str, Sequence[Diagnosis]]) -> str:
    """One line for each detector; the rules come first."""
    head = ["detector", *_FIGURES, "beside all, less the rules", "calls", "tokens", "no reply"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, mine in answers.items():
        spent = told[name]
        cells = [
            name,
            *(interval(mine, figure) for figure in _FIGURES.values()),
            "" if name == RULES else difference(mine, answers[RULES]),
            f"{sum(each.calls for each in spent) / len(spent):.1f}",
            f"{sum(each.tokens for each in spent) / len(spent):.0f}",
            str(sum(each.lost for each in spent)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Gathers what is missing, asks, and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", required=True, help="openai:NAME@URL or hf:PATH")
    parser.add_argument("--detectors", nargs="+", default=list(ASKING), choices=ASKING)
    parser.add_argument("--injected", type=int, help="of a category and task, so many at most")
    parser.add_argument("--most", type=int, help="of a category, so many at most")
    parser.add_argument("--seed", type=int, default=0, help="of what is injected and drawn")
    parser.add_argument("--calls", type=int, default=Detecting().calls)
    parser.add_argument("--tokens", type=int, default=Detecting().tokens)
    given = parser.parse_args()
    tasks = {task.task_id: task for task in own_tasks()}
    every = programs(tasks, given.injected, given.seed, given.work)
    few = bounded(every, given.most, given.seed)
    rows = gather(
        list(tasks.values()),
        few,
        given.work / ("report.jsonl" if given.injected is None else "injected-rows-0.jsonl"),
        dials=DIALS,
        progress=lambda done, whole: print(f"rows: {done} of {whole}", flush=True),
    )
    seen = cases(rows, tasks)
    dials = Dials(calls=given.calls, tokens=given.tokens, threshold=DIALS.threshold)
    answers, told = {}, {}
    answers[RULES], told[RULES] = answered(RULES, rows, seen, None, dials)
    with CachedModel(load(given.model), given.work / "replies.jsonl") as model:
        for name in given.detectors:
            answers[name], told[name] = answered(name, rows, seen, model, dials)
        asked = model.name
    whole = len({row.labelled.task_id for row in rows})
    kind = "made by hand" if given.injected is None else "that were injected"
    parts = [
        f"{len(rows)} of {len(every)} mistakes {kind}, on {whole} tasks of the split report; model "
        f"{asked}; at most {given.calls} calls and {given.tokens} tokens for a program; threshold "
        f"{dials.threshold}; searches cut short: {sum(not row.search.complete for row in rows)}. "
        "Calls and tokens are means of a program.",
        table(answers, told),
    ]
    for name, mine in answers.items():
        parts += [f"## {name}", by_category(mine), confusion(mine)]
    write_result("mistakes-detectors", "Detectors beside each other", "\n\n".join(parts))


if __name__ == "__main__":
    main()
