"""Ways to choose chunks behind one interface: ours, baselines that could win, and what is perfect.

    scorer = make("quest", seed=0)
    with lookahead(model, scorer, budget): ...

| arm | chooses by | pays in digests |
|---|---|---|
| lookahead | the trained indexer | 132 bytes per chunk and scored layer |
| recency | what came last | nothing |
| random | chance, seeded by request and step | nothing |
| last-query | attention of the last token over everything | nothing; reads keys of the host |
| quest | a bound on that attention from smallest and largest keys (arXiv 2406.10774) | both keys |
| omnikv | attention in a filter layer that keeps everything (arXiv 2412.07077) | that layer's KV |
| snapkv | attention of the prompt's last tokens, once for all (arXiv 2404.14469) | nothing |
| oracle | what the next tokens really attend to, from a dense run | nothing: it cannot exist |
| oracle-task | what the task says that the answer needs | nothing: it cannot exist |
| dense | nothing: all stays | nothing |

The parts: `shares` (how many chunks a share of the bytes buys), `maths` (scores from keys and
queries), `scorers` (the arms), `perfect` (the oracles), `making` (an arm by its name).
"""
