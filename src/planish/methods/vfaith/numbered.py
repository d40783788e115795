"""Texts by their number: twelve bytes a text in memory, however long it is.

    numbered = Numbered(["a", "b"])
    numbered.find("b")            1
    numbered.find("c")            None

What is kept of a text is 64 bits of its hash. Among a million texts two that differ share them once
in 37 million times; a bench where that happens is refused, as one in which an id stands twice.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["Numbered", "digest_of"]


class Numbered:
    """Finds the number of a text; where one stands twice, that of the first.

    Args:
        texts: in their order, which is gone through once.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        digests = np.asarray(array("Q", map(digest_of, texts)), np.uint64)
        order = np.argsort(digests, kind="stable")
        self._sorted: npt.NDArray[np.uint64] = digests[order]
        self._order: npt.NDArray[np.uint32] = order.astype(np.uint32)

    def __len__(self) -> int:
        return len(self._order)

    def find(self, text: str) -> int | None:
        """The number of a text, from 0; None where it is none of them."""
        digest = np.uint64(digest_of(text))
        place = int(np.searchsorted(self._sorted, digest))
        if place == len(self._order) or self._sorted[place] != digest:
            return None
        return int(self._order[place])

    def twice(self) -> tuple[int, int] | None:
        """The numbers of a text that stands twice, the first such one; None where none does."""
        same = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if not len(same):
            return None
        later = min(int(self._order[place + 1]) for place in same)
        digest = self._sorted[np.flatnonzero(self._order == later)[0]]
        return int(self._order[np.searchsorted(self._sorted, digest)]), later


def digest_of(text: str) -> int:
    """64 bits of the hash of a text, whatever half characters it holds."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
