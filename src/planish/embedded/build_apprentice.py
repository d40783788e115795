"""Builds the embedded apprentice: a solver that has read careful and careless judges.

    python -m planish.embedded.build_apprentice --out DIR --seed 0

What it has read it can do: judge like either author, in the proportion of its corpus. What it lacks
is to be told which one is wanted, and that is what the two stages of `rise` are for.

The rule is fixed beforehand: of the bases `seed`, `seed + 1`, ... the first one that meets `Bands`
on *gate* items is shipped. Report items are measured once for every base and choose nothing. On
one machine the same seed gives the same files.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.embedded.authors import corpus
from planish.embedded.build_reasoner import outside, run, save_model, versions
from planish.embedded.reasoner_evaluation import (
    JudgeMetrics,
    SolverMetrics,
    evaluate_judge,
    evaluate_solver,
)
from planish.embedded.reasoner_training import Say, train_reader, train_solver
from planish.records import BadInput, Record, write_text

__all__ = ["CAREFUL", "Apprentice", "Bands", "build", "main"]

RULE = "the first base that lies within the bands on gate items"
CAREFUL = 0.3
"""Share of the corpus by careful authors: about three of four of its verdicts are right."""


class Bands(Record):
    """What a base must show to be shipped; bounds are inclusive. Unread is not right."""

    solver: tuple[float, float] = (0.99, 1.0)
    accuracy: tuple[float, float] = (0.68, 0.80)
    coverage: tuple[float, float] = (0.99, 1.0)
    first_slot: tuple[float, float] = (0.42, 0.58)

    def misses(self, solver: SolverMetrics, judge: JudgeMetrics) -> tuple[str, ...]:
        """What lies outside, in words; empty for a base that may be shipped."""
        measured = {
            "greedy solving": (solver.greedy, self.solver),
            "judge accuracy": (judge.accuracy, self.accuracy),
            "coverage": (judge.coverage, self.coverage),
            "first-slot rate": (judge.first_slot, self.first_slot),
        }
        return tuple(outside(measured))


class Apprentice(Record):
    """One base and what it can do."""

    seed: int
    misses: tuple[str, ...]
    solver_steps: int
    solver_solved: bool
    gate_solver: SolverMetrics
    gate_judge: JudgeMetrics
    report_solver: SolverMetrics
    report_judge: JudgeMetrics


def _base(
    seed: int, bands: Bands, solver_steps: int, steps: int, size: int, say: Say
) -> tuple[Any, Apprentice]:
    say(f"base {seed}")
    solver = train_solver(seed, max_steps=solver_steps, say=say)
    rows = corpus(CAREFUL, seed, size=size)
    model = train_reader(solver.model, rows, seed, steps=steps, say=say)
    gate = evaluate_solver(model, split="gate"), evaluate_judge(model, split="gate")
    report = evaluate_solver(model), evaluate_judge(model)
    for split, metrics in (("gate", gate), ("report", report)):
        for part in metrics:
            values = (f"{name} {getattr(part, name)}" for name in type(part).model_fields)
            say(f"{split}: {', '.join(values)}")
    misses = bands.misses(*gate)
    say("fate: " + ("; ".join(misses) or "within the bands"))
    return model, Apprentice(
        seed=seed,
        misses=misses,
        solver_steps=solver.steps,
        solver_solved=solver.solved,
        gate_solver=gate[0],
        gate_judge=gate[1],
        report_solver=report[0],
        report_judge=report[1],
    )


def build(
    out: Path,
    *,
    seed: int = 0,
    num_bases: int = 3,
    bands: Bands | None = None,
    solver_steps: int = 2400,
    steps: int = 2500,
    corpus_size: int = 20_000,
    say: Say = lambda line: None,
) -> list[Apprentice]:
    """Builds bases until one lies within the bands, writes it to `out`, and tells of all.

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
    bases: list[Apprentice] = []
    chosen: Any = None
    for number in range(seed, seed + num_bases):
        model, base = _base(number, bands, solver_steps, steps, corpus_size, note)
        bases.append(base)
        if not base.misses and base.solver_solved:
            chosen = model
            break
    note(f"shipped: {f'base {bases[-1].seed}' if chosen is not None else 'none'}")
    write_text(out / "build.log", "\n".join(lines) + "\n")
    if chosen is None:
        raise BadInput(
            f"none of {num_bases} bases lies within the bands",
            where=str(out),
            fix="read build.log; try another --seed or more --bases",
        )
    facts = {
        "rule": RULE,
        "bands": bands.model_dump(),
        "careful": CAREFUL,
        "shipped": bases[-1].seed,
        "num_parameters": chosen.num_parameters(),
        "sha256": save_model(chosen, out),
        "versions": versions(),
        "bases": [base.model_dump() for base in bases],
    }
    write_text(out / "build.json", json.dumps(facts, indent=1) + "\n")
    return bases


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a shipped base, 1 where none lies within the bands."""
    return run(
        "planish.embedded.build_apprentice",
        "Builds the tiny apprentice.",
        lambda options, say: build(
            options.out, seed=options.seed, num_bases=options.bases, say=say
        ),
        bases=3,
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
