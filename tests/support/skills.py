"""A small skill library, as a document that tests may change, and random edits of it.

library = parse_library(document())
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from planish.methods.cowork.data import Cell, Diagnosis, Patch, Signal, TickTrace
from planish.methods.cowork.skills import Library, parse_library

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def document() -> dict[str, Any]:
    """Fetch onions and fill pots, plate and serve, give way; one method is its owner's."""
    return {
        "format": "planish-skills-1",
        "name": "small",
        "description": "Onions into pots.",
        "params": [
            {"id": "patience", "value": 3, "min": 0, "max": 10, "step": 1},
            {"id": "detour", "value": 4, "min": 1, "max": 9, "step": 1},
        ],
        "operators": [
            {
                "id": "get_onion",
                "controller": "take",
                "args": {"thing": "onion"},
                "pre": ["holding(nothing)"],
                "expect": ["holding(onion)"],
            },
            {"id": "fill", "controller": "put", "expect": ["holding(nothing)"]},
            {"id": "wait", "controller": "stay"},
            {"id": "aside", "controller": "step_aside"},
        ],
        "methods": [
            {"id": "give_way", "task": "work", "when": ["blocked_for(patience)", "gives_way"],
             "subtasks": ["aside"], "priority": 90},
            {"id": "cook", "task": "work", "when": ["wanted(onion)"], "subtasks": ["supply"],
             "priority": 60},
            {"id": "fetch_and_fill", "task": "supply", "when": ["holding(nothing)"],
             "subtasks": ["get_onion", "fill"], "provenance": "written by hand"},
            {"id": "fill_now", "task": "supply", "when": ["holding(onion)"], "subtasks": ["fill"],
             "priority": 70},
            {"id": "rest", "task": "work", "subtasks": ["wait"], "priority": 0, "locked": True},
        ],
    }  # fmt: skip


def small(**changes: Any) -> Library:
    """The library, with some of its fields replaced."""
    return parse_library({**document(), **changes})


def patch(library: Library, *ops: dict[str, Any], **fields: Any) -> Patch:
    """A patch of it by these operations."""
    given = {"base_hash": library.digest, "rationale": "a test", **fields}
    return Patch(ops=ops, **given)


def replace(path: str, value: object) -> dict[str, Any]:
    """One operation."""
    return {"op": "replace", "path": path, "value": value}


@st.composite
def edits(draw: st.DrawFn) -> Library:
    """A sound neighbour of the small library."""
    made = document()
    params = {"patience": (0, 10), "detour": (1, 9)}
    for node in made["params"]:
        node["value"] = draw(st.integers(*params[node["id"]]))
    if draw(st.booleans()):
        made["params"].append({"id": "extra", "value": 1, "min": 0, "max": 2, "step": 0.5})
    for node in made["methods"]:
        if node["id"] != "rest":
            node["priority"] = draw(st.integers(0, 100))
            node["when"] = draw(
                st.lists(
                    st.sampled_from(["holding(onion)", "!gives_way", "at_least(onion, 2)"]),
                    max_size=3,
                )
            )
    if draw(st.booleans()):
        made["operators"].append(
            {"id": "get_dish", "controller": "take", "args": {"thing": "dish"}}
        )
        made["methods"].append(
            {"id": "prefetch", "task": "work", "subtasks": ["get_dish", "wait"],
             "roles": draw(st.sampled_from([[], ["seat_0"]]))}
        )  # fmt: skip
    if draw(st.booleans()):
        made["methods"] = [node for node in made["methods"] if node["id"] != "give_way"]
    for kind in ("params", "operators", "methods"):
        made[kind] = draw(st.permutations(made[kind]))
    return parse_library(made)


_IDS = st.sampled_from(
    ["patience", "detour", "get_onion", "fill", "cook", "give_way", "rest", "-", "0", "new", "__x"]
)
_FIELDS = st.sampled_from(
    ["value", "priority", "when", "when/-", "when/0", "when/wanted(onion)", "subtasks/-", "locked",
     "args/thing", "id", "stats", "controller", "task", "roles", "max", "nothing", "a/b/c"]
)  # fmt: skip
_NODES = st.sampled_from(document()["methods"] + document()["operators"] + document()["params"])
_VALUES = (
    ANY_JSON
    | st.integers(0, 100)
    | _NODES
    | st.sampled_from(["onion", "supply", "fill", "holding(dish)", "exec(open('x'))", "work"])
    | st.lists(st.sampled_from(["fill", "wait", "supply", "work", "gives_way"]), max_size=3)
)
_PATHS = (
    st.builds(
        lambda kind, node, field: f"/{kind}/{node}{'/' if field else ''}{field}",
        st.sampled_from(["params", "operators", "methods", "name"]),
        _IDS,
        _FIELDS | st.just(""),
    )
    | st.text(max_size=20)
    | st.none()
)
OPS = st.builds(
    lambda op, path, value: {"op": op, "path": path, "value": value},
    st.sampled_from(["add", "remove", "replace", "test", "move", "copy", None]),
    _PATHS,
    _VALUES,
) | st.dictionaries(st.text(max_size=5), ANY_JSON, max_size=3)


def diagnosis(library: Library) -> Diagnosis:
    """A round in which two agents stood before each other."""
    cell = Cell(layout="coordination_ring")
    ticks = tuple(
        TickTrace(
            t=t,
            seat=seat,
            action="stay",
            task_path=("cook:supply", "fetch_and_fill:get_onion"),
            operator="get_onion",
            rejected=("give_way: gives_way",),
        )
        for t in range(10, 15)
        for seat in (0, 1)
    )
    return Diagnosis(
        library_hash=library.digest,
        signals=(
            Signal(
                kind="mutual_block",
                cell=str(cell),
                count=7,
                lost_ticks=310,
                subject="give_way",
                evidence_ids=("episode-1@12",),
            ),
        ),
        histogram={"stay": 0.8, "north": 0.2},
        stagnation=(("episode-1", 12),),
        methods={"give_way": (12, 0), "cook": (40, 31)},
        scores={str(cell): 0.0},
        windows={"episode-1@12": ticks},
    )
