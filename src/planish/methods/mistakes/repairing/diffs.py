"""What a change looks like: as a unified diff, and as a number of characters.

size("a < b", "a <= b")   # 1
"""

from __future__ import annotations

import difflib

__all__ = ["size", "unified"]


def unified(before: str, after: str) -> str:
    """Unified diff of two modules, with three lines around each change."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "before", "after", lineterm=""
    )
    return "\n".join(lines)


def size(before: str, after: str) -> int:
    """Characters that stand in one of both only, or are others, where they differ first and last.

    It is what lies between the longest common beginning and end: cheap, and symmetric.
    """
    room = min(len(before), len(after))
    begin = 0
    while begin < room and before[begin] == after[begin]:
        begin += 1
    end = 0
    while end < room - begin and before[-1 - end] == after[-1 - end]:
        end += 1
    return max(len(before), len(after)) - begin - end
