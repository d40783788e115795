"""Fields of one line of a file, each with the complaint that names file and line.

line = Line({"task_id": "a", "atol": 0}, "tasks.jsonl:1")
line.text("task_id"), line.number("atol", 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from planish.errors import BadInput

__all__ = ["Line"]

_LONG = 300  # characters of a complaint: a field may hold megabytes


@dataclass(frozen=True)
class Line:
    """One object of a JSON Lines file.

    Args:
        value: the object; where: file and line.
    """

    value: Mapping[str, Any]
    where: str

    def has(self, *names: str) -> bool:
        """Whether all of these are there and not null."""
        return all(self.value.get(name) is not None for name in names)

    def first(self, *names: str) -> str:
        """The first of these names that is there.

        Raises:
            BadInput: none is.
        """
        for name in names:
            if self.has(name):
                return name
        raise self.bad(f"the field {' or '.join(map(repr, names))} is missing", fix="add it")

    def text(self, *names: str, default: str | None = None, empty: bool = True) -> str:
        """A text under the first of these names that is there.

        Args:
            default: what a missing one is; None: it may not be missing.
            empty: whether "" will do.

        Raises:
            BadInput: it is missing, empty, or no text.
        """
        if default is not None and not any(self.has(name) for name in names):
            return default
        name = self.first(*names)
        found = self.value[name]
        if not isinstance(found, str):
            raise self.wrong(name, "a text", found)
        if not (found or empty):
            raise self.bad(f"the field {name!r} is empty")
        return found

    def name(self, *names: str) -> str:
        """A text that names something: not empty, and writable as UTF-8.

        Raises:
            BadInput: it is not.
        """
        found = self.text(*names, empty=False)
        try:
            found.encode()
        except UnicodeEncodeError:
            raise self.bad(f"the field {self.first(*names)!r} holds half a character") from None
        return found

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            BadInput: it is missing, or something else.
        """
        if default is not None and not self.has(name):
            return default
        found = self.value[self.first(name)]
        if type(found) is not int:
            raise self.wrong(name, "a whole number", found)
        return found

    def number(self, name: str, default: float) -> float:
        """A finite number that is not negative.

        Raises:
            BadInput: it is something else.
        """
        found = self.value[name] if self.has(name) else default
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise self.wrong(name, "a number from 0 on", found)
        if not 0 <= found < math.inf:
            raise self.bad(f"the field {name!r} must be a number from 0 on, found {found}")
        return float(found)

    def rows(self, name: str) -> Sequence[Any]:
        """A list; a missing one is empty.

        Raises:
            BadInput: it is something else.
        """
        found = self.value[name] if self.has(name) else []
        if not isinstance(found, list):
            raise self.wrong(name, "a list", found)
        return found

    def inside(self, path: str) -> str:
        """A path of a file in a project, as it is written there.

        Raises:
            BadInput: it is empty, absolute, or leads out of the project.
        """
        pure = PurePosixPath(path)
        if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
            raise self.bad(f"{path!r} is no path inside the project")
        return pure.as_posix()

    def wrong(self, name: str, wanted: str, found: object) -> BadInput:
        """The complaint about a field of the wrong type."""
        return self.bad(f"the field {name!r} must be {wanted}, found {type(found).__name__}")

    def bad(self, what: str, fix: str = "mend or remove the line") -> BadInput:
        """A complaint about this line."""
        told = what if len(what) <= _LONG else f"{what[:_LONG]}…"
        return BadInput(told, where=self.where, fix=fix)
