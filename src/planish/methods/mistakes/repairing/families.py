"""Names of methods and functions that are taken for one another.

"rfind" in others("find")
"""

from __future__ import annotations

__all__ = ["FUNCTIONS", "METHODS", "functions_like", "methods_like"]

METHODS: tuple[tuple[str, ...], ...] = (
    ("strip", "lstrip", "rstrip"),
    ("lstrip", "removeprefix"),
    ("rstrip", "removesuffix"),
    ("strip", "removeprefix", "removesuffix"),
    ("find", "index", "rfind", "rindex", "count"),
    ("append", "extend", "add", "appendleft"),
    ("extend", "extendleft", "update"),
    ("remove", "discard", "pop"),
    ("pop", "popleft", "get", "popitem"),
    ("split", "rsplit", "splitlines"),
    ("partition", "rpartition", "split"),
    ("isalpha", "isalnum", "isdigit", "isnumeric", "isdecimal", "isidentifier"),
    ("isupper", "islower", "istitle", "isspace"),
    ("isalpha", "isupper", "islower"),
    ("isdigit", "isspace"),
    ("upper", "lower", "title", "capitalize", "swapcase", "casefold"),
    ("startswith", "endswith"),
    ("ljust", "rjust", "center", "zfill"),
    ("keys", "values", "items"),
    ("union", "intersection", "difference", "symmetric_difference"),
    ("issubset", "issuperset", "isdisjoint"),
    ("match", "search", "fullmatch"),
    ("findall", "finditer", "split"),
    ("get", "setdefault", "pop"),
    ("add", "update"),
    ("date", "time"),
    ("weekday", "isoweekday"),
)

FUNCTIONS: tuple[tuple[str, ...], ...] = (
    ("any", "all"),
    ("max", "min"),
    ("round", "int", "floor", "ceil", "trunc"),
    ("list", "set", "tuple", "sorted"),
    ("sorted", "reversed"),
    ("sum", "len"),
    ("str", "repr"),
    ("int", "float"),
    ("int", "ord"),
    ("zip", "zip_longest"),
    ("combinations", "permutations", "combinations_with_replacement", "product"),
    ("bisect", "bisect_left", "bisect_right"),
    ("nlargest", "nsmallest"),
    ("floor", "ceil", "trunc"),
    ("log", "log2", "log10"),
    ("gcd", "lcm"),
    ("comb", "perm"),
    ("takewhile", "dropwhile"),
    ("bin", "hex", "oct"),
    ("heappop", "heappushpop"),
    ("sub", "subn"),
    ("match", "search", "fullmatch"),
    ("mean", "median", "mode", "fmean"),
    ("stdev", "pstdev"),
    ("variance", "pvariance"),
    ("sqrt", "isqrt"),
    ("fmod", "remainder"),
    ("filter", "map"),
    ("deepcopy", "copy"),
)

BUILT_IN = frozenset(
    {
        "any",
        "all",
        "max",
        "min",
        "round",
        "int",
        "list",
        "set",
        "tuple",
        "sorted",
        "reversed",
        "sum",
        "len",
        "str",
        "repr",
        "float",
        "ord",
        "zip",
        "bin",
        "hex",
        "oct",
        "filter",
        "map",
    }
)
"""Names that need no import."""


def methods_like(called: str) -> tuple[str, ...]:
    """Methods that are taken for this one, without it."""
    return _like(called, METHODS)


def functions_like(called: str) -> tuple[str, ...]:
    """Functions that are taken for this one, without it."""
    return _like(called, FUNCTIONS)


def _like(called: str, families: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    found = [each for family in families if called in family for each in family]
    return tuple(dict.fromkeys(each for each in found if each != called))
