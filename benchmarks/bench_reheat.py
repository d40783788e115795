"""Does RL from a reheated policy beat RL without? Arms from one collapsed policy, in many worlds.

    python benchmarks/bench_reheat.py [--worlds 8] [--first-world 10] [--work DIR]
    python benchmarks/bench_reheat.py --seeds 0 1 --arms continue third held \\
        --result reheat-held --work DIR

Fixed before any of these worlds was trained in (development: worlds 0, 1 and 2). Worlds: random
graphs of `reheat_world`, whatever they turn out to be; every one is reported. Collapse: 700 steps
of GRPO with 32 questions and 8 rollouts from a policy that has read random walks. Every arm: 210
more steps, or as many rollouts. What a reheating draws is taken off its RL (equal rollouts); in
a second account so are the seconds of all it does, probes after every step and the gate included
(equal seconds). Reheating stops at 0.4 of the entropy of the policy that RL began with, anchored
reheating at 0.5.
Metrics: right draws (16 of each of 500 report questions, temperature 1), and the reach: the chance
of a right draw on those that the collapsed policy missed in 16. Intervals: questions nested in
worlds, differences question by question; p: t-test over the worlds' differences, Holm over all
arms. Power: the difference that eight worlds would find four times out of five.

Predictions:
1. Plain GRPO collapses: at most 15 % of the first entropy and at least 60 % of groups without
   variance, in most worlds and on average.
2. Every frozen reheating reaches its target within 60 steps. Trained through the final norm alone
   it keeps token agreement at 0.96 or more, the top-10 overlap at 0.95 or more and the greedy
   accuracy inside its interval, in every world; with all weights it does not keep the overlap.
3. The reheating costs at most 5 % of the seconds of the RL before it.
4. Tempering towards the uniform distribution (frozen, refresh, live, reverse, focused, rounds) does
   not bring back what the policy could once reach, and RL from it leads RL that simply goes on by
   less than 0.02 either way.
5. Anchored: the reach of missed questions rises at least fivefold by the reheating alone, and RL
   from it leads by 0.03 or more, with an interval above 0. The adaptive bonus is the baseline
   that could win.

Added after a look at one seed of the first 15 arms, in which the anchored policy that then learns
at a third of the rate led by 0.058, and Holm let it stand: RL that simply goes on at a third of the
rate, the same after frozen reheating, and a second seed of what follows the collapse. Predicted:
the slower rate alone leads, too, but the anchored policy leads it by 0.02 or more with an interval
above 0, over both seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from planish.stats import Estimate, holm, nested_bootstrap
from reheat_world import AFTER, ARMS, COLLAPSE, DRAWS, result_path
from support import write_result

Found = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--first-world", type=int, default=10)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of what follows")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one core each")
    parser.add_argument("--result", default="reheat")
    parser.add_argument("--work", type=Path, help="keeps what is done: the same call goes on there")
    options = parser.parse_args()
    worlds = range(options.first_world, options.first_world + options.worlds)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.jobs) as pool:
        work = (options.work or Path(name)).resolve()
        for jobs in (
            [f"{world}:collapse" for world in worlds],
            [
                f"{world}:{arm}:{seed}"
                for seed in options.seeds
                for arm in options.arms
                for world in worlds
            ],
        ):
            shares = [jobs[first :: options.jobs] for first in range(options.jobs)]
            list(pool.map(lambda share: _run(share, work), shares))
        bases = [
            json.loads((work / f"world-{world}" / "collapse.json").read_text()) for world in worlds
        ]
        found = {
            arm: [
                _over_seeds(
                    [
                        json.loads(result_path(work, world, arm, seed).read_text())
                        for seed in options.seeds
                    ]
                )
                for world in worlds
            ]
            for arm in options.arms
        }
    write_result(
        options.result,
        "Reheating a collapsed policy: what RL makes of it afterwards",
        text(worlds, bases, found, options.seeds),
    )


def _run(jobs: Sequence[str], work: Path) -> None:
    """Some arms, one after the other, in a process of one core."""
    script = Path(__file__).with_name("reheat_world.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(work), *jobs], check=True, env=environment)


def _over_seeds(runs: Sequence[Found]) -> Found:
    """One arm in one world: each question's mean over the seeds, and the first seed's reheating."""
    found = dict(runs[0])
    for account in ("end", "early"):
        found[account] = {
            name: [sum(each) / len(runs) for each in zip(*columns, strict=True)]
            if isinstance(columns[0], list)
            else sum(columns) / len(runs)
            for name in runs[0][account]
            for columns in [[run[account][name] for run in runs]]
        }
    found["reach"] = [
        sum(each) / len(runs) for each in zip(*(r["reach"] for r in runs), strict=True)
    ]
    return found


def text(
    worlds: Sequence[int],
    bases: Sequence[Found],
    found: Mapping[str, list[Found]],
    seeds: Sequence[int] = (0,),
) -> str:
    """The whole result."""
    return "\n\n".join(
        [
            f"{len(worlds)} worlds; {COLLAPSE} steps of RL, then {AFTER} steps or as many rollouts "
            f"in every arm, seeds {', '.join(map(str, seeds))}. Intervals: 95 %, questions nested "
            "in worlds. A tiny model shows the mechanism, not the paper's number.",
            "## The collapse",
            _collapse(worlds, bases),
            "## RL afterwards",
            _arms(bases, found),
            "## Arms against each other",
            _pairs(found),
            "## The reheating alone",
            _reheating(bases, found),
            "## By world",
            _by_world(worlds, bases, found),
        ]
    )


def _rights(measured: Found) -> list[float]:
    return [right / DRAWS for right in measured["right"]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _collapse(worlds: Sequence[int], bases: Sequence[Found]) -> str:
    rows = ["| world | entropy | of the first | groups without variance | pass@1 | missed |"]
    rows.append("|---|---|---|---|---|---|")
    for world, base in zip(worlds, bases, strict=True):
        first, after = base["first"], base["collapsed"]
        missed = _mean([float(right == 0) for right in after["right"]])
        rows.append(
            f"| {world} | {first['entropy']:.3f} -> {after['entropy']:.3f} "
            f"| {after['entropy'] / first['entropy']:.1%} | {after['zero_variance']:.1%} "
            f"| {_mean(_rights(first)):.3f} -> {_mean(_rights(after)):.3f} | {missed:.1%} |"
        )
    return "\n".join(rows)


def _arms(bases: Sequence[Found], found: Mapping[str, list[Found]]) -> str:
    plain = found["continue"]
    others = [arm for arm in found if arm != "continue"]
    tests = {
        (arm, account): _test(found[arm], plain, account)
        for account in ("end", "early")
        for arm in others
    }
    adjusted = {
        (arm, account): p
        for account in ("end", "early")
        for arm, p in zip(others, holm([tests[arm, account][0] for arm in others]), strict=True)
    }
    rows = [
        "| arm | pass@1 | minus continue, equal rollouts | p (Holm) | equal seconds | p (Holm) "
        "| found at power 0.8 | greedy | entropy | missed ones reached |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm, ends in found.items():
        level = _mean([_mean(_rights(end["end"])) for end in ends])
        cells = ["", "", "", "", ""]
        if arm != "continue":
            cells = [
                f"{_difference(ends, plain, 'end')}",
                _p(adjusted[arm, "end"]),
                f"{_difference(ends, plain, 'early')}",
                _p(adjusted[arm, "early"]),
                f"{tests[arm, 'end'][1]:.3f}",
            ]
        greedy = _mean([_mean(end["end"]["greedy"]) for end in ends])
        entropy = _mean([end["end"]["entropy"] for end in ends])
        reach = nested_bootstrap([end["reach"] for end in ends])
        rows.append(
            f"| {ARMS[arm].title} | {level:.3f} | {' | '.join(cells)} | {greedy:.3f} "
            f"| {entropy:.3f} | {reach} |"
        )
    before = _mean([_mean(_rights(base["collapsed"])) for base in bases])
    return f"The collapsed policies have pass@1 {before:.3f}.\n\n" + "\n".join(rows)


_PAIRS = (
    ("held", "third"),
    ("frozen_held", "third"),
    ("held", "frozen_held"),
    ("anchored", "frozen"),
    ("kept", "adaptive"),
)


def _pairs(found: Mapping[str, list[Found]]) -> str:
    """What an arm adds to another one that shares all but one thing with it."""
    rows = ["| pass@1 | equal rollouts | p | equal seconds | p |", "|---|---|---|---|---|"]
    for arm, other in _PAIRS:
        if arm in found and other in found:
            cells = [
                cell
                for account in ("end", "early")
                for cell in (
                    str(_difference(found[arm], found[other], account)),
                    _p(_test(found[arm], found[other], account)[0]),
                )
            ]
            title = f"{ARMS[arm].title} minus {ARMS[other].title}"
            rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _difference(ends: Sequence[Found], plain: Sequence[Found], account: str) -> Estimate:
    return nested_bootstrap(
        [
            [a - b for a, b in zip(_rights(end[account]), _rights(other[account]), strict=True)]
            for end, other in zip(ends, plain, strict=True)
        ]
    )


def _test(ends: Sequence[Found], plain: Sequence[Found], account: str) -> tuple[float, float]:
    """p over the worlds' differences, and the difference found at power 0.8."""
    from scipy import stats

    gaps = [
        _mean(_rights(end[account])) - _mean(_rights(other[account]))
        for end, other in zip(ends, plain, strict=True)
    ]
    free = len(gaps) - 1
    error = float(stats.sem(gaps))
    return (
        float(stats.ttest_1samp(gaps, 0.0).pvalue),
        float(stats.t.ppf(0.975, free) + stats.t.ppf(0.8, free)) * error,
    )


