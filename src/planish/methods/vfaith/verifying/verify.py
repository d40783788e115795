"""Stage `verify`: did an edit change what it should and nothing else? For anybody's own pictures.

planish vfaith verify raw.png edited.png --mask mask.png
planish vfaith verify raw.png edited.png --mask mask.png --json

The mask is not black where the edit may change pixels, and black elsewhere. Give the edited picture
as the editor sent it: pasting it back over the raw one hides its leaks. Exit code 0: every gate let
it through; 1: a gate did not; 2: a file could not be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.vfaith.config import Gates
from planish.methods.vfaith.data import Check
from planish.runs.console import Screen
from planish.runs.options import Json

if TYPE_CHECKING:
    from planish.methods.vfaith.images import Loaded

__all__ = ["verify"]

_HEADLINES = ("containment", "efficacy", "ssim_outside")


def verify(
    raw: Path,
    edited: Path,
    /,
    *,
    mask: Path,
    exact: Annotated[bool, Parameter(negative="")] = False,
    gates: Gates = Gates(),  # noqa: B008 - frozen
    json: Json = False,
) -> int:
    """Check an edited picture: what changed inside the mask, and what outside it.

    Exits with 0 if every gate let it through, with 1 if one did not, with 2 on bad input.

    Args:
        raw: The picture before the edit.
        edited: The picture as the editor sent it; another size of the same shape is resampled.
        mask: A picture of the raw one's size, not black where the edit may change pixels.
        exact: The editor promises exactness: one pixel that differs outside the mask is a leak.
        gates: What the edit must keep to.
        json: One JSON object on stdout.
    """
    from planish.methods.vfaith.images import open_image, open_mask
    from planish.methods.vfaith.verifying.gates import CODES, compare, limits

    screen = Screen(json=json)
    before, after = open_image(raw), open_image(edited)
    editable = open_mask(mask, before.size)
    checks = compare(before.pixels, after.pixels, editable, gates, exact=exact)
    for path, loaded in ((raw, before), (edited, after)):
        _tell_flags(screen, path, loaded)
    asked = limits(gates, exact=exact)
    _show(screen, checks, asked)
    codes = [check.code for check in checks if not check.passed]
    for check in checks:
        if check.code:
            word = "flag" if check.passed else "failed"
            screen.say(f"{word}: {check.code}: {CODES[check.code]}")
    screen.say("the edit did not pass" if codes else "the edit passed every gate")
    flags = {"raw": list(before.flags), "edited": list(after.flags)}
    screen.close({**_summary(checks, asked), "flags": flags} if json else {})
    return 1 if codes else 0


def _tell_flags(screen: Screen, path: Path, loaded: Loaded) -> None:
    from planish.methods.vfaith.images import FLAGS

    for flag in loaded.flags:
        screen.note(f"{path}: {FLAGS[flag]}")


def _show(screen: Screen, checks: Sequence[Check], asked: dict[str, str]) -> None:
    rows = [
        (
            check.gate,
            "n/a" if check.value is None else f"{check.value:.4g}",
            asked[check.gate],
            "FAILED" if not check.passed else "ok" if asked[check.gate] else "",
        )
        for check in checks
    ]
    screen.table(("gate", "number", "asked for", "verdict"), rows)


def _summary(checks: Sequence[Check], asked: dict[str, str]) -> dict[str, Any]:
    """The three numbers, the verdict and its reasons, and every gate by itself."""
    values = {check.gate: check.value for check in checks}
    return {
        **{name: values.get(name) for name in _HEADLINES},
        "passed": all(check.passed for check in checks),
        "codes": [check.code for check in checks if not check.passed],
        "checks": {
            check.gate: {
                "value": check.value,
                "limit": asked[check.gate],
                "passed": check.passed,
                "code": check.code,
            }
            for check in checks
        },
    }
