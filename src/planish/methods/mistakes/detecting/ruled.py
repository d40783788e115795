"""The detector that asks no model: evidence, weighed as it was fitted.

RuledDetector(threshold=0.45).detect(cases)
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.mistakes.data import Diagnosis
from planish.methods.mistakes.detecting.base import Failed, Progress
from planish.methods.mistakes.ruling.confidence import NAME, rank
from planish.methods.mistakes.ruling.signals import signals

__all__ = ["RuledDetector"]


class RuledDetector:
    """Ranks categories by the evidence of each program.

    Args:
        threshold: confidence below which it abstains.
    """

    name = NAME

    def __init__(self, threshold: float = 0.45) -> None:
        self.threshold = threshold

    def detect(self, cases: Sequence[Failed], progress: Progress | None = None) -> list[Diagnosis]:
        """See `Detector`. Evidence that a case does not bring along is gathered here."""
        told = []
        for done, case in enumerate(cases, 1):
            evidence = case.evidence or signals(
                case.task, case.run.code, case.observation, case.search
            )
            told.append(rank(case.run.key, evidence, threshold=self.threshold))
            if progress is not None:
                progress(done, len(cases))
        return told
