"""Can a trained judge teach a weaker policy? Labels of a judge, a verifier and a coin, tiny world.

    python benchmarks/bench_rise_policy.py [--bases 2] [--seeds 5] [--work DIR]

Fixed before any of these bases, policies and seeds was run: the policy is a solver whose training
stopped where it solves half of the questions; it answers every train question eight times. Who
labels: two-stage judges of `bench_rise` from 40 % of the rows (pairs as they come, and better
supported ones), the base they came from, the verifier (the ceiling), a coin (the floor). All with
`planish rise label` on the same replies, judges with votes of three and a margin of 0.5, then
`planish rise improve` on equally many pairs, the same steps. Metric: report questions solved at
temperature 1, by the verifier, after minus before. Recovered: the arm's gain over the ceiling's;
beside it the same with the floor's gain taken off both. Intervals: bootstrap over runs.
Prediction: the labels of the judge from better supported pairs recover at least 70 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy

from bench_rise import STEPS
from planish.records import read_jsonl, write_jsonl, write_text
from planish.stats import Estimate, mean, paired_bootstrap
from support import planish, write_result

SHARE = 0.4
PROMPTS, SAMPLES, VOTES, MARGIN = 2300, 8, 3, 0.5
TRAINING = ("--dpo-steps", 100, "--dpo-learning-rate", 2e-4, "--beta", 0.3, "--alpha", 1)
ARMS = {
    "verifier": "verifier labels (ceiling)",
    "supported": "**two-stage judge, better supported pairs**",
    "two": "two-stage judge, pairs as they come",
    "base": "the untrained base as judge",
    "random": "random labels (floor)",
}


def make(base_seed: int, seed: int, folder: Path) -> None:
    """In a process of its own: the policy and the judges of one run."""
    import torch

    torch.set_num_threads(1)
    import rise_world as world
    from bench_rise import _Bench
    from planish.embedded.reasoner_training import train_solver

    base = world.build_base(base_seed, folder.parent / f"b{base_seed}")
    world.save(train_solver(100 * base_seed + seed, target=0.5).model, folder / "policy")
    bench = _Bench(world, base, seed, folder)
    first, second = bench.budget(SHARE)
    steps, more_steps = STEPS[SHARE]
    warm = bench.fit("sft", base, bench.rows[:first], steps)
    drawn = bench.draws(warm, SHARE)
    for name, rules in (("two", {}), ("supported", {"prefer": "supported"})):
        pairs = bench.pairs(drawn, second, SHARE, **rules)
        bench.fit("dpo", warm, pairs, more_steps).rename(folder / name)


def run(base_seed: int, seed: int, work: Path) -> dict[str, Any]:
    """Every arm of one run; numbers by arm."""
    folder = Path(tempfile.mkdtemp(dir=work))
    code = f"import bench_rise_policy as b; b.make({base_seed}, {seed}, b.Path({str(folder)!r}))"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    policy = f"hf:{folder / 'policy'}"
    judges = {name: folder / name for name in ("supported", "two")}
    judges["base"] = work / f"b{base_seed}"
    found: dict[str, Any] = {}
    for arm in ARMS:
        by: tuple[object, ...] = ("--by", arm)
        if arm in judges:
            by = ("--judge", f"hf:{judges[arm]}?batch_size=256", "--judge-samples", VOTES)
            by += ("--margin", MARGIN)
        labels = planish(
            *("rise", "label", "--policy", f"{policy}?batch_size=256", "--task", "chain:3"),
            *by,
            *("--preset", "tiny", "--samples", SAMPLES, "--limit", PROMPTS, "--seed", seed),
            *("--cache", folder / "replies.jsonl", "--min-coverage", 0.5),
            *("--out", folder / f"labels-{arm}", "--runs", folder / "runs"),
        )
        found[arm] = {key: labels[key] for key in ("num_rows", "label_accuracy")}
    number = min(found[arm]["num_rows"] for arm in ARMS)
    for arm in ARMS:
        rows = [row for _, row in read_jsonl(folder / f"labels-{arm}" / "dpo.jsonl")][:number]
        pairs = folder / f"{arm}.jsonl"
        write_jsonl(pairs, rows)
        improved = planish(
            *("rise", "improve", "--policy", policy, "--pairs", pairs, "--task", "chain:3"),
            *("--out", folder / f"better-{arm}", "--preset", "tiny", "--seed", seed),
            *(*TRAINING, "--temperature", 1, "--runs", folder / "runs"),
        )
        found[arm] |= improved
    found["pairs"] = number
    shutil.rmtree(folder, ignore_errors=True)
    return found


def recovered(runs: Sequence[dict[str, Any]], arm: str, floor: str = "") -> Estimate:
    """The arm's gain over the ceiling's; with a floor, its gain is taken off both."""
    gains = [
        [found[name]["solve_difference"] for name in (arm, "verifier", floor or arm)]
        for found in runs
    ]
    own, ceiling, least = numpy.array(gains).T
    if not floor:
        least = numpy.zeros(len(runs))
    picks = numpy.random.default_rng(0).integers(len(runs), size=(2000, len(runs)))
    shares = [(own[pick] - least[pick]).mean() / (ceiling[pick] - least[pick]).mean()
              for pick in picks]  # fmt: skip
    low, high = numpy.percentile(shares, (2.5, 97.5))
    value = (own - least).mean() / (ceiling - least).mean()
    return Estimate(value=float(value), low=float(low), high=float(high), n=len(runs))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bases", type=int, default=2)
    parser.add_argument("--first-base", type=int, default=10)
    parser.add_argument("--work", type=Path, help="keeps what is done: the same call goes on there")
    options = parser.parse_args()
    bases = range(options.first_base, options.first_base + options.bases)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        jobs = [(base, seed) for seed in range(options.seeds) for base in bases]
        runs = list(pool.map(lambda job: _kept(*job, work), jobs))
    before = mean([found["verifier"]["solve_before"] for found in runs])
    verifier = [found["verifier"]["solve_difference"] for found in runs]
    lines = []
    for arm, text in ARMS.items():
        gains = [found[arm]["solve_difference"] for found in runs]
        short = "" if arm == "verifier" else str(paired_bootstrap(gains, verifier))
        shares = ("", "") if arm in ("verifier", "random") else (
            str(recovered(runs, arm)), str(recovered(runs, arm, "random"))
        )  # fmt: skip
        accuracy = mean([found[arm]["label_accuracy"] for found in runs]).value
        lines.append(
            f"| {text} | {accuracy:.3f} | {mean(gains)} | {short} | {' | '.join(shares)} |"
        )
    write_result(
        "rise-policy",
        "A weaker solver taught by labels of a judge, a verifier and a coin",
        f"{options.bases} bases, {options.seeds} seeds each, {len(runs)} runs per arm; {PROMPTS} "
        f"prompts, {SAMPLES} replies each, equally many pairs per arm within a run (fewest "
        f"{min(found['pairs'] for found in runs)}), {TRAINING[1]} steps. The policy solves "
        f"{before} of the report questions at temperature 1 before. Intervals: bootstrap over "
        "runs. A tiny model shows the mechanism, not the paper's number.\n\n"
        "| labels | pairs right against wrong | solved, after − before | minus the ceiling's | "
        "share of the ceiling's gain | the same above the floor |\n|---|---|---|---|---|---|\n"
        + "\n".join(lines),
    )


def _kept(base: int, seed: int, work: Path) -> dict[str, Any]:
    """The numbers of a run, from its file where it was done before."""
    path = work / f"policy-{base}-{seed}.json"
    if not path.exists():
        write_text(path, json.dumps(run(base, seed, work)))
        print(f"{path.stem} is done", flush=True)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
