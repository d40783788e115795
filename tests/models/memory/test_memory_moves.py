"""A move between device and store goes layer by layer, and a fault in between loses nothing."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from planish.models.memory import hosted, layer, pages
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget
from planish.models.memory.cache import LookaheadCache
from planish.models.memory.store import HostStore
from support import backbones

CHUNK, LAYERS, HEADS, WIDTH = 4, 3, 2, 16
BLOCK = LAYERS * 2 * HEADS * CHUNK * WIDTH * 4
STEPS = ("evict", "swap", "grow", "recall")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone.of(backbones.build("llama", num_hidden_layers=LAYERS))


class Moved:
    """Two rows of 42 tokens, one of them padded, before a step."""

    def __init__(self, backbone: Backbone, step: str, store: HostStore | None = None) -> None:
        budget = Budget(recent_tokens=8, interval=4, dense_queries=4)
        self.cache = LookaheadCache(backbone, chunk_tokens=CHUNK, budget=budget, store=store)
        self.cache.prepared = True  # nothing is attended to, what is evicted stays away
        self.cache.see_padding(torch.arange(42) >= torch.tensor([[0], [5]]), 2)
        self.generator = torch.Generator().manual_seed(0)
        self.whole = torch.zeros(LAYERS, 2, 2, HEADS, 0, WIDTH)
        self.append(42)
        self.step = step
        if step != "evict":
            self.cache.apply(self.keep({0, 8, 9}, {3, 8, 9}))
        self.resident_BC, self.blocks = self.cache.resident_BC, self.cache.store.num_blocks

    def append(self, tokens: int) -> None:
        new = torch.randn(LAYERS, 2, 2, HEADS, tokens, WIDTH, generator=self.generator)
        for index in range(LAYERS):
            self.cache.update(new[index, 0], new[index, 1], index)
        self.whole = torch.cat([self.whole, new], dim=4)

    def keep(self, *chunks: set[int]) -> torch.Tensor:
        keep_BC = torch.zeros(2, self.cache.num_chunks, dtype=torch.bool)
        for row, each in enumerate(chunks):
            keep_BC[row, list(each)] = True
        return keep_BC

    def go(self) -> None:
        if self.step == "evict":
            self.cache.apply(self.keep({0, 8, 9}, {3, 8, 9}))
        elif self.step == "swap":
            self.cache.apply(self.keep({1, 4, 9}, {5, 8, 9}))
        elif self.step == "grow":
            self.cache.apply(self.keep({1, 2, 3, 4, 5, 6, 9}, {2, 9}))
        else:
            self.cache.recall_all()

    def check_history(self) -> None:
        """Nothing is lost. A chunk of padding alone may be."""
        for index in range(LAYERS):
            for part, found in enumerate(self.cache.full(index)):
                for row, begin in enumerate((0, CHUNK)):
                    expected = self.whole[index, part, row, :, begin:]
                    assert torch.equal(found[row, :, begin:], expected)

    def check_slots(self) -> None:
        """Each slot holds the token that the mask takes it for, in every layer."""
        cache = self.cache
        seen_BS = cache.mask(1)[:, 0, 0, :-1]
        for index, row in itertools.product(range(LAYERS), range(2)):
            keys = cache.layers[index].keys[row, 0][seen_BS[row]]
            resident = cache.resident_BC[row].repeat_interleave(CHUNK)
            visible = torch.ones(cache.length, dtype=torch.bool)
            visible[: len(resident)] = resident
            visible[: 5 * row] = False
            expected = self.whole[index, 0, row, 0][visible]
            assert sorted(keys.tolist()) == sorted(expected.tolist())

    def check_unchanged(self) -> None:
        self.check_history()
        self.check_slots()
        assert torch.equal(self.cache.resident_BC, self.resident_BC)
        assert self.cache.store.num_blocks == self.blocks

    def check_goes_on(self) -> None:
        self.go()
        self.check_history()
        self.check_slots()
        self.append(3)
        self.check_history()
        self.check_slots()


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> HostStore:
    return HostStore(path=None if request.param == "memory" else tmp_path / "kv.bin")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("what", ["write", "gather", "change"])
@pytest.mark.parametrize("last", [1, LAYERS - 1])
def test_a_fault_between_two_layers_takes_back_the_first_ones(
    backbone: Backbone,
    what: str,
    step: str,
    last: int,
    store: HostStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved, reached = Moved(backbone, step, store), []
    owner = layer.LookaheadLayer if what == "change" else HostStore
    as_it_is = getattr(owner, what)

    def broken(self: Any, *given: Any, **options: Any) -> Any:
        place = moved.cache.layers.index(self) if what == "change" else given[1]
        if place == last and not reached:
            reached.append(place)
            raise OSError("the disk is gone")
        return as_it_is(self, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(owner, what, broken)
        if (what, step) in (("write", "recall"), ("gather", "evict")):
            moved.go()  # nothing is written, nothing is read
            assert not reached
        else:
            with pytest.raises(OSError, match="the disk is gone"):
                moved.go()
            moved.check_unchanged()
    moved.check_goes_on()
    store.close()


@pytest.mark.parametrize("step", ["swap", "grow", "recall"])
def test_where_taking_back_fails_too_nothing_is_lost_and_it_is_tried_again(
    backbone: Backbone, step: str, store: HostStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, gather, asked = Moved(backbone, step, store), HostStore.gather, []

    def broken(self: HostStore, ids_N: torch.Tensor, place: int, **options: Any) -> torch.Tensor:
        asked.append(place)
        if len(asked) > 1:
            raise OSError("the disk is gone")
        return gather(self, ids_N, place, **options)

    def back(self: Any, moves: Any, slots: Any, recalled: Any, own: Any = None) -> None:
        if own is None:
            raise MemoryError("no room for the way back")
        rearranged(self, moves, slots, recalled, own)

    rearranged = layer.LookaheadLayer.rearranged
    with monkeypatch.context() as patch:
        patch.setattr(HostStore, "gather", broken)
        patch.setattr(layer.LookaheadLayer, "rearranged", back)
        with pytest.raises(OSError, match="the disk is gone"):
            moved.go()
        patch.setattr(HostStore, "gather", gather)
        moved.check_history()  # each layer knows where its chunks lie
        for use in (moved.go, lambda: moved.append(1), lambda: moved.cache.crop(-1)):
            with pytest.raises(MemoryError, match="way back"):
                use()
        moved.check_history()
    moved.append(1)
    moved.check_history()
    moved.check_slots()
    assert torch.equal(moved.cache.resident_BC, moved.resident_BC)
    assert moved.cache.store.num_blocks == moved.blocks
    moved.check_goes_on()
    store.close()


@pytest.mark.parametrize("step", STEPS)
def test_an_interruption_at_any_line_loses_nothing(backbone: Backbone, step: str) -> None:
    files = {hosted.__file__, layer.__file__}

    def interrupted_at(number: int, moved: Moved) -> bool:
        lines = itertools.count()

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            if event == "line" and next(lines) == number:
                raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            moved.go()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False

    # Some lines, others from step to step: all of them take minutes.
    for number in itertools.count(STEPS.index(step), 29):
        moved = Moved(backbone, step)
        if not interrupted_at(number, moved):
            break
        moved.check_history()
        moved.append(1)
        moved.check_history()
        moved.check_slots()
        moved.check_goes_on()
    assert number > 100


def test_no_layer_is_held_twice_but_the_one_in_hand(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, write, lean = Moved(backbone, "evict"), HostStore.write, []
    whole = moved.cache.layers[0].buffers[0].nbytes

    def watched(store: HostStore, ids_N: torch.Tensor, place: int, *states: torch.Tensor) -> None:
        sizes = [each.buffers[0].nbytes for each in moved.cache.layers]
        lean.append([size < whole for size in sizes])
        write(store, ids_N, place, *states)

    monkeypatch.setattr(HostStore, "write", watched)
    moved.go()
    assert lean == [[False] * 3, [True, False, False], [True, True, False]]


@pytest.mark.parametrize("step", STEPS)
def test_no_more_is_copied_at_once_than_is_said(
    backbone: Backbone, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted, "STAGED_BYTES", 2 * BLOCK // LAYERS)
    moved, counts = Moved(backbone, step), []
    write, gather = HostStore.write, HostStore.gather

    def written(store: HostStore, ids_N: torch.Tensor, *given: Any) -> None:
        counts.append(len(ids_N))
        write(store, ids_N, *given)

    def gathered(store: HostStore, ids_N: torch.Tensor, place: int) -> torch.Tensor:
        counts.append(len(ids_N))
        return gather(store, ids_N, place)

    with monkeypatch.context() as patch:
        patch.setattr(HostStore, "write", written)
        patch.setattr(HostStore, "gather", gathered)
        moved.go()
    assert max(counts) == 2
    moved.check_goes_on()


def test_free_pages_are_returned_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    pages.return_free_pages()

    def none(name: str | None) -> Any:
        raise OSError("no such library")

    pages._trim.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(pages.ctypes, "CDLL", none)
        pages.return_free_pages()
    pages._trim.cache_clear()
