"""What the demonstration claims, fixed before looking, and what came.

    told = claims(summary)
    told[0].text, told[0].shown, told[0].held

A claim that one arm is above another holds where the whole interval of the paired difference is
above 0; a claim that one is near another where the difference itself is.
"""

from __future__ import annotations

from collections.abc import Iterator

from planish.methods.lookahead.evaluate.summary import DENSE, OURS, Summary
from planish.stats import Claim, Estimate, shown

__all__ = ["ARMS", "FRACTIONS", "MUST", "NEAR_ORACLE", "OFTEN", "SHORTER", "claims"]

ARMS = ("lookahead", "recency", "random", "last-query", "snapkv", "oracle", "dense")
SHORTER = 8
OFTEN = f"{OURS}, every {SHORTER}"
"""The same indexer, asked every so many tokens; all other arms decide every 64."""

FRACTIONS = (0.1, 0.135, 0.25)
MUST, NEAR_ORACLE = 0.135, 0.1
"""Shares of the dense bytes at which it must be near dense, and near the oracle."""

_DENSE_POINTS, _ORACLE_POINTS = 0.01, 0.02
_SWITCH = "topic_switch"


def claims(summary: Summary) -> list[Claim]:
    """All of them, in the order in which they are told; the topic switch where it was asked."""
    return [*_near(summary), *_above(summary), *_switch(summary), *_often(summary)]


def _near(summary: Summary) -> Iterator[Claim]:
    found = summary.difference(OURS, DENSE, MUST)
    yield _signed(
        "near_dense", f"at {_share(MUST)} of the bytes, within a point of dense",
        "lookahead - dense", found,
        found.value is not None and found.value >= -_DENSE_POINTS,
    )  # fmt: skip
    found = summary.difference("oracle", OURS, NEAR_ORACLE)
    yield _signed(
        "near_oracle", f"at {_share(NEAR_ORACLE)}, within two points of who knows the future",
        "oracle - lookahead", found,
        found.value is not None and found.value <= _ORACLE_POINTS,
    )  # fmt: skip


def _above(summary: Summary) -> Iterator[Claim]:
    words = {
        "recency": "the last tokens",
        "random": "chance",
        "last-query": "what the last token looks at",
    }
    for arm, text in words.items():
        found = summary.difference(OURS, arm, MUST)
        yield _signed(
            f"above_{arm.replace('-', '_')}", f"at {_share(MUST)}, above {text}",
            f"lookahead - {arm}", found, found.low is not None and found.low > 0,
        )  # fmt: skip


def _switch(summary: Summary) -> Iterator[Claim]:
    if _SWITCH not in summary.families:
        return
    found = summary.difference(DENSE, OURS, NEAR_ORACLE, _SWITCH)
    yield _signed(
        "topic_switch", f"at {_share(NEAR_ORACLE)}, a topic that changes within a window is lost",
        "dense - lookahead, topic_switch", found, found.low is not None and found.low > 0,
    )  # fmt: skip


def _often(summary: Summary) -> Iterator[Claim]:
    if OFTEN not in summary.arms:
        return
    found = summary.difference(OFTEN, DENSE, MUST)
    yield _signed(
        "often_near_dense", f"at {_share(MUST)}, asked every {SHORTER}, within a point of dense",
        f"{OFTEN} - dense", found,
        found.value is not None and found.value >= -_DENSE_POINTS,
    )  # fmt: skip
    if _SWITCH not in summary.families:
        return
    found = summary.difference(OFTEN, OURS, NEAR_ORACLE, _SWITCH)
    yield _signed(
        "often_switch", f"at {_share(NEAR_ORACLE)}, asked every {SHORTER}, that topic comes back",
        f"{OFTEN} - lookahead, topic_switch", found, found.low is not None and found.low > 0,
    )  # fmt: skip


def _signed(key: str, text: str, compared: str, found: Estimate, held: bool) -> Claim:
    """Of a difference."""
    return Claim(key, text, compared, found, held, shown(found, "+.3f"))


def _share(fraction: float) -> str:
    return f"{100 * fraction:g} %"
