"""DeepSeek-V4's own choice never leaves the resident set, and is untouched where all are there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from planish.errors import BadInput
from planish.models.memory.native_topk import NativeTopK
from support import backbones

TOKENS, MORE, RATE = 61, 4, 4
CHUNKS = TOKENS // RATE


@pytest.fixture(scope="module")
def model() -> Any:
    return backbones.build("deepseek-v4")


@pytest.fixture(scope="module")
def ids_BT() -> Tensor:
    return torch.randint(3, backbones.VOCABULARY, (2, TOKENS + MORE), generator=_generator(0))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _prefilled(model: Any, ids_BT: Tensor) -> Any:
    cache = DynamicCache(config=model.config)
    with torch.no_grad():
        model(ids_BT[:, :TOKENS], past_key_values=cache)
    return cache


def _decoded(model: Any, ids_BT: Tensor, native: NativeTopK | None, resident: Any) -> Tensor:
    """Logits of four more tokens, one by one."""
    cache = _prefilled(model, ids_BT)
    if native is not None:
        native.resident_BC = resident
    with torch.no_grad():
        steps = [
            model(ids_BT[:, t : t + 1], past_key_values=cache).logits
            for t in range(TOKENS, TOKENS + MORE)
        ]
    return torch.cat(steps, dim=1)


def _hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("everything", [None, torch.ones(2, CHUNKS, dtype=torch.bool)])
def test_with_everything_resident_logits_are_the_models_own(
    model: Any, ids_BT: Tensor, everything: Tensor | None
) -> None:
    alone = _decoded(model, ids_BT, None, None)
    native = NativeTopK(model)
    with native.attached():
        assert torch.equal(_decoded(model, ids_BT, native, everything), alone)


@pytest.mark.parametrize("kept", [2, 12])
def test_a_resident_set_gives_what_masking_by_hand_gives(
    monkeypatch: pytest.MonkeyPatch, model: Any, ids_BT: Tensor, kept: int
) -> None:
    resident_BC = _choice(kept)
    native, chosen = NativeTopK(model), []
    with native.attached(), ExitStack() as stack:
        for layer in native.layers:
            indexer = model.model.layers[layer].self_attn.compressor.indexer
            hook = indexer.register_forward_hook(lambda module, args, picks: chosen.append(picks))
            stack.callback(hook.remove)
        logits = _decoded(model, ids_BT, native, resident_BC)
    for picks_BTS in chosen[2:]:  # the first two are the prompt's
        for row, picks in enumerate(picks_BTS.flatten(1).tolist()):
            old = [pick for pick in picks if 0 <= pick < CHUNKS]
            assert all(resident_BC[row, pick] for pick in old)
            assert picks != [-1] * len(picks)
    alone = _decoded(model, ids_BT, None, None)
    _mask_by_hand(monkeypatch, model, native.layers, resident_BC)
    expected = _decoded(model, ids_BT, None, None)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    if kept < 12:
        assert not torch.allclose(logits, alone, atol=1e-3), "absentees make a difference"


def _choice(kept: int) -> Tensor:
    resident_BC = torch.zeros(2, CHUNKS, dtype=torch.bool)
    for row in range(2):
        resident_BC[row, torch.randperm(CHUNKS, generator=_generator(row + kept))[:kept]] = True
    return resident_BC


def _mask_by_hand(
    monkeypatch: pytest.MonkeyPatch, model: Any, layers: tuple[int, ...], resident_BC: Tensor
) -> None:
    """Attention biases from sorted lists, made without the model's own choice."""
    for layer in layers:
        compressor = model.model.layers[layer].self_attn.compressor
        seen: list[Tensor] = []
        score = compressor.indexer.scorer.forward

        def scored(*args: Any, _score: Any = score, _seen: list[Tensor] = seen) -> Tensor:
            _seen.append(_score(*args))
            return _seen[-1]

        monkeypatch.setattr(compressor.indexer.scorer, "forward", scored)
        monkeypatch.setattr(compressor, "forward", _by_hand(compressor.forward, seen, resident_BC))


def _by_hand(original: Callable[..., Any], seen: list[Tensor], resident_BC: Tensor) -> Any:
    def forward(hidden: Tensor, residual: Tensor, positions: Tensor, *more: Any) -> Any:
        compressed, own_bias = original(hidden, residual, positions, *more)
        if hidden.shape[1] > 1:
            return compressed, own_bias
        bias = torch.full_like(own_bias, float("-inf"))
        for row, scores in enumerate(seen[-1][:, 0].tolist()):
            there = [c for c in range(len(scores)) if c >= CHUNKS or resident_BC[row, c]]
            for entry in sorted(there, key=lambda c: -scores[c])[:8]:
                bias[row, 0, 0, entry] = 0.0
        return compressed, bias

    return forward


def test_a_row_without_residents_sees_its_window_only(model: Any, ids_BT: Tensor) -> None:
    native = NativeTopK(model)
    with native.attached():
        logits = _decoded(model, ids_BT, native, torch.zeros(2, CHUNKS, dtype=torch.bool))
    assert torch.isfinite(logits).all()


def test_a_set_of_another_text_is_refused(model: Any, ids_BT: Tensor) -> None:
    native = NativeTopK(model)
    for shape in ((1, CHUNKS), (2, CHUNKS + 9)):
        with native.attached(), pytest.raises(BadInput, match="resident set: it has"):
            _decoded(model, ids_BT, native, torch.ones(shape, dtype=torch.bool))
        native.resident_BC = None


def test_no_hook_is_left_after_an_exception(model: Any) -> None:
    before = _hooks(model)
    native = NativeTopK(model)
    with native.attached():
        assert _hooks(model) == before + 4
    with pytest.raises(RuntimeError, match="broken"), native.attached():
        raise RuntimeError("broken")
    assert _hooks(model) == before


def test_other_models_are_refused() -> None:
    with pytest.raises(BadInput, match="no DeepSeek-V4 model"):
        NativeTopK(backbones.build("llama"))
    heavy = ["heavily_compressed_attention"] * 5
    with pytest.raises(BadInput, match="no compressed-sparse layers"):
        NativeTopK(backbones.build("deepseek-v4", layer_types=heavy))
