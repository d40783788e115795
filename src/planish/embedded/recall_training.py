"""Teaches the tiny reader to answer from long contexts, and to know what it will need next.

    model = train_reader(seed=0)

Documents come from `planish.tasks.recall`, short ones first. Half of them are drills that ask for
many records at once, because a long document that asks for one teaches little.

A hidden state from which the next need can be read is the precondition of any lookahead; large
models plan ahead, a tiny one has to be asked to. So two linear heads, thrown away afterwards, read
from what enters the third and fourth layers which entities and attributes the next 64 words of the
answer will name.

Shapes: B batch, T tokens, E hidden, N names (entities and attributes), V vocabulary.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from planish.embedded.recall_model import EOS, PAD, VOCABULARY, build_model
from planish.tasks.recall import grammar
from planish.tasks.recall.families import FAMILIES, drill

__all__ = ["PLANNED", "STAGES", "WINDOW", "Stage", "batch", "train_reader"]

PLANNED = (2, 3)
"""Layers whose input tells what will be needed."""

WINDOW = 64
"""Words of the answer that a plan looks ahead."""

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
    Stage(128, 32, 500),
    Stage(384, 12, 500),
    Stage(1024, 5, 400),
    Stage(2048, 3, 400),
    Stage(4096, 2, 150),
)


def batch(
    length: int, size: int, draw: random.Random, *, drills: float = 0.5,
    families: Sequence[str] = tuple(FAMILIES),
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
        plans = torch.nn.ModuleList(
            torch.nn.Linear(model.config.hidden_size, _NAMES) for _ in PLANNED
        )
    for plan in plans:
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
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step, steps=stage.steps: min(1.0, (step + 1) / 30) * (1 - 0.9 * step / steps),
        )
        started = time.perf_counter()
        sums = [0.0, 0.0, 0.0]
        for step in range(1, stage.steps + 1):
            ids_BT, labels_BT, plan_BTN = batch(stage.length, stage.batch_size, draw)
            loss, parts = _loss(model, plans, ids_BT, labels_BT, plan_BTN, plan_weight)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            sums = [one + other for one, other in zip(sums, parts, strict=True)]
            if step % 50 == 0:
                said, planned, right = (one / 50 for one in sums)
                sums = [0.0, 0.0, 0.0]
                say(
                    f"length {stage.length}, step {step}: answer {said:.3f} "
                    f"({right:.3f} of its words right), plan {planned:.4f} "
                    f"[{time.perf_counter() - started:.0f} s]"
                )
        learning_rate *= 0.7
    return model.eval()


def _loss(
    model: Any, plans: Any, ids_BT: torch.Tensor, labels_BT: torch.Tensor,
    plan_BTN: torch.Tensor, plan_weight: float,
) -> tuple[torch.Tensor, list[float]]:  # fmt: skip
    output = model.model(input_ids=ids_BT, use_cache=False, output_hidden_states=True)
    said_BT = labels_BT[:, 1:] != _IGNORED
    logits = model.lm_head(output.last_hidden_state[:, :-1][said_BT])
    labels = labels_BT[:, 1:][said_BT]
    answer = functional.cross_entropy(logits, labels)
    known_BT = plan_BTN[..., 0] >= 0
    wanted = plan_BTN[known_BT].float()
    plan = torch.zeros(())
    for layer, head in zip(PLANNED, plans, strict=True):
        normed = model.model.layers[layer].input_layernorm(output.hidden_states[layer][known_BT])
        plan = plan + functional.binary_cross_entropy_with_logits(head(normed), wanted)
    plan = plan / len(PLANNED)
    right = (logits.argmax(-1) == labels).float().mean()
    # Few of the names are ever needed: the mean over them all is small, and weighs accordingly.
    return answer + plan_weight * 20 * plan, [
        float(answer.detach()),
        float(plan.detach()),
        float(right),
    ]
