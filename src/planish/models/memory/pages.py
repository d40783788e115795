"""Memory that is free goes back to the system, where the C library would keep it.

return_free_pages()          # after a prompt: what it needed for a while is free
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["return_free_pages"]


def return_free_pages() -> None:
    """Makes the C library return the pages it holds free, between things in use too.

    glibc alone does; elsewhere nothing happens. Takes microseconds where nothing is free, and
    about 0.2 s for each GB that goes.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl and macOS have none
    except (OSError, TypeError):  # no C library by that way, as on Windows
        return None
