"""Intervals, paired tests, agreement and calibration, each over a library that is trusted for it.

    >>> from planish.stats import ratio
    >>> print(ratio([1] * 87 + [0] * 183, [1] * 270))
    0.322 [0.267, 0.378]

Rows are *items*. Whatever was measured several times on one item (both orders of a pair, eight
samples of a prompt) is one row, because repeated calls on one item are not independent.
Undefined results are None, never 0 and never NaN. A wrong shape or a NaN in the input is a
mistake of the caller: ValueError.
"""

from planish.stats.agreement import (
    McNemar,
    cohen_kappa,
    holm,
    krippendorff_alpha,
    macro_f1,
    mcnemar,
)
from planish.stats.calibration import LengthSlope, brier, expected_calibration_error, length_slope
from planish.stats.claims import Claim, claim_rows, shown, tally, verdict
from planish.stats.estimates import Estimate, mean, paired_bootstrap, ratio
from planish.stats.nested import nested_bootstrap
from planish.stats.paired import Paired, paired
from planish.stats.relative import relative

__all__ = [
    "Claim",
    "Estimate",
    "LengthSlope",
    "McNemar",
    "Paired",
    "brier",
    "claim_rows",
    "cohen_kappa",
    "expected_calibration_error",
    "holm",
    "krippendorff_alpha",
    "length_slope",
    "macro_f1",
    "mcnemar",
    "mean",
    "nested_bootstrap",
    "paired",
    "paired_bootstrap",
    "ratio",
    "relative",
    "shown",
    "tally",
    "verdict",
]
