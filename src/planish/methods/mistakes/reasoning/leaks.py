"""Whether an edit gives away what the tests ask, or no longer describes the task.

    why = gives_away(task, edit, failures)     "" where it is clean
    why = breaks(tasks_and_edits, box, references)

An edit that leaks is told and not scored. Of the edited prompt only what the old prompt did not
have counts. A result such as True, 0 or [] says little by itself, and a prompt can hardly do
without it: it leaks where it stands beside the failing input's arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.jobs import Box, References, agree, test_job
from planish.methods.mistakes.reasoning.edits import PromptEdit, asked_task, code_in
from planish.methods.mistakes.reasoning.failures import (
    Call,
    Failures,
    canonical,
    reference_values,
    unpacked,
)
from planish.methods.mistakes.reasoning.prompts import demonstrations
from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["breaks", "gives_away", "held_out", "spellings"]

_SMALL = 10  # whole numbers below are in any prompt
_LONG_LINE = 12  # of the reference: shorter ones are in any function
_NO_LINE = ("def ", "async def ", "import ", "from ", "@", "#", '"""', "'''", "class ")
_NEAR = 200  # characters between an input and its result that belong together


def spellings(value: Any) -> frozenset[str]:
    """How a value may be written: Python's ways, JSON's, with and without brackets, in bases."""
    found = set(_spelled(value))
    return frozenset(_plain(text) for text in found if text.strip())


def _spelled(value: Any) -> Iterator[str]:
    yield repr(value)
    yield str(value)
    if isinstance(value, bool) or value is None:
        yield str(value).lower()
    elif isinstance(value, int):
        yield f"{value:,}"
        yield f"{value}.0"
        if abs(value) >= _SMALL:
            yield from (hex(value), bin(value), oct(value), f"{value:_}")
    elif isinstance(value, float):
        yield f"{value:g}"
        yield from (f"{value:.{digits}f}" for digits in (1, 2, 3, 6))
        if value == value and value not in (float("inf"), float("-inf")) and value == int(value):
            yield str(int(value))
    elif isinstance(value, str):
        yield json.dumps(value)
        yield json.dumps(value, ensure_ascii=False)
        yield repr(value)[1:-1]
    elif isinstance(value, list | tuple | set | frozenset):
        yield from _rows(
            list(value) if isinstance(value, list | tuple) else sorted(value, key=repr)
        )
    elif isinstance(value, dict):
        yield ", ".join(f"{key!r}: {item!r}" for key, item in value.items())
        yield ", ".join(f"{key}: {item}" for key, item in value.items())


def _rows(items: list[Any]) -> Iterator[str]:
    for write in (repr, str, _json):
        inner = [write(item) for item in items]
        for left, right in ("[]", "()", "{}"):
            yield f"{left}{', '.join(inner)}{right}"
        if len(items) > 1:
            yield from (", ".join(inner), " ".join(inner), "\n".join(inner))
            yield f"{', '.join(inner[:-1])} and {inner[-1]}"


def _json(value: Any) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)


def _plain(text: str) -> str:
    """One spelling of quotes and of spaces, in lower case."""
    text = re.sub(r"\s+", " ", text.replace("'", '"').replace("`", " ")).strip().lower()
    return re.sub(r"\s*([\[\](){},:])\s*", r"\1", text)


def _occurrences(needle: str, text: str) -> int:
    left = r"(?<![\w.])" if needle[:1].isalnum() or needle[:1] == "_" else ""
    right = r"(?![\w]|\.\d)" if needle[-1:].isalnum() or needle[-1:] == "_" else ""
    return len(re.findall(left + re.escape(needle) + right, text))


def _telling(value: Any) -> bool:
    """Whether a value is so particular that its mere mention gives it away."""
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return not (value == int(value) and abs(value) < _SMALL) if value == value else False
    if isinstance(value, str):
        return len(value.strip()) > 2
    if isinstance(value, list | tuple | set | frozenset):
        return len(value) > 1 or any(_telling(item) for item in value)
    return bool(value)


def gives_away(task: CodeTask, edit: PromptEdit, failures: Failures) -> str:
    """What an edit gives away, in one line; "" where it is clean.

    Args:
        failures: of the task: its failing inputs are those that must not be answered.
    """
    old, new = _plain(task.prompt), _plain(edit.prompt)
    tested = {call.arguments for call in failures.calls}
    for call in failures.failing:
        if call.arguments in tested and _mentions(call, old, new):
            return f"the edit holds the expected output of a failing test: {call.value[:80]}"
    if given := tested & (set(edit.shown) | _demonstrated(task, edit)):
        return f"the edit shows an input of the tests: {min(given)[:80]}"
    for line in _lines(task.reference):
        if _plain(line) in new and _plain(line) not in old:
            return f"the edit holds a line of the reference: {line[:80]}"
    return ""


