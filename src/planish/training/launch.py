"""Which of the launcher's processes this is, told without importing torch.

>>> is_main(), num_processes()
(True, 1)
"""

from __future__ import annotations

import os

__all__ = ["is_main", "num_processes", "rank"]


def is_main() -> bool:
    """Whether this process is the one that writes: alone, or the first that was launched."""
    return rank() == 0


def rank() -> int:
    """Which of the launched processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def num_processes() -> int:
    """How many processes were launched together (`accelerate launch`, `torchrun`)."""
    return int(os.environ.get("WORLD_SIZE", "1"))
