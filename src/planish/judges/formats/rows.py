"""Rows of foreign files, read with care: what a reader of a format asks for, or a `BadInput`.

>>> row = Row(path="pairs.jsonl", line=7, values={"pair_id": 12, "question": "2 + 2?"})
>>> row.identifier("pair_id"), row.text("question")
('12', '2 + 2?')
>>> row.text("response_A")
Traceback (most recent call last):
...
planish.records.BadInput: pairs.jsonl:7: no 'response_A'; the row has pair_id, question
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator

from planish.judges.base import Case, Judgment, letter, to_case_frame
from planish.records import (
    BadInput,
    Chat,
    Example,
    Message,
    Record,
    explain,
    read_jsonl,
    read_table,
    user,
)

__all__ = ["RecordedOutput", "Row", "case_of", "read_rows", "unique"]

T = TypeVar("T")
StrPath = str | os.PathLike[str]

_MISSING = object()


class RecordedOutput(Record):
    """What a judge once said about one case, as a file tells it.

    Args:
        case_id: id of the case.
        line: line (or row) of the file, from 1.
        perms: for every call, which of the case's replies stood in each slot.
        texts: for every call, the judge's words; None where they are missing.
        decisions: for every call, the recorded decision in the *prompt* frame: a slot letter,
            "tie", or None (recorded as unreadable). Empty where the file records no decisions.
        scores: for ratings, one per reply of the case; None where it failed.
        result: a published per-item credit (1, 0, or a share), where the file holds no more.
        gold, subset: what the file claims about the case, for cross-checking.
        judgment: the full record, where planish itself wrote the file.
    """

    case_id: str
    line: int
    perms: tuple[tuple[int, ...], ...] = ()
    texts: tuple[str | None, ...] = ()
    decisions: tuple[str | None, ...] = ()
    scores: tuple[float | None, ...] = ()
    result: float | None = None
    gold: str | None = None
    subset: str = ""
    judgment: Judgment | None = None

    @model_validator(mode="after")
    def _aligned(self) -> RecordedOutput:
        for perm in self.perms:
            if not perm or len(set(perm)) < len(perm) or not 0 <= min(perm) <= max(perm) < 1000:
                raise ValueError("a call's perm is no order of replies")
        for values in (self.texts, self.decisions):
            if values and len(values) != len(self.perms):
                raise ValueError("texts and decisions must match the calls one to one")
        for decision, perm in zip(self.decisions, self.perms, strict=False):
            slots = {letter(slot) for slot in range(len(perm))}
            if decision is not None and decision != "tie" and decision not in slots:
                raise ValueError(f"decision {decision!r} names no slot")
        return self

    @property
    def both_orders(self) -> bool:
        """Whether the pair was judged in its own order and swapped."""
        return {(0, 1), (1, 0)} <= set(self.perms)

    @property
    def votes(self) -> tuple[str | None, ...]:
        """The recorded decisions in the case's own frame."""
        return tuple(
            to_case_frame(decision, perm)
            for decision, perm in zip(self.decisions, self.perms, strict=False)
        )


