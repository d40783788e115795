"""What a model says within a budget is what it says dense, or dense with absent chunks masked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from planish.models.memory.attach import Session, lookahead
from planish.models.memory.budget import Budget
from support import backbones
from support.memory import Chance, Watched

EXACT = 1e-5
CHUNK = 8
NAMES = ("llama", "qwen3", "smollm3", "gemma3", "gpt-oss")
SMALLER: dict[str, Any] = {"num_hidden_layers": 2}
LAYERS = {"layer_types": ["sliding_attention", "full_attention"]}
MIXED: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {},
    "smollm3": {"no_rope_layers": [1, 0]},
    "gemma3": LAYERS,
    "gpt-oss": LAYERS,
}
DENSE = Budget(recent_tokens=100_000, interval=4)
TIGHT = Budget(recent_tokens=12, sink_tokens=4, max_chunks=5, interval=5, dense_queries=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("memory")


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, folder: Path) -> Any:
    """From disk. GPT-OSS has sinks, which only eager attention knows."""
    path = backbones.make(request.param, folder / request.param, **SMALLER | MIXED[request.param])
    attention = "eager" if request.param == "gpt-oss" else "sdpa"
    # In float64, so that a difference is a mistake: in float32 logits of dense runs differ by 1e-5
    # already where sums are taken in another order.
    loaded = backbones.load(path, dtype="float64", attention=attention)
    loaded.generation_config.eos_token_id = None
    if request.param == "gpt-oss":
        loaded.set_experts_implementation("eager")  # the others know no float64
    return loaded


def prompts(rows: int = 2, length: int = 45, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, backbones.VOCABULARY, (rows, length), generator=generator)


def padded(*padding: int, length: int = 45) -> dict[str, torch.Tensor]:
    ids_BL = prompts(len(padding), length)
    mask_BL = (torch.arange(length) >= torch.tensor(padding)[:, None]).long()
    return {"input_ids": ids_BL.where(mask_BL.bool(), 0), "attention_mask": mask_BL}


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 18},
    "beams": {"max_new_tokens": 14, "num_beams": 2},
    "chunked prefill": {"max_new_tokens": 12, "prefill_chunk_size": 11},
}


@pytest.mark.parametrize("way", WAYS)
def test_without_eviction_it_is_a_dynamic_cache(model: Any, way: str) -> None:
    inputs, options = padded(0, 13), WAYS[way] | {"do_sample": False}
    expected = model.generate(**inputs, **options)
    with lookahead(model, Chance(), DENSE, chunk_tokens=CHUNK) as session:
        found = model.generate(**inputs, **options)
    assert torch.equal(found, expected)
    assert session.windows


def test_assisted_decoding_without_eviction_is_plain_decoding(model: Any) -> None:
    ids_BL = repetitive()
    expected = model.generate(**whole(ids_BL), max_new_tokens=16, do_sample=False)
    with lookahead(model, Chance(), DENSE, chunk_tokens=CHUNK):
        found = model.generate(
            **whole(ids_BL), max_new_tokens=16, do_sample=False, prompt_lookup_num_tokens=4
        )
    assert torch.equal(found, expected)


def test_two_turns_with_the_cache_kept(model: Any) -> None:
    first, more = prompts(1), prompts(1, 40, seed=1)
    plain: dict[str, Any] = {"do_sample": False, "return_dict_in_generate": True}
    turn = model.generate(**whole(first), max_new_tokens=12, **plain)
    longer = torch.cat([turn.sequences, more], dim=1)
    expected = model.generate(
        **whole(longer), max_new_tokens=12, past_key_values=turn.past_key_values
    )
    with lookahead(model, Chance(), DENSE, chunk_tokens=CHUNK):
        turn = model.generate(**whole(first), max_new_tokens=12, **plain)
        found = model.generate(
            **whole(longer), max_new_tokens=12, past_key_values=turn.past_key_values
        )
    assert torch.equal(found, expected)


def whole(ids_BL: torch.Tensor) -> dict[str, torch.Tensor]:
    """Without a mask `generate` would take a generated padding token for padding."""
    return {"input_ids": ids_BL, "attention_mask": torch.ones_like(ids_BL)}


def repetitive() -> torch.Tensor:
    """A prompt in which a look-up of earlier words proposes much."""
    return prompts(1, 9).repeat(1, 5)


@contextmanager
def watched(model: Any, budget: Budget = TIGHT) -> Iterator[tuple[Session, Watched]]:
    with (
        lookahead(model, Chance(), budget, chunk_tokens=CHUNK) as session,
        Watched(model, CHUNK, budget.dense_queries) as seen,
    ):
        yield session, seen


@pytest.mark.parametrize("way", WAYS)
def test_with_eviction_it_is_dense_with_absent_chunks_masked(model: Any, way: str) -> None:
    with watched(model) as (session, seen):
        model.generate(**padded(0, 13), **WAYS[way], do_sample=False)
    assert seen.difference() < EXACT
    assert seen.evicted
    assert any(window.moved_bytes for window in session.windows)


def test_speculated_tokens_see_the_resident_set_and_no_future(model: Any) -> None:
    with watched(model) as (session, seen):
        model.generate(repetitive(), max_new_tokens=20, do_sample=False, prompt_lookup_num_tokens=6)
    assert seen.difference() < EXACT
    assert seen.evicted
    assert any(window.moved_bytes for window in session.windows)


@pytest.mark.parametrize("noise", [0.0, 0.05], ids=["the same", "another"])
def test_what_an_assistant_drafts_sees_the_resident_set_and_no_future(
    model: Any, noise: float
) -> None:
    """Drafts of the same weights over a whole history, and of others: some are taken, some not."""
    ids_BL, assistant = prompts(1), perturbed(model, noise)
    passes: list[int] = []
    taken_back: list[int] = []

    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        cache = kwargs["past_key_values"]
        passes.append(kwargs["input_ids"].shape[1])
        if len(passes) == 1:
            crop = cache.crop
            cache.crop = lambda tokens: (taken_back.append(-tokens), crop(tokens))

    with watched(model) as (session, seen):
        handle = model.register_forward_pre_hook(note, with_kwargs=True)
        found = model.generate(
            **whole(ids_BL), max_new_tokens=60, do_sample=False, assistant_model=assistant
        )
        handle.remove()
    assert seen.difference() < EXACT
    assert seen.evicted
    assert any(window.moved_bytes for window in session.windows)
    assert found.shape[1] == ids_BL.shape[1] + 60
    assert max(passes[1:]) > 1
    assert len(passes) < 60  # some drafts were taken
    assert sum(taken_back) > 0  # and others not
    # What was said is the likeliest token of what could be seen, at every place.
    likeliest_BL = seen.logits_BLV[:, ids_BL.shape[1] - 1 :].argmax(-1)
    assert torch.equal(found[:, ids_BL.shape[1] :], likeliest_BL[:, :60])


def perturbed(model: Any, noise: float) -> Any:
    """A copy with other weights, which agrees with the model here and there."""
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in twin.parameters():
            weight += noise * weight.std() * torch.randn(weight.shape, generator=generator)
    return twin


def test_another_turn_sees_everything_and_selection_resumes(model: Any) -> None:
    with watched(model) as (session, seen):
        turn = model.generate(**whole(prompts(1)), max_new_tokens=12, return_dict_in_generate=True)
        before = len(session.windows)
        absent = seen.evicted
        longer = torch.cat([turn.sequences, prompts(1, 30, seed=1)], dim=1)
        cache = turn.past_key_values
        assert not bool(cache.resident_BC.all())
        turn = model.generate(**whole(longer), max_new_tokens=12, past_key_values=cache)
    assert seen.difference() < EXACT
    assert bool(seen.seen_BLL[0, longer.shape[1] - 1, : longer.shape[1]].all())
    assert seen.evicted > absent
    assert len(session.windows) > before


def test_a_short_turn_sees_what_is_resident(model: Any) -> None:
    with watched(model) as (_, seen):
        turn = model.generate(**whole(prompts(1)), max_new_tokens=12, return_dict_in_generate=True)
        longer = torch.cat([turn.sequences, prompts(1, 9, seed=1)], dim=1)
        model.generate(**whole(longer), max_new_tokens=6, past_key_values=turn.past_key_values)
    assert seen.difference() < EXACT
    assert not bool(seen.seen_BLL[0, longer.shape[1] - 1, : longer.shape[1]].all())


def test_padding_between_two_turns_of_a_batch_is_seen_by_nobody(model: Any) -> None:
    plain: dict[str, Any] = {"do_sample": False, "return_dict_in_generate": True}
    inputs = padded(0, 13)
    with watched(model) as (_, seen):
        turn = model.generate(**inputs, max_new_tokens=12, **plain)
        longer = torch.cat([turn.sequences, prompts(2, 30, seed=1)], dim=1)
        mask_BL = torch.ones_like(longer)
        mask_BL[1, :13] = 0
        mask_BL[0, 50:59] = 0  # the row had ended, the rest was padding
        seen.holes_BL = mask_BL == 0
        cache = turn.past_key_values
        model.generate(longer, attention_mask=mask_BL, past_key_values=cache, max_new_tokens=12)
    assert seen.difference() < EXACT
    assert not bool(seen.seen_BLL[0, 60:, 50:59].any())


def test_a_row_of_a_batch_is_the_row_alone(model: Any) -> None:
    """Rows keep different chunks; padding of whole chunks leaves a row's chunks what they are."""
    inputs = padded(0, 2 * CHUNK, length=48)
    with watched(model) as (_, both):
        model.generate(**inputs, max_new_tokens=14, do_sample=False)
        resident_BC = session_cache(both).resident_BC
    assert not torch.equal(resident_BC[0, 2:], resident_BC[1, 2:])
    for row, padding in enumerate((0, 2 * CHUNK)):
        with watched(model) as (_, alone):
            ids_BL = inputs["input_ids"][row : row + 1, padding:]
            model.generate(**whole(ids_BL), max_new_tokens=14, do_sample=False)
        resident_C = session_cache(alone).resident_BC[0]
        assert torch.equal(resident_C, resident_BC[row, padding // CHUNK :])
        assert alone.ids_BL is not None
        assert both.ids_BL is not None
        assert torch.equal(alone.ids_BL[0], both.ids_BL[row, padding:])
        difference = alone.logits_BLV[0, -13:] - both.logits_BLV[row, -13:]
        assert float(difference.abs().max()) < EXACT


@torch.no_grad()
@pytest.mark.parametrize("queries", [1, 6])
def test_outside_its_session_a_cache_is_dense(model: Any, queries: int) -> None:
    """Transformers makes the masks there, and they know of no absent chunk."""
    cache, more = evicted_cache(model), prompts(2, queries, seed=1)
    mask_BL = torch.ones(2, cache.length + queries, dtype=torch.int64)
    mask_BL[1, :13] = 0
    twin = dense_copy(model, cache)
    given = {"attention_mask": mask_BL, "position_ids": mask_BL.cumsum(1)[:, -queries:] - 1}
    expected = model(more, past_key_values=twin, **given).logits
    found = model(more, past_key_values=cache, **given).logits
    assert float((found - expected).abs().max()) < EXACT
    assert cache.in_order
    assert int(cache.moved_B.min()) > 0


def test_generation_goes_on_outside_its_session_as_a_dense_one(model: Any) -> None:
    cache, more = evicted_cache(model, rows=1), prompts(1, 6, seed=1)
    twin = dense_copy(model, cache)
    longer = torch.cat([prompts(1, cache.length), more], dim=1)
    plain: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False}
    expected = model.generate(**whole(longer), past_key_values=twin, **plain)
    found = model.generate(**whole(longer), past_key_values=cache, **plain)
    assert torch.equal(found, expected)


def test_behind_a_pass_that_broke_off_a_cache_is_dense_outside(model: Any) -> None:
    def broken(*_: Any) -> None:
        raise ArithmeticError

    cache = evicted_cache(model, rows=1)
    handle = model.get_decoder().layers[0].register_forward_pre_hook(broken)
    with lookahead(model, Chance(), TIGHT, chunk_tokens=CHUNK), pytest.raises(ArithmeticError):
        model(prompts(1, 1), past_key_values=cache)
    handle.remove()
    assert not cache.in_order
    model(prompts(1, 1), past_key_values=cache)
    assert cache.in_order


def evicted_cache(model: Any, rows: int = 2) -> Any:
    """Of a session that is over, with chunks on the host."""
    with lookahead(model, Chance(), TIGHT, chunk_tokens=CHUNK):
        turn = model.generate(
            **padded(*(0, 13)[:rows]),
            max_new_tokens=12,
            do_sample=False,
            return_dict_in_generate=True,
        )
    cache = turn.past_key_values
    assert not bool(cache.resident_BC.all(1).any())
    return cache


def dense_copy(model: Any, cache: Any) -> DynamicCache:
    """What the cache holds, on the device and on the host, in a cache of transformers."""
    twin = DynamicCache(config=model.config)
    for layer, other in enumerate(cache.layers):
        if layer in cache.backbone.memory_layers:
            twin.update(*(states.clone() for states in cache.full(layer)), layer)
        else:
            twin.layers[layer] = copy.deepcopy(other)
    return twin


def session_cache(seen: Watched) -> Any:
    return seen._cache
