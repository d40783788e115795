"""Who stays is told by a rule that is written out below once more, chunk by chunk."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.models.memory.budget import Budget
from planish.models.memory.selection import check_budget, choose

CHUNK = 4


def by_hand(
    scores: list[float], padding: int, budget: Budget, length: int, before: list[bool]
) -> tuple[set[int], int, bool]:
    """One row: what is kept, how many passed, and whether it turns dense."""
    valid = [c for c in range(len(scores)) if c >= padding // CHUNK]
    must = {
        c
        for c in valid
        if (c + 1) * CHUNK > length - budget.recent_tokens
        or (budget.sink_tokens and c * CHUNK < padding + budget.sink_tokens)
    }
    evictable = [c for c in valid if c not in must]
    passed = [c for c in evictable if scores[c] > budget.threshold]
    sticky = {c for c in evictable if budget.sticky and before[c]}
    order = sorted(valid, key=lambda c: (c not in must, c not in sticky, -scores[c], -c))
    count = max(len(must | sticky | set(passed)), budget.min_chunks)
    if budget.max_chunks is not None:
        count = min(count, budget.max_chunks)
    ratio = budget.fallback_ratio
    dense = ratio is not None and len(passed) > ratio * len(evictable)
    return set(order[:count]), len(passed), dense


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[int], Budget, int, list[list[bool]]]:
    rows, chunks = draw(st.integers(1, 3)), draw(st.integers(1, 12))
    score = st.sampled_from([0.0, 0.2, 0.5, 0.6, 0.9])  # many ties
    recent, sink = draw(st.integers(1, 12)), draw(st.integers(0, 6))
    least = -(-recent // CHUNK) + -(-sink // CHUNK) + 1
    cap = draw(st.none() | st.integers(least, 12))
    budget = Budget(
        recent_tokens=recent,
        sink_tokens=sink,
        max_chunks=cap,
        min_chunks=draw(st.integers(0, 12 if cap is None else cap)),
        sticky=draw(st.booleans()),
        fallback_ratio=draw(st.none() | st.sampled_from([0.2, 0.5, 1.0])),
    )
    length = chunks * CHUNK + draw(st.integers(0, CHUNK - 1))
    return (
        [draw(st.lists(score, min_size=chunks, max_size=chunks)) for _ in range(rows)],
        [draw(st.integers(0, length - 1)) for _ in range(rows)],
        budget,
        length,
        [draw(st.lists(st.booleans(), min_size=chunks, max_size=chunks)) for _ in range(rows)],
    )


@settings(max_examples=150)
@given(cases())
def test_it_is_the_rule_chunk_by_chunk(
    case: tuple[list[list[float]], list[int], Budget, int, list[list[bool]]],
) -> None:
    scores, padding, budget, length, before = case
    padding_B = torch.tensor(padding)
    chunks = len(scores[0])
    choice = choose(
        torch.tensor(scores, dtype=torch.float64),
        torch.full_like(padding_B, chunks),
        padding_B // CHUNK,
        budget,
        CHUNK,
        length,
        torch.tensor(before),
        padding_B=padding_B,
    )
    for row in range(len(scores)):
        kept, passed, dense = by_hand(scores[row], padding[row], budget, length, before[row])
        assert set(choice.keep_BC[row].nonzero()[:, 0].tolist()) == kept
        assert int(choice.thresholded_B[row]) == passed
        assert bool(choice.fallback_B[row]) == dense


def one(scores: list[float], budget: Budget) -> torch.Tensor:
    chunks = torch.tensor([len(scores)])
    first = torch.zeros(1, dtype=torch.int64)
    return choose(
        torch.tensor([scores]), chunks, first, budget, CHUNK, CHUNK * len(scores)
    ).keep_BC[0]


def test_of_equal_scores_the_later_chunk_stays() -> None:
    kept = one([0.9, 0.9, 0.9, 0.1], Budget(recent_tokens=4, max_chunks=2))
    assert kept.tolist() == [False, False, True, True]


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(score: float) -> None:
    with pytest.raises(BadInput, match="not a finite number"):
        one([0.1, score, 0.2], Budget(recent_tokens=4))


def test_sinks_and_recent_window_above_the_cap_are_refused() -> None:
    budget = Budget(recent_tokens=9, sink_tokens=4, max_chunks=3)
    with pytest.raises(BadInput, match="above the cap of 3"):
        check_budget(budget, CHUNK)
    with pytest.raises(BadInput, match="above the cap of 3"):
        one([0.1] * 8, Budget(recent_tokens=13, max_chunks=3))
    check_budget(budget.model_copy(update={"max_chunks": 4}), CHUNK)


def test_more_to_keep_than_may_stay_is_refused() -> None:
    with pytest.raises(BadInput, match="min_chunks=5 is above max_chunks=4"):
        check_budget(Budget(recent_tokens=4, max_chunks=4, min_chunks=5), CHUNK)
