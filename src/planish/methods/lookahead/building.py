"""Builds the indexer that ships with the embedded reader.

    python -m planish.methods.lookahead.building --out DIR --seed 0 [--work DIR]

Dumps of `TASKS` and one training with the preset `tiny`: the stages `dump` and `train` as they are
typed, nothing else. About an hour of one core, and 25 GB on the disk until it is done. In a folder
`--work` the dumps are kept, and a build that was stopped goes on with what is there. On one machine
the same seed gives the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from planish.errors import BadInput
from planish.methods.lookahead.config import Dumping, Training
from planish.records import write_text

__all__ = ["DUMPING", "LAYERS", "MODEL", "TASKS", "TRAINING", "build", "main"]

MODEL = "embedded:recall"
Part = tuple[str, int, int]

TASKS: tuple[Part, ...] = (
    *3
    * (
        ("recall:lookup:384", 2200, 66),
        ("recall:lookup:384", 2200, 66),
        ("recall:study:384", 2200, 130),
    ),
    ("recall:drill:384", 2200, 98),
    ("recall:study:384", 2200, 130),
    ("recall:study:384", 2200, 130),
)
"""What each dump is of, its documents, and the tokens that are decoded after each: a window, and
for lists that are longer more. No evaluation draws these families. With one round of the first
three the training runs out of documents before it has learned to decide within an answer; without
the drill it loses the last of several keys, and with it, but no more lists, the lists."""

LAYERS = ("l1",)
"""The layer whose keys tell best which records a chunk holds, by linear probes."""

DUMPING, TRAINING = Dumping.tiny(), Training.tiny()
"""The preset `tiny`; a dump has its own seed and continuation."""


def build(
    out: Path, *, seed: int = 0, tasks: Sequence[Part] = TASKS, work: Path | None = None
) -> dict[str, object]:
    """Dumps, trains, and leaves the indexer in `out` with how it was made.

    Args:
        tasks: see `TASKS`.
        work: folder for the dumps, which stay there; a temporary one by default.
    """
    from planish.methods.lookahead.running.dump import dump
    from planish.methods.lookahead.running.train import train

    with nullcontext(work) if work else tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dumps = tuple(root / f"dump-{number}" for number in range(len(tasks)))
        for number, (place, part) in enumerate(zip(dumps, tasks, strict=True)):
            task, limit, continuation = part
            seeded = {"seed": seed * len(tasks) + number, "continuation": continuation}
            dials = DUMPING.model_copy(update=seeded)
            dump(
                model=MODEL, task=task, out=place, limit=limit, config=dials,
                resume=place.exists(), runs=root / "runs", json=True,
            )  # fmt: skip
        made = root / "indexer"
        shutil.rmtree(made, ignore_errors=True)
        train(
            dump=dumps, out=made, layers=LAYERS, config=TRAINING.model_copy(update={"seed": seed}),
            runs=root / "runs", json=True,
        )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        digests = {}
        for file in sorted(made.iterdir()):
            digests[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copyfile(file, out / file.name)
    return note(out, seed=seed, tasks=tasks, digests=digests)


def note(
    out: Path, *, seed: int, tasks: Sequence[Part], digests: dict[str, str]
) -> dict[str, object]:
    """Writes `build.json`: how the indexer in `out` was made, and the hashes of its files."""
    facts: dict[str, object] = {
        "model": MODEL,
        "tasks": list(tasks),
        "layers": LAYERS,
        "seed": seed,
        "dumping": DUMPING.model_dump(exclude={"seed", "continuation"}),
        "training": TRAINING.model_dump(),
        "sha256": digests,
    }
    write_text(out / "build.json", json.dumps(facts, indent=1) + "\n")
    return facts


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(
        prog="python -m planish.methods.lookahead.building",
        description="Builds the indexer of the embedded reader.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the indexer")
    parser.add_argument("--work", type=Path, help="folder that keeps the dumps")
    parser.add_argument("--seed", type=int, default=0, help="of documents and weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        build(options.out, seed=options.seed, work=options.work)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
