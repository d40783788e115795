"""A scripted judge of digit chains whose accuracy hangs on how it is asked, for `ChatServer`.

    with ChatServer(replies="asked:reply") as server: ...

It knows four prompts: a question alone, the template `solve_first`, `plain`, and `plain` with a
reference. Everything it says is a hash of what it was asked and of the seed.
"""

from __future__ import annotations

import re
from typing import Any

if __package__:
    from support.solver import share
else:  # inside the server's process
    from solver import share

SOLO = 0.7  # right solutions alone
PLAIN = 0.62  # right verdicts, by prompt
SOLVE_FIRST = 0.75
BESIDE = {True: 0.9, False: 0.3}  # ... of a right and of a wrong reference
READ = 0.95  # plain judgments that end in a verdict

OWN_ANSWER = SOLO * BESIDE[True] + (1 - SOLO) * BESIDE[False]


def majority_of_three() -> float:
    """Right majorities of three plain judgments, where at least one of them was read."""
    p, q = PLAIN, READ
    three, fewer = p**3 + 3 * p**2 * (1 - p), p  # two of three; a coin decides one against one
    some = 3 * q**2 * (1 - q) + 3 * q * (1 - q) ** 2
    return (q**3 * three + some * fewer) / (q**3 + some)


def _answer(asked: str) -> int:
    """The answer of the first chain in a prompt."""
    first, *steps = re.findall(r"\d(?: [-+] \d)+", asked)[0].split()
    value = int(first)
    for operator, operand in zip(steps[::2], steps[1::2], strict=True):
        value = (value + int(operand) * (1 if operator == "+" else -1)) % 10
    return value


def _shown(asked: str, name: str) -> int:
    """The last digit of what a prompt shows under a name."""
    return int(asked.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()[-1])


def reply(request: dict[str, Any]) -> str:
    """What it answers to a request's body."""
    asked = request["messages"][-1]["content"]
    key = (asked, request.get("seed"))
    if "<reply_a>" not in asked:
        slip = share("solo", *key) >= SOLO
        return f"Let me work this out. <solution> {(_answer(asked) + slip) % 10} </solution>"
    right = _answer(asked)
    good = "A" if _shown(asked, "reply_a") == right else "B"
    bad = "AB".replace(good, "")
    if "<solution>" in asked:
        slot = good if share("solving", *key) < SOLVE_FIRST else bad
        own = f"<solution> {right} </solution>"
        return f"{own} <eval>So.</eval> <answer>[[{slot}]]</answer>"
    if share("read", *key) >= READ:
        return "I cannot tell."
    rate = PLAIN
    if "<reference>" in asked:
        rate = BESIDE[_shown(asked, "reference") == right]
    return f"So: [[{good if share('plain', *key) < rate else bad}]]"
