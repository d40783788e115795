"""One episode as a page that plays: the kitchen, and beside it why each cook did what it did.

    write_replay(run.artifact("replay.html"), played, layout, library, title="Ring, episode 3")

The page is one file. It fetches nothing, and runs its own script only, by its hash. An address
that ends in `#t=120` opens at tick 120, so that evidence "episode@120" can be linked to.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.cowork.data import Episode, TickTrace
from planish.methods.cowork.kitchen import Layout, State
from planish.methods.cowork.kitchen.simulator import ACTIONS, INTERACT, SOUP
from planish.methods.cowork.skills import Library
from planish.records import write_text
from planish.runs.page import render

if TYPE_CHECKING:
    from planish.methods.cowork.acting.episodes import Played

__all__ = ["DEADLINE_NS", "deliveries", "replay_page", "write_replay"]

DEADLINE_NS = 5_000_000
"""Where the line of the latency strip is drawn by default: 5 ms."""

_COLUMNS = ("stack", "operator", "rejected", "event", "fallback", "plan")


def write_replay(
    path: str | os.PathLike[str],
    played: Played,
    layout: Layout,
    library: Library,
    *,
    title: str,
    deadline_ns: int | None = DEADLINE_NS,
) -> Path:
    """Writes `replay_page`, all or nothing, and returns where."""
    page = replay_page(played, layout, library, title=title, deadline_ns=deadline_ns)
    write_text(path, page)
    return Path(path)


def replay_page(
    played: Played,
    layout: Layout,
    library: Library,
    *,
    title: str,
    deadline_ns: int | None = DEADLINE_NS,
) -> str:
    """The page of one episode.

    Args:
        played: with frames; a seat without traces is shown as the scripted partner it is.
        library: what the episode was played from; its conditions are shown beside the stack.
        deadline_ns: where the strip of planning times has its line; None: none.

    Raises:
        ValueError: the episode has no frames, or they are of another layout.
    """
    if not played.frames:
        raise ValueError("no frames to show: play the episode with trace=True")
    strings = _Strings()
    seats = [_seat(played, seat, library.name, strings) for seat in (0, 1)]
    return render(
        "planish.methods.cowork.showing",
        "replay.html.jinja",
        styles=("replay.css",),
        scripts=("replay.js", "strip.js"),
        title=title,
        facts=_facts(played.episode, layout),
        error=played.episode.error,
        seats=seats,
        methods=_methods(library, played.traces),
        library=library.name,
        foot=_foot(played.episode),
        data=_embedded(_data(played, layout, library, seats, strings, deadline_ns)),
    )


def deliveries(played: Played, layout: Layout) -> list[tuple[int, int, float]]:
    """(tick, seat, value) of every soup served, in order; read from the frames and actions."""
    found = []
    for state, actions in zip(played.frames, played.actions, strict=False):
        for seat in (0, 1):
            ahead = layout.ahead[state.cells[seat]][state.facing[seat]]
            held = state.held[seat]
            if actions[seat] == INTERACT and held >= SOUP and layout.terrain[ahead] == "S":
                found.append((state.tick, seat, layout.recipes[held - SOUP + 1].value))
    return found


class _Strings:
    """Texts and lists of texts, each kept once: a stack repeats for many ticks."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.lists: dict[tuple[int, ...], int] = {}

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts)) if text else -1

    def list(self, texts: Sequence[str]) -> int:
        key = tuple(self.texts.setdefault(text, len(self.texts)) for text in texts)
        return self.lists.setdefault(key, len(self.lists))


def _data(
    played: Played,
    layout: Layout,
    library: Library,
    seats: Sequence[Mapping[str, Any]],
    strings: _Strings,
    deadline_ns: int | None,
) -> dict[str, Any]:
    """What the script reads; see `replay.js` for how."""
    start, deltas = _frames(played.frames, layout)
    described = {node.id: _described(node.controller, node.args) for node in library.operators}
    running = Counter(trace.operator for trace in played.traces if trace.operator)
    return {
        "layout": {"width": layout.width, "height": layout.height, "terrain": layout.terrain},
        "cook": [recipe.ticks for recipe in layout.recipes],
        "start": start,
        "deltas": deltas,
        "actions": ["".join(str(pair[seat]) for pair in played.actions) for seat in (0, 1)],
        "names": ACTIONS,
        "deliveries": [
            (tick - played.frames[0].tick, seat, _number(value))
            for tick, seat, value in deliveries(played, layout)
        ],
        "seats": [{"why": seat["why"], "columns": seat["columns"]} for seat in seats],
        "operators": [name for name, _ in running.most_common()],
        "described": described,
        "methods": {node.id: f"priority {node.priority:g}" for node in library.methods},
        "deadline": deadline_ns,
        "strings": list(strings.texts),
        "lists": list(strings.lists),
    }


