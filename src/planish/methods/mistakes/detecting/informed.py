"""A model that is shown what running, repairing and the rules brought to light, and asked once.

InformedDetector(model, Detecting()).detect(cases)
"""

from __future__ import annotations

from planish.methods.mistakes.detecting import prompts
from planish.methods.mistakes.detecting.base import Failed
from planish.methods.mistakes.detecting.direct import DirectDetector
from planish.records import Chat

__all__ = ["InformedDetector"]


class InformedDetector(DirectDetector):
    """As `DirectDetector`, with failing inputs, repairs and evidence in the prompt."""

    name = "evidence"

    def chat(self, case: Failed) -> Chat:
        """What is asked of a program."""
        return prompts.informed(case)

    def shown(self, case: Failed) -> int:
        """How much of its evidence is in the chat."""
        return min(len(case.evidence), prompts.NOTES)
