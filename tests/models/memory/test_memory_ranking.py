"""The loss of an order, against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.models.memory.ranking import ranking_loss


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_ranking_loss_is_its_definition(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 6, generator=draw, dtype=torch.float64) * 3
    labels = (torch.rand(3, 6, generator=draw) < 0.4).double()
    weights = torch.rand(3, 6, generator=draw).double() * (torch.rand(3, 6, generator=draw) < 0.8)
    rows = []
    for one, needed, weight in zip(logits, labels > 0.5, weights, strict=True):
        free = one[~needed & (weight > 0)].exp().sum()
        mine = needed & (weight > 0)
        if mine.any():
            each = -(one[mine].exp() / (one[mine].exp() + free)).log()
            rows.append((each * weight[mine]).sum() / weight[mine].sum())
    wanted = torch.stack(rows).mean() if rows else torch.zeros((), dtype=torch.float64)
    torch.testing.assert_close(ranking_loss(logits, labels, weights), wanted)


def test_the_ranking_loss_is_0_without_rivals_and_without_needs() -> None:
    logits = torch.tensor([[1.0, -2.0], [0.5, 0.5]], requires_grad=True)
    loss = ranking_loss(logits, torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.ones(2, 2))
    loss.backward()
    assert loss.item() == pytest.approx(0.0)
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())
