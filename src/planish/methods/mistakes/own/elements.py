"""Looks at a prompt: whether it has what a defect lacks, which function it asks for, and how to
call that by another name.

>>> Element(kind="lacks", pattern="sort_down").stands("def sort_up(values):")
True
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from typing import Literal

from planish.records import Record

__all__ = ["CLEAN", "Element", "asked_name", "asked_part", "rename", "rename_words", "words_of"]

CLEAN = "clean_prompt"
"""Key of a task's `meta`: its prompt in other words, without a defect that it is known to have."""

_DEFINED = re.compile(r"^[ \t]*(?:>>> )?(?:async )?def\s+(\w+)\s*\(", re.MULTILINE)
_QUOTES = re.compile(r"[rR]?(\"\"\"|''')")
_FLAGGED = re.compile(r"\b(important|note|attention|remember|caution|nb)\b\W*\Z", re.IGNORECASE)


class Element(Record):
    """What a prompt has to be like so that a defect is mended; it is read as one line.

    Args:
        kind: it "holds" a match of the pattern, or "lacks" one, or has one "first": in the first
            sentence of its description, or flagged as important.
    """

    kind: Literal["holds", "lacks", "first"]
    pattern: str

    def stands(self, prompt: str) -> bool:
        """Whether the prompt is like that."""
        start, end = words_of(prompt) if self.kind == "first" else (0, len(prompt))
        line = " ".join(prompt[start:end].split())
        found = re.search(self.pattern, line)
        if self.kind == "first":
            return found is not None and _prominent(line[: found.start()])
        return (found is not None) == (self.kind == "holds")


def asked_part(prompt: str) -> str:
    """The last function that a prompt defines, with what follows, or all of it."""
    return prompt[max((found.start() for found in _DEFINED.finditer(prompt)), default=0) :]


def words_of(prompt: str) -> tuple[int, int]:
    """Where the description stands: inside the last function's docstring, or the whole prompt."""
    begin = max(prompt.rfind("\ndef "), prompt.rfind("\nasync def "), prompt.find("def "))
    opening = _QUOTES.search(prompt, begin) if begin >= 0 else None
    if opening is None:
        return 0, len(prompt)
    closing = prompt.find(opening[1], opening.end())
    return opening.end(), len(prompt) if closing < 0 else closing


def _prominent(before: str) -> bool:
    """Whether what follows is read: no whole sentence is ahead of it, or it is flagged."""
    return _FLAGGED.search(before) is not None or not re.search(r"[.!?](\s|\Z)", before)


def rename_words(text: str, old: str, new: str) -> str:
    """Every whole word `old`, wherever it stands."""
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, text)


def rename(code: str, old: str, new: str) -> str:
    """Every name `old` in the code, not in its texts and comments; broken code by whole words."""
    try:
        places = list(_names(code, old))
    except (tokenize.TokenError, SyntaxError, ValueError):
        return rename_words(code, old, new)
    lines = code.split("\n")
    for row, column in reversed(places):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "\n".join(lines)


def _names(code: str, name: str) -> Iterator[tuple[int, int]]:
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.NAME and token.string == name:
            yield token.start


def asked_name(prompt: str, default: str) -> str:
    """The function that a prompt asks for: the last one that it defines, else one in backquotes."""
    if defined := _DEFINED.findall(prompt):
        return str(defined[-1])
    quoted = re.search(r"function (?:named |called )?`(\w+)`", prompt)
    return quoted[1] if quoted else default
