"""A detector by its name, as `--detector` gives it.

load_detector("rules", None, box, Detecting())
"""

from __future__ import annotations

from typing import get_args

from planish.methods.mistakes.config import Detecting, DetectorName, Diagnosing, Sandboxing
from planish.methods.mistakes.detecting.base import Detector
from planish.methods.mistakes.detecting.ruled import RuledDetector
from planish.methods.mistakes.jobs import Box, LimitsOf
from planish.models.base import LanguageModel
from planish.records import BadInput

__all__ = ["DETECTORS", "load_detector"]

DETECTORS: tuple[DetectorName, ...] = get_args(DetectorName)


def load_detector(
    name: str,
    model: LanguageModel | None,
    box: Box | None,
    dials: Detecting,
    limits: LimitsOf | None = None,
) -> Detector:
    """Makes a detector.

    Args:
        name: one of `DETECTORS`.
        model: of all but "rules".
        box: an open sandbox, for "react".
        dials: budgets; where they are `Diagnosing` or `Sandboxing` as well, their threshold and
            limits count, else the defaults of those.
        limits: of one run of each task's, in place of those of the dials, for a reference that
            is slow.

    Raises:
        BadInput: an unknown name, or no model or sandbox where one is needed.
    """
    given: object = dials  # a stage's plan is all three at once
    threshold = (given if isinstance(given, Diagnosing) else Diagnosing()).threshold
    base = (given if isinstance(given, Sandboxing) else Sandboxing()).limits()
    if name not in DETECTORS:
        raise BadInput(
            f"there is no detector {name!r}", where="detector", fix=f"known: {', '.join(DETECTORS)}"
        )
    if name == "rules":
        return RuledDetector(threshold)
    if model is None:
        raise BadInput(f"the detector {name} asks a model", where="model", fix="name one")
    if name == "direct":
        from planish.methods.mistakes.detecting.direct import DirectDetector

        return DirectDetector(model, dials, threshold=threshold)
    if name == "evidence":
        from planish.methods.mistakes.detecting.informed import InformedDetector

        return InformedDetector(model, dials, threshold=threshold)
    if box is None:
        raise BadInput("the detector react runs code", where="sandbox", fix="open one")
    from planish.methods.mistakes.detecting.react import ReactDetector

    return ReactDetector(model, box, dials, threshold=threshold, limits=limits or base)
