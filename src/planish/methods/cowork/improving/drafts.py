"""Edits of a library under way, in the operations of a patch.

to = Writer(library)
to.value("detour", 12)
to.draft.ops, to.draft.drift          empty where the library has it already
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from planish.methods.cowork.method import ADDED, CHANGED
from planish.methods.cowork.skills import Library, Method

__all__ = ["Draft", "Writer"]


@dataclass(frozen=True)
class Edit:
    """One operation, the drift that it makes, and the node that it is about."""

    op: dict[str, Any]
    drift: float
    node: str


@dataclass
class Draft:
    """Operations under way, and the drift that they make."""

    edits: list[Edit] = field(default_factory=list)

    @property
    def ops(self) -> list[dict[str, Any]]:
        """The operations, in order."""
        return [edit.op for edit in self.edits]

    @property
    def drift(self) -> float:
        """What they move, by the measure of `method.drift`."""
        return sum(edit.drift for edit in self.edits)

    @property
    def touched(self) -> set[str]:
        """The nodes that they are about."""
        return {edit.node for edit in self.edits}

    def add(self, op: dict[str, Any], drift: float, node: str) -> None:
        """Takes up one operation."""
        self.edits.append(Edit(op, drift, node))

    def clashes(self, other: Draft) -> bool:
        """Whether both touch one node, and not in the same way."""
        return any(self._about(node) != other._about(node) for node in self.touched & other.touched)

    def joined(self, other: Draft) -> Draft:
        """Both, one after the other; what both do is done once."""
        return Draft(self.edits + [edit for edit in other.edits if edit not in self.edits])

    def _about(self, node: str) -> list[Edit]:
        return [edit for edit in self.edits if edit.node == node]


class Writer:
    """Writes what a library lacks, and leaves out what it has."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.draft = Draft()
        self.chore = _chore(library)

    def operator(self, name: str, controller: str, **rest: Any) -> None:
        """Adds an operator, unless there is one of that name."""
        if all(node.id != name for node in self.library.operators):
            value = {"id": name, "controller": controller, **rest}
            self._add("operators", name, value)

    def parameter(self, name: str, value: float, low: float, high: float, step: float) -> None:
        """Adds a parameter, unless there is one of that name."""
        if name not in self.library.values:
            node = {"id": name, "value": value, "min": low, "max": high, "step": step}
            self._add("params", name, node)

    def method(self, name: str, when: Sequence[str], subtask: str, priority: float) -> None:
        """Adds a way of doing the chore, unless there is a method of that name."""
        if self.library.method(name) is None:
            node = {
                "id": name,
                "task": self.chore,
                "when": list(when),
                "subtasks": [subtask],
                "priority": priority,
                "provenance": "embedded proposer",
            }
            self._add("methods", name, node)

    def value(self, name: str, value: float) -> None:
        """Sets a parameter that is there, inside its bounds."""
        node = next((node for node in self.library.params if node.id == name), None)
        if node is None or node.locked:
            return
        value = min(max(value, node.min), node.max)
        if node.value == value:
            return
        op = {"op": "replace", "path": f"/params/{name}/value", "value": value}
        self.draft.add(op, abs(value - node.value) / (node.max - node.min), f"params/{name}")

    def condition(self, method: Method | None, kind: str, condition: str) -> None:
        """Adds a condition to `when` or `interrupt_when` of a method that has it not."""
        if method is None or method.locked or condition in getattr(method, kind):
            return
        path = f"/methods/{method.id}/{kind}/-"
        op = {"op": "add", "path": path, "value": condition}
        self.draft.add(op, CHANGED, f"methods/{method.id}")

    def priority(self, method: Method | None, priority: float) -> None:
        """Sets the priority of a method that has another."""
        if method is None or method.locked or method.priority == priority:
            return
        path = f"/methods/{method.id}/priority"
        op = {"op": "replace", "path": path, "value": priority}
        self.draft.add(op, CHANGED, f"methods/{method.id}")

    def _add(self, kind: str, name: str, node: dict[str, Any]) -> None:
        self.draft.add({"op": "add", "path": f"/{kind}/-", "value": node}, ADDED, f"{kind}/{name}")


def _chore(library: Library) -> str:
    """The task that most methods are ways of doing."""
    counts: dict[str, int] = {}
    for method in library.methods:
        counts[method.task] = counts.get(method.task, 0) + 1
    return max(counts, key=lambda task: (counts[task], task))
