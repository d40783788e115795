"""Does rewarding solution and verdict close the solve-to-judge gap? Arms on several bases.

    python benchmarks/bench_s2j.py [--world half] [--bases 5] [--seeds 1] [--work DIR]
    python benchmarks/bench_s2j.py --world sloppy --seeds 2 --arms judge_only additive gated

Fixed before any of these bases was trained on (development: bases 20, 21 and the shipped reasoner
and apprentice, on gate questions). Bases: of `s2j_world`, made from the seeds 30, 31, ... whatever
they turned out to be; every one is reported. Every arm: `planish s2j train` with the preset `tiny`,
steps of 24 items and 8 rollouts an item (300 steps in the world `half`, 150 in `sloppy`); then
`planish s2j gap` on 400 report pairs and 200 with two wrong candidates, at temperature 1. Pairs for
arm dpo come from the base's own judgments. Metrics: those of `s2j gap`; a verdict that cannot be
read is wrong. Intervals: items nested in runs, differences item by item.

Predictions for the world `half`, where the comparison is what a base lacks:
1. Additive closes the gap on the base's questions by at least half and by 16 points or more, and
   judges 6 points or more better.
2. Solve-only does not close it.
3. Verdicts follow the solution in the judgment more than before (additive).
4. Copying on pairs with two wrong candidates does not rise (additive); with such pairs mixed in, it
   falls. Questions are solved alone as before, within the base's interval.
5. Additive against judge-only: a lead in solving inside the judgment, in the gap none that can be
   told.

Added after a first look at the arms above, which solve alone less well than their bases, and tried
on base 21: questions to solve alone mixed in (`--alone 400`). Predicted of it: it closes what
additive closes, and solves alone within the base's interval. It halved the loss, so one in three
was tried after it, with the same prediction.

Predictions for the world `sloppy`, where seven in ten solutions inside a judgment are careless and
half of these are followed by a right verdict all the same:
6. Additive judges better than judge-only by 2 points or more, with an interval above 0, and solves
   inside the judgment 5 points or more better.
7. Judge-only rewards luck: right verdicts on wrong solutions become more frequent than under
   additive.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import s2j_runs as runs
from support import write_result

STEPS = {"half": 300, "sloppy": 150}
TITLES = {
    "half": "Closing the solve-to-judge gap: what is rewarded",
    "sloppy": "Where wrong solutions guess right: additive against judge-only",
}
ARMS: dict[str, tuple[str, tuple[object, ...]]] = {
    "judge_only": ("judge-only", ()),
    "judge_length": ("judge-only, no solution shorter than the gold", ("--min-solution-tokens", 2)),
    "solve_only": ("solve-only", ()),
    "additive": ("**additive**", ()),
    "gated": ("gated", ()),
    "segment_credit": ("segment credit", ()),
    "additive_mixed": ("additive, a quarter of the items with two wrong candidates", ()),
    "dpo": ("S2J-DPO, offline", ()),
    "additive_alone": ("additive, a question alone in one group of six (later)", ("--alone", 400)),
    "additive_third": (
        "additive, a question alone in one group of three (later)",
        ("--alone", 1000),
    ),
    "weights_4_1": ("additive, weights 4:1", ("--judge-weight", 4)),
    "weights_1_4": ("additive, weights 1:4", ("--solve-weight", 4)),
    "penalty_0": ("additive, no penalty", ("--penalty", 0)),
    "penalty_1": ("additive, penalty 1", ("--penalty", 1)),
}
MAIN = list(ARMS)[:10]
_NAMES = {
    "judge_length": "judge_only",
    "additive_mixed": "additive",
    "additive_alone": "additive",
    "additive_third": "additive",
}


def options_of(arm: str, steps: int) -> tuple[object, ...]:
    """What `planish s2j train` is told about an arm."""
    extra = ARMS[arm][1]
    if arm == "additive_mixed":
        extra = ("--limit", 1500, "--both-wrong", 500)
    if arm == "dpo":
        return ("--arm", "dpo", *extra)
    name = "additive" if arm.startswith(("weights", "penalty")) else _NAMES.get(arm, arm)
    return ("--arm", name, "--steps", steps, *extra)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--world", choices=STEPS, default="half")
    parser.add_argument("--bases", type=int, default=5)
    parser.add_argument("--first-base", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="by default as the world has it")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=MAIN)
    parser.add_argument("--result", help="name of the result; by default the world's")
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--work", type=Path, help="keeps what is done: the same call goes on there")
    options = parser.parse_args()
    options.steps = options.steps or STEPS[options.world]
    bases = range(options.first_base, options.first_base + options.bases)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        worlds = [runs.World(options.world, base, work, options.items) for base in bases]
        before = dict(zip(bases, pool.map(runs.World.before, worlds), strict=True))
        jobs = [
            (world, arm, seed)
            for seed in range(options.seeds)
            for arm in options.arms
            for world in worlds
        ]
        found = pool.map(
            lambda job: job[0].after(job[1], job[2], options_of(job[1], options.steps)), jobs
        )
        after: dict[str, list[runs.Measured]] = {arm: [] for arm in options.arms}
        for (_, arm, _), measured in zip(jobs, found, strict=True):
            after[arm].append(measured)
    write_result(
        options.result or ("s2j" if options.world == "half" else f"s2j-{options.world}"),
        TITLES[options.world],
        _text(options, [before[base] for base in bases], after),
    )


def _text(
    options: argparse.Namespace,
    before: Sequence[runs.Measured],
    after: dict[str, list[runs.Measured]],
) -> str:
    firsts = list(before) * options.seeds
    return "\n\n".join(
        [
            f"{options.bases} bases, {options.seeds} seeds each; {options.steps} steps of 24 items "
            f"and 8 rollouts an item in every arm that draws; {options.items} report pairs, "
            "temperature 1. A verdict that cannot be read is wrong. Intervals: 95 %, items nested "
            "in runs; the runs share their report questions, which makes them a little narrow. A "
            "tiny model shows the mechanism, not the paper's number.",
            runs.table(firsts, after, {arm: ARMS[arm][0] for arm in after}),
            "## Against the base",
            _against(firsts, after),
            "## By base",
            runs.by_base(before, after, options.seeds),
        ]
    )


def _against(firsts: Sequence[runs.Measured], after: dict[str, list[runs.Measured]]) -> str:
    """Paired differences: each arm minus its base, and minus judge-only."""
    lines = [
        "| after minus before | gap on the base's questions | judges right | "
        "follows a solution | follows one that ends otherwise | copies, both wrong | "
        "solves alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm, found in after.items():
        cells = [
            str(runs.difference(found, firsts, pick))
            for pick in (
                runs.gap,
                runs.right,
                runs.follows,
                runs.switches,
                runs.copies,
                runs.solves,
            )
        ]
        lines.append(f"| {ARMS[arm][0]} | {' | '.join(cells)} |")
    text = "\n".join(lines)
    if {"additive", "judge_only"} <= after.keys():
        own = [
            f"{name} {runs.difference(after['additive'], after['judge_only'], pick)}"
            for name, pick in (
                ("gap", runs.gap),
                ("judges right", runs.right),
                ("own solution right", runs.own),
                ("right verdict on a wrong solution", runs.luck),
            )
        ]
        text += f"\n\nAdditive minus judge-only: {'; '.join(own)}."
    return text


if __name__ == "__main__":
    main()
