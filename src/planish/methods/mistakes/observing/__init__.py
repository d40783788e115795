"""Runs a candidate beside the reference, and tells where and how they differ.

    observation = observe(task, run, box, dials=Diagnosing(), limits=Limits())
    relation(loads(seen.expected), loads(seen.call.value))

`observe.py` does the running, `shrinking.py` makes failing inputs small, `lines.py` suspects lines,
`differences.py`, `normalisers.py` and `structure.py` say how values and code differ.
"""
