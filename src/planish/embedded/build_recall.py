"""Builds the embedded reader of long contexts.

    python -m planish.embedded.build_recall --out DIR --seed 0

One network is taught through `STAGES`, documents of 128 words first and of 2,048 last. It is
shipped if it lies within `Bands` on *gate* documents of 2,048 words; report documents are measured
once and choose nothing. About a quarter of an hour of one core. On one machine the same seed gives
the same files.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from planish.embedded.build_reasoner import run, save_model, versions
from planish.embedded.reasoner_training import Say
from planish.embedded.recall_model import build_tokenizer
from planish.embedded.recall_training import STAGES, Stage, train_reader
from planish.records import BadInput, Record, write_text
from planish.tasks.base import Split
from planish.tasks.load import load_task
from planish.tasks.recall import RULER

__all__ = ["COUNTED", "Bands", "accuracy", "build", "main"]

COUNTED = ("cwe", "fwe")
"""Families whose answer is counted over the whole context, not found in it."""

_LENGTH, _DOCUMENTS, _BATCH = 2048, 8, 4


class Bands(Record):
    """What a reader must show to be shipped: least mean accuracy over families of RULER.

    Args:
        found: the eleven families whose answer stands in the context.
    """

    found: float = 0.95


def accuracy(
    model: Any, families: Sequence[str] = tuple(RULER), *, length: int = _LENGTH,
    split: Split = "report", documents: int = _DOCUMENTS, seed: int = 0,
) -> dict[str, float]:  # fmt: skip
    """Greedy replies with everything in memory, scored as the task does, by family.

    Args:
        documents: of each family; a multiple of four.
    """
    tokenizer = build_tokenizer()
    found: dict[str, float] = {}
    for family in families:
        task = load_task(f"recall:{family}:{length}")
        examples = list(task.examples(split, documents, seed))
        scores: list[float] = []
        for begin in range(0, documents, _BATCH):
            some = examples[begin : begin + _BATCH]
            prompts = tokenizer([one.prompt[-1].content for one in some], return_tensors="pt")
            most = max(len(str(one.target).split()) for one in some) + 2
            with torch.no_grad():
                replies = model.generate(prompts.input_ids, max_new_tokens=most)
            texts = tokenizer.batch_decode(
                replies[:, prompts.input_ids.shape[1] :], skip_special_tokens=True
            )
            for example, text in zip(some, texts, strict=True):
                scores.append(task.verify(example, text).score or 0.0)
        found[family] = sum(scores) / len(scores)
    return found


def build(
    out: Path,
    *,
    seed: int = 0,
    stages: Sequence[Stage] = STAGES,
    bands: Bands | None = None,
    say: Say = lambda line: None,
) -> dict[str, float]:
    """Teaches a reader, writes it to `out`, and tells how it was made and what it can do.

    Raises:
        BadInput: it lies outside the bands; nothing is written but `build.log`.
    """
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        say(line)

    model = train_reader(seed, stages=stages, say=note)
    return ship(model, out, seed=seed, stages=stages, bands=bands or Bands(), lines=lines, say=say)


def ship(
    model: Any,
    out: Path,
    *,
    seed: int,
    stages: Sequence[Stage],
    bands: Bands,
    lines: list[str],
    say: Say = lambda line: None,
) -> dict[str, float]:
    """Measures what ships, which is the reader in bfloat16, and writes it if it may.

    Args:
        model: a taught reader; lines: what was said while it was taught.

    Raises:
        BadInput: see `build`.
    """

    def note(line: str) -> None:
        lines.append(line)
        say(line)

    model = model.to(torch.bfloat16)
    judged = copy.deepcopy(model).float()
    gate, report = (accuracy(judged, split=split) for split in ("gate", "report"))
    for split, told in (("gate", gate), ("report", report)):
        note(f"{split}: " + ", ".join(f"{name} {value:.3f}" for name, value in told.items()))
    simple = [value for name, value in gate.items() if name not in COUNTED]
    found = sum(simple) / len(simple)
    note(f"gate, families whose answer is found: {found:.3f}, at least {bands.found}")
    write_text(out / "build.log", "\n".join(lines) + "\n")
    if found < bands.found:
        raise BadInput(
            "the reader lies outside the bands", where=str(out), fix="read build.log; try --seed"
        )
    facts = {
        "bands": bands.model_dump(),
        "stages": [vars(stage) for stage in stages],
        "seed": seed,
        "num_parameters": model.num_parameters(),
        "sha256": save_model(model, out, build_tokenizer()),
        "versions": versions(),
        "gate": gate,
        "report": report,
    }
    write_text(out / "build.json", json.dumps(facts, indent=1) + "\n")
    return gate


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a reader within the bands, 1 for one outside."""
    return run(
        "planish.embedded.build_recall",
        "Builds the tiny reader of long contexts.",
        lambda options, say: build(options.out, seed=options.seed, say=say),
        bases=1,
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
