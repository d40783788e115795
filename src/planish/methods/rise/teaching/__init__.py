"""Teaching: what a judge does for a policy, from labelled replies to a better checkpoint.

planish rise label --policy hf:./policy --judge hf:./judge --task chain:4 --out labels
planish rise improve --policy hf:./policy --pairs labels --task chain:4 --out better
"""
