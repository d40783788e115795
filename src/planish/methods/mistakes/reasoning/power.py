"""How many samples an intervention needs, by enumeration of every table that may come out.

    >>> round(power(28, 0.2, 0.6), 2)
    0.89
    >>> samples_needed(0.2, 0.6, alpha=0.05 / 6)
    34

No approximation and no draws: with n samples an arm there are (n + 1)² tables, and each has a
probability. The test has one side: an edit is asked whether it helps.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from planish.errors import BadInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

__all__ = ["FLOOR", "check_samples", "fisher_table", "power", "samples_needed"]

FLOOR = 0.5
"""Power below which an intervention is refused: it would sooner miss an effect than find it."""

_BASE, _AFTER = 0.2, 0.6  # the effect that the specification asks to be found
_MOST = 2000

_NEVER = 1e-100
"""A rate below it is 0 in every result; scipy's density overflows not far above the smallest
numbers there are.
"""


@lru_cache(maxsize=64)
def fisher_table(n: int) -> Floats:
    """P-values [n + 1, n + 1] by passes after the edit and after the placebo, n samples each."""
    import numpy as np
    from scipy.stats import hypergeom

    count = np.arange(n + 1)
    edit, placebo = count[:, None], count[None, :]
    found: Floats = hypergeom.sf(edit - 1, 2 * n, edit + placebo, n)
    return found


def power(
    n: int,
    base: float,
    after: float,
    *,
    alpha: float = 0.05,
    interval: bool = False,
) -> float:
    """How likely Fisher's exact test finds that a pass rate went from `base` to `after`.

    Args:
        n: samples of each arm.
        alpha: the p-value must lie below; for Holm's first step divide by the reasons tried.
        interval: the 95 % interval has to lie above 0 as well, as `effects.judge` asks.
    """
    import numpy as np
    from scipy.stats import binom

    count = np.arange(n + 1)
    found = fisher_table(n) < alpha
    found &= count[:, None] > count[None, :]
    if interval:
        from planish.methods.mistakes.reasoning.effects import bounds

        low, _ = bounds(
            count[:, None] + 0 * count[None, :], n, count[None, :] + 0 * count[:, None], n
        )
        found &= low > 0
    before, later = (rate if rate > _NEVER else 0.0 for rate in (base, after))
    chance = binom.pmf(count, n, later)[:, None] * binom.pmf(count, n, before)[None, :]
    return float(chance[found].sum())


def samples_needed(
    base: float,
    after: float,
    *,
    alpha: float = 0.05,
    target: float = 0.8,
) -> int:
    """The fewest samples of each arm from which on the power stays at or above `target`.

    The exact test's power is a saw: it falls a little here and there as n grows.

    Raises:
        ValueError: the effect is too small for 2,000 samples.
    """
    if after <= base:
        raise ValueError(f"no effect to find: {base} -> {after}")
    # The saw's teeth are short: once ten sizes in a row are enough, the rest are.
    enough = 0
    for n in range(2, _MOST):
        found = power(n, base, after, alpha=alpha)
        enough = enough + 1 if found >= target else 0
        if enough == 10:
            return n - 9
    raise ValueError(f"{_MOST} samples are too few for {base} -> {after}")


def check_samples(
    n: int, *, alpha: float = 0.05, reasons: int = 6, where: str = "--samples"
) -> None:
    """Refuses an intervention that would sooner miss an effect than find it.

    Args:
        n: samples of each arm.
        reasons: tried at once, so that Holm's first step is alpha / reasons.

    Raises:
        BadInput: the power for 0.2 -> 0.6 at Holm's first step is below `FLOOR`.
    """
    found = power(n, _BASE, _AFTER, alpha=alpha / reasons)
    if found < FLOOR:
        least = samples_needed(_BASE, _AFTER, alpha=alpha / reasons, target=FLOOR)
        raise BadInput(
            f"{n} samples an arm find a pass rate that goes from {_BASE} to {_AFTER} in "
            f"{found:.0%} of the cases only ({reasons} reasons at once)",
            where=where,
            fix=f"give at least {least}",
        )
