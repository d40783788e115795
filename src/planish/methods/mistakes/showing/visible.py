"""Text that somebody else wrote, so that a reader sees all of it and nothing acts.

    >>> visible("a\\x1b[31mb")
    'a⟨U+001B⟩[31mb'

Escaping for HTML is the template's; here is what HTML would show as nothing, or in another order
than it stands: control characters, marks of direction, halves of characters.
"""

from __future__ import annotations

import re

from planish.tasks.sandbox.values import loads

__all__ = ["arguments_of", "lines_of", "value_of", "visible"]

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_ENDS = re.compile(r"\r\n|\r|\n")  # those of Python's source; a form feed ends no line


def visible(text: str, most: int | None = None) -> str:
    """The text with a name in place of each character that cannot be seen.

    Args:
        most: characters; what is longer loses its middle, and says how much.
    """
    if most is not None and len(text) > most:
        left, right = most * 2 // 3, most // 3
        text = f"{text[:left]} … {len(text) - left - right} characters … {text[-right:]}"
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


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
