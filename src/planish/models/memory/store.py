"""Where keys and values wait that are not on the device: in memory, or in a mapped file.

    store = HostStore(max_bytes=8 << 30)                   # memory; pinned beside a GPU
    store = HostStore(max_bytes=64 << 30, path="kv.bin")   # a file, which has no name once made

A block holds one chunk of all memory layers. The store grows by doubling, in pools, so that
nothing is ever copied to grow. Blocks are counted by reference: beams share what they have in
common.

Shape suffixes: N blocks, K key/value heads, T tokens of a chunk, D head width.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from planish.errors import BadInput

__all__ = ["BlockShape", "HostStore"]

FIRST_BLOCKS = 64
"""Blocks of the first pool, where no more are asked for at once."""


@dataclass(frozen=True)
class BlockShape:
    """What one block holds: keys and values of `tokens` tokens in every memory layer."""

    layers: int
    heads: int
    tokens: int
    width: int
    dtype: torch.dtype

    @property
    def dims(self) -> tuple[int, ...]:
        """Layers, keys or values, heads, tokens, width."""
        return (self.layers, 2, self.heads, self.tokens, self.width)

    @property
    def nbytes(self) -> int:
        """Bytes of a block."""
        return 2 * self.layers * self.heads * self.tokens * self.width * self.dtype.itemsize


class HostStore:
    """Blocks of keys and values, by number.

    Args:
        max_bytes: never to be exceeded; None: whatever there is.
        path: a file to be made and mapped, on a fast disk; None: in memory. It loses its name as
            soon as it is open, so that a process that is killed leaves nothing behind; its room on
            the disk is free again with `close`, or when the store goes.

    Raises:
        BadInput: the file is already there, or cannot be made.
    """

    def __init__(self, max_bytes: int | None = None, path: str | Path | None = None) -> None:
        if max_bytes is not None and max_bytes < 1:
            raise BadInput(f"{max_bytes} bytes hold nothing", where="host store")
        self.max_bytes = max_bytes
        self.path = None if path is None else Path(path)
        self._shape: BlockShape | None = None
        self._pinned = False
        self._pools: list[Tensor] = []
        self._count_N = torch.zeros(0, dtype=torch.int64)
        self._free_N = torch.zeros(0, dtype=torch.int64)
        self._maps: list[mmap.mmap] = []
        self._file: int | None = None
        self._closed = False
        self._close: Callable[[], object] = lambda: None
        if self.path is not None:
            self._file = _make_file(self.path)
            self._close = weakref.finalize(self, os.close, self._file)

    # ---- what it holds

    @property
    def num_blocks(self) -> int:
        """Blocks in use."""
        return len(self._count_N) - len(self._free_N)

    @property
    def block_bytes(self) -> int:
        """Bytes of a block; 0 before it is known."""
        return 0 if self._shape is None else self._shape.nbytes

    @property
    def used_bytes(self) -> int:
        """Bytes of the blocks in use."""
        return self.num_blocks * self.block_bytes

    @property
    def allocated_bytes(self) -> int:
        """Bytes of all pools, the free blocks included."""
        return len(self._count_N) * self.block_bytes

    def bind(self, shape: BlockShape, *, pinned: bool = False) -> None:
        """Says what a block is; several caches of one model may share a store.

        Raises:
            BadInput: the store holds blocks of another shape.
        """
        if self._shape is not None and self._shape != shape:
            raise BadInput(
                "it holds keys and values of another model or chunk size",
                where="host store",
                fix="make a store of its own for each model",
            )
        self._shape, self._pinned = shape, pinned

    def close(self) -> None:
        """Lets everything go, and the room on the disk, where there is a file."""
        self._pools, self._maps, self._closed = [], [], True
        self._count_N = self._free_N = torch.zeros(0, dtype=torch.int64)
        self._close()

    # ---- blocks
    # Made as ordinary tensors even under `inference_mode`: a request may end outside of it.

    @torch.inference_mode(False)
    def reserve(self, count: int) -> Tensor:
        """Numbers of `count` new blocks, each held once.

        Raises:
            BadInput: the cap, the memory or the disk does not allow as many; nothing has changed.
        """
        missing = count - len(self._free_N)
        if missing > 0:
            self._grow(missing)
        ids_N, self._free_N = self._free_N[:count], self._free_N[count:]
        self._count_N[ids_N] = 1
        return ids_N

    @torch.inference_mode(False)
    def retain(self, ids_N: Tensor) -> None:
        """These blocks have one more holder for each time they are named."""
        if len(ids_N):
            self._count_N += torch.bincount(ids_N, minlength=len(self._count_N))

    @torch.inference_mode(False)
    def release(self, ids_N: Tensor) -> None:
        """These blocks have one holder less for each time they are named."""
        if len(ids_N):
            self._count_N -= torch.bincount(ids_N, minlength=len(self._count_N))
            named_N = torch.unique(ids_N)
            self._free_N = torch.cat([self._free_N, named_N[self._count_N[named_N] == 0]])

    @torch.no_grad()
    def write(self, ids_N: Tensor, layer: int, keys_NKTD: Tensor, values_NKTD: Tensor) -> None:
        """Fills one layer (counted among the memory layers) of these blocks."""
        for pool, local_N, here_N in self._split(ids_N):
            for part, states in enumerate((keys_NKTD, values_NKTD)):
                chosen = states if here_N is None else states[here_N.to(states.device)]
                pool[:, layer, part].index_copy_(0, local_N, chosen.to(pool.device))
        self._let_go()

    @torch.no_grad()
    def gather(self, ids_N: Tensor, layer: int, *, parts: int = 2) -> Tensor:
        """One layer of these blocks, on the host: shape (2, N, K, T, D), keys first.

        Args:
            parts: 1 for the keys alone, of shape (1, N, K, T, D): values are not touched.
        """
        shape = self._bound()
        out = torch.empty(
            (parts, len(ids_N), *shape.dims[2:]), dtype=shape.dtype, pin_memory=self._pinned
        )
        for pool, local_N, here_N in self._split(ids_N):
            for part in range(parts):
                source = pool[:, layer, part]
                if here_N is None:
                    torch.index_select(source, 0, local_N, out=out[part])
                else:
                    out[part][here_N] = source.index_select(0, local_N)
        self._let_go()
        return out

    # ---- pools

    def _let_go(self) -> None:
        """Pages of the file that were touched are the system's again, not this process's memory.

        What was written stays: in a shared mapping this only forgets where it is cached.
        """
        for mapped in self._maps:
            mapped.madvise(mmap.MADV_DONTNEED)

    def _bound(self) -> BlockShape:
        assert self._shape is not None, "bind comes first"
        if self._closed:
            raise BadInput(
                "it is closed, and what it held is gone",
                where="host store",
                fix="use a cache only while its store is open",
            )
        return self._shape

    def _split(self, ids_N: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Pools, the numbers within each, and which of the blocks they are (None: all)."""
        begin = 0
        for pool in self._pools:
            end = begin + len(pool)
            inside_N = (ids_N >= begin) & (ids_N < end)
            if bool(inside_N.all()):
                yield pool, ids_N - begin, None
                return
            if bool(inside_N.any()):
                here_N = inside_N.nonzero()[:, 0]
                yield pool, ids_N[here_N] - begin, here_N
            begin = end

    def _grow(self, missing: int) -> None:
        shape = self._bound()
        there = len(self._count_N)
        wanted = max(missing, there, FIRST_BLOCKS)
        if self.max_bytes is not None:
            room = self.max_bytes // shape.nbytes - there
            if room < missing:
                raise BadInput(
                    f"{missing} more blocks of {shape.nbytes:,} bytes exceed the cap of "
                    f"{self.max_bytes:,} bytes; {self.used_bytes:,} are in use",
                    where="host store",
                    fix="raise the cap, or use a shorter context or fewer requests",
                )
            wanted = min(wanted, room)
        pool = self._try_pool(wanted, final=wanted == missing)
        if pool is None:  # doubling does not fit; what is needed now may
            pool = self._try_pool(missing, final=True)
        assert pool is not None
        self._pools.append(pool)
        new_N = torch.arange(there, there + len(pool))
        self._count_N = torch.cat([self._count_N, torch.zeros_like(new_N)])
        self._free_N = torch.cat([self._free_N, new_N])

    def _try_pool(self, count: int, *, final: bool) -> Tensor | None:
        try:
            return self._pool(count)
        except (OSError, MemoryError, RuntimeError) as error:
            if not final:
                return None
            place = "the memory" if self.path is None else f"the disk of {self.path}"
            raise BadInput(
                f"{place} has no room for {count * self.block_bytes:,} bytes more",
                where="host store",
                fix="free some, or use a shorter context or fewer requests",
            ) from error

    def _pool(self, count: int) -> Tensor:
        shape = self._bound()
        dims = (count, *shape.dims)
        if self._file is None:
            return torch.empty(dims, dtype=shape.dtype, pin_memory=self._pinned)
        # Every pool begins at a page of its own.
        page = mmap.ALLOCATIONGRANULARITY
        begin = -(-os.fstat(self._file).st_size // page) * page
        nbytes = count * shape.nbytes
        _extend(self._file, begin, nbytes)
        mapped = mmap.mmap(self._file, nbytes, offset=begin)
        self._maps.append(mapped)
        return torch.frombuffer(mapped, dtype=shape.dtype).view(dims)


def _extend(file: int, begin: int, nbytes: int) -> None:
    """Takes the bytes from the disk now: a hole that cannot be filled later would be fatal."""
    size = os.fstat(file).st_size
    try:
        os.posix_fallocate(file, begin, nbytes)
    except OSError:
        os.ftruncate(file, size)
        raise


def _make_file(path: Path) -> int:
    """A new file without a name: it is gone with the process, however that ends."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        path.unlink(missing_ok=True)
        return file
    except FileExistsError:
        raise BadInput("it is already there", where=str(path), fix="name a new file") from None
    except OSError as error:
        raise BadInput(
            f"cannot be made: {error.strerror}", where=str(path), fix="name a file on a disk"
        ) from error