@dataclass(frozen=True)
class Row:
    """One row of a file, with where it stands. Every accessor raises `BadInput` at that place."""

    path: str
    line: int
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """`file:line`."""
        return f"{self.path}:{self.line}"

    def bad(self, what: str, fix: str = "") -> BadInput:
        """The complaint about this row, to be raised."""
        return BadInput(what, where=self.where, fix=fix)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def __getitem__(self, name: str) -> Any:
        value = self.values.get(name, _MISSING)
        if value is _MISSING:
            keys = ", ".join(str(key) for key in list(self.values)[:8]) or "nothing"
            raise self.bad(f"no {name!r}", fix=f"the row has {keys}")
        return value

    def text(self, name: str) -> str:
        """A string that must be there."""
        value = self[name]
        if not isinstance(value, str):
            raise self.bad(f"{name!r} should be text, found {type(value).__name__}")
        return value

    def maybe_text(self, name: str) -> str | None:
        """A string, or None where the field is absent or null."""
        return None if self.values.get(name) is None else self.text(name)

    def identifier(self, name: str) -> str:
        """An id: text or a whole number, never empty."""
        value = self[name]
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise self.bad(f"{name!r} should be an id (text or a number), found {value!r:.40}")

    def count(self, name: str) -> int:
        """A whole number from 0."""
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self.bad(f"{name!r} should be a count, found {value!r:.40}")
        return value

    def number(self, name: str, value: Any) -> float | None:
        """`value`, part of field `name`, as a finite number or None."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(f"{name!r} should be numbers, found {type(value).__name__}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.bad(f"{name!r} should be finite, found {value!r:.40}")
        return number

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings with at least one entry."""
        values = self[name]
        if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
            raise self.bad(f"{name!r} should be a list of texts")
        if not values:
            raise self.bad(f"{name!r} is empty")
        return tuple(values)

    def chat(self, name: str) -> Chat:
        """A prompt: text, or a list of messages with `role` and `content`."""
        value = self[name]
        if not isinstance(value, list):
            return self.make(user, self.text(name))
        if not value or not all(isinstance(turn, dict) for turn in value):
            raise self.bad(f"{name!r} should be text or a list of messages")
        return tuple(
            self.make(
                Message.model_validate,
                {key: turn[key] for key in ("role", "content") if key in turn},
            )
            for turn in value
        )

    def make(self, build: Callable[..., T], *args: Any, **fields: Any) -> T:
        """Builds a record; what the record refuses becomes a complaint about this row."""
        try:
            return build(*args, **fields)
        except ValidationError as error:
            raise self.bad(explain(error)) from None


def case_of(
    row: Row,
    case_id: str,
    prompt: Chat,
    replies: Sequence[str],
    meta: Mapping[str, Any],
) -> Case:
    """A case from a row's parts; fields of `meta` that are None or "" are left out."""
    known = {key: value for key, value in meta.items() if value is not None and value != ""}
    example = row.make(Example, id=case_id, prompt=prompt, meta=known)
    return row.make(Case, example=example, replies=tuple(replies))


def unique(rows: Iterable[Row], read: Callable[[Row], Case]) -> list[Case]:
    """One case per row, each id once.

    Raises:
        BadInput: an id comes twice; the message names both lines.
    """
    cases: dict[str, Case] = {}
    lines: dict[str, int] = {}
    for row in rows:
        case = read(row)
        if case.id in cases:
            raise row.bad(
                f"the id {case.id!r} comes twice (first on line {lines[case.id]})",
                fix="remove one of the rows",
            )
        cases[case.id], lines[case.id] = case, row.line
    return list(cases.values())


def read_rows(path: StrPath) -> list[Row]:
    """Every row of a file: JSON Lines (`.gz` too), a JSON array or columns, or Parquet.

    Raises:
        BadInput: as `read_jsonl`, or a file without any row.
    """
    name = os.fspath(path)
    plain = name.removesuffix(".gz")
    numbered = _json(name) if plain.endswith(".json") else read_table(name)
    rows = [Row(path=name, line=line, values=values) for line, values in numbered]
    if len(rows) == 1 and isinstance(rows[0].values.get("id"), list):
        rows = _columns(rows[0])
    if not rows:
        raise BadInput("the file is empty", where=name, fix="check the path")
    return rows


def _json(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        opener = gzip.open if name.endswith(".gz") else open
        with opener(name, "rb") as file:
            value = json.loads(file.read().decode("utf-8-sig"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError):
        # JSON Lines under the wrong name, or broken: the line reader tells which, and where.
        yield from read_jsonl(name)
        return
    for number, row in enumerate(value if isinstance(value, list) else [value], 1):
        if not isinstance(row, dict):
            raise BadInput(
                f"expected a JSON object, found {type(row).__name__}", where=f"{name}:{number}"
            )
        yield number, row


def _columns(row: Row) -> list[Row]:
    """A table written as one object of equally long lists; single values belong to no row."""
    columns = {key: value for key, value in row.values.items() if isinstance(value, list)}
    size = len(columns["id"])
    for key, value in columns.items():
        if len(value) != size:
            raise row.bad(f"column {key!r} has {len(value)} entries, 'id' has {size}")
    return [
        Row(path=row.path, line=i + 1, values={key: value[i] for key, value in columns.items()})
        for i in range(size)
    ]
