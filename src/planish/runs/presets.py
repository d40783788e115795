"""Presets and single flags, and how they go together in a new run and in one that goes on.

plan = Plan(model=model, **resolve(preset, config).model_dump())
again = regiven(before, config, preset)     # on --resume
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel

from planish.records import BadInput

__all__ = ["Preset", "digest", "regiven", "resolve"]

Preset = Literal["tiny", "laptop", "paper"]

C = TypeVar("C", bound=BaseModel)


def resolve(preset: Preset | None, given: C) -> C:
    """A preset with the flags that were given on top of it."""
    if preset is None:
        return given
    base: C = getattr(type(given), preset)()
    return base.model_copy(update={name: getattr(given, name) for name in given.model_fields_set})


def regiven(before: BaseModel, given: C, preset: Preset | None) -> C:
    """The dials of a run that goes on: those of before, with whatever was given again on top."""
    changes = {name: getattr(given, name) for name in given.model_fields_set}
    if preset is not None:
        changes = resolve(preset, given).model_dump()
    settings = {name: getattr(before, name) for name in type(given).model_fields}
    return type(given)(**(settings | changes))


def digest(path: Path) -> str:
    """SHA-256 of a file, which a plan keeps beside its path.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="check the path"
        ) from None
