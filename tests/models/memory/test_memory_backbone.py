"""A backbone tells exactly what the model itself does, and refuses what it cannot tell."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone, entering
from support import backbones

ALL = backbones.NAMES + backbones.ROTATED
TOKENS = 30
PADDING = (0, 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backbones")


@pytest.fixture(scope="module", params=ALL)
def model(request: pytest.FixtureRequest, folder: Path) -> Any:
    """Saved and loaded, as it will be in use."""
    return backbones.load(backbones.make(request.param, folder / request.param))


class Pass:
    """One forward pass over two rows, the second padded on the left."""

    def __init__(self, model: Any) -> None:
        self.backbone = Backbone.of(model)
        generator = torch.Generator().manual_seed(1)
        ids_BT = torch.randint(3, backbones.VOCABULARY, (2, TOKENS), generator=generator)
        places_T = torch.arange(TOKENS)
        padding_B = torch.tensor(PADDING)
        self.valid_BT = places_T[None] >= padding_B[:, None]
        self.positions_BT = (places_T[None] - padding_B[:, None]).clamp(min=0)
        self.allowed_BTL = (places_T[:, None] >= places_T[None])[None] & self.valid_BT[:, None]
        with torch.no_grad(), self.backbone.capture(self.backbone.memory_layers) as hidden:
            output = model(
                ids_BT,
                attention_mask=self.valid_BT.long(),
                position_ids=self.positions_BT,
                use_cache=True,
                output_attentions=True,
            )
        self.hidden, self.attentions, self.cache = hidden, output.attentions, output.past_key_values


@pytest.fixture(scope="module")
def run(model: Any) -> Pass:
    return Pass(model)


def test_weights_are_those_of_eager_attention_also_with_padding(run: Pass) -> None:
    backbone = run.backbone
    for layer in backbone.memory_layers:
        queries = backbone.queries(layer, run.hidden[layer], run.positions_BT)
        weights = backbone.attention_weights(
            layer, queries, run.cache.layers[layer].keys, run.allowed_BTL
        )
        assert weights.dtype == torch.float32
        expected = run.attentions[layer]
        seen = run.valid_BT[:, None, :, None].expand_as(weights)
        torch.testing.assert_close(weights[seen], expected[seen], atol=1e-5, rtol=0)
        assert not weights[~seen].any(), "a padding token looks at nothing"


def test_keys_are_the_cached_ones(run: Pass) -> None:
    for layer in run.backbone.memory_layers:
        keys = run.backbone.keys(layer, run.hidden[layer], run.positions_BT)
        torch.testing.assert_close(keys, run.cache.layers[layer].keys, atol=1e-5, rtol=0)


def test_cached_keys_turn_back_and_forth(run: Pass) -> None:
    backbone, zero_BT = run.backbone, torch.zeros_like(run.positions_BT)
    for layer in backbone.memory_layers:
        keys = run.cache.layers[layer].keys
        plain = backbone.rotate(layer, keys, run.positions_BT, inverse=True)
        again = backbone.rotate(layer, plain, run.positions_BT)
        torch.testing.assert_close(again, keys, atol=1e-5, rtol=0)
        # What is left is the key itself: the same tokens, all at the start, have it too.
        at_start = backbone.keys(layer, run.hidden[layer], zero_BT)
        expected = backbone.rotate(layer, at_start, zero_BT, inverse=True)
        torch.testing.assert_close(plain, expected, atol=2e-5, rtol=0)
        turned = not torch.allclose(plain, keys, atol=1e-3)
        assert turned == backbone.uses_rope(layer)


def test_the_last_token_alone_has_the_same_queries(run: Pass) -> None:
    for layer in run.backbone.memory_layers:
        queries = run.backbone.queries(layer, run.hidden[layer], run.positions_BT)
        last = run.backbone.queries(layer, run.hidden[layer][:, -1:], run.positions_BT[:, -1:])
        torch.testing.assert_close(last, queries[:, :, -1:], atol=1e-5, rtol=0)


def test_looking_at_a_model_changes_nothing_of_it(model: Any, run: Pass) -> None:
    assert model.config._attn_implementation == "eager"
    for module in model.modules():
        assert not module._forward_pre_hooks
        if hasattr(module, "config") and hasattr(module.config, "_attn_implementation"):
            assert module.config._attn_implementation == "eager"


def test_layers_without_positions_are_left_alone() -> None:
    backbone = Backbone.of(backbones.build("smollm3"))
    assert [backbone.uses_rope(layer) for layer in range(4)] == [True, False, True, False]
    states, positions = torch.randn(1, 2, 5, 16), torch.arange(5)[None] + 9
    assert torch.equal(backbone.rotate(1, states, positions), states)
    assert not torch.equal(backbone.rotate(0, states, positions), states)


def test_only_full_attention_layers_are_memory_layers() -> None:
    backbone = Backbone.of(backbones.build("gemma3"))
    assert backbone.memory_layers == (1, 3)
    with pytest.raises(BadInput, match=r"layer 0 is no memory layer.*1, 3"):
        backbone.rotate(0, torch.zeros(1, 2, 1, 16), torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(BadInput, match="layer 2 is no memory layer"):
        backbone.attention_weights(
            2, torch.zeros(1, 4, 1, 16), torch.zeros(1, 2, 3, 16), torch.ones(1, 1, 3).bool()
        )


def test_sizes_are_told() -> None:
    backbone = Backbone.of(backbones.build("qwen3"))
    sizes = (backbone.num_layers, backbone.hidden_size, backbone.num_heads)
    assert sizes == (4, 32, 4)
    assert (backbone.num_kv_heads, backbone.head_dim) == (2, 16)
    assert backbone.decoder is backbone.model.model
    assert backbone.attention(2) is backbone.model.model.layers[2].self_attn


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    starts=st.lists(st.integers(0, 8_000), min_size=1, max_size=3),
    shift=st.integers(0, 8_000),
)
def test_turning_is_relative_and_keeps_products(seed: int, starts: list[int], shift: int) -> None:
    """What attention sees depends on distance alone, as far as float32 angles reach."""
    backbone = _yarn()
    generator = torch.Generator().manual_seed(seed)
    shape = (len(starts), 2, 1, 16)
    queries, keys = (torch.randn(shape, generator=generator) for _ in range(2))
    positions = torch.tensor(starts)[:, None]

    def product(by: int) -> torch.Tensor:
        turned = backbone.rotate(0, queries, positions + 11 + by)
        return (turned * backbone.rotate(0, keys, positions + by)).sum(-1)

    torch.testing.assert_close(product(0), product(shift), atol=0.03, rtol=0)
    back = backbone.rotate(0, backbone.rotate(0, keys, positions), positions, inverse=True)
    torch.testing.assert_close(back, keys, atol=1e-5, rtol=0)


@cache
def _yarn() -> Backbone:
    return Backbone.of(backbones.build("llama-yarn"))


def test_yarn_turns_by_its_attention_factor() -> None:
    states = torch.randn(1, 2, 3, 16)
    turned = _yarn().rotate(0, states, torch.tensor([[0, 5, 77]]))
    torch.testing.assert_close(turned.norm(dim=-1), 1.3 * states.norm(dim=-1))


def test_bfloat16_keeps_its_dtype_and_comes_close() -> None:
    backbone = Backbone.of(backbones.build("qwen3").to(torch.bfloat16))
    hidden = torch.randn(1, 6, 32, dtype=torch.bfloat16)
    positions = torch.arange(100, 106)[None]
    keys = backbone.keys(0, hidden, positions)
    start = backbone.keys(0, hidden, torch.zeros_like(positions))
    plain = backbone.rotate(0, keys, positions, inverse=True)
    assert keys.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(plain, start, atol=0.06, rtol=0.02)


# -- capturing ------------------------------------------------------------------------------------


def _hooks(model: Any) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


def test_capture_keeps_the_last_pass_only_and_no_hook() -> None:
    model = backbones.build("llama")
    backbone = Backbone.of(model)
    with torch.no_grad(), backbone.capture((0, 3)) as hidden:
        assert _hooks(model) == 2
        model(torch.tensor([[5, 6, 7]]))
        first = dict(hidden)
        model(torch.tensor([[8]]))
    assert set(hidden) == {0, 3}
    assert first[0].shape == (1, 3, 32)
    assert hidden[0].shape == (1, 1, 32)
    assert _hooks(model) == 0


def test_what_enters_is_found_however_it_is_given() -> None:
    states = torch.zeros(1, 2, 3)
    assert entering((states,), {}) is states
    assert entering((), {"hidden_states": states}) is states


def test_capture_leaves_no_hook_after_an_exception() -> None:
    model = backbones.build("llama")
    backbone = Backbone.of(model)
    with pytest.raises(RuntimeError, match="broken"), backbone.capture((0, 1)):
        raise RuntimeError("broken")
    assert _hooks(model) == 0
    with pytest.raises(IndexError), backbone.capture((1, 99)):
        pass
    assert _hooks(model) == 0, "the hooks set before the one that failed are gone"


# -- fingerprints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "phi3"])
def test_fingerprint_outlives_saving_and_rounding(name: str, folder: Path) -> None:
    original = Backbone.of(backbones.build(name)).fingerprint()
    path = folder / f"print-{name}"
    backbones.make(name, path)
    assert Backbone.of(backbones.load(path)).fingerprint() == original
    assert Backbone.of(backbones.load(path, dtype="bfloat16")).fingerprint() == original
    backbones.make(name, folder / f"{path.name}-16", dtype="bfloat16")
    reloaded = backbones.load(folder / f"{path.name}-16", dtype="float32", attention="sdpa")
    assert Backbone.of(reloaded).fingerprint() == original


def test_fingerprint_tells_models_apart() -> None:
    prints = [
        Backbone.of(model).fingerprint()
        for model in (
            backbones.build("qwen3"),
            backbones.build("qwen3", seed=1),
            backbones.build("llama"),
            backbones.build("llama", num_hidden_layers=2),
        )
    ]
    assert len({str(found) for found in prints}) == len(prints)
    assert prints[0]["weights"] != prints[1]["weights"]
    assert {key for key in prints[0] if prints[0][key] != prints[1][key]} == {"weights", "states"}


def changed(model: Any, *parts: str) -> set[str]:
    """What a fingerprint tells apart once weights whose names hold one of these are larger."""
    before = Backbone.of(model).fingerprint()
    found = [
        weight
        for name, weight in model.named_parameters()
        if any(part in f".{name}" for part in parts)
    ]
    assert found
    with torch.no_grad():
        for weight in found:
            weight.mul_(1.3)
    after = Backbone.of(model).fingerprint()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("part", [".embed_tokens.", ".input_layernorm.", ".2.mlp."])
@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gpt-oss", "phi3"])
def test_a_fingerprint_sees_all_that_makes_the_hidden_states(name: str, part: str) -> None:
    assert changed(backbones.build(name), part) == {"states"}


def test_a_fingerprint_sees_attention_that_has_no_long_memory() -> None:
    assert changed(backbones.build("gemma3"), ".2.self_attn.") == {"states"}
    assert changed(backbones.build("gemma3"), ".3.self_attn.") == {"states", "weights"}


def test_a_fingerprint_is_blind_to_what_no_indexer_sees() -> None:
    assert changed(backbones.build("qwen3"), ".lm_head.", ".model.norm.") == set()
    model = backbones.build("gemma2", layer_types=["full_attention", "sliding_attention"] * 2)
    assert changed(model, ".3.mlp.", ".3.self_attn.") == set()


def test_a_fingerprint_outlives_a_longer_vocabulary() -> None:
    model = backbones.build("qwen3", vocab_size=1500)
    before = Backbone.of(model).fingerprint()
    model.resize_token_embeddings(1507)
    assert Backbone.of(model).fingerprint() == before


def test_weights_on_no_device_have_no_fingerprint() -> None:
    model = backbones.build("llama")
    backbone = Backbone.of(model)
    model.to("meta")
    with pytest.raises(BadInput, match="not in memory"):
        backbone.fingerprint()


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mistral-sliding", "sliding window only"),
        ("llama-dynamic", "'dynamic' rotary scaling changes with the length"),
        ("phi3-longrope", "'longrope' rotary scaling changes with the length"),
        ("deepseek-v3", "latent keys"),
        ("deepseek-v4", "keeps its past in DeepseekV4CSACache, DeepseekV4HCACache"),
        ("mamba", "not every layer has an attention module"),
        ("gpt2", "not every layer has an attention module"),
    ],
)
def test_other_models_are_refused_by_one_line(name: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Backbone.of(backbones.build(name))
    assert "\n" not in str(caught.value)


def _change(monkeypatch: pytest.MonkeyPatch, forward: Any) -> Any:
    model = backbones.build("llama")
    monkeypatch.setattr(type(model.model.layers[0].self_attn), "forward", forward)
    return model


def test_a_rotation_that_is_not_the_modules_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = type(backbones.build("llama").model.layers[0].self_attn).forward

    def forward(self: Any, hidden_states: Any, position_embeddings: Any, **more: Any) -> Any:
        cos, sin = position_embeddings
        return original(self, hidden_states, (cos, -sin), **more)

    with pytest.raises(BadInput, match="rotates keys in a way that is not known"):
        Backbone.of(_change(monkeypatch, forward))


def test_attention_without_an_attention_function_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forward(self: Any, hidden_states: Any, **more: Any) -> Any:
        return hidden_states, None

    with pytest.raises(BadInput, match="does not call an attention function"):
        Backbone.of(_change(monkeypatch, forward))


def test_attention_by_what_we_do_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    original = type(backbones.build("llama").model.layers[0].self_attn).forward

    def forward(self: Any, hidden_states: Any, **more: Any) -> Any:
        return original(self, hidden_states, **more, alibi=torch.ones(4))

    with pytest.raises(BadInput, match="attends by alibi too"):
        Backbone.of(_change(monkeypatch, forward))


def test_attention_that_cannot_be_tried_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: Any, hidden_states: Any, **more: Any) -> Any:
        raise TypeError("needs a frobnicator")

    with pytest.raises(BadInput, match=r"cannot be tried alone \(needs a frobnicator\)"):
        Backbone.of(_change(monkeypatch, forward))
