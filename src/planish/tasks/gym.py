"""Tasks of reasoning-gym: a hundred generators of questions, each with a grader of its own.

    task = load_task("gym:countdown:2000:min_numbers=3:max_numbers=3")
    [example] = task.examples("report", limit=1)
    task.verify(example, "<answer>82 + 20 + 67 - 50</answer>").score

    pip install 'planish[gym]'

Its graders give some wrong answers a little, which advantages divided by a deviation would blow up:
only 1.0 counts as right here, and anything else is 0. Questions are drawn from the first SIZE items
of a data set; which split one is in is told from its text, so that no question is in two.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from planish.records import BadInput, Example, Verdict, user
from planish.tasks.base import check_draw, split_of
from planish.tasks.gym_grading import Grader, Item, Source

__all__ = ["GymTask", "gym_task"]

_SIZE = 1000
_MAX_SIZE = 1_000_000
_ASKED = "\n\nWrite your final answer between <answer> and </answer>."
_ANSWER = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)
_ENOUGH = 1 - 1e-9
_TRIES = 20


def gym_task(spec: str, rest: str) -> GymTask:
    """`gym:NAME[:SIZE][:OPTION=VALUE...]` as a task.

    Raises:
        BadInput: it cannot be read.
    """
    name, *words = rest.split(":")
    size = words.pop(0) if words and "=" not in words[0] else str(_SIZE)
    pairs = [word.partition("=") for word in words]
    fine = size.isascii() and size.isdigit() and all(key and equals for key, equals, _ in pairs)
    if not name or not fine or not 1 <= int(size[:9]) <= _MAX_SIZE:
        raise BadInput(
            f"cannot read {spec[:60]!r}",
            where="task",
            fix="write it like gym:countdown:2000:max_numbers=4",
        )
    return GymTask(name, int(size), {key: _value(value) for key, _, value in pairs})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class GymTask:
    """Questions of one of reasoning-gym's data sets.

    Args:
        dataset: its name, such as "countdown".
        size: the questions are drawn from so many of its items.
        options: of the data set; `seed` among them chooses other items.
    """

    def __init__(
        self, dataset: str, size: int = _SIZE, options: Mapping[str, Any] | None = None
    ) -> None:
        self.dataset, self.size, self._options = dataset, size, dict(options or {})
        seed = self._options.get("seed", 0)
        if not isinstance(seed, int):
            raise BadInput(f"the seed {seed!r} is no number", where=self.name, fix="give a number")
        others = {key: value for key, value in self._options.items() if key != "seed"}
        self._grader = Grader(Source(dataset, size, seed, others))
        self._streams: dict[tuple[str, int], tuple[list[Example], Iterator[Example]]] = {}

    @property
    def name(self) -> str:
        """For instance `gym:countdown:2000:max_numbers=4`."""
        words = [f"{key}={_text(value)}" for key, value in sorted(self._options.items())]
        return ":".join(["gym", self.dataset, str(self.size), *words])

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` different questions; a smaller limit draws a prefix of a larger one.

        Raises:
            BadInput: an unknown split, more questions than it holds, or no reasoning-gym.
        """
        check_draw(split, limit, where=self.name)
        drawn = self._drawn(split, limit, seed)
        if limit > len(drawn):
            raise BadInput(
                f"{limit} examples asked, but {split!r} has only {len(drawn)} different questions",
                where=self.name,
                fix="lower the limit, or give a larger size: gym:NAME:SIZE",
            )
        return iter(drawn[:limit])

    def capped(self, split: str, limit: int) -> int:
        """`limit`, or the number of different questions in the split where that is smaller."""
        check_draw(split, limit, where=self.name)
        return min(limit, len(self._drawn(split, limit, 0)))

    def _drawn(self, split: str, limit: int, seed: int) -> list[Example]:
        """At least `limit` of a split's questions, or all: an item takes milliseconds to make."""
        found, more = self._streams.setdefault((split, seed), ([], self._stream(split, seed)))
        found.extend(islice(more, max(0, limit - len(found))))
        return found

    def _stream(self, split: str, seed: int) -> Iterator[Example]:
        order = list(range(self.size))
        random.Random(f"{self.name}/{seed}").shuffle(order)
        seen = set[str]()
        for index in order:
            item = self._grader.item(index)
            if item.question not in seen and split_of(item.question) == split:
                seen.add(item.question)
                yield self._example(index, item)

    def _example(self, index: int, item: Item) -> Example:
        digest = hashlib.sha256(item.question.encode("utf-8", "surrogatepass")).hexdigest()
        return Example(
            id=f"gym:{self.dataset}:{digest[:16]}",
            prompt=user(item.question + _ASKED),
            target=item.answer,
            meta={"index": index},
        )

    def verify(self, example: Example, reply: str) -> Verdict:
        """By the data set's grader; None where there is no answer at all."""
        answer = _answer(reply)
        if not answer:
            return Verdict(score=None, why="no answer in the reply", by=self.name)
        score, why = self._grader.score(self._index(example), answer)
        if score < _ENOUGH and not why:
            why = f"its grader gives {score:g}"
        right = score >= _ENOUGH
        return Verdict(score=float(right), extracted=answer[:200], why=why, by=self.name)

    def _index(self, example: Example) -> int:
        index = (example.meta or {}).get("index")
        if isinstance(index, int) and 0 <= index < self.size:
            question = self._grader.item(index).question
            if example.prompt[-1].content == question + _ASKED:
                return index
        raise BadInput("is no question of this data set", where=f"{self.name}, {example.id}")

    def gold(self, example: Example) -> str:
        """The answer that the data set knows.

        Raises:
            BadInput: it knows none.
        """
        answer = self._grader.item(self._index(example)).answer
        if not answer:
            raise BadInput("no right answer is known", where=f"{self.name}, {example.id}")
        return _tagged(str(answer))

    def wrong(self, example: Example) -> str:
        """The right answer to another question, which is not right here.

        Raises:
            BadInput: none could be found.
        """
        for index in random.Random(example.id).sample(range(self.size), min(_TRIES, self.size)):
            answer = self._grader.item(index).answer
            if answer and self.verify(example, _tagged(str(answer))).score == 0.0:
                return _tagged(str(answer))
        raise BadInput("no wrong answer could be made up", where=f"{self.name}, {example.id}")


def _answer(reply: str) -> str:
    """What stands between the last marks; without any, the whole reply."""
    found = _ANSWER.findall(reply)
    text: str = found[-1] if found else reply
    return text.strip()


def _tagged(answer: str) -> str:
    return f"<answer>{answer}</answer>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
