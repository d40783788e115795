"""A tenth of the KV memory: which chunks of a long context the next tokens need stays on the device.

The parts, bottom up: `budget` (dials and counts), `scorer` (the published maths), `digests` (one
small key per chunk), `backbone` (what a model's attention looks like), `checkpoint` (files),
`indexer` (the trained scorer), `store` (host memory), `selection` (who stays), `layer` and `cache`
(the transformers cache), `scoring` (what any arm sees), `attach` (the context manager).
Lookahead Sparse Attention, arXiv 2606.09079.
"""
