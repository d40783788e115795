"""How a question and its options are put to a model, whoever asks.

    lettered("Is the helmet red?", ("yes", "no"))

    Is the helmet red?
    A. yes
    B. no
    Think step by step, then give the letter of your answer as \\boxed{LETTER}.

Every option is one line, whatever its text holds, so that none can pass for two.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from planish.methods.vfaith.data import LETTERS

__all__ = ["INSTRUCTION", "lettered", "one_line"]

INSTRUCTION = "Think step by step, then give the letter of your answer as \\boxed{LETTER}."

_LOOKS_LIKE_AN_OPTION = re.compile(r"[A-H]\. ")


def lettered(question: str, options: Sequence[str]) -> str:
    """The words of a call.

    Args:
        options: one line each.
    """
    words = one_line(question)
    if _LOOKS_LIKE_AN_OPTION.match(words):
        words = f"Question: {words}"
    lines = (f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))
    return "\n".join((words, *lines, INSTRUCTION))


def one_line(text: str) -> str:
    """The text with every run of white space, line ends included, as one blank."""
    return " ".join(text.split())
