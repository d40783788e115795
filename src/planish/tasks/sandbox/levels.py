"""How well a program can be locked up on this machine, strongest first.

    >>> choose("fork") in LEVELS
    True

`bwrap`: bubblewrap builds the walls. `unshare`: they are built of the kernel's namespaces without
it; what a program can reach is the same. `fork`: a process with limits, and no walls at all. A
weaker level is never taken in silence: whoever wants less says so.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Iterable

from planish.errors import BadInput
from planish.tasks.sandbox.child import SandboxError
from planish.tasks.sandbox.contract import LEVELS, Level
from planish.tasks.sandbox.process import FATAL, Server

__all__ = ["available", "choose", "why_not"]

_MENDS = {
    "bwrap": "install bubblewrap (apt install bubblewrap)",
    "unshare": "allow user namespaces (sysctl user.max_user_namespaces, "
    "kernel.apparmor_restrict_unprivileged_userns=0)",
    "fork": "use Linux 5.8 or newer",
}


@functools.cache
def why_not(level: Level) -> str:
    """Starts a server at this level; "" or why that does not work. Asked once per process."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    try:
        with Server(level, "candidate") as server:
            used = server.spawn(0).end()
    except SandboxError as error:
        return str(error)
    return "" if used.status == -9 else f"a process ended with {used.status}"


def available() -> dict[Level, str]:
    """Every level, with "" or why it is not to be had."""
    return {level: why_not(level) for level in LEVELS}


def choose(accept: Level = "unshare", level: Level | None = None) -> Level:
    """The strongest level that works and is accepted.

    Args:
        accept: the weakest that will do.
        level: only this one; it must be accepted too.

    Raises:
        BadInput: there is none; the message tells what to install and which flag takes less.
    """
    accepted = LEVELS[: LEVELS.index(accept) + 1]
    wanted = accepted if level is None else (level,)
    if level is not None and level not in accepted:
        raise BadInput(
            f"the level {level} is weaker than {accept}, the weakest that is accepted",
            where="sandbox",
            fix=f"use --accept-level {level}",
        )
    for one in wanted:
        if not why_not(one):
            return one
    weaker = [one for one in LEVELS[LEVELS.index(wanted[-1]) + 1 :] if not why_not(one)]
    less = f", or accept less with --accept-level {weaker[0]}" if weaker else ""
    if weaker == ["fork"]:
        less += " (limits, but no isolation: only for code that you trust)"
    raise BadInput(
        "code cannot be locked up here: " + "; ".join(f"{one}: {why_not(one)}" for one in wanted),
        where="sandbox",
        fix=(_readable() if any(map(_unreadable, wanted)) else _mends(wanted)) + less,
    )


def _mends(levels: Iterable[Level]) -> str:
    return " or ".join(_MENDS[one] for one in levels)


def _unreadable(level: Level) -> bool:
    """Whether walls can be had, and Python cannot be read behind them.

    Who is root there may read what is root's or everybody's, and not what is another user's.
    """
    why = why_not(level)
    refused = any(f"{one}: {os.strerror(errno.EACCES)}" in why for one in _pythons())
    return refused or FATAL in why


def _readable() -> str:
    where = _pythons()[0]
    return (
        f"let every user read the Python that runs planish (chmod -R o+rX {where}, and o+x for the "
        "folders above), or use another one"
    )


def _pythons() -> tuple[str, ...]:
    return tuple(os.path.realpath(one) for one in (sys.base_prefix, sys.executable))
