"""How many programs a second does the sandbox run, and how late does it end one that hangs?

    python benchmarks/bench_sandbox.py [--programs 400] [--workers 2] [--write]
        [--evalplus OTHER/bin/python]

Every level in one run on one machine. Programs with tests are run by a candidate's process and a
tester's; programs with one input by the candidate's alone. `--evalplus` gives the Python of an
environment with evalplus 0.3.1, whose checker then runs the same programs with the same inputs, in
turns with ours. Predicted: at least 40 programs with tests a second on two cores, and five times
the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from planish.tasks.sandbox import LEVELS, Job, Limits, Sandbox, available, dumps
from support import write_result

CODE = "def f(numbers):\n    return sorted(set(numbers))\n"
TESTS = "def check(candidate):\n    assert candidate([3, 1, 3]) == [1, 3]\n"
ENDLESS = "import os\n\n\ndef f(numbers):\n    os.fork()\n    while True:\n        pass\n"

PEER_PROGRAMS = [
    ("def f(text):\n    return text[::-1]\n", [(("abc",), "cba"), (("",), "")]),
    ("def f(x, y):\n    return x * y\n", [((3, 4), 12), ((0, 9), 0)]),
    ("def f(numbers):\n    return sum(numbers)\n", [(([1, 2],), 3), (([],), 0)]),
    ("def f(numbers):\n    return max(numbers)\n", [(([4, 9],), 9), (([-1],), -1)]),
    ("def f(x):\n    return x + 1\n", [((1,), 2), ((2,), 4)]),  # the last is wrong
]
"""Source and (arguments, value); one in five does not pass."""


def rate(box: Sandbox, job: Job, programs: int) -> float:
    """Programs a second."""
    started = time.perf_counter()
    results = box.run([job] * programs)
    taken = time.perf_counter() - started
    wrong = [one for one in results if one.status != "pass"]
    if wrong:
        raise RuntimeError(f"{len(wrong)} programs did not pass: {wrong[0]}")
    return programs / taken


def overrun(box: Sandbox, times: int = 8) -> float:
    """Median seconds beyond its limit that a program with a process of its own lives."""
    limits = Limits(seconds=0.5)
    job = Job(key="1", code=ENDLESS, entry_point="f", inputs=(dumps(([],)),), limits=limits)
    results = [box.run([job], retry=False)[0] for _ in range(times)]
    return statistics.median(one.wall_s for one in results) - limits.seconds


def levels(programs: int, workers: int) -> list[str]:
    """One row for each level that is to be had."""
    lines = [
        "| level | with tests, a second | one call, a second | end of one that hangs, s late |"
    ]
    lines.append("|---|---|---|---|")
    reasons = available()
    for level in LEVELS:
        if reasons[level]:
            lines.append(f"| {level} | {reasons[level]} | | |")
            continue
        with Sandbox(accept="fork", level=level, workers=workers) as box:
            with_tests = Job(key="1", code=CODE, entry_point="f", tests=TESTS)
            one_call = Job(key="1", code=CODE, entry_point="f", inputs=(dumps(([3, 1],)),))
            rate(box, with_tests, 2 * workers)  # the servers are warm from here on
            row = (rate(box, with_tests, programs), rate(box, one_call, programs), overrun(box))
        lines.append(f"| {level} | {row[0]:.0f} | {row[1]:.0f} | {row[2]:.3f} |")
    return lines


def peer(given: argparse.Namespace) -> list[str]:
    """Ours and the peer's checker on the same programs with the same inputs, in turns."""
    names = [PEER_PROGRAMS[number % len(PEER_PROGRAMS)] for number in range(given.programs)]
    jobs, lines = [], []
    for number, (code, pairs) in enumerate(names):
        inputs, expected = [list(one[0]) for one in pairs], [one[1] for one in pairs]
        tests = "def check(candidate):\n" + "".join(
            f"    assert candidate(*{arguments!r}) == {value!r}\n"
            for arguments, value in zip(inputs, expected, strict=True)
        )
        jobs.append(Job(key=str(number), code=code, entry_point="f", tests=tests))
        row = {"code": code, "entry_point": "f", "inputs": repr(inputs), "expected": repr(expected)}
        lines.append(json.dumps(row))
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(workers=given.workers) as box,
    ):
        programs = Path(folder) / "programs.jsonl"
        programs.write_text("\n".join(lines), "utf-8")
        script = Path(__file__).with_name("evalplus_check.py")
        words = [given.evalplus, script, programs, "--workers", str(given.workers)]
        box.run(jobs[: 2 * given.workers])
        for _ in range(given.rounds):
            started = time.perf_counter()
            ours = [one.status == "pass" for one in box.run(jobs)]
            seconds = time.perf_counter() - started
            told = subprocess.run(words, check=True, capture_output=True, text=True)
            theirs = json.loads(told.stdout.splitlines()[-1])
            if theirs["passed"] != ours:
                raise RuntimeError("the two disagree on which programs pass")
            rows.append((len(jobs) / seconds, len(jobs) / theirs["seconds"]))
    ratio = statistics.median(ours / theirs for ours, theirs in rows)
    return [
        "",
        f"The same {len(jobs)} programs, {given.rounds} times in turns: "
        f"ours {statistics.median(one for one, _ in rows):.0f} a second at the level {box.level}, "
        f"evalplus {statistics.median(one for _, one in rows):.1f}; {ratio:.1f} times.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=400)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evalplus")
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    given = parser.parse_args()
    lines = levels(given.programs, given.workers)
    if given.evalplus:
        lines += peer(given)
    lines += ["", f"{given.workers} workers. Load of the machine: {os.getloadavg()[0]:.1f}."]
    body = "\n".join(lines)
    if given.write:
        write_result("sandbox", "sandbox: programs a second", body)
    else:
        print(body)


if __name__ == "__main__":
    main()
