"""What Python 3.11 does not offer of Linux: namespaces, mounts, capabilities, a filter of calls.

    unshare(NEW_PID)        # the next child is the first process of a namespace of its own
    give_up_privileges()    # for good, for this process and for all that it starts

Only the standard library is used here: the module also runs inside the sandbox. Numbers and
structures are those of the kernel's user interface (man 2 unshare, mount, prctl, seccomp).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
from typing import Any

__all__ = [
    "NEW_IPC",
    "NEW_MOUNTS",
    "NEW_NET",
    "NEW_PID",
    "NEW_USER",
    "NEW_UTS",
    "NOBODY",
    "adopt_orphans",
    "close_from",
    "die_with_parent",
    "enter",
    "filter_calls",
    "give_up_most",
    "give_up_privileges",
    "hide_memory",
    "mount",
    "pivot",
    "unmount",
    "unshare",
]

NEW_MOUNTS, NEW_UTS, NEW_IPC = 0x00020000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
_NEW_CGROUP, _NEW_TIME = 0x02000000, 0x00000080

READ_ONLY, NO_SETUID, NO_DEVICES, REMOUNT, BIND, RECURSIVE = 1, 2, 4, 32, 4096, 16384
PRIVATE = 1 << 18

NOBODY = 65534
"""Who candidates are where the host is root, whom the kernel allows any number of processes."""

_CLOSE_RANGE = 436  # the same number everywhere

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leaves namespaces of the parent.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.unshare(flags), "unshare")


def enter(descriptor: int, flags: int) -> None:
    """Joins the namespaces of the process that a pidfd stands for.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.setns(descriptor, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mounts.

    Raises:
        OSError: the kernel refuses.
    """
    words = [os.fsencode(one) if one else None for one in (source, target, kind)]
    _check(
        _libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(data) if data else None),
        f"mount {target}",
    )


def unmount(target: str) -> None:
    """Takes a mount and all below it out of sight.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.umount2(os.fsencode(target), 2), f"umount {target}")


def pivot(new: str, old: str) -> None:
    """Makes `new` the root, and puts the old one at `old`.

    Raises:
        OSError: the kernel refuses.
    """
    _check(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), "pivot_root")


def _prctl(option: int, *values: int) -> int:
    words = [ctypes.c_ulong(one) for one in (*values, 0, 0, 0, 0)[:4]]
    return int(_libc.prctl(option, *words))


def die_with_parent() -> None:
    """SIGKILL for this process when the one that started it ends."""
    _check(_prctl(1, 9), "prctl")


def hide_memory() -> None:
    """No other process of the same user may read the memory of this one."""
    _check(_prctl(4, 0), "prctl")


def close_from(lowest: int) -> None:
    """Closes every descriptor from this number on, however high."""
    everything = ctypes.c_uint(0xFFFFFFFF)
    if _libc.syscall(_CLOSE_RANGE, ctypes.c_uint(lowest), everything, ctypes.c_uint(0)) != 0:
        os.closerange(lowest, 1 << 16)  # before Linux 5.9


def adopt_orphans() -> None:
    """Processes whose parent ended become children of this one."""
    _check(_prctl(36, 1), "prctl")


_NEEDED = (6, 7, 21)
"""CAP_SETGID, CAP_SETUID and CAP_SYS_ADMIN: what a server needs to make a child and to change it
into somebody else."""


def give_up_most() -> None:
    """No program that is started from here on gets more than what a server needs."""
    for number in range(64):
        if number not in _NEEDED and _prctl(24, number) != 0:
            break  # beyond the last that this kernel knows


def give_up_privileges() -> None:
    """Becomes nobody where there is one, and drops every capability for good.

    Raises:
        OSError: the kernel refuses.
    """
    for number in _NEEDED:
        _check(_prctl(24, number), "prctl")
    with contextlib.suppress(OSError):  # of an ordinary user's namespace nobody is no member
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    _check(_prctl(38, 1), "prctl")
    header = struct.pack("=II", 0x20080522, 0)
    _check(_libc.capset(header, struct.pack("=6I", *[0] * 6)), "capset")


_CLONE_FLAGS = (
    NEW_MOUNTS | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET | _NEW_CGROUP
)  # _NEW_TIME shares its bit with the signal that is sent at the end of a clone

_FORBIDDEN = {
    # ptrace, process_vm_readv, process_vm_writev, unshare, setns, mount, umount2, pivot_root,
    # chroot, keyctl, add_key, request_key, bpf, perf_event_open, userfaultfd, open_by_handle_at,
    # kexec_load, init_module, finit_module, kcmp
    "x86_64": (
        0xC000003E,
        56,
        "101 310 311 272 308 165 166 155 161 250 248 249 321 298 323 304 246 175 313 312",
    ),
    "aarch64": (
        0xC00000B7,
        220,
        "117 270 271 97 268 40 39 41 51 219 217 218 280 241 282 265 104 105 273 272",
    ),
}
# io_uring_setup, io_uring_enter, io_uring_register, open_tree, move_mount, fsopen, fsconfig,
# fsmount, fspick, pidfd_getfd, mount_setattr: the same number everywhere
_FORBIDDEN_ANYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442)
_CLONE3 = 435
_SOCKETS = {"x86_64": (41, 53), "aarch64": (198, 199)}
"""socket and socketpair."""
_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET and AF_INET6: what a namespace shuts in. AF_VSOCK and AF_ALG would lead out."""


def _filter() -> Any:
    known = _FORBIDDEN.get(platform.machine())
    if known is None:
        return None
    architecture, clone, forbidden = known
    refused, missing, allowed, kill = 0x00050001, 0x00050026, 0x7FFF0000, 0x80000000
    unsupported = 0x00050061
    load, equal, any_bit, above, answer = 0x20, 0x15, 0x45, 0x35, 0x06
    lines = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),
        (above, 0, 1, 0x40000000),  # calls of the other ABI of the same processor
        (answer, 0, 0, missing),
    ]
    for number in (*map(int, forbidden.split()), *_FORBIDDEN_ANYWHERE):
        lines += [(equal, 0, 1, number), (answer, 0, 0, refused)]
    for number in _SOCKETS[platform.machine()]:
        lines += [(equal, 0, len(_FAMILIES) + 3, number), (load, 0, 0, 16)]
        for place, family in enumerate(_FAMILIES):
            lines.append((equal, len(_FAMILIES) - place, 0, family))
        lines += [(answer, 0, 0, unsupported), (answer, 0, 0, allowed)]
    lines += [
        (equal, 0, 1, _CLONE3),  # its flags lie in memory, where no filter can look
        (answer, 0, 0, missing),
        (equal, 0, 3, clone),
        (load, 0, 0, 16),
        (any_bit, 0, 1, _CLONE_FLAGS),
        (answer, 0, 0, refused),
        (answer, 0, 0, allowed),
    ]
    program = b"".join(struct.pack("=HBBI", *line) for line in lines)
    held = ctypes.create_string_buffer(program, len(program))
    address = struct.pack("@HP", len(lines), ctypes.addressof(held))
    return ctypes.create_string_buffer(address, len(address)), held


_whole_filter = _filter()


def filter_calls() -> bool:
    """Refuses system calls that no plain program needs; False where the processor is unknown.

    A second line behind the namespaces: what it refuses would mostly be refused anyway.

    Raises:
        OSError: the kernel refuses.
    """
    if _whole_filter is None:
        return False
    _check(_prctl(22, 2, ctypes.addressof(_whole_filter[0])), "seccomp")
    return True
