"""Small tasks and runs of the room `mistakes`, with known verdicts.

    tasks()                # doubled (tests), middle (tests), share (inputs), tally (a project)
    runs()                 # for each task one that is right and some that are wrong
    STATUS[run.key]        # what the sandbox has to say of a run
    write(tmp_path)        # the two files, as `planish mistakes verify` takes them

Nothing here is taken from a benchmark.
"""

from __future__ import annotations

from pathlib import Path

from planish.methods.mistakes.data import MARKER, CodeTask, RunRecord
from planish.records import write_jsonl
from planish.tasks.sandbox.contract import SourceFile
from planish.tasks.sandbox.values import dumps

__all__ = ["CODES", "STATUS", "runs", "task", "tasks", "write"]

DOUBLED = CodeTask(
    task_id="doubled",
    entry_point="doubled",
    prompt='def doubled(numbers):\n    """Every number of a list, twice as large."""\n',
    reference="def doubled(numbers):\n    return [2 * number for number in numbers]\n",
    tests=(
        "def check(candidate):\n"
        "    assert candidate([]) == []\n"
        "    assert candidate([1, 2]) == [2, 4]\n"
        "    assert candidate([-3]) == [-6]\n"
    ),
    strategy=({"kind": "list", "of": {"kind": "integer", "min": -9, "max": 9}},),
    split="report",
)

MIDDLE = CodeTask(
    task_id="middle",
    entry_point="middle",
    prompt='def middle(words):\n    """The word in the middle; the left one of two."""\n',
    reference=(
        "def half(count):\n"
        "    return (count - 1) // 2\n\n\n"
        "def middle(words):\n"
        "    return words[half(len(words))]\n"
    ),
    tests=(
        "def check(candidate):\n"
        "    words = ['a', 'b', 'c', 'd', 'e']\n"
        "    for count in range(1, 6):\n"
        "        assert candidate(words[:count]) == words[half(count)]\n"
    ),
    strategy=({"kind": "list", "of": {"kind": "choice", "of": ["a", "b", "c"]}, "min_size": 1},),
    precondition="def precondition(words):\n    return len(words) > 0\n",
    split="train",
)
"""Its tests take `half` from the reference."""

SHARE = CodeTask(
    task_id="share",
    entry_point="share",
    prompt='def share(part, whole):\n    """Which share of the whole a part is, 0 of nothing."""\n',
    reference=(
        "def share(part, whole):\n    if whole == 0:\n        return 0.0\n    return part / whole\n"
    ),
    inputs=tuple(dumps(each) for each in ((1, 4), (0, 3), (2, 3), (5, 0))),
    tolerance=1e-6,
    split="report",
)
"""Inputs are its tests."""

TALLY = CodeTask(
    task_id="tally",
    entry_point="shop.desk:add_up",
    prompt=(
        "from shop.prices import PRICES\n\n\n"
        "class Tally:\n"
        "    def __init__(self):\n"
        "        self.names = []\n\n"
        "    def total(self):\n"
        '        """What all that was bought costs."""\n'
    ),
    reference=(
        "def total(self):\n"
        '    """What all that was bought costs."""\n'
        "    return sum(PRICES[name] for name in self.names)\n"
    ),
    tests=(
        "def check(candidate):\n"
        "    assert candidate([]) == 0\n"
        "    assert candidate(['pear', 'plum', 'pear']) == 8\n"
    ),
    files=(
        SourceFile(path="shop/__init__.py", text=""),
        SourceFile(path="shop/prices.py", text="PRICES = {'pear': 3, 'plum': 2}\n"),
        SourceFile(
            path="shop/desk.py",
            text=(
                "from shop.tally import Tally\n\n\n"
                "def add_up(names):\n"
                "    tally = Tally()\n"
                "    tally.names.extend(names)\n"
                "    return tally.total()\n"
            ),
        ),
    ),
    module="shop/tally.py",
    template=(
        "from shop.prices import PRICES\n\n\n"
        "class Tally:\n"
        "    def __init__(self):\n"
        "        self.names = []\n\n"
        f"    {MARKER}\n"
    ),
    split="report",
)
"""A method in a project."""

CODES: dict[str, tuple[tuple[str, str], ...]] = {
    "doubled": (
        ("pass", DOUBLED.reference),
        ("wrong_value", "def doubled(numbers):\n    return [2 * each for each in numbers[1:]]\n"),
        ("exception", "def doubled(numbers):\n    return [2 * numbers[i + 1] for i in numbers]\n"),
        ("syntax", "def doubled(numbers:\n    return numbers\n"),
        ("no_entry", "def doubling(numbers):\n    return numbers\n"),
        ("wrong_value", "def doubled(numbers):\n    return [2 * each for each in numbers[1:]]\n"),
    ),
    "middle": (
        ("pass", MIDDLE.reference),
        ("wrong_value", "def middle(words):\n    return words[len(words) // 2]\n"),
    ),
    "share": (
        ("pass", "def share(part, whole):\n    return part * (1 / whole) if whole else 0.0\n"),
        ("exception", "def share(part, whole):\n    return part / whole\n"),
        ("wrong_value", "def share(part, whole):\n    return part // whole if whole else 0.0\n"),
    ),
    "tally": (
        ("pass", TALLY.reference),
        ("wrong_value", "def total(self):\n    return len(self.names)\n"),
    ),
}
"""Task -> status and code of each of its runs, by number; the last of `doubled` is its second."""

MODEL = "by-hand"


def tasks() -> tuple[CodeTask, ...]:
    """Two plain ones with tests, one whose tests are inputs, one in a project."""
    return DOUBLED, MIDDLE, SHARE, TALLY


def task(name: str) -> CodeTask:
    """One of them."""
    return next(each for each in tasks() if each.task_id == name)


def runs(*names: str) -> tuple[RunRecord, ...]:
    """All runs, or those of these tasks."""
    return tuple(
        RunRecord(task_id=name, model=MODEL, run=number, code=code, recorded_pass=status == "pass")
        for name, codes in CODES.items()
        if not names or name in names
        for number, (status, code) in enumerate(codes)
    )


STATUS: dict[str, str] = {
    f"{name}|{MODEL}|{number}": status
    for name, codes in CODES.items()
    for number, (status, _) in enumerate(codes)
}
"""Key of a run -> the status that running it has to find."""


def write(folder: Path, *names: str) -> tuple[Path, Path]:
    """Files of tasks and runs, all or those of these tasks."""
    chosen = [each for each in tasks() if not names or each.task_id in names]
    write_jsonl(folder / "tasks.jsonl", chosen)
    write_jsonl(folder / "runs.jsonl", runs(*names))
    return folder / "tasks.jsonl", folder / "runs.jsonl"
