"""Countdown: reach a target from a few numbers, where many different answers are right.

A question is `Make 35 from 3 4 5`: each number is used exactly once, with `+ - * /` and brackets. A
reply is the steps, `3 + 4 = 7, 5 * 7 = 35`, or one expression, `(3 + 4) * 5`; whatever reaches the
target is right. Difficulty is the number of numbers.

    >>> task = CountdownTask(num_numbers=3)
    >>> example = task.example("Make 35 from 3 4 5")
    >>> task.gold(example), example.meta["num_solutions"]
    ('3 + 4 = 7, 5 * 7 = 35', 1)
    >>> task.verify(example, "It is 5 * (4 + 3).").score, task.verify(example, "7 * 5 = 35").score
    (1.0, 0.0)
    >>> right, wrong = task.candidates(example, seed=0)
    >>> task.verify(example, right).score, task.verify(example, wrong).score
    (1.0, 0.0)

What the task itself writes stays among the whole numbers from 1 to the largest target, so that a
model needs one token for each; a reply may go through fractions and negative numbers.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from math import comb
from typing import TypeAlias

from planish.records import BadInput, Example, Verdict, user
from planish.tasks.arithmetic import followed, written_steps
from planish.tasks.base import check_draw, split_of

__all__ = ["CountdownTask"]

_MAX_NUMBERS = 5
_MAX_LARGEST = 99
_MAX_TARGET = 999
_MAX_COUNTED = 2_000  # sets of numbers whose questions are counted
_SAMPLED = 20  # sets that tell how many questions a larger space has

_QUESTION = re.compile(r"Make ([0-9]{1,3}) from ([0-9]{1,2}(?: [0-9]{1,2}){1,4})")

_Numbers: TypeAlias = "tuple[int, ...]"
_Made: TypeAlias = "tuple[_Numbers, int]"
_Step: TypeAlias = "tuple[int, str, int, int]"
"""Left, operator, right and result."""


def _moves(one: int, other: int, most: int) -> Iterator[_Step]:
    """What two numbers can become, each once: sums and products are the same both ways round."""
    small, large = sorted((one, other))
    if small + large <= most:
        yield small, "+", large, small + large
    if small * large <= most:
        yield small, "*", large, small * large
    if small < large:
        yield large, "-", small, large - small
    if large % small == 0 and large // small <= most:
        yield large, "/", small, large // small


@lru_cache(maxsize=4096)
def _parts(numbers: _Numbers) -> tuple[tuple[_Numbers, _Numbers], ...]:
    """Every way to part the numbers in two."""
    found: dict[tuple[_Numbers, _Numbers], None] = {}
    for chosen in range(1, 2 ** len(numbers) - 1):
        sides: tuple[list[int], list[int]] = ([], [])
        for place, number in enumerate(numbers):
            sides[chosen >> place & 1].append(number)
        one, other = sorted((tuple(sides[0]), tuple(sides[1])))
        found[one, other] = None
    return tuple(found)


def _last_steps(numbers: _Numbers, most: int) -> Iterator[tuple[_Made, _Made, int, _Step]]:
    """What can be done last: two parts with what each has become, in how many ways, the step."""
    for one, other in _parts(numbers):
        for left, left_ways in _solutions(one, most).items():
            for right, right_ways in _solutions(other, most).items():
                ways = left_ways * right_ways
                if one == other and left == right:
                    ways = left_ways * (left_ways + 1) // 2
                if one != other or left <= right:
                    for step in _moves(left, right, most):
                        yield (one, left), (other, right), ways, step


@lru_cache(maxsize=4096)
def _solutions(numbers: _Numbers, most: int) -> dict[int, int]:
    """Value -> in how many ways all of the (sorted) numbers make it, through 1 to `most`.

    Ways that differ only in the order of the operands of sums and products are one.
    """
    if len(numbers) == 1:
        return {numbers[0]: 1}
    found: Counter[int] = Counter()
    for *_, ways, step in _last_steps(numbers, most):
        found[step[-1]] += ways
    return dict(sorted(found.items()))


def _steps(numbers: _Numbers, target: int, most: int, draw: random.Random) -> list[_Step]:
    """One of the ways to make the target, all of them alike likely."""
    if len(numbers) == 1:
        return []
    last = [found for found in _last_steps(numbers, most) if found[-1][-1] == target]
    [(left, right, _, step)] = draw.choices(last, [ways for *_, ways, _ in last])
    return [*_steps(*left, most, draw), *_steps(*right, most, draw), step]


def _text(steps: list[_Step]) -> str:
    return ", ".join(
        f"{left} {operator} {right} = {result}" for left, operator, right, result in steps
    )


@dataclass(frozen=True)
class CountdownTask:
    """Targets to be made of `num_numbers` numbers.

    Every question can be solved; `meta["num_solutions"]` says in how many ways. The default space
    holds some 2,000 questions; 60 % are in "train", 20 % in "gate" and 20 % in "report".

    Spaces of many sets of numbers are not counted: one call may draw a twentieth of them.

    Args:
        num_numbers: the difficulty, 2 to 5.
        largest: the largest number given.
        largest_target: the largest target, at least 9 and at least `largest`.

    Raises:
        BadInput: one of them is out of bounds.
    """

    num_numbers: int = 3
    largest: int = 9
    largest_target: int = 99

    def __post_init__(self) -> None:
        for what, value, low, high in (
            ("numbers", self.num_numbers, 2, _MAX_NUMBERS),
            ("as the largest number", self.largest, 1, _MAX_LARGEST),
            ("as the largest target", self.largest_target, max(9, self.largest), _MAX_TARGET),
        ):
            if not low <= value <= high:
                raise BadInput(f"{value} {what}", where="countdown", fix=f"give {low} to {high}")

    @property
    def name(self) -> str:
        """For instance `countdown:3:9:99`."""
        return f"countdown:{self.num_numbers}:{self.largest}:{self.largest_target}"

    def example(self, question: str) -> Example:
        """The example of one question.

        Raises:
            BadInput: not a question, or one without a solution in whole numbers.
        """
        target, numbers = _parse(question)
        ways = _solutions(numbers, self.largest_target).get(target, 0)
        if not ways:
            raise BadInput(
                f"cannot be made within 1 to {self.largest_target}: {question!r}",
                where=self.name,
                fix="take another target",
            )
        return Example(
            id=f"countdown:{'+'.join(map(str, numbers))}={target}",
            prompt=user(question),
            target=str(target),
            meta={"num_numbers": len(numbers), "num_solutions": ways},
        )

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` different questions; a smaller limit draws a prefix of a larger one.

        Raises:
            BadInput: an unknown split, or more questions than the split holds.
        """
        check_draw(split, limit, where=self.name)
        if limit > (capped := self.capped(split, limit)):
            raise BadInput(
                f"{limit} examples asked, but {split!r} has only {capped} different questions",
                where=self.name,
                fix="lower the limit or take more or larger numbers",
            )
        return self._draw(split, limit, seed)

    def capped(self, split: str, limit: int) -> int:
        """`limit`, or the number of different questions in the split where that is smaller."""
        num_sets = comb(self.largest + self.num_numbers - 1, self.num_numbers)
        if limit <= num_sets // 20:  # every set has a question, and a split far more of them
            return limit
        if num_sets <= _MAX_COUNTED:
            return min(limit, _count(self.num_numbers, self.largest, self.largest_target, split))
        draw = random.Random(self.name)
        sampled = [len(self._targets(self._numbers(draw))) for _ in range(_SAMPLED)]
        return min(limit, num_sets * sum(sampled) // _SAMPLED // 20)

    def _numbers(self, draw: random.Random) -> _Numbers:
        """Every set of numbers alike likely."""
        places = sorted(draw.sample(range(self.largest + self.num_numbers - 1), self.num_numbers))
        return tuple(place - number + 1 for number, place in enumerate(places))

    def _targets(self, numbers: _Numbers) -> list[int]:
        return list(_solutions(numbers, self.largest_target))

    def _draw(self, split: str, limit: int, seed: int) -> Iterator[Example]:
        draw = random.Random(f"{self.name}/{split}/{seed}")
        seen: set[tuple[int, _Numbers]] = set()
        drawn = 0
        while drawn < limit:
            numbers = self._numbers(draw)
            target = draw.choice(self._targets(numbers))
            if (target, numbers) in seen:
                continue
            seen.add((target, numbers))
            question = _question(target, numbers)
            if split_of(question) == split:
                drawn += 1
                yield self.example(question)

    def verify(self, example: Example, reply: str) -> Verdict:
        """Follows the reply's last steps; None where there is no arithmetic in it.

        The last steps count, as many as it takes: a reply may try and fail before.
        """
        target, numbers = _parse(_question_of(example))
        steps = written_steps(reply)
        if not steps:
            return Verdict(score=None, why="no arithmetic in the reply", by=self.name)
        for number in range(1, min(len(steps), len(numbers) - 1) + 1):
            found = followed(steps[-number:], numbers)
            if found.value == target and not found.unused:
                return Verdict(score=1.0, extracted=found.text, by=self.name)
        why = found.why or f"makes {str(found.value)[:60]}, not {target}"
        if found.unused and not found.why:
            why = "does not use all numbers"
        return Verdict(score=0.0, extracted=found.text, why=why, by=self.name)

    def gold(self, example: Example) -> str:
        """The steps of one of the solutions."""
        return self.candidates(example, seed=0)[0]

    def wrong(self, example: Example) -> str:
        """Steps that miss the target, or whose last one is false."""
        return self.candidates(example, seed=0)[1]

    def attempt(self, example: Example, seed: int, *, hit: bool | None = None) -> str:
        """Legal steps with all numbers, as a model might learn them before it learns to aim.

        Args:
            example: a question of this task.
            seed: the same one gives the same steps.
            hit: True for one of the solutions, each alike likely; False for steps that miss the
                target; None for moves at random, wherever they lead.

        Raises:
            BadInput: nothing misses the target.
        """
        target, numbers = _parse(_question_of(example))
        draw = random.Random(f"{example.id}/attempt/{hit}/{seed}")
        if hit:
            return _text(_steps(numbers, target, self.largest_target, draw))
        if hit is None:
            return _text(self._random_steps(list(numbers), draw))
        others = [value for value in self._targets(numbers) if value != target]
        if not others:
            raise BadInput("nothing misses the target", where=f"example {example.id}")
        return _text(_steps(numbers, draw.choice(others), self.largest_target, draw))

    def _random_steps(self, numbers: list[int], draw: random.Random) -> list[_Step]:
        steps = []
        while len(numbers) > 1:
            draw.shuffle(numbers)
            step = draw.choice(list(_moves(numbers.pop(), numbers.pop(), self.largest_target)))
            steps.append(step)
            numbers.append(step[-1])
        return steps

    def candidates(self, example: Example, seed: int) -> tuple[str, str]:
        """A right and a wrong reply to be compared by a judge.

        The wrong one misses the target by legal steps, or says in its last step what is not so,
        half of the time each.

        Returns:
            (right, wrong).
        """
        draw = random.Random(f"{example.id}/candidates/{seed}")
        return self.attempt(example, seed, hit=True), self._wrong(example, draw)

    def both_wrong(self, example: Example, seed: int) -> tuple[str, str]:
        """Two wrong replies with different answers, for the slice where copying cannot help."""
        draw = random.Random(f"{example.id}/both wrong/{seed}")
        first = self._wrong(example, draw)
        answer = self.verify(example, first).extracted
        second = next(
            reply
            for reply in iter(lambda: self._wrong(example, draw), None)
            if self.verify(example, reply).extracted != answer
        )
        return first, second

    def _wrong(self, example: Example, draw: random.Random) -> str:
        target, numbers = _parse(_question_of(example))
        value = draw.choice(self._targets(numbers))
        steps = _steps(numbers, value, self.largest_target, draw)
        if value != target and draw.random() < 0.5:
            return _text(steps)
        said = target
        while said == value:  # of a solution the last result is false instead
            said = draw.randint(1, self.largest_target)
        return _text([*steps[:-1], (*steps[-1][:3], said)])


def _question(target: int, numbers: _Numbers) -> str:
    return f"Make {target} from {' '.join(map(str, numbers))}"


def _question_of(example: Example) -> str:
    return example.prompt[-1].content


@lru_cache(maxsize=1024)
def _parse(question: str) -> tuple[int, _Numbers]:
    found = _QUESTION.fullmatch(question)
    numbers = tuple(map(int, found[2].split())) if found else ()
    # One order only, or the same question would be in two splits.
    if not found or question != _question(int(found[1]), tuple(sorted(numbers))) or 0 in numbers:
        raise BadInput(
            f"not a Countdown question: {question[:60]!r}",
            where="countdown",
            fix="write it like 'Make 35 from 3 4 5', the numbers sorted",
        )
    return int(found[1]), numbers


@lru_cache(maxsize=64)
def _count(num_numbers: int, largest: int, largest_target: int, split: str) -> int:
    return sum(
        split_of(_question(target, numbers)) == split
        for numbers in combinations_with_replacement(range(1, largest + 1), num_numbers)
        for target in _solutions(numbers, largest_target)
    )
