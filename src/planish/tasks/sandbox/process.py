"""A server of the sandbox, as the host sees it.

    with Server("unshare", "candidate") as server:
        child = server.spawn(keep=1000)

Its children are in child.py.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from planish.tasks.sandbox.child import START_SECONDS, Child, SandboxError
from planish.tasks.sandbox.command import Role, command
from planish.tasks.sandbox.contract import Level

__all__ = ["FATAL", "Branch", "Server"]

FATAL = "Fatal Python error"
"""Begins what Python says of itself where it cannot begin, many lines above the last one."""

_END_SECONDS = 20.0

_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""All that is there: sets come in the same order every time, and libraries start no threads."""


class _Link:
    """The socket on which the host speaks to a server.

    Args:
        control: of packets.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._number = 0

    def spawn(self, keep: int, bell: bool = False) -> Child:
        """A new child, which waits for its job.

        Args:
            keep: bytes of printed text.
            bell: it gets one, to ring when it has answered all that it was asked at once.

        Raises:
            SandboxError: the server is gone.
        """
        self._number += 1
        ours, theirs = socket.socketpair()
        order = {"do": "spawn", "number": self._number, "keep": keep}
        rings = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if bell else -1
        try:
            with theirs:
                given = [theirs.fileno(), rings] if bell else [theirs.fileno()]
                socket.send_fds(self._control, [json.dumps(order).encode()], given)
        except OSError as error:
            ours.close()
            if bell:
                os.close(rings)
            raise SandboxError(f"the server is gone: {error}") from None
        return Child(self, self._number, ours, rings)

    def ask(self, what: str, number: int) -> None:
        """Asks for the end of a child ("kill"), or what processor time it has used ("spent").

        Raises:
            SandboxError: the server is gone.
        """
        try:
            self._control.sendall(json.dumps({"do": what, "number": number}).encode())
        except OSError as error:
            raise SandboxError(f"the server is gone: {error}") from None

    def fileno(self) -> int:
        """Of the socket on which the server speaks."""
        return self._control.fileno()

    def hear(self, deadline: float) -> tuple[dict[str, Any], bytes]:
        """The next word of the server: a message, and raw bytes.

        Raises:
            SandboxError: the server is gone, or silent until the deadline.
        """
        try:
            self._control.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._control.recv(1 << 18)
        except OSError as error:
            raise SandboxError(f"the server does not answer: {error}") from None
        if not data:
            raise SandboxError("the server is gone")
        words, _, raw = data.partition(b"\0")
        return dict(json.loads(words)), raw


class Server(_Link):
    """A warm server behind walls of a level.

    Args:
        level: how well it is locked up.
        role: what its children do.

    Raises:
        SandboxError: it does not start; the text says why.
    """

    def __init__(self, level: Level, role: Role) -> None:
        self.level = level
        self.role = role
        self.python = ""
        self._why = ""
        if level == "bwrap" and shutil.which("bwrap") is None:
            raise SandboxError("bwrap is not installed")
        self._folder = tempfile.mkdtemp(prefix="planish-sandbox-") if level == "fork" else ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        control, theirs = _ends()
        super().__init__(control)
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command(level, role, theirs.fileno(), self._folder),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=_ENVIRONMENT,
                    cwd="/",
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            self._control.close()
            self._errors.close()
            self._tidy()
            raise SandboxError(f"cannot be started: {error}") from None
        try:
            told, _ = self.hear(time.monotonic() + START_SECONDS)
            self.python = str(told["ready"])
        except (SandboxError, KeyError):
            self.close()
            raise SandboxError(self._why or "it does not start") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def branch(self, modules: tuple[str, ...]) -> Branch:
        """A server behind the same walls that has imported modules; it ends with this one.

        Raises:
            SandboxError: it does not start.
        """
        control, theirs = _ends()
        order = json.dumps({"do": "branch", "modules": modules}).encode()
        try:
            with theirs:
                socket.send_fds(self._control, [order], [theirs.fileno()])
        except OSError as error:
            control.close()
            raise SandboxError(f"the server is gone: {error}") from None
        return Branch(control)

    def stop(self) -> None:
        """Ends the server with all its children; `close` is still to come."""
        if self.level == "fork":
            # only the server knows what its children have started: it ends all that, then itself
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
            return
        with suppress(ProcessLookupError):
            self._process.kill()

    def close(self) -> None:
        """Ends the server with all its children."""
        self.stop()
        self._control.close()
        try:
            self._process.wait(_END_SECONDS if self.level == "fork" else None)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._tidy()
        if not self._errors.closed:
            self._errors.seek(0)
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            fatal = [line for line in lines if line.startswith(FATAL)]
            self._why = (fatal or lines[-1:] or [""])[0]
            self._errors.close()

    def _tidy(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)


class Branch(_Link):
    """A server that another one has forked.

    Raises:
        SandboxError: it says nothing.
    """

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        try:
            self.hear(time.monotonic() + START_SECONDS)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends it with all its children."""
        self._control.close()


def _ends() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
