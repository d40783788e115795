"""A memory indexer that keeps only the KV the next window needs (arXiv 2606.09079).

planish lookahead dump --model hf:./checkpoint --task recall:ruler:2048 --out dump
planish lookahead train --dump dump --out indexer
planish lookahead evaluate --model hf:./checkpoint --indexer indexer --task recall:ruler:2048
planish lookahead generate --model hf:./checkpoint --indexer indexer --document FILE

Where things are (the cache, the scorer and the context manager are in `planish.models.memory`):

    config.py      the dials and their presets
    data.py        the records, and what a dump folder holds
    labels.py      which chunks the next tokens need, told from attention or from the task
    dumping/       the only step that loads the backbone: hidden states, digests, attention mass
    train/         sentence-transformers' trainer over a dump: one dual encoder per scored layer
    arms/          who else could choose, behind the same interface
    evaluate/      the same documents under every arm, at equal bytes
    showing.py     the page and the tables of an evaluation
    running/       the stages
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="lookahead",
    title="Lookahead Sparse Attention",
    paper="2606.09079",
    config="planish.methods.lookahead.config:Config",
    stages={
        "dump": "planish.methods.lookahead.running.dump:dump",
        "train": "planish.methods.lookahead.running.train:train",
        "evaluate": "planish.methods.lookahead.running.evaluate:evaluate",
        "generate": "planish.methods.lookahead.running.generate:generate",
        "chat": "planish.methods.lookahead.running.chat:chat",
    },
    demo="planish.methods.lookahead.demo:demo",
)
