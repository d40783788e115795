"""Image files as keys and requests need them, read once while the same few are asked for.

    sha256_of("chart.png")        of its bytes
    data_url("chart.png")         "data:image/png;base64,..."

A run asks several questions about one picture, one after the other; coding it anew for each takes
as long as everything else about a call. A file counts as the same while its size, inode and times
are. One that was written a moment ago is read again: clocks of file systems are coarse.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import time
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

from planish.models.pictures import read_bytes

__all__ = ["DataUrl", "data_url", "sha256_of"]

_KEPT = 16  # pictures: more than are in turn at once
_LARGEST = 4 << 20  # bytes: what is larger is not kept, and takes a server long anyhow
_SETTLED = 2.0  # seconds after which a change cannot go unseen

_Stamp = tuple[int, int, int, int]
S = TypeVar("S", bound=str)


class DataUrl(str):
    """A URL made here: JSON has nothing to escape in it, so nobody needs to look."""


def _kept(read: Callable[[str], S]) -> Callable[[str], S]:
    """What `read` makes of a file, kept while the file stays as it is."""

    @lru_cache(maxsize=_KEPT)
    def again(path: str, stamp: _Stamp) -> S:
        return read(path)

    @wraps(read)
    def kept(path: str) -> S:
        found = os.stat(path)
        is_settled = time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED
        if not is_settled or found.st_size > _LARGEST:
            return read(path)
        return again(path, (found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))

    return kept


@_kept
def sha256_of(path: str) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    return hashlib.sha256(read_bytes(path)).hexdigest()


@_kept
def data_url(path: str) -> DataUrl:
    """A file as a `data:` URL; its kind goes by its name.

    Raises:
        OSError: it cannot be read.
    """
    kind = mimetypes.guess_type(path)[0] or "image/png"
    coded = base64.b64encode(read_bytes(path)).decode()
    return DataUrl(f"data:{kind};base64,{coded}")
