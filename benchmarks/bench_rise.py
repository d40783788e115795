"""Do two stages make a better judge from fewer rows? Every arm from the same base, tiny world.

    python benchmarks/bench_rise.py [--bases 2] [--seeds 5] [--work DIR]

Fixed before any of these bases and seeds was run (what was tried on others is in docs/LOG.md):

World. `rise_world`: bases that have read careful and careless judges (three careful ones in ten), a
teacher of the same kind, gold labels that never err. All of the teacher's judgments that name the
gold reply are about 7,000 rows.
Arms, at equal rows and equal optimizer steps. SFT on teacher rows; or a third of the rows for SFT
and the others as balanced DPO + NLL pairs of its own judgments. One row in six of every
arm is a question to solve, so that solving is not forgotten.
Metric. Calls of 500 report pairs in both orders that name the gold reply, at temperature 1; what
could not be read is not right. Beside it: both orders right, coverage, and greedy decoding.
Intervals. Bootstrap over runs (a base with a seed of data) of the difference on the same run.
Predictions. (1) Two stages beat SFT at equal rows, and SFT on the union of both stages' rows.
(2) With a tenth of the rows they reach what SFT reaches with all. (3) Failed orders alone
unbalanced, no NLL and NLL only each lose against them. (4) Chosen judgments that solve right, or
rest on the better supported solution, add to it. (5) Solving stays inside its interval. (6) The
better the teacher reasons, the less there is to win: with one that is never careless it is a tie.
Added after the first look, and marked so in the table: SFT on all rows until it gains no more (250
steps, about what the arms with few rows take, leave it short; 3,000 add nothing); a reward head
with a learning rate five times as high (the fixed one left it near chance), the same on all items;
and one row in three to solve, to see whether the last bit of (5) comes back.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ALL, MAIN = 1.0, 0.1
CURVE = (0.02, 0.05, 0.1, 0.2, 0.4)
STEPS = {0.02: (30, 50), 0.05: (50, 75), 0.1: (75, 125), 0.2: (100, 150), 0.4: (125, 200)}
ALL_STEPS, MANY_STEPS = 250, 1000
CASES = {0.02: 1200, 0.05: 1600, 0.1: 2800, 0.2: 3600, 0.4: 4600}  # judged for the pairs
QUESTIONS, COUPLES, REPORT = 2300, 2, 500
CARELESS_TEACHER, TEACHERS = 0.3, (0.6, 1.0)
LEARNING_RATE, BETA, ALPHA, GENERAL, MORE_GENERAL = 2e-4, 1.0, 1.0, 6, 3

TWO = "SFT, then DPO + NLL"
SFT = "SFT"
NAMES = {
    "base": "base, untrained",
    "sft": f"{SFT}, equal rows",
    "union": f"{SFT} on the union of both stages",
    "all": f"{SFT}, all rows",
    "all longer": f"{SFT}, all rows, {MANY_STEPS} steps (added later)",
    "warm": f"{SFT}, first third of the rows",
    "dpo only": "DPO + NLL without a warm-up",
    "two": f"**{TWO}**",
    "supported": f"{TWO}, chosen better supported (ours)",
    "solved": f"{TWO}, chosen also solves right",
    "unbalanced": f"{TWO}, failed orders only, unbalanced",
    "no nll": f"{SFT}, then DPO alone",
    "nll only": f"{SFT}, then NLL on the chosen",
    "scalar": "scalar Bradley–Terry head on as many pairs",
    "scalar faster": "the same, learning rate × 5 (added later)",
    "scalar all": "the same on all items, 750 steps (added later)",
    "two general": f"{TWO}, one row in three to solve (added later)",
    "supported general": "the same, chosen better supported (added later)",
    "sft x3": f"{SFT}, equal rows, vote of 3",
    "two x3": f"{TWO}, vote of 3",
}


def run(base: str, seed: int, work: str) -> dict[str, Any]:
    """Every arm on one base with one seed of data; numbers by arm."""
    import torch

    torch.set_num_threads(1)
    import rise_world as world

    folder = Path(tempfile.mkdtemp(dir=work))
    bench = _Bench(world, Path(base), seed, folder)
    try:
        start = time.monotonic()
        bench.arms()
        bench.curve()
        bench.teachers()
        bench.found["seconds"] = time.monotonic() - start
        return bench.found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Bench:
    """One run. `found` holds the numbers by arm."""

    def __init__(self, world: Any, base: Path, seed: int, folder: Path) -> None:
        self.world, self.base, self.seed, self.folder = world, base, seed, folder
        self.cases = world.items(
            "train", num_questions=QUESTIONS, per_question=COUPLES, seed=10 + seed
        )
        # Questions come one after the other with all their couples: no part may lack any of them.
        self.cases = self.cases[::COUPLES] + self.cases[1::COUPLES]
        self.report = world.items("report", num_questions=REPORT, per_question=1, seed=10 + seed)
        self.rows = world.sft_rows(world.Teacher(CARELESS_TEACHER, seed), self.cases, seed=seed)
        self.found: dict[str, Any] = {"rows": len(self.rows), "base_seed": base.name, "seed": seed}
        self._count = 0

    def fit(
        self,
        kind: str,
        model: Path,
        rows: Sequence[Any],
        steps: int,
        *,
        general: int = GENERAL,
        **more: Any,
    ) -> Path:
        self._count += 1
        extra = len(rows) // (general - 1) if kind != "scalar" else 0
        make = self.world.general_rows if kind == "sft" else self.world.general_pairs
        out = self.folder / f"m{self._count}"
        options = {"learning_rate": LEARNING_RATE, "beta": BETA, "alpha": ALPHA} | more
        mixed = [*rows, *make(extra, seed=self.seed)] if extra else rows
        return self.world.fit(kind, model, mixed, steps=steps, seed=self.seed, out=out, **options)

    def note(self, arm: str, model: Path, *, samples: int = 1, ability: bool = False) -> None:
        number = self.world.measure(model, self.report, seed=self.seed, samples=samples)
        self.found[arm] = asdict(number)
        if samples == 1:
            greedy = self.world.measure(model, self.report, seed=self.seed, greedy=True)
            self.found[arm]["greedy"] = greedy.right
        if ability:
            solved = self.world.solve_rate(model)
            self.found[arm]["solved"] = [solved.value, solved.low, solved.high]

    def budget(self, share: float) -> tuple[int, int]:
        """Judgment rows of SFT and of DPO; the general rows come on top, to make up the share."""
        total = int(share * len(self.rows)) * (GENERAL - 1) // GENERAL
        return total // 3, total - total // 3

    def draws(self, model: Path, share: float) -> Any:
        cases = self.cases[: CASES[share]]
        return self.world.judged(self.world.local(model), cases, samples=8, seed=self.seed)

    def pairs(self, drawn: Any, number: int, share: float, **rules: Any) -> list[Any]:
        cap = 4 if share > 0.2 else 1
        chosen = self.world.dpo_rows(drawn, seed=self.seed, pairs_per_item=cap, **rules)
        return list(chosen.rows[:number])

    def arms(self) -> None:
        """Everything at a tenth of the rows, and SFT on all of them."""
        self.note("base", self.base, ability=True)
        first, second = self.budget(MAIN)
        steps, more_steps = STEPS[MAIN]
        sft = self.fit("sft", self.base, self.rows[: first + second], steps + more_steps)
        self.note("sft", sft, ability=True)
        self.note("sft x3", sft, samples=3)
        every = self.fit("sft", self.base, self.rows, ALL_STEPS)
        self.note("all", every)
        warm = self.fit("sft", self.base, self.rows[:first], steps)
        self.note("warm", warm)
        drawn = self.draws(warm, MAIN)
        plain = self.pairs(drawn, second, MAIN)
        chosen = [self.world.chosen_row(row) for row in plain]
        union = self.fit("sft", self.base, [*self.rows[:first], *chosen], steps + more_steps)
        self.note("union", union)
        two = self.fit("dpo", warm, plain, more_steps)
        self.note("two", two, ability=True)
        self.note("two x3", two, samples=3)
        self.found["pairs"] = {"two": len(plain)}
        for arm, rules in (
            ("supported", {"prefer": "supported"}),
            ("solved", {"require_solution": True}),
            ("unbalanced", {"orders": "failed", "balance": False}),
        ):
            rows = self.pairs(drawn, second, MAIN, **rules)
            self.found["pairs"][arm] = len(rows)
            self.note(arm, self.fit("dpo", warm, rows, more_steps), ability=arm != "unbalanced")
        self.note("no nll", self.fit("dpo", warm, plain, more_steps, alpha=0.0))
        self.note("nll only", self.fit("dpo", warm, plain, more_steps, preference_weight=0.0))
        direct = self.pairs(self.draws(self.base, MAIN), first + second, MAIN)
        self.found["pairs"]["dpo only"] = len(direct)
        self.note("dpo only", self.fit("dpo", self.base, direct, steps + more_steps))
        head = self.fit(
            "scalar",
            self.base,
            [self.world.preference_row(case) for case in self.cases[: first + second]],
            steps + more_steps,
        )
        self.found["scalar"] = self.world.measure_scalar(head, self.report)

    def amendments(self) -> None:
        """What was added after the first look, see the module."""
        first, second = self.budget(MAIN)
        self.note("all longer", self.fit("sft", self.base, self.rows, MANY_STEPS))
        for arm, cases, steps in (
            ("scalar faster", self.cases[: first + second], sum(STEPS[MAIN])),
            ("scalar all", self.cases, 3 * ALL_STEPS),
        ):
            rows = [self.world.preference_row(case) for case in cases]
            head = self.fit("scalar", self.base, rows, steps, learning_rate=5 * LEARNING_RATE)
            self.found[arm] = self.world.measure_scalar(head, self.report)
        warm = self.fit("sft", self.base, self.rows[:first], STEPS[MAIN][0], general=MORE_GENERAL)
        drawn = self.draws(warm, MAIN)
        for arm, rules in (("two general", {}), ("supported general", {"prefer": "supported"})):
            pairs = self.pairs(drawn, second, MAIN, **rules)
            judge = self.fit("dpo", warm, pairs, STEPS[MAIN][1], general=MORE_GENERAL)
            self.note(arm, judge, ability=True)

    def curve(self) -> None:
        """Both recipes at every share of the rows."""
        for share in CURVE:
            if share == MAIN:
                rates = [self.found["sft"]["right"], self.found["two"]["right"]]
            else:
                rates = self._both(self.rows, share)
            self.found[f"curve {share:g}"] = rates

    def teachers(self) -> None:
        """Both recipes at a tenth of the rows of teachers that are less careless."""
        for careful in TEACHERS:
            teacher = self.world.Teacher(careful, self.seed)
            rows = self.world.sft_rows(teacher, self.cases, seed=self.seed)
            self.found[f"teacher {careful:g}"] = self._both(rows, MAIN)

    def _both(self, rows: Sequence[Any], share: float) -> list[float]:
        first, second = self.budget(share)
        steps, more_steps = STEPS[share]
        sft = self.fit("sft", self.base, rows[: first + second], steps + more_steps)
        warm = self.fit("sft", self.base, rows[:first], steps)
        pairs = self.pairs(self.draws(warm, share), second, share)
        two = self.fit("dpo", warm, pairs, more_steps)
        return [
            self.world.measure(model, self.report, seed=self.seed).right for model in (sft, two)
        ]


def amend(base: str, seed: int, work: str) -> dict[str, Any]:
    """The arms that were added after the first look."""
    import torch

    torch.set_num_threads(1)
    import rise_world as world

    folder = Path(tempfile.mkdtemp(dir=work))
    bench = _Bench(world, Path(base), seed, folder)
    try:
        bench.amendments()
        return bench.found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def build(seed: int, folder: str) -> dict[str, Any]:
    """A base of its own, with what it can do before any of the arms."""
    import torch

    torch.set_num_threads(1)
    import rise_world as world

    base = world.build_base(seed, Path(folder))
    gate = world.items("gate", num_questions=300, per_question=1, seed=seed)
    return asdict(world.measure(base, gate, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--bases", type=int, default=2)
    parser.add_argument("--first-base", type=int, default=10)
    parser.add_argument("--work", type=Path, help="keeps what is done: the same call goes on there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = options.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        bases, runs = _measured(options, work)
    from rise_tables import write

    write(bases, runs)


def _measured(options: argparse.Namespace, work: Path) -> tuple[dict[str, Any], list[Any]]:
    seeds = range(options.first_base, options.first_base + options.bases)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        built = _kept(pool, work, [(f"base-{s}", build, (s, str(work / f"b{s}"))) for s in seeds])
        places = [
            (f"{base}-{seed}", (str(work / f"b{base}"), seed, str(work)))
            for seed in range(options.seeds)
            for base in seeds
        ]
        runs = _kept(pool, work, [(f"run-{name}", run, place) for name, place in places])
        more = _kept(pool, work, [(f"amend-{name}", amend, place) for name, place in places])
        return built, [more[f"amend-{name}"] | runs[f"run-{name}"] for name, _ in places]


def _kept(
    pool: ProcessPoolExecutor, work: Path, jobs: Sequence[tuple[str, Callable[..., Any], Any]]
) -> dict[str, Any]:
    """Every job's numbers, from its file where it was done before."""
    waiting = {
        name: pool.submit(function, *arguments)
        for name, function, arguments in jobs
        if not (work / f"{name}.json").exists()
    }
    for name, future in waiting.items():
        part = work / f".{name}.tmp"
        part.write_text(json.dumps(future.result()), encoding="utf-8")
        part.rename(work / f"{name}.json")
        print(f"{name} is done", flush=True)
    return {
        name: json.loads((work / f"{name}.json").read_text(encoding="utf-8")) for name, *_ in jobs
    }


if __name__ == "__main__":
    main()
