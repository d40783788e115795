"""Teaches the tiny reader to answer from long contexts, and to know what it will need next.

    model = train_reader(seed=0)

Documents come from `planish.tasks.recall`, short ones first. Half of them are drills that ask for
many records at once, because a long document that asks for one teaches little.

A hidden state from which the next need can be read, and keys from which it can be read what a
chunk holds, are the precondition of any lookahead. Large models plan ahead, and DeepSeek-V4 learns
keys of chunks together with the rest; a tiny model has to be asked to. So linear heads, thrown away
afterwards, read from what enters each layer but the first which entities and attributes the next
64 words of the answer will name, and from the mean of these layers' keys over eight words of which
entities and attributes there is a record.

Shapes: B batch, T tokens, E hidden, F keys, C chunks, N names (entities and attributes),
V vocabulary.
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
from planish.tasks.recall import grammar
from planish.tasks.recall.families import FAMILIES, drill

__all__ = ["CHUNK", "PLANNED", "STAGES", "TAUGHT", "WINDOW", "Stage", "batch", "train_reader"]

PLANNED = (1, 2, 3)
"""Layers whose input tells what will be needed."""

CHUNK = 8
"""Words of a chunk whose keys must tell what records it holds."""

WINDOW = 64
"""Words of the answer that a plan looks ahead."""

TAUGHT: tuple[str, ...] = (
    *FAMILIES, *("cwe", "fwe"), *("vt", "niah_multivalue", "list_many", "topic_switch"),
)  # fmt: skip
"""Families as often as they are drawn: those that are hard to learn come more often."""

_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
_IGNORED = -100
_NAMES = grammar.ATTRIBUTES.stop  # entities and attributes are the first numbers


@dataclass(frozen=True)
class Stage:
    """Steps on documents of one length."""

    length: int
    batch_size: int
    steps: int


STAGES: tuple[Stage, ...] = (
    Stage(128, 12, 250),
    Stage(384, 6, 200),
    Stage(1024, 3, 150),
    Stage(2048, 2, 150),
)


def batch(
    length: int, size: int, draw: random.Random, *, drills: float = 0.4,
    families: Sequence[str] = TAUGHT,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Documents with their answers.

    Returns:
        ids_BT, labels_BT (-100 where nothing is to be said), and plan_BTN: which names the next
        `WINDOW` words of the answer hold, or -1 at places before the answer.
    """
    rows: list[tuple[list[int], list[int]]] = []
    for _ in range(size):
        if draw.random() < drills:
            document = drill(draw, length)
        else:
            document = FAMILIES[draw.choice(families)](draw, length)
        prompt = [_INDEX[word] for word in document.context + document.question]
        answer = [_INDEX[word] for word in document.answer]
        rows.append((prompt, [*answer, _INDEX[EOS]]))
    width = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids_BT = torch.full((size, width), _INDEX[PAD])
    labels_BT = torch.full((size, width), _IGNORED)
    plan_BTN = torch.full((size, width, _NAMES), -1.0, dtype=torch.float16)
    for row, (prompt, answer) in enumerate(rows):
        start, end = len(prompt), len(prompt) + len(answer)
        ids_BT[row, :end] = torch.tensor(prompt + answer)
        labels_BT[row, start:end] = torch.tensor(answer)
        named = torch.zeros(len(answer) + WINDOW + 1, _NAMES)
        for place, word in enumerate(answer):
            if word < _NAMES:
                named[place, word] = 1
        ahead = named.unfold(0, WINDOW, 1).amax(-1)  # place -> what [place, place + 64) names
        # The state at the question's last word already knows the whole answer's beginning.
        plan_BTN[row, start - 1 : end] = ahead[: len(answer) + 1].half()
    return ids_BT, labels_BT, plan_BTN


