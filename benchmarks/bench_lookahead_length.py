"""Does what the indexer learned on 384 words still find what is needed among 128K?

    python benchmarks/bench_lookahead_length.py [--indexer embedded] [--families vt ...]
        [--lengths 2048 8192 32768 131072] [--documents 8 8 4 2] [--split report] [--write]

The indexer is trained on contexts of 384 words (`planish.methods.lookahead.building`). Here it
decides once, at the last token of the question, over documents of the thirteen families of
`recall:all:LENGTH` that tell which records their answer needs (all but `cwe` and `fwe`). Measured
is the share of the needed chunks among the highest 5, 10 and 13.5 % of those that could be evicted:
needed by the first 64 tokens of the answer, the last 16 tokens of the prompt aside. Beside it the
latest chunks in the same number (recency), and what any blind choice of that number holds on
average (chance). No bytes are counted: digests come on top, 132 of them for a chunk and scored
layer. Whether the reader would answer right is another question, and not asked.

A decision needs no more of the reader than what enters the scored layers' attention: layers below
run whole, in pieces; of the last scored layer only its keys are made, and nothing above it runs.
The scores of one document a family are compared with those of `planish lookahead dump` and the
scorer, at 2,048 words. A document of 2,048 words takes a fifth of a second of one core, one of
131,072 four minutes: attention in the first layer is quadratic.

Predicted before any document of the split report was looked at: at 10 % of the chunks the mean
over families is at 8,192 words within .05 of what it is at 2,048, and at 131,072 within .15;
recency and chance are at their share, within the intervals; families among filler
(`niah_single_*`, `niah_multikey_1`, `niah_multiquery`, `vt`) stay above .9 at every length, and
what is lost is lost among nothing but records (`niah_multikey_2`, `niah_multikey_3`, `qa_1`,
`qa_2`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from planish.methods.lookahead.config import Dumping
from planish.methods.lookahead.dumping.folder import Dump
from planish.methods.lookahead.evaluate.documents import Document, documents
from planish.methods.lookahead.evaluate.quality import needed_by_task
from planish.methods.lookahead.evaluate.summary import macro_mean
from planish.methods.lookahead.labels import Limits, evictable
from planish.methods.lookahead.running.dump import dump
from planish.methods.lookahead.train.measure import top_share
from planish.models.load import load
from planish.models.memory.backbone import Backbone, entering
from planish.models.memory.digests import pool
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.loading import indexer_path
from planish.stats import shown
from planish.tasks.recall import FAMILIES, RecallTask
from support import tell

MODEL = "embedded:recall"
LENGTHS = (2048, 8192, 32_768, 131_072)
DOCUMENTS = (8, 8, 4, 2)
COMPARED = 2048
SHARES = (0.05, 0.1, 0.135)
SHOWN = 0.1
ASKED = tuple(name for name in FAMILIES if name not in ("cwe", "fwe"))
INTERVAL, RECENT = 64, 16
PIECE = 1024
CHOOSERS = ("lookahead", "recency", "chance")


class _Reached(Exception):
    """The last layer that is scored has its input."""


@contextmanager
def stopped_at(attention: nn.Module) -> Iterator[list[Tensor]]:
    """Forward passes end before this module; what would have entered is the list's last item."""
    found: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found[:] = [entering(args, kwargs)]
        raise _Reached

    handle = attention.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


@torch.inference_mode()
def scores_of(
    backbone: Backbone, indexer: MemoryIndexer, prompt_ids: Sequence[int], piece: int = PIECE
) -> Tensor:
    """Scores (1, C) of all complete chunks at the last token of a prompt.

    Args:
        piece: tokens of one forward pass; a multiple of a chunk's.
    """
    from transformers import DynamicCache

    names = dict(zip(indexer.layer_indices, indexer.layers, strict=True))
    last = max(names)
    cache = DynamicCache(config=backbone.decoder.config)
    records: dict[str, list[Tensor]] = {name: [] for name in names.values()}
    ids_1L = torch.tensor([prompt_ids])
    for begin in range(0, len(prompt_ids), piece):
        ids_1T = ids_1L[:, begin : begin + piece]
        places_1T = torch.arange(begin, begin + ids_1T.shape[1])[None]
        below = [layer for layer in names if layer != last]
        with backbone.capture(below) as hidden, stopped_at(backbone.attention(last)) as entered:
            try:
                backbone.decoder(
                    input_ids=ids_1T, past_key_values=cache, position_ids=places_1T, use_cache=True
                )
            except _Reached:
                hidden[last] = entered[0]
        for layer, name in names.items():
            records[name].append(_records(backbone, indexer, layer, name, hidden[layer], places_1T))
    scores = indexer.score(
        {name: hidden[layer][:, -1] for layer, name in names.items()},
        {name: torch.cat(parts, dim=1) for name, parts in records.items()},
        torch.tensor([len(prompt_ids) - 1]),
    )
    return indexer.ensemble(scores)


