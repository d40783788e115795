"""Builds the indexer that ships with the embedded reader.

    python -m planish.methods.lookahead.building --out DIR --seed 0

Two dumps of `TASK`, a family that no evaluation draws, and one training with the dials below: the
stages `dump` and `train` as they are typed, nothing else. About fifteen minutes of one core. On one
machine the same seed gives the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from planish.methods.lookahead.config import Dumping, Training
from planish.records import write_text

__all__ = ["DUMPING", "LAYERS", "MODEL", "TASK", "TRAINING", "build", "main"]

MODEL, TASK = "embedded:recall", "recall:lookup:384"
LAYERS = ("l1",)
"""The layer whose keys tell best which records a chunk holds, by linear probes."""

_DOCUMENTS, _DUMPS = 2200, 2

DUMPING = Dumping.tiny().model_copy(
    update={"chunk_tokens": 8, "pooling": "mean", "prompt_runs": 0, "batch_size": 32}
)
TRAINING = Training.tiny().model_copy(
    update={
        "rule": "head",
        "recent_tokens": 16,
        "sink_tokens": 0,
        "init": "random",
        "num_heads": 8,
        "epochs": 3,
    }
)


def build(out: Path, *, seed: int = 0, documents: int = _DOCUMENTS) -> dict[str, object]:
    """Dumps, trains, and leaves the indexer in `out` with how it was made.

    Args:
        documents: of each of the two dumps.
    """
    from planish.methods.lookahead.running.dump import dump
    from planish.methods.lookahead.running.train import train

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dumps = tuple(root / f"dump-{number}" for number in range(_DUMPS))
        for number, place in enumerate(dumps):
            dials = DUMPING.model_copy(update={"seed": seed * _DUMPS + number})
            dump(
                model=MODEL, task=TASK, out=place, limit=documents, config=dials,
                runs=root / "runs", json=True,
            )  # fmt: skip
        made = root / "indexer"
        train(
            dump=dumps, out=made, layers=LAYERS, config=TRAINING.model_copy(update={"seed": seed}),
            runs=root / "runs", json=True,
        )  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        digests = {}
        for file in sorted(made.iterdir()):
            digests[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copyfile(file, out / file.name)
    return note(out, seed=seed, documents=documents, digests=digests)


def note(out: Path, *, seed: int, documents: int, digests: dict[str, str]) -> dict[str, object]:
    """Writes `build.json`: how the indexer in `out` was made, and the hashes of its files."""
    facts: dict[str, object] = {
        "model": MODEL,
        "task": TASK,
        "documents": documents * _DUMPS,
        "layers": LAYERS,
        "seed": seed,
        "dumping": DUMPING.model_dump(),
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
    parser.add_argument("--seed", type=int, default=0, help="of documents and weights")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    build(options.out, seed=options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
