"""The command that starts a server behind walls, and what it may see there.

subprocess.Popen(command("bwrap", "candidate", descriptor), pass_fds=[descriptor])
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Literal

from planish.tasks.sandbox.contract import Level

__all__ = ["Role", "command"]

Role = Literal["candidate", "tester"]

_HERE = Path(__file__).resolve().parent


def command(level: Level, role: Role, descriptor: int, folder: str = "") -> list[str]:
    """Words of the command.

    Args:
        level: of the walls.
        role: what the server's children do.
        descriptor: of the socket on which the host speaks to it; it is inherited.
        folder: for what its children need of files, where there are no walls.
    """
    python = [os.path.realpath(sys.executable), "-S", "-s", "-P", "-B"]
    packages = _packages()
    words = [str(descriptor), role, level, folder]
    spec = {
        "level": level,
        "python": [*python, str(_HERE / "server.py"), *words, *packages],
        "readable": _readable(packages),
        "links": [
            (path, os.readlink(path))
            for path in ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
            if os.path.islink(path)
        ],
        "bwrap": shutil.which("bwrap") or "bwrap",
    }
    return [*python, str(_HERE / "launch.py"), json.dumps(spec)]


def _packages() -> list[str]:
    paths = sysconfig.get_paths()
    return [
        path for path in dict.fromkeys((paths["purelib"], paths["platlib"])) if os.path.isdir(path)
    ]


def _readable(packages: list[str]) -> list[str]:
    """What Python needs and nothing else, without what lies in another of them."""
    wanted = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache"]
    wanted += [os.path.realpath(one) for one in (sys.base_prefix, sys.base_exec_prefix)]
    wanted += [*packages, str(_HERE)]
    found: list[str] = []
    for path in wanted:
        inside = any(path == one or path.startswith(one + "/") for one in found)
        if os.path.exists(path) and not os.path.islink(path) and not inside and path != "/":
            found.append(path)
    return found
