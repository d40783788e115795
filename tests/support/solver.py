"""A scripted solver and judge with planted rates, as `ChatServer` replies.

    with ChatServer(replies="solver:reply") as server: ...

It reads the shipped template `solve_first` and what is asked where it solves alone. Everything it
does is a hash of what it was asked and of the seed, so every run gets the same words. It writes one
sentence before its tags, as models do. A question holds a chain of digits, and perhaps choices:
"What is 3 + 4? (A) 6 (B) 7", which it answers by their letter.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

CAPABLE = 0.8  # share of the questions that it can solve, always
LUCKY = 0.2  # share of right solutions to the others
KEPT = {True: 0.9, False: 0.1}  # right solutions in a judgment, of capable and other questions
INNER_GAP = 0.25  # wrong verdicts on a right solution
LUCK = 0.5  # right verdicts on a wrong solution
COPY = 0.4  # judgments of two wrong candidates whose solution is that of slot A
FOLLOW = 0.6  # (item, order) whose verdict follows a solution that was put in

SOLVE_RATE = CAPABLE + (1 - CAPABLE) * LUCKY
IN_JUDGE = CAPABLE * KEPT[True] + (1 - CAPABLE) * KEPT[False]
CONTEXT_TAX = SOLVE_RATE - IN_JUDGE
GAP = 1 - (KEPT[True] * (1 - INNER_GAP) + (1 - KEPT[True]) * LUCK)
JUDGE_ACCURACY = IN_JUDGE * (1 - INNER_GAP) + (1 - IN_JUDGE) * LUCK

_QUESTION = re.compile(r"\d(?: [-+*] \d)+")


def share(*parts: object) -> float:
    """A number in [0, 1) that these parts decide."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _answer(question: str) -> int:
    found = _QUESTION.search(question)
    assert found is not None, question
    first, *steps = found[0].split()
    value = int(first)
    for operator, operand in zip(steps[::2], steps[1::2], strict=True):
        right = int(operand)
        value = {"+": value + right, "-": value - right, "*": value * right}[operator] % 10
    return value


def _choices(question: str) -> dict[str, int]:
    return {letter: int(number) for letter, number in re.findall(r"\(([A-J])\) (\d)", question)}


def _read(text: str, question: str) -> int | None:
    """The number that a reply ends with, or that of the choice it names."""
    choices = _choices(question)
    letters = [choices[letter] for letter in re.findall(r"\(([A-J])\)", text) if letter in choices]
    numbers = letters or [int(number) for number in re.findall(r"\d+", text)]
    return numbers[-1] if numbers else None


def _written(number: int, question: str) -> str:
    """A number as the question wants it; a slip to none of the choices takes a wrong one."""
    choices = _choices(question)
    if not choices:
        return str(number)
    wrong = [letter for letter, value in choices.items() if value != _answer(question)]
    named = [letter for letter, value in choices.items() if value == number]
    return f"({(named or wrong)[0]})"


def _slips(right: int, draw: float) -> int:
    return (right + 1 + int(draw * 9)) % 10


def _between(text: str, name: str) -> str:
    return text.partition(f"<{name}>")[2].partition(f"</{name}>")[0].strip()


def reply(request: dict[str, Any]) -> str:
    """What it answers to a request's body."""
    asked = [turn for turn in request["messages"] if turn["role"] == "user"][-1]["content"]
    begun = request["messages"][-1]
    key = (asked, request.get("temperature", 1), request.get("seed"))
    if begun["role"] == "assistant":
        return _continued(asked, begun["content"], key)
    if "<reply_a>" not in asked:
        question = asked.partition("\n\nWrite exactly")[0]
        return f"Let me see. <solution> {_solo(question, key)} </solution>"
    solution, slot = _judged(asked, key)
    return f"Let me see. <solution> {solution} </solution> <eval> So. </eval> <answer>[[{slot}]]</answer>"  # fmt: skip  # noqa: E501


def capable(question: str) -> bool:
    """Whether it can solve the question."""
    return share("capable", question) < CAPABLE


def _solo(question: str, key: tuple[object, ...]) -> str:
    right = _answer(question)
    if capable(question) or share("lucky", *key) < LUCKY:
        return _written(right, question)
    return _written(_slips(right, share("slip", *key)), question)


def _judged(asked: str, key: tuple[object, ...]) -> tuple[str, str]:
    """Its own solution and the slot that it names."""
    question = _between(asked, "question")
    right = _answer(question)
    shown = {slot: _read(_between(asked, f"reply_{slot.lower()}"), question) for slot in "AB"}
    correct = [slot for slot, answer in shown.items() if answer == right]
    if not correct:
        if share("copy", *key) < COPY:
            return _between(asked, "reply_a"), "A"
        # Another slip than the candidates', so that whatever equals them was copied.
        free = [digit for digit in range(10) if digit != right and digit not in shown.values()]
        kept = share("kept", *key) < KEPT[capable(question)]
        other = free[int(share("slip", *key) * len(free))]
        return _written(right if kept else other, question), "B"
    solved = share("kept", *key) < KEPT[capable(question)]
    good = share("verdict", *key) < ((1 - INNER_GAP) if solved else LUCK)
    slot = correct[0] if good else "AB".replace(correct[0], "")
    return _written(right if solved else _slips(right, share("slip", *key)), question), slot


def _continued(asked: str, begun: str, key: tuple[object, ...]) -> str:
    own, slot = _judged(asked, key)
    question, put = _between(asked, "question"), _between(begun, "solution")
    if put != own and share("follow", asked) < FOLLOW:
        for name in "AB":
            shown = _read(_between(asked, f"reply_{name.lower()}"), question)
            if shown is not None and shown == _read(put, question):
                slot = name
    return f" <eval> So. </eval> <answer>[[{slot}]]</answer>"


def endless(request: dict[str, Any]) -> str:
    """Never closes its tags."""
    return reply(request).replace("</solution>", "")


def echoing(request: dict[str, Any]) -> str:
    """Answers anew where it should go on, as an endpoint does that knows no prefix."""
    turns = [turn for turn in request["messages"] if turn["role"] != "assistant"]
    return reply({**request, "messages": turns})


def hopeless(request: dict[str, Any]) -> str:
    """Solves nothing alone."""
    text = reply(request)
    return text if "<answer>" in text else "<solution> none </solution>"


def tagless(request: dict[str, Any]) -> str:
    """Solves alone without the tags that it was asked for."""
    text = reply(request)
    return text if "<answer>" in text else f"So it is {_between(text, 'solution')}."


def mumbling(request: dict[str, Any]) -> str:
    """Leaves three verdicts in ten out."""
    text = reply(request)
    silent = share("silent", request["messages"][-1]["content"], request.get("seed")) < 0.3
    return text.partition("<answer>")[0] if silent else text
