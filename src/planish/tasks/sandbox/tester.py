"""Runs tests, inside a process that never holds an object of the candidate's.

    check("def check(candidate):\\n    assert candidate(2) == 4\\n", "", seed=0, ask=ask)

The tests' `candidate` is a function that sends its arguments away as text (`ask`) and returns the
plain value that comes back, raises the built-in exception that came of it, or ends the tests where
the candidate came to no answer. Only the standard library is used here.
"""

from __future__ import annotations

import ast
import builtins
import functools
import random
import traceback
from collections.abc import Callable
from types import CodeType
from typing import Any

from planish.tasks.sandbox.speech import lines, whole
from planish.tasks.sandbox.values import MAX_CHARS, UnknownType, dumps, loads, same

__all__ = ["MAX_CALLS", "check"]

MAX_CALLS = 1000
"""Calls that are told; the first ones and the last."""

_MAX_TOLD = 2_000_000  # characters of all calls that are told
_MAX_WHY = 400
_MAX_TEXT = 500  # of an exception, as its own process shortens it
_FILE = "<tests>"

Ask = Callable[[str], dict[str, Any]]


class _Stop(BaseException):
    """The candidate came to no answer; tests that catch everything do not go on with it."""


def check(tests: str, support: str, seed: int, ask: Ask) -> dict[str, Any]:
    """Runs `support`, then `tests`, then the `check` that they define.

    Args:
        tests: source that defines `check(candidate)`.
        support: source whose names the tests may use.
        seed: of `random`, set again before `check`.
        ask: takes canonical text of arguments, as `candidate.call` does, and returns its answer;
            or one with the status timeout, oom, or any other where the candidate's process ended.

    Returns:
        `status` pass, wrong_value, exception, timeout, oom, harness, or sandbox_error where `ask`
        failed; `exception`, `message`, `line` (of the candidate's module), `why` (what the tests
        found, with their line), and `per_input`, the calls as `CallResult` has them.
    """
    proxy = _Proxy(ask)
    result = _run(tests, support, seed, proxy)
    told = {"exception": None, "message": "", "line": None, "why": "", **result}
    return {**told, "per_input": proxy.told()}


def _run(tests: str, support: str, seed: int, proxy: _Proxy) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "tests", "__file__": _FILE}
    for what, source, file in (("support", support, "<support>"), ("tests", tests, _FILE)):
        if not source:
            continue
        random.seed(seed)
        try:
            exec(_compiled(source, file), names)
        except BaseException as error:
            return _fault(f"the {what} cannot be loaded", error, source, file)
    if not callable(names.get("check")):
        return {"status": "harness", "why": "the tests define no function check(candidate)"}
    random.seed(seed)
    try:
        names["check"](proxy.call)
    except BaseException as error:
        return proxy.ended or _judge(error, proxy, tests)
    return proxy.ended or {"status": "pass"}


@functools.lru_cache(maxsize=8)
def _compiled(source: str, file: str) -> CodeType:
    return compile(source, file, "exec", dont_inherit=True)


def _judge(error: BaseException, proxy: _Proxy, tests: str) -> dict[str, Any]:
    if error is proxy.raised:
        return {"status": "exception", "why": _where(error, tests, _FILE), **proxy.failure}
    if not proxy.calls:
        return _fault("the tests failed before they called the candidate", error, tests, _FILE)
    # no value of the candidate's makes a name or a module go missing
    if _is_missing(error) or isinstance(error, ImportError):
        return _fault("the tests failed by themselves", error, tests, _FILE)
    why = _where(error, tests, _FILE)
    if not isinstance(error, AssertionError):
        why = f"{why} ({_told(error)})"
    return {
        "status": "wrong_value",
        "exception": type(error).__name__,
        "message": _words(error),
        "why": why,
    }


def _is_missing(error: BaseException) -> bool:
    """Whether a name is not there at all; one that was only not bound yet may be so because of an
    empty value, say.
    """
    if not isinstance(error, NameError) or isinstance(error, UnboundLocalError):
        return False
    return "free variable" not in _words(error)


def _fault(what: str, error: BaseException, source: str, file: str) -> dict[str, Any]:
    where = _where(error, source, file)
    return {
        "status": "harness",
        "exception": type(error).__name__,
        "message": _words(error),
        "why": _short(f"{what}: {_told(error)}" + (f", {where}" if where else "")),
    }


