"""Stages `show`, `diff` and `export-skill`: what is in a skill library, as people read it.

planish cowork show full
planish cowork diff impaired last
planish cowork export-skill runs/cowork/20250102-030405-evolve --out skills/kitchen

A library is named by a JSON file, by a name that ships in the package, or by a run of
`planish cowork evolve` ("last" is the newest). A run of `play` stands for what it played.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.methods.cowork.data import Patch
from planish.methods.cowork.improving.patches import between, node_of
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.method import drift
from planish.methods.cowork.showing.edits import edits
from planish.methods.cowork.skills import ROOT, SHIPPED, Library, Method, Operator, load_library
from planish.records import BadInput
from planish.runs.console import Screen, command
from planish.runs.info import INFO
from planish.runs.options import RUNS, Json, RunsDir
from planish.runs.store import find, list_runs

__all__ = ["check_named_again", "diff", "export_skill", "find_library", "new_file", "show"]

LEFT_BY_RUN = Path("artifacts", "library.json")
"""Where a run of `evolve` leaves its active library."""

_ROOM = "cowork"
_DEEPEST_INDENT = 24
_PIPE_WIDTH = 120


def show(library: str, /, *, runs: RunsDir = RUNS, json: Json = False) -> int:
    """Show a skill library: its tasks with their methods, and its parameters.

    Args:
        library: A JSON file, impaired, full, or a run of evolve (a path, a name, or last).
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    found, screen = find_library(library, runs), Screen(json=json)
    locked = [
        f"{kind}/{node.id}"
        for kind in ("params", "operators", "methods")
        for node in getattr(found, kind)
        if node.locked
    ]
    title = f"{found.name} {found.digest}: {found.size} nodes, about {found.tokens} tokens"
    screen.say(f"{title}, {len(locked)} locked" if locked else title)
    if found.description:
        screen.say(printable(found.description, 1024))
    for line in _folded(_tree(found), _width()):
        screen.say(line)
    screen.table(
        ("parameter", "value", "from", "to", "step"),
        [
            (node.id, *(f"{number:g}" for number in (node.value, node.min, node.max, node.step)))
            for node in found.params
        ],
    )
    rival = next(name for name in SHIPPED if name != library)
    summary = {
        "name": found.name,
        "digest": found.digest,
        "nodes": found.size,
        "tokens": found.tokens,
        "locked": locked,
        "tasks": {task: [m.id for m in _ranked(found, task)] for task in _tasks(found)},
        "library": found.model_dump(mode="json"),
    }
    screen.close(summary, then=[command("planish", "cowork", "diff", rival, library)])
    return 0


def diff(first: str, second: str, /, *, runs: RunsDir = RUNS, json: Json = False) -> int:
    """Show what turns one skill library into another, node by node.

    Args:
        first: A JSON file, impaired, full, or a run of evolve (a path, a name, or last).
        second: Another library, named in the same way.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    before, after = find_library(first, runs), find_library(second, runs)
    screen, ops = Screen(json=json), between(before, after)
    moved = drift(after, before)
    screen.say(f"{before.name} {before.digest} -> {after.name} {after.digest}")
    nodes = {node_of(op) for op in ops}
    screen.say(
        f"drift {moved:.2f}, {len(nodes)} nodes differ" if ops else "they act in the same way"
    )
    for line in _folded(_changes(before, ops), _width()):
        screen.say(line)
    summary = {
        "from": before.digest,
        "to": after.digest,
        "drift": round(moved, 6),
        "nodes": sorted(nodes),
        "ops": list(ops),
    }
    screen.close(summary, then=[command("planish", "cowork", "show", second)])
    return 0


def export_skill(
    library: str,
    /,
    *,
    out: Path,
    name: str | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Write a skill library as an agent skill: SKILL.md, with the library beside it.

    Args:
        library: A JSON file, impaired, full, or a run of evolve (a path, a name, or last).
        out: Folder of the skill.
        name: Name of the skill; the folder's if that is a valid one, else the library's.
        force: Replace a skill that is there.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    from planish.methods.cowork.showing.skill import make_skill, write_skill

    skill = make_skill(find_library(library, runs), name=name, folder=out)
    write_skill(skill, out, force=force)
    screen = Screen(json=json)
    if out.resolve().name != skill.name:
        screen.note(f"agents look for this skill in a folder called {skill.name}")
    summary = {
        "name": skill.name,
        "skill": str(out / "SKILL.md"),
        "library": str(out / "library.json"),
        "digest": skill.library.digest,
        "body_tokens": skill.tokens,
        "left_out": skill.left_out,
    }
    screen.say(f"{out / 'SKILL.md'}: skill {skill.name}, about {skill.tokens} tokens")
    then = command("planish", "cowork", "show", out / "library.json")
    screen.close(summary, then=[then])
    return 0


def find_library(name: str, runs: Path = RUNS) -> Library:
    """A library by file, by shipped name, or by the run that left it.

    Raises:
        BadInput: none of these, or a library that cannot be read.
    """
    path = Path(name)
    if name in SHIPPED or path.is_file():
        return load_library(name)
    if path.is_dir() and not (path / INFO).exists():
        return load_library(path / LEFT_BY_RUN if (path / LEFT_BY_RUN).exists() else path)
    if path.suffix == ".json":
        return load_library(path)
    found = _run_folder(name, runs) / LEFT_BY_RUN
    if not found.is_file():
        raise BadInput(
            "the run has left no library",
            where=str(found.parent.parent),
            fix="name a run of `planish cowork evolve`",
        )
    return load_library(found)


def check_named_again(name: str | None, before: str, was: str, runs: Path = RUNS) -> None:
    """Checks a library that is named again for a run that goes on; the run has its own copy.

    Args:
        name: as it is named now. Another name is told of with the rest of the plan; what has gone
            since, and `last`, which names another run by now, are not checked.
        before: as it was named when the run began; was: its digest then.

    Raises:
        BadInput: it is another one by now, or cannot be read.
    """
    if name is None or name != before or name == "last":
        return
    try:
        found = find_library(name, runs)
    except BadInput:
        if Path(name).exists():
            raise
        return
    if found.digest != was:
        raise BadInput("has changed since the run began", where=name, fix="start a new run")


def new_file(out: Path | str | None) -> str | None:
    """Where a library is to go: its absolute path; never over what is there.

    Raises:
        BadInput: something is there, or nothing can be written there.
    """
    if out is None:
        return None
    path = Path(out).absolute()
    try:
        is_there = path.exists()
    except OSError as error:  # such as a name of 5,000 letters
        raise BadInput(f"{error.strerror}", where="--out", fix="choose another file") from None
    if is_there:
        raise BadInput("exists already", where=f"--out {out}", fix="choose another file")
    above = next(folder for folder in path.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"{above} cannot be written to", where=f"--out {out}", fix="choose another")
    return str(path)


def _run_folder(name: str, runs: Path) -> Path:
    """As everywhere, but that other rooms' runs do not count: they leave no library."""
    if (Path(name) / INFO).exists():
        return find(runs, name).path
    if name == "last":
        # A run of `play` keeps a copy of what it played, but has made no library.
        mine = [run for run in list_runs(runs, _ROOM) if run.info and run.info.stage != "play"]
        if mine:
            return mine[0].path
    try:
        return find(runs, f"{_ROOM}/{name.removeprefix(f'{_ROOM}/')}").path
    except BadInput as error:
        if not error.what.startswith("no run"):
            raise
        raise BadInput(
            f"no library is called {printable(name, 80)!r}",
            fix=f"give a JSON file, one of {', '.join(SHIPPED)}, or a run of this room in {runs}",
        ) from None


