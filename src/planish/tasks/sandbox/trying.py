"""What a candidate's process does: it loads programs and calls them.

    serve(speech, job, root, bell)

A program that is tame may come after others, and with all that it will be called with: these calls
lie in variables of this module, where a program that is tame cannot look. Only the standard library
is used here: the module runs inside the sandbox.
"""

from __future__ import annotations

import contextlib
import fcntl
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
_MOST_PRINTED = 65_536  # characters


class _Printed:
    """What several programs print, one after the other, to a pipe in place of the server's: the
    stream itself is the same, so that they need as much memory, and go as deep, as by themselves.
    """

    def __init__(self) -> None:
        self.output, printed = os.pipe()
        for one in (self.output, printed):
            os.set_blocking(one, False)  # what finds no room is lost
        os.dup2(printed, 1)
        os.close(printed)
        self.room = fcntl.fcntl(self.output, fcntl.F_GETPIPE_SZ)

    def taken(self) -> tuple[str, bool]:
        """The text since the last one, and whether some of it may be lost."""
        sys.stdout.flush()
        try:
            data = os.read(self.output, self.room)
        except BlockingIOError:
            return "", False
        return data.decode("utf-8", "replace"), 2 * len(data) >= self.room  # pages may be half full


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
    sweep = tidy.Sweep()
    swept: list[float] = []
    printed: _Printed | None = None
    while True:
        if "several" in job:
            printed, said = printed or _Printed(), 0
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
    prints = "print" in program["code"] or not program["code"].isascii()  # or spelled oddly
    if prints:
        printed.taken()
    usual, sys.stderr = sys.stderr, io.StringIO()
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
    text, much = printed.taken() if prints else ("", False)
    texts, size, long = [text], 0, len(text)
    if function is not None:
        for arguments in program["inputs"]:
            answer = candidate.call(function, arguments)
            answers.append(json.dumps(answer))
            size += len(answers[-1])
            if prints:
                text, lost = printed.taken()
                texts.append(text)
                long += len(text)
                much = much or lost or long > _MOST_PRINTED
            if answer["status"] != "value" or size > _MOST or much:
                break
    now, largest = tidy.used()
    warned, sys.stderr = sys.stderr.tell() > 0, usual
    return {
        # what is warned of is told of some programs, and by themselves
        "prepared": function is not None and not much and not warned,
        "printed": texts if long else [],
        "answers": f"[{','.join(answers)}]",
        "seconds": time.monotonic() - began,
        "used": [now - before, largest],
    }
