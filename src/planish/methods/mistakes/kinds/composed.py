"""Descriptions of values made of others, and the reading of any of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from planish.errors import BadInput
from planish.methods.mistakes.kinds.simple import (
    Boolean,
    Choice,
    Described,
    Integer,
    Nothing,
    Number,
    Sized,
    Text,
)
from planish.records import explain

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Kind", "Strategy", "kinds_of"]

Strategy = tuple[dict[str, JsonValue], ...]
"""One description for each argument."""

_SizedModel = TypeVar("_SizedModel", bound=Sized)


class ListOf(Sized):
    """A list whose elements are alike."""

    kind: Literal["list"]
    of: Kind
    unique: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        return _possible(self, self.of) if self.unique else self

    def drawn(self) -> SearchStrategy[list[Any]]:
        from hypothesis import strategies as st

        by = repr if self.unique else None
        return st.lists(
            self.of.drawn(), min_size=self.min_size, max_size=self.max_size, unique_by=by
        )

    def admits(self, value: Any) -> bool:
        return (
            type(value) is list
            and self.fits(len(value))
            and all(self.of.admits(each) for each in value)
            and not (self.unique and len({repr(each) for each in value}) < len(value))
        )


class SetOf(Sized):
    """A set; its elements must be hashable."""

    kind: Literal["set"]
    of: Kind

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _hashable(self.of)
        return _possible(self, self.of)

    def drawn(self) -> SearchStrategy[set[Any]]:
        from hypothesis import strategies as st

        return st.sets(self.of.drawn(), min_size=self.min_size, max_size=self.max_size)

    def admits(self, value: Any) -> bool:
        return (
            type(value) is set
            and self.fits(len(value))
            and all(self.of.admits(each) for each in value)
        )


class TupleOf(Described):
    """A tuple with one description for each place."""

    kind: Literal["tuple"]
    of: tuple[Kind, ...]

    def drawn(self) -> SearchStrategy[tuple[Any, ...]]:
        from hypothesis import strategies as st

        return st.tuples(*(each.drawn() for each in self.of))

    def admits(self, value: Any) -> bool:
        return (
            type(value) is tuple
            and len(value) == len(self.of)
            and all(kind.admits(each) for kind, each in zip(self.of, value, strict=True))
        )

    def distinct(self) -> float:
        return math.prod(each.distinct() for each in self.of)


class DictOf(Sized):
    """A dict; its keys must be hashable."""

    kind: Literal["dict"]
    keys: Kind
    values: Kind

    @model_validator(mode="after")
    def _possible(self) -> Self:
        _hashable(self.keys)
        return _possible(self, self.keys)

    def drawn(self) -> SearchStrategy[dict[Any, Any]]:
        from hypothesis import strategies as st

        return st.dictionaries(
            self.keys.drawn(),
            self.values.drawn(),
            min_size=self.min_size,
            max_size=self.max_size,
        )

    def admits(self, value: Any) -> bool:
        return (
            type(value) is dict
            and self.fits(len(value))
            and all(self.keys.admits(each) for each in value)
            and all(self.values.admits(each) for each in value.values())
        )


class OneOf(Described):
    """What one of these describes."""

    kind: Literal["one_of"]
    of: tuple[Kind, ...] = Field(min_length=1)

    def drawn(self) -> SearchStrategy[Any]:
        from hypothesis import strategies as st

        return st.one_of(*(each.drawn() for each in self.of))

    def admits(self, value: Any) -> bool:
        return any(each.admits(value) for each in self.of)

    def distinct(self) -> float:
        return sum(each.distinct() for each in self.of)


class Joined(Sized):
    """Text made of parts with a separator between them."""

    kind: Literal["joined"]
    of: Kind
    separator: str = " "

    def drawn(self) -> SearchStrategy[str]:
        from hypothesis import strategies as st

        parts = st.lists(self.of.drawn(), min_size=self.min_size, max_size=self.max_size)
        return parts.map(lambda each: self.separator.join(map(str, each)))

    def admits(self, value: Any) -> bool:
        if type(value) is not str:
            return False
        gap = len(self.separator)
        # Where nothing stands between parts, empty ones may be anywhere, as many as are asked for.
        padded = not gap and _reads(self.of, "")
        if not value:
            return self.min_size == 0 or padded or (self.fits(1) and _reads(self.of, ""))
        # Parts may hold the separator, so every place where one may end is followed.
        ends: list[set[int]] = [set() for _ in range(len(value) + 1)]
        starts: dict[int, set[int]] = {0: {0}}
        for start in range(len(value) + 1):
            counts = {each + 1 for each in starts.get(start, set()) if each < self.max_size}
            if not counts:
                continue
            for end in range(start if gap else start + 1, len(value) + 1):
                if not (end == len(value) or value.startswith(self.separator, end)):
                    continue
                if _reads(self.of, value[start:end]):
                    ends[end] |= counts
                    if end < len(value):
                        starts.setdefault(end + gap, set()).update(counts)
        return any(padded or self.fits(each) for each in ends[-1])


Kind = Annotated[
    Integer
    | Number
    | Boolean
    | Nothing
    | Text
    | ListOf
    | SetOf
    | TupleOf
    | DictOf
    | Choice
    | OneOf
    | Joined,
    Field(discriminator="kind"),
]
"""Any of them, told apart by `kind`."""

for _model in (ListOf, SetOf, TupleOf, DictOf, OneOf, Joined):
    _model.model_rebuild()

_READER: TypeAdapter[Kind] = TypeAdapter(Kind)


def kinds_of(strategy: Sequence[Any], where: str = "strategy") -> tuple[Kind, ...]:
    """The descriptions, read.

    Raises:
        BadInput: one of them cannot be read, or has no value.
    """
    if isinstance(strategy, str) or not isinstance(strategy, Sequence):
        raise BadInput(
            "must be a list with one description for each argument",
            where=where,
            fix='such as [{"kind": "integer", "min": 0, "max": 9}]',
        )
    kinds = []
    for number, each in enumerate(strategy, 1):
        try:
            kinds.append(_READER.validate_python(each))
        except ValidationError as error:
            raise BadInput(
                explain(error),
                where=f"{where}, argument {number}",
                fix="see the table of kinds in planish/methods/mistakes/kinds/__init__.py",
            ) from None
    return tuple(kinds)


def _possible(model: _SizedModel, of: Kind) -> _SizedModel:
    if model.min_size > of.distinct():
        raise ValueError(f"asks for {model.min_size} different ones of {of.distinct():.0f}")
    return model


def _hashable(kind: Kind) -> None:
    inner: tuple[Any, ...] = ()
    if isinstance(kind, ListOf | SetOf | DictOf):
        raise ValueError(f"a {kind.kind} cannot be in a set or a key")
    if isinstance(kind, TupleOf | OneOf):
        inner = kind.of
    if isinstance(kind, Choice) and any(isinstance(each, list | dict) for each in kind.of):
        raise ValueError("a list or dict cannot be in a set or a key")
    for each in inner:
        _hashable(each)


def _reads(kind: Kind, text: str) -> bool:
    """Whether `str` of one of its values is this text."""
    if kind.admits(text):
        return True
    if isinstance(kind, OneOf):
        return any(_reads(each, text) for each in kind.of)
    if isinstance(kind, Choice):
        return any(str(each) == text for each in kind.of)
    for read in (int, float):
        try:
            value = read(text)
        except ValueError:
            continue
        if str(value) == text and kind.admits(value):
            return True
    return False
