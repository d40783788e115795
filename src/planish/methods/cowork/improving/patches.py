"""Bounded edits of a library: RFC 6902 operations whose paths name nodes by their ids.

    patch = Patch(base_hash=library.digest, rationale="yield sooner", ops=(
        {"op": "replace", "path": "/methods/step_aside/priority", "value": 80},))
    better = apply(patch, library, anchor=library)

A position in a list means something else after the first insertion, so none is accepted: a path
names a node by its id and an element of a list by its text. A patch only refers to code, and never
brings any. What is wrong with one is a `Rejected` with a code; the library stays as it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from planish.methods.cowork.data import Patch
from planish.methods.cowork.improving.texts import looks_like_code, printable
from planish.methods.cowork.method import drift
from planish.methods.cowork.skills import Library, Method, Operator, Unsound, parse_library

__all__ = [
    "CODES",
    "KINDS",
    "Limits",
    "Rejected",
    "apply",
    "between",
    "node_of",
]

KINDS = ("params", "operators", "methods")

CODES = {
    "stale_base": "written for another library than the current one",
    "too_many_ops": "more operations than allowed",
    "too_large": "more bytes than allowed",
    "bad_op": "no operation of RFC 6902 on a node that is there",
    "test_failed": "a test operation did not hold",
    "locked": "touches a node that its owner has locked, or a lock",
    "code_smuggled": "a text that looks like code where only names are allowed",
    "no_change": "the library acts as before",
    "drift_round": "moves further than one round may",
    "drift_total": "moves further from the last anchor than allowed",
}
"""Reasons for which `apply` refuses; those of `Unsound` come on top (unknown_predicate, cycle)."""

_OPS = ("add", "remove", "replace", "test")
_DEFAULTS: dict[str, dict[str, Any]] = {
    "params": {"locked": False},
    "operators": Operator(id="o", controller="c").model_dump(
        mode="json", exclude={"id", "controller"}
    ),
    "methods": Method(id="m", task="t", subtasks=("s",)).model_dump(
        mode="json", exclude={"id", "task", "subtasks"}
    ),
}
_NEW = "-"  # RFC 6901's place after the last element
_MEASURED = "stats"


class Rejected(Exception):
    """A patch that is refused.

    Args:
        code: a key of `CODES`, or the code of an `Unsound`.
        detail: the rest of the sentence, for people and for a model that tries again.
    """

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}")


@dataclass(frozen=True)
class Limits:
    """How much one patch may do.

    Args:
        max_bytes: of the operations, the rationale and the evidence as JSON.
        delta_round: drift from the current library.
        delta_total: drift from the last anchor.
    """

    max_ops: int = 12
    max_bytes: int = 8000
    delta_round: float = 4.0
    delta_total: float = 24.0


def apply(
    patch: Patch,
    library: Library,
    *,
    limits: Limits = Limits(),
    anchor: Library,
    original: Library | None = None,
) -> Library:
    """The patched library; `library` itself is never changed.

    Args:
        anchor: the library that the total drift is measured from.
        original: what its owner began with: its locked nodes must still be there as they were.

    Raises:
        Rejected: with the first reason found.
    """
    document: dict[str, Any] = library.model_dump(mode="json")
    ops = _checked(patch, library, limits)
    for number, op in enumerate(ops, 1):
        _carry_out(op, document, f"operation {number}")
    _check_locks(document, (library, original or library))
    _check_code(ops)
    try:
        found = parse_library(document)
    except Unsound as error:
        raise Rejected(error.code, printable(str(error), 300)) from None
    if found.digest == library.digest:
        raise Rejected("no_change", "the library would act as it does now")
    _check_drift("drift_round", found, library, limits.delta_round)
    _check_drift("drift_total", found, anchor, limits.delta_total)
    return found


def between(before: Library, after: Library) -> tuple[dict[str, Any], ...]:
    """The operations that turn one library into the other, by stable ids.

    What changes no behaviour is left out, but for the provenance of new nodes.
    """
    ops: list[dict[str, Any]] = []
    for kind in KINDS:
        olds = {node.id: node for node in getattr(before, kind)}
        news = {node.id: node for node in getattr(after, kind)}
        for name in sorted(olds.keys() - news.keys()):
            ops.append({"op": "remove", "path": f"/{kind}/{name}"})
        for name in sorted(news.keys() - olds.keys()):
            value = news[name].model_dump(mode="json", exclude={_MEASURED}, exclude_defaults=True)
            ops.append({"op": "add", "path": f"/{kind}/{name}", "value": value})
        for name in sorted(olds.keys() & news.keys()):
            new = news[name].model_dump(mode="json", exclude={_MEASURED, "provenance"})
            old = olds[name].model_dump(mode="json")
            ops += [
                {"op": "replace", "path": f"/{kind}/{name}/{field}", "value": value}
                for field, value in new.items()
                if value != old[field]
            ]
    return tuple(ops)


def node_of(op: dict[str, Any]) -> str:
    """The node that an operation is about: "methods/yield".

    >>> node_of({"op": "add", "path": "/methods/-", "value": {"id": "yield"}})
    'methods/yield'
    """
    kind, name, *_ = [*str(op.get("path", "")).split("/")[1:], "", ""]
    value = op.get("value")
    if name == _NEW and isinstance(value, dict):
        name = str(value.get("id", _NEW))
    return printable(f"{kind}/{name}", 80)


# ---- before anything is applied ---------------------------------------------------------------


def _checked(patch: Patch, library: Library, limits: Limits) -> list[dict[str, Any]]:
    """The operations as plain JSON of their own, if they are what they should be in size."""
    if patch.base_hash != library.digest:
        raise Rejected(
            "stale_base",
            f"written for {printable(patch.base_hash, 20)!r}; now it is {library.digest!r}",
        )
    if len(patch.ops) > limits.max_ops:
        raise Rejected("too_many_ops", f"{len(patch.ops)}; {limits.max_ops} are allowed")
    if not patch.ops:
        raise Rejected("no_change", "there are no operations")
    try:
        text = json.dumps(list(patch.ops), allow_nan=False, ensure_ascii=False)
        rest = f"{patch.rationale}{''.join(patch.evidence_ids)}"
        size = len(text.encode()) + len(rest.encode("utf-8", "replace"))
    except RecursionError:
        raise Rejected("too_large", "a value is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise Rejected("bad_op", f"not JSON: {printable(str(error), 80)}") from None
    if size > limits.max_bytes:
        raise Rejected("too_large", f"{size} bytes; {limits.max_bytes} are allowed")
    found: list[dict[str, Any]] = json.loads(text)
    return found


# ---- one operation ----------------------------------------------------------------------------


def _carry_out(op: dict[str, Any], document: dict[str, Any], where: str) -> None:
    """Applies one operation in place, its path compiled against the document as it is now."""
    name, path = op.get("op"), op.get("path")
    if name not in _OPS:
        raise Rejected("bad_op", f"{where}: op is one of {', '.join(_OPS)}")
    if not isinstance(path, str):
        raise Rejected("bad_op", f"{where}: a path is a text such as /methods/ID/priority")
    where = f"{where}, {name} {printable(path, 80)}"
    if name != "remove" and "value" not in op:
        raise Rejected("bad_op", f"{where}: the value is missing")
    try:
        parts = _compiled(name, path, op.get("value"), document, where)
    except Rejected as error:
        if name == "test":  # RFC 6902: a test of what is not there does not hold
            raise Rejected("test_failed", error.detail) from None
        raise
    step: dict[str, Any] = {"op": name, "path": JsonPointer.from_parts(parts).path}
    if name != "remove":
        step["value"] = _value(name, op["value"], parts, document)
    try:
        jsonpatch.apply_patch(document, [step], in_place=True)
    except jsonpatch.JsonPatchTestFailed:
        raise Rejected("test_failed", f"{where}: it is not {_short(op['value'])}") from None
    except RecursionError:
        raise Rejected("too_large", f"{where}: nested too deeply") from None
    except (jsonpatch.JsonPatchException, JsonPointerException) as error:
        raise Rejected("bad_op", f"{where}: {printable(str(error), 120)}") from None


def _compiled(
    name: str, path: str, value: object, document: dict[str, Any], where: str
) -> list[str | int]:
    """The JSON pointer that a path by ids stands for."""
    try:
        parts = JsonPointer(path).parts
    except JsonPointerException as error:
        raise Rejected("bad_op", f"{where}: {printable(str(error), 80)}") from None
    if len(parts) < 2 or parts[0] not in KINDS:
        raise Rejected("bad_op", f"{where}: a path begins with /KIND/ID, KIND one of {KINDS}")
    kind, node, *rest = parts
    place = _place(document[kind], node)
    if not rest:
        return [kind, _node_place(name, node, place, value, where)]
    if place is None:
        raise Rejected("bad_op", f"{where}: there is no {kind}/{printable(node, 64)}")
    if rest[0] in ("id", _MEASURED) and name != "test":
        raise Rejected("bad_op", f"{where}: {rest[0]} is not for a patch to set")
    pointer: list[str | int] = [kind, place]
    holder: Any = document[kind][place]
    for depth, part in enumerate(rest):
        is_last = depth == len(rest) - 1
        if isinstance(holder, list):
            step: str | int = _element(holder, part, name == "add" and is_last, where)
        elif isinstance(holder, dict):
            step = part
        else:
            raise Rejected("bad_op", f"{where}: nothing lies below {printable(str(holder), 40)}")
        pointer.append(step)
        if not is_last:
            holder = holder[step] if not isinstance(holder, dict) else holder.get(part)
    return pointer


def _place(nodes: list[Any], name: str) -> int | None:
    for place, node in enumerate(nodes):
        if isinstance(node, dict) and node.get("id") == name:
            return place
    return None


def _node_place(name: str, node: str, place: int | None, value: object, where: str) -> str | int:
    """Where a whole node is, or, for a new one, the end of the list."""
    if name == "add":
        if place is not None:
            raise Rejected("bad_op", f"{where}: it is there already; replace it")
        if not isinstance(value, dict) or not isinstance(value.get("id"), str):
            raise Rejected("bad_op", f"{where}: a new node is an object with an id")
        if node not in (_NEW, value["id"]):
            raise Rejected("bad_op", f"{where}: the node's id is {_short(value['id'])}")
        return _NEW
    if place is None:
        raise Rejected("bad_op", f"{where}: there is no such node")
    if name == "replace" and not (isinstance(value, dict) and value.get("id") == node):
        raise Rejected("bad_op", f"{where}: the new node must keep the id")
    return place


def _element(holder: list[Any], part: str, may_append: bool, where: str) -> str | int:
    """The place of a list's element that is named by its text."""
    if part == _NEW and may_append:
        return _NEW
    if part.isdigit():
        raise Rejected("bad_op", f"{where}: positions are not accepted; name the element")
    if holder.count(part) != 1:
        how_often = "twice or more" if part in holder else "not"
        raise Rejected("bad_op", f"{where}: {_short(part)} is {how_often} in the list")
    return holder.index(part)


