"""Tasks whose function needs a project around it, and code for them that is known to be wrong.

    >>> task = project_tasks()[0]
    >>> task.entry_point, task.module
    ('driver:free_places', 'boardgame/grid.py')

Each folder is one small package of our own, kept as data: `inventory/stock.py.txt` is the project's
`inventory/stock.py`, and nothing here is ever imported. In a module a function that is a task
stands between the lines `# task: NAME` and `# end`; it is the reference. `project.toml` tells, for
each, what a model is shown beside the module, how inputs are drawn, the tests, and the mistakes:
most of them as the one change `from` -> `to` of the reference. `driver.py` takes plain data, builds
the project's objects and calls the function, because only plain data enters a sandbox.

The second situation of arXiv 2411.01414, as CoderEval has it; packages and mistakes are ours.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from planish.methods.mistakes.data import MARKER, CodeTask, Labelled
from planish.tasks.sandbox.contract import SourceFile

__all__ = ["project_mistakes", "project_tasks"]

_REGION = re.compile(
    r"^(?P<indent> *)# task: (?P<name>\w+)\n(?P<code>.*?)^(?P=indent)# end\n", re.DOTALL | re.M
)


def project_tasks() -> tuple[CodeTask, ...]:
    """Our tasks with a project around them, always in the same order (ours)."""
    return _read()[0]


def project_mistakes() -> tuple[Labelled, ...]:
    """Wrong code for them, made and labelled by hand, in the order of the tasks (ours)."""
    return _read()[1]


@functools.cache
def _read() -> tuple[tuple[CodeTask, ...], tuple[Labelled, ...]]:
    tasks: list[CodeTask] = []
    mistakes: list[Labelled] = []
    folders = [each for each in resources.files(__name__).iterdir() if each.is_dir()]
    for folder in sorted(folders, key=lambda folder: folder.name):
        description = folder.joinpath("project.toml")
        if not description.is_file():
            continue
        files = dict(_sources(folder))
        table = tomllib.loads(description.read_text(encoding="utf-8"))
        for row in table["task"]:
            wrong = row.pop("mistake")
            task = _task(folder.name, table["split"], files, row)
            tasks.append(task)
            mistakes += [_mistake(task, each) for each in wrong]
    return tuple(tasks), tuple(mistakes)


def _sources(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    """(path in the project, text) of every module."""
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        if each.is_dir():
            yield from _sources(each, f"{path}{each.name}/")
        elif each.name.endswith(".py.txt"):
            yield f"{path}{each.name.removesuffix('.txt')}", each.read_text(encoding="utf-8")


def _task(project: str, split: str, files: dict[str, str], row: dict[str, Any]) -> CodeTask:
    function, module, owner = row.pop("function"), row.pop("module"), row.pop("owner", "")
    context = row.pop("context", [])
    template = _plain(files[module], keep=function)
    (region,) = [each for each in _REGION.finditer(files[module]) if each["name"] == function]
    reference = textwrap.dedent(region["code"])
    others = {path: _plain(text) for path, text in files.items() if path != module}
    shown = [(path, others[path]) for path in context]
    return CodeTask.model_validate(
        {
            "task_id": f"own/projects/{project}/{function}",
            "prompt": _prompt(reference, owner, module, template, shown),
            "reference": reference,
            "files": [SourceFile(path=path, text=text) for path, text in others.items()],
            "module": module,
            "template": template,
            "split": split,
            "meta": {"project": project, "function": function, "class": owner},
            **row,
        }
    )


def _plain(text: str, keep: str = "") -> str:
    """The module without the lines around tasks, and with the marker for the task `keep`."""

    def replaced(region: re.Match[str]) -> str:
        return f"{region['indent']}{MARKER}\n" if region["name"] == keep else region["code"]

    return _REGION.sub(replaced, text)


def _prompt(
    reference: str, owner: str, module: str, template: str, shown: Sequence[tuple[str, str]]
) -> str:
    """What is around the function, as comments, and then its signature and description."""
    what = f"a method of {owner}" if owner else "a function"
    lines = [f"Write {what} in {module}. The project around it:", ""]
    for path, text in [*shown, (module, template.replace(MARKER, "... <- here"))]:
        lines += [path, "", *textwrap.indent(text.strip(), "    ").split("\n"), ""]
    comments = "\n".join(f"# {line}".rstrip() for line in lines)
    return f"{comments}\n{_asked(reference)}"


def _asked(reference: str) -> str:
    """Signature and description."""
    (function,) = ast.parse(reference).body
    assert isinstance(function, ast.FunctionDef)
    description = function.body[0]
    return "\n".join(reference.split("\n")[: description.end_lineno]) + "\n"


def _mistake(task: CodeTask, row: dict[str, Any]) -> Labelled:
    code, line = row.get("code"), row.get("line")
    if code is None:
        if task.reference.count(row["from"]) != 1:
            raise ValueError(f"{task.task_id}: {row['from']!r} is not once in the reference")
        code = task.reference.replace(row["from"], row["to"])
        line = line or _first_change(task.reference, code)
    return Labelled(
        task_id=task.task_id, category=row["category"], code=code, line=line, note=row["note"]
    )


def _first_change(before: str, after: str) -> int:
    """The first line, from 1, that is another one."""
    pairs = zip(before.split("\n"), after.split("\n"), strict=False)
    return next(number for number, (old, new) in enumerate(pairs, 1) if old != new)
