"""Text that somebody else wrote, so that a reader sees all of it and nothing acts.

    >>> visible("a\\x1b[31mb")
    'a⟨U+001B⟩[31mb'

What a terminal would obey, or show as nothing or in another order than it stands: control
characters, marks of direction, halves of characters.
"""

from __future__ import annotations

import re

__all__ = ["visible"]

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str, most: int | None = None) -> str:
    """The text with a name in place of each character that cannot be seen.

    Args:
        most: characters; what is longer loses its middle, and says how much.
    """
    if most is not None and len(text) > most:
        left, right = most * 2 // 3, most // 3
        text = f"{text[:left]} … {len(text) - left - right} characters … {text[-right:]}"
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)
