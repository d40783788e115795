"""Where a child of a server works, and what it gives up before it does.

    root = furnish(job, folder="")
    lock(job["limits"], walls=True)

Only the standard library is used here: the module runs inside the sandbox.
"""

from __future__ import annotations

import math
import os
import resource
from typing import Any

from planish.tasks.sandbox import kernel

__all__ = ["furnish", "lock"]


def furnish(job: dict[str, Any], folder: str) -> str:
    """Lays out the project, and an empty folder to work in; returns the project's root."""
    files = job["files"]
    safe = kernel.NO_SETUID | kernel.NO_DEVICES
    root, work = (f"{folder or '/sandbox'}/{name}" for name in ("project", "work"))
    if folder:
        os.makedirs(root)
        os.makedirs(work)
    else:
        kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_IPC)
        kernel.mount("none", work, "tmpfs", safe, "mode=777,size=1m,nr_inodes=1k")
        if files:
            kernel.mount("none", root, "tmpfs", safe, "mode=755,size=64m,nr_inodes=20k")
    for file in files:
        path = os.path.join(root, file["path"])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogatepass", newline="") as opened:
            opened.write(file["text"])
    if files and not folder:
        kernel.mount("", root, flags=kernel.REMOUNT | kernel.BIND | kernel.READ_ONLY | safe)
    os.chdir(work)
    return root


def lock(limits: dict[str, Any], walls: bool) -> None:
    """Gives up everything that a candidate must not have, for good."""
    memory = limits["memory_mb"] << 20
    seconds = math.ceil(limits["seconds"]) + 1
    for which, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, limits["processes"] + 2),
        (resource.RLIMIT_CORE, 0),
    ):
        if which == resource.RLIMIT_NPROC and not walls and os.geteuid() != 0:
            continue  # all processes of this user count, and he may have more already
        resource.setrlimit(which, (most, most))
    if walls:
        kernel.give_up_privileges()
        kernel.filter_calls()
    kernel.hide_memory()
