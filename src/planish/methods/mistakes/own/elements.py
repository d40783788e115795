"""Looks at a prompt: whether it has what a defect lacks, and which function it asks for.

>>> Element(kind="lacks", pattern="sort_down").stands("def sort_up(values):")
True
"""

from __future__ import annotations

import io
import re
import tokenize
from typing import Literal

from planish.records import Record

__all__ = ["Element", "asked_name", "asked_part", "rename", "rename_words"]

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
        line = " ".join(_description(prompt).split() if self.kind == "first" else prompt.split())
        found = re.search(self.pattern, line)
        if self.kind == "first":
            return found is not None and _prominent(line[: found.start()])
        return (found is not None) == (self.kind == "holds")


def asked_part(prompt: str) -> str:
    """The last function that a prompt defines, with what follows, or all of it."""
    return prompt[max((found.start() for found in _DEFINED.finditer(prompt)), default=0) :]


def _description(prompt: str) -> str:
    """What stands in the docstring of the last function, or all of it."""
    asked = asked_part(prompt)
    opened = _QUOTES.search(asked)
    return prompt if opened is None else asked[opened.end() :].partition(opened[1])[0]


def _prominent(before: str) -> bool:
    """Whether what follows is read: no whole sentence is ahead of it, or it is flagged."""
    return _FLAGGED.search(before) is not None or not re.search(r"[.!?](\s|\Z)", before)


def rename_words(text: str, old: str, new: str) -> str:
    """The text with another word wherever it stands alone."""
    return re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _: new, text)


def rename(code: str, old: str, new: str) -> str:
    """The code with another name for its function; texts and comments stay."""
    lines = code.lstrip("\n").split("\n")
    tokens = tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline)
    places = [each.start for each in tokens if each.type == tokenize.NAME and each.string == old]
    for row, column in reversed(places):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new + line[column + len(old) :]
    return "\n".join(lines)


def asked_name(prompt: str, default: str) -> str:
    """The function that a prompt asks for: the last one that it defines, else one in backquotes."""
    if defined := _DEFINED.findall(prompt):
        return str(defined[-1])
    quoted = re.search(r"function (?:named |called )?`(\w+)`", prompt)
    return quoted[1] if quoted else default
