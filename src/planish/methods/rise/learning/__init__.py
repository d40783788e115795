"""Learning: how a model becomes a judge, from pairs with gold to a checkpoint.

planish rise synthesize --pairs pairs.jsonl --teacher hf:./base --out data    synthesize.py
planish rise train --model hf:./base --sft data --out judge                   training*.py, train.py

`training.py` carries out any SFT or DPO, that of a policy in `teaching` too.
"""
