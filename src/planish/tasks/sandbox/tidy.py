"""Makes a process that has served one job clean for the next, and tells what it has used.

    sweep = Sweep()
    ...                 # a program runs, and it is tame
    sweep()

Only the standard library is used here: the module runs inside the sandbox.
"""

from __future__ import annotations

import gc
import re
import resource
import sys
import typing

__all__ = ["Sweep", "forget", "used"]


class Sweep:
    """Makes a process as clean as it was now, once a program that is tame has run in it."""

    def __init__(self) -> None:
        self.paths, self.finders = list(sys.path), list(sys.meta_path)
        self.modules = dict(sys.modules)

    def __call__(self) -> None:
        """Sweeps."""
        if sys.path != self.paths or sys.meta_path != self.finders:
            sys.path[:], sys.meta_path[:] = self.paths, self.finders
        if sys.modules != self.modules:
            for name in set(sys.modules) - set(self.modules):
                del sys.modules[name]
            # a program may have the name of a module that others use
            sys.modules.update(self.modules)
        forget()
        gc.collect()  # what a program does when its values are let go of, it does before the next


def forget() -> None:
    """Empties what the library keeps of former calls: 1.0 would be found there in place of 1."""
    re.purge()
    for clear in getattr(typing, "_cleanups", ()):  # typing's own list of its caches, not public
        clear()


def used() -> list[float]:
    """Seconds of processor time and MiB of this process so far."""
    told = resource.getrusage(resource.RUSAGE_SELF)
    return [told.ru_utime + told.ru_stime, told.ru_maxrss / 1024]
