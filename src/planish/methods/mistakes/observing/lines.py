"""Which lines of a program failing inputs run more often than passing ones.

suspicion([{1, 2}], [{1, 3}])  # {1: 0.71, 2: 1.0, 3: 0.0}
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

__all__ = ["suspicion"]


def suspicion(
    failing: Iterable[Iterable[int]], passing: Iterable[Iterable[int]]
) -> dict[int, float]:
    """Ochiai's measure for every line that ran (Abreu et al. 2006, used as in MUSE and PraPR).

    Args:
        failing, passing: for each input the lines that it ran; one without lines says nothing.

    Returns:
        Line -> 0 (no failing input runs it) to 1 (all failing ones do, and no other), sorted.
    """
    wrong = [set(lines) for lines in failing if lines]
    ran_wrong = Counter(line for lines in wrong for line in lines)
    ran_right = Counter(line for lines in passing for line in set(lines))
    return {
        line: ran_wrong[line] / math.sqrt(len(wrong) * (ran_wrong[line] + ran_right[line]))
        if ran_wrong[line]
        else 0.0
        for line in sorted(ran_wrong | ran_right)
    }
