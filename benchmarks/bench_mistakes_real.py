"""Do the rules name a real model's mistakes as two readers of the code do?

    python benchmarks/bench_mistakes_real.py --data ../shared/data/mistakes --draw FOLDER
    planish mistakes diagnose ../shared/data/mistakes/recorded_runs_a.jsonl.gz \\
        --tasks ../shared/data/mistakes/humaneval_tasks.jsonl.gz --repair-seconds 10
    python benchmarks/bench_mistakes_real.py --data ../shared/data/mistakes --diagnosed RUN

The failing programs of the recorded runs are drawn once each, 60 of them by a fixed seed. `--draw`
writes what a reader needs: what was asked, the code, a right solution, the tests. Two readers named
one category each, or "none", and a second one where they would accept it. Both were the
same language model, no people; neither saw the rules' answers, the other's, or this package. So
their kappa tells how well a reading repeats, and not how well two people would agree. Their labels
lie in `benchmarks/readers`, and were fixed before the rules' answers were looked at.

Nothing was predicted but that readers will disagree: the categories overlap on code that nobody
broke on purpose. Between the first comparison and the second the rules got the evidence of places
and were fitted anew, for the sake of injected mistakes. Both comparisons suggested that the hand
that wrote the reference is not that of the model: since then the text is laid beside the right
program that is most like it, among the reference and those runs of the task that passed. So what is
told of that is not blind. Both are told, on the same searches and with the same weights.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from planish.methods.mistakes.data import CATEGORIES, CodeTask, Diagnosed, RunRecord
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.loading.sources import tree_text
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.signals import signals
from planish.stats import Estimate, cohen_kappa, ratio
from support import write_result

READERS = Path(__file__).with_name("readers")
SEED, READ = 20261129, 60
NONE = "none"


def failures(data: Path) -> tuple[dict[str, CodeTask], list[RunRecord]]:
    """Tasks by id, and every failing program of a task once, by number of task and run."""
    tasks = {task.task_id: task for task in load_tasks(str(data / "humaneval_tasks.jsonl.gz"))}
    return tasks, _once(data, tasks, passed=False)


def passed(data: Path, tasks: Mapping[str, CodeTask]) -> dict[str, list[str]]:
    """Task -> its recorded programs that passed, each once."""
    found: dict[str, list[str]] = {}
    for run in _once(data, tasks, passed=True):
        found.setdefault(run.task_id, []).append(run.code)
    return found


def _once(data: Path, tasks: Mapping[str, CodeTask], passed: bool) -> list[RunRecord]:
    found: dict[tuple[str, str], RunRecord] = {}
    for run in load_runs(data / "recorded_runs_a.jsonl.gz", tasks.values()):
        if run.recorded_pass == passed:
            found.setdefault((run.task_id, tree_text(run.code)), run)
    return sorted(found.values(), key=lambda run: (int(run.task_id.split("/")[1]), run.run))


def drawn(cases: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that were read."""
    order = list(cases)
    random.Random(SEED).shuffle(order)
    return order[:READ]


def write_cases(folder: Path, tasks: dict[str, CodeTask], cases: Sequence[RunRecord]) -> None:
    """A page for each, without anybody's answer."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(cases):
        task = tasks[run.task_id]
        parts = {
            "What was asked": task.prompt,
            "The code that fails": run.code,
            "A right solution": task.reference,
            "Tests": task.tests,
        }
        body = "\n\n".join(f"## {name}\n\n```python\n{text}\n```" for name, text in parts.items())
        title = f"# case {number:02d}: {run.task_id}, function {task.entry_point}"
        (folder / f"{number:02d}.md").write_text(f"{title}\n\n{body}\n", "utf-8")


def labels(path: Path) -> dict[int, dict[str, str | None]]:
    """Case -> what a reader said."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found = {row["case"]: row for row in rows}
    allowed = {*CATEGORIES, NONE}
    if sorted(found) != list(range(READ)) or any(r["category"] not in allowed for r in rows):
        raise SystemExit(f"{path}: one label for each of {READ} cases is needed")
    return found


