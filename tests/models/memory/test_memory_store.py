"""The host store gives back what it was given, grows without copying, and is full in one line."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.models.memory import store as module
from planish.models.memory.store import BlockShape, HostStore

SHAPE = BlockShape(layers=2, heads=2, tokens=4, width=8, dtype=torch.float32)


def states(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, *SHAPE.dims[2:], generator=generator).to(dtype)


def made(where: str, folder: Path, max_bytes: int | None = None) -> HostStore:
    store = HostStore(max_bytes, None if where == "memory" else folder / "kv.bin")
    store.bind(SHAPE)
    return store


@pytest.fixture(params=["memory", "file"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_blocks_come_back_bit_for_bit_over_several_pools(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_BLOCKS", 2)
    store = made(where, tmp_path)
    ids = torch.cat([store.reserve(count) for count in (2, 3, 7)])
    pools = [pool.data_ptr() for pool in store._pools]
    given = [states(12, seed) for seed in range(2)]
    for layer, each in enumerate(given):
        store.write(ids, layer, each[0], each[1])
    store.reserve(20)
    assert [pool.data_ptr() for pool in store._pools][: len(pools)] == pools
    assert len(pools) > 1
    order = torch.tensor([11, 0, 5, 2])
    for layer, each in enumerate(given):
        assert torch.equal(store.gather(ids[order], layer), each[:, order])
    store.close()
    assert not any(tmp_path.iterdir())


def test_a_process_that_is_killed_leaves_no_file_and_the_next_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "kv.bin"
    script = (
        "import sys, torch\n"
        "from planish.models.memory.store import BlockShape, HostStore\n"
        f"store = HostStore(path={str(path)!r})\n"
        "store.bind(BlockShape(2, 2, 4, 8, torch.float32))\n"
        "ids = store.reserve(5)\n"
        "store.write(ids, 0, *torch.ones(2, 5, 2, 4, 8))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not any(tmp_path.iterdir())
    HostStore(path=path).close()


def test_a_store_that_goes_gives_its_room_back(tmp_path: Path) -> None:
    store = made("file", tmp_path)
    store.reserve(5)
    file = store._file
    assert file is not None
    assert os.fstat(file).st_size >= store.allocated_bytes
    del store
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_a_file_holds_bfloat16(tmp_path: Path) -> None:
    store = HostStore(path=tmp_path / "kv.bin")
    store.bind(BlockShape(1, 2, 4, 8, torch.bfloat16))
    ids, each = store.reserve(3), states(3, dtype=torch.bfloat16)
    store.write(ids, 0, each[0], each[1])
    assert torch.equal(store.gather(ids, 0), each)
    store.close()


def test_bytes_are_those_of_the_pools(where: str, tmp_path: Path) -> None:
    store = made(where, tmp_path)
    by_hand = 2 * 2 * 2 * 4 * 8 * 4  # layers, keys and values, heads, tokens, width, float32
    assert store.block_bytes == by_hand
    store.reserve(5)
    assert store.used_bytes == 5 * by_hand
    assert store.allocated_bytes == sum(pool.numel() * 4 for pool in store._pools)
    store.close()


def test_a_cap_is_kept_and_refuses_before_anything_changes(where: str, tmp_path: Path) -> None:
    store = made(where, tmp_path, max_bytes=10 * SHAPE.nbytes + 1)
    ids = store.reserve(8)
    with pytest.raises(BadInput, match="exceed the cap"):
        store.reserve(3)
    assert store.num_blocks == 8
    assert store.allocated_bytes <= 10 * SHAPE.nbytes
    store.release(ids[:1])
    assert len(store.reserve(3)) == 3
    store.close()


def test_a_full_disk_is_bad_input_and_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made("file", tmp_path)
    ids, each = store.reserve(64), states(64)
    store.write(ids, 0, each[0], each[1])
    assert store._file is not None
    size = os.fstat(store._file).st_size

    def full(file: int, begin: int, nbytes: int) -> None:
        os.ftruncate(file, begin + nbytes // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(BadInput, match="has no room"):
        store.reserve(1)
    assert os.fstat(store._file).st_size == size
    assert torch.equal(store.gather(ids, 0), each)
    assert store.num_blocks == 64
    store.close()


def test_where_doubling_does_not_fit_what_is_needed_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made("file", tmp_path)
    store.reserve(64)
    fallocate = os.posix_fallocate

    def small_disk(file: int, begin: int, nbytes: int) -> None:
        if nbytes > 4 * SHAPE.nbytes:
            raise OSError(errno.ENOSPC, "No space left on device")
        fallocate(file, begin, nbytes)

    monkeypatch.setattr(os, "posix_fallocate", small_disk)
    assert len(store.reserve(4)) == 4
    store.close()


@pytest.mark.parametrize("where", ["memory", "file"])
def test_a_closed_store_gives_nothing_instead_of_what_lay_there(where: str, tmp_path: Path) -> None:
    store = made(where, tmp_path)
    ids_N = store.reserve(2)
    store.close()
    with pytest.raises(BadInput, match="closed"):
        store.gather(ids_N, 0)
    with pytest.raises(BadInput, match="closed"):
        store.reserve(1)


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kv.bin").write_text("mine")
    with pytest.raises(BadInput, match="already there"):
        HostStore(path=tmp_path / "kv.bin")
    assert (tmp_path / "kv.bin").read_text() == "mine"


def test_another_model_needs_a_store_of_its_own() -> None:
    store = made("memory", Path())
    with pytest.raises(BadInput, match="another model"):
        store.bind(BlockShape(3, 2, 4, 8, torch.float32))


@given(st.lists(st.tuples(st.sampled_from(["reserve", "retain", "release"]), st.integers(0, 9))))
def test_references_are_counted(steps: list[tuple[str, int]]) -> None:
    store = HostStore()
    store.bind(BlockShape(1, 1, 1, 1, torch.float32))
    held: list[int] = []
    for what, number in steps:
        if what == "reserve":
            new = store.reserve(number).tolist()
            assert not set(new) & set(held)
            held += new
        elif held:
            chosen = held[number % len(held) :]
            if what == "retain":
                store.retain(torch.tensor(chosen))
                held += chosen
            else:
                store.release(torch.tensor(chosen))
                held = held[: number % len(held)]
        assert store.num_blocks == len(set(held))
