"""Loads and calls a candidate, inside its own process.

    function, trouble = prepare(code, "double", "candidate.py", "/project", seed=0)
    answer = call(function, dumps((2,)), None)      # {"status": "value", "value": "4", ...}

Nothing here decides whether the candidate is right: whatever it does to this process, only text
leaves it, and that is judged elsewhere. Only the standard library is used here.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import sys
import warnings
from collections.abc import Callable, Sequence
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any

from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["MESSAGE_CHARS", "call", "prepare"]

MESSAGE_CHARS = 500

_MODULE = "candidate.py"
"""Where code lies that says nothing else."""

_IMPORT_FRAMES = 7
"""Calls between `prepare` and code that is imported, which goes so much less deep."""

_FIXED = frozenset({type(None), bool, int, float, complex, str, bytes, range})
"""Types of arguments that a call cannot change."""

_BUILT_IN = {
    id(one): name
    for name, one in vars(builtins).items()
    if type(one) is type and issubclass(one, BaseException)
}

_loaded = {"file": ""}
"""Where the candidate's code is said to lie, for the lines of its exceptions."""


def prepare(
    code: str, entry_point: str, module: str, root: str, seed: int, plain: bool = False
) -> tuple[Callable[..., Any] | None, dict[str, Any]]:
    """Loads the code as a module of the project and finds what is to be called.

    Args:
        code: source of the module.
        entry_point: name in that module (or "Class.method"), or "package.module:name", which is
            imported from the project.
        module: path of the module in the project; the file need not be there.
        root: of the project; it becomes the first place that imports look in.
        seed: of `random`.
        plain: the code is tame, so that nobody can tell whether it is a module that others could
            import.

    Returns:
        What is to be called and {}; or None and why, with `status` no_entry, syntax, exception or
        oom, and `exception`, `message`, `line`.
    """
    path = os.path.join(root, module)
    _loaded["file"] = path
    # no name of a tame program begins with two of these
    plain = plain and module == _MODULE and entry_point.isidentifier() and entry_point[:2] != "__"
    if not plain:
        sys.dont_write_bytecode = True
        sys.path.insert(0, root)
        random.seed(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = compile(code, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
        return None, _said(error, "syntax", getattr(error, "lineno", None))
    try:
        if plain:
            names = {"__name__": _MODULE.removesuffix(".py"), "__builtins__": builtins}
            deepest = sys.getrecursionlimit()
            sys.setrecursionlimit(deepest - _IMPORT_FRAMES)
            try:
                exec(compiled, names)
            finally:
                sys.setrecursionlimit(deepest)
            found = names.get(entry_point)
        else:
            found = _find(compiled, entry_point, module, root)
        if callable(found):
            return found, {}
    except BaseException as error:
        return None, _said(error, "exception")
    missing = "is not there" if found is None else "cannot be called"
    return None, {"status": "no_entry", "message": f"{entry_point} {missing}"}


def call(
    function: Callable[..., Any], arguments: str, trace_path: str | None = None
) -> dict[str, Any]:
    """Calls the candidate once.

    Args:
        function: that `prepare` found.
        arguments: canonical text of a tuple; or of a list of a tuple and a dict, which are passed
            by position and by name.
        trace_path: path of a module whose lines are recorded; None: no recording.

    Returns:
        `status` value, exception, unknown_type or oom; then `value` (canonical text), or
        `exception`, `message`, `line` (innermost of the candidate's module), `kinds` (built-in
        types that the exception is one of, nearest first) and `raised` (canonical text of what it
        was made of). With `trace_path` also `lines`, sorted. `changed`: canonical text of the
        arguments after the call, where it differs.
    """
    try:
        return _call(function, arguments, trace_path)
    except BaseException as error:  # the candidate has changed what this process stands on
        return _said(error, "exception")


def _call(function: Callable[..., Any], arguments: str, trace_path: str | None) -> dict[str, Any]:
    given = loads(arguments)
    positional, named = given if type(given) is list else (given, {})
    lines: set[int] = set()
    try:
        if trace_path is not None:
            sys.settrace(_tracer(trace_path, lines))
        try:
            value = function(*positional, **named)
        finally:
            sys.settrace(None)
        answer: dict[str, Any] = {"status": "value", "value": dumps(value)}
    except UnknownType as error:
        answer = {"status": "unknown_type", "message": clean(error)}
    except BaseException as error:
        answer = _said(error, "exception")
    if trace_path is not None:
        answer["lines"] = sorted(lines)
    if any(type(one) not in _FIXED for one in (*positional, *named.values())):
        after = _after(positional, named)
        if after != arguments:
            answer["changed"] = after
    return answer


def clean(error: object) -> str:
    """Text of an exception, short and encodable, whatever its class makes of being asked."""
    try:
        text = str.__str__(str(error))[:MESSAGE_CHARS]
        return text.encode("utf-8", "replace").decode("utf-8")
    except BaseException:
        return ""


def _after(positional: tuple[Any, ...], named: dict[str, Any]) -> str:
    # what cannot be told must not look untouched, so it is told as None
    now = tuple(map(_readable, positional))
    if not named:
        return dumps(now)
    return dumps([now, {name: _readable(value) for name, value in named.items()}])


def _readable(value: Any) -> Any:
    try:
        dumps(value)
    except UnknownType:
        return None
    return value


class _Source(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the candidate's module under its name, wherever it is imported from."""

    def __init__(self, name: str, compiled: CodeType, root: str, path: str) -> None:
        self.name = name
        self.compiled = compiled
        self.root = root
        self.path = path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        if fullname != self.name:
            return self._parent(fullname)
        package = os.path.basename(self.path) == "__init__.py"
        spec = importlib.util.spec_from_loader(fullname, self, origin=self.path, is_package=package)
        if spec is not None:
            spec.has_location = True
            if package:
                spec.submodule_search_locations = [os.path.dirname(self.path)]
        return spec

    def _parent(self, fullname: str) -> Any:
        if not self.name.startswith(fullname + "."):
            return None
        folder = os.path.join(self.root, *fullname.split("."))
        if os.path.isdir(folder):
            return None
        spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [folder]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        exec(self.compiled, module.__dict__)


def _find(compiled: CodeType, entry_point: str, module: str, root: str) -> Any:
    name = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    # a module of the same name may be in use already, such as one of the standard library
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.pop(".".join(parts[:end]), None)
    sys.meta_path.insert(0, _Source(name, compiled, root, os.path.join(root, module)))
    holder: Any = importlib.import_module(name)
    elsewhere, colon, attribute = entry_point.rpartition(":")
    if colon:
        holder = importlib.import_module(elsewhere)
    for part in attribute.split("."):
        holder = getattr(holder, part, None)
    return holder


def _tracer(path: str, lines: set[int]) -> Any:
    def inside(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return inside

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return inside if frame.f_code.co_filename == path else None

    return enter


def _said(error: BaseException, status: str, line: int | None = None) -> dict[str, Any]:
    """What an exception says; asking it anything may run the candidate's code, so little is."""
    if issubclass(type(error), MemoryError) and status == "exception":
        status = "oom"
    kind = type(error)
    kinds = [_BUILT_IN.get(id(one)) for one in type.__dict__["__mro__"].__get__(kind)]
    said: dict[str, Any] = {
        "status": status,
        "exception": clean(type.__dict__["__name__"].__get__(kind))[:100],
        "message": clean(error),
        "line": line or _line(_own(error, "__traceback__")),
        "kinds": [name for name in kinds if name],
    }
    try:
        said["raised"] = dumps(_own(error, "args"))
    except BaseException:
        said["raised"] = dumps((said["message"],))
    if len(said["raised"]) > MESSAGE_CHARS * 4:
        said["raised"] = dumps((said["message"],))
    return said


def _own(error: BaseException, name: str) -> Any:
    return BaseException.__dict__[name].__get__(error)


def _line(trace: TracebackType | None) -> int | None:
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _loaded["file"]:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
