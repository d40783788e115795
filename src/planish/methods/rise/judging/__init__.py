"""Judging: what a judge is worth, asked anew or recorded, alone or beside the one before it.

planish rise judge --model hf:./judge --pairs pairs.jsonl       judge.py
planish rise score outputs.jsonl --pairs pairs.jsonl            score.py
planish rise evaluate --model hf:./judge --before hf:./base     evaluation*.py, above: evaluate.py
"""
