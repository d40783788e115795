"""Runs prompts through kvpress: for the environment that kvpress is in.

    /path/to/its/python benchmarks/kvpress_check.py MODEL prompts.jsonl --out replies.json
        --presses SnapKV Knorm --kept 0.1 0.25 [--protocols whole context]

A line holds `id`, `prompt_ids`, `context_tokens` (how many of them come before the question),
`gold_ids` (of the answer; a reply has two tokens more at most). Two protocols: `whole` compresses
behind the whole prompt, question included, as `generate` under a press does, so that a reply's
first token is that of the dense model; `context` compresses before the question, as kvpress' own
pipeline does. Greedy; tokens of the question and of the reply are kept in addition to the share.
The press `none` compresses nothing.

A prompt is read once: a press compresses a layer's cache behind its attention, so that nothing that
is read depends on it. Each press then gets its own copy of the cache, and its own hook is called
with what it would have been called with.

Layers without rotary positions are shown to the presses as such: kvpress would rotate their
queries, which the model does not.

Prints one line; the replies are a JSON list of `id`, `press`, `kept`, `protocol`, `reply_ids`, and
`held`: the largest share of the dense cache that was there while decoding. Not a part of planish:
nothing of planish is imported.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import kvpress
import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache

PRESSES = ("none", "SnapKV", "Knorm", "StreamingLLM", "ExpectedAttention")
PROTOCOLS = ("whole", "context")
EXTRA = 2


def batches(rows, size):
    """Rows whose prompts and contexts are equally long, so that nothing is padded."""
    groups = defaultdict(list)
    for row in rows:
        groups[len(row["prompt_ids"]), row["context_tokens"]].append(row)
    for group in groups.values():
        for first in range(0, len(group), size):
            yield group[first : first + size]


def make_press(name, kept):
    """A press that leaves this share, and looks right at layers without positions."""
    if name == "none":
        return None
    kind = getattr(kvpress, f"{name}Press")

    class Press(kind):
        def score(self, module, hidden_states, keys, values, attentions, kwargs):
            if not getattr(module, "use_rope", True):
                cos, sin = kwargs["position_embeddings"]
                still = torch.ones_like(cos), torch.zeros_like(sin)
                kwargs = {**kwargs, "position_embeddings": still}
                module.rotary_emb = Still(module.rotary_emb)
            return super().score(module, hidden_states, keys, values, attentions, kwargs)

    return Press(compression_ratio=1 - kept)


class Still(torch.nn.Module):
    """A rotation by nothing, of the same shape as another."""

    def __init__(self, other):
        super().__init__()
        self.other = other

    def forward(self, states, position_ids):
        cos, sin = self.other(states, position_ids)
        return torch.ones_like(cos), torch.zeros_like(sin)


def read(model, ids):
    """The dense cache of these tokens, the calls of each attention module, and the next token."""
    cache, calls = DynamicCache(), {}

    def keep(module, args, kwargs, output):
        calls[module] = kwargs, output

    handles = [
        layer.self_attn.register_forward_hook(keep, with_kwargs=True)
        for layer in model.model.layers
    ]
    try:
        output = model(input_ids=ids, past_key_values=cache, logits_to_keep=1)
    finally:
        for handle in handles:
            handle.remove()
    return cache, calls, output.logits[:, -1].argmax(-1)


def compressed(model, cache, calls, press):
    """A copy of the cache, as the press leaves it; None leaves all."""
    copied = DynamicCache()
    for number, layer in enumerate(cache.layers):
        copied.update(layer.keys, layer.values, number)
    if press is not None:
        with press(model):  # which prepares the model's layers
            pass
        for module, (kwargs, output) in calls.items():
            press.forward_hook(module, [], {**kwargs, "past_key_values": copied}, output)
    return copied


def answer(model, rows, cache, split, chosen):
    """(reply ids, largest share held) of each row.

    `split` tokens of the prompt are in the cache; `chosen` follows them, where these are all.
    """
    prompt = torch.tensor([row["prompt_ids"] for row in rows])
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    replies, ended = [[] for _ in rows], [False] * len(rows)
    fed, place, held = prompt[:, split:], split, 0.0
    while True:
        if fed.shape[1]:
            positions = torch.arange(place, place + fed.shape[1])[None].expand(len(rows), -1)
            place += fed.shape[1]
            output = model(
                input_ids=fed, past_key_values=cache, position_ids=positions, logits_to_keep=1
            )
            held = max(held, cache.layers[0].keys.shape[2] / place)
            chosen = output.logits[:, -1].argmax(-1)
        for row, token in enumerate(chosen.tolist()):
            if not ended[row] and token not in ends:
                replies[row].append(token)
            full = len(replies[row]) >= len(rows[row]["gold_ids"]) + EXTRA
            ended[row] |= token in ends or full
        if all(ended):
            return [(reply, held) for reply in replies]
        fed = chosen[:, None]


def run(model, rows, presses, shares, protocols, batch_size):
    """One finding per row, press, share and protocol; `none` once."""
    found = []
    for batch in batches(rows, batch_size):
        length = len(batch[0]["prompt_ids"])
        for protocol in protocols:
            split = length if protocol == "whole" else batch[0]["context_tokens"]
            ids = torch.tensor([row["prompt_ids"][:split] for row in batch])
            cache, calls, following = read(model, ids)
            for name in presses:
                if name == "none" and protocol != "whole":
                    continue
                for kept in shares if name != "none" else [1.0]:
                    pressed = compressed(model, cache, calls, make_press(name, kept))
                    replies = answer(model, batch, pressed, split, following)
                    for row, (reply, held) in zip(batch, replies, strict=True):
                        place = {"id": row["id"], "press": name, "kept": kept}
                        place |= {"protocol": protocol, "reply_ids": reply, "held": held}
                        found.append(place)
        print(f"{len(found)} replies", file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("prompts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--presses", nargs="+", choices=PRESSES, default=PRESSES)
    parser.add_argument("--kept", nargs="+", type=float, default=[0.1, 0.25])
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=PROTOCOLS)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    if not all(0 < kept <= 1 for kept in given.kept):
        parser.error("a kept share is above 0 and at most 1")
    transformers.utils.logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(given.model, attn_implementation="sdpa").eval()
    rows = [json.loads(line) for line in given.prompts.read_text("utf-8").splitlines()]
    begun = time.perf_counter()
    with torch.inference_mode():
        found = run(model, rows, given.presses, given.kept, given.protocols, given.batch_size)
    draft = given.out.with_suffix(".part")
    draft.write_text(json.dumps(found), "utf-8")
    os.replace(draft, given.out)
    told = {
        "replies": len(found),
        "seconds": time.perf_counter() - begun,
        "versions": f"transformers {transformers.__version__}, torch {torch.__version__}",
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