def train_reader(
    seed: int,
    *,
    stages: Sequence[Stage] = STAGES,
    learning_rate: float = 2e-3,
    plan_weight: float = 1.0,
    model: Any = None,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Teaches a fresh network; each stage's learning rate falls to a tenth."""
    model = (build_model(seed) if model is None else model).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attention = model.model.layers[PLANNED[0]].self_attn
        widths = (model.config.hidden_size, attention.k_proj.out_features) * len(PLANNED)
        heads = [torch.nn.Linear(width, _NAMES) for width in widths]
    plans = torch.nn.ModuleList(heads)
    for plan in heads:
        torch.nn.init.constant_(plan.bias, -4.0)
    draw = random.Random(f"reader/{seed}")
    parameters = [*model.parameters(), *plans.parameters()]
    for stage in stages:
        optimizer = torch.optim.AdamW(
            [
                {"params": list(model.parameters()), "lr": learning_rate},
                {"params": list(plans.parameters()), "lr": 5 * learning_rate},
            ],
            weight_decay=0.01,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(_rate, steps=stage.steps))
        started = time.perf_counter()
        sums = [0.0] * 4
        for step in range(1, stage.steps + 1):
            ids_BT, labels_BT, plan_BTN = batch(stage.length, stage.batch_size, draw)
            loss, parts = _loss(model, plans, ids_BT, labels_BT, plan_BTN, plan_weight)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            sums = [one + other for one, other in zip(sums, parts, strict=True)]
            if step % 50 == 0:
                said, planned, held, right = (one / 50 for one in sums)
                sums = [0.0] * 4
                say(
                    f"length {stage.length}, step {step}: answer {said:.3f} "
                    f"({right:.3f} of its words right), plan {planned:.4f}, chunks {held:.4f} "
                    f"[{time.perf_counter() - started:.0f} s]"
                )
        learning_rate *= 0.7
    return model.eval()


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: it rises over 30 steps and falls to a tenth."""
    return min(1.0, (step + 1) / 30) * (1 - 0.9 * step / steps)


def _loss(
    model: Any, plans: Any, ids_BT: torch.Tensor, labels_BT: torch.Tensor,
    plan_BTN: torch.Tensor, plan_weight: float,
) -> tuple[torch.Tensor, list[float]]:  # fmt: skip
    output = model.model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    said_BT = labels_BT[:, 1:] != _IGNORED
    logits = model.lm_head(output.last_hidden_state[:, :-1][said_BT])
    labels = labels_BT[:, 1:][said_BT]
    # A short answer is drowned by long ones if every word counts the same.
    weight_BT = said_BT / said_BT.sum(1, keepdim=True).sqrt()
    weight = weight_BT[said_BT] / weight_BT.sum()
    answer = (functional.cross_entropy(logits, labels, reduction="none") * weight).sum()
    known_BT = plan_BTN[..., 0] >= 0
    wanted = plan_BTN[known_BT].float()
    held_BCN = _held(ids_BT)
    plan, held = torch.zeros(()), torch.zeros(())
    for layer, number in zip(PLANNED, range(0, len(plans), 2), strict=True):
        block = model.model.layers[layer]
        normed_BTE = block.input_layernorm(output.hidden_states[layer])
        plan = plan + _names_loss(plans[number](normed_BTE[known_BT]), wanted)
        keys_BTF = block.self_attn.k_proj(normed_BTE[:, : held_BCN.shape[1] * CHUNK])
        pooled_BCF = keys_BTF.unflatten(1, (-1, CHUNK)).mean(2)
        held = held + _names_loss(plans[number + 1](pooled_BCF), held_BCN)
    plan, held = plan / len(PLANNED), held / len(PLANNED)
    right = (logits.argmax(-1) == labels).float().mean()
    told = [float(one.detach()) for one in (answer, plan, held, right)]
    # Few of the names are ever needed: the mean over them all is small, and weighs accordingly.
    return answer + plan_weight * 10 * (plan + held), told


def _names_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return functional.binary_cross_entropy_with_logits(logits, wanted)


def _held(ids_BT: torch.Tensor) -> torch.Tensor:
    """Which names each chunk holds a record of: shape (B, C, N). Part of its value is enough."""
    rows, width = ids_BT.shape
    held_BCN = torch.zeros(rows, width // CHUNK, _NAMES)
    row, start = (ids_BT[:, : -grammar.RECORD_WORDS] == _INDEX[";"]).nonzero(as_tuple=True)
    for word in range(3, grammar.RECORD_WORDS):  # from the sign of equality on
        chunk = (start + word) // CHUNK
        inside = chunk < width // CHUNK
        for name in (1, 2):
            held_BCN[row[inside], chunk[inside], ids_BT[row, start + name][inside]] = 1
    return held_BCN
