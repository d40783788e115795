"""A model that decodes with a part of its keys and values on the device, and the bytes of it.

python examples/lookahead.py
"""

import tempfile

import torch
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from planish import Sampling, load
from planish.embedded import MODELS
from planish.models.memory.attach import lookahead
from planish.models.memory.backbone import Backbone
from planish.models.memory.budget import Budget
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from planish.records import user


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        tiny = Qwen3Config(
            vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=32, eos_token_id=None,
        )  # fmt: skip
        Qwen3ForCausalLM(tiny).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder).eval()

        # `planish lookahead dump` and `train` make a trained one; the loop is the same.
        config = IndexerConfig(
            hidden_size=64, features=2 * 32, chunk_tokens=16, pooling="mean",
            backbone=Backbone.of(model).fingerprint(),
        )  # fmt: skip
        MemoryIndexer.new(config, layers=("l1",), seed=0).save_pretrained(f"{folder}/indexer")
        indexer = MemoryIndexer.from_pretrained(f"{folder}/indexer")

    prompt_BT = torch.randint(1, 100, (1, 1024))
    asked = {"attention_mask": torch.ones_like(prompt_BT), "max_new_tokens": 48, "do_sample": False}
    dense = model.generate(prompt_BT, **asked)
    for chunks in (64, 16, 8):
        budget = Budget(max_chunks=chunks, recent_tokens=64, interval=16, threshold=0.4)
        with lookahead(model, indexer, budget) as session:
            reply = model.generate(prompt_BT, **asked)
        same = int((reply == dense).cumprod(1).sum()) - prompt_BT.shape[1]
        last, moved = session.windows[-1], sum(each.moved_bytes for each in session.windows)
        here, full = last.bytes.resident + last.bytes.digest, last.step * 2 * 2 * 2 * 32 * 4
        print(f"{last.kept} of {last.num_chunks} chunks: {here:,} of {full:,} bytes on the device")
        print(f"  {last.bytes.host:,} on the host, {moved:,} moved; {same} tokens as dense")

    if "recall" in MODELS:  # a tiny reader of long contexts, with a trained indexer
        reader = load("embedded:recall?lookahead=embedded&chunks=32")
        text = f"{'640 641 ' * 99}; 7 300 = 401 402 403 404 {'650 ' * 99}? #0 7 300 :"
        replies = reader.generate([user(text)], Sampling(temperature=0, max_tokens=12))
        print(replies[0][0].text)


if __name__ == "__main__":
    main()
