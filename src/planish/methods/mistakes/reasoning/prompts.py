"""Looks into a prompt and changes one thing of it: its sentences, or its demonstrations.

    shown = demonstrations(prompt, "double")         every call with its result
    longer = add_sentence(prompt, "Any x will do.")  before the demonstrations
    moved = to_front(prompt, sentences(prompt)[-1], "Important: ")

Nothing of a prompt is run: it is read as text, and its literals by `ast.literal_eval`.
"""

from __future__ import annotations

import ast
import difflib
import re
from dataclasses import dataclass
from typing import Any

from planish.methods.mistakes.own.elements import words_of

__all__ = [
    "Demonstration",
    "add_demonstration",
    "add_sentence",
    "demonstrations",
    "diff",
    "sentences",
    "to_front",
]

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|(?=\n\s*\n)|\Z)", re.DOTALL)
_HEADING = re.compile(r"^\s*(for example|examples?|e\.g\.)\b.*$", re.IGNORECASE)
_SAYS = re.compile(
    r"\s*(?:==|=>|->|➞|→|⇒|#\s*=>|#\s*returns?|should\s+return|returns|gives|=|is)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Demonstration:
    """One call that a prompt shows, with its result.

    Args:
        start, end: where it stands in the prompt, whole lines for a doctest.
        arguments: of the call; result: as the prompt says, both as Python values.
        said: where the result stands.
        text: all of it.
    """

    start: int
    end: int
    arguments: tuple[Any, ...]
    result: Any
    said: tuple[int, int]
    text: str


def diff(before: str, after: str) -> str:
    """Unified, with two lines around each change."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "prompt", "edited", lineterm="", n=2
    )
    return "\n".join(lines)


# ---- the words -------------------------------------------------------------------------------


def _end_of_words(prompt: str) -> int:
    """Where the description ends and its demonstrations begin."""
    start, end = words_of(prompt)
    place = start
    for line in prompt[start:end].splitlines(keepends=True):
        if line.lstrip().startswith(">>>") or _HEADING.match(line):
            break
        place += len(line)
    return start + len(prompt[start:place].rstrip())


def _indent(prompt: str) -> str:
    """Of the description's lines."""
    start, end = words_of(prompt)
    lines = [line for line in prompt[start:end].split("\n")[1:] if line.strip()]
    if lines:
        return lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    line = prompt[prompt.rfind("\n", 0, start) + 1 : start]
    return line[: len(line) - len(line.lstrip())] if start else ""


def sentences(prompt: str) -> list[tuple[int, int]]:
    """Where the sentences of the description stand, demonstrations left out."""
    start, _ = words_of(prompt)
    end = _end_of_words(prompt)
    return [
        (start + found.start(), start + found.end())
        for found in _SENTENCE.finditer(prompt[start:end])
    ]


def add_sentence(prompt: str, sentence: str) -> str:
    """Puts a paragraph at the end of the description, before its demonstrations."""
    place, indent = _end_of_words(prompt), _indent(prompt)
    before, after = prompt[:place], prompt[place:]
    gap = "\n\n" if before.strip() and not before.endswith(('"""', "'''")) else ""
    added = f"{gap}{indent if gap else ''}{sentence}"
    if after and not after.startswith("\n"):
        added += f"\n{indent}"
    return before + added + after


def to_front(prompt: str, place: tuple[int, int], flag: str = "") -> str:
    """Moves a sentence to the beginning of the description.

    Args:
        place: of the sentence, as `sentences` tells; flag: put before it.
    """
    start, end = place
    sentence = " ".join(prompt[start:end].split())
    head, _ = words_of(prompt)
    first = head + len(prompt[head:]) - len(prompt[head:].lstrip())
    if start <= first:
        return f"{prompt[:first]}{flag}{prompt[first:]}"
    before, after = prompt[:start], prompt[end:]
    if not before.rpartition("\n")[2].strip():  # the sentence began a line
        line = after.partition("\n")[0]
        after = after.lstrip(" ") if line.strip() else after[len(line) :]
        if not line.strip():
            before = before.rstrip()
    else:
        before = before.rstrip(" ")
        # Between two others on one line a word's space stays.
        after = f" {after.lstrip(' ')}" if after.partition("\n")[0].strip() else after
    return f"{before[:first]}{flag}{sentence}\n{_indent(prompt)}{before[first:]}{after}"


# ---- demonstrations --------------------------------------------------------------------------


def demonstrations(prompt: str, name: str) -> list[Demonstration]:
    """Calls of `name` with literals that the prompt shows with their results, in order.

    Doctests, and what stands on one line such as `f(1) == 2`, `f(1) -> 2` or `f(1) returns 2`.
    """
    found = []
    for call in re.finditer(rf"(?<![\w.]){re.escape(name)}\(", prompt):
        if (demo := _demonstration(prompt, call.start(), call.end())) is not None:
            found.append(demo)
    return found


def _demonstration(prompt: str, start: int, opened: int) -> Demonstration | None:
    closed = _closed(prompt, opened)
    arguments = None if closed is None else _arguments(prompt[opened : closed - 1])
    if closed is None or arguments is None:
        return None
    line = prompt.rfind("\n", 0, start) + 1
    if prompt[line:start].strip() == ">>>" and not prompt[closed:].partition("\n")[0].strip():
        return _doctest(prompt, line, closed, arguments)
    says = _SAYS.match(prompt, closed)
    value = None if says is None or "\n" in says[0] else _literal(prompt, says.end())
    if value is None:
        return None
    end, result = value
    said = (end - len(prompt[says.end() : end]), end) if says else (end, end)
    return Demonstration(start, end, arguments, result, said, prompt[start:end])


def _doctest(
    prompt: str, line: int, closed: int, arguments: tuple[Any, ...]
) -> Demonstration | None:
    begin = prompt.find("\n", closed) + 1
    end = begin
    for text in prompt[begin:].splitlines(keepends=True):
        if not text.strip() or text.lstrip().startswith((">>>", '"""', "'''")):
            break
        end += len(text)
    if not begin or not prompt[begin:end].strip():
        return None
    wanted = prompt[begin:end]
    try:
        result = ast.literal_eval(" ".join(wanted.split()))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    said = (begin + len(wanted) - len(wanted.lstrip()), begin + len(wanted.rstrip()))
    return Demonstration(line, end, arguments, result, said, prompt[line:end])


def _closed(text: str, opened: int) -> int | None:
    """Behind the bracket that closes the call; quotes are kept in mind."""
    depth, quote, place = 1, "", opened
    while place < len(text):
        letter = text[place]
        if quote:
            if letter == "\\":
                place += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if not depth:
                return place + 1
        place += 1
    return None


def _arguments(text: str) -> tuple[Any, ...] | None:
    try:
        value = ast.literal_eval(f"({text.strip()},)" if text.strip() else "()")
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return value if isinstance(value, tuple) else None


def _literal(text: str, start: int) -> tuple[int, Any] | None:
    """The longest literal that begins there, on this line: (its end, its value)."""
    line = text[start:].partition("\n")[0]
    for end in range(len(line), 0, -1):
        if line[end - 1].isspace() or (end < len(line) and line[end].isalnum()):
            continue
        try:
            return start + end, ast.literal_eval(line[:end])
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
    return None


def add_demonstration(prompt: str, name: str, arguments: str, result: str) -> str:
    """Adds a doctest after the last demonstration, or at the end of the description.

    Args:
        arguments: source of what stands between the brackets; result: source of the result.
    """
    shown = demonstrations(prompt, name)
    indent = _indent(prompt)
    if shown and shown[-1].text.lstrip().startswith(">>>"):
        place = shown[-1].end
        head = prompt[:place] if prompt[:place].endswith("\n") else f"{prompt[:place]}\n"
        return f"{head}{indent}>>> {name}({arguments})\n{indent}{result}\n{prompt[place:]}"
    start, end = words_of(prompt)
    place = start + len(prompt[start:end].rstrip())
    after = prompt[place:] if prompt[place:].startswith("\n") else f"\n{indent}{prompt[place:]}"
    return f"{prompt[:place]}\n\n{indent}>>> {name}({arguments})\n{indent}{result}{after}"
