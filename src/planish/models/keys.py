"""Fingerprints of chats and of single draws: what the reply cache and `replay:` go by.

>>> from planish.records import user
>>> len(chat_key(user("2 + 2?")))
64
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from planish.models.image_files import sha256_of
from planish.records import Chat, Sampling

__all__ = ["chat_key", "draw_of", "reply_key", "scores_key"]


def _digest(parts: object) -> str:
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def chat_key(chat: Chat) -> str:
    """SHA-256 of a rendered chat. An image counts by its bytes, so it may move."""
    return _digest(
        [[message.role, message.content, *map(_image_key, message.images)] for message in chat]
    )


def _image_key(image: str) -> str:
    try:
        if not image.startswith("data:") and Path(image).is_file():
            return sha256_of(image)
    except OSError:  # a name too long for a path, a file that may not be read
        pass
    return image


def draw_of(sampling: Sampling, sample: int) -> int:
    """Which draw sample `sample` is: its seed, or, without seeds, its number."""
    return sample if sampling.seed is None else sampling.seed + sample


def reply_key(name: str, revision: str, chat: str, sampling: Sampling, sample: int) -> str:
    """SHA-256 of everything that a reply depends on.

    `sampling.n` is left out: asking for more samples keeps the first ones. Sample i of seed s
    is sample 0 of seed s + i, here as in the models.

    Args:
        name: the model's name.
        revision: the model's revision.
        chat: `chat_key` of the chat.
        sampling: how it is decoded.
        sample: the number of the sample.
    """
    is_seeded = sampling.seed is not None
    parts = ["reply", name, revision, chat, _decoding(sampling), is_seeded]
    return _digest([*parts, draw_of(sampling, sample)])


@lru_cache(maxsize=8)
def _decoding(sampling: Sampling) -> dict[str, Any]:
    return sampling.model_dump(exclude={"n", "seed"}, mode="json")


def scores_key(name: str, revision: str, chat: str, reply: str) -> str:
    """SHA-256 of everything that the log-probabilities of a given reply depend on."""
    return _digest(["scores", name, revision, chat, reply])
