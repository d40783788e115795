"""How long does `planish --help` keep a user waiting?

    python benchmarks/bench_startup.py [--rounds 15]

Processor seconds of a whole process, in turns with one that only imports what prints the help
(typer and rich): what is above that is ours. Predicted: at most 1.6 times as much.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

from support import write_result

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer, rich": ["-c", "import typer, rich.console, rich.panel, rich.table"],
    "planish --help": ["-m", "planish.cli", "--help"],
}


def seconds(command: list[str]) -> float:
    """Processor seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(given.rounds):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    peers = taken["import typer, rich"]
    lines = [
        "| process | processor seconds, median | least | times the imports |",
        "|---|---|---|---|",
    ]
    for name, times in taken.items():
        ratio = statistics.median(ours / peer for ours, peer in zip(times, peers, strict=True))
        lines.append(
            f"| `{name}` | {statistics.median(times):.3f} | {min(times):.3f} | {ratio:.2f} |"
        )
    lines += ["", f"Predicted: at most 1.6. Found: {ratio:.2f}."]
    write_result("startup", "startup: the wait before `planish --help`", "\n".join(lines))


if __name__ == "__main__":
    main()
