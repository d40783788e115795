"""The published maths, in its exact order: every departure that was measured is told apart."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

from planish.models.memory import scorer
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.scorer import Rope, agreement, hadamard, rms_norm, rotate
from support import published
from support.published import Wrong

LAYERS = ("l10", "l12", "l20")


@pytest.fixture(scope="module")
def reference() -> Path:
    root = Path(__file__).parents[3]
    for base in (root, root.parent):
        path = base / "shared" / "data" / "lookahead" / "reference_scores.safetensors"
        if path.is_file():
            return path
    pytest.skip("the reference scores are not in shared/, here or beside the checkout")


@pytest.fixture(scope="module")
def tensors(reference: Path) -> Any:
    return load_file(reference)


def test_the_published_scores_are_reproduced(reference: Path, tensors: Any) -> None:
    indexer = MemoryIndexer.from_pretrained(reference)
    assert indexer.layers == LAYERS
    assert indexer.layer_indices == (22, 26, 42)
    found = indexer.score(tensors["io.hidden"], tensors["io.compressed_k"], tensors["io.positions"])
    for layer in LAYERS:
        expected = tensors[f"io.scores.{layer}"]
        torch.testing.assert_close(found[layer], expected, atol=1e-4, rtol=0)
    for mode in ("max", "mean"):
        expected = tensors[f"io.scores_{mode}"]
        torch.testing.assert_close(indexer.ensemble(found, mode), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(indexer.ensemble(found), tensors["io.scores_max"])


@pytest.mark.parametrize(
    ("wrong", "least", "most"),
    [
        (Wrong(), 0, 5e-6),
        (Wrong(half_split=True), 0.4, 1),
        (Wrong(first_dimensions=True), 0.4, 1),
        (Wrong(yarn=False), 0.4, 1),
        (Wrong(hadamard=False), 0.4, 1),
        (Wrong(float64_angles=True), 9e-4, 3e-3),
        (Wrong(round_all=False), 1e-3, 3e-3),
    ],
    ids=str,
)
def test_the_reference_tells_every_departure_from_the_definition(
    tensors: Any, wrong: Wrong, least: float, most: float
) -> None:
    for layer in LAYERS:
        expected = tensors[f"io.scores.{layer}"].numpy()
        assert least <= np.abs(published.scores(tensors, layer, wrong) - expected).max() <= most


def test_yarn_corrects_pairs_15_to_25() -> None:
    rope = Rope()
    ratio = rope.frequencies().double() * 160_000 ** (2 * torch.arange(32).double() / 64)
    ramp = ((torch.arange(32).double() - 15) / 10).clamp(0, 1)
    torch.testing.assert_close(ratio, ramp / 16 + (1 - ramp), atol=1e-6, rtol=0)
    assert rope.frequencies().dtype == torch.float32
    assert rope.frequencies().tolist() == [float(x) for x in published.frequencies()]


@given(
    base=st.floats(100, 1e7),
    factor=st.floats(1, 64),
    length=st.integers(64, 1 << 20),
    dim=st.sampled_from([2, 16, 64, 128]),
)
@settings(max_examples=40)
def test_frequencies_lie_between_the_plain_and_the_stretched(
    base: float, factor: float, length: int, dim: int
) -> None:
    found = Rope(dim=dim, base=base, factor=factor, original_length=length).frequencies().double()
    plain = base ** -(2 * torch.arange(dim // 2).double() / dim)
    assert len(found) == dim // 2
    assert bool((found <= plain * (1 + 1e-5)).all())
    assert bool((found >= plain / factor * (1 - 1e-5)).all())
    assert bool((found[1:] < found[:-1]).all())


@given(position=st.integers(0, 1 << 20), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_rotation_keeps_lengths_and_the_first_half(position: int, seed: int) -> None:
    states = torch.randn(3, 128, generator=torch.Generator().manual_seed(seed))
    turned = rotate(states, torch.full((3,), position), Rope())
    assert torch.equal(turned[:, :64], states[:, :64])
    pairs, before = turned[:, 64:].unflatten(1, (32, 2)), states[:, 64:].unflatten(1, (32, 2))
    torch.testing.assert_close(pairs.norm(dim=-1), before.norm(dim=-1))
    if position == 0:
        assert torch.equal(turned, states)


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_states_may_lie_anywhere_in_something_wider(rows: int) -> None:
    wide = torch.randn(rows, 131, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(rows) + 7
    expected = rotate(wide[:, 1:129].clone(), positions, Rope())
    assert torch.equal(rotate(wide[:, 1:129], positions, Rope()), expected)
    assert expected.shape == (rows, 128)


def test_what_a_query_and_a_key_agree_on_depends_on_their_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 128, generator=generator)

    def product(first: int, second: int) -> float:
        return float(
            hadamard(rotate(query, torch.tensor(first), Rope()))
            @ hadamard(rotate(key, torch.tensor(second), Rope()))
        )

    assert product(500, 100) == pytest.approx(product(900, 500), abs=1e-3)
    assert product(500, 100) != pytest.approx(product(500, 460), abs=0.1)


def test_the_hadamard_matrix_is_sylvesters_and_orthonormal() -> None:
    matrix = hadamard(torch.eye(128))
    expected = [[(-1) ** (i & j).bit_count() for j in range(128)] for i in range(128)]
    torch.testing.assert_close(matrix, torch.tensor(expected).float() / math.sqrt(128))
    torch.testing.assert_close(matrix @ matrix, torch.eye(128), atol=1e-6, rtol=0)


def test_the_norm_is_of_mean_squares() -> None:
    states = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    found = rms_norm(states, torch.tensor([1.0, 2.0]))
    scale = 1 / math.sqrt(12.5 + 1e-6)
    torch.testing.assert_close(found, torch.tensor([[3 * scale, 8 * scale], [0, 0]]))


# -- agreement in pieces ------------------------------------------------------------------------


def _parts(rows: int, heads: int, chunks: int, *, shared: bool = False) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(rows * 100 + chunks)
    keys = (chunks, 128) if shared else (rows, chunks, 128)
    shapes: list[tuple[int, ...]] = [(rows, heads, 128), (rows, heads), keys]
    return [torch.randn(*shape, generator=generator) for shape in shapes]


def _hold(patch: pytest.MonkeyPatch, numbers: int) -> None:
    """So many products at a time."""
    patch.setattr(scorer, "_AT_ONCE", {"cpu": numbers})


class Largest(TorchDispatchMode):
    """The most numbers that any one result held."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 4),
    chunks=st.integers(0, 20),
    shared=st.booleans(),
    held=st.integers(1, 60),
    gradients=st.booleans(),
)
@settings(max_examples=25)
def test_pieces_equal_the_sum_over_heads(
    rows: int, heads: int, chunks: int, shared: bool, held: int, gradients: bool
) -> None:
    queries, gates, keys = _parts(rows, heads, chunks, shared=shared)
    with pytest.MonkeyPatch.context() as patch:
        _hold(patch, held)
        found = agreement(queries.requires_grad_(gradients), gates, keys)
    assert found.shape == (rows, chunks)
    loose = found.detach(), queries.detach(), gates, keys.expand(rows, chunks, 128)
    scores_BC, queries_BHD, gates_BH, keys_BCD = (part.numpy() for part in loose)
    for b in range(rows):
        for c in range(chunks):
            expected = sum(
                gates_BH[b, h] * max(0.0, keys_BCD[b, c] @ queries_BHD[b, h]) for h in range(heads)
            )
            assert scores_BC[b, c] == pytest.approx(expected, abs=1e-3)


