"""A patch in words that a person can check: node, field, before, after.

    for edit in edits(patch, library):
        print(edit.node, edit.field, edit.before, edit.after)

Nothing is applied and nothing is trusted: a patch that a model wrote badly is still shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from planish.methods.cowork.data import Patch
from planish.methods.cowork.improving.patches import KINDS, node_of
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.skills import Library

__all__ = ["Edit", "edits"]

_LONGEST = 400
_UNTOLD = ("id", "provenance", "stats")
_ELEMENT = 4  # where in a path an element of a list stands: "", kind, id, field, element


class Edit(NamedTuple):
    """One line of a readable diff.

    Args:
        node: "methods/yield"; field: "" where the whole node comes or goes.
        before, after: as text; "" where there is nothing, or nothing is known.
    """

    node: str
    field: str
    before: str
    after: str


def edits(patch: Patch, library: Library | None = None) -> list[Edit]:
    """The operations of a patch, one line each.

    Args:
        library: the one that the patch was written for, for the values of before; without it
            they are what the patch's own test operations say.
    """
    known = _values(library) if library is not None else {}
    found = []
    edited = {str(op.get("path")) for op in patch.ops if op.get("op") != "test"}
    for op in patch.ops:
        path = str(op.get("path", ""))
        if op.get("op") != "test":
            found.append(_edit(op, path, known))
            continue
        # What a test says of a value that is edited next is that edit's "before".
        known.setdefault(path, op.get("value"))
        if path not in edited:
            found.append(Edit(node_of(op), _field(path), f"must be {_told(op.get('value'))}", ""))
    return found


def _edit(op: Mapping[str, Any], path: str, known: Mapping[str, Any]) -> Edit:
    name, node, field = str(op.get("op", "")), node_of(dict(op)), _field(path)
    after = _told(op.get("value")) if "value" in op else ""
    if name not in ("add", "remove", "replace"):
        return Edit(
            node, field, printable(f"not an operation: {name or 'no name'}", _LONGEST), after
        )
    element = _parts(path)[_ELEMENT:]
    if element:
        # One element of a list: the path names it, or says that it is new.
        return Edit(node, field, "" if name == "add" else element[-1], after)
    before = _told(known[path]) if path in known else ""
    return Edit(node, field, before, "removed" if name == "remove" and not field else after)


def _values(library: Library) -> dict[str, Any]:
    """Path -> value of every node and of every field."""
    found: dict[str, Any] = {}
    document = library.model_dump(mode="json")
    for kind in KINDS:
        for node in document[kind]:
            found[f"/{kind}/{node['id']}"] = node
            found |= {f"/{kind}/{node['id']}/{field}": value for field, value in node.items()}
    return found


def _parts(path: str) -> list[str]:
    return [
        printable(part.replace("~1", "/").replace("~0", "~"), _LONGEST) for part in path.split("/")
    ]


def _field(path: str) -> str:
    """ "when" of "/methods/yield/when/-"; "" of a whole node."""
    return "/".join(_parts(path)[_ELEMENT - 1 : _ELEMENT])


def _told(value: Any) -> str:
    """A value for people, however it is nested."""
    try:
        return printable(_text(value), _LONGEST)
    except RecursionError:
        return "nested too deeply to be shown"


def _text(value: Any) -> str:
    """A list by commas, a node field by field."""
    if isinstance(value, Mapping):
        told = {key: part for key, part in value.items() if key not in _UNTOLD}
        news = {key: part for key, part in told.items() if part or _is_number(part)}
        return "; ".join(f"{key} {_text(part)}" for key, part in news.items())
    if isinstance(value, list | tuple):
        return ", ".join(_text(part) for part in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