def _demonstrated(task: CodeTask, edit: PromptEdit) -> set[str]:
    """Arguments of what the edit demonstrates, and the prompt did not, or with another result."""
    failures = Failures(task)
    if not failures.own_calls:
        return set()

    old = [
        (canonical(demo.arguments), demo.result)
        for demo in demonstrations(task.prompt, failures.name)
    ]
    return {
        given
        for demo in demonstrations(edit.prompt, edit.name or failures.name)
        for given in [canonical(demo.arguments)]
        if (given, demo.result) not in old
    }


def _mentions(call: Call, old: str, new: str) -> bool:
    value = loads(call.value)
    more = [text for text in spellings(value) if _occurrences(text, new) > _occurrences(text, old)]
    if not more:
        return False
    if _telling(value):
        return True
    arguments = _plain(", ".join(map(repr, unpacked(call.arguments))))
    if not arguments:
        return False
    for place in re.finditer(re.escape(arguments), new):
        beside = new[place.end() : place.end() + _NEAR]
        if beside not in old and any(_occurrences(text, beside) for text in more):
            return True
    return False


def _lines(reference: str) -> Iterator[str]:
    for line in reference.splitlines():
        text = line.strip()
        skipped = text.startswith(_NO_LINE) or not re.search(r"[=(\[]|return ", text)
        if len(text) >= _LONG_LINE and not skipped:
            yield text


def breaks(
    edits: Sequence[tuple[CodeTask, PromptEdit]], box: Box, references: References
) -> list[str]:
    """For each edit why the reference does not go with it any more, or "".

    The reference is taken through all that a reply goes through, other names included, and has to
    pass the unchanged tests; what the edit demonstrates has to be what it returns.
    """
    if not edits:
        return []
    jobs = []
    for index, (task, edit) in enumerate(edits):
        asked = asked_task(task, edit.prompt, edit.name)
        reply = f"```python\n{asked.reference.strip()}\n```"
        code = code_in(reply, task, edit.prompt, edit.name)
        jobs.append(test_job(task, code, f"{task.task_id}|edit|{index}", references.limits(task)))
    shown = [_new_demonstrations(task, edit) for task, edit in edits]
    values = reference_values(
        [(task, [text for text, _ in each]) for (task, _), each in zip(edits, shown, strict=True)],
        box,
        references,
    )
    found = []
    for (task, _), result, said, known in zip(edits, box.run(jobs), shown, values, strict=True):
        settled = references.settle(task, result)
        found.append(
            _why(settled.status, said, {call.arguments: call.value for call in known}, task)
        )
    return found


def _why(
    status: str, said: Sequence[tuple[str, str]], known: dict[str, str], task: CodeTask
) -> str:
    if status != "pass":
        return f"the reference does not pass the tests with it ({status})"
    for arguments, result in said:
        if arguments in known and not agree(known[arguments], result, max(task.tolerance, 1e-9)):
            return f"the reference contradicts what it demonstrates: {arguments[:80]}"
    return ""


def _new_demonstrations(task: CodeTask, edit: PromptEdit) -> list[tuple[str, str]]:
    """Arguments and results of the demonstrations that the old prompt did not have."""
    failures = Failures(task)
    if not failures.own_calls:
        return []
    old = {
        (canonical(demo.arguments), repr(demo.result))
        for demo in demonstrations(task.prompt, failures.name)
    }
    found = []
    for demo in demonstrations(edit.prompt, edit.name or failures.name):
        arguments = canonical(demo.arguments)
        if arguments and (arguments, repr(demo.result)) not in old:
            try:
                found.append((arguments, dumps(demo.result)))
            except UnknownType:
                continue
    return found


def held_out(task: CodeTask, edit: PromptEdit, failures: Failures) -> tuple[Call, ...]:
    """Calls, of the tests and drawn, that neither the prompt nor the edit shows."""
    shown = set(edit.shown)
    for prompt, name in ((task.prompt, failures.name), (edit.prompt, edit.name or failures.name)):
        shown |= {canonical(demo.arguments) for demo in demonstrations(prompt, name)}
    return tuple(call for call in (*failures.calls, *failures.drawn) if call.arguments not in shown)
