"""Layouts as a command is asked for them: there, playable, each once, and the same when it goes on.

hashes = asked(["cramped_room", "mine.layout"], "--layouts", old_dynamics=False)
unchanged(hashes)          when the run is resumed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from planish.errors import BadInput
from planish.methods.cowork.kitchen.layouts import is_file, load_layout, shipped_layouts
from planish.methods.cowork.kitchen.simulator import Kitchen
from planish.runs.presets import digest

__all__ = ["asked", "unchanged"]


def asked(names: Sequence[str] | None, option: str, *, old_dynamics: bool) -> dict[str, str]:
    """Checks that all can be played. Returns the hash of each that is a file.

    Raises:
        BadInput: none is named, one twice, one that is not there or cannot be played so.
    """
    if not names:
        known = ", ".join(shipped_layouts())
        raise BadInput("is missing", where=option, fix=f"name one or more of {known}, or a file")
    places = {str(Path(name).resolve()) if is_file(name) else name for name in names}
    if len(places) < len(names):
        raise BadInput("a layout is named twice", where=option, fix="name each once")
    for name in names:
        Kitchen(load_layout(name), old_dynamics=old_dynamics)
    return {name: digest(Path(name)) for name in names if is_file(name)}


def unchanged(hashes: Mapping[str, str]) -> None:
    """Checks the files of a run that goes on.

    Raises:
        BadInput: one has changed since the run began.
    """
    for name, was in hashes.items():
        if digest(Path(name)) != was:
            raise BadInput("has changed since the run began", where=name, fix="start a new run")
