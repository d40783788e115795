"""How the processes of a sandbox speak: messages of any length over a socket.

    channel.send({"ask": "..."})
    answer = channel.receive(within=2.0)

A message is its length in four bytes, then JSON. Only the standard library is used here: the module
also runs inside the sandbox.
"""

from __future__ import annotations

import json
import mmap
import select
import socket
import struct
import time
from contextlib import suppress
from typing import Any

__all__ = ["MAX_FRAME", "MAX_LINES", "Channel", "Line", "lines", "used", "whole"]

MAX_FRAME = 32 << 20
"""Bytes of one message."""

_PART = 1 << 16

MAX_LINES = 100_000
"""Lines that one call is said to have run."""


class Channel:
    """One end of a socket between two processes.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._waits: float | None = connection.gettimeout()
        self._held = bytearray()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def send(self, message: dict[str, Any], within: float | None = None) -> int:
        """Sends all of it, and tells how many bytes that are.

        Raises:
            TimeoutError: it is not taken within so many seconds; OSError: the other side is gone.
        """
        data = json.dumps(message).encode("ascii")
        data = struct.pack(">I", len(data)) + data
        try:  # a short message is mostly taken at once, and nothing is to be waited for
            sent = self.connection.send(data, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._wait(within)
            self.connection.sendall(memoryview(data)[sent:])
        return len(data)

    def receive(self, within: float | None = None) -> dict[str, Any]:
        """Waits for one message.

        Raises:
            TimeoutError: none within so many seconds.
            EOFError, OSError: the other side is gone; ValueError, RecursionError, MemoryError: what
                came is no message.
        """
        return self._message(None if within is None else time.monotonic() + within)

    def receive_socket(self) -> tuple[dict[str, Any], socket.socket | None]:
        """Waits for one message, and a socket that came along with it.

        Raises:
            EOFError, OSError: the other side is gone.
        """
        self._wait(None)
        data, descriptors, _, _ = socket.recv_fds(self.connection, _PART, 1)
        self._held += data
        return self._message(None), socket.socket(fileno=descriptors[0]) if descriptors else None

    def _message(self, until: float | None) -> dict[str, Any]:
        held = self._held
        end = 4
        while len(held) < end or (end := _end(held)) > len(held):
            part = self._part(until)
            if not part:
                raise EOFError
            held += part
        message = json.loads(held[4:end])
        del held[:end]
        if type(message) is not dict:
            raise ValueError("no message")
        return message

    def _wait(self, within: float | None) -> None:
        if within != self._waits:
            self.connection.settimeout(within)
            self._waits = within

    def _part(self, until: float | None) -> bytes:
        if until is None:
            self._wait(None)
            return self.connection.recv(_PART)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if self._poll.poll(left * 1000):
                with suppress(BlockingIOError):
                    return self.connection.recv(_PART, socket.MSG_DONTWAIT)


def _end(held: bytearray) -> int:
    end = 4 + int.from_bytes(held[:4], "big")
    if end > 4 + MAX_FRAME:
        raise ValueError("a message that is too long")
    return end


class Line:
    """The candidate, as the process of the tests reaches it.

    Args:
        candidate: end of the channel whose other end the candidate has.
        mark: its first byte is 1 from the first question on; whoever shares it sees so, and is not
            woken for it.
        seconds: that all answers may take together.
        call_seconds: that each may take; None: whatever is left.
    """

    def __init__(
        self,
        candidate: Channel,
        mark: mmap.mmap | bytearray,
        seconds: float,
        call_seconds: float | None,
    ) -> None:
        self.candidate = candidate
        self.mark = mark
        self.mark[0] = 0
        self.left = seconds
        self.call_seconds = call_seconds
        self.fate = ""
        """ "timeout" or "ended", once there is no answer."""
        self.used: tuple[float, float] | None = None
        """Seconds of processor time and MiB that the candidate last told of itself."""

    def ask(self, arguments: str) -> dict[str, Any]:
        """The candidate's answer to arguments, as text; what it holds is not checked here."""
        self.mark[0] = 1
        if self.fate:
            return {"status": self.fate}
        allowed = self.left if self.call_seconds is None else min(self.left, self.call_seconds)
        started = time.monotonic()
        try:
            self.candidate.send({"ask": arguments}, max(allowed, 0.001))
            taken = time.monotonic() - started
            answer = self.candidate.receive(max(allowed - taken, 0.001))
            self.used = used(answer.pop("used", None))
        except TimeoutError:
            self.fate = "timeout"
            answer = {"status": "timeout"}
        except (EOFError, OSError, ValueError, RecursionError, MemoryError):
            self.fate = "ended"
            answer = {"status": "ended", "message": "the process ended"}
        self.left -= time.monotonic() - started
        return answer


def used(value: Any) -> tuple[float, float] | None:
    """Seconds and MiB as a process told them; None where they are no such thing."""
    if type(value) is not list or len(value) != 2:
        return None
    if not all(type(one) in (int, float) and 0 <= one < 1 << 31 for one in value):
        return None
    return float(value[0]), float(value[1])


def whole(value: Any) -> int | None:
    """A line, or any other small number; None where it is none."""
    return value if type(value) is int and 0 <= value < 1 << 31 else None


def lines(value: Any) -> list[int]:
    """The lines that a call ran, as a process told them, without what cannot be one."""
    if type(value) is not list:
        return []
    return [one for one in value[:MAX_LINES] if whole(one) is not None]
