"""A library as an agent skill: a SKILL.md that an agent can act from, and the library beside it.

    write_skill(make_skill(library, folder=Path("skills/kitchen")), Path("skills/kitchen"))

The front matter and its limits are those of the Agent Skills format (agentskills.io): a name of
lower-case letters, digits and single hyphens that is also the folder's, a description of at most
1,024 characters, and a body under 5,000 tokens.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.skills import ROOT, Library, Method, Operator, read_call
from planish.records import BadInput, write_text

__all__ = ["Skill", "make_skill", "write_skill"]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONGEST_NAME, _LONGEST_DESCRIPTION = 64, 1024
_BODY_TOKENS = 4_900
_BYTES_PER_TOKEN = 3  # names in a library make short tokens; English has four and more
_WHEN = "Use it to act as one of two cooks in a shared kitchen without asking a model every tick."


@dataclass(frozen=True)
class Skill:
    """What is written.

    Args:
        body: Markdown below the front matter; tokens: about how many it has.
        left_out: methods, operators and explanations that did not fit and are in the JSON only.
    """

    name: str
    description: str
    body: str
    library: Library
    left_out: int = 0

    @property
    def tokens(self) -> int:
        """Of the body, estimated high."""
        return -(-len(self.body.encode()) // _BYTES_PER_TOKEN)

    def text(self) -> str:
        """The whole SKILL.md."""
        # A JSON string is a YAML string, whatever it holds.
        description = json.dumps(self.description, ensure_ascii=False)
        return f"---\nname: {self.name}\ndescription: {description}\n---\n\n{self.body}"


def make_skill(library: Library, *, name: str | None = None, folder: Path | None = None) -> Skill:
    """The skill of a library.

    Args:
        name: by default the folder's where that is a valid one, else the library's.

    Raises:
        BadInput: the name is not one that a skill may have.
    """
    if name is None:
        name = folder.resolve().name if folder is not None else ""
        if not _is_name(name):
            name = re.sub(r"[^a-z0-9]+", "-", library.name).strip("-")[:_LONGEST_NAME].strip("-")
    if not _is_name(name):
        raise BadInput(
            f"{printable(name, 80)!r} cannot be the name of a skill",
            where="--name",
            fix="use 1 to 64 lower-case letters and digits with single hyphens between them",
        )
    what = printable(library.description, _LONGEST_DESCRIPTION).translate({60: None, 62: None})
    what = what or f"The skill library {library.name}: tasks of a kitchen for two cooks."
    description = printable(f"{what} {_WHEN}", _LONGEST_DESCRIPTION)
    body, left_out = _body(library)
    return Skill(name, description, body, library, left_out)


def write_skill(skill: Skill, folder: Path, *, force: bool = False) -> None:
    """Writes SKILL.md and library.json; a new folder appears whole or not at all.

    Raises:
        BadInput: a skill is there already, or the place cannot be written to.
    """
    document = json.dumps(skill.library.model_dump(mode="json"), indent=1) + "\n"
    # The JSON comes first: a SKILL.md is never without the library that it tells of.
    texts = {"library.json": document, "SKILL.md": skill.text()}
    try:
        taken = [name for name in texts if (folder / name).exists()]
        if taken and not force:
            raise BadInput(
                f"{taken[0]} is there already",
                where=str(folder),
                fix="name another folder, or --force to replace it",
            )
        if folder.exists():
            for name, text in texts.items():
                write_text(folder / name, text)
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            for name, text in texts.items():
                write_text(draft / name, text)
            draft.chmod(0o755)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        raise BadInput(
            f"cannot be written: {error.strerror or error}", where=str(folder), fix="check --out"
        ) from None


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST_NAME and _NAME.fullmatch(name) is not None


# ---- the body ---------------------------------------------------------------------------------


def _body(library: Library) -> tuple[str, int]:
    """The Markdown, and how many lines did not fit."""
    head = f"""# {library.name}

Two agents act from this library at once, each for itself and without a word between them. \
`library.json` beside this file is the exact form (digest {library.digest}); names below are \
those of its nodes.

## Each tick

1. From the root task `{ROOT}` down: where an interrupt of a method at work holds, end that method.
2. Go on with the operator at work while its conditions hold and until what it is for is reached.
3. Else choose anew: of a task take the first method below, from the top, whose conditions all \
hold, and begin with its first subtask.
4. Where nothing applies, step aside for the other agent or stay.
"""
    room = (_BODY_TOKENS - 60) * _BYTES_PER_TOKEN - len(head.encode())
    lines, left_out = [], 0
    for line in _sections(library):
        room -= len(line.encode()) + 1
        if room < 0:
            left_out += bool(line.strip())
        else:
            lines.append(line)
    if left_out:
        lines.append(f"\n{left_out} more lines did not fit; `library.json` has all of it.")
    return head + "\n".join(lines) + "\n", left_out


def _sections(library: Library) -> Iterator[str]:
    """Line by line, what matters most first."""
    for task in dict.fromkeys([ROOT, *(method.task for method in library.methods)]):
        yield f"\n## Task `{task}`\n"
        mine = [method for method in library.methods if method.task == task]
        for method in sorted(mine, key=lambda method: (-method.priority, method.id)):
            yield _method(method)
    yield "\n## Operators\n"
    for operator in library.operators:
        yield _operator(operator)
    if library.params:
        yield "\n## Parameters\n"
    for node in library.params:
        yield f"- `{node.id}` = {node.value:g} ({node.min:g} to {node.max:g})"
    yield "\n## What the conditions say\n"
    for name in sorted({read_call(condition).name for _, condition in library.conditions()}):
        yield f"- `{name}`: {PREDICATES[name].doc}"
    yield "\n## What the controllers do\n"
    for name in sorted({operator.controller for operator in library.operators}):
        yield f"- `{name}`: {CONTROLLERS[name].doc}"


def _method(method: Method) -> str:
    parts = [f"- **{method.id}**"]
    if method.roles:
        parts.append(f"({', '.join(method.roles)} only)")
    parts.append(f"when {_all(method.when)}:" if method.when else "always:")
    parts.append(", then ".join(f"`{subtask}`" for subtask in method.subtasks))
    if method.interrupt_when:
        parts.append(f"(interrupted by {_all(method.interrupt_when, 'or')})")
    return " ".join(parts)


def _operator(operator: Operator) -> str:
    args = ", ".join(f"{key}={value}" for key, value in operator.args.items())
    parts = [f"- **{operator.id}**: `{operator.controller}({args})`"]
    if operator.pre:
        parts.append(f"while {_all(operator.pre)}")
    if operator.expect:
        parts.append(f"until {_all(operator.expect)}, for {operator.timeout_ticks} ticks at most")
    else:
        parts.append("for one tick")
    return " ".join(parts)


def _all(conditions: tuple[str, ...], joint: str = "and") -> str:
    return f" {joint} ".join(f"`{condition}`" for condition in conditions)
