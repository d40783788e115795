"""Runs of the `s2j` benchmarks through the package's own commands, and their items.

    world = World("half", 30, work, items=400)
    before, after = world.before(), world.after("additive", 0, ("--arm", "additive"))
    difference([after], [before], gap)

What is done is kept in `work` and not done again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.records import read_jsonl, write_text
from planish.stats import Estimate, nested_bootstrap
from support import planish

__all__ = [
    "Measured",
    "Values",
    "World",
    "by_base",
    "copies",
    "difference",
    "follows",
    "gap",
    "level",
    "luck",
    "own",
    "right",
    "solves",
    "switches",
    "table",
]

Values = dict[str, float]
"""Item -> its mean over the draws that count."""


@dataclass(frozen=True)
class Measured:
    """A model as `planish s2j gap` found it.

    Args:
        base: seed of the base it came from.
        summary: of the command.
        items: metric -> item -> value.
    """

    base: int
    summary: dict[str, Any]
    items: dict[str, Values]


@dataclass(frozen=True)
class World:
    """One base, and where its runs are kept."""

    kind: str
    base: int
    work: Path
    num_items: int

    @property
    def folder(self) -> Path:
        """The base's checkpoint, built if it is not there."""
        path = self.work / f"{self.kind}-{self.base}"
        if not path.exists():
            subprocess.run(
                [sys.executable, Path(__file__).with_name("s2j_world.py"), self.kind, self.work,
                 str(self.base)],
                check=True,
                capture_output=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        return path

    def before(self) -> Measured:
        """The base itself; its solved questions are the frozen ones."""
        return self._kept("before", lambda: self._gap(self.folder))

    def after(self, arm: str, seed: int, options: Sequence[object]) -> Measured:
        """The base after one training by `planish s2j train`."""

        def train(out: Path) -> dict[str, Any]:
            return planish(
                *("s2j", "train", "--model", f"hf:{self.folder}", "--task", "chain:3"),
                *("--preset", "tiny", "--seed", seed, "--save-every", 100_000, *options),
                *("--out", out, "--runs", self.runs),
            )

        return self.trained(f"{arm}-{seed}", train)

    def trained(self, name: str, train: Callable[[Path], dict[str, Any]]) -> Measured:
        """The base after any training, which makes the folder that it is given."""

        def make() -> dict[str, Any]:
            out = self.work / f"{self.kind}-{self.base}-{name}"
            shutil.rmtree(out, ignore_errors=True)
            trained = train(out)
            base = json.loads((self._file("before")).read_text(encoding="utf-8"))["run"]
            found = self._gap(out, "--base", base)
            shutil.rmtree(trained["run"])
            shutil.rmtree(out)
            return found | {"trained": trained}

        return self._kept(name, make)

    @property
    def runs(self) -> Path:
        """Where the commands keep their runs."""
        return self.work / "runs"

    def _file(self, name: str) -> Path:
        return self.work / f"{self.kind}-{self.base}-{name}.json"

    def _gap(self, model: Path, *options: object) -> dict[str, Any]:
        summary = planish(
            *("s2j", "gap", "--model", f"hf:{model}?batch_size=512", "--task", "chain:3"),
            *("--preset", "tiny", "--limit", self.num_items, "--both-wrong", self.num_items // 2),
            *("--interventions", self.num_items // 2, *options, "--runs", self.runs),
        )
        run = Path(summary["run"])
        items = _items(run)
        (run / "artifacts" / "replies.jsonl").unlink(missing_ok=True)
        return {"run": str(run), "summary": summary, "items": items}

    def _kept(self, name: str, make: Callable[[], dict[str, Any]]) -> Measured:
        path = self._file(name)
        if not path.exists():
            write_text(path, json.dumps(make()))
            print(f"{path.stem} is done", flush=True)
        found = json.loads(path.read_text(encoding="utf-8"))
        return Measured(self.base, found["summary"], found["items"])


def _items(run: Path) -> dict[str, Values]:
    """Every metric item by item, from the run's records; only sampled judgments count."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows, judged, own = {}, [], {}
    for _, line in read_jsonl(run / "records.jsonl"):
        data = line["data"]
        if line["kind"] == "row":
            rows[data["item_id"]] = data
        elif line["kind"] == "judge" and data["greedy"]:
            own[data["item_id"], data["order"]] = data["solution"]
        elif line["kind"] == "judge":
            judged.append(data)
        elif line["kind"] == "intervention" and data["kind"] == "swap":
            followed = float(bool(data["followed"]))
            values["follows"][data["item_id"]].append(followed)
            # Where its own solution ends alike, nothing new was put in.
            if own[data["item_id"], data["order"]].split()[-1:] != data["inserted"].split()[-1:]:
                values["switches"][data["item_id"]].append(followed)
    for data in judged:
        id = data["item_id"]
        if rows[id]["slice"] == "both_wrong":
            values["copies"][id].append(float(data["copied"] or 0))
            continue
        verdict, solved = float(data["verdict_correct"] is True), data["solution_correct"] is True
        values["right"][id].append(verdict)
        values["own"][id].append(float(solved))
        values["inner" if solved else "luck"][id].append(1 - verdict if solved else verdict)
        values["tokens"][id].append(float(data["num_total_tokens"]))
    for id, row in rows.items():
        if row["slice"] == "one_right":
            values["solves"][id] = [row["solve_rate"]]
            if row["in_frozen_q_tau"]:
                values["gap"][id] = [1 - sum(values["right"][id]) / len(values["right"][id])]
    return {
        metric: {id: sum(each) / len(each) for id, each in found.items()}
        for metric, found in values.items()
    }


Pick = Callable[[Measured], Values]


def _picker(name: str) -> Pick:
    return lambda measured: measured.items.get(name, {})


gap, right, own, luck, follows, switches, copies, solves = map(
    _picker, ("gap", "right", "own", "luck", "follows", "switches", "copies", "solves")
)
inner, tokens = _picker("inner"), _picker("tokens")


def level(runs: Sequence[Measured], pick: Pick) -> Estimate:
    """The mean over items nested in runs."""
    return nested_bootstrap([list(pick(run).values()) for run in runs])


def difference(runs: Sequence[Measured], others: Sequence[Measured], pick: Pick) -> Estimate:
    """Item by item, `runs` minus `others`, of items that both have; runs pair in order."""
    pairs = []
    for run, other in zip(runs, others, strict=True):
        one, two = pick(run), pick(other)
        pairs.append([one[id] - two[id] for id in one if id in two])
    return nested_bootstrap(pairs)


_COLUMNS: dict[str, Pick] = {
    "gap on the base's questions": gap,
    "judges right": right,
    "inner gap": inner,
    "own solution right": own,
    "right on a wrong solution": luck,
    "follows a solution": follows,
    "follows one that ends otherwise": switches,
    "copies, both wrong": copies,
    "solves alone": solves,
    "tokens": tokens,
}


def table(
    before: Sequence[Measured], after: Mapping[str, Sequence[Measured]], names: Mapping[str, str]
) -> str:
    """All metrics of the base and of every arm."""
    lines = [f"| arm | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for name, found in {"base": before, **{names[arm]: after[arm] for arm in after}}.items():
        lines.append(f"| {name} | {' | '.join(str(level(found, p)) for p in _COLUMNS.values())} |")
    return "\n".join(lines)


def by_base(before: Sequence[Measured], after: Mapping[str, Sequence[Measured]], seeds: int) -> str:
    """Every base: its gap before and after each arm, and what it was."""
    lines = [
        f"| base | judges right | own solution right | inner gap | gap | {' | '.join(after)} |",
        "|---" * (len(after) + 5) + "|",
    ]
    for place, base in enumerate(before):
        cells = [f"{level([base], pick).value:.3f}" for pick in (right, own, inner, gap)]
        for found in after.values():
            own_runs = [found[place + seed * len(before)] for seed in range(seeds)]
            cells.append(f"{level(own_runs, gap).value:.3f}")
        lines.append(f"| {base.base} | {' | '.join(cells)} |")
    return "\n".join(lines)
