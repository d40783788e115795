"""Detectors behind one interface: rules, a model, a model with evidence, an agent with tools.

detector = load_detector("react", model, box, Detecting(detector="react"))
diagnoses = detector.detect(cases)      # one for each, in order

base.py       what goes in and comes out
budget.py     calls and tokens of one program
asking.py     one generate call for many programs; a server that dies is an answer, too
reading.py    verdicts and actions out of replies, never guessed
prompts.py    what is asked
ruled.py, direct.py, informed.py, react.py (with tools.py)      the detectors
load.py       a detector by its name
"""
