"""Names of models for narrow columns: the end of a path says most, and no two may be the same.

>>> short_names(["hf:Qwen/Qwen2.5-VL-3B-Instruct", "planted:oracle"], 14, 3)
{'hf:Qwen/Qwen2.5-VL-3B-Instruct': 'Qwen2.5-VL-3B-Instruct', 'planted:oracle': 'planted:oracle'}
>>> wrapped("Qwen2.5-VL-3B-Instruct", 14)
['Qwen2.5-VL-3B-', 'Instruct']
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["short_names", "wrapped"]

_BREAKS = "-_/&?@ "


def short_names(labels: Sequence[str], width: int, lines: int) -> dict[str, str]:
    """A name for each label that differs from all others, at most `lines` of `width` long.

    A label that fits one line stays. Of a longer one scheme and folders go first, as far as it
    still differs; then the middle; what then collides is numbered.
    """
    names = {label: label for label in labels}
    long = [label for label in labels if len(label) > width]
    for depth in range(1, max((_depth(label) for label in long), default=0) + 1):
        for label in long:
            names[label] = _end(label, depth)
        counts = Counter(names.values())
        long = [label for label in long if counts[names[label]] > 1]
    for label in long:
        names[label] = label
    room = width * lines - 4  # a line may break before it is full, and a number may follow
    names = {
        label: name if len(wrapped(name, width)) <= lines else _cut(name, room - lines * 2)
        for label, name in names.items()
    }
    counts, seen = Counter(names.values()), Counter[str]()
    for label, name in names.items():
        if counts[name] > 1:
            seen[name] += 1
            names[label] = f"{name} #{seen[name]}"
    return names


def _depth(label: str) -> int:
    return label.partition("?")[0].count("/") + 1


def _end(label: str, depth: int) -> str:
    """The last parts of a label without its scheme; what follows a question mark is one part."""
    head, mark, query = label.partition("?")
    parts = head.partition(":")[2].split("/") if ":" in head else head.split("/")
    return "/".join(parts[-depth:]) + mark + query


def _cut(name: str, room: int) -> str:
    return f"{name[: room // 2]}…{name[-(room - room // 2 - 1) :]}"


def wrapped(name: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken behind a mark where there is one."""
    lines = []
    while len(name) > width:
        at = max(name.rfind(mark, 0, width) for mark in _BREAKS) + 1
        at = at if at > width // 2 else width
        lines.append(name[:at].rstrip())
        name = name[at:]
    return [*lines, name]
