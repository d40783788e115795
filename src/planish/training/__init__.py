"""Training local models with TRL: rows as a model will see them, SFT, DPO, GRPO, numbers kept.

    rows = read_rows("sft.jsonl", "sft")
    encoder = Encoder(tokenizer, "hf:./checkpoint")
    encoded = encode_all(rows, encoder, max_length=None, context=2048)

`rows` reads and encodes, `groups` says what rollouts earn, `trl` and `grpo` are the modules that
import TRL, `trainer` is what they share, `job` makes a run of a training, `callbacks` keeps the
numbers. Rooms import the trainers inside functions: they bring torch and transformers with them.
"""
