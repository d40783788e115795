"""Starts the server of a sandbox inside its walls. Run as a script, by `levels.command`:

    python -S -s -P -B launch.py '{"level": "unshare", ...}'

At the level `bwrap` the walls are bubblewrap's. At `unshare` they are built here of the same
parts: namespaces of its own for users, processes, mounts, network and IPC, and a root in which
there is nothing but what Python needs, read-only. At `fork` there are none.

Only the standard library is used here. What goes wrong is told on standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import types
from typing import Any, NoReturn

if __name__ == "__main__":  # the package around these files does not exist in here
    for name in ("planish", "planish.tasks", "planish.tasks.sandbox"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [os.path.dirname(os.path.abspath(__file__))]

from planish.tasks.sandbox import kernel

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
FOLDERS = ("/sandbox/project", "/sandbox/work")


def main(spec: dict[str, Any]) -> NoReturn:
    """Builds the walls and becomes the server.

    Args:
        spec: level; python, the command of the server; readable, folders that it may see;
            links, (where, to what); bwrap, its path.
    """
    os.umask(0o022)  # that of the host may make project files unreadable to a candidate
    _first_to_go()
    if spec["level"] == "fork":
        _become(spec["python"])
    if spec["level"] == "bwrap":
        own = ["--unshare-user", "--uid", "0", "--gid", "0"]
        if os.geteuid() == 0:  # bubblewrap alone would make no second user
            _become_root()
            own = []
        command = [spec["bwrap"], *own, *_bwrap_options(spec), "--", *spec["python"]]
        os.execv(command[0], command)
    _become_root(
        kernel.NEW_MOUNTS | kernel.NEW_PID | kernel.NEW_NET | kernel.NEW_IPC | kernel.NEW_UTS
    )
    child = os.fork()
    if child:
        kernel.close_from(3)
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    kernel.die_with_parent()
    _build_root(spec)
    _become(spec["python"])


def _become(command: list[str]) -> NoReturn:
    try:
        os.execv(command[0], command)
    except OSError as error:  # which names no file
        raise OSError(error.errno, f"{command[0]}: {error.strerror}") from None


def _first_to_go() -> None:
    # without a memory cgroup the kernel chooses whom to end, and it should be a candidate
    with contextlib.suppress(OSError):
        _write("/proc/self/oom_score_adj", "1000")


def _become_root(others: int = 0) -> None:
    """Makes a user namespace in which this process is root, and nobody a second user if it can."""
    user, group = os.geteuid(), os.getegid()
    process = os.getpid()
    made, done = os.pipe(), os.pipe()
    helper = os.fork()
    if helper == 0:
        os.read(made[0], 1)
        told = b"y"
        try:
            if user == 0:
                for name, own in (("uid_map", user), ("gid_map", group)):
                    with open(f"/proc/{process}/{name}", "w") as file:
                        file.write(f"0 {own} 1\n{kernel.NOBODY} {kernel.NOBODY} 1\n")
        except OSError:
            told = b"n"
        os.write(done[1], told)
        os._exit(0)
    kernel.unshare(kernel.NEW_USER | others)
    os.write(made[1], b"x")
    told = os.read(done[0], 1)
    os.waitpid(helper, 0)
    for descriptor in (*made, *done):
        os.close(descriptor)
    if user == 0 and told != b"y":
        # the kernel would set no limit to the number of processes of a candidate who is root
        raise OSError("root may not map a second user here")
    if user != 0:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"0 {group} 1\n")
        _write("/proc/self/uid_map", f"0 {user} 1\n")
    with contextlib.suppress(OSError):  # the filter of system calls refuses them too
        _write("/proc/sys/user/max_user_namespaces", "0")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _bwrap_options(spec: dict[str, Any]) -> list[str]:
    options = ["--die-with-parent", "--new-session", "--as-pid-1", "--cap-add", "ALL"]
    options += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    for path in spec["readable"]:
        # made on the way to a mount, bubblewrap would close a folder to all but its owner
        ways = [path[:end] for end in range(1, len(path)) if path[end] == "/"]
        options += [word for way in ways for word in ("--dir", way)]
        options += ["--ro-bind", path, path]
    for where, target in spec["links"]:
        options += ["--symlink", target, where]
    for path in DEVICES:
        options += ["--dev-bind", path, path]
    for path in FOLDERS:
        options += ["--dir", path]
    return [*options, "--remount-ro", "/", "--chdir", "/"]


def _build_root(spec: dict[str, Any]) -> None:
    kernel.mount("", "/", flags=kernel.RECURSIVE | kernel.PRIVATE)
    # what is under /tmp must stay reachable while a new root is built there
    kernel.mount("none", "/tmp", "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES)
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    kernel.pivot("/tmp", "/tmp/old")
    os.chdir("/")
    kernel.mount("none", "/new", "tmpfs", kernel.NO_SETUID | kernel.NO_DEVICES, "mode=755,size=1m")
    for path in spec["readable"]:
        os.makedirs("/new" + path, exist_ok=True) if os.path.isdir("/old" + path) else _touch(path)
        kernel.mount("/old" + path, "/new" + path, flags=kernel.BIND | kernel.RECURSIVE)
    for where, target in spec["links"]:
        os.makedirs(os.path.dirname("/new" + where), exist_ok=True)
        os.symlink(target, "/new" + where)
    _make_read_only("/new")
    for path in DEVICES:
        _touch(path)
        kernel.mount("/old" + path, "/new" + path, flags=kernel.BIND)
    for path in FOLDERS:
        os.makedirs("/new" + path)
    os.chdir("/new")
    kernel.pivot(".", ".")
    kernel.unmount(".")
    os.chdir("/")
    kernel.mount(
        "",
        "/",
        flags=kernel.REMOUNT
        | kernel.BIND
        | kernel.READ_ONLY
        | kernel.NO_SETUID
        | kernel.NO_DEVICES,
    )


def _touch(path: str) -> None:
    os.makedirs(os.path.dirname("/new" + path), exist_ok=True)
    with open("/new" + path, "w"):
        pass


def _unescaped(path: str) -> str:
    # no codec can be loaded by now: the standard library is out of sight
    for text, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(text, meant)
    return path


def _make_read_only(root: str) -> None:
    with open("/old/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [_unescaped(line.split()[4]) for line in file]
    for point in points:
        if not point.startswith(root + "/"):
            continue
        # flags that the mount had outside are locked: leaving one out would be refused
        flags = os.statvfs(point).f_flag & (2 | 4 | 8 | 1024 | 2048 | 4096)
        kept = flags & (2 | 4 | 8 | 1024 | 2048)
        kept |= (1 << 21) if flags & 4096 else 0
        kernel.mount(
            "",
            point,
            flags=kernel.REMOUNT
            | kernel.BIND
            | kernel.READ_ONLY
            | kernel.NO_SETUID
            | kernel.NO_DEVICES
            | kept,
        )


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv[1]))
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
