"""What a demonstration claims, fixed before looking, and what came.

    >>> from planish.stats import Estimate
    >>> gain = Estimate(value=0.5, low=0.4, high=0.6, n=9)
    >>> told = [Claim("gain", "it helps", "after - before", gain, held=True)]
    >>> told[0].shown, verdict(told)
    ('0.500 [0.400, 0.600]', '1 of 1 claims held.')

A claim that did not hold is told as plainly as one that did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from planish.stats.estimates import Estimate

__all__ = ["Claim", "claim_rows", "shown", "tally", "verdict"]


def shown(number: Estimate, form: str = ".3f") -> str:
    """The number for people, with its interval where one can be told.

    Args:
        form: of each number, as `format` reads it; "+.3f" for a difference.
    """
    if number.value is None:
        return "n/a"
    if number.low is None or number.high is None:
        return f"{number.value:{form}}"
    return f"{number.value:{form}} [{number.low:{form}}, {number.high:{form}}]"


@dataclass(frozen=True)
class Claim:
    """A claim and what came.

    Args:
        key: by which `--json` names it.
        text: of the claim.
        compared: what is subtracted from what, what is counted, or what is looked at.
        number: with its interval, where there is one.
        held: whether the number bears the claim out.
        words: what people see instead of the plain number.
    """

    key: str
    text: str
    compared: str
    number: Estimate
    held: bool
    words: str | None = None

    @property
    def shown(self) -> str:
        """The number for people."""
        return shown(self.number) if self.words is None else self.words


def verdict(claims: Sequence[Claim], listed: str | None = None) -> str:
    """How many held, and by name those that did not.

    Args:
        listed: what opens the list of the latter; None: each reads on behind a "that".
    """
    failed = [each.text for each in claims if not each.held]
    text = f"{len(claims) - len(failed)} of {len(claims)} claims held."
    if not failed:
        return text
    told = f" that {'; that '.join(failed)}" if listed is None else f"{listed} {'; '.join(failed)}"
    return f"{text} It did NOT hold{told}."


def claim_rows(claims: Sequence[Claim], *, compared: bool = True) -> list[tuple[str, ...]]:
    """(text, what is compared if asked for, number, held) of each; one that failed says NO."""
    return [
        (
            each.text,
            *([each.compared] if compared else []),
            each.shown,
            "yes" if each.held else "NO",
        )
        for each in claims
    ]


def tally(claims: Sequence[Claim]) -> dict[str, Any]:
    """Which of them held, and how many, by the names that `--json` and run.json use."""
    return {
        "claims": {each.key: each.held for each in claims},
        "claims_held": sum(each.held for each in claims),
        "claims_made": len(claims),
    }