def test_pieces_have_the_gradients_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [part.requires_grad_() for part in _parts(2, 3, 33)]
    whole = torch.autograd.grad(agreement(*parts).square().sum(), parts)
    _hold(monkeypatch, 12)
    for found, expected in zip(
        torch.autograd.grad(agreement(*parts).square().sum(), parts), whole, strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_no_more_than_a_piece_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gates, keys = _parts(2, 64, 1000)
    _hold(monkeypatch, 1 << 12)
    with torch.no_grad(), Largest() as largest:
        agreement(queries, gates, keys)
    # The queries are the largest; all products would be 128,000.
    assert largest.numbers <= queries.numel()


# -- what is remembered between calls -----------------------------------------------------------


def _forget() -> None:
    scorer._frequencies.cache_clear()
    scorer._sylvester.cache_clear()


def test_one_may_train_after_scoring_in_inference_mode() -> None:
    _forget()
    with torch.inference_mode():
        hadamard(rotate(torch.randn(2, 128), torch.arange(2), Rope()))
    states = torch.randn(2, 128, requires_grad=True)
    hadamard(rotate(states, torch.arange(2), Rope())).sum().backward()
    assert states.grad is not None


def test_the_default_device_of_the_first_caller_is_not_remembered() -> None:
    _forget()
    try:
        with torch.device("meta"):
            remembered = [Rope().frequencies(), scorer._sylvester(128)]
        assert {tensor.device.type for tensor in remembered} == {"cpu"}
    finally:
        _forget()


def test_the_default_type_of_the_first_caller_is_not_remembered() -> None:
    _forget()
    torch.set_default_dtype(torch.bfloat16)
    try:
        remembered = [Rope().frequencies(), scorer._sylvester(128)]
        assert {tensor.dtype for tensor in remembered} == {torch.float32}
    finally:
        torch.set_default_dtype(torch.float32)
        _forget()
