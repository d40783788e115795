"""Whether two mathematical answers are the same, told by math-verify and never hanging on it.

    >>> same_answer(r"\\frac{1}{2}", "So it is 0.5.").score
    1.0

A reply is hostile text: `9^{9^{9^9}}` takes for ever, and math-verify's own time limit needs
signals, which only the main thread of a process gets. So it runs in a child process with bounded
memory; one that does not answer in time is ended, and the next question starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from fractions import Fraction

from planish.records import Verdict

__all__ = ["can_parse", "gave_up", "plain_number", "same_answer"]

TAIL_CHARS = 4000
"""How much of a reply's end is read: the answer stands there, and patterns are slow on more."""

_SECONDS = 5  # for one step of math-verify, by its own signals
_PATIENCE = 20.0  # until the child is ended: it may hang where no signal reaches it
_START = 120.0  # the first answer of a child waits for its imports, on a busy machine too
_MEMORY = 4 << 30
_TOO_LONG = "the answer takes too much time or memory to check"
_FAILED = "math-verify failed"

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_ANSWER_LINE = re.compile(r"####\s*([^\n]*)\s*\Z")


def plain_number(text: str) -> Fraction | None:
    """The value of an integer or a decimal, thousands' commas allowed; None for anything else."""
    text = text.strip().removeprefix("$").strip()
    if len(text) > 1000 or not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.replace(",", ""))


def can_parse(answer: str) -> bool:
    """Whether math-verify reads it as a number or an expression."""
    if plain_number(answer) is not None:
        return True
    return bool(_CHILD.ask({"target": answer}).get("parsed"))


def gave_up(verdict: Verdict) -> bool:
    """Whether the check itself failed, so that the verdict says nothing about the reply."""
    return verdict.score is None and verdict.why.startswith((_TOO_LONG, _FAILED))


def same_answer(target: str, reply: str, *, by: str = "") -> Verdict:
    """Compares the last answer in a reply with the target.

    Returns:
        1.0 or 0.0, and None where no answer is found or the check takes too long.
    """
    if not reply.strip():
        return Verdict(score=None, why="the reply is empty", by=by)
    tail = reply[-TAIL_CHARS:]
    quick = _by_value(target, tail)
    if quick is not None:
        right, extracted = quick
    else:
        answer = _CHILD.ask({"target": target, "reply": tail})
        if "right" not in answer:
            return Verdict(score=None, why=str(answer["why"]), by=by)
        right, extracted = bool(answer["right"]), str(answer["extracted"])
    why = "" if right else f"the answer is {target}"
    return Verdict(score=float(right), extracted=extracted, why=why, by=by)


def _by_value(target: str, reply: str) -> tuple[bool, str] | None:
    """Without math-verify where nothing is in doubt: two plain numbers, equal or both whole."""
    boxed, line = _BOXED.findall(reply), _ANSWER_LINE.search(reply)
    if reply.count("\\boxed") == len(boxed) == 1:
        found = boxed[0]
    elif "\\boxed" in reply:
        return None
    else:
        found = line.group(1) if line else reply.strip().removesuffix(".")
    wanted, value = plain_number(target), plain_number(found)
    if wanted is None or value is None:
        return None
    if wanted == value or wanted.denominator == value.denominator == 1:
        return wanted == value, found.strip()
    return None  # math-verify rounds


class _Child:
    """The process that math-verify lives in; threads take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._owner = 0

    def ask(self, question: dict[str, str]) -> dict[str, object]:
        """The child's answer, or {"why": ...} where it gave none."""
        with self._lock:
            fresh = self._start()
            process = self._process
            assert process is not None
            assert process.stdin is not None
            assert process.stdout is not None
            # Killing the child ends the read below; no other way works on every system.
            patience = _PATIENCE + (_START if fresh else 0)
            alarm = threading.Timer(patience, process.kill)
            alarm.daemon = True
            alarm.start()
            try:
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except OSError:
                line = ""
            finally:
                alarm.cancel()
            if not line:
                self._stop()
                return {"why": _TOO_LONG}
            answer: dict[str, object] = json.loads(line)
            return answer

    def _start(self) -> bool:
        """Starts a child unless there is one; after a fork the parent's is not ours."""
        if self._process is not None and self._owner == os.getpid():
            return False
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "planish.tasks.mathematics"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the parent
        )
        return True

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()

    def close(self) -> None:
        """Ends the child."""
        with self._lock:
            self._stop()


_CHILD = _Child()
atexit.register(_CHILD.close)


# What follows runs in the child.


def _serve() -> None:
    """Answers one question a line until the parent closes the pipe."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # not on every system

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        question = json.loads(line)
        try:
            # What a library prints is no answer.
            with contextlib.redirect_stdout(sys.stderr):
                answer = _answer(question["target"], question.get("reply"))
        except Exception as error:
            answer = {"why": f"{_FAILED} ({type(error).__name__})"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(target: str, reply: str | None) -> dict[str, object]:
    from math_verify import parse, verify
    from math_verify.errors import TimeoutException

    try:
        gold = parse(_marked(target), parsing_timeout=_SECONDS)
        if reply is None:
            return {"parsed": any(not isinstance(part, str) for part in gold)}
        found = parse(reply, parsing_timeout=_SECONDS, raise_on_error=True)
        if not found:
            return {"why": "no number or expression in the reply"}
        right = verify(gold, found, timeout_seconds=_SECONDS, raise_on_error=True)
    except TimeoutException:
        return {"why": _TOO_LONG}
    # What was found comes as an expression, then as text; writing an expression may never end.
    extracted = found[-1] if isinstance(found[-1], str) else ""
    return {"right": bool(right), "extracted": extracted}


def _marked(target: str) -> str:
    """A target as math-verify finds it whole: all but plain numbers stand in dollars."""
    if plain_number(target) is not None or any(
        mark in target for mark in ("$", "\\boxed", "\\(", "\\[")
    ):
        return target
    return f"${target}$"


if __name__ == "__main__":
    _serve()
