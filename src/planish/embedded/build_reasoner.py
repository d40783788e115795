"""Builds the embedded reasoner: several bases from seed to judge, of which one is shipped.

    python -m planish.embedded.build_reasoner --out DIR --seed 0

The rule is fixed beforehand: of the bases `seed`, `seed + 1`, ... the first one that meets
`Bands` on *gate* items is shipped. Report items are measured once for every base and choose
nothing. Bases that fail are reported, too. On one machine the same seed gives the same files.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers

from planish.embedded.reasoner_evaluation import (
    JudgeMetrics,
    SolverMetrics,
    evaluate_judge,
    evaluate_solver,
)
from planish.embedded.reasoner_model import build_tokenizer
from planish.embedded.reasoner_training import Say, train_judge, train_solver
from planish.records import BadInput, Record, write_text
from planish.stats import Estimate

__all__ = ["Bands", "BaseReport", "build", "main", "outside", "run", "save_model", "versions"]

RULE = "the first base that lies within the bands on gate items"


def outside(measured: Mapping[str, tuple[Estimate, tuple[float, float]]]) -> list[str]:
    """The numbers that lie outside their band, bounds included, in words."""
    return [
        f"{name} {estimate} is not within {low} to {high}"
        for name, (estimate, (low, high)) in measured.items()
        if estimate.value is None or not low <= estimate.value <= high
    ]


class Bands(Record):
    """What a base must show to be shipped; bounds are inclusive."""

    solver: tuple[float, float] = (0.97, 1.0)
    accuracy: tuple[float, float] = (0.58, 0.70)
    consistency: tuple[float, float] = (0.30, 0.60)
    first_slot: tuple[float, float] = (0.45, 0.55)

    def misses(self, solver: SolverMetrics, judge: JudgeMetrics) -> list[str]:
        """What lies outside, in words; empty for a base that may be shipped."""
        measured = {
            "greedy solving": (solver.greedy, self.solver),
            "sampled solving": (solver.sampled, self.solver),
            "judge accuracy": (judge.accuracy, self.accuracy),
            "order consistency": (judge.consistency, self.consistency),
            "first-slot rate": (judge.first_slot, self.first_slot),
        }
        return outside(measured)


class BaseReport(Record):
    """The fate of one base: "half-judge", "never solved", "never left chance", "out of band"."""

    seed: int
    fate: str
    misses: tuple[str, ...] = ()
    solver_steps: int
    judge_steps: int = 0
    solver_before_judging: SolverMetrics
    gate_solver: SolverMetrics | None = None
    gate_judge: JudgeMetrics | None = None
    report_solver: SolverMetrics | None = None
    report_judge: JudgeMetrics | None = None


class _Base(NamedTuple):
    model: Any
    report: BaseReport


def _build_base(
    seed: int, bands: Bands, solver: Mapping[str, Any], judge: Mapping[str, Any], say: Say
) -> _Base:
    """Trains and measures one base."""
    say(f"base {seed}")
    solved = train_solver(seed, say=say, **solver)
    before = evaluate_solver(solved.model)
    say(f"solver: greedy {before.greedy}, sampled {before.sampled} (report)")
    if not solved.solved:
        say("fate: never solved within its steps")
        report = BaseReport(
            seed=seed,
            fate="never solved",
            solver_steps=solved.steps,
            solver_before_judging=before,
        )
        return _Base(solved.model, report)
    run = train_judge(copy.deepcopy(solved.model), seed, say=say, **judge)
    gate = evaluate_solver(run.model, split="gate"), evaluate_judge(run.model, split="gate")
    report_solver, report_judge = evaluate_solver(run.model), evaluate_judge(run.model)
    misses = tuple(bands.misses(*gate))
    fate = "out of band" if misses else "half-judge"
    if not run.left_chance:
        fate = "never left chance"
    for split, metrics in (("gate", gate), ("report", (report_solver, report_judge))):
        for part in metrics:
            values = (f"{name} {getattr(part, name)}" for name in type(part).model_fields)
            say(f"{split}: {', '.join(values)}")
    say(f"fate: {fate}{''.join(f'; {miss}' for miss in misses)}")
    return _Base(
        run.model,
        BaseReport(
            seed=seed,
            fate=fate,
            misses=misses,
            solver_steps=solved.steps,
            judge_steps=run.steps,
            solver_before_judging=before,
            gate_solver=gate[0],
            gate_judge=gate[1],
            report_solver=report_solver,
            report_judge=report_judge,
        ),
    )


def build(
    out: Path,
    *,
    seed: int = 0,
    num_bases: int = 5,
    bands: Bands | None = None,
    solver: Mapping[str, Any] | None = None,
    judge: Mapping[str, Any] | None = None,
    say: Say = lambda line: None,
) -> list[BaseReport]:
    """Builds every base, writes the chosen one to `out`, and returns the fate of all.

    Args:
        out: folder for the model; made if it is missing.
        seed: seed of the first base.
        num_bases: how many bases to build.
        bands: what the shipped base must show.
        solver: options for `train_solver`.
        judge: options for `train_judge`.
        say: hears every line of the log.

    Raises:
        BadInput: no base lies within the bands; nothing is written but `build.log`.
    """
    bands = bands or Bands()
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        say(line)

    note(f"shipped is {RULE}")
    for name, (low, high) in bands:
        note(f"band of {name.replace('_', ' ')}: {low} to {high}")
    bases = [
        _build_base(seed + index, bands, solver or {}, judge or {}, note)
        for index in range(num_bases)
    ]
    reports = [base.report for base in bases]
    chosen = next((base for base in bases if base.report.fate == "half-judge"), None)
    ending = f"base {chosen.report.seed}" if chosen else "none"
    note(f"shipped: {ending}")
    write_text(out / "build.log", "\n".join(lines) + "\n")
    if chosen is None:
        raise BadInput(
            f"none of {num_bases} bases lies within the bands",
            where=str(out),
            fix="read build.log; try another --seed or more --bases",
        )
    digests = save_model(chosen.model, out)
    facts = {
        "rule": RULE,
        "bands": bands.model_dump(),
        "shipped": chosen.report.seed,
        "num_parameters": chosen.model.num_parameters(),
        "sha256": digests,
        "versions": versions(),
        "bases": [report.model_dump() for report in reports],
    }
    write_text(out / "build.json", json.dumps(facts, indent=1) + "\n")
    return reports


def versions() -> dict[str, str]:
    """Of everything that decides the weights."""
    names = ("planish", "torch", "transformers", "tokenizers", "safetensors")
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in names},
    }


def save_model(model: Any, out: Path, tokenizer: Any = None) -> dict[str, str]:
    """Writes a model and its tokenizer, each file under its name only when it is whole.

    Args:
        model: the weights.
        out: a folder that is there.
        tokenizer: by default the reasoner's.

    Returns:
        The SHA-256 of every file.
    """
    digests = {}
    with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as folder:
        model.save_pretrained(folder)
        (tokenizer or build_tokenizer()).save_pretrained(folder)
        config = Path(folder, "tokenizer_config.json")
        # The name that every version of transformers knows, and servers built on older ones.
        facts = json.loads(config.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
        config.write_text(json.dumps(facts, indent=2) + "\n")
        for file in sorted(Path(folder).iterdir()):
            digests[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
            file.chmod(0o644)  # safetensors writes private files
            os.replace(file, out / file.name)
    return digests


def run(
    program: str,
    description: str,
    build: Callable[[argparse.Namespace, Say], object],
    *,
    bases: int,
    arguments: Sequence[str] | None = None,
) -> int:
    """The command line of a build: 0 for a shipped base, 1 where none lies within the bands."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first base")
    parser.add_argument("--bases", type=int, default=bases, help="how many bases to build")
    options = parser.parse_args(arguments)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    start = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - start:7.1f} s  {line}\n")

    try:
        build(options, say)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Builds the reasoner from the command line."""
    return run(
        "planish.embedded.build_reasoner",
        "Builds the tiny reasoner.",
        lambda options, say: build(
            options.out, seed=options.seed, num_bases=options.bases, say=say
        ),
        bases=5,
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
