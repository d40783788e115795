"""Every arm at equal bytes over the same documents: answers, attention that was missed, bytes.

    from planish.methods.lookahead.evaluate.evaluating import evaluate
    outcomes = evaluate(model, tokenizer, task, ("lookahead", "recency", "dense"), (0.1,), ...)
    Summary(outcomes).accuracy("lookahead", 0.1)

The parts: `settings` (dials), `outcomes` (one record per document and arm), `documents` (prompts as
tokens), `dense` (what the whole history gives), `decoding` (an arm decodes), `quality` (what it
missed), `between` (from one decision to the next), `bench` (what a share buys), `scene` (a batch
under all arms), `compressed` (DeepSeek-V4, whose entries are not moved), `evaluating` (all of it),
`summary` (intervals).
"""
