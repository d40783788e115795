"""Rows for the tiny reasoner and a tiny Qwen2, and the command that trains on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from planish.embedded.reasoner_training import judge_rows
from planish.tasks.chain import ChainTask
from support.checkpoints import BOS, END, PAD, make_tokenizer, save_checkpoint

FLIP = {"[[A]]": "[[B]]", "[[B]]": "[[A]]"}


def turn(content: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def flipped(reply: str) -> str:
    words = reply.split()
    return " ".join([*words[:-1], FLIP[words[-1]]])


def reasoner_rows(kind: str, number: int) -> list[dict[str, Any]]:
    """Rows as `planish rise synthesize` writes them; two of each item."""
    rows = []
    for index, (prompt, reply) in enumerate(judge_rows(ChainTask(), number)):
        replies = {"completion": reply}
        if kind == "dpo":
            replies = {"chosen": reply, "rejected": flipped(reply)}
        rows.append(
            {
                "prompt": turn(prompt),
                **{name: turn(text, "assistant") for name, text in replies.items()},
                "item_id": f"item-{index // 2}",
                "gold": reply[-3],
            }
        )
    return rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def save_qwen2(folder: Path, *, tokenizer: Any = None, context: int = 4096, **config: Any) -> Path:
    """A Qwen2 of 40,000 random weights, with a chat template, as `save_pretrained` writes it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": 320,  # transformers adds Qwen2's own end of text to any tokenizer
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": context,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": BOS,
        "tie_word_embeddings": False,
    }
    model = Qwen2ForCausalLM(Qwen2Config(**shape | config))
    model.save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    return folder


def save_scalar(folder: Path, kind: str = "qwen2", *, tokenizer: Any = None, **shape: Any) -> Path:
    """A reward model with a random head, made from a language model of `kind`."""
    import torch

    from planish.models.local_loading import open_checkpoint

    base = folder.with_name(f"{folder.name}-base")
    if kind == "qwen2":
        save_qwen2(base, tokenizer=tokenizer, initializer_range=0.3, **shape)
    else:
        save_checkpoint(base, kind, tokenizer=tokenizer, **shape)
    torch.manual_seed(0)
    checkpoint = open_checkpoint(str(base), device="cpu", scalar=True)
    assert checkpoint.fresh_head
    checkpoint.model.save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    return folder
