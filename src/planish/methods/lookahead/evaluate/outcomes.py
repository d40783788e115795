"""What came of one document under one arm, and which chunks lay where when.

>>> outcome_id("recency", 0.1, "recall/0/7")
'recency@0.1/recall/0/7'
"""

from __future__ import annotations

from planish.methods.lookahead.data import EvalRecord
from planish.records import Record

__all__ = ["OUTCOME", "TRACE", "Outcome", "Trace", "outcome_id"]

OUTCOME, TRACE = "outcome", "trace"
"""Kinds of records in a run folder."""


def outcome_id(arm: str, fraction: float, document_id: str) -> str:
    """The id of a record in a run folder."""
    return f"{arm}@{fraction:g}/{document_id}"


class Outcome(EvalRecord):
    """One document decoded by one arm at one share of the bytes. None: could not be measured.

    Attributes:
        family: of the task; means are over families.
        fraction: of the dense bytes that the arm was given; 1 for dense.
        max_chunks: what that bought; None where it bought nothing: the arm did not run.
        why: why something is None.
        kv_fraction: resident and digest bytes over dense ones, the largest of the decode, from
            the first decision on; kv_mean: the mean over its steps.
        resident_bytes, digest_bytes, host_bytes: the largest of the decode, each.
        allocated_bytes: of the buffers that resident chunks lie in, free places included, the
            largest; allocated_fraction: with digests, over dense ones, the largest.
        dense_bytes: of a cache that keeps everything, at the end.
        moved_per_token: bytes copied to the device, or read over the link to score, per token.
        score_ms: of one decision for the whole batch, the mean.
        mass_recall: attention mass on what was there, over all of it; mean over tokens and layers.
        missed_mass: 1 - mass recall of the worst window.
        recall: needed chunks that could be evicted and were kept, of all such, at decisions.
        miss_rate: share of the tokens with needs, behind the first of a window, of which
            something needed was not there, whether it left or never came.
        by_distance: (up to this many tokens behind the last decision, needs, needs that were
            kept): see `between`; missed_needs: of them not there, where another decision followed;
            late_needs: of these brought by that decision.
        fallbacks: 1 if the request turned dense; turned_dense: tokens of the reply before it did.
        decisions: how often was chosen what stays.
        steps: tokens that were decoded.
    """

    family: str
    fraction: float
    max_chunks: int | None = None
    why: str = ""
    reply: str = ""
    kv_mean: float | None = None
    resident_bytes: int | None = None
    digest_bytes: int | None = None
    host_bytes: int | None = None
    allocated_bytes: int | None = None
    allocated_fraction: float | None = None
    dense_bytes: int | None = None
    moved_per_token: float | None = None
    score_ms: float | None = None
    mass_recall: float | None = None
    missed_mass: float | None = None
    recall: float | None = None
    miss_rate: float | None = None
    by_distance: tuple[tuple[int, int, int], ...] = ()
    missed_needs: int = 0
    late_needs: int = 0
    fallbacks: int = 0
    turned_dense: int | None = None
    decisions: int = 0
    steps: int = 0

    @property
    def id(self) -> str:
        """Unique in a run."""
        return outcome_id(self.arm, self.fraction, self.document_id)


class Trace(Record):
    """Which chunks were resident when, along the dense reply.

    Attributes:
        steps: number of the token at which each window begins; the last of the prompt is 0.
        num_chunks: complete chunks at the end.
        resident: chunks that were there, one tuple per window.
        needed: chunks that the window's tokens need, by the labels' rule.
    """

    document_id: str
    family: str
    arm: str
    fraction: float
    steps: tuple[int, ...]
    num_chunks: int
    resident: tuple[tuple[int, ...], ...]
    needed: tuple[tuple[int, ...], ...]