def answers(run: Path) -> dict[str, Diagnosed]:
    """Key of a run -> what was found, of a finished run of `diagnose`."""
    found: dict[str, Diagnosed] = {}
    for line in (run / "records.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "failure":
            case = Diagnosed.model_validate(row["data"])
            found |= dict.fromkeys(case.copies, case)
    return found


def grid(down: Sequence[str], across: Sequence[str], names: Sequence[str]) -> str:
    """How often each of the one's labels met each of the other's."""
    met = Counter(zip(down, across, strict=True))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | " + " | ".join(str(met[name, other]) for other in names) + " |")
    return "\n".join(lines)


def ruled(task: CodeTask, case: Diagnosed, right: Sequence[str] = ()) -> str:
    """What the package's weights say of what the run saw, whatever they were when it ran.

    Args:
        right: programs of the task that passed.
    """
    evidence = signals(task, case.run.code, case.observation, case.search, right)
    return rank(case.run.key, evidence).category or NONE


@dataclass(frozen=True)
class Readings:
    """What both readers said of each case, and whatever either names or accepts."""

    a: list[str]
    b: list[str]
    accepted: list[set[str]]

    @classmethod
    def kept(cls) -> Readings:
        """Those in `benchmarks/readers`."""
        rows = [labels(path) for path in sorted(READERS.glob("mistakes_*.jsonl"))]
        a, b = ([str(each[at]["category"]) for at in range(READ)] for each in rows)
        accepted = [
            {str(each[at][name]) for each in rows for name in ("category", "second")}
            for at in range(READ)
        ]
        return cls(a, b, accepted)

    @property
    def agreed(self) -> list[int]:
        """Cases of which both name the same category."""
        return [at for at in range(READ) if self.a[at] == self.b[at] != NONE]


def by_task(values: Sequence[float], tasks: Sequence[str]) -> Estimate:
    """Mean over programs, with an interval over the tasks that they were written for."""
    sums, counts = dict.fromkeys(tasks, 0.0), Counter(tasks)
    for value, task in zip(values, tasks, strict=True):
        sums[task] += value
    return ratio(list(sums.values()), [counts[task] for task in sums])


def share(right: Mapping[int, bool], tasks: Sequence[str]) -> str:
    """Of how many that holds, with its interval.

    Args:
        right: number of a program -> whether it holds.
        tasks: of every program, by its number.
    """
    held = by_task([float(each) for each in right.values()], [tasks[at] for at in right])
    return f"{held}, n = {len(right)}"


def agreement(told: Sequence[str], readings: Readings, tasks: Sequence[str]) -> list[str]:
    """How well answers go with the readings, in the order of `_ROWS`."""
    a, b, agreed = readings.a, readings.b, readings.agreed
    said = [at for at in range(READ) if told[at] != NONE]
    both = [at for at in agreed if told[at] != NONE]
    return [
        str(cohen_kappa([told[at] for at in said], [a[at] for at in said])),
        str(cohen_kappa([told[at] for at in said], [b[at] for at in said])),
        share({at: told[at] == a[at] for at in said}, tasks),
        share({at: told[at] == b[at] for at in said}, tasks),
        share({at: told[at] == a[at] for at in both}, tasks),
        share({at: told[at] == a[at] for at in agreed}, tasks),
        share({at: told[at] in readings.accepted[at] for at in said}, tasks),
    ]


_ROWS = (
    "kappa of rules and reader a, where the rules say something",
    "kappa of rules and reader b, there",
    "rules with reader a, there",
    "rules with reader b, there",
    "rules with what both readers say",
    "silence counted as a miss",
    "rules with anything that a reader names or accepts",
)


def report(
    tasks: dict[str, CodeTask],
    cases: Sequence[RunRecord],
    read: Sequence[RunRecord],
    run: Path,
    right: Mapping[str, Sequence[str]],
) -> str:
    """The whole comparison, as Markdown."""
    found = answers(run)
    missing = [case.key for case in cases if case.key not in found]
    if missing:
        raise SystemExit(f"{run}: {len(missing)} failures have no diagnosis, {missing[0]} first")
    readings = Readings.kept()
    a, b, agreed = readings.a, readings.b, readings.agreed
    alone = {case.key: ruled(tasks[case.task_id], found[case.key]) for case in cases}
    said_of = {
        case.key: ruled(tasks[case.task_id], found[case.key], right.get(case.task_id, ()))
        for case in cases
    }
    told, before = [said_of[case.key] for case in read], [alone[case.key] for case in read]
    common = Counter(a[at] for at in agreed).most_common(1)[0][0]
    own = [case.task_id for case in read]
    same = share({at: a[at] == b[at] for at in range(READ)}, own)
    always = share({at: a[at] == common for at in agreed}, own)
    rows = zip(_ROWS, agreement(before, readings, own), agreement(told, readings, own), strict=True)
    names = (*CATEGORIES, NONE)
    every = [found[case.key] for case in cases]
    peers = [at for at in agreed if right.get(read[at].task_id)]
    won = sum(before[at] != a[at] == told[at] for at in peers)
    lost = sum(told[at] != a[at] == before[at] for at in peers)
    gap = by_task(
        [float(told[at] == a[at]) - float(before[at] == a[at]) for at in agreed],
        [own[at] for at in agreed],
    )
    return "\n\n".join(
        [
            f"{len(cases)} failing programs, each once; {_counted(said_of)}, and beside the "
            f"reference alone {_counted(alone)}. One change repairs "
            f"{sum(bool(each.search.repairs) for each in every)}; "
            f"{sum(not each.search.complete for each in every)} searches were cut short. Of "
            f"{sum(case.task_id in right for case in cases)} some other run of the task passed. "
            f"{READ} of them, of {len(set(own))} tasks, were read by two readers. Intervals are "
            "over tasks, those of kappa over programs.",
            "| agreement | |\n|---|---|\n"
            f"| the readers with each other | {same} |\n"
            f"| kappa of the readers | {cohen_kappa(a, b)} |\n"
            f"| always {common}, as both readers most often say | {always} |",
            "| agreement, the text laid beside | the reference | the nearest right program |\n"
            "|---|---|---|\n" + "\n".join(f"| {n} | {one} | {two} |" for n, one, two in rows),
            f"With silence as a miss the nearest right program is worth {gap} of {len(agreed)}; of "
            f"the {len(peers)} with one that passed, {won} are named rightly that were not, and "
            f"{lost} no more.",
            "Readers: a down, b across.",
            grid(a, b, names),
            "What both readers say down, the rules across (the nearest right program).",
            grid([a[at] for at in agreed], [told[at] for at in agreed], names),
            "The same beside the reference alone.",
            grid([a[at] for at in agreed], [before[at] for at in agreed], names),
        ]
    )


def _counted(said: Mapping[str, str]) -> str:
    counts = Counter(said.values())
    listed = ", ".join(f"{name} {counts[name]}" for name in (*CATEGORIES, NONE))
    return (
        f"the rules name a category of {len(said) - counts[NONE]} and say nothing of "
        f"{counts[NONE]} ({listed})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draw", type=Path, help="folder for what readers read")
    parser.add_argument("--diagnosed", type=Path, help="finished run of `mistakes diagnose`")
    given = parser.parse_args()
    tasks, cases = failures(given.data)
    read = drawn(cases)
    if given.draw:
        write_cases(given.draw, tasks, read)
    if given.diagnosed:
        write_result(
            "mistakes-real",
            "Real failures: the rules beside two readers",
            report(tasks, cases, read, given.diagnosed, passed(given.data, tasks)),
        )


if __name__ == "__main__":
    main()
