"""Whether a name stands for the same weights tomorrow, as far as one can tell.

    loose("openai:gpt-5")                   why it does not
    loose("openai:gpt-4o-2024-08-06")       ""
    loose("hf:./checkpoint")                ""

A folder and whatever ships in the package are pinned by their bytes. A server tells nothing of its
weights: a date in the model's name is its maker's promise. What lies on the Hub under a name may be
replaced there.
"""

from __future__ import annotations

import re
from pathlib import Path

from planish.records import BadInput

__all__ = ["check_pinned", "loose"]

_DATE = re.compile(r"(?<!\d)20\d{2}-?[01]\d-?[0-3]\d(?!\d)")
_HUB = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_URL = re.compile(r"@(?=https?://)")


def loose(model: str) -> str:
    """What is missing from the name of a model, and what would pin it; "" where nothing is."""
    scheme, _, rest = model.strip().partition(":")
    target = rest.rpartition("?")[0] if "?" in rest else rest
    if scheme == "openai" and not _DATE.search(_URL.split(target)[0]):
        return "give the name with its date, as in NAME-2025-01-31"
    if scheme == "hf" and _HUB.fullmatch(target) and not Path(target).is_dir():
        return "give a folder that holds it, as in hf:./checkpoint"
    return ""


def check_pinned(model: str) -> None:
    """Refuses a model that may be another one tomorrow.

    Raises:
        BadInput: it is not pinned.
    """
    if remedy := loose(model):
        raise BadInput(
            f"{model} is not pinned: what answers under this name may change",
            where="--model",
            fix=f"{remedy}, or --unpinned to ask it all the same",
        )
