"""From what was seen of a failing program to the category of its mistake, without a model.

    evidence = signals(task, code, observation, search)
    diagnosis = rank(run.key, evidence)

signals.py     every rule, one after the other; behaving.py, mending.py, reading.py: the rules
confidence.py  what a list of evidence says of each category, by fitted weights
gathering.py   observes and repairs labelled programs, and keeps what came of it
fitting.py     fits the weights on the split "train", and writes weights.json
"""
