"""What closes the gap without reinforcement learning? Better asking, RISE's pairs, a reward head.

    python benchmarks/bench_s2j_peers.py [--bases 5] [--work DIR]

The bases of `bench_s2j.py` (world `half`) on its report pairs. Without training: `planish s2j
baselines`. Trained: DPO with NLL on pairs of the base's own judgments as RISE chooses them (right
against wrong verdict; `planish rise synthesize` and `train`, preset `tiny`), and a scalar
Bradley-Terry head on 2,000 pairs of replies (750 steps at five times the learning rate, the setting
that did best in `bench_rise.py`). Nothing is predicted: these are the peers of the arms there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import s2j_runs as runs
from planish.judges.pairs import task_cases
from planish.records import write_jsonl
from planish.stats import mean
from planish.tasks.chain import ChainTask
from support import planish, write_result

PAIRS = 2000
WAYS = {
    "template_only": "template only: a verdict at once",
    "solve_first": "solve first",
    "own_answer": "own answer as reference",
    "gold_answer": "gold as reference",
    "vote": "vote of verdicts at equal tokens",
}


def _files(work: Path, items: int) -> dict[str, Path]:
    """Pairs to learn from, and those of the report: the same that `planish s2j gap` draws."""
    found = {}
    for split, limit in (("train", PAIRS), ("report", items)):
        found[split] = work / f"{split}.jsonl"
        cases = task_cases(ChainTask(3), split=split, limit=limit, seed=0)
        write_jsonl(found[split], cases)
    return found


def rise(world: runs.World, files: dict[str, Path]) -> runs.Measured:
    """DPO with NLL on right against wrong verdicts, whatever the solution was."""

    def train(out: Path) -> dict[str, Any]:
        rows = out.with_name(f"{out.name}-rows")
        planish(
            *("rise", "synthesize", "--pairs", files["train"], "--stage", "dpo"),
            *("--teacher", f"hf:{world.folder}?batch_size=512", "--preset", "tiny"),
            *("--out", rows, "--runs", world.runs),
        )
        return planish(
            *("rise", "train", "--model", f"hf:{world.folder}", "--dpo", rows, "--out", out),
            *("--preset", "tiny", "--runs", world.runs),
        )

    return world.trained("rise", train)


def scalar(world: runs.World, files: dict[str, Path]) -> float:
    """The reward head's accuracy; it reads one reply at a time, so there are no orders."""
    out = world.work / f"scalar-{world.base}"
    if not out.exists():
        planish(
            *("rise", "train", "--model", f"hf:{world.folder}", "--scalar", files["train"]),
            *("--preset", "tiny", "--scalar-learning-rate", 1e-3, "--scalar-steps", 750),
            *("--out", out, "--runs", world.runs),
        )
    judged = planish(
        *("rise", "judge", "--model", f"scalar:{out}", "--pairs", files["report"]),
        *("--runs", world.runs),
    )
    return float(judged["vote_accuracy"])


def asked(world: runs.World) -> dict[str, Any]:
    """The ways to ask, without training."""
    return planish(
        *("s2j", "baselines", "--model", f"hf:{world.folder}?batch_size=512", "--task", "chain:3"),
        *("--preset", "tiny", "--limit", world.num_items, "--runs", world.runs),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bases", type=int, default=5)
    parser.add_argument("--first-base", type=int, default=30)
    parser.add_argument("--items", type=int, default=400)
    parser.add_argument("--work", type=Path, help="keeps what is done: the same call goes on there")
    options = parser.parse_args()
    bases = range(options.first_base, options.first_base + options.bases)
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(2) as pool:
        work = (options.work or Path(name)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        files = _files(work, options.items)
        worlds = [runs.World("half", base, work, options.items) for base in bases]
        before = list(pool.map(runs.World.before, worlds))
        ways = list(pool.map(asked, worlds))
        pairs = list(pool.map(lambda world: rise(world, files), worlds))
        heads = list(pool.map(lambda world: scalar(world, files), worlds))
    write_result("s2j-peers", "Peers of Solve-to-Judge", _text(before, ways, pairs, heads))


def _text(
    before: Sequence[runs.Measured],
    ways: Sequence[dict[str, Any]],
    pairs: Sequence[runs.Measured],
    heads: Sequence[float],
) -> str:
    lines = ["| | read calls that are right | tokens an item |", "|---|---|---|"]
    for arm, text in WAYS.items():
        right = mean([way[f"{arm}_accuracy"] for way in ways])
        tokens = mean([way[f"{arm}_tokens"] for way in ways]).value or 0.0
        lines.append(f"| {text} | {right} | {tokens:.1f} |")
    lines += [
        f"| RISE: DPO + NLL on right against wrong verdicts | {mean(_rights(pairs))} | |",
        f"| scalar Bradley-Terry head on {PAIRS} pairs | {mean(heads)} | 0 |",
    ]
    return (
        f"{len(before)} bases. Intervals: 95 %, bootstrap over bases. A tiny model shows the "
        "mechanism, not the paper's number.\n\n" + "\n".join(lines) + "\n\n"
        f"The gap on the base's questions after RISE's pairs: {runs.level(pairs, runs.gap)}, "
        f"minus before {runs.difference(pairs, before, runs.gap)}; own solution right "
        f"{runs.level(pairs, runs.own)}; solves alone {runs.level(pairs, runs.solves)}."
    )


def _rights(found: Sequence[runs.Measured]) -> list[float]:
    return [runs.level([one], runs.right).value or 0.0 for one in found]


if __name__ == "__main__":
    main()
