"""Looks for every change of one place after which a failing program is right.

    from planish.methods.mistakes.repairing.search import repair

    search = repair(task, code, observation, box, dials=Diagnosing(), limits=Limits())
    search.repairs[0].diff, search.repairs[0].categories

source.py     text and tree, and changes spliced into the text
roles.py      what a place is for, by data flow
site.py       places, names in scope, and what a change is
indices.py, conditions.py, guards.py, arithmetic.py, order.py, calls.py, families.py,
conversions.py, formats.py, statements.py
              the operators, by kind
mutants.py    all of them, in the order in which they are tried
screening.py  many of them on one input in one process
agreeing.py   whether a call is right
effort.py     what a search costs, whatever the machine is doing
search.py     tries them in the sandbox
ranking.py, diffs.py
              the best repair first, and what it looks like
"""
