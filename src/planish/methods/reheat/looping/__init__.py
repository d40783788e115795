"""Reinforcement learning that is reheated where it collapses: the parts of stage `loop`.

plan            what was asked for, and what decides the result
rl              one phase of reinforcement learning
turns           the phases in their order: what follows from a trigger, and from a gate
outcome         what the policy of before and of after make of the report's prompts
pages           numbers, report and card
"""
