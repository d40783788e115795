"""The evaluation itself: every arm at every share, over documents read once.

outcomes = evaluate(model, tokenizer, [task], ("lookahead", "recency", "dense"), (0.1, 0.25),
                    indexer=indexer, seeds=(0, 1, 2), examples=30)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from planish.methods.lookahead.evaluate.bench import Bench, Play, plays
from planish.methods.lookahead.evaluate.compressed import check_arms
from planish.methods.lookahead.evaluate.dense import run_dense
from planish.methods.lookahead.evaluate.documents import Document, batches, documents
from planish.methods.lookahead.evaluate.outcomes import Outcome, Trace, outcome_id
from planish.methods.lookahead.evaluate.scene import Scene
from planish.methods.lookahead.evaluate.seen import check_unseen
from planish.methods.lookahead.evaluate.settings import DEFAULTS, Settings
from planish.tasks.base import Task

__all__ = ["drawn", "evaluate", "run_batch"]


def evaluate(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[Task],
    arms: Sequence[str],
    fractions: Sequence[float],
    *,
    indexer: Any = None,
    seeds: Sequence[int] = (0,),
    examples: int = 20,
    split: str = "report",
    settings: Settings = DEFAULTS,
) -> list[Outcome]:
    """Evaluates arms on documents that are drawn anew; the stage `evaluate` keeps a run of it.

    Args:
        model: any causal language model of transformers with full-attention layers; of
            DeepSeek-V4 what `evaluate.compressed` says.
        tasks: whose documents are read; seeds: drawn with; examples: of each task and seed.
        fractions: shares of the dense bytes, for resident chunks and digests together.
        indexer: a `MemoryIndexer`, for the arm lookahead.

    Raises:
        BadInput: a model without such layers, arms or shares that cannot be, no documents, an
            indexer for another backbone, or one that was trained on some of them.
    """
    bench = Bench(model, tokenizer, indexer=indexer, settings=settings)
    wanted = plays(arms, fractions)
    found = drawn(bench, tasks, arms, split=split, number=examples, seeds=seeds)
    outcomes = []
    for batch in batches(found, settings.batch_size):
        outcomes += [outcome for outcome, _ in run_batch(bench, batch, wanted)]
    return outcomes


def drawn(
    bench: Bench,
    tasks: Sequence[Task],
    arms: Sequence[str],
    *,
    split: str,
    number: int,
    seeds: Sequence[int],
    where: str = "model",
) -> list[Document]:
    """The documents of an evaluation, none of which the indexer of the arm lookahead has seen.

    Args:
        number: of each task and seed.

    Raises:
        BadInput: an arm that is not for this model; and see `documents` and `check_unseen`.
    """
    if bench.compressed:
        check_arms(arms)
    found = documents(
        tasks, bench.tokenizer, split=split, number=number, seeds=seeds, where=where,
        max_tokens=bench.settings.max_tokens,
    )  # fmt: skip
    if bench.indexer is not None and "lookahead" in arms:
        check_unseen(found, bench.indexer)
    return found


def run_batch(
    bench: Bench,
    batch: Sequence[Document],
    wanted: Sequence[Play],
    *,
    done: Collection[str] = (),
    traced: bool = False,
) -> Iterator[tuple[Outcome, Trace | None]]:
    """Reads documents once and decodes them under every arm.

    What comes of a document does not depend on those beside it: see `batches`.

    Args:
        batch: documents, read at once as far as `batches` allows.
        done: ids of outcomes that are not wanted again.
        traced: with what the first document's chunks did; only where quality is measured.
    """
    for number, some in enumerate(batches(batch, len(batch))):
        todo = [
            play
            for play in wanted
            if any(outcome_id(play.arm, play.fraction, each.id) not in done for each in some)
        ]
        if todo:
            yield from _at_once(bench, some, todo, done, traced and number == 0)


def _at_once(
    bench: Bench, batch: Sequence[Document], todo: list[Play], done: Collection[str], traced: bool
) -> Iterator[tuple[Outcome, Trace | None]]:
    """Documents that `batches` puts together."""
    # The oracle needs to know what is looked at, even where quality is not asked for.
    looking = bench.settings.quality or any(play.arm == "oracle" for play in todo)
    settings = bench.settings.model_copy(update={"quality": looking})
    dense = run_dense(
        bench.model, bench.backbone, batch, bench.eos_ids, settings, bench.chunk_tokens
    )
    scene = Scene(bench, batch, dense)
    for play in todo:
        for outcome, trace in scene.play(play, traced):
            if outcome.id not in done:
                yield outcome, trace
