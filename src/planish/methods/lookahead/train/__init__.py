"""Training without the backbone: one dual encoder per scored layer, by sentence-transformers.

bank.py       labelled tokens of a dump, and what one layer's towers are fed
towers.py     the indexer's towers as modules of sentence-transformers
losses.py     BCE and focal over pairs of token and chunk; the gated similarity for InfoNCE
measure.py    scores against the full set of candidates: F1, recall@budget, calibration
fit.py        one layer trained; layers chosen
"""
