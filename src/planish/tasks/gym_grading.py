"""Grading by reasoning-gym in a process of its own, which may only compute.

    grader = Grader(Source("countdown", size=1000, seed=0, options={}))
    grader.item(0).question
    grader.score(0, "82 + 20 + 67 - 50")        # (1.0, "")

Some of its graders evaluate what a model wrote as Python. So it runs in another process that may
not write, start anything or reach a network, and that is ended where an answer takes too long.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import select
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from planish.records import BadInput

__all__ = ["Grader", "Item", "Source"]

_SECONDS = 5.0
_SECONDS_TO_START = 120.0
_BYTES = 4 << 30
_DENIED = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "tempfile.", "signal.")
# What an import does, and the time that is looked up by some of the graders.
_ALLOWED = ("os.listdir", "os.scandir", "os.walk", "os.fwalk")


@dataclass(frozen=True)
class Source:
    """One of reasoning-gym's data sets, with its options."""

    name: str
    size: int
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """A question with an answer that is right; None where the data set knows none."""

    question: str
    answer: str | None


class Grader:
    """A data set in another process, which is started when it is needed.

    Args:
        source: the data set.
        seconds: for one answer.
    """

    def __init__(self, source: Source, *, seconds: float = _SECONDS) -> None:
        self.source, self._seconds = source, seconds
        self._items: dict[int, Item] = {}
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def item(self, index: int) -> Item:
        """One of the data set's items, always the same for the same number.

        Raises:
            BadInput: reasoning-gym is not installed, or cannot make it.
        """
        if index not in self._items:
            told = self._ask({"index": index}, _SECONDS_TO_START)
            if told is None or "error" in told:
                why = "it takes too long" if told is None else told["error"]
                raise BadInput(
                    f"item {index} cannot be made: {why}",
                    where=f"gym:{self.source.name}",
                    fix="choose other options",
                )
            self._items[index] = Item(told["question"], told["answer"])
        return self._items[index]

    def score(self, index: int, answer: str) -> tuple[float, str]:
        """(what an answer is worth, why the grader could not tell; it is worth nothing then)."""
        told = self._ask({"index": index, "score": answer}, self._seconds)
        if told is None:
            return 0.0, f"its grader took more than {self._seconds:g} seconds"
        if "error" in told:
            return 0.0, f"its grader failed ({told['error']})"
        return float(told["score"]), ""

    def _ask(self, request: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        """The child's reply; None where it took too long or died, and is started anew next time."""
        with self._lock:
            if self._child is None or self._child.poll() is not None:
                self._child = self._start()
            child = self._child
            told = _exchange(child, request, seconds)
            if told is None:
                _end(child)
                self._child = None
            return told

    def _start(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", "planish.tasks.gym_grading"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        weakref.finalize(self, _end, child)
        told = _exchange(child, asdict(self.source), _SECONDS_TO_START)
        if told is None or "error" in told:
            _end(child)
            why = "its process does not start" if told is None else told["error"]
            raise BadInput(why, where=f"gym:{self.source.name}", fix=(told or {}).get("fix", ""))
        return child


def _exchange(
    child: subprocess.Popen[bytes], request: Mapping[str, Any], seconds: float
) -> dict[str, Any] | None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
    except OSError:
        return None
    # A reply is one line that is written at once.
    if not select.select([child.stdout], [], [], seconds)[0]:
        return None
    line = child.stdout.readline()
    return dict(json.loads(line)) if line.endswith(b"\n") else None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def main() -> None:
    """The other process: a data set, then one question or answer a line."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    sys.stdout = sys.stderr  # what a library prints is no reply

    def reply(**words: Any) -> None:
        out.write(json.dumps(words).encode() + b"\n")

    lines = iter(sys.stdin.readline, "")
    sys.stdin = io.StringIO()  # an answer that asks for input gets none
    try:
        data = _open(Source(**json.loads(next(lines))))
    except BadInput as error:
        reply(error=error.what, fix=error.fix)
        return
    _confine()
    reply(ready=True)
    for line in lines:
        request = json.loads(line)
        try:
            entry = data[request["index"]]
            if "score" in request:
                reply(score=float(data.score_answer(request["score"], entry)))
            else:
                reply(question=entry["question"], answer=entry["answer"])
        except BaseException as error:  # an answer may hold any code, such as exit()
            reply(error=f"{type(error).__name__}: {error}"[:200])


def _open(source: Source) -> Any:
    try:
        factory: Any = importlib.import_module("reasoning_gym.factory")
    except ImportError as error:
        raise BadInput(
            f"reasoning-gym is not installed ({error})",
            where="task",
            fix="run: pip install 'planish[gym]'",
        ) from None
    if source.name not in factory.DATASETS:
        raise BadInput(
            f"reasoning-gym has no data set {source.name!r}",
            where="task",
            fix=f"use one of {', '.join(sorted(factory.DATASETS))}",
        )
    try:
        data = factory.create_dataset(
            source.name, size=source.size, seed=source.seed, **dict(source.options)
        )
        data[0]
    except Exception as error:  # every data set checks its options in its own way
        raise BadInput(
            f"cannot be made ({type(error).__name__}: {error})"[:300],
            where="task",
            fix="check its options",
        ) from None
    return data


def _confine() -> None:
    """From here on nothing is written, started or sent; there is no way back."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    except (ImportError, ValueError, OSError):
        pass  # not on this system

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and _writes(arguments)
        if writes or (event.startswith(_DENIED) and event not in _ALLOWED):
            raise PermissionError(f"an answer may not do {event}")

    sys.addaudithook(check)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool(int(flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


if __name__ == "__main__":
    main()