def _records(
    backbone: Backbone,
    indexer: MemoryIndexer,
    layer: int,
    name: str,
    hidden_1TE: Tensor,
    places_1T: Tensor,
) -> Tensor:
    """Records (1, C, 132) of the chunks that a piece completes."""
    tokens = indexer.config.chunk_tokens
    whole = places_1T.shape[1] // tokens * tokens
    keys_1KTD = backbone.keys(layer, hidden_1TE, places_1T)[:, :, :whole]
    places_1T = places_1T[:, :whole]
    plain_1KTD = backbone.rotate(layer, keys_1KTD, places_1T, inverse=True)
    features_1CF = pool(
        plain_1KTD, torch.ones_like(places_1T, dtype=torch.bool), tokens, indexer.config.pooling
    )
    return indexer.compress(name, features_1CF, places_1T[:, ::tokens])


def scores_of_dump(
    indexer: MemoryIndexer, task: RecallTask, split: str, number: int
) -> list[Tensor]:
    """The same scores by the long way: the whole reader, `planish lookahead dump`, the scorer."""
    dials = Dumping.tiny().model_copy(
        update={
            "chunk_tokens": indexer.config.chunk_tokens,
            "pooling": indexer.config.pooling,
            "prompt_runs": 0,
            "continuation": 2,
        }
    )
    found = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "dump"
        with redirect_stdout(sys.stderr):
            dump(
                model=MODEL, task=task.name, split=split, limit=number, out=out, config=dials,
                runs=Path(folder) / "runs", json=True,
            )  # fmt: skip
        dumped = Dump(out)
        for document in dumped.documents:
            tensors = dumped.tensors(document)
            row = int((tensors["positions"] == document.prompt - 1).nonzero())
            starts_1C = tensors["starts"][None]
            records = {
                name: indexer.compress(name, tensors[f"features.{name}"][None], starts_1C)
                for name in indexer.layers
            }
            hidden = {name: tensors[f"hidden.{name}"][row][None] for name in indexer.layers}
            scores = indexer.score(hidden, records, torch.tensor([document.prompt - 1]))
            found.append(indexer.ensemble(scores)[0, : document.prompt // dials.chunk_tokens])
    return found


def agreement(
    backbone: Backbone, indexer: MemoryIndexer, tokenizer: Any, task: RecallTask, split: str
) -> float:
    """The largest difference between the scores of both ways, one document of each family."""
    number = len(task.families)
    long = scores_of_dump(indexer, task, split, number)
    found = documents([task], tokenizer, split=split, number=number, seeds=(0,))
    short = [scores_of(backbone, indexer, document.prompt_ids)[0] for document in found]
    return max(float((one - other).abs().max()) for one, other in zip(short, long, strict=True))


@dataclass(frozen=True)
class Row:
    """One document: how many chunks it needs, of how many, and the share that each kept."""

    document_id: str
    family: str
    needed: int
    candidates: int
    recall: Mapping[tuple[str, float], float]


def row_of(document: Document, scores_1C: Tensor, chunk_tokens: int) -> Row | None:
    """What a decision at the prompt's last token keeps; None: nothing that could be evicted is
    needed."""
    assert document.needs is not None
    num_chunks = scores_1C.shape[1]
    limits = Limits(chunk_tokens, INTERVAL, 0, RECENT)
    last = torch.tensor([len(document.prompt_ids) - 1])
    candidate_1C = evictable(last, num_chunks, limits)
    steps_1TC = needed_by_task([document.needs], INTERVAL, num_chunks, chunk_tokens)
    needed_1C = steps_1TC.any(1) & candidate_1C
    needed, candidates = int(needed_1C.sum()), int(candidate_1C.sum())
    if not needed:
        return None
    recall = {}
    latest_1C = torch.arange(num_chunks, dtype=torch.float32)[None]
    for share in SHARES:
        for name, by_1C in (("lookahead", scores_1C), ("recency", latest_1C)):
            kept_1C = top_share(by_1C, candidate_1C, share)
            recall[name, share] = int((kept_1C & needed_1C).sum()) / needed
            recall["chance", share] = int(kept_1C.sum()) / candidates
    return Row(document.id, document.family, needed, candidates, recall)


def measured(
    backbone: Backbone,
    indexer: MemoryIndexer,
    tokenizer: Any,
    task: RecallTask,
    split: str,
    each: int,
) -> list[Row | None]:
    """All documents of a length; None: see `row_of`."""
    number = each * len(task.families)
    rows: list[Row | None] = []
    begun = time.process_time()
    for document in documents([task], tokenizer, split=split, number=number, seeds=(0,)):
        scores_1C = scores_of(backbone, indexer, document.prompt_ids)
        rows.append(row_of(document, scores_1C, indexer.config.chunk_tokens))
        seconds = (time.process_time() - begun) / len(rows)
        print(f"{task.length}: {len(rows)} of {number}, {seconds:.1f} s each", file=sys.stderr)
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def mean_of(rows: Sequence[Row], value: Callable[[Row], float], family: str = "") -> Any:
    """The mean over families, or of one of them, with its interval by document."""
    some = [row for row in rows if family in ("", row.family)]
    values = {row.document_id: value(row) for row in some}
    return macro_mean(values, {row.document_id: row.family for row in some})


def page(found: Mapping[int, Sequence[Row]]) -> list[str]:
    """All lengths: means over families, then each family at one share."""

    def kept(chooser: str, share: float) -> Callable[[Row], float]:
        return lambda row: row.recall[chooser, share]

    def ahead(share: float) -> Callable[[Row], float]:
        return lambda row: row.recall["lookahead", share] - row.recall["recency", share]

    def told(chooser: str, share: float, rows: Sequence[Row]) -> str:
        number = mean_of(rows, kept(chooser, share))
        # What chance holds is known, not sampled.
        return f"{number.value:.3f}" if chooser == "chance" else shown(number)

    lines = ["Needed chunks kept, mean over the families:", ""]
    lines += table(
        ("words", "candidates", "arm", *(f"{100 * share:g} %" for share in SHARES)),
        [
            [
                f"{length:,}",
                f"{max(row.candidates for row in rows):,}",
                chooser,
                *(told(chooser, share, rows) for share in SHARES),
            ]
            for length, rows in found.items()
            for chooser in CHOOSERS
        ],
    )
    lines += ["", "Lookahead less recency, paired by document:", ""]
    lines += table(
        ("words", *(f"{100 * share:g} %" for share in SHARES)),
        [
            [f"{length:,}", *(shown(mean_of(rows, ahead(share)), "+.3f") for share in SHARES)]
            for length, rows in found.items()
        ],
    )
    lines += ["", f"By family, lookahead at {100 * SHOWN:g} % of the chunks:", ""]
    lines += table(
        ("family", *(f"{length:,}" for length in found)),
        [
            [
                family,
                *(
                    shown(mean_of(rows, kept("lookahead", SHOWN), family))
                    for rows in found.values()
                ),
            ]
            for family in dict.fromkeys(row.family for rows in found.values() for row in rows)
        ],
    )
    return lines


def main() -> None:
    """Measures every length and prints the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--indexer", default="embedded", help="a folder, or `embedded`")
    parser.add_argument("--families", nargs="+", default=ASKED, choices=ASKED)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="in words")
    parser.add_argument(
        "--documents", type=int, nargs="+", default=DOCUMENTS, help="of a family, at each length"
    )
    parser.add_argument("--split", default="report", choices=("gate", "report"))
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    options = parser.parse_args()
    if len(options.documents) != len(options.lengths):
        parser.error("give as many --documents as --lengths")
    model: Any = load(MODEL)
    backbone = Backbone.of(model.model)
    indexer = MemoryIndexer.from_pretrained(indexer_path(options.indexer))
    indexer.check(backbone.fingerprint(), indexer.config.chunk_tokens)
    families = "+".join(options.families)
    apart = agreement(
        backbone, indexer, model.tokenizer, RecallTask(families, COMPARED), options.split
    )
    found, counts = {}, []
    for length, each in zip(options.lengths, options.documents, strict=True):
        task = RecallTask(families, length)
        rows = measured(backbone, indexer, model.tokenizer, task, options.split, each)
        found[length] = [row for row in rows if row]
        left = rows.count(None)
        but = f" ({left} more need nothing that could be evicted)" if left else ""
        counts.append(f"{len(found[length])} of {length:,} words{but}")
    lines = [
        f"Indexer `{options.indexer}` of `{MODEL}`, layers {', '.join(indexer.layers)}, chunks of "
        f"{indexer.config.chunk_tokens} words, trained on 384 words. Documents of the split "
        f"{options.split}, {len(options.families)} families: {'; '.join(counts)}. Intervals are "
        f"over documents. Largest difference to the scores of a dump at {COMPARED:,} words: "
        f"{apart:.1e}.",
        "",
        *page(found),
    ]
    tell(
        "lookahead-length",
        "lookahead: what is needed, found among up to 128K words",
        "\n".join(lines),
        write=options.write,
    )


if __name__ == "__main__":
    main()
