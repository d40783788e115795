"""A tenth of the KV memory: of a long context only what the next tokens need stays on the device.

The parts, bottom up: `budget` (dials and counts), `scorer` (the published maths), `digests` (one
small key per chunk), `rotary`, `probe` and `backbone` (what a model's attention looks like),
`checkpoint` (files), `indexer` (the trained scorer), `store` (host memory), `selection` (who
stays), `layout`, `layer`, `hosted`, `visibility` and `cache` (the transformers cache),
`native_topk` and `deepseek` (DeepSeek-V4's compressed attention), `scoring` (what any arm sees),
`session` (pass by pass), `attach` (the context manager), `loading` (`?lookahead=`).
Lookahead Sparse Attention, arXiv 2606.09079.
"""
