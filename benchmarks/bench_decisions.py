"""How long does a decision take, and how long a round of the gate?

    python benchmarks/bench_decisions.py [--decisions 100000] [--rounds 3] [--libraries full FILE]

Decisions: each library in self-play on the five classic layouts, one core, the 5 ms deadline on,
garbage collector off during an episode as in every episode. Asked: p99 below 1 ms, no decision
above 5 ms, no deadline missed. A round of the gate: 5 layouts x 3 partners x 8 seeds x 400 ticks,
on one worker and on two, in turns; asked: at most 10 s on two cores. Wall-clock time is told beside
the time of the processor, for other work on the machine lengthens the first alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from planish.methods.cowork.acting.episodes import Job, play, play_all
from planish.methods.cowork.data import Cell
from planish.methods.cowork.kitchen.layouts import CLASSIC
from planish.methods.cowork.skills import load_library
from support import write_result

PARTNERS = ("self", "greedy", "random")


def decisions(source: str, wanted: int) -> str:
    library, took, misses, seed = load_library(source), [], 0, 0
    for layout in CLASSIC:  # warm: tables of the layout are measured once
        play(Job(Cell(layout=layout), library, 10_000, deadline_ns=5_000_000))
    while len(took) < wanted:
        for layout in CLASSIC:
            played = play(Job(Cell(layout=layout), library, seed, deadline_ns=5_000_000))
            took += played.latencies_ns
            misses += played.episode.deadline_misses
        seed += 1
    p50, p95, p99, p999, largest = np.percentile(took, (50, 95, 99, 99.9, 100)) / 1e6
    slow = sum(each > 5_000_000 for each in took)
    return (
        f"{Path(source).stem}, {len(took):,} decisions: p50 {p50:.3f} ms, p95 {p95:.3f}, "
        f"p99 {p99:.3f}, p99.9 {p999:.3f}, largest {largest:.3f}; {slow} above 5 ms, "
        f"{misses} deadlines missed; 0 tokens, for nothing in an episode can call a model."
    )


def gate_round(rounds: int) -> str:
    library = load_library("full")
    jobs = [
        Job(Cell(layout=layout, partner=partner), library, seed)
        for layout in CLASSIC
        for partner in PARTNERS
        for seed in range(8)
    ]
    play_all(jobs[:4], workers=2)  # the workers are there, and have imported
    walls: dict[int, list[float]] = {1: [], 2: []}
    scores = {}
    for _ in range(rounds):
        for workers in (1, 2):
            begun = time.perf_counter()
            episodes = play_all(jobs, workers=workers)
            walls[workers].append(time.perf_counter() - begun)
            scores[workers] = [episode.score for episode in episodes]
    assert scores[1] == scores[2]
    one, two = statistics.median(walls[1]), statistics.median(walls[2])
    return (
        f"{len(jobs)} episodes of 400 ticks: {one:.1f} s on one worker, {two:.1f} s on two "
        f"({one / two:.2f} times as fast), the same scores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--libraries", nargs="+", default=["full", "impaired"])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    parts = [decisions(source, given.decisions) for source in given.libraries]
    body = "\n\n".join([*parts, gate_round(given.rounds)])
    write_result("decisions", "Cowork: the time of a decision, and of a round of the gate", body)


if __name__ == "__main__":
    main()
