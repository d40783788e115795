"""Mistakes of a known category, put into code that is right, for measuring and for fitting.

    from planish.methods.mistakes.injecting.keeping import injected

    with Sandbox() as box:
        wrong = injected(own_tasks(), box, seed=0, per_category=2)

editing.py      code taken apart, and its text with some nodes swapped
conditions.py, formulas.py, layouts.py, orders.py, turns.py, uses.py, positions.py
                injectors of six categories
foreign.py      bodies of other tasks and purposes, for the seventh
inject.py       candidates of all of them
keeping.py      those of them that are mistakes
combining.py    two mistakes in one

What the repairs do in one step is not undone here: an injector changes several places at once, or
puts something in that no single change of theirs takes out. Which share is undone all the same is
measured in the tests.
"""