def _told(error: BaseException) -> str:
    return _short(f"{type(error).__name__}: {_words(error)}")


def _words(error: BaseException) -> str:
    try:
        return _short(str(error))
    except Exception:  # such as of a number that is too long to be written
        return ""


def _short(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")[:_MAX_WHY]


def _where(error: BaseException, source: str, file: str) -> str:
    """The line of the source and the statement there, innermost first."""
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == file:
            line = number
    if line is None:
        return ""
    return _short(f"line {line}: {' '.join(_statement(source, line).split())}")


@functools.lru_cache(maxsize=32)  # what fails mostly does so where the one before did
def _statement(source: str, line: int) -> str:
    around = [node for node in _statements(source) if node.lineno <= line <= (node.end_lineno or 0)]
    rows = source.splitlines()
    if not around:
        return rows[line - 1] if line <= len(rows) else ""
    inner = min(around, key=lambda node: (node.end_lineno or 0) - node.lineno)
    if hasattr(inner, "body"):  # of a loop or a condition, its head
        return rows[line - 1]
    return ast.get_source_segment(source, inner) or rows[line - 1]


@functools.lru_cache(maxsize=2)
def _statements(source: str) -> list[ast.stmt]:
    """All statements, outer ones first."""
    try:
        todo: list[Any] = list(reversed(ast.parse(source).body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    while todo:
        node = todo.pop()
        if isinstance(node, ast.stmt):
            found.append(node)
        for name in ("finalbody", "orelse", "cases", "handlers", "body"):
            todo += reversed(getattr(node, name, ()))
    return found


class _Proxy:
    """Stands for the candidate.

    Attributes:
        ended: the result, once the candidate came to no answer.
        raised: the last exception that stands for one of the candidate's; failure: what it was.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.calls = 0
        self.ended: dict[str, Any] | None = None
        self.raised: BaseException | None = None
        self.failure: dict[str, Any] = {}
        self._first: list[dict[str, Any]] = []
        self._last: dict[str, Any] | None = None
        self._size = 0

    def told(self) -> list[dict[str, Any]]:
        """The calls: the first ones, and the last."""
        return self._first + ([self._last] if self._last else [])

    def call(self, *positional: Any, **named: Any) -> Any:
        """What the tests call."""
        if self.ended:
            raise _Stop
        try:
            arguments = dumps([positional, named] if named else positional)
        except UnknownType as error:
            # tests that have values of the candidate's may hand it what it made too deep
            status = "wrong_value" if self.calls else "harness"
            raise self._end(status, {}, f"the tests pass {error}") from None
        self.calls += 1
        try:
            answer = _read(self.ask(arguments))
        except Exception as error:
            raise self._end("sandbox_error", {}, f"no answer: {_told(error)}") from None
        status = answer["status"]
        value = None
        if status == "value":
            try:
                value = loads(answer["value"])
                answer["value"] = dumps(value)
            except (ValueError, TypeError):
                answer.update(status="unknown_type", value=None)
                answer["message"] = "an answer that cannot be read"
        self._keep({"arguments": arguments, **answer})
        status = answer["status"]
        if answer["changed"]:
            _apply_all(positional, named, answer["changed"])
        if status == "value":
            return value
        if status == "exception" and answer["kinds"] is not None:
            self.failure = {key: answer[key] for key in ("exception", "message", "line")}
            self.raised = _exception(answer)
            raise self.raised
        raise self._end(*_ending(answer))

    def _end(self, status: str, answer: dict[str, Any], why: str) -> _Stop:
        self.ended = {
            "status": status,
            "exception": answer.get("exception"),
            "message": answer.get("message", ""),
            "line": answer.get("line"),
            "why": _short(why),
        }
        return _Stop()

    def _keep(self, answer: dict[str, Any]) -> None:
        kept = {key: one for key, one in answer.items() if key not in _PRIVATE}
        size = len(kept["arguments"]) + len(kept["value"] or "") + 8 * len(kept["lines"])
        size += len(kept["exception"] or "") + len(kept["message"])
        if len(self._first) < MAX_CALLS - 1 and self._size + size <= _MAX_TOLD:
            self._first.append(kept)
            self._size += size
            return
        if size > MAX_CHARS:  # one message must hold all that is told, escaped
            kept.update(status="unknown_type", value=None, message="a value too large to be told")
        self._last = kept


_PRIVATE = ("changed", "kinds", "raised")


def _ending(answer: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    status = answer["status"]
    if status in ("timeout", "oom"):
        return status, answer, ""
    if status == "unknown_type":
        return "wrong_value", answer, f"the candidate returned {answer['message']}"
    return "exception", answer, "the candidate's process ended"


def _read(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with the types that it should have: it comes from the candidate's process."""
    status = answer.get("status")
    kinds = answer.get("kinds")
    known = ("value", "exception", "timeout", "oom", "unknown_type")
    if status not in known:
        kinds = None
    return {
        "status": status if status in known else "exception",
        "value": _text(answer.get("value")),
        "exception": _text(answer.get("exception"), _MAX_TEXT),
        "message": _text(answer.get("message"), _MAX_TEXT) or "",
        "line": whole(answer.get("line")),
        "lines": lines(answer.get("lines")),
        "changed": _text(answer.get("changed")),
        "kinds": [one for one in kinds if type(one) is str] if type(kinds) is list else None,
        "raised": _text(answer.get("raised")),
    }


def _text(value: Any, most: int | None = None) -> str | None:
    if type(value) is not str:
        return None
    return value[:most].encode("utf-8", "replace").decode("utf-8")


def _exception(answer: dict[str, Any]) -> BaseException:
    """A new exception of the nearest built-in type."""
    kind: type[BaseException] = Exception
    for name in answer["kinds"]:
        found = getattr(builtins, name, None)
        if isinstance(found, type) and issubclass(found, BaseException):
            kind = found
            break
    if issubclass(kind, StopIteration):
        # it would end a loop of the tests as if all were well; as in PEP 479, it must not
        kind = RuntimeError
    try:
        raised = loads(answer["raised"] or "")
        if type(raised) is tuple:
            return kind(*raised)
    except Exception:
        pass
    if issubclass(kind, BaseExceptionGroup):
        return kind(answer["message"], [Exception(answer["message"])])
    made = kind.__new__(kind)
    made.args = (answer["message"],)
    return made


def _apply_all(positional: tuple[Any, ...], named: dict[str, Any], text: str) -> None:
    """Does to the caller's arguments what the candidate did to its own."""
    try:
        after = loads(text)
    except ValueError:
        return
    rows, words = after if type(after) is list and len(after) == 2 else (after, {})
    if type(rows) is not tuple or type(words) is not dict:
        return
    for before, now in zip(positional, rows, strict=False):
        _apply(before, now)
    for name, before in named.items():
        _apply(before, words.get(name))


def _apply(before: Any, after: Any) -> None:
    if isinstance(before, tuple) and isinstance(after, tuple):
        for one, other in zip(before, after, strict=False):
            _apply(one, other)
    elif isinstance(before, list):
        before[:] = _kept(before, after) if isinstance(after, list) else []
    elif isinstance(before, dict):
        now = after if isinstance(after, dict) else {}
        for key in now.keys() & before.keys():
            if _alike(before[key], now[key]):
                now[key] = _applied(before[key], now[key])
        before.clear()
        before.update(now)
    elif isinstance(before, set):
        now_set = after if isinstance(after, set) else set()
        if not same(set(before), now_set):
            before.clear()
            before.update(now_set)


def _alike(before: Any, after: Any) -> bool:
    return any(
        isinstance(before, kind) and type(after) is kind for kind in (list, dict, set, tuple)
    )


def _applied(before: Any, after: Any) -> Any:
    _apply(before, after)
    return after if type(after) is tuple and dumps(before) != dumps(after) else before


def _kept(before: list[Any], after: list[Any]) -> list[Any]:
    """The new members, with the caller's own objects where they were only moved or changed."""
    moved: dict[str, list[int]] = {}
    for place in range(len(before) - 1, -1, -1):
        moved.setdefault(dumps(before[place]), []).append(place)
    made, free = list(after), set(range(len(before)))
    changed = []
    for place, now in enumerate(after):
        same_ones = moved.get(dumps(now))
        if same_ones:
            free.discard(same_ones[-1])
            made[place] = before[same_ones.pop()]
        else:
            changed.append(place)
    for place in changed:
        if place in free and _alike(before[place], after[place]):
            made[place] = _applied(before[place], after[place])
    return made
