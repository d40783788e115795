"""Programs, values and calls as a page shows them: nothing in them is hidden, and nothing acts.

    >>> value_of('"a"')
    "'a'"

Escaping for HTML is the template's; here is what HTML would show as nothing, or in another order
than it stands (`planish.runs.visible`).
"""

from __future__ import annotations

import re

from planish.runs.visible import visible
from planish.tasks.sandbox.values import loads

__all__ = ["arguments_of", "lines_of", "value_of", "visible"]

_ENDS = re.compile(r"\r\n|\r|\n")  # those of Python's source; a form feed ends no line


def lines_of(code: str) -> list[str]:
    """The lines of a program, as Python counts them, without their ends."""
    return _ENDS.split(code)


def value_of(text: str, most: int = 1000) -> str:
    """A value as Python writes it; the canonical text where that cannot be read."""
    try:
        return visible(repr(loads(text)), most)
    except (ValueError, RecursionError):
        return visible(text, most)


def arguments_of(text: str, most: int = 1000) -> str:
    """The arguments of a call, as they stand between its brackets."""
    try:
        given = loads(text)
        named = given[1] if isinstance(given, list) else {}
        places = given[0] if isinstance(given, list) else given
        parts = [repr(each) for each in places]
        parts += [f"{name}={value!r}" for name, value in named.items()]
        return visible(", ".join(parts), most)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return visible(text, most)
