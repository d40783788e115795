"""What a candidate's process does: it loads programs and calls them.

    serve(speech, job, root, bell)

A program that is tame may come after others, and with all that it will be called with: these calls
lie in variables of this module, where a program that is tame cannot look. Only the standard library
is used here: the module runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from typing import Any

from planish.tasks.sandbox import candidate, tidy
from planish.tasks.sandbox.speech import Channel

__all__ = ["serve"]

_MUCH = 65_536  # bytes said: less than a socket holds
_MOST = 2_000_000  # characters of answers after which a program is asked no more
_MOST_PRINTED = 65_536  # bytes


class _Bytes(io.BytesIO):
    """To write to alone, like a descriptor: a stream that can be read takes two calls more, and a
    program that prints would go less deep.
    """

    def readable(self) -> bool:
        return False


class _Printed:
    """What one of several programs prints, in place of the standard output."""

    def __init__(self) -> None:
        self.held = _Bytes()
        self.stream = io.TextIOWrapper(self.held, "utf-8", "backslashreplace", line_buffering=True)

    def size(self) -> int:
        """Bytes so far."""
        self.stream.flush()
        return self.held.tell()

    def taken(self, ends: list[int]) -> list[str]:
        """The text up to each of these ends, from the one before it; nothing is kept."""
        data = self.held.getvalue()
        self.held.seek(0)
        self.held.truncate()
        return [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]


def serve(speech: Channel, job: dict[str, Any], root: str, bell: int) -> None:
    """Tries programs until nobody wants more.

    Args:
        speech: with the host; a question may come over it from the process of the tests.
        job: the first one; or `several` of them, with their inputs.
        root: of the project.
        bell: rung when all of several are done; -1: none.

    Raises:
        EOFError: the host wants no more.
    """
    sweep, printed = tidy.Sweep(), _Printed()
    swept: list[float] = []
    while True:
        if "several" in job:
            said = 0
            for place, program in enumerate(job["several"]):
                if place:
                    sweep()
                # called from here, for it to go as deep as one that is tried by itself
                told = _try_at_once(program, root, printed)
                said += _tell(speech, told, bell, said)
            os.eventfd_write(bell, 1)
            message = speech.receive()
        else:
            message = _try_one(speech, job, root, swept)
        # only programs that are tame come to this: another one follows
        job, began = message["next"], time.monotonic()
        sweep()
        swept = [time.monotonic() - began, tidy.used()[0]]


def _try_one(speech: Channel, job: dict[str, Any], root: str, swept: list[float]) -> dict[str, Any]:
    """Tries one program; returns the message that is not for it.

    Args:
        swept: seconds that it had to wait until its process was clean, and the processor time that
            the process had used by then; empty in a new one.
    """
    function, trouble = candidate.prepare(
        job["code"], job["entry_point"], job["module"], root, job["seed"]
    )
    _say(speech, {"prepared": function is not None, **trouble, "swept": swept})
    trace = os.path.join(root, job["module"]) if job["trace"] else None
    if function is not None:
        for arguments in job["inputs"]:
            _say(speech, candidate.call(function, arguments, trace))
    message = speech.receive()
    while "ask" in message and function is not None:
        _say(speech, candidate.call(function, message["ask"], trace))
        message = speech.receive()
    return message


def _say(speech: Channel, answer: dict[str, Any]) -> None:
    _flush()
    answer["used"] = tidy.used()
    speech.send(answer)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):  # the candidate may have put anything there
            stream.flush()


def _tell(speech: Channel, told: dict[str, Any], bell: int, said: int) -> int:
    """Says what one of several programs answered, and tells how much that is."""
    size = len(told["answers"])
    if said + size > _MUCH:  # somebody has to read it while it is said
        os.eventfd_write(bell, 1)
    speech.send(told)
    return size


def _try_at_once(program: dict[str, Any], root: str, printed: _Printed) -> dict[str, Any]:
    """What a program answers to its inputs, up to the first that yields no value; and what it
    printed, first while it was loaded.

    What it answered is out of this process before the next one's code is loaded.
    """
    usual, sys.stdout = sys.stdout, printed.stream
    began, before = time.monotonic(), tidy.used()[0]
    function, _ = candidate.prepare(
        program["code"],
        program["entry_point"],
        program["module"],
        root,
        program["seed"],
        plain=True,
    )
    answers: list[str] = []
    size, ends = 0, [printed.size()]
    if function is not None:
        for arguments in program["inputs"]:
            answer = candidate.call(function, arguments)
            answers.append(json.dumps(answer))
            size += len(answers[-1])
            ends.append(printed.size())
            if answer["status"] != "value" or size > _MOST or ends[-1] > _MOST_PRINTED:
                break
    now, largest = tidy.used()
    sys.stdout = usual
    texts = printed.taken(ends)
    return {
        "prepared": function is not None and ends[-1] <= _MOST_PRINTED,
        "printed": texts if ends[-1] else [],
        "answers": f"[{','.join(answers)}]",
        "seconds": time.monotonic() - began,
        "used": [now - before, largest],
    }
