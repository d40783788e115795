"""Models that write code, by the string that names them; one of them is made up.

load_coder("openai:MODEL@http://localhost:8000/v1")
load_coder("planted:defects")
"""

from __future__ import annotations

from planish.models.base import LanguageModel
from planish.models.load import load

__all__ = ["PLANTED", "load_coder"]

PLANTED = "planted:defects"
"""Writes code for the package's own tasks, and fails where a prompt has a planted defect."""


def load_coder(spec: str) -> LanguageModel:
    """The model that `spec` names.

    Raises:
        BadInput: as `planish.models.load`.
    """
    if spec == PLANTED:
        from planish.methods.mistakes.own.defects import ScriptedCoder

        planted: LanguageModel = ScriptedCoder()
        return planted
    return load(spec)
