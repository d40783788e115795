"""What an argument of a task may be: one description for each argument, as plain JSON.

    kinds = kinds_of([{"kind": "list", "of": {"kind": "integer", "min": 0, "max": 9}}])
    kinds[0].admits([0, 3, 3])

Kinds and what they take, all but `of`, `keys` and `values` with a default:

    integer  min, max                     boolean
    number   min, max, digits             none
    text     alphabet, min_size, max_size
    list     of, min_size, max_size, unique
    set      of, min_size, max_size
    tuple    of [one description for each place]
    dict     keys, values, min_size, max_size
    choice   of [literals]
    one_of   of [descriptions]
    joined   of, separator, min_size, max_size: text made of parts
"""

from planish.methods.mistakes.kinds.composed import Kind, Strategy, kinds_of

__all__ = ["Kind", "Strategy", "kinds_of"]
