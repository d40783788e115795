"""Texts of unknown origin: told apart from code, and made fit to be shown.

>>> looks_like_code("holding(onion)"), looks_like_code("os.system('ls')")
(False, True)
>>> printable("two\\nlines")
'two lines'
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["looks_like_code", "printable"]

_GRAMMAR = re.compile(r"!?[a-z0-9][a-z0-9_]*(\([a-z0-9_, ]*\))?|-?[0-9]+(\.[0-9]+)?|")
# Where only names may stand, these marks are no slip of the pen.
_MARKS = re.compile(
    r"[;={}\[\]<>|&$`\\\"'#@%\n\r]|\.\w|\(.*\(|\b(import|lambda|return|def|exec|eval|sudo|rm)\b|__"
)
# In a sentence about an edit only what can hardly be English counts.
_CODE = re.compile(
    r"__\w+__|=>|`|\$\(|&&|#!|<\s*/?\s*script|javascript:"
    r"|\b(eval|exec|compile|open|getattr|setattr|system|popen|require|fetch|function)\s*\("
    r"|\b(import|from)\s+(os|sys|subprocess|socket|shutil|ctypes|builtins|importlib)\b"
    r"|\blambda\b[^:]*:|\bdef\s+\w+\s*\(|\brm\s+-|\b(curl|wget)\s+\S|\|\s*(ba)?sh\b",
    re.IGNORECASE,
)


def looks_like_code(text: str, *, is_sentence: bool = False) -> bool:
    """Whether a text is code rather than a name or a condition that is merely wrong.

    Args:
        is_sentence: the text is free, such as where a node came from; only what can hardly be
            English then counts.
    """
    if is_sentence:
        return _CODE.search(text) is not None
    return _GRAMMAR.fullmatch(text) is None and _MARKS.search(text) is not None


def printable(text: str, limit: int = 200) -> str:
    """A text of unknown origin on one line: no control characters, and no longer than `limit`."""
    shown = "".join(
        " " if character in "\n\r\t" else character
        for character in text[: 4 * limit]
        if character in "\n\r\t" or not unicodedata.category(character).startswith("C")
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
