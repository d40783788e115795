"""What a detector is: failing programs go in, one diagnosis for each comes out.

    detector.detect([Failed(task, run, observation, search, evidence)])

A detector sees the task's prompt and tests, the code, and what running it showed. It never sees a
label. Where it cannot tell, it abstains and says why; it does not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from planish.methods.mistakes.data import (
    CodeTask,
    Diagnosis,
    Evidence,
    Observation,
    RunRecord,
    Search,
)
from planish.methods.mistakes.detecting.reading import Reading

__all__ = ["Detector", "Failed", "Progress", "abstention", "settled"]

Progress = Callable[[int, int], None]
"""Called with (done, total) programs."""

_LONGEST_WHY = 500


@dataclass(frozen=True)
class Failed:
    """A program that fails, and what is known of it.

    Args:
        observation: of running it beside the reference.
        search: for repairs; evidence: of `ruling.signals`.
    """

    task: CodeTask
    run: RunRecord
    observation: Observation
    search: Search = field(default_factory=Search)
    evidence: tuple[Evidence, ...] = ()


class Detector(Protocol):
    """Says which category failing programs are."""

    @property
    def name(self) -> str:
        """Stands in every diagnosis."""
        ...

    def detect(self, cases: Sequence[Failed], progress: Progress | None = None) -> list[Diagnosis]:
        """One diagnosis for each, in order; what is said of one does not depend on the others."""
        ...


def abstention(
    key: str, detector: str, why: str, *, lost: bool = False, calls: int = 0, tokens: int = 0
) -> Diagnosis:
    """Nothing is said of a program.

    Args:
        lost: the model brought no reply, so that it is worth asking again.
    """
    return Diagnosis(
        key=key,
        detector=detector,
        abstained=True,
        why=" ".join(why.split())[:_LONGEST_WHY],
        lost=lost,
        calls=calls,
        tokens=tokens,
    )


def settled(
    case: Failed,
    detector: str,
    reading: Reading,
    threshold: float,
    calls: int,
    tokens: int,
    *,
    shown: int = 0,
) -> Diagnosis:
    """A model's verdict as a diagnosis: abstained where it is unread, or too unsure.

    Args:
        threshold: confidence of the first category below which nothing is said.
        shown: so much of the evidence was in the prompt; numbers of any other are made up.
        calls, tokens: that it cost.
    """
    key = case.run.key
    why = reading.problem
    if not why and reading.abstains:
        why = f"the model abstains: {reading.why}".removesuffix(": ")
    if not why:
        first, confidence = reading.ranked[0]
        if confidence < threshold:
            why = (
                f"the model is not sure enough: {first} {confidence:.2f}, "
                f"where {threshold:.2f} is asked"
            )
    if why:
        return abstention(key, detector, why, calls=calls, tokens=tokens)
    return Diagnosis(
        key=key,
        detector=detector,
        ranked=reading.ranked,
        evidence=tuple(each for each in reading.evidence if each < shown),
        why=" ".join(reading.why.split())[:_LONGEST_WHY],
        calls=calls,
        tokens=tokens,
    )
