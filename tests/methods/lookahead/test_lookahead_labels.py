"""Labels, against the definition written out by hand, chunk by chunk and token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from planish.methods.lookahead.labels import (
    Limits,
    Mass,
    Rule,
    Sampled,
    dense,
    evictable,
    golden_by_mass,
    label,
    layer_weight,
    window_mass,
    window_max,
)

CHUNK = 4


def _document(seed: int, *, layers: int = 3, sharp: float = 3.0, length: int = 48) -> Sampled:
    """Two stretches of a document, the second of which ends with it."""
    random = np.random.default_rng(seed)
    first = int(random.integers(4, 16))
    positions = [*range(first, first + 9), *range(length - 12, length)]
    stretch = [0] * 9 + [1] * 12
    num_chunks = length // CHUNK
    mass = np.exp(sharp * random.standard_normal((len(positions), layers, num_chunks)))
    for row, position in enumerate(positions):
        mass[row, :, (position + 1) // CHUNK :] = 0.0
    mass /= np.maximum(mass.sum(-1, keepdims=True), 1e-30)
    head = np.minimum(mass * random.uniform(1, 2, mass.shape), 1.0)
    needs = [(position, int(random.integers(num_chunks))) for position in positions[::3]]
    return Sampled(
        positions_N=torch.tensor(positions),
        stretch_N=torch.tensor(stretch),
        length=length,
        mass=Mass(torch.tensor(mass, dtype=torch.float32), num_chunks),
        head=Mass(torch.tensor(head, dtype=torch.float32), num_chunks),
        needs_W2=torch.tensor(needs),
    )


def _smallest_set(values: list[float], share: float) -> set[int]:
    chosen: set[int] = set()
    order = sorted(range(len(values)), key=lambda chunk: (-values[chunk], chunk))
    for chunk in order:
        if sum(values[c] for c in chosen) >= share * sum(values) - 1e-12 or values[chunk] == 0:
            break
        chosen.add(chunk)
    return chosen


def _by_hand(document: Sampled, rule: Rule, limits: Limits) -> list[set[int] | None]:
    """Positives of every token; None where the window is not whole."""
    golden: list[set[int]] = []
    for row, position in enumerate(document.positions_N.tolist()):
        votes = [0] * document.mass.num_chunks
        assert document.needs_W2 is not None
        if rule.name == "needs":
            for at, chunk in document.needs_W2.tolist():
                votes[chunk] += at == position
        elif rule.name == "head":
            for values in document.head.values_NMS[row].tolist():
                for chunk, value in enumerate(values):
                    votes[chunk] += value > rule.head_mass
        else:
            for values in document.mass.values_NMS[row].double().tolist():
                if rule.among == "evictable":
                    values = [
                        value * _may_go(chunk, position, limits)
                        for chunk, value in enumerate(values)
                    ]
                for chunk in _smallest_set(values, rule.mass):
                    votes[chunk] += 1
        wanted = rule.layers(document.mass.values_NMS.shape[1])
        golden.append({chunk for chunk, count in enumerate(votes) if count >= wanted})
    found: list[set[int] | None] = []
    stretch, positions = document.stretch_N.tolist(), document.positions_N.tolist()
    for row, position in enumerate(positions):
        window = [
            other
            for other in range(len(positions))
            if stretch[other] == stretch[row]
            and position <= positions[other] < position + limits.interval
        ]
        whole = len(window) == limits.interval or positions[window[-1]] == document.length - 1
        union = set().union(*(golden[other] for other in window))
        found.append({c for c in union if _may_go(c, position, limits)} if whole else None)
    return found


def _may_go(chunk: int, position: int, limits: Limits) -> bool:
    tokens = range(chunk * limits.chunk_tokens, (chunk + 1) * limits.chunk_tokens)
    history = range(position + 1)
    recent = history[-limits.recent_tokens :]
    return (
        tokens[-1] in history
        and not any(token < limits.sink_tokens for token in tokens)
        and not any(token in recent for token in tokens)
    )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from(["mass", "head", "needs"]),
    among=st.sampled_from(["history", "evictable"]),
    mass=st.sampled_from([0.3, 0.6, 0.9]),
    min_layers=st.sampled_from([None, 1, 2, 3]),
    interval=st.integers(1, 14),
    sinks=st.integers(0, 10),
    recent=st.integers(1, 12),
)
def test_labels_are_the_definition(
    seed: int,
    name: str,
    among: str,
    mass: float,
    min_layers: int | None,
    interval: int,
    sinks: int,
    recent: int,
) -> None:
    document = _document(seed)
    rule = Rule(name=name, mass=mass, among=among, min_layers=min_layers)  # type: ignore[arg-type]
    limits = Limits(CHUNK, interval, sinks, recent)
    labels = label(document, rule, limits)
    for row, expected in enumerate(_by_hand(document, rule, limits)):
        assert bool(labels.known_N[row]) == (expected is not None)
        found = set(labels.positive_NC[row].nonzero().flatten().tolist())
        assert found == (expected or set())
        candidates = set(labels.candidate_NC[row].nonzero().flatten().tolist())
        position = int(document.positions_N[row])
        assert candidates == {c for c in range(12) if _may_go(c, position, limits)}


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), top=st.integers(1, 12), name=st.sampled_from(["mass", "head"]))
def test_a_part_of_the_mass_gives_the_same_labels_or_none(seed: int, top: int, name: str) -> None:
    whole = _document(seed)
    limits = Limits(CHUNK, interval=4, sink_tokens=4, recent_tokens=8)
    rule = Rule(name=name, head_mass=0.2)  # type: ignore[arg-type]
    part = Sampled(
        positions_N=whole.positions_N,
        stretch_N=whole.stretch_N,
        length=whole.length,
        mass=_largest(whole.mass, top),
        head=_largest(whole.head, top),
    )
    all_of_it, some = label(whole, rule, limits), label(part, rule, limits)
    assert not (some.known_N & ~all_of_it.known_N).any()
    rows = some.known_N
    assert torch.equal(some.positive_NC[rows], all_of_it.positive_NC[rows])
    if top == 12:
        assert torch.equal(some.known_N, all_of_it.known_N)


def _largest(mass: Mass, top: int) -> Mass:
    values, chunks = mass.values_NMS.topk(top, dim=-1)
    return Mass(values, mass.num_chunks, chunks, mass.values_NMS.sum(-1))


def test_what_was_left_out_makes_tokens_unlabelled() -> None:
    whole = _document(3, sharp=0.1)
    part = Sampled(
        positions_N=whole.positions_N,
        stretch_N=whole.stretch_N,
        length=whole.length,
        mass=_largest(whole.mass, 1),
        head=_largest(whole.head, 1),
    )
    limits = Limits(CHUNK, interval=4, recent_tokens=4)
    assert label(whole, Rule(mass=0.9), limits).known_N.any()
    assert not label(part, Rule(mass=0.9), limits).known_N.any()


def test_a_task_that_does_not_tell_labels_nothing() -> None:
    document = _document(0)
    silent = Sampled(
        document.positions_N, document.stretch_N, document.length, document.mass, document.head
    )
    assert not label(silent, Rule(name="needs"), Limits(CHUNK, interval=2)).known_N.any()


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=9),
    share=st.floats(0.05, 0.95),
)
def test_the_golden_set_is_the_smallest(values: list[float], share: float) -> None:
    found = golden_by_mass(torch.tensor([[values]]), share)[0, 0]
    doubles = torch.tensor(values, dtype=torch.float32).double()
    total, kept = float(doubles.sum()), float(doubles[found].sum())
    assert kept >= share * total - 1e-9
    if found.any():
        assert kept - float(doubles[found].min()) < share * total + 1e-9


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), interval=st.integers(1, 40), split=st.integers(0, 20))
def test_windows_stop_at_the_end_of_a_stretch(seed: int, interval: int, split: int) -> None:
    random = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 9, (20, 3), generator=random)
    stretch = torch.tensor([0] * split + [1] * (20 - split))
    expected = torch.stack(
        [
            values[row : row + interval][stretch[row : row + interval] == stretch[row]].amax(0)
            for row in range(20)
        ]
    )
    assert torch.equal(window_max(values, stretch, interval), expected)
    mass = Mass(values.float().unsqueeze(1), 3)
    summed = torch.stack(
        [
            values[row : row + interval][stretch[row : row + interval] == stretch[row]].sum(0)
            for row in range(20)
        ]
    )
    torch.testing.assert_close(window_mass(mass, stretch, interval), summed.float())


def test_too_many_positives_are_cut_to_those_that_most_layers_agree_on() -> None:
    head = torch.zeros(1, 3, 8)
    head[0, :, 5], head[0, :2, 2], head[0, 0, [0, 1, 3]] = 0.9, 0.9, 0.9
    mass = Mass(head, 8)
    document = Sampled(torch.tensor([47]), torch.tensor([0]), 48, mass, mass)
    limits = Limits(CHUNK, interval=1, recent_tokens=1, max_positives=3)
    labels = label(document, Rule(name="head"), limits)
    assert labels.positive_NC[0].nonzero().flatten().tolist() == [2, 3, 5]
    assert labels.counts_NC[0, 5] == 3


@pytest.mark.parametrize(("layers", "wanted"), [(1, 1), (2, 1), (12, 2), (21, 3), (42, 6)])
def test_the_share_of_layers_is_the_published_one(layers: int, wanted: int) -> None:
    assert Rule().layers(layers) == wanted


def test_layers_that_agree_weigh_more() -> None:
    weights: Tensor = layer_weight(torch.tensor([0, 21]), 21)
    assert weights.tolist() == [0.5, 2.0]


def test_mass_by_chunk_is_put_in_its_place() -> None:
    part = Mass(torch.tensor([[[0.5, 0.25]]]), 4, torch.tensor([[[3, 1]]]))
    assert dense(part).tolist() == [[[0.0, 0.25, 0.0, 0.5]]]
    assert evictable(torch.tensor([3]), 4, Limits(CHUNK, recent_tokens=1)).sum() == 0
