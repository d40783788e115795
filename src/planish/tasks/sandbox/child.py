"""A process that runs a job, as the host sees it.

    child = server.spawn(keep=1000)
    child.send({...}, deadline)
    answer = child.receive(deadline)
    used = child.end()

Whatever it sends is taken for bytes from a stranger: counted, parsed, and checked.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from planish.tasks.sandbox.speech import MAX_FRAME

__all__ = ["START_SECONDS", "Child", "Gone", "Late", "SandboxError", "Used"]

START_SECONDS = 60.0
_END_SECONDS = 20.0


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


class _Server(Protocol):
    """What started it."""

    def ask(self, what: str, number: int) -> None: ...

    def hear(self, deadline: float) -> tuple[dict[str, Any], bytes]: ...

    def fileno(self) -> int: ...


class Child:
    """One process that runs one job."""

    def __init__(
        self, server: _Server, number: int, connection: socket.socket, bell: int = -1
    ) -> None:
        self._server = server
        self._number = number
        self._connection = connection
        self._bell = bell
        self._held = bytearray()
        self._used: Used | None = None
        self.sofar = (0.0, 0.0)
        """Seconds of processor time and MiB that it told of itself; true where it is tame."""

    def start(self, job: dict[str, Any]) -> None:
        """Hands it its job, and waits until it is locked up and about to begin.

        Raises:
            SandboxError: it does not come to that.
        """
        deadline = time.monotonic() + START_SECONDS
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

    def rest(self, seconds: float) -> None:
        """Waits until it rings, has ended, or so many seconds are over.

        All that it says by then is read at once: to be woken for every word costs more than to read
        it. That it rings is only a hint, and says nothing about what it has done.
        """
        if self._used is not None:
            return
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        poll.register(self._server, select.POLLIN)
        poll.poll(seconds * 1000)
        with suppress(BlockingIOError):
            os.eventfd_read(self._bell)

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
            self.drop()
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
        if self._bell >= 0:
            os.close(self._bell)
            self._bell = -1

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
            self.drop()

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
