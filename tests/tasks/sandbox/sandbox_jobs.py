"""Small jobs, levels that are to be had here, and the processes that run."""

from __future__ import annotations

from pathlib import Path

from planish.tasks.sandbox import (
    LEVELS,
    Job,
    Limits,
    SourceFile,
    dumps,
)
from planish.tasks.sandbox.levels import why_not

TESTS = "def check(candidate):\n    assert candidate(2) == 4\n"
RIGHT = "def f(x):\n    return 2 * x\n"
ENDLESS = "def f(x):\n    while True:\n        pass\n"
SHORT = Limits(seconds=0.4)

HERE = [level for level in LEVELS if not why_not(level)]
LOCKED = [level for level in HERE if level != "fork"]


PROJECT = (
    SourceFile(path="shop/__init__.py", text=""),
    SourceFile(path="shop/data.py", text="ROWS = [1, 2, 3]\n"),
)


def with_tests(code: str, **fields: object) -> Job:
    fields.setdefault("limits", Limits(seconds=10))
    return Job(key="1", code=code, entry_point="f", tests=TESTS, **fields)  # type: ignore[arg-type]


def with_inputs(code: str, *values: object, **fields: object) -> Job:
    fields.setdefault("limits", Limits(seconds=10))
    inputs = tuple(dumps((value,)) for value in values)
    return Job(key="1", code=code, entry_point="f", inputs=inputs, **fields)  # type: ignore[arg-type]


def below(process: int) -> set[int]:
    """Processes that a process has started, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().split(")")[1].split()[1]
                )
            except OSError:
                continue
    found = {process}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}
