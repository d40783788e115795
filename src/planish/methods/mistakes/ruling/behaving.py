"""What a program's outputs, exceptions and lines say of its mistake.

evidence = list(behaviour(task, code, observation))
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planish.methods.mistakes.data import Category, CodeTask, Evidence, Observation, Seen
from planish.methods.mistakes.observing.differences import Relation, common_relation, relations
from planish.methods.mistakes.ruling.predicates import Predicate, separating
from planish.tasks.sandbox.values import loads

__all__ = ["behaviour"]

_KINDS: dict[str, tuple[Category, float, str]] = {
    "prefix": ("IOM", 1.0, "elements are missing at the end"),
    "suffix": ("IOM", 1.0, "elements are missing at the start"),
    "piece": ("IOM", 0.8, "elements are missing at both ends"),
    "shifted": ("IOM", 1.0, "elements are shifted"),
    "rotated": ("IOM", 0.7, "elements are turned round by some places"),
    "longer_end": ("IOM", 0.6, "there are too many elements at the end"),
    "longer_start": ("IOM", 0.6, "there are too many elements at the start"),
    "offset": ("MFLE", 1.0, "numbers are off by a constant"),
    "ratio": ("MFLE", 1.0, "numbers are off by a factor"),
    "normaliser": ("MOFE", 1.0, "values differ only in how they are written"),
    "wrapped": ("MOFE", 1.0, "a value is wrapped, or is not"),
    "permutation": ("MOOV", 0.8, "the same elements come in another order"),
    "reversed": ("MOOV", 1.0, "elements come the other way round"),
    "nothing": ("MLA", 0.8, "None came instead of a value"),
    "negated": ("CE", 0.8, "the answer is the opposite one"),
    "missing": ("CE", 0.6, "elements are missing"),
    "extra": ("CE", 0.6, "there are elements too many"),
}
"""Kind of relation -> what it speaks for, how much, and in words."""

_AT_CALLS = frozenset({"AttributeError", "TypeError"})
_OF_VALUES = frozenset({"ValueError", "StopIteration", "RuntimeError", "OverflowError"})
_UNDEFINED = frozenset({"UnboundLocalError", "NameError"})
_EDGES = frozenset({"ZeroDivisionError", "KeyError", "RecursionError"})


@dataclass(frozen=True)
class _Pair:
    seen: Seen
    expected: Any
    got: Any


def behaviour(task: CodeTask, code: str, observation: Observation) -> Iterator[Evidence]:
    """Evidence of exceptions, of how outputs differ, and of which inputs and lines they are."""
    pairs = [
        _Pair(seen, loads(seen.expected), loads(seen.call.value))
        for seen in observation.failing
        if seen.call.status == "value" and seen.call.value is not None
    ]
    yield from _exceptions(code, observation)
    yield from _relations(pairs, len(observation.failing))
    yield from _types(pairs, observation.failing)
    yield from _inputs(observation)
    yield from _share(observation)
    yield from _lines(code, observation)


# ---- exceptions ------------------------------------------------------------------------------


def _exceptions(code: str, observation: Observation) -> Iterator[Evidence]:
    raising = [seen for seen in observation.failing if seen.call.exception]
    kinds = Counter(seen.call.exception or "" for seen in raising)
    if not kinds and observation.exception:
        kinds[observation.exception] = 1
    whole = max(1, len(observation.failing))
    for kind, count in kinds.items():
        seen = next((each for each in raising if each.call.exception == kind), None)
        line = seen.call.line if seen else observation.line
        message = seen.call.message if seen else observation.message
        for rule, category, weight, note in _raised(kind, message, _calls_at(code, line)):
            yield Evidence(
                rule=rule,
                category=category,
                strength=weight * min(1.0, count / whole),
                line=line,
                note=f"{kind}: {message[:120]} ({note})" if message else f"{kind} ({note})",
                inputs=seen.arguments if seen else None,
                expected=seen.expected if seen else None,
            )


def _raised(kind: str, message: str, called: bool) -> Iterator[tuple[str, Category, float, str]]:
    if kind == "IndexError":
        yield "index error", "IOM", 1.0, "an index is outside"
    elif kind in _AT_CALLS:
        strength = 1.0 if called or "NoneType" in message else 0.7
        yield "call error", "MLA", strength, "a call is given or asked what it does not have"
    elif kind in _OF_VALUES:
        yield "value error", "MLA", 0.7, "a call refuses what it is given"
    elif kind in _UNDEFINED:
        yield "undefined", "MOOV", 0.8, "a name is used before it has a value"
    elif kind in _EDGES:
        yield "edge error", "CE", 0.7, "a case is not provided for"


def _calls_at(code: str, line: int | None) -> bool:
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Call) and node.lineno == line for node in ast.walk(tree))


# ---- outputs ---------------------------------------------------------------------------------


def _relations(pairs: Sequence[_Pair], whole: int) -> Iterator[Evidence]:
    """A relation that all share, and of each kind how often it holds."""
    if not pairs:
        return
    shared = common_relation([(pair.expected, pair.got) for pair in pairs])
    if shared is not None and shared.kind in _KINDS:
        yield _related("shared relation", shared, pairs[0], len(pairs) / whole)
    counts: Counter[str] = Counter()
    first: dict[str, tuple[Relation, _Pair]] = {}
    for pair in pairs:
        found = list(relations(pair.expected, pair.got))
        if any(each.kind == "normaliser" for each in found):
            # Text that is only written in another way is also longer, shorter or in another order.
            found = [each for each in found if each.kind == "normaliser"]
        simple = [each for each in found if _is_simple(each)]
        for kind in dict.fromkeys(each.kind for each in simple):
            counts[kind] += 1
            first.setdefault(kind, (next(each for each in simple if each.kind == kind), pair))
    best: dict[Category, Evidence] = {}
    for kind, count in counts.items():
        if kind not in _KINDS:
            continue
        evidence = _related("relation", *first[kind], count / whole)
        known = best.get(evidence.category)
        if known is None or evidence.strength > known.strength:
            best[evidence.category] = evidence
    yield from best.values()


def _is_simple(found: Relation) -> bool:
    """Two numbers always have an offset and a ratio; only small ones tell."""
    if found.kind == "offset":
        return found.name in ("1", "-1", "2", "-2")
    if found.kind == "ratio":
        return found.name in ("2", "1/2", "-1", "10", "1/10", "100", "1/100")
    return True


def _related(rule: str, found: Relation, pair: _Pair, share: float) -> Evidence:
    category, weight, words = _KINDS[found.kind]
    name = f" ({found.name})" if found.name else ""
    inside = ", in each element that differs" if found.inside else ""
    return Evidence(
        rule=rule,
        category=category,
        strength=min(1.0, weight * share),
        note=f"Beside the reference {words}{name}{inside}; so on {100 * share:.0f} % of the "
        "failing inputs.",
        inputs=pair.seen.arguments,
        expected=pair.seen.expected,
        got=pair.seen.call.value,
    )


def _types(pairs: Sequence[_Pair], failing: Sequence[Seen]) -> Iterator[Evidence]:
    other = [
        pair
        for pair in pairs
        if pair.got is not None
        and pair.expected is not None
        and _shape(pair.expected) != _shape(pair.got)
    ]
    strange = [seen for seen in failing if seen.call.status == "unknown_type"]
    count = len(other) + len(strange)
    if not count:
        return
    seen = other[0].seen if other else strange[0]
    yield Evidence(
        rule="other type",
        category="MOFE",
        strength=count / len(failing),
        note=f"What comes is of another type than what is expected on {count} of "
        f"{len(failing)} failing inputs.",
        inputs=seen.arguments,
        expected=seen.expected,
        got=seen.call.value,
    )


def _shape(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, list | tuple) and value:
        return f"{name}[{'|'.join(sorted({_shape(each) for each in value}))}]"
    return name


# ---- inputs and lines ------------------------------------------------------------------------


def _inputs(observation: Observation) -> Iterator[Evidence]:
    """A predicate of the inputs, or of the answer, that failing ones have and passing ones lack."""
    found = separating(observation.failing, observation.passing)
    if found is not None:
        yield _separated("kind of input", found, observation.failing[0])
    special = separating(observation.failing, observation.passing, answers=True)
    if special is not None:
        yield _separated("kind of answer", special, observation.failing[0])


def _separated(rule: str, found: Predicate, seen: Seen) -> Evidence:
    return Evidence(
        rule=rule,
        category="CE",
        strength=found.strength,
        note=f"Every failing input has this: {found.words}; of all such inputs "
        f"{100 * found.passing:.0f} % pass.",
        inputs=seen.arguments,
        expected=seen.expected,
        got=seen.call.value,
    )


def _share(observation: Observation) -> Iterator[Evidence]:
    """How often it is right: special cases fail seldom."""
    failing, passing = len(observation.failing), len(observation.passing)
    if failing:
        yield Evidence(
            rule="mostly right",
            category="CE",
            strength=max(0.0, 2 * passing / (passing + failing) - 1),
            note=f"It is right on {passing} inputs that were tried.",
        )


def _lines(code: str, observation: Observation) -> Iterator[Evidence]:
    """A branch that passing inputs run and failing ones never do, or the other way round."""
    if not observation.suspicion or not observation.passing:
        return
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    known = observation.suspicion
    bodies = {
        block[0].lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.If)
        for block in (node.body, node.orelse)
        if block
    }
    never = sorted(line for line in bodies if known.get(line, 1.0) == 0.0)
    if never:
        yield Evidence(
            rule="branch never run",
            category="CE",
            strength=0.8,
            line=never[0],
            note="No failing input runs this branch, and passing ones do.",
        )
    only = max(
        (line for line in bodies if known.get(line, 0.0) > 0.0),
        key=lambda line: known[line],
        default=None,
    )
    if only is not None and known[only] > max(known.get(1, 0.0), 0.5):
        yield Evidence(
            rule="branch of failures",
            category="CE",
            strength=known[only],
            line=only,
            note="Failing inputs run this branch far more often than passing ones.",
        )
