"""What the model does with its whole history: the reply, and what each token looked at.

    run = run_dense(model, backbone, batch, eos_ids, settings)
    run.replies[0], run.kept(0)

Step t feeds the token at position `prompt - 1 + t`: step 0 is the last token of the prompt, and
everything before it is prefilled once, for this run and for all arms.

Shape suffixes: B rows, T steps, E hidden, H heads, K key/value heads, D head width, L history,
C chunks, M memory layers, V vocabulary, Q observed tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from planish.errors import BadInput
from planish.methods.lookahead.evaluate.documents import Document
from planish.methods.lookahead.evaluate.settings import Settings
from planish.models.memory.backbone import Backbone

__all__ = ["DenseRun", "Greedy", "Looked", "Prefilled", "prefill", "run_dense"]

_NUMBERS_AT_ONCE = 1 << 24
"""Attention weights in memory at once."""


@dataclass(frozen=True)
class Prefilled:
    """A prompt without its last token, read once.

    Args:
        prompt_BT: all its tokens.
        keys_values: of every memory layer, (B, K, L, D) each.
        others: layers that are not memory layers, as transformers keeps them.
        hidden: memory layer -> (B, Q, E): what entered attention at the last tokens.
    """

    prompt_BT: Tensor
    keys_values: dict[int, tuple[Tensor, Tensor]]
    others: dict[int, Any]
    hidden: dict[int, Tensor]

    @property
    def observed_BQ(self) -> Tensor:
        """Positions of the tokens of `hidden`."""
        rows, length = self.prompt_BT.shape
        num = next((states.shape[1] for states in self.hidden.values()), 0)
        end = length - 1
        return torch.arange(end - num, end, device=self.prompt_BT.device).expand(rows, -1)


@dataclass
class Greedy:
    """Greedy decoding, one row per document; a row that ended decodes on and is not looked at.

    Args:
        eos_ids: tokens that end a reply. max_tokens: of each row.
    """

    eos_ids: Collection[int]
    max_tokens: Sequence[int]
    replies: list[list[int]] = field(default_factory=list)
    steps_B: list[int] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows = len(self.max_tokens)
        self.replies, self.steps_B, self.ended = (
            [[] for _ in range(rows)],
            [0] * rows,
            [False] * rows,
        )

    def take(self, chosen_B: Tensor) -> None:
        """The next token of every row."""
        for row, token in enumerate(chosen_B.tolist()):
            if self.ended[row]:
                continue
            self.steps_B[row] += 1
            if token in self.eos_ids:
                self.ended[row] = True
                continue
            self.replies[row].append(token)
            self.ended[row] = len(self.replies[row]) >= self.max_tokens[row]

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return all(self.ended)


@dataclass(frozen=True)
class Looked:
    """Attention of each step, by complete chunk, summed over a chunk's tokens.

    Args:
        mass_BMTC: mean over heads. head_BMTC: the largest over heads.
        total_BMT: on the whole history; below 1 only where heads have sinks of their own.
    """

    mass_BMTC: Tensor
    head_BMTC: Tensor
    total_BMT: Tensor


@dataclass(frozen=True)
class DenseRun:
    """The dense model's greedy reply, step by step.

    Args:
        fed_BT: token that each step feeds. chosen_BT: the token that it chooses.
        steps_B: steps of each row until its reply ended; later ones mean nothing.
        replies: without the token that ends them.
        logits_TBV, looked: None where quality is not measured; `looked` also of a model whose
            attention cannot be looked at.
    """

    prefilled: Prefilled
    fed_BT: Tensor
    chosen_BT: Tensor
    steps_B: Tensor
    replies: list[list[int]]
    logits_TBV: list[Tensor] | None
    looked: Looked | None

    @property
    def prompt(self) -> int:
        """Tokens of the prompt."""
        return self.prefilled.prompt_BT.shape[1]


def prefill(
    backbone: Backbone, prompt_BT: Tensor, *, piece_tokens: int, observed: int
) -> Prefilled:
    """Reads all but the last token, piece by piece, with everything in sight."""
    from transformers import DynamicCache

    end = prompt_BT.shape[1] - 1
    last = max(0, end - observed)
    edges = [*range(0, last, piece_tokens), last, end]
    cache = DynamicCache(config=backbone.decoder.config)
    with torch.inference_mode(), backbone.capture(backbone.memory_layers) as hidden:
        for first, behind in pairwise(edges):
            if behind > first:
                backbone.decoder(
                    input_ids=prompt_BT[:, first:behind], past_key_values=cache, use_cache=True
                )
        seen = dict(hidden)
    layers: dict[int, Any] = dict(enumerate(cache.layers))
    return Prefilled(
        prompt_BT=prompt_BT,
        keys_values={
            index: (layers[index].keys, layers[index].values) for index in backbone.memory_layers
        },
        others={
            index: layer for index, layer in layers.items() if index not in backbone.memory_layers
        },
        hidden=seen,
    )


def run_dense(
    model: Any,
    backbone: Backbone,
    batch: Sequence[Document],
    eos_ids: Collection[int],
    settings: Settings,
    chunk_tokens: int,
) -> DenseRun:
    """Prefills a batch of prompts of one length and decodes them greedily, nothing evicted."""
    prompt_BT = torch.tensor([document.prompt_ids for document in batch], device=model.device)
    prefilled = prefill(
        backbone, prompt_BT, piece_tokens=settings.piece_tokens, observed=settings.observed
    )
    cache = _again(backbone, prefilled)
    greedy = Greedy(eos_ids, [document.max_tokens for document in batch])
    fed, chosen, logits = [], [], []
    states: dict[int, list[Tensor]] = {layer: [] for layer in backbone.memory_layers}
    token_B = prompt_BT[:, -1]
    with torch.inference_mode(), backbone.capture(backbone.memory_layers) as hidden:
        while not greedy.over:
            output = model(input_ids=token_B[:, None], past_key_values=cache, use_cache=True)
            fed.append(token_B)
            token_B = finite(output.logits[:, -1]).argmax(-1)
            chosen.append(token_B)
            greedy.take(token_B)
            if settings.quality:
                logits.append(output.logits[:, -1].float())
                for layer, kept in states.items():
                    kept.append(hidden[layer])
        looked = None
        if settings.quality and states:
            joined = {layer: torch.cat(kept, dim=1) for layer, kept in states.items()}
            looked = _look(backbone, cache, joined, prompt_BT.shape[1] - 1, chunk_tokens)
    return DenseRun(
        prefilled=prefilled,
        fed_BT=torch.stack(fed, 1),
        chosen_BT=torch.stack(chosen, 1),
        steps_B=torch.tensor(greedy.steps_B),
        replies=greedy.replies,
        logits_TBV=logits if settings.quality else None,
        looked=looked,
    )


def finite(logits_BV: Tensor) -> Tensor:
    """The logits, if a token can be chosen by them.

    Raises:
        BadInput: NaN among them, as of a broken checkpoint.
    """
    if bool(logits_BV.isnan().any()):
        raise BadInput("the logits hold NaN", where="model", fix="check the weights and the dtype")
    return logits_BV


def _again(backbone: Backbone, prefilled: Prefilled) -> Any:
    """A cache of transformers' own that stands behind the prompt."""
    from transformers import DynamicCache

    cache = DynamicCache(config=backbone.decoder.config)
    for index in range(backbone.num_layers):
        if index in prefilled.keys_values:
            keys_BKLD, values_BKLD = prefilled.keys_values[index]
            cache.update(keys_BKLD, values_BKLD, index)
        else:
            cache.layers[index] = copy.deepcopy(prefilled.others[index])
    return cache


