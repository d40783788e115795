"""A DeepSeek-V4 model decodes within the chunks that an indexer of the published format keeps."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from planish.errors import BadInput
from planish.models.load import load
from planish.models.memory.attach import lookahead
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget, WindowRecord
from planish.models.memory.deepseek import DeepseekMemory
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from planish.models.memory.scoring import IndexerScorer
from planish.models.memory.store import HostStore
from planish.records import Sampling, user
from support import backbones
from support.indexers import publish, save_compressed
from support.memory import Chance

PROMPT = 61
GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 10, "pad_token_id": 0}


@pytest.fixture(scope="module")
def model() -> Any:
    return backbones.build("deepseek-v4")


@pytest.fixture(scope="module")
def ids_BT() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(3, backbones.VOCABULARY, (2, PROMPT), generator=generator)


@pytest.fixture(scope="module")
def native(model: Any, tmp_path_factory: pytest.TempPathFactory) -> MemoryIndexer:
    path = tmp_path_factory.mktemp("indexer") / "indexer.safetensors"
    return MemoryIndexer.from_pretrained(publish(model, path))


def _hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def _generate(model: Any, ids_BT: Tensor, **more: Any) -> Any:
    options = GREEDY | {"return_dict_in_generate": True, "output_logits": True} | more
    return model.generate(ids_BT, attention_mask=torch.ones_like(ids_BT), **options)


def test_the_models_own_indexer_in_the_published_format_scores_alike(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    """Layer order, rotation, gates, Hadamard and packing all have to be right for this."""
    own: dict[int, Tensor] = {}
    handles = [
        model.model.layers[layer].self_attn.compressor.indexer.scorer.register_forward_hook(
            lambda module, args, scores, layer=layer: own.__setitem__(layer, scores[:, -1])
        )
        for layer in (2, 4)
    ]
    given: dict[str, Any] = {}

    class Seen:
        """The indexer, with what it was asked kept."""

        layers, layer_indices, config = native.layers, native.layer_indices, native.config
        ensemble = staticmethod(native.ensemble)

        def score(self, *args: Any) -> Any:
            given["args"] = args
            return native.score(*args)

    try:
        with DeepseekMemory(model, Seen(), Budget(recent_tokens=8)):  # type: ignore[arg-type]
            _generate(model, ids_BT, max_new_tokens=2)
    finally:
        for handle in handles:
            handle.remove()
    logits = native.logits(*given["args"])
    for ordinal, layer in enumerate((2, 4)):
        theirs, ours = own[layer], logits[f"l{ordinal}"]
        assert ours.shape == theirs.shape == (2, PROMPT // 4)
        # Records are fp8: 0.02 and 0.04 here, and 0.7 where the Hadamard matrix is left out.
        error = (ours - theirs).norm() / theirs.norm()
        assert error < 0.08, float(error)


def test_a_budget_for_everything_changes_no_bit(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    alone = _generate(model, ids_BT)
    with DeepseekMemory(model, native, Budget(recent_tokens=500, interval=3)) as memory:
        within = _generate(model, ids_BT)
    assert torch.equal(within.sequences, alone.sequences)
    assert all(torch.equal(a, b) for a, b in zip(within.logits, alone.logits, strict=True))
    assert all(record.kept == record.num_chunks for record in memory.windows)
    # Decided after the first token, and every three from there on; nine passes of one token.
    assert [record.step for record in memory.windows if record.request == 0] == [62, 65, 68]


def test_decoding_stays_within_what_was_kept(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    budget = Budget(recent_tokens=8, sink_tokens=4, max_chunks=6, min_chunks=6, interval=4)
    chosen: list[tuple[Tensor | None, Tensor]] = []
    memory = DeepseekMemory(model, native, budget)

    def look(module: Any, args: Any, picks: Tensor) -> None:
        chosen.append((memory.resident_BC, picks))

    with memory:
        indexer = model.model.layers[4].self_attn.compressor.indexer
        handle = indexer.register_forward_hook(look)
        try:
            within = _generate(model, ids_BT)
        finally:
            handle.remove()
    assert [resident is None for resident, _ in chosen] == [True, True] + [False] * 8
    for resident, picks_BTS in chosen[2:]:
        assert resident is not None
        for row, picks in enumerate(picks_BTS.flatten(1).tolist()):
            known = [pick for pick in picks if 0 <= pick < resident.shape[1]]
            assert known
            assert all(resident[row, pick] for pick in known)
    alone = _generate(model, ids_BT)
    assert torch.equal(within.logits[0], alone.logits[0]), "the prompt sees everything"
    assert not torch.allclose(within.logits[4], alone.logits[4], atol=1e-3)
    assert [(r.request, r.num_chunks, r.kept) for r in memory.windows[:2]] == [
        (0, 15, 6),
        (1, 15, 6),
    ]
    # One entry of 128 numbers to attend to and one to be looked up by, in each of two layers.
    assert memory.windows[0].bytes.resident == 15 * 2 * 2 * 128 * 4
    assert memory.windows[0].bytes.digest == 15 * 2 * 132
    assert memory.resident_BC is None


def test_another_prompt_sees_everything_again(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    budget = Budget(recent_tokens=8, max_chunks=3, min_chunks=3, dense_queries=4)
    cache = DynamicCache(config=model.config)
    with DeepseekMemory(model, native, budget) as memory, torch.no_grad():

        def step(tokens_BT: Tensor) -> Any:
            model(tokens_BT, past_key_values=cache)
            return memory.resident_BC

        assert step(ids_BT) is None
        assert step(ids_BT[:, :1]).sum(1).tolist() == [3, 3]
        assert step(ids_BT[:, :4]) is not None
        assert step(ids_BT[:, :5]) is None
        assert step(ids_BT[:, :1]).shape == (2, 18)
        cache.reset()
        assert step(ids_BT[:, :3]) is None, "a cache that begins anew is another text"
    assert [record.step for record in memory.windows] == [62, 62, 72, 72]


def test_beams_take_their_chunks_along(model: Any, ids_BT: Tensor, native: MemoryIndexer) -> None:
    budget = Budget(recent_tokens=4, max_chunks=3, min_chunks=3)
    cache = DynamicCache(config=model.config)
    with DeepseekMemory(model, native, budget) as memory, torch.no_grad():
        model(ids_BT, past_key_values=cache)
        model(ids_BT[:, :1], past_key_values=cache)
        before = memory.resident_BC
        assert before is not None
        assert not torch.equal(before[0], before[1])
        cache.reorder_cache(torch.tensor([1, 0]))
        assert torch.equal(memory.resident_BC, before.flip(0))
        _generate(model, ids_BT, num_beams=2)
    assert "reorder_cache" not in vars(cache)


def test_a_cache_that_begins_anew_is_followed_once(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    budget = Budget(recent_tokens=4, max_chunks=3, min_chunks=3)
    cache = DynamicCache(config=model.config)
    with DeepseekMemory(model, native, budget) as memory, torch.no_grad():
        for _ in range(2):
            cache.reset()
            model(ids_BT, past_key_values=cache)
            model(ids_BT[:, :1], past_key_values=cache)
        before, keys = memory.resident_BC, cache.layers[0].keys
        assert before is not None
        assert not torch.equal(before[0], before[1])
        cache.reorder_cache(torch.tensor([1, 0]))
        assert torch.equal(memory.resident_BC, before.flip(0))
        assert torch.equal(cache.layers[0].keys, keys.flip(0))


def test_a_cache_goes_with_its_request(model: Any, ids_BT: Tensor, native: MemoryIndexer) -> None:
    gone: list[weakref.ref[Any]] = []
    with DeepseekMemory(model, native, Budget(recent_tokens=8)) as memory, torch.no_grad():
        gc.disable()  # no cycle may be left for it either
        try:
            for _ in range(3):
                cache = DynamicCache(config=model.config)
                model(ids_BT, past_key_values=cache)
                gone.append(weakref.ref(cache))
        finally:
            gc.enable()
        assert [each() is cache for each in gone] == [False, False, True]
        assert [each() is None for each in gone] == [True, True, False]
        assert memory.resident_BC is None
    assert "reorder_cache" not in vars(cache)


def test_a_request_that_wants_too_much_turns_dense(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    eager = Budget(recent_tokens=4, threshold=1e-9, fallback_ratio=0.2, interval=2, max_chunks=3)
    alone = _generate(model, ids_BT)
    with DeepseekMemory(model, native, eager) as memory:
        within = _generate(model, ids_BT)
    assert all(record.fallback for record in memory.windows)
    assert all(record.kept == record.num_chunks for record in memory.windows)
    assert torch.equal(within.sequences, alone.sequences)


def test_nothing_is_left_after_an_exception(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    before = _hooks(model)
    cache = DynamicCache(config=model.config)

    def padded() -> None:
        with DeepseekMemory(model, native, Budget(recent_tokens=8)):
            assert _hooks(model) > before
            model(ids_BT, past_key_values=cache)
            model(ids_BT, attention_mask=torch.zeros_like(ids_BT), past_key_values=cache)

    with pytest.raises(BadInput, match="padded"):
        padded()
    assert _hooks(model) == before
    assert "reorder_cache" not in vars(cache)


def test_scores_that_are_no_numbers_are_refused(
    model: Any, ids_BT: Tensor, native: MemoryIndexer, tmp_path: Path
) -> None:
    native.save_pretrained(tmp_path)
    broken = MemoryIndexer.from_pretrained(tmp_path)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(BadInput), DeepseekMemory(model, broken, Budget(recent_tokens=8)):
        _generate(model, ids_BT)
    assert _hooks(model) == 0


def test_an_indexer_for_another_model_is_refused(native: MemoryIndexer) -> None:
    budget = Budget(recent_tokens=8)
    heavy = ["sliding_attention"] * 2 + ["heavily_compressed_attention"] * 2
    other = backbones.build("deepseek-v4", layer_types=[*heavy, "compressed_sparse_attention"])
    with pytest.raises(BadInput, match="layers 2, which are not compressed-sparse"):
        DeepseekMemory(other, native, budget)
    with pytest.raises(BadInput, match="hidden size is 32, the model's is 48"):
        DeepseekMemory(backbones.build("deepseek-v4", hidden_size=48), native, budget)
    with pytest.raises(BadInput, match="no DeepSeek-V4"):
        DeepseekMemory(backbones.build("llama"), native, budget)
    with pytest.raises(BadInput, match="above the cap"):
        DeepseekMemory(
            backbones.build("deepseek-v4"), native, Budget(recent_tokens=64, max_chunks=3)
        )


# -- by the ways of every other model -------------------------------------------------------------

TIGHT = Budget(recent_tokens=8, sink_tokens=4, max_chunks=6, min_chunks=6, interval=4)


@pytest.mark.parametrize("wrapped", [False, True])
def test_lookahead_is_its_memory(
    model: Any, ids_BT: Tensor, native: MemoryIndexer, wrapped: bool
) -> None:
    with DeepseekMemory(model, native, TIGHT) as memory:
        expected = _generate(model, ids_BT)
    told: list[WindowRecord] = []
    scorer = IndexerScorer(native) if wrapped else native
    with lookahead(model, scorer, TIGHT, on_window=told.append, chunk_tokens=4) as session:
        found = _generate(model, ids_BT, past_key_values=session.new_cache())
    assert torch.equal(found.sequences, expected.sequences)
    assert all(torch.equal(a, b) for a, b in zip(found.logits, expected.logits, strict=True))
    assert [(each.step, each.kept) for each in told] == [
        (each.step, each.kept) for each in memory.windows
    ]
    assert session.windows == told
    assert (session.fallbacks, _hooks(model)) == (0, 0)


def test_requests_that_turn_dense_are_counted(
    model: Any, ids_BT: Tensor, native: MemoryIndexer
) -> None:
    eager = Budget(recent_tokens=4, threshold=1e-9, fallback_ratio=0.2, interval=2, max_chunks=3)
    with lookahead(model, native, eager) as session:
        _generate(model, ids_BT)
        assert session.fallbacks == 2


def test_what_its_memory_cannot_do_is_told(model: Any, native: MemoryIndexer) -> None:
    def refused(match: str, scorer: Any = native, **given: Any) -> None:
        with pytest.raises(BadInput, match=match), lookahead(model, scorer, TIGHT, **given):
            pass
        assert _hooks(model) == 0

    refused("entries are not scored by chance; give an indexer in the published", Chance())
    refused("stay where transformers puts them; give no store", store=HostStore())
    refused("a chunk of this model is 4 tokens, not 8", chunk_tokens=8)
    config = IndexerConfig(hidden_size=32, rank=8, num_heads=4, chunk_tokens=4, features=128)
    refused("keys of its own for chunks", MemoryIndexer.new(config, ("l2",)))
    with pytest.raises(BadInput, match=r"keeps its past .* stages of planish .*lookahead=FILE"):
        Backbone.of(model)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{'?lookahead='.join(map(str, save_compressed(tmp_path_factory.mktemp('saved'))))}"


def test_a_models_name_brings_its_memory_along(saved: str) -> None:
    texts = [f"{'two and two are four, ' * 8}{end}" for end in ("A", "AAAAA", "owl B")]
    chats = [user(text) for text in texts]
    sampling = Sampling(temperature=0.0, max_tokens=12)
    model: Any = load(f"{saved}&chunks=6&recent=8&sinks=4&interval=4", batch_size=8)
    told: list[WindowRecord] = []
    model.memory.on_window = told.append
    # Rows of unequal length share no batch, however many chunks they are apart.
    first, second, _ = (len(model.tokenizer(text)["input_ids"]) for text in texts)
    assert second - first == 4
    replies = [completions[0].text for completions in model.generate(chats, sampling)]
    assert any(each.kept < each.num_chunks for each in told)
    for chat, reply in zip(chats, replies, strict=True):
        assert model.generate([chat], sampling)[0][0].text == reply


def test_prompts_of_unequal_length_share_no_batch_without_a_memory_either(saved: str) -> None:
    """The model's own entries begin at the first column, padding included."""
    model: Any = load(saved.partition("?")[0], batch_size=8)
    chats = [user("two and two are four, " * 8 + end) for end in ("A", "owl B", "a fox", "C")]
    sampling = Sampling(temperature=0.0, max_tokens=8)
    drawn = [each[0].text for each in model.generate(chats, sampling)]
    assert drawn == [model.generate([chat], sampling)[0][0].text for chat in chats]
    replies = ["two", "two and two", "four", "A"]
    scored = model.logprobs(chats, replies)
    for chat, reply, together in zip(chats, replies, scored, strict=True):
        (alone,) = model.logprobs([chat], [reply])
        assert together.total == pytest.approx(alone.total, abs=1e-4)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("host_gigabytes=1", "option host_gigabytes: DeepSeek-V4's compressed entries stay"),
        ("chunks=2&recent=64", "above the cap of 2"),
    ],
)
def test_options_that_its_memory_has_not_are_refused(saved: str, options: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        load(f"{saved}&{options}")