def _value(name: str, value: Any, parts: list[str | int], document: dict[str, Any]) -> Any:
    """A whole node with its defaults, so that a later operation finds every field.

    Statistics are measured: a new node starts without, another one keeps its own.
    """
    if len(parts) != 2 or name == "test" or not isinstance(value, dict):
        return value
    kind, place = str(parts[0]), parts[1]
    whole = {**_DEFAULTS[kind], **value}
    if _MEASURED in _DEFAULTS[kind]:
        old = document[kind][place] if isinstance(place, int) else _DEFAULTS[kind]
        whole[_MEASURED] = old[_MEASURED]
    return whole


def _short(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False, default=str), 60)


# ---- what the operations have done ------------------------------------------------------------


def _check_locks(document: dict[str, Any], owners: tuple[Library, ...]) -> None:
    """No locked node has changed or gone, and no lock has come."""
    before = {
        f"{kind}/{node.id}": node.model_dump(mode="json", exclude={_MEASURED})
        for owned in owners
        for kind in KINDS
        for node in getattr(owned, kind)
        if node.locked
    }
    after = {
        f"{kind}/{node.get('id')}": {key: node[key] for key in node if key != _MEASURED}
        for kind in KINDS
        for node in document[kind]
        if isinstance(node, dict)
    }
    for where, node in before.items():
        if after.get(where) != node:
            raise Rejected("locked", f"{where} is locked by its owner")
    for where, found in after.items():
        if where not in before and found.get("locked", False) is not False:
            raise Rejected("locked", f"{printable(where, 80)}: only its owner locks a node")


def _check_code(ops: list[dict[str, Any]]) -> None:
    for op in ops:
        for text, is_free in _texts(op):
            if looks_like_code(text, is_sentence=is_free):
                raise Rejected("code_smuggled", f"{node_of(op)}: {printable(text, 80)!r}")


def _texts(op: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Every text that an operation brings, and whether it may be a sentence."""
    parts = JsonPointer(op["path"]).parts
    for part in parts:
        yield part if part != _NEW else "", False
    pending = [(op.get("value"), parts[-1] == "provenance")]
    while pending:
        value, is_free = pending.pop()
        if isinstance(value, str):
            yield value, is_free
        elif isinstance(value, list):
            pending += [(item, False) for item in value]
        elif isinstance(value, dict):
            for key, item in value.items():
                yield key, False
                pending.append((item, key == "provenance"))


def _check_drift(code: str, found: Library, start: Library, limit: float) -> None:
    moved = drift(found, start)
    if moved > limit:
        raise Rejected(code, f"{moved:.2f}; {limit:g} are allowed")
