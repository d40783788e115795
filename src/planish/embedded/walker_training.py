"""The walker's first training: to walk along the edges of its graph, and to aim now and then.

    model = train_walker(RoutesTask(world=0), seed=0)

Its corpus are walks as they come: most of them end somewhere, a few at the goal. What it learns is
which edges there are; to aim is left to reinforcement learning.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from planish.embedded.walker_model import EOS, PAD, VOCABULARY, build_model
from planish.tasks.routes import RoutesTask

__all__ = ["train_walker", "walk_rows"]

_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
_IGNORED = -100


def walk_rows(task: RoutesTask, seed: int, *, walks: int, aimed: float) -> list[tuple[str, str]]:
    """Prompts with walks, of every training question.

    Args:
        task: the world.
        seed: of the walks.
        walks: for each question.
        aimed: share of the walks that reach the goal on purpose.
    """
    draw = random.Random(f"walks/{seed}")
    return [
        (
            f"{example.prompt[0].content} :",
            task.attempt(
                example, seed * walks + number, hit=True if draw.random() < aimed else None
            ),
        )
        for example in task.examples("train", task.capped("train", 1 << 30), seed)
        for number in range(walks)
    ]


def train_walker(
    task: RoutesTask,
    seed: int,
    *,
    walks: int = 4,
    aimed: float = 0.1,
    steps: int = 1500,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Teaches a fresh network the walks of a world; the learning rate falls to a tenth."""
    rows = walk_rows(task, seed, walks=walks, aimed=aimed)
    ids_BT, labels_BT = _tensors(rows)
    model = build_model(seed).train()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 50) * (1 - 0.9 * step / steps)
    )
    for step in range(1, steps + 1):
        chosen = torch.randint(len(rows), (batch_size,), generator=generator)
        logits_BTV = model(input_ids=ids_BT[chosen], use_cache=False).logits
        loss = functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1),
            labels_BT[chosen][:, 1:].flatten(),
            ignore_index=_IGNORED,
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            say(f"walk, step {step}: loss {loss.item():.3f}")
    return model.eval()


def _tensors(rows: list[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Padding stands on the right, where causal attention never looks at it."""
    encoded = [(_encode(prompt), [*_encode(walk), _INDEX[EOS]]) for prompt, walk in rows]
    width = max(len(prompt) + len(walk) for prompt, walk in encoded)
    ids_BT = torch.full((len(rows), width), _INDEX[PAD])
    labels_BT = torch.full((len(rows), width), _IGNORED)
    for row, (prompt, walk) in enumerate(encoded):
        end = len(prompt) + len(walk)
        ids_BT[row, :end] = torch.tensor(prompt + walk)
        labels_BT[row, len(prompt) : end] = torch.tensor(walk)
    return ids_BT, labels_BT


def _encode(text: str) -> list[int]:
    return [_INDEX[word] for word in text.split()]
