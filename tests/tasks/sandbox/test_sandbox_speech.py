"""Messages come whole and in order, however the socket cuts them."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planish.tasks.sandbox.speech import MAX_FRAME, Channel, Line

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def framed(message: object) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack(">I", len(data)) + data


messages = st.lists(
    st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=3), min_size=1, max_size=4
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages, st.lists(st.integers(1, 40), max_size=6), st.booleans())
def test_messages_come_as_they_were_sent(
    ends: Ends, sent: list[dict[str, str]], cuts: list[int], timed: bool
) -> None:
    one, other = ends
    channel = Channel(other)
    data = b"".join(map(framed, sent))
    got = []
    for cut in [*cuts, len(data)]:
        part, data = data[:cut], data[cut:]
        one.sendall(part)
        if not data:
            break
    for _ in sent:
        got.append(channel.receive(5.0 if timed else None))
    assert got == sent


def test_a_message_that_comes_in_parts_is_waited_for(ends: Ends) -> None:
    one, other = ends
    data = framed({"a": "b" * 100})

    def slowly() -> None:
        for place in range(0, len(data), 40):
            time.sleep(0.02)
            one.sendall(data[place : place + 40])

    thread = threading.Thread(target=slowly)
    thread.start()
    assert Channel(other).receive(5.0) == {"a": "b" * 100}
    thread.join()


def test_a_large_message_is_sent_whole_to_one_that_reads_it_late(ends: Ends) -> None:
    one, other = ends
    large = {"a": "x" * 3_000_000}
    got = []

    def read() -> None:
        time.sleep(0.05)
        got.append(Channel(other).receive(10.0))

    thread = threading.Thread(target=read)
    thread.start()
    Channel(one).send(large, 10.0)
    thread.join()
    assert got == [large]


def test_nobody_waits_longer_than_was_said(ends: Ends) -> None:
    one, other = ends
    with pytest.raises(TimeoutError):
        Channel(other).receive(0.02)
    one.sendall(framed({"a": 1})[:-1])
    with pytest.raises(TimeoutError):
        Channel(other).receive(0.02)
    with pytest.raises(TimeoutError):
        Channel(other).send({"a": "x" * 3_000_000}, 0.02)


@pytest.mark.parametrize("data", [framed([1]), framed("a"), struct.pack(">I", 1) + b"{"])
def test_what_is_no_message_is_refused(ends: Ends, data: bytes) -> None:
    ends[0].sendall(data)
    with pytest.raises(ValueError, match=r"."):
        Channel(ends[1]).receive(1.0)


def test_a_message_that_is_too_long_is_refused_before_it_came(ends: Ends) -> None:
    ends[0].sendall(struct.pack(">I", MAX_FRAME + 1))
    with pytest.raises(ValueError, match="too long"):
        Channel(ends[1]).receive(1.0)


def test_an_end_is_told(ends: Ends) -> None:
    ends[0].sendall(framed({"a": 1})[:-1])
    ends[0].close()
    with pytest.raises(EOFError):
        Channel(ends[1]).receive(1.0)


def test_a_socket_comes_along_with_a_long_message(ends: Ends) -> None:
    one, other = ends
    message = {"tests": "x" * 150_000}
    data = framed(message)

    def send() -> None:
        done = socket.send_fds(one, [data], [ends[0].fileno()])
        one.sendall(data[done:])

    thread = threading.Thread(target=send)
    thread.start()
    got, came = Channel(other).receive_socket()
    thread.join()
    assert got == message
    assert came is not None
    came.close()


def test_the_mark_tells_of_the_first_question_of_each_line(ends: Ends) -> None:
    mark = bytearray(b"\x01")
    line = Line(Channel(ends[1]), mark, 0.01, None)
    assert mark == b"\x00"
    assert line.ask("{}") == {"status": "timeout"}
    assert mark == b"\x01"
    assert (line.fate, line.ask("{}")) == ("timeout", {"status": "timeout"})
