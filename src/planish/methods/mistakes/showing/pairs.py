"""Repaired failures as preferences, as `planish rise` takes them.

    pairs = list(made_pairs(tasks, cases))
    write_jsonl("pairs.jsonl", pairs)

The better answer is the failing code with the best repair that passes the task's tests and agrees
with the reference on every input that was tried. Ours: the specification's section 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from planish.methods.mistakes.data import CodeTask, Diagnosed, Repair
from planish.methods.mistakes.loading import chat_of
from planish.methods.mistakes.loading.sources import parse
from planish.methods.mistakes.repairing.mutants import isolated
from planish.methods.mistakes.showing.diagnosed import mended_by
from planish.records import Pair

__all__ = ["applied", "made_pairs", "repaired_code"]

_HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")


def repaired_code(code: str, repair: Repair) -> str | None:
    """The code after a repair; None where its diff does not fit the code."""
    # A repair starts from the code without what only tries it out.
    for before in (isolated(code), code):
        after = applied(before, repair.diff)
        if after is not None and after != code and parse(after) is not None:
            return after
    return None


def applied(before: str, diff: str) -> str | None:
    """A text after a unified diff of it; None where the diff is of another text.

    >>> applied("a\\nb\\n", "--- before\\n+++ after\\n@@ -1,2 +1,2 @@\\n a\\n-b\\n+c")
    'a\\nc\\n'
    """
    lines, made, at, left = before.splitlines(keepends=True), list[str](), 0, 0
    for line in diff.split("\n")[2:]:
        hunk = _HUNK.match(line)
        if hunk and not left:
            left = int(hunk[2] or 1)
            start = int(hunk[1]) - (1 if left else 0)
            if not at <= start <= len(lines):
                return None
            made += lines[at:start]
            at = start
        elif line.startswith("+"):
            if made and not made[-1].endswith(("\n", "\r")):
                made[-1] += "\n"
            made.append(line[1:] + "\n")
        elif at < len(lines) and line[:1] in "- " and lines[at].splitlines() == [line[1:]]:
            if line.startswith(" "):
                made.append(lines[at])
            at, left = at + 1, left - 1
        else:
            return None
    return None if left else "".join([*made, *lines[at:]])


def made_pairs(tasks: Mapping[str, CodeTask], cases: Iterable[Diagnosed]) -> Iterator[Pair]:
    """One pair for each failure that one change mends.

    Args:
        tasks: by id.
        cases: diagnosed failures; those without such a repair are passed over.
    """
    for case in cases:
        repair = mended_by(case.search)
        chosen = None if repair is None else repaired_code(case.run.code, repair)
        if repair is None or chosen is None:
            continue
        yield Pair(
            prompt=chat_of(tasks[case.run.task_id]),
            chosen=chosen,
            rejected=case.run.code,
            meta={
                "category": case.category,
                "task_id": case.run.task_id,
                "run": case.run.key,
                "operator": repair.operator,
                "line": repair.line,
                "diff": repair.diff,
                "inputs": repair.inputs,
            },
        )
