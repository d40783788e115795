"""The tiny worlds of the `s2j` benchmarks: bases that solve digit chains and judge them half-right.

    base = half_judge(seed=30, work=Path("work"))       # judge training stopped while it compares
    base = sloppy_judge(seed=30, work=Path("work"))     # has read careful and careless judges

Both start from the same solver. A half-judge is made as the embedded reasoner is: its own solution
inside a judgment is mostly right, its comparison is not. A sloppy judge is made as the embedded
apprentice is: it compares well, but seven in ten of the judgments that it read misread every minus
and then tossed a coin, so its wrong solutions are right by luck half of the time.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch

from planish.embedded.authors import corpus
from planish.embedded.reasoner_model import build_tokenizer
from planish.embedded.reasoner_training import train_judge, train_reader, train_solver
from planish.models.local_loading import open_checkpoint
from planish.records import write_text

__all__ = ["BASES", "half_judge", "sloppy_judge", "solver"]

CAREFUL = 0.3


def _save(model: Any, folder: Path, **facts: Any) -> Path:
    part = folder.with_name(f".{folder.name}.part")
    model.save_pretrained(part)
    build_tokenizer().save_pretrained(part)
    write_text(part / "facts.json", json.dumps(facts))
    part.rename(folder)
    return folder


def _open(folder: Path) -> Any:
    return open_checkpoint(str(folder), device="cpu", dtype="float32").model


def solver(seed: int, work: Path) -> Path:
    """A network that solves chains of three operands alone."""
    folder = work / f"solver-{seed}"
    if not folder.exists():
        run = train_solver(seed)
        _save(run.model, folder, steps=run.steps, solved=run.solved)
    return folder


def half_judge(seed: int, work: Path) -> Path:
    """Stopped on gate items, in the midst of learning to compare."""
    folder = work / f"half-{seed}"
    if not folder.exists():
        run = train_judge(copy.deepcopy(_open(solver(seed, work))), seed)
        _save(run.model, folder, steps=run.steps, left_chance=run.left_chance)
    return folder


def sloppy_judge(seed: int, work: Path) -> Path:
    """Has read judges of whom three in ten were careful."""
    folder = work / f"sloppy-{seed}"
    if not folder.exists():
        model = train_reader(_open(solver(seed, work)), corpus(CAREFUL, seed), seed)
        _save(model, folder, careful=CAREFUL)
    return folder


BASES = {"half": half_judge, "sloppy": sloppy_judge}


def main() -> None:
    """`python benchmarks/s2j_world.py KIND WORK SEED ...` builds bases beforehand."""
    torch.set_num_threads(1)
    kind, work, *seeds = sys.argv[1:]
    Path(work).mkdir(parents=True, exist_ok=True)
    for seed in map(int, seeds):
        print(BASES[kind](seed, Path(work)), flush=True)


if __name__ == "__main__":
    main()
