"""Prompts as token ids, and the order in which a training sees them.

ids = encode_prompts([("item 1", chat)], tokenizer, "./checkpoint", max_tokens=64, room=2048)
order = epochs(100, seed=0)
next(order)
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

from planish.models.local_prompts import PromptWriter
from planish.records import BadInput, Chat

__all__ = ["encode_prompts", "epochs"]


def encode_prompts(
    prompts: Iterable[tuple[str, Chat]],
    tokenizer: Any,
    model: str,
    *,
    max_tokens: int,
    room: int | None,
) -> list[list[int]]:
    """Token ids of every prompt, as the model sees it when it is used.

    Args:
        prompts: the item that each belongs to, for messages, and the prompt.
        tokenizer: the model's.
        model: its name, for messages.
        max_tokens: budget of a reply.
        room: the model's context; None where it has no bound.

    Raises:
        BadInput: a prompt and its reply do not fit.
    """
    writer = PromptWriter(tokenizer, model)
    found = []
    for item, chat in prompts:
        ids = writer.encode(writer.write(chat))
        if room is not None and len(ids) + max_tokens > room:
            raise BadInput(
                f"its prompt and {max_tokens} more tokens are {len(ids) + max_tokens}, more than "
                f"the model's context of {room}",
                where=f"item {item}",
                fix="lower --max-tokens, or leave such items out",
            )
        found.append(ids)
    return found


def epochs(count: int, seed: int) -> Iterator[int]:
    """0 to `count` - 1 in shuffled epochs, without end."""
    draw = random.Random(f"grpo/{seed}")
    while True:
        yield from draw.sample(range(count), count)
