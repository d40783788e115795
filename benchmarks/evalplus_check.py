"""Runs programs through EvalPlus's own checker: for the environment that EvalPlus is in.

    /path/to/its/python benchmarks/evalplus_check.py programs.jsonl --workers 2

A line holds `code`, `entry_point`, `inputs` and `expected`, the last two as Python literals. Prints
one JSON line: programs, seconds and seconds of processor time (to read the lines is not counted),
passed. Not a part of planish: nothing of planish is imported.

Each call may take four seconds, its default; nothing is tried again, the first wrong call ends a
program, and its process is the judge of itself.
"""

import argparse
import ast
import json
import multiprocessing
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evalplus.eval import PASS, untrusted_check


def read(line: str) -> dict[str, Any]:
    """One program."""
    row = json.loads(line)
    return row | {name: ast.literal_eval(row[name]) for name in ("inputs", "expected")}


def checked(row: dict[str, Any]) -> bool:
    """Whether one program passes."""
    inputs, expected = row["inputs"], row["expected"]
    status, _ = untrusted_check(
        "humaneval",
        row["code"],
        [list(arguments) for arguments in inputs],
        row["entry_point"],
        expected=expected,
        atol=0,
        ref_time=[0.01] * len(inputs),
        fast_check=True,
        min_time_limit=4.0,
    )
    return bool(status == PASS)


def processor_time() -> float:
    """Seconds, of this process and of those that have ended below it."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("programs", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    lines = [read(line) for line in given.programs.read_text("utf-8").splitlines()]
    begun, used = time.perf_counter(), processor_time()
    with ThreadPoolExecutor(given.workers) as pool:  # each starts a process for every program
        passed = list(pool.map(checked, lines))
    told = {"seconds": time.perf_counter() - begun, "processor": processor_time() - used}
    print(json.dumps({"programs": len(lines), **told, "passed": passed}))


if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    main()
