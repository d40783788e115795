"""A scripted policy with planted chances for `ChatServer`: sure, even, or almost lost questions.

    with ChatServer(replies="sampler:reply") as server: ...

Everything it says is a hash of what it was asked and of the seed, so every run gets the same.
"""

from __future__ import annotations

import re
from typing import Any

if __package__:
    from support.solver import share
else:  # inside the server's process
    from solver import share

KINDS = {"sure": (0.4, 1.0), "even": (0.2, 0.5), "lost": (0.4, 0.1)}  # (share, chance)


def chance(question: str) -> float:
    """How likely a draw to this question is right."""
    place = share("kind", question)
    for part, rate in KINDS.values():
        place -= part
        if place < 0:
            return rate
    return 0.0


def pass_at(k: int) -> float:
    """Of all questions."""
    return sum(part * (1 - (1 - rate) ** k) for part, rate in KINDS.values())


def zero_variance(n: int) -> float:
    """Groups of n draws that are all right or all wrong."""
    return sum(part * (rate**n + (1 - rate) ** n) for part, rate in KINDS.values())


def reach(n: int) -> float:
    """The chance of a right draw where n draws were all wrong."""
    missed = {kind: part * (1 - rate) ** n for kind, (part, rate) in KINDS.items()}
    return sum(missed[kind] * rate for kind, (_, rate) in KINDS.items()) / sum(missed.values())


def reply(request: dict[str, Any]) -> str:
    """What it answers to a request's body."""
    asked = request["messages"][-1]["content"]
    found = re.search(r"\d(?: [-+*] \d)+", asked)
    assert found is not None, asked
    first, *steps = found[0].split()
    value = int(first)
    for operator, operand in zip(steps[::2], steps[1::2], strict=True):
        right = int(operand)
        value = {"+": value + right, "-": value - right, "*": value * right}[operator] % 10
    greedy = request.get("temperature", 1) == 0
    drawn = 0.5 if greedy else share("draw", asked, request.get("seed"))
    return f"It is {value if drawn < chance(asked) else (value + 1) % 10}"


def silent(request: dict[str, Any]) -> str:
    """Answers in words that hold no number."""
    return "I would rather not say."
