"""Rows for the trainer, made when they are asked for: a token, chunks, labels with weights.

    dataset = rows_of(bank, dials)
    dataset[0]["query"], dataset[0]["chunks"], dataset[0]["label"]

Rows hold numbers of tokens and chunks; the towers fetch vectors by them (`towers`). So a data set
is as small as its list of tokens, and negatives are drawn anew each epoch.
"""

from __future__ import annotations

import random
from typing import Any

import datasets
import torch

from planish.methods.lookahead.config import RANKING, Training
from planish.methods.lookahead.train.bank import Bank
from planish.records import BadInput

__all__ = ["rows_of"]

Batch = dict[str, list[Any]]


def rows_of(bank: Bank, dials: Training) -> datasets.Dataset:
    """The labelled tokens of a bank as a data set that draws its negatives itself.

    Tokens that need nothing have only negatives under `negatives="all"`, and with `uniform` as
    many as a token with one positive; losses that rank leave them out.

    Raises:
        BadInput: no token needs anything.
    """
    tokens = bank.labelled.tokens
    rows = [row for row, token in enumerate(tokens) if len(token.positives)]
    if not rows:
        raise BadInput(
            f"none of {len(tokens)} labelled tokens needs a chunk",
            where="labels",
            fix="lower --head-mass or --min-layers, or take rule mass with --among evictable",
        )
    if dials.loss not in RANKING:
        rows = list(range(len(tokens)))
    dataset = datasets.Dataset.from_dict({"query": rows})
    dataset.set_transform(_Rows(bank, dials))
    return dataset


class _Rows:
    """Makes the rows of a batch from the numbers of its tokens."""

    def __init__(self, bank: Bank, dials: Training) -> None:
        self._bank, self._dials = bank, dials
        self._draw = random.Random(dials.seed)

    def __call__(self, batch: Batch) -> Batch:
        if self._dials.loss == "infonce":
            return _pairs(self._bank, batch["query"], self._draw)
        return _labelled(self._bank, batch["query"], self._dials, self._draw)

    def __reduce__(self) -> tuple[Any, ...]:
        # datasets hashes a transform by pickling it: the whole bank, for nothing.
        return str, ("rows of a bank",)


def _labelled(bank: Bank, rows: list[int], dials: Training, draw: random.Random) -> Batch:
    chosen = [_chunks(bank, row, dials, draw) for row in rows]
    width = max(len(chunks) for chunks, _ in chosen)
    labels = torch.zeros(len(rows), width, 2)
    chunks: list[list[int]] = []
    for place, (row, (numbers, positives)) in enumerate(zip(rows, chosen, strict=True)):
        token = bank.labelled.tokens[row]
        labels[place, : len(numbers), 1] = _negative_weight(len(numbers), len(positives), dials)
        where = torch.tensor(positives, dtype=torch.long)
        labels[place, where, 0] = 1.0
        labels[place, where, 1] = token.weights.float()
        # What fills a row up has weight 0; any chunk will do.
        chunks.append(numbers + [numbers[0]] * (width - len(numbers)))
    return {"query": [[row] for row in rows], "chunks": chunks, "label": list(labels)}


def _chunks(
    bank: Bank, row: int, dials: Training, draw: random.Random
) -> tuple[list[int], list[int]]:
    """Numbers of a token's chunks among S, and which of them are its positives."""
    token, candidates = bank.labelled.tokens[row], bank.chunks(row)
    needed = [chunk - token.low for chunk in token.positives.tolist()]
    if dials.negatives == "all":
        return list(candidates), needed
    positives = [candidates[place] for place in needed]
    num = min(len(candidates) - len(positives), round(dials.negative_ratio * max(len(needed), 1)))
    taken, negatives = set(positives), []
    if num * 2 > len(candidates) - len(positives):
        negatives = draw.sample([chunk for chunk in candidates if chunk not in taken], num)
    while len(negatives) < num:
        chunk = draw.choice(candidates)
        if chunk not in taken:
            taken.add(chunk)
            negatives.append(chunk)
    if not positives and not negatives:
        negatives = [candidates[0]]
    return positives + negatives, list(range(len(positives)))


def _negative_weight(num_chunks: int, num_positives: int, dials: Training) -> float:
    """What a negative weighs: all of them together no more than the ratio says.

    Without it, a positive in fifty is drowned, and heads die before they have found anything.
    """
    negatives = num_chunks - num_positives
    return min(1.0, dials.negative_ratio * max(num_positives, 1) / max(negatives, 1))


def _pairs(bank: Bank, rows: list[int], draw: random.Random) -> Batch:
    """One positive of each token, and one chunk that it does not need."""
    wanted: list[list[int]] = []
    other: list[list[int]] = []
    for row in rows:
        token, candidates = bank.labelled.tokens[row], bank.chunks(row)
        needed = {chunk - token.low for chunk in token.positives.tolist()}
        wanted.append([candidates[draw.choice(sorted(needed))]])
        free = [place for place in range(len(candidates)) if place not in needed] or [0]
        other.append([candidates[draw.choice(free)]])
    return {"query": [[row] for row in rows], "chunks": wanted, "negatives": other}