# ---- in words ---------------------------------------------------------------------------------


def _tasks(library: Library) -> tuple[str, ...]:
    """The root, and every other task in the order of its first method."""
    return tuple(dict.fromkeys([ROOT, *(method.task for method in library.methods)]))


def _ranked(library: Library, task: str) -> list[Method]:
    """A task's methods, in the order in which they are tried."""
    mine = [method for method in library.methods if method.task == task]
    return sorted(mine, key=lambda method: (-method.priority, method.id))


def _tree(library: Library) -> Iterator[tuple[int, str]]:
    """(depth, line) from the root down; a task that comes again is only named."""
    operators = {operator.id: operator for operator in library.operators}
    shown: set[str] = set()

    def visit(task: str, depth: int) -> Iterator[tuple[int, str]]:
        if task in operators:
            yield depth, _operator(operators[task])
            return
        if task in shown:
            yield depth, f"{task}: as above"
            return
        shown.add(task)
        yield depth, f"{task}:"
        for method in _ranked(library, task):
            yield depth + 1, _method(method)
            for subtask in method.subtasks:
                yield from visit(subtask, depth + 2)

    yield from visit(ROOT, 0)
    spare = [name for name in operators if name not in _used(library)]
    if spare:
        yield 0, f"used by no method: {', '.join(spare)}"


def _used(library: Library) -> set[str]:
    return {subtask for method in library.methods for subtask in method.subtasks}


def _method(method: Method) -> str:
    parts = [f"{method.priority:g} {method.id}"]
    if method.locked:
        parts.append("[locked]")
    if method.roles:
        parts.append(f"for {' or '.join(method.roles)}")
    if method.when:
        parts.append(f"when {' and '.join(method.when)}")
    if method.interrupt_when:
        parts.append(f"until {' or '.join(method.interrupt_when)}")
    if method.stats.tried:
        parts.append(f"[{method.stats.succeeded} of {method.stats.tried} ended well]")
    return " ".join(parts)


def _operator(operator: Operator) -> str:
    args = ", ".join(f"{key}={value}" for key, value in operator.args.items())
    parts = [f"{operator.id} = {operator.controller}({args})"]
    if operator.locked:
        parts.append("[locked]")
    if operator.pre:
        parts.append(f"while {' and '.join(operator.pre)}")
    if operator.expect:
        parts.append(f"until {' and '.join(operator.expect)}")
        parts.append(f"or {operator.timeout_ticks} ticks")
    return " ".join(parts)


def _changes(before: Library, ops: tuple[dict[str, Any], ...]) -> Iterator[tuple[int, str]]:
    """(depth, line): the sign and the node, and below it what changes."""
    patch = Patch(base_hash=before.digest, rationale="", ops=ops)
    last = ""
    for edit in edits(patch, before):
        if edit.field:
            if edit.node != last:
                yield 0, f"~ {edit.node}"
            yield 2, f"{edit.field}: {edit.before or 'none'} -> {edit.after or 'none'}"
        elif edit.before:
            yield 0, f"- {edit.node}"
            yield 2, edit.before
        else:
            yield 0, f"+ {edit.node}"
            yield 2, edit.after
        last = edit.node


def _width() -> int:
    """Columns of the terminal; of a pipe as many as the tables are given."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


def _folded(lines: Iterator[tuple[int, str]], width: int) -> Iterator[str]:
    """Indented lines, folded below their own beginning; deep ones stay near the left."""
    for depth, line in lines:
        indent = " " * min(2 * depth, _DEEPEST_INDENT, width // 3)
        yield from textwrap.wrap(
            line,
            max(20, width),
            initial_indent=indent,
            subsequent_indent=f"{indent}    ",
            break_on_hyphens=False,
        )
