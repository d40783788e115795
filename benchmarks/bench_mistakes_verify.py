"""Do recorded runs come out again as they were recorded, how fast, and how fast beside EvalPlus?

    python benchmarks/bench_mistakes_verify.py --data ../shared/data/mistakes
        [--evalplus OTHER/bin/python] [--levels bwrap unshare] [--write]

`humaneval_tasks.jsonl.gz` and `recorded_runs_a.jsonl.gz` of that folder are run again, each
distinct program once: twice in a row, and a third time beside processes that keep all cores busy.
`--evalplus` names the Python of an environment with evalplus 0.3.1, whose checker runs the same
programs on the inputs of the same tests, in turns with ours; so does ours, with tests made of them.
Predicted: at least 99.9 % agreement each time, 40 programs a second on two cores, and five times
the peer.

Both allow four seconds (ours for all calls of a program, the peer's for each call) and judge by the
first wrong call, after which the peer makes no other and ours mostly has. What times out is run
once more, alone, unless it has used four seconds of processor time of its own; the peer tries
nothing again. One recorded program never ends, so that no checker is done with all of them in less
than four seconds: the rates are told with and without the programs that time out.

Where the time of a program goes, 1.3 ms of processor time beside the peer's 7.6 (a quiet machine;
programs of 10 calls; the parts are measured apart and rounded): 0.5 in the candidates' process, of
which the program itself takes 0.3 and to compile it 0.1; 0.15 in that of the tests; 0.35 in the
host, a quarter of it to tell whether code may share a process and which calls tests make; 0.15 for
the 17 programs that need a process of their own.
"""

from __future__ import annotations

import argparse
import ast
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import compress
from pathlib import Path
from typing import Any

from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.jobs import References, check_references, test_job
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.running.executing import distinct, execute
from planish.tasks.sandbox import Job, Limits, Sandbox, loads
from support import write_result


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many other processes that compute all the while."""
    others = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(number)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


def _spin() -> None:
    while True:
        sum(range(100_000))


def agreement(
    runs: Sequence[RunRecord], tasks: dict[str, CodeTask], references: References, box: Sandbox
) -> tuple[int, Counter[str], float]:
    """(runs that come out as recorded, runs by status, seconds)."""
    begun = time.perf_counter()
    results = [(run, result) for run, result in execute(runs, tasks, references, box)]
    seconds = time.perf_counter() - begun
    agreed = sum((result.status == "pass") == run.recorded_pass for run, result in results)
    return agreed, Counter(result.status for _, result in results), seconds


def level_rows(level: str, workers: int, runs: Sequence[RunRecord], tasks: dict[str, CodeTask]):
    """A row for each of the three times."""
    programs = len(distinct(runs))
    with Sandbox(accept="unshare", level=level, workers=workers) as box:
        references = check_references(tasks.values(), box, Limits())
        for name, others in (("first", 0), ("second", 0), ("cores busy", os.cpu_count() or 1)):
            with busy(others):
                agreed, statuses, seconds = agreement(runs, tasks, references, box)
            told = ", ".join(f"{status} {count}" for status, count in statuses.most_common())
            rate = programs / seconds
            yield f"| {level} | {name} | {agreed} of {len(runs)} | {rate:.1f} | {told} |"


# ---- beside the peer -------------------------------------------------------------------------


def same_work(
    runs: Sequence[RunRecord], tasks: dict[str, CodeTask], references: References
) -> tuple[list[Job], list[str]]:
    """Our jobs, and the peer's lines: one program, the same inputs and expected values."""
    jobs, lines = [], []
    for group in distinct(runs).values():
        task = tasks[group[0].task_id]
        calls = references.results[task.task_id].per_input
        inputs = [loads(call.arguments) for call in calls]
        expected = [loads(call.value) for call in calls if call.value is not None]
        if len(expected) != len(inputs) or not inputs:
            continue
        try:  # a tester's keyword calls, nan and the like have no literal
            ast.literal_eval(repr((inputs, expected)))
        except (ValueError, SyntaxError):
            continue
        if not all(isinstance(arguments, tuple) for arguments in inputs):
            continue
        tests = "def check(candidate):\n" + "".join(
            f"    assert candidate(*{arguments!r}) == {value!r}\n"
            for arguments, value in zip(inputs, expected, strict=True)
        )
        job = test_job(task, group[0].code, group[0].key, references.limits(task))
        jobs.append(job.model_copy(update={"tests": tests, "support": ""}))
        row = {
            "code": group[0].code,
            "entry_point": task.entry_point,
            "inputs": repr([list(arguments) for arguments in inputs]),
            "expected": repr(expected),
        }
        lines.append(json.dumps(row))
    return jobs, lines


def beside(python: str, rounds: int, workers: int, jobs: list[Job], lines: list[str]) -> list[str]:
    """Both on the same programs, in turns: on all of them, and on those that end."""
    with Sandbox(workers=workers) as box:
        ends = [result.status != "timeout" for result in box.run(jobs)]
    told = _rates(python, rounds, workers, jobs, lines)
    if not all(ends):
        some = [list(compress(each, ends)) for each in (jobs, lines)]
        told += _rates(python, rounds, workers, *some, "of them that end ")
    return told


