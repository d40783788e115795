"""The ladder: networks that see, remember or are blind, each trained three times, on a whole bench.

    python benchmarks/bench_vfaith.py --work runs/bench-vfaith          resumes what is there

Fixed before any pair was looked at with a trained network:

* networks: the recipes of `planish.methods.vfaith.viewers`, seeds 0 to 2, one budget for all.
* bench: 755 entries of seed 1,000 at 256 px, of the families that the networks learned; none of
  them is a training scene.
* planted answer sheets beside them: oracle, cached, memory, position, random.
* predicted by PairAcc, by Delta_net and by gated unfaithfulness: oracle, seeing, habit-60,
  habit-90, habit-97, blind, with disjoint intervals between seeing, habit-90, habit-97 and blind
  (PairAcc); cached and position have none right on both; random has one in sixteen. By accuracy on
  the raw pictures alone, cached answers look like the oracle and memory like a network that sees.

Two ablations are read off the same answers: the drop without its placebo (`delta` beside
`delta_net`), and unfaithfulness without the gate of perception, among all pairs whose raw picture
was answered rightly.

Intervals are bootstrapped over trainings and pairs, crossed: all networks answer the same pairs.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from planish.methods.vfaith.bench import Bench, read_bench
from planish.methods.vfaith.building.build import build_bench, make_plan
from planish.methods.vfaith.claims import PLANTED
from planish.methods.vfaith.config import Building, Config
from planish.methods.vfaith.data import ARMS
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.records import calls_of, respond
from planish.methods.vfaith.scoring.metrics import Term, terms
from planish.methods.vfaith.scoring.sheets import Sheet, read_sheet
from planish.methods.vfaith.viewers import RECIPES, VIEWED, build
from planish.models.base import LanguageModel
from planish.models.viewer import ViewerModel
from planish.parallel import fan_out
from planish.runs.console import Screen
from support import write_result

SEEDS = range(3)
SIZE, SEED = 256, 1_000  # of the bench
UNGATED = "unfaithfulness without the gate"
METRICS = ("acc_raw", "acc_edited", "pair_acc", "delta_net", "gated_unfaithfulness",
           "perception_accuracy")  # fmt: skip
ABLATED = ("delta", "delta_net", UNGATED, "gated_unfaithfulness")


def trained(given: tuple[str, int, str]) -> None:
    """Trains one network, unless it is there."""
    name, seed, folder = given
    out = Path(folder) / str(seed)
    if (out / name / "build.json").exists():
        return
    torch.set_num_threads(1)
    build(out, seed=seed, recipes={name: RECIPES[name]}, workers=1)


def answered(model: LanguageModel, bench: Bench) -> Sheet:
    """Its replies to every arm."""
    calls, sampling = calls_of(bench.pairs, ARMS), Config.tiny().sampling()
    replies = model.generate([call.chat(bench) for call in calls], sampling)
    return read_sheet(
        bench,
        [
            respond(call, drawn[0], key=str(place), model=model, repeat=0)
            for place, (call, drawn) in enumerate(zip(calls, replies, strict=True))
        ],
    )


def term_of(sheet: Sheet, name: str) -> Term:
    """A metric of the room, or unfaithfulness among all pairs whose raw answer is right."""
    found = terms(sheet)
    if name != UNGATED:
        return found[name]
    right, both = found["acc_raw"], found["pair_acc"]
    known = (right.bottom > 0) & (both.bottom > 0)
    return Term((right.top - both.top) * known, right.top * known)


def told(sheets: Sequence[Sheet], name: str, draws: int = 4000) -> str:
    """Mean over trainings with its 95 % interval."""
    found = [term_of(sheet, name) for sheet in sheets]
    top_RN = np.stack([term.top for term in found])
    bottom_RN = np.stack([term.bottom for term in found])
    generator = np.random.default_rng(0)
    runs, pairs = top_RN.shape
    means = []
    for _ in range(draws):
        weights_N = np.bincount(generator.integers(0, pairs, pairs), minlength=pairs)
        chosen = generator.integers(0, runs, runs)
        below = bottom_RN[chosen] @ weights_N
        if (below > 0).all():
            means.append(float(np.mean((top_RN[chosen] @ weights_N) / below)))
    if len(means) < draws / 2 or bottom_RN.sum(1).min() < 20:
        return "n/a"
    low, high = np.quantile(means, (0.025, 0.975))
    value = np.mean(top_RN.sum(1) / bottom_RN.sum(1))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def table(
    sheets: Mapping[str, Sequence[Sheet]], order: Sequence[str], metrics: Sequence[str]
) -> list[str]:
    """A row for each model, as Markdown."""
    lines = ["| model | " + " | ".join(metrics) + " |", "|" + "---|" * (1 + len(metrics))]
    for name in order:
        cells = [told(sheets[name], metric) for metric in metrics]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/bench-vfaith"))
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    networks = given.work / "networks"
    work = [(name, seed, str(networks)) for seed in SEEDS for name in RECIPES]
    fan_out(
        trained,
        work,
        workers=given.workers,
        progress=lambda done, total: print("trained", done, "of", total, flush=True),
    )
    plan, _ = make_plan(families=VIEWED, building=Building(size=SIZE, seed=SEED))
    build_bench(given.work / "bench", plan, Screen(json=True), workers=given.workers)
    bench = read_bench(given.work / "bench")
    sheets = {name: [answered(load_model(name, bench), bench)] for name in PLANTED}
    for name in RECIPES:
        folders = [networks / str(seed) / name for seed in SEEDS]
        sheets[name] = [answered(ViewerModel(folder, name=name), bench) for folder in folders]
    order = (PLANTED[0], *RECIPES, *PLANTED[1:])
    lines = [
        f"{len(bench.pairs)} entries of the families that the networks learned "
        f"({', '.join(VIEWED)}), {SIZE} pixels, seed {SEED}. `planish vfaith score` does not tell "
        "gated_unfaithfulness where perception_accuracy is at chance (0.5): what was not followed "
        "there was not seen.",
        "",
        *table(sheets, order, METRICS),
    ]
    measured = json.loads((networks / "0" / "viewer-seeing" / "build.json").read_text())
    lines += [
        "",
        f"Each network has {measured['num_parameters']:,} weights and was trained on "
        f"{measured['budget']['scenes']:,} scenes, {measured['budget']['passes']} passes, three "
        "times; intervals are over trainings and pairs.",
        "",
        "## Without the placebo, without the gate of perception",
        "",
        *table(sheets, order, ABLATED),
    ]
    write_result("vfaith", "vfaith: who follows the edit", "\n".join(lines))


if __name__ == "__main__":
    main()
