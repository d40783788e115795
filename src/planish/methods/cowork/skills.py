"""The skill library: one JSON document that all agents of a team act from.

It holds three layers. Predicates and controllers are code, closed registries that a library may
only name. Operators bind a controller to arguments, preconditions and what must hold afterwards.
Methods say how a task is done: when they apply, and in which order of subtasks. Parameters are
numbers with bounds. Nothing in a library is ever executed as code.

    library = load_library("full")
    library.digest             the hash of what it does
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from planish.records import BadInput, write_text

__all__ = [
    "ROOT",
    "SHIPPED",
    "Call",
    "Library",
    "Method",
    "Operator",
    "Parameter",
    "Stats",
    "Unsound",
    "load_library",
    "parse_library",
    "read_call",
    "save_library",
]

ROOT = "work"
"""The task that every agent is always at."""

SHIPPED = ("impaired", "full")
"""The libraries in the package: the start of an evolution, and one written by hand."""

MAX_BYTES = 1_000_000
"""A larger file is something else."""

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_CALL = re.compile(r"(!?)([a-z][a-z0-9_]{0,63})(?:\(([a-z0-9_, ]{0,120})\))?")


def _tidy(condition: str) -> str:
    """One way of writing a condition, so that a blank more makes no other library."""
    return re.sub(r"\s*,\s*", ", ", re.sub(r"\(\s*|\s*\)", lambda it: it[0].strip(), condition))


Condition = Annotated[
    str, Field(max_length=200, pattern=rf"^{_CALL.pattern}$"), AfterValidator(_tidy)
]
Argument = Annotated[str, Field(max_length=64)] | int | float


class Unsound(ValueError):
    """A library that is JSON, but not one that can be acted from.

    Args:
        code: a short reason, e.g. "unknown_predicate"; where: the node, e.g. "methods/yield".
    """

    def __init__(self, code: str, where: str, what: str) -> None:
        self.code, self.where, self.what = code, where, what
        super().__init__(f"{where}: {what}")


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Call(_Node):
    """A predicate in use: its name, arguments, and whether it must not hold."""

    name: str
    args: tuple[str, ...] = ()
    negated: bool = False


class Parameter(_Node):
    """A number that controllers and predicates read by its id."""

    id: Identifier
    value: float
    min: float
    max: float
    step: float = Field(gt=0)
    locked: bool = False

    @model_validator(mode="after")
    def _inside(self) -> Parameter:
        if not self.min < self.max:
            raise ValueError("min must be below max")
        if not self.min <= self.value <= self.max:
            raise ValueError(f"value {self.value:g} is outside {self.min:g} to {self.max:g}")
        return self


class Operator(_Node):
    """One controller with arguments: it runs until what it is for holds.

    Args:
        pre: conditions checked every tick; where one fails, the operator has failed.
        expect: conditions that end it; without any it ends after one tick.
        timeout_ticks: ticks until it has failed.
    """

    id: Identifier
    controller: Identifier
    args: dict[Identifier, Argument] = Field(default_factory=dict)
    pre: tuple[Condition, ...] = ()
    expect: tuple[Condition, ...] = ()
    timeout_ticks: int = Field(default=60, ge=1, le=400)
    locked: bool = False


class Stats(_Node):
    """How a method fared in the episodes that were diagnosed."""

    tried: int = 0
    succeeded: int = 0


class Method(_Node):
    """One way of doing a task.

    Args:
        when: conditions under which it applies; all must hold.
        subtasks: operators or tasks, in order.
        priority: higher is tried first; equals are tried by id.
        interrupt_when: any of these, checked every tick, ends the method and what runs below it.
        roles: "seat_0", "seat_1"; empty: anyone.
        locked: no patch may touch it.
        provenance: where it came from.
    """

    id: Identifier
    task: Identifier
    when: tuple[Condition, ...] = ()
    subtasks: tuple[Identifier, ...] = Field(min_length=1, max_length=12)
    priority: float = Field(default=50, ge=0, le=100)
    interrupt_when: tuple[Condition, ...] = ()
    roles: tuple[Literal["seat_0", "seat_1"], ...] = ()
    locked: bool = False
    provenance: str = Field(default="", max_length=200)
    stats: Stats = Stats()


class Library(_Node):
    """What a team can do. Every id is unique among nodes of its kind."""

    format: Literal["planish-skills-1"] = "planish-skills-1"
    name: Identifier
    description: str = Field(default="", max_length=1024)
    params: tuple[Parameter, ...] = ()
    operators: tuple[Operator, ...]
    methods: tuple[Method, ...]

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all that changes behaviour: not names, provenance or statistics."""
        document = self.model_dump(mode="json", exclude={"name", "description"})
        for method in document["methods"]:
            del method["provenance"], method["stats"]
        for kind in ("params", "operators", "methods"):
            document[kind].sort(key=lambda node: node["id"])
        return hashlib.sha256(_canonical(document).encode()).hexdigest()[:16]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what was worked out for the original."""
        copy = super().model_copy(update=update, deep=deep)
        for derived in ("digest", "values"):
            copy.__dict__.pop(derived, None)
        return copy

    def canonical(self) -> str:
        """The document with sorted keys and no spare blanks."""
        return _canonical(self.model_dump(mode="json"))

    @property
    def size(self) -> int:
        """Nodes: operators, methods and parameters."""
        return len(self.operators) + len(self.methods) + len(self.params)

    @property
    def tokens(self) -> int:
        """About how many tokens a model reads for it: four characters each."""
        return -(-len(self.canonical()) // 4)

    @cached_property
    def values(self) -> dict[str, float]:
        """Parameter id -> value."""
        return {parameter.id: parameter.value for parameter in self.params}

    def method(self, name: str) -> Method | None:
        """The method of this id."""
        return next((method for method in self.methods if method.id == name), None)

    def conditions(self) -> Iterator[tuple[str, str]]:
        """(node, condition) of every condition in it."""
        for operator in self.operators:
            for condition in operator.pre + operator.expect:
                yield f"operators/{operator.id}", condition
        for method in self.methods:
            for condition in method.when + method.interrupt_when:
                yield f"methods/{method.id}", condition


def read_call(condition: str) -> Call:
    """Reads `name`, `name(a, b)`, `!name(a)`.

    >>> read_call("!holding(onion)")
    Call(name='holding', args=('onion',), negated=True)
    """
    match = _CALL.fullmatch(condition)
    if match is None:
        raise Unsound("bad_condition", condition, "not a predicate")
    negation, name, inside = match.groups()
    args = tuple(part.strip() for part in inside.split(",")) if inside else ()
    return Call(name=name, args=args, negated=bool(negation))


def parse_library(document: Any) -> Library:
    """Validates a decoded JSON document, references and structure included.

    Raises:
        Unsound: with a code and the node.
    """
    if not isinstance(document, dict):
        raise Unsound("schema", "library", "not one JSON object")
    try:
        library = Library.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        raise Unsound("schema", _node_of(document, first["loc"]), first["msg"]) from None
    check(library)
    return library


def load_library(source: str | Path) -> Library:
    """A shipped library by name, or a JSON file.

    Raises:
        BadInput: missing, broken (with its line), or unsound (with the node).
    """
    name = str(source)
    text = _text_of(name)
    try:
        return parse_library(json.loads(text, object_pairs_hook=_once))
    except json.JSONDecodeError as error:
        raise BadInput(
            f"broken JSON: {error.msg}",
            where=f"{name}:{error.lineno}:{error.colno}",
            fix="is the file cut off? take it from the run again",
        ) from None
    except RecursionError:
        raise BadInput("nested too deeply", where=name, fix="this is not a library") from None
    except Unsound as error:
        raise BadInput(
            f"{error.what} ({error.code})", where=f"{name}, {error.where}", fix="mend that node"
        ) from None
    except ValueError as error:  # such as a number of 5,000 digits
        raise BadInput(f"broken JSON: {error}", where=name, fix="this is not a library") from None


def _text_of(name: str) -> str:
    if name in SHIPPED:
        shipped = files("planish.methods.cowork") / "shipped" / "libraries" / f"{name}.json"
        return shipped.read_text("utf-8")
    path = Path(name)
    try:
        if path.exists() and not path.is_file():
            what = "is a folder" if path.is_dir() else "is no ordinary file"
            raise BadInput(what, where=name, fix="give a library as a JSON file")
        if path.stat().st_size > MAX_BYTES:
            raise BadInput(
                f"{path.stat().st_size / 1e6:.1f} MB are too much for a library",
                where=name,
                fix=f"the limit is {MAX_BYTES // 1_000_000} MB; is this the right file?",
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise BadInput(
            "no such library",
            where=name,
            fix=f"give a JSON file or one of {', '.join(SHIPPED)}",
        ) from None
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 text (byte {error.start})", where=name, fix="save the file as UTF-8"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(f"cannot be read: {why}", where=name, fix="check the path") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which every key stands once: of two, one would silently win."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Unsound(
            "duplicate_key", str(found.get("id", "library"))[:64], f"{twice!r} is there twice"
        )
    return found


def save_library(library: Library, path: Path) -> None:
    """Writes it readably, all or nothing."""
    write_text(path, json.dumps(library.model_dump(mode="json"), indent=1) + "\n")


def check(library: Library) -> None:
    """References, cycles, reachability, sizes.

    Raises:
        Unsound: the first fault found.
    """
    from planish.methods.cowork.checking import check_library

    check_library(library)


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _node_of(document: Any, location: tuple[int | str, ...]) -> str:
    """A validation error's place, with ids where pydantic has positions."""
    names: list[str] = []
    node = document
    for step in location:
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            node = None
        if isinstance(step, int) and isinstance(node, dict) and isinstance(node.get("id"), str):
            names.append(node["id"][:64])
        else:
            names.append(str(step))
    return "/".join(names) or "library"
