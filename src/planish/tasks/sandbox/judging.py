"""What a process of tests does: it asks one candidate after the other, or reads what it answered.

    judge({"tests": tests, "support": "", "seed": 0, "inputs": ['{"tuple":[2]}'],
           "answers": '[{"status":"value","value":"4"}]'})          # {"verdict": {...}, ...}

The tests themselves run in `tester.py`, the same in both cases. Only the standard library is used
here: the module runs inside the sandbox.
"""

from __future__ import annotations

import json
import mmap
import socket
import sys
from typing import Any

from planish.tasks.sandbox import tester, tidy
from planish.tasks.sandbox.speech import Channel, Line

__all__ = ["judge", "serve"]


def serve(speech: Channel, root: str, mark: mmap.mmap) -> None:
    """Runs tests until nobody wants more; on other candidates than the first where they are tame.

    Args:
        speech: with the host.
        root: of the project, the first place that imports look in.
        mark: see `speech.Line`.

    Raises:
        EOFError: the host wants no more.
    """
    sys.path.insert(0, root)
    while True:
        order, other = speech.receive_socket()
        if "several" in order:
            verdicts = []
            for trial in order["several"]:
                verdicts.append(judge(trial))  # in no list's own frame: tests go as deep as alone
                tidy.forget()
            told: dict[str, Any] = {"verdicts": verdicts}
        elif other is None:
            raise EOFError
        else:
            told = _ask(order, other, mark)
        speech.send({**told, "own": tidy.used()})
        tidy.forget()


def _ask(order: dict[str, Any], other: socket.socket, mark: mmap.mmap) -> dict[str, Any]:
    """The verdict on a candidate that answers over a socket."""
    with other:
        line = Line(Channel(other), mark, order["seconds"], order["call_seconds"])
        verdict = tester.check(order["tests"], order["support"], order["seed"], line.ask)
    return {"verdict": verdict, "fate": line.fate, "used": line.used}


def judge(trial: dict[str, Any]) -> dict[str, Any]:
    """The verdict; how many calls it took, and whether it hangs on other answers than those that
    were given.

    Args:
        trial: tests, support and seed; inputs, the calls that the tests are sure to make; answers.
    """
    given = _Given(trial["inputs"], trial["answers"])
    verdict = tester.check(trial["tests"], trial["support"], trial["seed"], given.ask)
    return {"verdict": verdict, "asked": given.asked, "astray": given.astray}


class _Given:
    """Answers in place of a candidate.

    Args:
        inputs: arguments of the calls that it was to answer.
        answers: text of what it said, which may be anything.
    """

    def __init__(self, inputs: list[str], answers: str) -> None:
        self.inputs = inputs
        self.asked = 0
        self.astray = False
        """Whether it was asked something else, or has said what is no answer."""
        try:
            said = json.loads(answers)
        except (ValueError, RecursionError, MemoryError):
            said = None
        self.answers: list[Any] = said if type(said) is list else []

    def ask(self, arguments: str) -> dict[str, Any]:
        """The answer to arguments, as `tester.check` asks."""
        place = self.asked
        self.asked += 1
        if place < min(len(self.inputs), len(self.answers)) and self.inputs[place] == arguments:
            answer = self.answers[place]
            if type(answer) is dict:
                return answer
        self.astray = True
        return {"status": "astray"}