def _frames(frames: Sequence[State], layout: Layout) -> tuple[list[int], list[list[int]]]:
    """The first frame whole, and of every later one what changed: index, value, index, value."""
    vectors = [_vector(state, layout) for state in frames]
    deltas = [
        [
            part
            for index, (old, new) in enumerate(zip(before, after, strict=True))
            if old != new
            for part in (index, new)
        ]
        for before, after in pairwise(vectors)
    ]
    return vectors[0], deltas


def _vector(state: State, layout: Layout) -> list[int]:
    """By seat cells, facing, held; then by tile: thing on it, onions in it, ticks cooked."""
    tiles = len(layout.terrain)
    used = [*state.cells, *(tile for tile, *_ in (*state.counters, *state.pots))]
    if max(used) >= tiles:
        raise ValueError(f"the frames are not of the layout {layout.name!r}: tile {max(used)}")
    on, onions, cooked = [0] * tiles, [0] * tiles, [-1] * tiles
    for tile, thing in state.counters:
        on[tile] = thing
    for tile, count, ticks in state.pots:
        onions[tile], cooked[tile] = count, ticks
    return [*state.cells, *state.facing, *state.held, *on, *onions, *cooked]


def _seat(played: Played, seat: int, library: str, strings: _Strings) -> dict[str, Any]:
    """Who sits there, and its decisions column by column; -1 where there is none."""
    cell = played.episode.cell
    is_library = cell.partner == "self" or cell.seat == seat
    who = f"library {library}" if is_library else f"scripted partner: {cell.partner}"
    why = "no traces were kept" if is_library else "scripted partner: no library, no plan to show"
    traces = {trace.t: trace for trace in played.traces if trace.seat == seat}
    if not traces:
        return {"who": who, "traced": False, "why": why, "columns": None}
    columns: dict[str, list[int]] = {name: [] for name in (*_COLUMNS, "missed")}
    for index, state in enumerate(played.frames[: len(played.actions)]):
        trace = traces.get(state.tick)
        for name, value in zip(_COLUMNS, _row(trace, strings), strict=True):
            columns[name].append(value)
        if trace is not None and trace.deadline_missed:
            columns["missed"].append(index)
    return {"who": who, "traced": True, "why": "", "columns": columns}


def _row(trace: TickTrace | None, strings: _Strings) -> tuple[int, ...]:
    if trace is None:
        return (-1,) * len(_COLUMNS)
    return (
        strings.list(trace.task_path),
        strings.text(trace.operator),
        strings.list(trace.rejected),
        strings.text(trace.event),
        strings.text(trace.fallback),
        trace.plan_ns,
    )


def _described(controller: str, args: Mapping[str, Any]) -> str:
    return f"{controller}({', '.join(f'{key} {value}' for key, value in args.items())})"


def _methods(library: Library, traces: Sequence[TickTrace]) -> list[dict[str, Any]]:
    """Every method as a row, the longest at work first."""
    ticks = Counter(
        method
        for trace in traces
        for method in {entry.partition(":")[0] for entry in trace.task_path}
    )
    rows = [
        {
            "id": node.id,
            "task": node.task,
            "priority": f"{node.priority:g}",
            "when": ", ".join(node.when) or "always",
            "subtasks": ", ".join(node.subtasks),
            "ticks": ticks[node.id],
        }
        for node in library.methods
    ]
    return sorted(rows, key=lambda row: (-row["ticks"], row["id"]))


def _facts(episode: Episode, layout: Layout) -> list[tuple[str, str]]:
    dynamics = "a full pot cooks by itself" if episode.old_dynamics else "a cook starts the pot"
    seats = "0 and 1" if episode.cell.partner == "self" else str(episode.cell.seat)
    score = "none" if episode.score is None else f"{episode.score:g}"
    return [
        ("kitchen", layout.name),
        ("partner", episode.cell.partner),
        ("library in seat", seats),
        ("seed", str(episode.seed)),
        ("ticks", str(episode.horizon)),
        ("dynamics", dynamics),
        ("score", score),
    ]


def _foot(episode: Episode) -> list[tuple[str, str]]:
    from planish import __version__

    return [("planish", __version__), ("episode", episode.id), ("library", episode.library_hash)]


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _embedded(data: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: no text in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
