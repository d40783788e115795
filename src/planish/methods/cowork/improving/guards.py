"""Which predicate tells a method's failures from its successes.

    guards(played, library.values)[0].subject          "plate if can_use"

Each time a method is taken the kitchen of that tick is read again with every predicate; what
separates the times it ran to its end from those where it failed is the guard that it lacks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from planish.methods.cowork.acting.episodes import Played
from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.registry import PREDICATES, THINGS
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.data import Signal, TickTrace
from planish.methods.cowork.kitchen.layouts import Layout, load_layout
from planish.methods.cowork.kitchen.simulator import Kitchen, State

__all__ = ["guards", "information_gain", "restored"]

MOST_SAMPLES = 80
"""Times a method was taken that are looked at, per method."""

FEWEST = 6
"""Successes and failures that there must be at least."""

SMALLEST_GAIN = 0.15
"""Bits. Below this a predicate says too little to be a guard."""

CHANCE = 0.05
"""With this chance, at most, some predicate seems to be the guard of a method that needs none."""

UNSEEN = (
    *("blocked_for", "stuck_for", "partner_still_for", "trusts_supply"),
    *("hand_over_saves", "room_to_lay", "partner_within", "pushed_for"),
)
"""Predicates that hang on what came before, or on a number, and are not tried.

The others are read as if the partner had just moved and nothing had been laid out.
"""


def guards(played: Sequence[Played], values: dict[str, float]) -> list[Signal]:
    """The best guard of each method, where one says enough.

    Args:
        values: the library's parameters, which predicates read.
    """
    samples: dict[str, list[tuple[dict[str, bool], bool]]] = defaultdict(list)
    for each in played:
        layout = load_layout(each.episode.cell.layout)
        for method, tick, seat, good in _taken(each):
            if len(samples[method]) < MOST_SAMPLES:
                state, old_dynamics = each.frames[tick], each.episode.old_dynamics
                kitchen = restored(layout, state, old_dynamics=old_dynamics)
                facts = _facts(View(kitchen, seat, Memory(), values))
                samples[method].append((facts, good))
    found = []
    for method, rows in sorted(samples.items()):
        failures = sum(not good for _, good in rows)
        if failures < FEWEST or len(rows) - failures < FEWEST:
            continue
        gain, condition = max(
            (information_gain([(facts[name], good) for facts, good in rows]), name)
            for name in rows[0][0]
        )
        if gain < SMALLEST_GAIN or not _is_sure(
            [(facts[condition], good) for facts, good in rows], tried=len(rows[0][0])
        ):
            continue
        holding = [good for facts, good in rows if facts[condition]]
        sign = "" if sum(holding) * len(rows) >= len(holding) * (len(rows) - failures) else "!"
        found.append(
            Signal(
                kind="guard",
                cell="",
                count=failures,
                lost_ticks=gain * failures,
                subject=f"{method} if {sign}{condition}",
            )
        )
    return found


def information_gain(rows: Sequence[tuple[bool, bool]]) -> float:
    """Bits that the first of each pair tells about the second.

    >>> information_gain([(True, True), (False, False)])
    1.0
    """

    def entropy(outcomes: Sequence[bool]) -> float:
        share = sum(outcomes) / len(outcomes)
        if share in (0, 1):
            return 0.0
        return -share * math.log2(share) - (1 - share) * math.log2(1 - share)

    whole = [outcome for _, outcome in rows]
    rest = 0.0
    for value in (True, False):
        part = [outcome for fact, outcome in rows if fact is value]
        if part:
            rest += len(part) / len(rows) * entropy(part)
    return entropy(whole) - rest


def _is_sure(rows: Sequence[tuple[bool, bool]], tried: int) -> bool:
    """Whether it is no luck that the best of so many predicates says that much."""
    from scipy.stats import fisher_exact

    table = [
        [sum(row == (fact, good) for row in rows) for good in (True, False)]
        for fact in (True, False)
    ]
    return bool(fisher_exact(table).pvalue * tried <= CHANCE)


def restored(layout: Layout, state: State, *, old_dynamics: bool = False) -> Kitchen:
    """The kitchen in a recorded state."""
    kitchen = Kitchen(layout, old_dynamics=old_dynamics, starts=state.cells)
    kitchen.tick = state.tick
    kitchen.facing[:] = state.facing
    kitchen.held[:] = state.held
    for tile, thing in state.counters:
        kitchen.on[tile] = thing
    for pot, onions, cooked in state.pots:
        kitchen.onions[pot], kitchen.cooked[pot] = onions, cooked
    return kitchen


def _taken(played: Played) -> Iterator[tuple[str, int, int, bool]]:
    """(method, tick, seat, whether it ended well) of every method that was taken and ended."""
    for seat in (0, 1):
        method, since = "", 0
        for trace in played.traces:
            if trace.seat != seat:
                continue
            ended = trace.event in ("done", "failed", "timeout")
            if method and ended:
                yield method, since, seat, trace.event == "done"
            if ended or _innermost(trace) != method:
                method, since = _innermost(trace), trace.t


def _innermost(trace: TickTrace) -> str:
    return trace.task_path[-1].partition(":")[0] if trace.task_path else ""


def _facts(view: View) -> dict[str, bool]:
    facts = {}
    for name, predicate in PREDICATES.items():
        if name in UNSEEN or predicate.arity > 1:
            continue
        if predicate.arity == 0:
            facts[name] = predicate.test(view)
        else:
            for thing, code in THINGS.items():
                if thing != "nothing" or name in ("holding", "partner_holds"):
                    facts[f"{name}({thing})"] = predicate.test(view, code)
    return facts
