"""A server of the sandbox, and a child of it, as the host sees them.

    with Server("unshare", "candidate") as server:
        child = server.spawn(keep=1000)
        child.send({...}, deadline)
        answer = child.receive(deadline)
        used = child.end()

Whatever a child sends is taken for bytes from a stranger: counted, parsed, and checked.
"""

from __future__ import annotations

import json
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from planish.tasks.sandbox.command import Role, command
from planish.tasks.sandbox.contract import Level
from planish.tasks.sandbox.speech import MAX_FRAME

__all__ = ["FATAL", "Child", "Gone", "Late", "SandboxError", "Server", "Used"]

FATAL = "Fatal Python error"
"""Begins what Python says of itself where it cannot begin, many lines above the last one."""

_START_SECONDS = 60.0
_END_SECONDS = 20.0

_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""All that is there: sets come in the same order every time, and libraries start no threads."""


class SandboxError(RuntimeError):
    """The sandbox itself has failed."""


class Late(Exception):
    """No answer in time."""


class Gone(Exception):
    """No answer, and none will come: the child has ended, or what it sends is no message."""


@dataclass(frozen=True)
class Used:
    """How a child ended, and what it took.

    Args:
        status: exit status, or the negative number of a signal.
        by_itself: before it was told to.
        asked: of a tester, whether its last tests have called the candidate.
        tail: the last of what it printed.
    """

    status: int
    by_itself: bool
    cpu_s: float
    max_rss_mb: float
    tail: str
    asked: bool = False


class Server:
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
        self._number = 0
        if level == "bwrap" and shutil.which("bwrap") is None:
            raise SandboxError("bwrap is not installed")
        self._folder = tempfile.mkdtemp(prefix="planish-sandbox-") if level == "fork" else ""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
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
            told, _ = self.hear(time.monotonic() + _START_SECONDS)
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

    def spawn(self, keep: int) -> Child:
        """A new child, which waits for its job.

        Args:
            keep: bytes of printed text.

        Raises:
            SandboxError: the server is gone.
        """
        self._number += 1
        ours, theirs = socket.socketpair()
        order = {"do": "spawn", "number": self._number, "keep": keep}
        try:
            with theirs:
                socket.send_fds(self._control, [json.dumps(order).encode()], [theirs.fileno()])
        except OSError as error:
            ours.close()
            raise SandboxError(f"the server is gone: {error}") from None
        return Child(self, self._number, ours)

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


class Child:
    """One process that runs one job."""

    def __init__(self, server: Server, number: int, connection: socket.socket) -> None:
        self._server = server
        self._number = number
        self._connection = connection
        self._held = bytearray()
        self._used: Used | None = None
        self.sofar = (0.0, 0.0)
        """Seconds of processor time and MiB that it told of itself; true where it is tame."""

    def start(self, job: dict[str, Any]) -> None:
        """Hands it its job, and waits until it is locked up and about to begin.

        Raises:
            SandboxError: it does not come to that.
        """
        deadline = time.monotonic() + _START_SECONDS
        try:
            self.send(job, deadline)
            trouble = self.receive(deadline).get("up")
        except (Late, Gone) as error:
            trouble = f"a process does not begin: {error}"
        if trouble:
            raise SandboxError(trouble)

    def send(self, message: dict[str, Any], deadline: float) -> None:
        """Sends a message.

        Raises:
            Late: it does not take it in time; Gone: it has ended.
        """
        data = json.dumps(message).encode("ascii")
        try:
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            self._connection.sendall(struct.pack(">I", len(data)) + data)
        except TimeoutError:
            raise Late from None
        except OSError:
            raise Gone("it ended") from None

    def lend(self, other: Child, message: dict[str, Any]) -> None:
        """Sends a message, and with it this end of the connection to another child.

        Raises:
            Gone: it has ended.
        """
        data = json.dumps(message).encode("ascii")
        data = struct.pack(">I", len(data)) + data
        try:
            self._connection.settimeout(_END_SECONDS)
            sent = socket.send_fds(self._connection, [data], [other._connection.fileno()])
            self._connection.sendall(memoryview(data)[sent:])
        except OSError:
            raise Gone("it ended") from None

    def receive(self, deadline: float) -> dict[str, Any]:
        """Waits for a message.

        Raises:
            Late: none until the deadline, in seconds of `time.monotonic`.
            Gone: none will come.
            SandboxError: the server is gone.
        """
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if self._used is None:
            poll.register(self._server, select.POLLIN)
        while True:
            message = self._parse()
            if message is not None:
                return message
            left = deadline - time.monotonic()
            ready = [one for one, _ in poll.poll(max(left, 0) * 1000)]
            if self._connection.fileno() in ready:
                if not self._read():
                    raise Gone("it ended")
            elif ready:
                self._note(deadline)
                poll.unregister(self._server)
            elif self._used is not None:
                raise Gone("it ended")
            elif left <= 0:
                raise Late
            if self._used is not None:
                deadline = 0.0  # what it said before its end is there already

    def end(self) -> Used:
        """Kills it with all that it started.

        Raises:
            SandboxError: the server is gone, or cannot end it.
        """
        try:
            if self._used is None and not self._waits(0.0):
                self._server.ask("kill", self._number)
            while self._used is None:
                self._note(time.monotonic() + _END_SECONDS, by_itself=False)
        finally:
            self._connection.close()
        return self._used

    def spent(self) -> float:
        """Seconds of processor time that it has used so far, with what it started once it ended.

        Raises:
            SandboxError: the server is gone.
        """
        if self._used is None:
            self._server.ask("spent", self._number)
        while self._used is None:
            told = self._note(time.monotonic() + _END_SECONDS)
            if told.get("spent") == self._number:
                return float(told["seconds"])
        return self._used.cpu_s

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends by itself within so many seconds; it is waited for."""
        return self._used is not None or self._waits(seconds)

    def drop(self) -> None:
        """Forgets it; its server is about to be closed."""
        self._connection.close()

    def fate(self) -> Used:
        """How it ended, once nothing more came from it.

        Raises:
            SandboxError: the server is gone, or cannot end it.
        """
        try:
            # one that only closed its connection lives on
            if self._used is None and self._waits(0.5):
                self._note(time.monotonic() + _END_SECONDS)
            return self.end()
        finally:
            self._connection.close()

    def _waits(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _note(self, deadline: float, by_itself: bool = True) -> dict[str, Any]:
        told, raw = self._server.hear(deadline)
        if told.get("ended") == self._number:
            self._used = Used(
                status=told["status"],
                by_itself=by_itself,
                cpu_s=told["cpu_s"],
                max_rss_mb=told["max_rss_mb"],
                tail=raw.decode("utf-8", "replace"),
                asked=told["asked"],
            )
        return told

    def _read(self) -> bool:
        try:
            part = self._connection.recv(1 << 18, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._held += part
        return bool(part)

    def _parse(self) -> dict[str, Any] | None:
        if len(self._held) < 4:
            return None
        (length,) = struct.unpack(">I", self._held[:4])
        if length > MAX_FRAME:
            raise Gone("it sent what is no message")
        if len(self._held) < 4 + length:
            return None
        data = bytes(self._held[4 : 4 + length])
        del self._held[: 4 + length]
        try:
            message = json.loads(data)
        except (ValueError, RecursionError, MemoryError):
            raise Gone("it sent what is no message") from None
        if type(message) is not dict:
            raise Gone("it sent what is no message")
        return message
