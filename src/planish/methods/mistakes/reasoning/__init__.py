"""Reasons by intervention: change one thing in the prompt, draw again, count.

edits.py      one edit for each reason; placebos.py: as much change that tells nothing
leaks.py      an edit that gives the answer away, or breaks the reference, is not scored
arms.py       the samples of every arm, drawn with the same seeds and run in the sandbox
effects.py    test, interval, correction, decision; power.py: how many samples that needs
"""
