"""Labelled tokens of a dump, and what the towers of one layer are fed.

    labelled = read_labels(dump, dump.documents, rule, limits)
    bank = Bank.of(dump, labelled, "l1")
    bank.hidden_NE[3], bank.chunks(3)

Labels are the same for all layers, so they are told once. N labelled tokens, C chunks of a
document, S chunks of all documents, D documents, E hidden, F features, M memory layers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from planish.methods.lookahead.config import Training
from planish.methods.lookahead.data import LabelRecord
from planish.methods.lookahead.dumping.folder import Document, Dump
from planish.methods.lookahead.labels import (
    Limits,
    Rule,
    label,
    layer_weight,
    window_mass,
)
from planish.models.memory.digests import unpack
from planish.records import BadInput

__all__ = [
    "Bank", "Labelled", "decisions", "limits_of", "read_labels", "rule_of", "split_documents",
]  # fmt: skip


def rule_of(dials: Training) -> Rule:
    """What counts as needed."""
    return Rule(dials.rule, dials.mass, dials.among, dials.min_layers, dials.head_mass)


def limits_of(dials: Training, chunk_tokens: int) -> Limits:
    """What has a label at all."""
    return Limits(
        chunk_tokens,
        dials.interval,
        dials.sink_tokens,
        dials.recent_tokens,
        dials.max_positives,
    )


@dataclass(frozen=True)
class Token:
    """A labelled token.

    Args:
        document: its place in `Labelled.documents`. row: its place among the sampled tokens.
        low, high: chunks [low, high) of its document are the candidates.
        positives: of them, rising. weights: of the positives, in a loss.
    """

    document: int
    row: int
    position: int
    low: int
    high: int
    positives: Tensor
    weights: Tensor


@dataclass
class Labelled:
    """The tokens of some documents that could be labelled.

    Attributes:
        unlabelled: tokens without a label; empty_tokens: with one, but without a candidate.
        untold: documents whose task does not tell what they need, where the rule asks for it.
        mass_NC: mean mass of each document's tokens over their windows, where it was asked for.
    """

    documents: list[Document]
    tokens: list[Token] = field(default_factory=list)
    unlabelled: int = 0
    empty_tokens: int = 0
    untold: int = 0
    num_chunks: list[int] = field(default_factory=list)
    masses: list[Tensor] = field(default_factory=list)
    records: list[LabelRecord] = field(default_factory=list)

    @property
    def labelled_documents(self) -> int:
        """Those that have a token with a label."""
        return len({token.document for token in self.tokens})

    @property
    def positives(self) -> int:
        """Pairs of token and needed chunk."""
        return sum(len(token.positives) for token in self.tokens)

    @property
    def candidates(self) -> int:
        """Pairs of token and candidate."""
        return sum(token.high - token.low for token in self.tokens)


def split_documents(
    documents: Sequence[Document], dials: Training
) -> tuple[list[Document], list[Document]]:
    """Documents to train on, and documents to choose by: told by their digests, never shared.

    Where the dump has documents of the split gate, these are the second ones.

    Raises:
        BadInput: one of the two would be empty, or documents of the split report.
    """
    if reported := [document.id for document in documents if document.split == "report"]:
        raise BadInput(
            f"{len(reported)} documents are of the split report, {reported[0]} first",
            where="--dump",
            fix="dump the split train; reports need documents that training has not seen",
        )
    gate = [document for document in documents if document.split == "gate"]
    if gate:
        train = [document for document in documents if document.split != "gate"]
    else:
        ordered = sorted(documents, key=lambda document: _drawn(document.digest, dials.seed))
        num = min(max(1, round(dials.validation_share * len(ordered))), len(ordered) - 1)
        chosen = {document.digest for document in ordered[:num]}
        gate = [document for document in documents if document.digest in chosen]
        train = [document for document in documents if document.digest not in chosen]
    if not train or not gate:
        raise BadInput(
            f"{len(documents)} documents cannot be split into training and validation",
            where="--dump",
            fix="dump at least two, better fifty",
        )
    if shared := {d.digest for d in train} & {d.digest for d in gate}:
        twice = next(document.id for document in gate if document.digest in shared)
        raise BadInput(
            f"{twice} is among the documents of training and of validation",
            where="--dump",
            fix="dump splits that do not overlap",
        )
    return train, gate


def _drawn(digest: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}/{digest}".encode()).hexdigest()


def read_labels(
    read: Callable[[Document], Dump],
    documents: Sequence[Document],
    rule: Rule,
    limits: Limits,
    dials: Training,
    *,
    keep: bool = False,
) -> Labelled:
    """Labels the sampled tokens of the documents, or those of them at which decoding decides.

    Args:
        read: the dump that a document is in.
        keep: keep masses and records, too: for validation.
    """
    found = Labelled(list(documents))
    for place, document in enumerate(documents):
        sampled = read(document).sampled(document)
        labels = label(sampled, rule, limits)
        found.untold += int(rule.name == "needs" and sampled.needs_W2 is None)
        num_layers = sampled.mass.values_NMS.shape[1]
        share_C = labels.positive_NC.float().sum(0) / labels.known_N.sum().clamp_min(1)
        common_C = torch.where(share_C > dials.common_share, dials.common_weight, 1.0)
        kept: list[int] = []
        rows: Sequence[int] = range(len(sampled.positions_N))
        if dials.tokens == "decisions":
            rows = decisions(sampled.stretch_N, dials.stride or dials.interval)
        for row in rows:
            candidates = labels.candidate_NC[row].nonzero().flatten()
            if not labels.known_N[row] or not len(candidates):
                found.unlabelled += int(not labels.known_N[row])
                found.empty_tokens += int(bool(labels.known_N[row]))
                continue
            positives = labels.positive_NC[row].nonzero().flatten()
            weights = common_C[positives]
            if dials.layer_weights:
                weights = weights * layer_weight(labels.counts_NC[row, positives], num_layers)
            low, high = int(candidates[0]), int(candidates[-1]) + 1
            position = int(sampled.positions_N[row])
            token = Token(place, row, position, low, high, positives, weights)
            found.tokens.append(token)
            kept.append(row)
            if keep:
                counts = labels.counts_NC[row, positives]
                found.records.append(_record(document, sampled.stretch_N, token, counts, rule))
        found.num_chunks.append(sampled.mass.num_chunks)
        if keep:
            mass_NC = window_mass(sampled.mass, sampled.stretch_N, limits.interval)
            found.masses.append(mass_NC[kept] / limits.interval)
    return found


def decisions(stretch_N: Tensor, stride: int) -> list[int]:
    """Sampled tokens at which decoding may decide, as if each stretch were a reply.

    The first is the last of a prompt, fed alone where all before it is read at once; else the
    first decision is behind the reply's first token. From either on every `stride` tokens.

    Args:
        stretch_N: tokens of one stretch follow one another.
    """
    begin_N = torch.searchsorted(stretch_N.contiguous(), stretch_N.contiguous())
    offset_N = torch.arange(len(stretch_N)) - begin_N
    found: list[int] = (offset_N % stride < 2).nonzero().flatten().tolist()
    return found


def _record(
    document: Document, stretch_N: Tensor, token: Token, counts: Tensor, rule: Rule
) -> LabelRecord:
    return LabelRecord(
        dump_id=f"{document.id}/{int(stretch_N[token.row])}@{token.position}",
        positives=tuple(token.positives.tolist()),
        layer_counts=tuple(counts.tolist()),
        negatives=token.high - token.low - len(token.positives),
        rule=dict(vars(rule)),
    )


@dataclass(frozen=True)
class Bank:
    """What the towers of one layer are fed; rows are asked for by number.

    Args:
        hidden_NE: of the labelled tokens. features_SF, start_S: of all documents' chunks.
        first_D: where the chunks of a document begin among S.
    """

    labelled: Labelled
    hidden_NE: Tensor
    position_N: Tensor
    features_SF: Tensor
    start_S: Tensor
    first_D: tuple[int, ...]

    @classmethod
    def of(cls, read: Callable[[Document], Dump], labelled: Labelled, layer: str) -> Bank:
        """Reads one layer's tensors of the labelled documents."""
        hidden: list[Tensor] = []
        features: list[Tensor] = []
        starts: list[Tensor] = []
        first: list[int] = []
        rows: list[list[int]] = [[] for _ in labelled.documents]
        for token in labelled.tokens:
            rows[token.document].append(token.row)
        total = 0
        names = (f"hidden.{layer}", f"features.{layer}", "starts")
        for place, document in enumerate(labelled.documents):
            tensors = read(document).tensors(document, names)
            hidden.append(tensors[names[0]][rows[place]])
            kept = tensors[names[1]]
            # A model's own keys of chunks come as the records that decoding scores.
            features.append(unpack(kept) if kept.dtype == torch.uint8 else kept)
            starts.append(tensors[names[2]])
            first.append(total)
            total += len(starts[-1])
        hidden_NE, features_SF = torch.cat(hidden), torch.cat(features)
        for what, values in (("hidden states", hidden_NE), ("chunk features", features_SF)):
            if not bool(torch.isfinite(values).all()):
                raise BadInput(
                    f"{what} of layer {layer} are not finite",
                    where="--dump",
                    fix="dump anew with --dtype bfloat16 or float32",
                )
        return cls(
            labelled,
            hidden_NE,
            torch.tensor([token.position for token in labelled.tokens]),
            features_SF,
            torch.cat(starts).long(),
            tuple(first),
        )

    def chunks(self, row: int) -> range:
        """The candidates of a token, as numbers among S."""
        token = self.labelled.tokens[row]
        first = self.first_D[token.document]
        return range(first + token.low, first + token.high)
