"""Teaches the tiny reader to answer from long contexts, and to know what it will need next.

    model = train_reader(seed=0)

Documents come from `planish.tasks.recall`, short ones first. Two in five are drills that ask for
many records at once, because a long document that asks for one teaches little. Beside its answers
the reader is taught to tell which chunks they will be found in (`recall_needs`).

The first layer, whose units write a record's key beside each of its words, learns at a tenth of
the rate: at the full one it writes something else after some hundred steps, and what a chunk holds
can hardly be told from its keys any more.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from planish.embedded.network import EOS, PAD
from planish.embedded.recall_model import VOCABULARY, build_model
from planish.embedded.recall_needs import Needs, needs_loss, needs_of, new_indexer
from planish.models.memory.indexer import MemoryIndexer
from planish.tasks.recall.families import FAMILIES, drill

__all__ = ["STAGES", "TAUGHT", "Stage", "batch", "train_reader"]

TAUGHT: tuple[str, ...] = (
    *FAMILIES, "cwe", "fwe", *("vt", "qa_2") * 3, "niah_multivalue", "list_many", "topic_switch",
)  # fmt: skip
"""Families as often as they are drawn: those that are hard to learn come more often."""

_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
_IGNORED = -100
_NEEDS_WEIGHT = 0.3
_FIRST_LAYER = 0.1  # of the rate
_INDEXER_RATE = 3e-3
_FALL = 0.7  # of the rate, from stage to stage


@dataclass(frozen=True)
class Stage:
    """Steps on documents of one length."""

    length: int
    batch_size: int
    steps: int


STAGES: tuple[Stage, ...] = (
    Stage(128, 12, 300),
    Stage(384, 6, 300),
    Stage(1024, 3, 120),
    Stage(2048, 2, 100),
)


def batch(
    length: int, size: int, draw: random.Random, *, drills: float = 0.4,
    families: Sequence[str] = TAUGHT,
) -> tuple[torch.Tensor, torch.Tensor, Needs]:  # fmt: skip
    """Documents with their answers.

    Returns:
        ids_BT, labels_BT (-100 where nothing is to be said), and what the answers will need.
    """
    documents = [
        drill(draw, length)
        if draw.random() < drills
        else FAMILIES[draw.choice(families)](draw, length)
        for _ in range(size)
    ]
    rows = [
        (
            [_INDEX[word] for word in document.context + document.question],
            [_INDEX[word] for word in (*document.answer, EOS)],
        )
        for document in documents
    ]
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BT = torch.full((size, width), _INDEX[PAD])
    labels_BT = torch.full((size, width), _IGNORED)
    for row, (prompt, answer) in enumerate(rows):
        start, end = len(prompt), len(prompt) + len(answer)
        ids_BT[row, :end] = torch.tensor(prompt + answer)
        labels_BT[row, start:end] = torch.tensor(answer)
    return ids_BT, labels_BT, needs_of(documents, draw)


def train_reader(
    seed: int,
    *,
    stages: Sequence[Stage] = STAGES,
    learning_rate: float = 2e-3,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Teaches a fresh network; each stage's learning rate falls to a tenth."""
    model: Any = build_model(seed).train()
    keys = model.model.layers[0].self_attn.k_proj.out_features
    indexer = new_indexer(model.config.hidden_size, keys, seed)
    draw = random.Random(f"reader/{seed}")
    first = list(model.model.layers[0].parameters())
    others = [one for one in model.parameters() if all(one is not each for each in first)]
    for stage in stages:
        groups = [
            {"params": others, "lr": learning_rate},
            {"params": first, "lr": learning_rate * _FIRST_LAYER},
            {"params": list(indexer.parameters()), "lr": _INDEXER_RATE},
        ]
        _teach(model, indexer, torch.optim.AdamW(groups, weight_decay=0.01), stage, draw, say)
        learning_rate *= _FALL
    return model.eval()


def _teach(
    model: Any, indexer: MemoryIndexer, optimizer: torch.optim.Optimizer, stage: Stage,
    draw: random.Random, say: Callable[[str], None],
) -> None:  # fmt: skip
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, steps=stage.steps))
    started = time.perf_counter()
    sums = [0.0] * 3
    for step in range(1, stage.steps + 1):
        loss, parts = _loss(model, indexer, *batch(stage.length, stage.batch_size, draw))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *indexer.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        sums = [one + other for one, other in zip(sums, parts, strict=True)]
        if step % 50 == 0:
            said, ranked, right = (one / 50 for one in sums)
            sums = [0.0] * 3
            say(
                f"length {stage.length}, step {step}: answer {said:.3f} "
                f"({right:.3f} of its words right), needs {ranked:.3f} "
                f"[{time.perf_counter() - started:.0f} s]"
            )


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: it rises over 30 steps and falls to a tenth."""
    return min(1.0, (step + 1) / 30) * (1 - 0.9 * step / steps)


def _loss(
    model: Any, indexer: MemoryIndexer, ids_BT: torch.Tensor, labels_BT: torch.Tensor, needs: Needs
) -> tuple[torch.Tensor, list[float]]:
    output = model.model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    said_BT = labels_BT[:, 1:] != _IGNORED
    logits = model.lm_head(output.last_hidden_state[:, :-1][said_BT])
    labels = labels_BT[:, 1:][said_BT]
    # A short answer is drowned by long ones if every word counts the same.
    weight_BT = said_BT / said_BT.sum(1, keepdim=True).sqrt()
    weight = weight_BT[said_BT] / weight_BT.sum()
    answer = (functional.cross_entropy(logits, labels, reduction="none") * weight).sum()
    needed = needs_loss(model.model, indexer, output.hidden_states, needs)
    right = (logits.argmax(-1) == labels).float().mean()
    told = [float(one.detach()) for one in (answer, needed, right)]
    return answer + _NEEDS_WEIGHT * needed, told
