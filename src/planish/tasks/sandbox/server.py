"""The warm server of a sandbox: it has imported what programs use, and forks a child for each job.

    python -S -s -P -B server.py DESCRIPTOR ROLE LEVEL FOLDER PACKAGES...

launch.py starts it so, inside the walls.

The host speaks to it by way of one socket of packets: "spawn", which comes with a socket and is
answered in the end by "ended", "kill", "spent", which asks for processor time, and "branch", which
comes with such a socket for a server that has imported more. The job itself
and all answers travel over the socket that came along, of which only the child keeps a copy. So
nothing of one job is left for the next, and nothing that a child writes reaches the host as the
word of the server.

A child is the first process of a namespace of processes of its own: it sees no other, and one
SIGKILL ends all that it started. Only the standard library is used here.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import json
import mmap
import os
import select
import shutil
import signal
import socket
import sys
import time
import types
from typing import Any, NoReturn

if __name__ == "__main__":  # the package around these files does not exist in here
    for _name in ("planish", "planish.tasks", "planish.tasks.sandbox"):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [os.path.dirname(os.path.abspath(__file__))]
    # Both do something in every child after a fork: `random` seeds itself, which a job does, and
    # `threading` looks for threads, of which there are none. It costs more than all the rest.
    _register, os.register_at_fork = os.register_at_fork, lambda **_: None
    import random  # noqa: F401
    import threading  # noqa: F401

    os.register_at_fork = _register

from planish.tasks.sandbox import judging, kernel, room, trying
from planish.tasks.sandbox.speech import Channel

__all__ = ["MAX_TAIL", "main"]

MAX_TAIL = 65_536
"""Bytes of printed text that can be kept."""

USUAL = (
    "abc array base64 bisect calendar cmath collections contextlib copy csv dataclasses datetime "
    "decimal enum fractions functools hashlib heapq io itertools json math numbers operator "
    "pprint queue random re statistics string textwrap threading time timeit traceback typing "
    "unicodedata uuid warnings zlib"
)
"""What programs mostly import; it costs a child nothing."""

_DRAWING = ("numpy.random", "sympy.core.random")
"""Modules that seed generators of their own when they are imported."""

_CHANNEL, _BELL = 3, 4
_OF_A_PROCESS = 2  # with its number above, one of the kernel's clocks (man 3 clock_getcpuclockid)


class _Child:
    """One job that runs: its process, and what it printed."""

    def __init__(self, number: int, keep: int) -> None:
        self.number = number
        self.keep = min(keep, MAX_TAIL)
        self.output, self.printed = os.pipe()
        os.set_blocking(self.output, False)
        self.tail = bytearray()
        self.process = 0
        self.watch = -1
        self.mark = mmap.mmap(-1, 1)  # shared with the process: whether its tests have asked

    def drain(self) -> bool:
        """Takes what was printed, and throws away all but the end; False where nothing came."""
        try:
            part = os.read(self.output, 65_536)
        except BlockingIOError:
            return False
        self.tail += part
        if len(self.tail) > 2 * MAX_TAIL:
            del self.tail[: -self.keep or None]
        return bool(part)

    def spent(self) -> float:
        """Seconds of processor time of its first process so far."""
        try:
            return time.clock_gettime((~self.process << 3) | _OF_A_PROCESS)
        except OSError:
            return 0.0

    def end(self) -> dict[str, Any]:
        """Kills it and all that it started, and tells what it used."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process, signal.SIGKILL)
        _, status, used = os.wait4(self.process, 0)
        for _ in range(64):
            if not self.drain():
                break
        os.close(self.watch)
        os.close(self.output)
        asked = self.mark[0] == 1
        self.mark.close()
        return {
            "ended": self.number,
            "asked": asked,
            "status": os.waitstatus_to_exitcode(status),
            "cpu_s": used.ru_utime + used.ru_stime,
            "max_rss_mb": used.ru_maxrss / 1024,
        }


