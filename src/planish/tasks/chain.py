"""Digit chains: the smallest task where solving and judging are different skills.

A question is a chain of digits joined by + and − (and ×, written `*`), evaluated from left to
right modulo 10: `3 + 4 - 5`. A reply names every partial result, `7 2`; the last is the answer.
Difficulty is the number of operands.

    >>> task = ChainTask(num_operands=3)
    >>> example = task.example("3 + 4 - 5")
    >>> task.gold(example), task.verify(example, "I get 7, so the answer is 2.").score
    ('7 2', 1.0)
    >>> right, wrong = candidates(example, seed=0)
    >>> task.verify(example, right).score, task.verify(example, wrong).score
    (1.0, 0.0)

The same generator makes the questions and grades the replies, so gold is never in doubt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from planish.records import BadInput, Example, Verdict, user
from planish.tasks.base import check_draw, split_of

__all__ = ["OPERATORS", "ChainTask", "both_wrong", "candidates", "partials", "split_of"]

OPERATORS = "+-*"
_MAX_OPERANDS = 12
_MAX_COUNTED = 2_000_000

# A number as people and models write it; a minus counts as a sign only where no number precedes
# it, so that "7-2" ends in 2.
_NUMBER = re.compile(r"(?<![0-9.])-?[0-9]+(?:\.[0-9]+)?|[0-9]+")


def _apply(left: int, operator: str, right: int) -> int:
    if operator == "+":
        return (left + right) % 10
    if operator == "-":
        return (left - right) % 10
    return (left * right) % 10


def partials(question: str) -> tuple[int, ...]:
    """The partial results of a question, left to right; the last is the answer.

    Raises:
        BadInput: not a chain of digits and operators separated by blanks.
    """
    first, *steps = _parse(question)
    results = [int(first)]
    for operator, operand in zip(steps[::2], steps[1::2], strict=True):
        results.append(_apply(results[-1], operator, int(operand)))
    return tuple(results[1:])


def _parse(question: str) -> list[str]:
    words = question.split(" ")
    operands, operators = words[::2], words[1::2]
    if (
        len(operands) != len(operators) + 1
        or not operators
        or any(len(word) != 1 or word not in "0123456789" for word in operands)
        or any(len(word) != 1 or word not in OPERATORS for word in operators)
    ):
        raise BadInput(
            f"not a digit chain: {question[:60]!r}",
            where="chain",
            fix="write it like '3 + 4 - 5'",
        )
    return words


def _last_number(reply: str) -> str | None:
    """The reply's last number without leading zeros; kept as text, for it may be very long."""
    found = _NUMBER.findall(reply)
    if not found:
        return None
    whole, _, fraction = found[-1].partition(".")
    if fraction.strip("0"):
        return str(found[-1])
    sign = "-" if whole.startswith("-") else ""
    magnitude = whole.lstrip("-").lstrip("0")
    return f"{sign}{magnitude}" if magnitude else "0"


@lru_cache(maxsize=64)
def _count(num_operands: int, operators: str, split: str) -> int:
    size = _num_questions(num_operands, operators)
    return sum(
        split_of(_question(index, num_operands, operators)) == split for index in range(size)
    )


def _num_questions(num_operands: int, operators: str) -> int:
    return int(10**num_operands * len(operators) ** (num_operands - 1))


def _question(index: int, num_operands: int, operators: str) -> str:
    """Question number `index` of all `_num_questions`."""
    index, digit = divmod(index, 10)
    words = [str(digit)]
    for _ in range(num_operands - 1):
        index, operator = divmod(index, len(operators))
        index, digit = divmod(index, 10)
        words += [operators[operator], str(digit)]
    return " ".join(words)


