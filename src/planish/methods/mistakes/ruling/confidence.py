"""What a list of evidence says of each category: ranked, with confidence, or nothing.

    diagnosis = rank(run.key, evidence, threshold=0.45)
    diagnosis.ranked[0]  # ("IOM", 0.91)

The features are the strongest evidence of each rule for each category ("best repair:IOM") and, for
each category, how strongly all its rules speak together ("sum:IOM"). A multinomial logistic model
gives each category a score, a temperature makes the confidence mean what it says. The weights stand
in weights.json; `fitting.py` made them. Ours: the specification asks for a logistic model and a
threshold.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from pydantic import Field

from planish.methods.mistakes.data import CATEGORIES, Category, Diagnosis, Evidence
from planish.records import Record

__all__ = ["Weights", "features", "load_weights", "probabilities", "rank"]

NAME = "rules"


class Weights(Record):
    """A fitted model.

    Args:
        features: names, in order; weights: category -> one for each; bias: category -> one.
        temperature: by which scores are divided.
        meta: seed, counts, versions, hash of the training rows, and what cross-validation gave.
    """

    features: tuple[str, ...]
    weights: dict[Category, tuple[float, ...]]
    bias: dict[Category, float]
    temperature: float = 1.0
    meta: dict[str, Any] = Field(default_factory=dict)


@functools.cache
def load_weights() -> Weights:
    """The model of the package."""
    text = resources.files(__package__).joinpath("weights.json").read_text(encoding="utf-8")
    return Weights.model_validate(json.loads(text))


def features(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Name -> value, 0 to 1 for single rules; what is absent is 0."""
    found: dict[str, float] = {}
    for each in evidence:
        name = f"{each.rule}:{each.category}"
        found[name] = max(found.get(name, 0.0), each.strength)
    for category in CATEGORIES:
        strengths = [value for name, value in found.items() if name.endswith(f":{category}")]
        if strengths:
            # A noisy or: several weak hints together are a strong one, and never above 1.
            found[f"sum:{category}"] = 1 - math.prod(1 - 0.9 * value for value in strengths)
    return found


def probabilities(
    values: Mapping[str, float], weights: Weights | None = None
) -> dict[Category, float]:
    """Category -> confidence; they add up to 1."""
    model = weights or load_weights()
    row = [values.get(name, 0.0) for name in model.features]
    scores = {
        category: (
            model.bias[category]
            + sum(a * b for a, b in zip(model.weights[category], row, strict=True))
        )
        / model.temperature
        for category in CATEGORIES
    }
    top = max(scores.values())
    powers = {category: math.exp(score - top) for category, score in scores.items()}
    whole = sum(powers.values())
    return {category: power / whole for category, power in powers.items()}


def rank(
    key: str,
    evidence: Sequence[Evidence],
    *,
    threshold: float = 0.45,
    weights: Weights | None = None,
) -> Diagnosis:
    """All categories, the likeliest first, or an abstention.

    Args:
        key: of the run.
        evidence: of `signals`; its numbers in `Diagnosis.evidence` are places in it.
        threshold: confidence of the first category below which nothing is said.
        weights: another model than that of the package.

    Returns:
        `ranked` is empty where it abstains, and `why` says what it would have said.
    """
    if not evidence:
        why = "nothing that was seen speaks for a category"
        return Diagnosis(key=key, detector=NAME, abstained=True, why=why)
    told = probabilities(features(evidence), weights)
    ranked = tuple(sorted(told.items(), key=lambda pair: (-pair[1], pair[0])))
    (first, confidence), (second, other) = ranked[:2]
    if confidence < threshold:
        why = (
            f"no category is likely enough: {first} {confidence:.2f} and {second} {other:.2f}, "
            f"where {threshold:.2f} is asked"
        )
        return Diagnosis(key=key, detector=NAME, abstained=True, why=why)
    used = sorted(
        (at for at, each in enumerate(evidence) if each.category == first and each.strength > 0),
        key=lambda at: (-evidence[at].strength, at),
    )
    rules = ", ".join(dict.fromkeys(evidence[at].rule for at in used[:3]))
    return Diagnosis(
        key=key,
        detector=NAME,
        ranked=ranked,
        evidence=tuple(used),
        why=f"it rests on: {rules}" if used else "it rests on what speaks against the others",
    )