def _look(
    backbone: Backbone, cache: Any, states: dict[int, Tensor], start: int, chunk_tokens: int
) -> Looked:
    """Attention of the decoded steps to everything before them."""
    masses, heads, totals = [], [], []
    for layer, hidden_BTE in states.items():
        keys_BKLD = cache.layers[layer].keys
        rows, steps, length = len(hidden_BTE), hidden_BTE.shape[1], keys_BKLD.shape[2]
        piece = max(1, _NUMBERS_AT_ONCE // (rows * backbone.num_heads * length))
        parts = [
            _attended(backbone, layer, hidden_BTE[:, first : first + piece], keys_BKLD,
                      start + first, chunk_tokens)
            for first in range(0, steps, piece)
        ]  # fmt: skip
        mass, head, total = (torch.cat(each, 1) for each in zip(*parts, strict=True))
        masses.append(mass)
        heads.append(head)
        totals.append(total)
    return Looked(torch.stack(masses, 1), torch.stack(heads, 1), torch.stack(totals, 1))


def _attended(
    backbone: Backbone, layer: int, hidden_BTE: Tensor, keys_BKLD: Tensor, start: int,
    chunk_tokens: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    from planish.methods.lookahead.arms.maths import per_chunk

    rows, steps, _ = hidden_BTE.shape
    length = keys_BKLD.shape[2]
    positions_T = torch.arange(start, start + steps, device=hidden_BTE.device)
    index_L = torch.arange(length, device=hidden_BTE.device)
    allowed_BTL = (index_L <= positions_T[:, None]).expand(rows, -1, -1)
    queries_BHTD = backbone.queries(layer, hidden_BTE, positions_T.expand(rows, -1))
    weights_BHTL = backbone.attention_weights(layer, queries_BHTD, keys_BKLD, allowed_BTL)
    chunks_BHTC = per_chunk(weights_BHTL, chunk_tokens, length // chunk_tokens)
    return chunks_BHTC.mean(1), chunks_BHTC.amax(1), weights_BHTL.sum(-1).mean(1)
