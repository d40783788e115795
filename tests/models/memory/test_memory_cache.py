"""The cache on its own: what is evicted comes back bit for bit, and every byte is counted."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.layer import LookaheadLayer
from planish.models.memory.store import HostStore
from support import backbones
from support.memory import Chance

CHUNK = 4
BUDGET = Budget(recent_tokens=8, interval=4, dense_queries=4)
LAYERS, HEADS, WIDTH = 2, 2, 16


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.of(backbones.build("llama", num_hidden_layers=LAYERS))


class Twin:
    """A cache, and beside it everything that was ever put in."""

    def __init__(
        self, backbone: Backbone, rows: int, padding: list[int] | None = None, **options: Any
    ) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.cache = LookaheadCache(backbone, chunk_tokens=CHUNK, budget=BUDGET, **options)
        self.cache.prepared = True  # nothing is attended to, what is evicted stays away
        self.whole = torch.zeros(LAYERS, 2, rows, HEADS, 0, WIDTH)
        self.padding = padding or [0] * rows

    def append(self, tokens: int) -> None:
        rows = self.whole.shape[2]
        if not self.cache.length:
            mask_BL = torch.arange(tokens) >= torch.tensor(self.padding)[:, None]
            self.cache.see_padding(mask_BL, rows)
        new = torch.randn(LAYERS, 2, rows, HEADS, tokens, WIDTH, generator=self.generator)
        for layer in range(LAYERS):
            self.cache.update(new[layer, 0], new[layer, 1], layer)
        self.whole = torch.cat([self.whole, new], dim=4)

    def crop(self, tokens: int) -> None:
        self.cache.crop(-tokens)
        self.whole = self.whole[..., : self.whole.shape[4] - tokens, :]

    def reorder(self, indices: list[int]) -> None:
        rows = torch.tensor(indices)
        self.cache.reorder_cache(rows)
        self.whole = self.whole[:, :, rows]
        self.padding = [self.padding[index] for index in indices]

    def check(self) -> None:
        """Everything is there, and each slot holds the token that the mask takes it for."""
        cache, length = self.cache, self.whole.shape[4]
        assert cache.length == cache.get_seq_length() == length
        assert cache.get_mask_sizes(1, 0)[0] == cache.layers[0].keys.shape[2] + 1
        chunks = length // CHUNK
        for layer in range(LAYERS):
            for part, found in enumerate(cache.full(layer)):
                for row, padding in enumerate(self.padding):
                    # Chunks of padding alone may be gone.
                    begin = min(padding // CHUNK, chunks) * CHUNK
                    assert torch.equal(
                        found[row, :, begin:], self.whole[layer, part, row, :, begin:]
                    )
        self._check_slots()
        held = [layer.keys.nbytes + layer.values.nbytes for layer in cache.layers]
        resident_BC, token = cache.resident_BC, LAYERS * 2 * HEADS * WIDTH * 4
        for row, lies in enumerate(cache.bytes_per_row()):
            own = sum(
                CHUNK - max(0, min(CHUNK, self.padding[row] - chunk * CHUNK))
                for chunk in range(chunks)
                if resident_BC[row, chunk]
            )
            own += min(length % CHUNK, length - self.padding[row])
            assert lies.resident == own * token
            assert lies.resident <= sum(held) // len(self.padding) <= lies.allocated
        assert sum(lies.host for lies in cache.bytes_per_row()) == cache.store.used_bytes

    def _check_slots(self) -> None:
        cache = self.cache
        mask_BS = cache.mask(1)[:, 0, 0, :-1]
        for layer in range(LAYERS):
            keys = cache.layers[layer].keys
            for row, padding in enumerate(self.padding):
                found = {tuple(key) for key in keys[row, 0][mask_BS[row]].tolist()}
                resident = cache.resident_BC[row].repeat_interleave(CHUNK)
                visible = torch.ones(cache.length, dtype=torch.bool)
                visible[: len(resident)] = resident
                visible[:padding] = False
                expected = self.whole[layer, 0, row, 0][visible]
                assert found == {tuple(key) for key in expected.tolist()}
                assert int(mask_BS[row].sum()) == len(expected)

    def keep(self, *chunks: set[int]) -> torch.Tensor:
        keep_BC = torch.zeros(len(chunks), self.cache.num_chunks, dtype=torch.bool)
        for row, each in enumerate(chunks):
            keep_BC[row, list(each)] = True
        return keep_BC


def test_what_is_evicted_comes_back_bit_for_bit(backbone: Backbone) -> None:
    twin = Twin(backbone, 2)
    twin.append(42)
    block = LAYERS * 2 * HEADS * CHUNK * WIDTH * 4
    assert twin.cache.apply(twin.keep({0, 8, 9}, {3, 8, 9})) == 0
    twin.check()
    assert twin.cache.apply(twin.keep({4, 9}, {3, 9})) == block
    assert twin.cache.moved_B.tolist() == [block, 0]
    twin.check()
    before = twin.cache.store.num_blocks
    assert twin.cache.recall_all() == (8 + 8) * block
    assert twin.cache.in_order
    twin.check()
    twin.cache.apply(twin.keep({9}, {9}))
    assert twin.cache.store.num_blocks == before + 1  # the rest was there already


def test_buffers_shrink_and_their_slots_are_used_again(backbone: Backbone) -> None:
    twin = Twin(backbone, 1)
    twin.append(400)
    dense = twin.cache.bytes_per_row()[0]
    twin.cache.apply(twin.keep({0, 98, 99}))
    lean = twin.cache.bytes_per_row()[0]
    assert lean.allocated * 10 < dense.allocated
    places = [each.data_ptr() for each in twin.cache.layers[0].buffers]
    for window in range(6):
        twin.append(4)
        last = twin.cache.num_chunks - 1
        twin.cache.apply(twin.keep({window, last - 1, last}))
        twin.check()
    assert [each.data_ptr() for each in twin.cache.layers[0].buffers] == places


def test_a_token_is_appended_without_copying_what_is_there(backbone: Backbone) -> None:
    twin = Twin(backbone, 1)
    twin.append(40)
    twin.cache.apply(twin.keep({0, 9}))
    place = twin.cache.layers[0].keys.data_ptr()
    twin.append(1)
    assert twin.cache.layers[0].keys.data_ptr() == place
    assert not twin.cache.needs_mask(1)
    assert twin.cache.needs_mask(2)


def test_a_crop_reaches_what_is_on_the_host(backbone: Backbone) -> None:
    twin = Twin(backbone, 2, padding=[0, 9])
    twin.append(42)
    twin.cache.apply(twin.keep({0, 8, 9}, {3, 8, 9}))
    twin.crop(23)  # index 19, within a chunk that is absent
    twin.check()
    assert bool(twin.cache.resident_BC[:, 3].all())  # recent again
    twin.append(9)
    twin.check()
    twin.cache.recall_all()
    twin.check()


def test_blocks_are_shared_by_beams_and_freed_with_them(backbone: Backbone) -> None:
    twin = Twin(backbone, 3)
    twin.append(40)
    twin.cache.apply(twin.keep({9}, {9}, {9, 1}))
    blocks = twin.cache.store.num_blocks
    twin.reorder([2, 0, 2])
    twin.check()
    assert twin.cache.store.num_blocks == blocks - 9
    twin.cache.batch_select_indices(torch.tensor([1]))
    assert twin.cache.store.num_blocks == 9
    twin.cache.reset()
    assert twin.cache.store.num_blocks == 0
    assert twin.cache.bytes_per_row() == []


def test_rows_are_repeated_and_selected(backbone: Backbone) -> None:
    twin = Twin(backbone, 2, padding=[0, 5])
    twin.append(22)
    twin.cache.apply(twin.keep({0, 4}, {2, 4}))
    twin.cache.batch_repeat_interleave(2)
    twin.whole, twin.padding = twin.whole.repeat_interleave(2, dim=2), [0, 0, 5, 5]
    twin.check()
    twin.append(3)
    twin.cache.batch_select_indices(torch.tensor([3, 0]))
    twin.whole, twin.padding = twin.whole[:, :, [3, 0]], [5, 0]
    twin.check()


def refused(twin: Twin) -> None:
    """The store is full: nothing is lost, and generation could go on."""
    before = twin.cache.resident_BC
    with pytest.raises(BadInput, match="host store"):
        twin.cache.apply(torch.zeros_like(before))
    assert torch.equal(twin.cache.resident_BC, before)
    twin.check()
    twin.append(3)
    twin.check()


@pytest.mark.parametrize("kept", [None, {0, 7, 8, 9}])
def test_a_full_store_refuses_before_anything_is_dropped(
    backbone: Backbone, kept: set[int] | None, tmp_path: Path
) -> None:
    block = LAYERS * 2 * HEADS * CHUNK * WIDTH * 4
    for path in (None, tmp_path / "kv.bin"):
        twin = Twin(backbone, 1, store=HostStore(7 * block, path))
        twin.append(42)
        if kept is not None:
            twin.cache.apply(twin.keep(kept))
        refused(twin)
        twin.cache.store.close()


def test_a_full_disk_refuses_before_anything_is_dropped(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    twin = Twin(backbone, 1, store=HostStore(path=tmp_path / "kv.bin"))
    twin.append(42)
    monkeypatch.setattr(os, "posix_fallocate", full)
    refused(twin)
    twin.cache.store.close()


def test_a_failed_write_leaves_no_block_behind(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(backbone, 1)
    twin.append(42)
    with monkeypatch.context() as patch:
        patch.setattr(HostStore, "write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            twin.cache.apply(twin.keep({9}))
    assert twin.cache.store.num_blocks == 0
    twin.check()


@pytest.mark.parametrize("what", ["gather", "rearrange"])
@pytest.mark.parametrize("step", ["swap", "grow", "recall", "crop"])
def test_a_failure_at_a_later_layer_changes_none(
    backbone: Backbone, what: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(backbone, 2, padding=[0, 5])
    twin.append(42)
    cache = twin.cache
    cache.apply(twin.keep({0, 8, 9}, {3, 8, 9}))
    gather, rearranged = HostStore.gather, LookaheadLayer.rearranged

    def no_room(store: HostStore, ids_N: torch.Tensor, layer: int, **options: Any) -> torch.Tensor:
        if layer == LAYERS - 1:
            raise torch.OutOfMemoryError("no room")
        return gather(store, ids_N, layer, **options)

    def stopped(layer: LookaheadLayer, *moves: Any) -> Any:
        if layer is cache.layers[-1]:
            raise torch.OutOfMemoryError("no room")
        return rearranged(layer, *moves)

    def carry_out() -> None:
        if step == "swap":
            cache.apply(twin.keep({1, 4, 9}, {5, 8, 9}))
        elif step == "grow":
            cache.apply(twin.keep({1, 2, 3, 4, 5, 6, 9}, {2, 9}))
        elif step == "recall":
            cache.recall_all()
        else:
            cache.crop(-20)

    before = cache.resident_BC
    with monkeypatch.context() as patch:
        if what == "gather":
            patch.setattr(HostStore, "gather", no_room)
        else:
            patch.setattr(LookaheadLayer, "rearranged", stopped)
        with pytest.raises(torch.OutOfMemoryError):
            carry_out()
    assert torch.equal(cache.resident_BC, before)
    twin.check()
    if step == "crop":
        twin.crop(20)
    else:
        carry_out()
    twin.append(3)
    twin.check()


def test_keys_alone_are_those_of_the_whole_and_no_value_is_touched(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(backbone, 2, padding=[0, 5])
    twin.append(42)
    cache, read = twin.cache, []
    gather, frames = HostStore.gather, LookaheadLayer.frames

    def gathered(store: HostStore, *given: Any, **options: Any) -> torch.Tensor:
        states = gather(store, *given, **options)
        read.append(states.nbytes)
        return states

    def framed(layer: LookaheadLayer, *given: Any, **options: Any) -> list[torch.Tensor]:
        states = frames(layer, *given, **options)
        read.extend(each.nbytes for each in states)
        return states

    def same() -> int:
        """Bytes that were read for the keys of all layers."""
        whole = [cache.full(layer)[0] for layer in range(LAYERS)]
        read.clear()
        for layer, keys in enumerate(whole):
            assert torch.equal(cache.chunk_keys(layer), keys)
            for row in range(2):
                assert torch.equal(cache.chunk_keys(layer, row), keys[row : row + 1])
        return sum(read)

    monkeypatch.setattr(HostStore, "gather", gathered)
    monkeypatch.setattr(LookaheadLayer, "frames", framed)
    assert same() == 0  # nothing is evicted: a view of what is there
    cache.apply(twin.keep({0, 8, 9}, {3, 8, 9}))
    key = HEADS * CHUNK * WIDTH * 4
    # Of both rows, once together and once apart; the chunk of padding alone is not read.
    assert same() == 2 * (10 + 9) * LAYERS * key
    twin.crop(15)
    twin.reorder([1, 1])
    twin.append(3)
    assert same() == 2 * 2 * (30 // CHUNK - 1) * LAYERS * key


def test_a_listener_is_told_every_chunk_once(backbone: Backbone) -> None:
    listener = Chance()
    listener.chunk_tokens = CHUNK
    twin = Twin(backbone, 2, listener=listener)

    def told() -> bool:
        end = twin.cache.num_chunks * CHUNK
        return all(
            torch.equal(listener.told[layer], twin.whole[layer, 0, :, :, :end])
            for layer in range(LAYERS)
        )

    twin.append(18)
    assert told()
    twin.cache.apply(twin.keep({0, 3}, {1, 3}))
    twin.append(7)
    twin.crop(12)
    assert told()
    twin.reorder([1, 1])
    twin.append(13)
    assert told()
    twin.cache.reset()
    assert listener.told == {}


def test_what_cannot_be_is_refused(backbone: Backbone) -> None:
    twin = Twin(backbone, 1)
    twin.append(10)
    for tokens in (3, -11):
        with pytest.raises(BadInput, match="history of 10 tokens"):
            twin.cache.crop(tokens)
    with pytest.raises(BadInput, match="decide on every complete chunk"):
        twin.cache.apply(torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(BadInput, match="chunks of 0 tokens"):
        LookaheadCache(backbone, chunk_tokens=0, budget=BUDGET)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "apply", "crop", "recall", "reorder"]), st.integers(0, 2**16)
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=STEPS, padding=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_no_order_of_steps_loses_anything(
    backbone: Backbone, steps: list[tuple[str, int]], padding: tuple[int, int]
) -> None:
    twin = Twin(backbone, 2, padding=list(padding))
    twin.append(21)
    for what, number in steps:
        if what == "append":
            twin.append(1 + number % 11)
        elif what == "apply":
            generator = torch.Generator().manual_seed(number)
            chance_BC = torch.rand(2, twin.cache.num_chunks, generator=generator)
            twin.cache.apply(chance_BC < 0.4)
        elif what == "crop":
            twin.crop(number % (twin.cache.length - 10))
        elif what == "recall":
            twin.cache.recall_all()
        else:
            twin.reorder([number % 2, number // 2 % 2])
        twin.check()
