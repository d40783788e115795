"""How a collapsed policy gets warm: the parts of stage `run`.

plan            what was asked for, and what decides the result
reheating       the whole of it: before, the steps, the gate, and once more if need be
watching        what is looked at after every step, and when it ends
gate            what the policy was and is, on frozen replies and in greedy accuracy
settings        the dials in the words of trainer, rule and policy
ledger          what a run has recorded already is not measured again
pages           numbers, report and card
"""
