"""Tasks in the shape of CoderEval: a function inside a module, a class or a project.

A line has the fields of its records

    _id (or task_id)     names the task
    name                 of the function; `code`: its source as it is right
    docstring            what it does; human_label: the same in a person's words
    level                "self_contained", "slib_runnable", "plib_runnable", "class_runnable",
                         "file_runnable" or "project_runnable"
    file_path            of its module in the project; `file_content`: the module
    lineno, end_lineno   where the function stands in `file_content`, from 1
    project              such as "owner/name"; all_context, oracle_context: kept, not used

and, because the original's tests live in containers of their own,

    tests (or test)      source that defines `check(candidate)`
    entry_point          "package.module:name" of a function of the project that calls it with plain
                         data; needed for methods
    files                {path: text} of the project; without it, every text file of the folder
                         `<file without .jsonl>/<project>/` (or owner---name) beside the file
    prompt               what a model is given; made of signature and docstring where it is missing

The original file, one JSON object with a list `RECORDS`, is read as well (.json), once its records
have tests. Numbers of lines may be texts.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from planish.methods.mistakes.data import MARKER, CodeTask
from planish.methods.mistakes.loading.fields import Line
from planish.methods.mistakes.loading.sources import parse
from planish.tasks.sandbox.contract import SourceFile

__all__ = ["LEVELS", "from_codereval"]

LEVELS = (
    "self_contained",
    "slib_runnable",
    "plib_runnable",
    "class_runnable",
    "file_runnable",
    "project_runnable",
)
"""What a function needs around it: nothing, the standard library, others, its class, its module,
its project."""

_MOST_BYTES = 1_000_000  # of one file of a project; larger ones are data, not source
_KEPT = ("level", "project", "package", "all_context", "oracle_context", "human_label")


def from_codereval(line: Line, path: Path) -> CodeTask:
    """One line as a task, with the project's files from the line or from the folder beside `path`.

    Raises:
        BadInput: a field is missing or of the wrong type, the lines are not those of a function, or
            a file of the project would lie outside it.
    """
    level = line.text("level", default="self_contained")
    if level not in LEVELS:
        raise line.bad(f"unknown level {level!r}", fix=f"known: {', '.join(LEVELS)}")
    name = line.name("name")
    module = line.inside(line.text("file_path", default="candidate.py"))
    template, taken, indent = _template(line)
    entry = line.text("entry_point", default="")
    if not entry and indent:
        raise line.bad(
            f"{name!r} stands inside a class or a function",
            fix="name a function of the project that calls it in 'entry_point' "
            "(package.module:name)",
        )
    reference = textwrap.dedent(line.text("code", default=taken).expandtabs(4)).strip("\n") + "\n"
    return CodeTask(
        task_id=line.name("_id", "task_id"),
        entry_point=entry or name,
        prompt=line.text("prompt", default="") or _prompt(line, reference, template),
        reference=reference,
        tests=_tests(line),
        files=tuple(each for each in _files(line, path) if each.path != module),
        module=module,
        template=template,
        meta={each: line.value[each] for each in _KEPT if line.has(each)},
    )


def _tests(line: Line) -> str:
    if not line.has("tests") and not line.has("test"):
        raise line.bad(
            "has no tests: those of CoderEval are in the containers of its projects",
            fix="add a field 'tests' that defines `check(candidate)`",
        )
    return line.text("tests", "test", empty=False)


def _template(line: Line) -> tuple[str, str, int]:
    """The module with the marker in the function's place, the function, and its indent."""
    lines = line.text("file_content", empty=False).expandtabs(4).split("\n")
    first, last = _number(line, "lineno"), _number(line, "end_lineno")
    if not 1 <= first <= last <= len(lines):
        raise line.bad(
            f"lines {first} to {last} are not in 'file_content', which has {len(lines)}",
            fix="count 'lineno' and 'end_lineno' from 1",
        )
    # Decorators stay with the function: a reply brings none of its own.
    taken = lines[first - 1 : last]
    if parse(textwrap.dedent("\n".join(taken))) is None:
        raise line.bad(f"lines {first} to {last} of 'file_content' are no function")
    indent = len(taken[0]) - len(taken[0].lstrip())
    whole = [*lines[: first - 1], f"{' ' * indent}{MARKER}", *lines[last:]]
    return "\n".join(whole), "\n".join(taken), indent


def _number(line: Line, name: str) -> int:
    found = line.value.get(name)
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 10:
        return int(found)
    return line.whole(name)


def _prompt(line: Line, reference: str, template: str) -> str:
    """The module with signature and docstring where the function goes."""
    words = line.text("docstring", "human_label", default="").strip()
    signature = _signature(reference, line)
    shown = f"{signature}\n" + textwrap.indent(f'"""{words}"""', "    ")
    before = template.partition(MARKER)[0].rstrip(" ")
    indent = len(template.partition(MARKER)[0]) - len(before)
    return before + textwrap.indent(shown, " " * indent) + "\n"


def _signature(reference: str, line: Line) -> str:
    tree = parse(reference)
    if tree is None or not tree.body or not hasattr(tree.body[0], "body"):
        raise line.bad("the field 'code' is no function", fix="mend it")
    body = tree.body[0].body[0]
    lines = reference.split("\n")[: body.lineno - 1]
    if not lines:  # all on one line
        return reference[: body.col_offset].rstrip()
    return "\n".join(lines).rstrip()


# ---- the project -----------------------------------------------------------------------------


def _files(line: Line, path: Path) -> Iterator[SourceFile]:
    given = line.value.get("files")
    if given is None:
        yield from _beside(line, path)
        return
    if not isinstance(given, dict):
        raise line.wrong("files", "an object {path: text}", given)
    for name, text in given.items():
        if not isinstance(text, str):
            raise line.wrong(f"files.{name}", "a text", text)
        yield SourceFile(path=line.inside(name), text=text)


def _beside(line: Line, path: Path) -> Iterator[SourceFile]:
    project = line.text("project", default="")
    home = path.with_name(path.name.removesuffix(".gz").removesuffix(".jsonl"))
    folders = [home / name for name in (project, project.replace("/", "---")) if name]
    folder = next((each for each in folders if each.is_dir()), None)
    if folder is None or home.resolve() not in folder.resolve().parents:
        if line.text("level", default="") == "project_runnable":
            raise line.bad(
                f"the files of the project {project!r} are missing",
                fix=f"put them into {folders[-1] if folders else home}, or into 'files'",
            )
        return
    for found in sorted(folder.rglob("*")):
        inside = found.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if hidden or found.is_symlink() or not found.is_file():
            continue
        if found.stat().st_size > _MOST_BYTES:
            continue
        try:
            yield SourceFile(path=inside.as_posix(), text=found.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # not source