def _p(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _reheating(bases: Sequence[Found], found: Mapping[str, list[Found]]) -> str:
    rows = [
        "| arm | ended at target | steps | entropy | greedy agreement (least) | top-10 (least) "
        "| token KL | accuracy inside | share of the RL's seconds | reach, before -> after |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    before = nested_bootstrap([base["reach"] for base in bases])
    for arm, ends in found.items():
        first = [end["thaws"][0] for end in ends if end["thaws"]]
        if not first:
            continue

        def column(name: str, thaws: Sequence[Found] = first) -> list[float]:
            return [float(thaw[name]) for thaw in thaws]

        inside = sum(
            thaw["accuracy_after"]["value"] >= thaw["accuracy_before"]["low"] for thaw in first
        )
        cost = [
            end["thaws"][0]["seconds"] / (COLLAPSE * end["pace"]) for end in ends if end["thaws"]
        ]
        agreement, overlap = column("greedy_agreement"), column("top10_overlap")
        rows.append(
            f"| {ARMS[arm].title} | {sum(t['ended'] == 'target' for t in first)} of {len(first)} "
            f"| {_mean(column('steps')):.0f} "
            f"| {_mean(column('before')):.3f} -> {_mean(column('after')):.3f} "
            f"| {_mean(agreement):.3f} ({min(agreement):.3f}) "
            f"| {_mean(overlap):.3f} ({min(overlap):.3f}) | {_mean(column('token_kl')):.3f} "
            f"| {inside} of {len(first)} | {_mean(cost):.1%} "
            f"| {before.value or 0:.4f} -> {nested_bootstrap([t['reach'] for t in first])} |"
        )
    return "\n".join(rows)


def _by_world(
    worlds: Sequence[int], bases: Sequence[Found], found: Mapping[str, list[Found]]
) -> str:
    head = "| arm | " + " | ".join(map(str, worlds)) + " |"
    rows = [head, "|---|" + "---|" * len(worlds)]

    def row(title: str, level: Callable[[int], float]) -> str:
        return f"| {title} | " + " | ".join(f"{level(i):.3f}" for i in range(len(worlds))) + " |"

    rows.append(row("collapsed", lambda i: _mean(_rights(bases[i]["collapsed"]))))
    rows += [
        row(ARMS[arm].title, lambda i, ends=ends: _mean(_rights(ends[i]["end"])))  # type: ignore[misc]
        for arm, ends in found.items()
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    main()
