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
and were fitted anew, for the sake of injected mistakes.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from planish.methods.mistakes.data import CATEGORIES, CodeTask, Diagnosed, RunRecord
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.signals import signals
from planish.stats import cohen_kappa, mean
from support import write_result

READERS = Path(__file__).with_name("readers")
SEED, READ = 20261129, 60
NONE = "none"


def failures(data: Path) -> tuple[dict[str, CodeTask], list[RunRecord]]:
    """Tasks by id, and every failing program of a task once, by number of task and run."""
    tasks = {task.task_id: task for task in load_tasks(str(data / "humaneval_tasks.jsonl.gz"))}
    found: dict[tuple[str, str], RunRecord] = {}
    for run in load_runs(data / "recorded_runs_a.jsonl.gz", tasks.values()):
        if not run.recorded_pass:
            found.setdefault((run.task_id, _tree(run.code)), run)
    return tasks, sorted(found.values(), key=lambda run: (int(run.task_id.split("/")[1]), run.run))


def _tree(code: str) -> str:
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return code


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
    found = {}
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


def ruled(task: CodeTask, case: Diagnosed) -> str:
    """What the package's weights say of what the run saw, whatever they were when it ran."""
    evidence = signals(task, case.run.code, case.observation, case.search)
    return rank(case.run.key, evidence).category or NONE


def report(
    tasks: dict[str, CodeTask], cases: Sequence[RunRecord], read: Sequence[RunRecord], run: Path
) -> str:
    """The whole comparison, as Markdown."""
    found = answers(run)
    missing = [case.key for case in cases if case.key not in found]
    if missing:
        raise SystemExit(f"{run}: {len(missing)} failures have no diagnosis, {missing[0]} first")
    readers = [labels(path) for path in sorted(READERS.glob("mistakes_*.jsonl"))]
    a, b = ([str(rows[at]["category"]) for at in range(READ)] for rows in readers)
    accepted = [
        {str(rows[at][name]) for rows in readers for name in ("category", "second")}
        for at in range(READ)
    ]
    every = [found[case.key] for case in cases]
    said_of = {case.key: ruled(tasks[case.task_id], found[case.key]) for case in cases}
    told = [said_of[case.key] for case in read]
    counts = Counter(said_of.values())
    said = [at for at in range(READ) if told[at] != NONE]
    agreed = [at for at in range(READ) if a[at] == b[at] != NONE]
    both = [at for at in agreed if told[at] != NONE]
    common = Counter(a[at] for at in agreed).most_common(1)[0][0]

    def share(right: Sequence[bool]) -> str:
        return f"{mean([float(each) for each in right])}, n = {len(right)}"

    rows = [
        ("the readers with each other", share([a[at] == b[at] for at in range(READ)])),
        ("kappa of the readers", str(cohen_kappa(a, b))),
        ("kappa of rules and reader a, where the rules say something",
         str(cohen_kappa([told[at] for at in said], [a[at] for at in said]))),
        ("kappa of rules and reader b, there",
         str(cohen_kappa([told[at] for at in said], [b[at] for at in said]))),
        ("rules with reader a, there", share([told[at] == a[at] for at in said])),
        ("rules with reader b, there", share([told[at] == b[at] for at in said])),
        ("rules with what both readers say", share([told[at] == a[at] for at in both])),
        ("silence counted as a miss", share([told[at] == a[at] for at in agreed])),
        (f"always {common}, as both readers most often say",
         share([a[at] == common for at in agreed])),
        ("rules with anything that a reader names or accepts",
         share([told[at] in accepted[at] for at in said])),
    ]  # fmt: skip
    names = (*CATEGORIES, NONE)
    listed = ", ".join(f"{name} {counts[name]}" for name in names)
    cut = sum(not each.search.complete for each in every)
    return "\n\n".join(
        [
            f"{len(cases)} failing programs, each once; the rules name a category of "
            f"{len(cases) - counts[NONE]} and say nothing of {counts[NONE]}: {listed}. One change "
            f"repairs {sum(bool(each.search.repairs) for each in every)}; {cut} searches were cut "
            f"short. {READ} of them were read by two readers.",
            "| agreement | |\n|---|---|\n" + "\n".join(f"| {n} | {v} |" for n, v in rows),
            "Readers: a down, b across.",
            grid(a, b, names),
            "What both readers say down, the rules across.",
            grid([a[at] for at in agreed], [told[at] for at in agreed], names),
        ]
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
            report(tasks, cases, read, given.diagnosed),
        )


if __name__ == "__main__":
    main()
