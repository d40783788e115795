"""How many times as fast as the reference does our kitchen step? And is it the same kitchen?

    python benchmarks/bench_kitchen.py [--ticks 2000] [--rounds 5]

The reference is PyPI `overcooked` 0.2.1 on the same core, in turns with ours. Both play the same
actions: random ones, and those of cooks that walk to what their hands can use, which fills pots and
counters. `step` counts a tick of each; `step and read` also asks ours for its whole state, which
the reference makes anew every tick. Predicted: at least 20 times as many ticks a second everywhere.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from planish.methods.cowork.kitchen.layouts import Layout, load_layout, shipped_layouts
from planish.methods.cowork.kitchen.simulator import Kitchen
from support import write_result

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from kitchen_reference import Reference, driven

FLOOR = 20
SHIPPED = Path(__file__).parents[1] / "src/planish/methods/cowork/shipped/layouts"
REPEATS = 20
"""Of ours in a round, so that a round of ours is long enough to time."""

Actions = list[tuple[int, int]]


def drive(layout: Layout, driver: str, ticks: int) -> Actions:
    """The actions of an episode, played once so that the driver sees what they do."""
    kitchen = Kitchen(layout)
    actions = []
    for both in islice(driven(kitchen, random.Random(layout.name), driver), ticks):
        kitchen.step(*both)
        actions.append(both)
    return actions


def seconds(play: Callable[[], object]) -> float:
    """Processor time, so that what else the machine does counts less."""
    start = time.process_time()
    play()
    return time.process_time() - start


def stepped(layout: Layout, actions: Actions) -> Kitchen:
    kitchen = Kitchen(layout)
    for first, second in actions:
        kitchen.step(first, second)
    return kitchen


def read(layout: Layout, actions: Actions) -> Kitchen:
    kitchen = Kitchen(layout)
    for first, second in actions:
        kitchen.step(first, second)
        kitchen.state()
    return kitchen


def referred(text: str, actions: Actions) -> Reference:
    reference = Reference(text)
    for first, second in actions:
        reference.step(first, second)
    return reference


def ratios(name: str, driver: str, ticks: int, rounds: int) -> dict[str, list[float]]:
    """Reference's seconds over ours by round, for both ways to play ours."""
    layout, text = load_layout(name), (SHIPPED / f"{name}.layout").read_text("utf-8")
    actions = drive(layout, driver, ticks)
    if stepped(layout, actions).state() != referred(text, actions).state():
        raise SystemExit(f"{name}: the kitchens differ after {ticks} ticks")
    found: dict[str, list[float]] = {"step": [], "step and read": []}
    for _ in range(rounds):
        theirs = seconds(lambda: referred(text, actions))
        for way, play in (("step", stepped), ("step and read", read)):
            ours = seconds(lambda play=play: [play(layout, actions) for _ in range(REPEATS)])
            found[way].append(theirs / (ours / REPEATS))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ticks", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows, least = [], float("inf")
    for name in shipped_layouts():
        for driver, said in (("random", "random"), ("goals", "at work")):
            found = ratios(name, driver, options.ticks, options.rounds)
            cells = [
                f"{statistics.median(times):.0f} ({min(times):.0f}-{max(times):.0f})"
                for times in found.values()
            ]
            least = min(least, statistics.median(found["step"]))
            rows.append(f"| {name} | {said} | {' | '.join(cells)} |")
            print(rows[-1])
    write_result(
        "kitchen",
        "The kitchen beside `overcooked` 0.2.1: ticks in the same time",
        f"{options.ticks} ticks, {options.rounds} rounds in turns on one core; the reference's "
        "seconds over ours, median (least-most). Both end every episode in the same state. "
        f"The least median of `step` is {least:.0f}, the floor {FLOOR}.\n\n"
        "| layout | cooks | step | step and read |\n|---|---|---|---|\n" + "\n".join(rows),
    )
    if least < FLOOR:
        raise SystemExit(f"only {least:.1f} times as fast as the reference")


if __name__ == "__main__":
    main()
