"""A session: when it decides, what it leaves behind, what it refuses."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache

from planish.errors import BadInput
from planish.models.memory.attach import Session, lookahead
from planish.models.memory.budget import Budget, WindowRecord
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.store import HostStore
from support import backbones
from support.memory import Chance

CHUNK = 8
BUDGET = Budget(recent_tokens=8, max_chunks=3, interval=6, dense_queries=16)


@pytest.fixture(scope="module")
def model() -> Any:
    made = backbones.build("qwen3", num_hidden_layers=2)
    made.generation_config.eos_token_id = None
    return made


def prompt(rows: int = 1, length: int = 40) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids_BL = torch.randint(3, backbones.VOCABULARY, (rows, length), generator=generator)
    return {"input_ids": ids_BL, "attention_mask": torch.ones_like(ids_BL)}


def hooks(model: Any) -> list[tuple[str, int]]:
    return [
        (name, len(module._forward_hooks) + len(module._forward_pre_hooks))
        for name, module in model.named_modules()
    ]


def test_it_decides_after_the_first_token_and_then_every_interval(model: Any) -> None:
    seen: list[WindowRecord] = []
    with lookahead(model, Chance(), BUDGET, on_window=seen.append, chunk_tokens=CHUNK) as session:
        model.generate(**prompt(), max_new_tokens=20, do_sample=False)
    assert [window.step for window in session.windows] == [41, 47, 53, 59]
    assert seen == session.windows
    for window in session.windows:
        assert window.kept <= 3
        assert window.num_chunks == window.step // CHUNK
        assert window.score_ms > 0
        assert window.bytes.host
    assert session.cache is not None
    assert session.windows[-1].bytes == session.cache.bytes_per_row()[0]


def test_a_rejected_draft_brings_no_decision_of_its_own(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, entered, cropped = Attentive(), [], []
    crop = LookaheadCache.crop

    def note(cache: LookaheadCache, tokens_to_remove: int) -> None:
        crop(cache, tokens_to_remove)
        if tokens_to_remove:
            cropped.append((len(session.windows), cache.length))

    def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        entered.append(kwargs["hidden_states"][0])

    monkeypatch.setattr(LookaheadCache, "crop", note)
    handle = model.model.layers[1].self_attn.register_forward_pre_hook(keep, with_kwargs=True)
    ids_BL = prompt(length=9)["input_ids"].repeat(1, 5)
    options: dict[str, Any] = {"max_new_tokens": 60, "do_sample": False}
    with lookahead(model, scorer, BUDGET, chunk_tokens=CHUNK) as session:
        model.generate(ids_BL, **options, prompt_lookup_num_tokens=6)
    handle.remove()
    assert len(cropped) > 2
    steps = [window.step for window in session.windows]
    assert 4 < len(steps) <= 60 // BUDGET.interval + 2
    assert all(after - before >= BUDGET.interval for before, after in pairwise(steps))
    assert all(steps[made - 1] <= length for made, length in cropped if made)
    for moment, step in zip(scorer.moments, steps, strict=True):
        assert moment.positions_B.tolist() == [step - 1]
        assert any(torch.equal(moment.hidden[1][0], states[0]) for states in entered)


def test_a_history_that_shrinks_below_the_last_decision_brings_one(model: Any) -> None:
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK) as session:
        ids = prompt()["input_ids"]
        cache = model(ids, use_cache=True).past_key_values
        cache.activate_past_recording()
        for drafted, taken_back in ((4, 3), (4, 3), (4, 6), (4, 3)):
            model(ids[:, :drafted], past_key_values=cache, use_cache=True)
            cache.crop(-taken_back)
    assert [window.step for window in session.windows] == [41, 41]


def test_a_model_is_left_as_it_was(model: Any) -> None:
    before, names = hooks(model), set(model.__dict__)
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK):
        assert hooks(model) != before
        model.generate(**prompt(), max_new_tokens=3)
    assert hooks(model) == before
    assert set(model.__dict__) == names
    output = model.generate(**prompt(), max_new_tokens=2, return_dict_in_generate=True)
    assert type(output.past_key_values) is DynamicCache


class Failing(Chance):
    def score(self, moment: Any) -> Tensor:
        raise ArithmeticError("broken")


def test_an_exception_leaves_no_hooks(model: Any) -> None:
    before, names = hooks(model), set(model.__dict__)
    with (
        pytest.raises(ArithmeticError, match="broken"),
        lookahead(model, Failing(), BUDGET, chunk_tokens=CHUNK),
    ):
        model.generate(**prompt(), max_new_tokens=4)
    assert hooks(model) == before
    assert set(model.__dict__) == names


class Refusing(Chance):
    layers = (0, 1)

    def prepare(self, backbone: Any, budget: Any, chunk_tokens: int) -> None:
        raise BadInput("another backbone")


def test_a_scorer_that_does_not_fit_leaves_no_hooks(model: Any) -> None:
    before = hooks(model)
    with (
        pytest.raises(BadInput, match="another backbone"),
        lookahead(model, Refusing(), BUDGET, chunk_tokens=CHUNK),
    ):
        pass
    assert hooks(model) == before


class Attentive(Chance):
    layers = (1,)


def test_a_scorer_gets_the_hidden_states_of_the_last_token(model: Any) -> None:
    scorer, entered = Attentive(), []
    attention = model.model.layers[1].self_attn

    def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        entered.append(kwargs["hidden_states"][:, -1])

    handle = attention.register_forward_pre_hook(keep, with_kwargs=True)
    inputs = prompt(2)
    inputs["attention_mask"][0, :5] = 0
    with lookahead(model, scorer, BUDGET, chunk_tokens=CHUNK):
        model.generate(**inputs, max_new_tokens=10)
    handle.remove()
    first, second = scorer.moments
    assert torch.equal(first.hidden[1], entered[1])
    assert torch.equal(second.hidden[1], entered[7])
    assert first.positions_B.tolist() == [35, 40]
    assert all(len(keys) == 2 for keys in scorer.told.values())


class Eager(Chance):
    """Row 0 wants everything."""

    def score(self, moment: Any) -> Tensor:
        scores_BC = super().score(moment) * 0.4
        scores_BC[0] = 0.9
        return scores_BC


def test_a_request_that_wants_too_much_turns_dense_for_good(model: Any) -> None:
    budget = BUDGET.model_copy(update={"fallback_ratio": 0.5})
    with lookahead(model, Eager(), budget, chunk_tokens=CHUNK) as session:
        output = model.generate(**prompt(2), max_new_tokens=20, return_dict_in_generate=True)
        cache = output.past_key_values
        assert cache.resident_BC.all(1).tolist() == [True, False]
        assert session.fallbacks == 1
        assert [window.fallback for window in session.windows] == [True, False] * 4
        cache.reorder_cache(torch.tensor([1, 0]))
        assert cache.dense_B.tolist() == [False, True]


def test_where_all_are_dense_nobody_is_asked_again(model: Any) -> None:
    budget = BUDGET.model_copy(update={"fallback_ratio": 0.5})
    inputs = prompt()
    expected = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    with lookahead(model, Eager(), budget, chunk_tokens=CHUNK) as session:
        found = model.generate(**inputs, max_new_tokens=20, do_sample=False)
    assert len(session.windows) == session.fallbacks == 1
    assert torch.equal(found, expected)


def test_sticky_chunks_are_not_moved_again(model: Any) -> None:
    budget = Budget(recent_tokens=8, interval=6, sticky=True)
    with lookahead(model, Chance(), budget, chunk_tokens=CHUNK) as session:
        kept: list[Tensor] = []
        session.on_window = lambda _: kept.append(session.cache.resident_BC[0])  # type: ignore[union-attr]
        model.generate(**prompt(), max_new_tokens=30, do_sample=False)
    for before, after in pairwise(kept):
        assert bool(after[: len(before)][before].all())
    # What was there because of the prompt was not chosen: it may go.
    assert not bool(kept[0].all())


def test_a_store_is_free_again_when_a_request_is_gone(model: Any) -> None:
    store, scorer = HostStore(), Chance()
    held = []
    with lookahead(model, scorer, BUDGET, store=store, chunk_tokens=CHUNK) as session:
        for _ in range(3):
            model.generate(**prompt(), max_new_tokens=20, do_sample=False)
            assert store.num_blocks
            session.cache = None
            scorer.moments.clear()  # they hold their caches
            gc.collect()
            held.append(store.num_blocks)
    assert held == [0, 0, 0]


def test_a_pass_with_gradients_leaves_none_in_the_cache(model: Any) -> None:
    ids = prompt()["input_ids"]
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK) as session:
        output = model(ids, use_cache=True)
        for _ in range(20):
            token = output.logits[:, -1:].argmax(-1)
            output = model(token, past_key_values=output.past_key_values, use_cache=True)
    assert session.cache is not None
    assert len(session.windows) > 1
    keys, values = session.cache.full(session.backbone.memory_layers[0])
    assert not keys.requires_grad
    assert not values.requires_grad


def test_a_session_within_another_gives_it_back(model: Any) -> None:
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK) as outer:
        with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK):
            pass
        model.generate(**prompt(), max_new_tokens=10, do_sample=False)
        assert outer.windows
    assert "_prepare_cache_for_generation" not in model.__dict__


def test_nobody_listens_behind_an_exception(model: Any) -> None:
    scorer = Chance()
    session: Session
    try:
        with lookahead(model, scorer, BUDGET, chunk_tokens=CHUNK) as session:
            model.generate(**prompt(), max_new_tokens=10, do_sample=False)
            raise KeyError
    except KeyError:
        pass
    assert session.cache is not None
    assert session.cache.listener is None


def test_a_full_store_stops_generation_with_a_complete_cache(model: Any) -> None:
    session: Session
    with (
        pytest.raises(BadInput, match="host store"),
        lookahead(model, Chance(), BUDGET, store=HostStore(1000), chunk_tokens=CHUNK) as session,
    ):
        model.generate(**prompt(), max_new_tokens=8)
    cache = session.cache
    assert cache is not None
    assert bool(cache.resident_BC.all())
    assert cache.length == 41
    assert {layer.get_seq_length() for layer in cache.layers} == {41}


def test_a_cache_goes_from_one_session_to_another(model: Any) -> None:
    """The second scorer is told the whole history, wherever it lies."""
    first, second = Chance(), Chance()
    inputs = prompt()
    with lookahead(model, first, BUDGET, chunk_tokens=CHUNK):
        output = model.generate(**inputs, max_new_tokens=12, return_dict_in_generate=True)
    cache = output.past_key_values
    assert cache.listener is None
    assert not bool(cache.resident_BC.all())
    mask_BL = torch.ones(1, cache.length + 1)
    with lookahead(model, second, BUDGET, chunk_tokens=CHUNK) as session:
        model(
            output.sequences[:, -1:], attention_mask=mask_BL, past_key_values=cache, use_cache=True
        )
    assert session.windows
    for layer, keys in first.told.items():
        assert torch.equal(second.told[layer][:, :, : keys.shape[2]], keys)


def test_a_new_sequence_begins_with_a_new_cache(model: Any) -> None:
    scorer = Chance()
    with lookahead(model, scorer, BUDGET, chunk_tokens=CHUNK) as session:
        first = model.generate(**prompt(), max_new_tokens=9, do_sample=False)
        cache = session.cache
        second = model.generate(**prompt(), max_new_tokens=9, do_sample=False)
        assert session.cache is not cache
    assert torch.equal(first, second)


def test_scoring_without_a_cache_is_left_alone(model: Any) -> None:
    inputs = prompt()
    expected = model(**inputs, use_cache=False).logits
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK) as session:
        assert torch.equal(model(**inputs, use_cache=False).logits, expected)
        assert session.cache is None
        assert torch.equal(model(**inputs).logits, expected)
        assert session.cache is not None


REFUSED: dict[str, Callable[[Any], dict[str, Any]]] = {
    "StaticCache": lambda m: {
        "past_key_values": StaticCache(config=m.config, max_cache_len=64),
        "max_new_tokens": 2,
    },
    "DynamicCache": lambda m: {"past_key_values": DynamicCache(), "max_new_tokens": 2},
    "'static'": lambda m: {"cache_implementation": "static", "max_new_tokens": 2},
    "'quantized'": lambda m: {"cache_implementation": "quantized", "max_new_tokens": 2},
    "'offloaded'": lambda m: {"cache_implementation": "offloaded", "max_new_tokens": 2},
    "use_cache=False": lambda m: {"use_cache": False, "max_new_tokens": 2},
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_caches_are_refused_by_name(model: Any, what: str) -> None:
    with (
        lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK),
        pytest.raises(BadInput, match=what),
    ):
        model.generate(**prompt(), **REFUSED[what](model))


def test_a_budget_that_cannot_be_kept_is_refused_before_anything_runs(model: Any) -> None:
    budget = Budget(recent_tokens=64, max_chunks=3)
    with (
        pytest.raises(BadInput, match="above the cap"),
        lookahead(model, Chance(), budget, chunk_tokens=CHUNK),
    ):
        pass


def test_other_attention_is_refused(model: Any) -> None:
    before = model.config._attn_implementation
    model.set_attn_implementation("flex_attention")
    try:
        with (
            pytest.raises(BadInput, match="sdpa"),
            lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK),
        ):
            pass
    finally:
        model.set_attn_implementation(before)


class Odd(Chance):
    def score(self, moment: Any) -> Tensor:
        return super().score(moment)[:, 1:]


class NotANumber(Chance):
    def score(self, moment: Any) -> Tensor:
        return super().score(moment).log().sub(float("inf"))


@pytest.mark.parametrize(("scorer", "said"), [(Odd(), "scores of shape"), (NotANumber(), "finite")])
def test_scores_that_mean_nothing_are_refused_and_evict_nothing(
    model: Any, scorer: Chance, said: str
) -> None:
    with lookahead(model, scorer, BUDGET, chunk_tokens=CHUNK) as session:
        with pytest.raises(BadInput, match=said):
            model.generate(**prompt(), max_new_tokens=4)
        assert session.cache is not None
        assert bool(session.cache.resident_BC.all())


def test_a_mask_of_its_own_is_refused(model: Any) -> None:
    inputs = prompt() | {"attention_mask": torch.ones(1, 1, 40, 40, dtype=torch.bool)}
    with (
        lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK),
        pytest.raises(BadInput, match="a mask of its own"),
    ):
        model(**inputs)


def test_a_mask_of_the_new_tokens_alone_is_refused(model: Any) -> None:
    with lookahead(model, Chance(), BUDGET, chunk_tokens=CHUNK):
        cache = model(**prompt()).past_key_values
        with pytest.raises(BadInput, match="covers 1 of 41 tokens"):
            model(torch.tensor([[5]]), attention_mask=torch.ones(1, 1), past_key_values=cache)