class Server:
    """Waits for the host's word.

    Args:
        control: the socket of packets.
        role: "candidate" or "tester".
        level: of the sandbox.
        folder: where files are laid out that have no walls around them.
    """

    def __init__(self, control: socket.socket, role: str, level: str, folder: str) -> None:
        self.control = control
        self.role = role
        self.level = level
        self.walls = level != "fork"
        self.myself = os.pidfd_open(os.getpid()) if self.walls else -1
        self.folder = folder
        self.child: _Child | None = None
        self.branch: Server | None = None
        self.poll = select.poll()
        self.poll.register(control, select.POLLIN)

    def serve(self) -> Server | None:
        """Until the host is gone; or until this process is a branch, whose server is returned."""
        if not self.walls:
            kernel.adopt_orphans()
        self.send({"ready": sys.version.split()[0]})
        try:
            while True:
                for descriptor, _ in self.poll.poll():
                    if descriptor == self.control.fileno():
                        if not self._hear():
                            return self.branch
                    elif self.child and descriptor == self.child.output:
                        if not self.child.drain():
                            self.poll.unregister(descriptor)
                    elif self.child and descriptor == self.child.watch:
                        self._end()
        finally:
            if self.child:
                self._end(tell=False)
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)

    def send(self, message: dict[str, Any], tail: bytes = b"") -> None:
        """One packet: JSON, and raw bytes after a zero."""
        with contextlib.suppress(OSError):  # the host is gone; the next poll tells so
            self.control.sendall(json.dumps(message).encode("ascii") + b"\0" + tail)

    def _hear(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self.control, 4096, 2)
        if not data:
            return False
        order = json.loads(data)
        if order["do"] == "spawn":
            self._spawn(order, *descriptors)
        elif order["do"] == "branch":
            return self._branch(order["modules"], *descriptors)
        elif self.child and self.child.number == order["number"]:
            if order["do"] == "kill":
                self._end()
            else:
                self.send({"spent": self.child.number, "seconds": self.child.spent()})
        return True

    def _branch(self, modules: list[str], control: int) -> bool:
        """Forks a server that imports more; False in that process.

        It goes on where this one began, for its children to have as deep a stack.
        """
        if os.fork():
            os.close(control)
            return True
        try:
            kernel.die_with_parent()
            self.control.detach()
            self.child = None
            _place(control, -1)
            for name in modules:
                with contextlib.suppress(Exception):  # whoever imports it will see why
                    __import__(name)
            _settle()
            self.branch = Server(socket.socket(fileno=_CHANNEL), self.role, self.level, self.folder)
        except BaseException:
            os._exit(1)
        return False

    def _spawn(self, order: dict[str, Any], channel: int, bell: int = -1) -> None:
        if self.child:
            self._end()
        child = self.child = _Child(order["number"], order["keep"])
        folder = os.path.join(self.folder, str(order["number"])) if self.folder else ""
        if self.walls:
            kernel.unshare(kernel.NEW_PID)
        server = os.getpid()
        child.process = os.fork()
        if child.process == 0:
            _be_child(self.role, (channel, bell), child, folder, server)
        if self.walls:
            kernel.enter(self.myself, kernel.NEW_PID)
        os.close(channel)
        if bell >= 0:
            os.close(bell)
        os.close(child.printed)
        child.watch = os.pidfd_open(child.process)
        self.poll.register(child.watch, select.POLLIN)
        self.poll.register(child.output, select.POLLIN)

    def _end(self, tell: bool = True) -> None:
        child = self.child
        if child is None:
            return
        for descriptor in (child.watch, child.output):
            with contextlib.suppress(KeyError):
                self.poll.unregister(descriptor)
        told = child.end()
        self.child = None
        if not self.walls:
            _sweep()
            shutil.rmtree(os.path.join(self.folder, str(child.number)), ignore_errors=True)
        if tell:
            self.send(told, bytes(child.tail[-child.keep :]) if child.keep else b"")


def _sweep() -> None:
    """Ends whatever a child without walls has left behind."""
    for _ in range(1000):
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            left = file.read().split()
        if not left:
            return
        for one in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(one), signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(one), 0)


def _be_child(
    role: str, given: tuple[int, int], child: _Child, folder: str, server: int
) -> NoReturn:
    status = 1
    try:
        kernel.die_with_parent()
        if folder and os.getppid() != server:
            os._exit(status)  # it ended before it could be asked for
        os.setsid()
        os.dup2(child.printed, 1)
        os.dup2(child.printed, 2)
        bell = _place(*given)
        speech = Channel(socket.socket(fileno=_CHANNEL))
        job = speech.receive()
        try:
            root = room.furnish(job, folder)
            room.lock(job["limits"], walls=not folder)
        except (OSError, ValueError) as error:
            speech.send({"up": f"{type(error).__name__}: {error}"})
            os._exit(1)
        speech.send({"up": ""})
        for name in [one for one in sys.modules if one.partition(".")[0] == "planish"]:
            del sys.modules[name]
        sys.modules["__main__"] = types.ModuleType("__main__")
        for name in _DRAWING:  # what was imported before would draw the same numbers in all
            if name in sys.modules:
                sys.modules[name].seed()
        if role == "candidate":
            child.mark.close()
            trying.serve(speech, job, root, bell)
        else:
            judging.serve(speech, root, child.mark)
        status = 0
    finally:
        os._exit(status)


def _place(channel: int, bell: int) -> int:
    """Puts a child's descriptors where they belong, and closes all others; returns its bell."""
    if bell < 0:
        if channel != _CHANNEL:
            os.dup2(channel, _CHANNEL)
        kernel.close_from(_CHANNEL + 1)
        return -1
    aside = fcntl.fcntl(bell, fcntl.F_DUPFD, _BELL + 1)  # the channel may belong where it is
    if channel != _CHANNEL:
        os.dup2(channel, _CHANNEL)
    os.dup2(aside, _BELL)
    kernel.close_from(_BELL + 1)
    return _BELL


def _writer(number: int) -> io.TextIOWrapper:
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", line_buffering=True)


def _settle() -> None:
    """So that the collector does not copy what a child shares with this process."""
    gc.collect()
    gc.freeze()


def main() -> None:
    """Of the script."""
    # the host may have many files open, and a child keeps none but the first few descriptors
    number = int(sys.argv[1])
    control = socket.socket(fileno=os.dup(number))
    os.close(number)
    for name in USUAL.split():
        __import__(name)
    sys.path[:] = [one for one in sys.path if one != os.path.dirname(os.path.abspath(__file__))]
    sys.path += sys.argv[5:]
    sys.stdout, sys.stderr = map(_writer, (1, 2))  # what a child prints to, once they are its own
    if sys.argv[3] != "fork":
        kernel.give_up_most()
    _settle()
    server: Server | None = Server(control, *sys.argv[2:5])
    while server is not None:
        server = server.serve()


if __name__ == "__main__":
    main()
