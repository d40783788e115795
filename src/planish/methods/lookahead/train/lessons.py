"""From dumps to an indexer: labels, one layer after the other, layers chosen, everything saved.

    lesson = prepare([Dump("dump")], dials)
    trained = learn_layer(lesson, "l1", folder)
    indexer = assemble(lesson, {"l1": trained})

The backbone is never loaded.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from planish.methods.lookahead.config import RANKING, Training
from planish.methods.lookahead.data import Header
from planish.methods.lookahead.dumping.folder import Document, Dump
from planish.methods.lookahead.dumping.heading import same_backbone
from planish.methods.lookahead.train.bank import (
    Bank,
    Labelled,
    limits_of,
    read_labels,
    rule_of,
    split_documents,
)
from planish.methods.lookahead.train.fit import Fitted, Log, fit, judged_of
from planish.methods.lookahead.train.intervals import by_document
from planish.methods.lookahead.train.measure import Mode, choose_layers, combine, measure
from planish.models.memory.budget import Budget
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from planish.models.memory.scorer import Rope
from planish.records import BadInput
from planish.stats import Estimate

__all__ = ["Lesson", "assemble", "check_overlap", "learn_layer", "new_indexer", "prepare"]

# Of two dumps that are trained on together these must agree.
_SAME = (
    "backbone", "layers", "memory_layers", "hidden_size", "features", "keys", "chunk_tokens",
    "pooling",
)  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """What is learnt from.

    Args:
        where: the dump of each document, by digest.
    """

    dials: Training
    header: Header
    where: Mapping[str, Dump]
    train: Labelled
    validation: Labelled

    def read(self, document: Document) -> Dump:
        """The dump that a document is in."""
        return self.where[document.digest]


def prepare(dumps: Sequence[Dump], dials: Training, backbone: Any = None) -> Lesson:
    """Splits the documents and labels their tokens.

    Args:
        backbone: fingerprint that the dumps must be of; None: any, but the same.

    Raises:
        BadInput: dumps of different backbones or settings, nothing labelled, or too little to
            split.
    """
    header = dumps[0].header
    _check_same(dumps, backbone)
    where: dict[str, Dump] = {}
    documents: list[Document] = []
    for dump in dumps:
        for document in dump.documents:
            if document.digest not in where:
                documents.append(document)
                where[document.digest] = dump
    train, gate = split_documents(documents, dials)
    rule, limits = rule_of(dials), limits_of(dials, header.chunk_tokens)

    def read(document: Document) -> Dump:
        return where[document.digest]

    labelled = read_labels(read, train, rule, limits, dials)
    validation = read_labels(read, gate, rule, limits, dials, keep=True)
    for found, what in ((labelled, "training"), (validation, "validation")):
        if found.untold and found.untold == len(found.documents):
            raise BadInput(
                f"--rule needs asks what a document needs, and none of {what} tells",
                where="--dump",
                fix="dump a task that tells, as those of recall do, or give --rule head",
            )
        if not found.tokens:
            raise _unlabelled(found, what)
    return Lesson(dials, header, where, labelled, validation)


def _unlabelled(found: Labelled, what: str) -> BadInput:
    number = len(found.documents)
    where = "its only document" if number == 1 else f"its {number} documents"
    fix = "lower --recent-tokens or --interval, or dump longer stretches"
    if what == "validation":  # of few documents each may have had a reply shorter than a window
        fix = f"raise --validation-share or dump more documents; if they are many, {fix}"
    return BadInput(
        f"no token of {what} could be labelled in {where} ({found.unlabelled} have no whole "
        f"window, {found.empty_tokens} nothing that could be evicted)",
        where="--dump",
        fix=fix,
    )


def _check_same(dumps: Sequence[Dump], backbone: Any) -> None:
    first = dumps[0].header
    if backbone is not None and not same_backbone(backbone, first.backbone):
        raise BadInput(
            "the dump is of another backbone than the model",
            where=str(dumps[0].folder),
            fix="dump this model, or name the one that was dumped",
        )
    # Every two of them: of an older dump less is known, and it may agree with two that do not.
    for one, dump in combinations(dumps, 2):
        for name in _SAME:
            same = same_backbone if name == "backbone" else operator.eq
            if not same(getattr(dump.header, name), getattr(one.header, name)):
                raise BadInput(
                    f"differs from {one.folder} in {name}",
                    where=str(dump.folder),
                    fix="train on dumps of one backbone with the same settings",
                )


def check_overlap(dumps: Sequence[Dump], reported: Sequence[Dump]) -> None:
    """Refuses to train on what is reported on.

    Raises:
        BadInput: a document is in both, by its tokens; the message names the first.
    """
    seen = {document.digest: document.id for dump in reported for document in dump.documents}
    for dump in dumps:
        for document in dump.documents:
            if document.digest in seen:
                raise BadInput(
                    f"{document.id} is also among the documents of the report",
                    where=str(dump.folder),
                    fix="dump another split for one of the two",
                )


def new_indexer(
    header: Header, layers: Sequence[str], dials: Training, mode: Mode = "max"
) -> MemoryIndexer:
    """An untrained indexer for these layers; it carries the budget that it was labelled for."""
    budget = Budget(
        threshold=dials.threshold,
        sink_tokens=dials.sink_tokens,
        recent_tokens=dials.recent_tokens,
        interval=dials.interval,
    )
    own = header.keys == "own"
    config = IndexerConfig(
        hidden_size=header.hidden_size,
        rank=dials.rank,
        num_heads=dials.num_heads,
        chunk_tokens=header.chunk_tokens,
        pooling=header.pooling,
        features=0 if own else header.features,
        backbone=header.backbone,
        # What a chunk holds is asked for wherever it is. With more turned dimensions an indexer
        # that was trained on contexts of 384 tokens finds nothing in contexts of 2,048 (measured).
        # Keys that a model brings are turned as published.
        rope=Rope() if own else Rope(dim=2),
        mode=mode,
        notes={
            "budget": budget.model_dump(exclude_defaults=True),
            "ranks": dials.loss in RANKING,
        },
    )
    return MemoryIndexer.new(config, tuple(layers), dials.seed)


def learn_layer(
    lesson: Lesson, layer: str, folder: Path, log: Log = lambda step, numbers: None
) -> tuple[dict[str, Tensor], Fitted]:
    """Trains one layer; returns its weights and how good they are."""
    torch.manual_seed(lesson.dials.seed)
    indexer = new_indexer(lesson.header, (layer,), lesson.dials)
    retriever: Any = indexer.retrievers[layer]
    if lesson.dials.init == "queries":
        dump = next(iter(lesson.where.values()))
        from planish.methods.lookahead.train.starting import start_from_native, start_from_queries

        kept, own = dump.projections(), f"{layer}."
        if lesson.header.keys == "own":
            native = {name: kept[name] for name in kept if name.startswith(own)}
            start_from_native(
                retriever, {name.removeprefix(own): weight for name, weight in native.items()}
            )
        else:
            start_from_queries(retriever, kept.get(layer), lesson.header)
    train = Bank.of(lesson.read, lesson.train, layer)
    validation = Bank.of(lesson.read, lesson.validation, layer)
    fitted = fit(retriever, train, validation, lesson.dials, folder, log=log)
    return {name: value.clone() for name, value in retriever.state_dict().items()}, fitted


def assemble(
    lesson: Lesson, learnt: Mapping[str, tuple[dict[str, Tensor], list[Tensor]]]
) -> tuple[MemoryIndexer, Mode, dict[str, Estimate | float | None]]:
    """Chooses layers on validation and puts them together.

    Args:
        learnt: by layer, its weights and its logits on validation.

    Returns:
        The indexer, how its layers are joined, and the quality of the whole on validation, with
        intervals by document where a measure has one.
    """
    dials = lesson.dials
    some = next(iter(learnt))
    judged = judged_of(Bank.of(lesson.read, lesson.validation, some))
    logits = {layer: scores for layer, (_, scores) in learnt.items()}
    chosen, mode = choose_layers(
        judged, logits, most=dials.keep_layers, threshold=dials.threshold, aim=dials.aim
    )
    indexer = new_indexer(lesson.header, chosen, dials, mode)
    for layer in chosen:
        indexer.retrievers[layer].load_state_dict(learnt[layer][0])
    joined = combine([logits[layer] for layer in chosen], mode)
    budgets = tuple(dict.fromkeys((*dials.budgets, dials.aim)))
    quality = measure(judged, joined, threshold=dials.threshold, budgets=budgets)
    sure = by_document(
        judged, joined, quality, threshold=dials.threshold, budgets=budgets, seed=dials.seed
    )
    return indexer, mode, sure