@dataclass(frozen=True)
class ChainTask:
    """Chains of `num_operands` digits over the given operators.

    There are only 10ⁿ·kⁿ⁻¹ different questions, 4,000 for three operands and two operators; 60 %
    of them are in "train", 20 % in "gate" and 20 % in "report".

    Spaces of over two million questions are not counted: one call may draw a twentieth of them.

    Args:
        num_operands: the difficulty, at least 2.
        operators: which of `+-*` occur.

    Raises:
        BadInput: fewer than 2 operands, too many, or an unknown operator.
    """

    num_operands: int = 3
    operators: str = "+-"

    def __post_init__(self) -> None:
        if not 2 <= self.num_operands <= _MAX_OPERANDS:
            raise BadInput(
                f"{self.num_operands} operands", where="chain", fix=f"give 2 to {_MAX_OPERANDS}"
            )
        unknown = set(self.operators) - set(OPERATORS)
        if not self.operators or unknown or len(set(self.operators)) < len(self.operators):
            raise BadInput(
                f"cannot use the operators {self.operators!r}",
                where="chain",
                fix=f"give some of {OPERATORS}, each once",
            )

    @property
    def name(self) -> str:
        """For instance `chain:3:+-`."""
        return f"chain:{self.num_operands}:{self.operators}"

    def example(self, question: str) -> Example:
        """The example of one question.

        Raises:
            BadInput: not a chain of digits and operators.
        """
        return Example(
            id="chain:" + question.replace(" ", ""),
            prompt=user(question),
            target=str(partials(question)[-1]),
            meta={"num_operands": len(question.split(" ")) // 2 + 1},
        )

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` different questions; a smaller limit draws a prefix of a larger one.

        Raises:
            BadInput: an unknown split, or more questions than the split holds.
        """
        check_draw(split, limit, where=self.name)
        if limit > self.capped(split, limit):
            raise BadInput(
                f"{limit} examples asked, but {split!r} has only {self.capped(split, limit)} "
                "different questions",
                where=self.name,
                fix="lower the limit or take more operands",
            )
        return self._draw(split, limit, seed)

    def capped(self, split: str, limit: int) -> int:
        """`limit`, or the number of different questions in the split where that is smaller."""
        size = _num_questions(self.num_operands, self.operators)
        few = size // 20  # every split holds far more than a twentieth
        if limit <= few:
            return limit
        # Counting walks through every question, so it waits until the limit comes near.
        return (
            few
            if size > _MAX_COUNTED
            else min(limit, _count(self.num_operands, self.operators, split))
        )

    def _draw(self, split: str, limit: int, seed: int) -> Iterator[Example]:
        size = _num_questions(self.num_operands, self.operators)
        generator = random.Random(f"{self.name}/{split}/{seed}")
        seen: set[int] = set()
        drawn = 0
        while drawn < limit:
            index = generator.randrange(size)
            if index in seen:
                continue
            seen.add(index)
            question = _question(index, self.num_operands, self.operators)
            if split_of(question) == split:
                drawn += 1
                yield self.example(question)

    def verify(self, example: Example, reply: str) -> Verdict:
        """Compares the reply's last number with the answer; None where there is no number."""
        answer = _last_number(reply)
        if answer is None:
            return Verdict(score=None, why="no number in the reply", by=self.name)
        right = answer == example.target
        why = "" if right else f"the answer is {example.target}"
        return Verdict(score=float(right), extracted=answer, why=why, by=self.name)

    def gold(self, example: Example) -> str:
        """The partial results, as a model of this task writes them."""
        return " ".join(map(str, partials(_question_of(example))))

    def wrong(self, example: Example) -> str:
        """The partial results with one slip that reaches the answer."""
        return candidates(example, seed=0)[1]

    def candidates(self, example: Example, seed: int) -> tuple[str, str]:
        """A right and a wrong reply, as the function `candidates` makes them."""
        return candidates(example, seed)

    def both_wrong(self, example: Example, seed: int) -> tuple[str, str]:
        """Two wrong replies, as the function `both_wrong` makes them."""
        return both_wrong(example, seed)


def _question_of(example: Example) -> str:
    return example.prompt[-1].content


def _wrong_replies(question: str) -> list[str]:
    """Every reply with exactly one slip that changes the answer."""
    results = partials(question)
    steps = question.split(" ")[1:]
    replies = []
    for position in range(len(results)):
        for slip in range(1, 10):
            wrong = [*results[:position], (results[position] + slip) % 10]
            for step in range(position + 1, len(results)):
                wrong.append(_apply(wrong[-1], steps[2 * step], int(steps[2 * step + 1])))
            if wrong[-1] != results[-1]:
                replies.append(" ".join(map(str, wrong)))
    return replies


def _generator(example: Example, seed: int, purpose: str) -> random.Random:
    return random.Random(f"{example.id}/{purpose}/{seed}")


def candidates(example: Example, seed: int) -> tuple[str, str]:
    """A right and a wrong reply to be compared by a judge.

    The wrong one has one slip at a random step, carried on to a wrong answer. The same example
    and seed always give the same two.

    Returns:
        (right, wrong).
    """
    question = _question_of(example)
    right = " ".join(map(str, partials(question)))
    wrong = _generator(example, seed, "candidates").choice(_wrong_replies(question))
    return right, wrong


def both_wrong(example: Example, seed: int) -> tuple[str, str]:
    """Two wrong replies with different answers, for the slice where copying cannot help.

    Returns:
        (one wrong reply, another), in random order.
    """
    replies = _wrong_replies(_question_of(example))
    generator = _generator(example, seed, "both wrong")
    first = generator.choice(replies)
    second = generator.choice([reply for reply in replies if reply[-1] != first[-1]])
    return first, second
