"""Do the intervals hold, and does the paired test keep its level? Simulated answers.

    python benchmarks/bench_vfaith_stats.py [SIMULATIONS]

Answers with known probabilities go through the same functions as those of a model. A 95 % interval
must hold the true value in 93 to 97 % of the simulations; the exact McNemar test at 5 % must call
at most 5.5 % of the differences real where there is none.
"""

from __future__ import annotations

import sys
from collections import Counter

import numpy as np

from planish.methods.vfaith.config import Config
from planish.methods.vfaith.scoring.metrics import estimate, terms
from planish.methods.vfaith.scoring.sheets import MISSING, Sheet
from planish.stats import mcnemar
from support import write_result

SIMULATIONS, NULLS = 1000, 4000
SIZES = (664, 150)
RESAMPLES = 2000  # of an interval; the stage takes 10,000
RAW, EDITED, STICK, PLACEBO, SEEN = 0.85, 0.6, 0.5, 0.95, 0.85
FLOOR, CEILING, LEVEL = 0.93, 0.97, 0.055

_ACC_PLACEBO = RAW * PLACEBO + (1 - RAW) * (1 - PLACEBO) / 3
TRUE = {
    "delta": RAW - EDITED,
    "delta_net": _ACC_PLACEBO - EDITED,
    "repeat_ratio": STICK,
    "pair_acc": RAW * EDITED,
    "gated_unfaithfulness": 1 - EDITED,
}


def simulate(rng: np.random.Generator, n: int) -> Sheet:
    """Answers to n pairs of four options; 0 is right before the edit, 1 after it."""

    def other(*known: np.ndarray) -> np.ndarray:
        """Any of the four but those, all alike."""
        weights = rng.random((n, 4))
        for each in known:
            weights[np.arange(n), each] = -1
        return weights.argmax(axis=1)

    zeros, ones = np.zeros(n, int), np.ones(n, int)
    raw = np.where(rng.random(n) < RAW, 0, other(zeros))
    lost = np.where(rng.random(n) < STICK, 0, other(zeros, ones))
    edited = np.where(rng.random(n) < EDITED, 1, lost)
    placebo = np.where(rng.random(n) < PLACEBO, raw, other(raw))
    seen = rng.random(n) < SEEN
    arms = {"raw": raw, "edited": edited, "placebo": placebo, "text": np.full(n, MISSING)}
    return Sheet(
        label="", model="", revision="", pair_ids=(),
        source=np.arange(n), subset=np.full(n, "REA"), family=np.full(n, "x"),
        item=np.zeros(n, bool), options=np.full(n, 4, np.int8),
        gold_raw=np.zeros(n, np.int8), gold_edited=np.ones(n, np.int8),
        arms={name: codes.astype(np.int8)[:, None] for name, codes in arms.items()},
        perception={
            "perception_raw": np.full((n, 1, 1), MISSING, np.int8),
            "perception_edited": seen.astype(np.int8)[:, None, None],
        },
        has_placebo=np.ones(n, bool), questions=np.ones(n, np.int8),
    )  # fmt: skip


def coverage(n: int, simulations: int) -> dict[str, float]:
    """Share of simulations whose interval holds the true value."""
    rng = np.random.default_rng(n)
    held: Counter[str] = Counter()
    for seed in range(simulations):
        sheet = simulate(rng, n)
        found = terms(sheet)
        config = Config(resamples=RESAMPLES, seed=seed)
        for name, true in TRUE.items():
            made = estimate(found[name], sheet.source, config, name)
            if made.low is None or made.high is None:
                raise SystemExit(f"no interval of {name} at n = {n}")
            held[name] += made.low <= true <= made.high
    return {name: held[name] / simulations for name in TRUE}


def type_one(n: int, nulls: int) -> float:
    """Share of tests that see a difference between two rates that are the same."""
    rng = np.random.default_rng(n + 1)
    hard = rng.random((nulls, n)) < 0.3  # pairs that are hard before are hard after
    chance = np.where(hard, 0.4, 0.9)
    before, after = (rng.random((nulls, n)) < chance for _ in range(2))
    p_values = [
        mcnemar(one.tolist(), two.tolist()).p_value for one, two in zip(before, after, strict=True)
    ]
    return float(np.mean(np.array(p_values) < 0.05))


def main(simulations: int = SIMULATIONS) -> None:
    shares = {n: coverage(n, simulations) for n in SIZES}
    levels = {n: type_one(n, NULLS * simulations // SIMULATIONS) for n in SIZES}
    head = "| metric | true value | " + " | ".join(f"n = {n}" for n in SIZES) + " |"
    rows = [
        f"| {name} | {true:.3f} | " + " | ".join(f"{shares[n][name]:.3f}" for n in SIZES) + " |"
        for name, true in TRUE.items()
    ]
    tested = " | ".join(f"{levels[n]:.4f}" for n in SIZES)
    write_result(
        "vfaith-stats",
        "The intervals and the paired test of vfaith in simulation",
        f"{simulations} simulated models with known probabilities, {RESAMPLES} bootstrap draws an "
        f"interval. Share of 95 % intervals that hold the true value (asked: {FLOOR} to {CEILING}; "
        f"one standard error is {np.sqrt(0.95 * 0.05 / simulations):.3f}), and how often exact "
        f"McNemar at 5 % sees a difference where there is none (asked: at most {LEVEL}).\n\n"
        f"{head}\n|{'---|' * (2 + len(SIZES))}\n"
        + "\n".join(rows)
        + f"\n| exact McNemar, no difference | 0 | {tested} |",
    )
    every = [share for found in shares.values() for share in found.values()]
    if not FLOOR <= min(every) <= max(every) <= CEILING or max(levels.values()) > LEVEL:
        raise SystemExit("an interval or the test does not keep what it promises")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