def as_it_comes(
    python: str,
    rounds: int,
    workers: int,
    runs: Sequence[RunRecord],
    jobs: list[Job],
    lines: list[str],
) -> list[str]:
    """Both on every recorded run, equal ones among them, without those that never end."""
    with Sandbox(workers=workers) as box:
        ends = {
            job.key: result.status != "timeout"
            for job, result in zip(jobs, box.run(jobs), strict=True)
        }
    line_of = {job.key: line for job, line in zip(jobs, lines, strict=True)}
    job_of = {job.key: job for job in jobs}
    keys = {run.key: group[0].key for group in distinct(runs).values() for run in group}
    kept = [run for run in runs if ends.get(keys[run.key], False)]
    all_lines = [line_of[keys[run.key]] for run in kept]
    ratios = []
    with Sandbox(workers=workers) as box:
        box.run(jobs[: 2 * workers])
        for _ in range(rounds):
            begun = time.perf_counter()
            groups = distinct(kept).values()  # that equal ones are found is a part of the work
            box.run([job_of[group[0].key] for group in groups])
            seconds = time.perf_counter() - begun
            ratios.append(_peer(python, workers, all_lines)["seconds"] / seconds)
    faster = statistics.median(ratios)
    return [
        "",
        f"The job as it comes, all {len(kept)} recorded runs that end given to both, {rounds} "
        f"times in turns: {faster:.1f} times as fast as EvalPlus. Here equal programs are run "
        f"once, {len(groups)} in all, and the peer, to which they are nothing special, runs each: "
        "this tells how long the job takes, not how fast a program is checked.",
    ]


def _rates(
    python: str, rounds: int, workers: int, jobs: list[Job], lines: list[str], which: str = ""
) -> list[str]:
    rates, used = [], []
    with Sandbox(workers=workers) as box:
        box.run(jobs[: 2 * workers])  # the servers are warm from here on
        for _ in range(rounds):
            begun, before = time.perf_counter(), processor_time()
            ours = [result.status == "pass" for result in box.run(jobs)]
            seconds, processor = time.perf_counter() - begun, processor_time() - before
            theirs = _peer(python, workers, lines)
            differ = sum(one != other for one, other in zip(ours, theirs["passed"], strict=True))
            rates.append((len(jobs) / seconds, len(jobs) / theirs["seconds"]))
            used.append((processor / len(jobs), theirs["processor"] / len(jobs)))
    ratio = statistics.median(one / other for one, other in rates)
    less = statistics.median(other / one for one, other in used)
    ours_rate, their_rate = (statistics.median(each) for each in zip(*rates, strict=True))
    our_time, their_time = (1e3 * statistics.median(each) for each in zip(*used, strict=True))
    each = ", ".join(f"{one / other:.1f}" for one, other in rates)
    return [
        "",
        f"The same {len(jobs)} programs {which}on the same inputs, {rounds} times in turns, "
        f"{workers} workers each: ours {ours_rate:.1f} programs a second at the level {box.level}, "
        f"EvalPlus {their_rate:.1f}: "
        f"{ratio:.1f} times as many ({each}). Processor time, which other work on the machine "
        f"disturbs less: {our_time:.2f} ms a program beside {their_time:.2f}, {less:.1f} times as "
        f"little. In the last round they differ on {differ} programs.",
    ]


def _peer(python: str, workers: int, lines: list[str]) -> dict[str, Any]:
    """What EvalPlus's checker tells of programs."""
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder) / "programs.jsonl"
        programs.write_text("\n".join(lines), "utf-8")
        script = Path(__file__).with_name("evalplus_check.py")
        command = [python, str(script), str(programs), "--workers", str(workers)]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(told.stdout.splitlines()[-1]))


def processor_time() -> float:
    """Seconds of this process, of all that live below it, and of those that these waited for."""
    below: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                below.setdefault(int(fields[1]), []).append(int(entry.name))
                ticks[int(entry.name)] = sum(map(int, fields[11:15]))
    found, todo = 0, [os.getpid()]
    while todo:
        process = todo.pop()
        found += ticks[process]
        todo += below.get(process, [])
    return found / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--levels", nargs="*", default=["bwrap", "unshare"])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evalplus")
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    given = parser.parse_args()
    tasks = {
        task.task_id: task for task in load_tasks(str(given.data / "humaneval_tasks.jsonl.gz"))
    }
    runs = load_runs(given.data / "recorded_runs_a.jsonl.gz", tuple(tasks.values()))
    lines = ["| level | time | as recorded | programs a second | runs by status |"]
    lines.append("|---|---|---|---|---|")
    for level in given.levels:
        lines += level_rows(level, given.workers, runs, tasks)
    lines += ["", f"{len(distinct(runs))} distinct programs of {len(runs)} runs."]
    if given.evalplus:
        with Sandbox(workers=given.workers) as box:
            references = check_references(tasks.values(), box, Limits())
        work = same_work(runs, tasks, references)
        lines += beside(given.evalplus, given.rounds, given.workers, *work)
        lines += as_it_comes(given.evalplus, given.rounds, given.workers, runs, *work)
    lines += ["", f"{given.workers} workers; load of the machine {os.getloadavg()[0]:.1f}."]
    if given.write:
        write_result("mistakes-verify", "mistakes: recorded runs, run again", "\n".join(lines))
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
