"""How the gap closes: the parts of stage `train`.

plan            what was asked for, and what decides the result
lesson          the items as they are trained on, checked before anything is loaded
rewarding       what every rollout earns, part by part, and where that is kept
online          GRPO on rollouts: four rewards, and credit by stretch
offline         pairs of the model's own judgments, then DPO with an NLL term
pages           numbers, report and card
"""
