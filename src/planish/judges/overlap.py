"""Keeping training away from the report: the same item, the same question, nearly the same.

check_disjoint(train_cases, report_cases, source="report.jsonl")

Two questions are the same when they differ only in case, blanks and punctuation. They are nearly
the same when they share most of their three-word runs. Short questions and formulas are compared
as a whole only: `3 + 4 - 5` and `3 + 4 - 6` are two questions. A training row that does not tell
its question is searched for those of the report.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planish.judges.base import Case
from planish.judges.templates import question_text
from planish.records import BadInput, Record

__all__ = [
    "NEAR",
    "Asked",
    "Overlap",
    "check_disjoint",
    "check_untrained",
    "normal_question",
    "overlaps",
]

NEAR = 0.6
"""Shared three-word runs, as a share of all (Jaccard), from which two questions count as one.

One changed word is found from 14 words on. Of all 36,046 couples of JudgeBench's questions 20 reach
it: riddles of one template with other numbers."""

_RUN = 3
_FEWEST_WORDS = 12
_ROUNDING = 1e-9
_OPERATORS = frozenset("+*/=<>^%×÷-")

# A character of Chinese, Japanese or Korean is a word of its own; a hyphen inside a word is
# punctuation, any other minus is an operator.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(
    rf"[{_CJK}]|[^\W_{_CJK}]+|[+*/=<>^%×÷]|(?<![^\W\d_])-(?![^\W\d_])",
)


class Overlap(Record):
    """A training item that must not be there, the report item it repeats, and in what."""

    item_id: str
    report_id: str
    why: str


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u2212", "-").casefold())


def normal_question(text: str) -> str:
    """The question without case, punctuation and layout; as it is where there is nothing else."""
    return " ".join(_words(text)) or text.strip()


@dataclass(frozen=True)
class Asked:
    """What a training row asks: the question itself, else a prompt that may hold it.

    Args:
        id: of the item.
        question: as it stands; None where only the prompt is known.
        prompt: the whole text that the model is given.
    """

    id: str
    question: str | None
    prompt: str = ""


def overlaps(
    cases: Sequence[Case | Asked],
    report: Sequence[Case],
    *,
    near: float = NEAR,
    by_id: bool = True,
) -> list[Overlap]:
    """Every case or row that repeats a report case, in their order, each told once.

    `by_id=False` is for files whose ids have nothing to do with each other.
    """
    index = _Report(report, near, by_id)
    found = []
    for item in cases:
        asked = item if isinstance(item, Asked) else _asked(item)
        if (overlap := index.find(asked)) is not None:
            found.append(overlap)
    return found


def _asked(case: Case) -> Asked:
    return Asked(case.id, question_text(case.example.prompt))


def check_disjoint(
    cases: Sequence[Case | Asked],
    report: Sequence[Case],
    *,
    source: str,
    near: float = NEAR,
    what: str = "items",
) -> None:
    """Refuses training cases or rows that stand in the report file.

    Raises:
        BadInput: with the count and the first offender.
    """
    found = overlaps(cases, report, near=near)
    if found:
        first = found[0]
        raise BadInput(
            f"{len(found)} of {len(cases)} {what} are also in the report, the first is "
            f"{first.item_id} (report item {first.report_id}: {first.why})",
            where=source,
            fix=f"remove them from the training {'pairs' if what == 'items' else what}",
        )


def check_untrained(
    report: Sequence[Case],
    trained: Sequence[Case | Asked],
    *,
    source: str,
    near: float = NEAR,
) -> None:
    """Refuses to report on what was trained on. Questions are compared, not ids.

    Raises:
        BadInput: with the count and the first offender.
    """
    found = overlaps(trained, report, near=near, by_id=False)
    if found:
        first = found[0]
        raise BadInput(
            f"{len({overlap.report_id for overlap in found})} of {len(report)} items were trained "
            f"on, the first is {first.report_id} (training item {first.item_id}: {first.why})",
            where=source,
            fix="leave them out, or report on others",
        )


class _Report:
    """The questions of a report, to be looked up by id, question or prompt."""

    def __init__(self, cases: Sequence[Case], near: float, by_id: bool) -> None:
        self._ids = [case.id for case in cases]
        self._known = set(self._ids) if by_id else frozenset()
        texts = [question_text(case.example.prompt) for case in cases]
        self._questions = {normal_question(text): i for i, text in enumerate(texts)}
        words = [_words(text) for text in texts]
        self._near, self._inside = _Near(words, near), _Inside(words, near)
        self._seen: dict[Asked, tuple[int, str] | None] = {}

    def find(self, asked: Asked) -> Overlap | None:
        """The report item that is asked here, and how one can tell."""
        if asked.id in self._known:
            return Overlap(item_id=asked.id, report_id=asked.id, why="same id")
        # An item has several rows, and its question several prompts.
        key = replace(asked, id="", prompt="" if asked.question is not None else asked.prompt)
        if key not in self._seen:
            self._seen[key] = self._look_up(key)
        found = self._seen[key]
        if found is None:
            return None
        return Overlap(item_id=asked.id, report_id=self._ids[found[0]], why=found[1])

    def _look_up(self, asked: Asked) -> tuple[int, str] | None:
        text = asked.prompt if asked.question is None else asked.question
        if (same := self._questions.get(normal_question(text))) is not None:
            return same, "same question"
        words = _words(text)
        if asked.question is None:
            return self._inside.find(words)
        nearest = self._near.find(words)
        return None if nearest is None else (nearest, "nearly the same question")


class _Inside:
    """Finds questions inside of prompts: word for word, or most of their runs.

    A formula that goes on in the prompt is another formula, and questions of one or two words
    are found anywhere: those are not looked for.
    """

    def __init__(self, questions: Sequence[list[str]], near: float) -> None:
        # Of two texts of n runs that share so much of their union, each holds this share.
        self._share = 2 * near / (1 + near)
        self._questions = questions
        self._starts: dict[tuple[str, ...], list[int]] = {}
        self._runs = [set(_runs(words)) for words in questions]
        self._index: dict[str, list[int]] = {}
        for number, words in enumerate(questions):
            if len(words) >= _RUN:
                self._starts.setdefault(tuple(words[:_RUN]), []).append(number)
            for run in self._runs[number]:
                self._index.setdefault(run, []).append(number)

    def find(self, prompt: list[str]) -> tuple[int, str] | None:
        """The first question that the prompt holds, and how."""
        for place in range(len(prompt) - _RUN + 1):
            for number in self._starts.get(tuple(prompt[place : place + _RUN]), ()):
                if self._stands_alone(prompt, place, self._questions[number]):
                    return number, "its prompt holds the question"
        held = Counter(n for run in set(_runs(prompt)) for n in self._index.get(run, ()))
        for number, count in sorted(held.items()):
            if count >= self._share * len(self._runs[number]) - _ROUNDING:
                return number, "its prompt nearly holds the question"
        return None

    def _stands_alone(self, prompt: list[str], place: int, question: list[str]) -> bool:
        end = place + len(question)
        around = [*prompt[max(place - 1, 0) : place], *prompt[end : end + 1]]
        return prompt[place:end] == question and not any(word in _OPERATORS for word in around)


class _Near:
    """Finds sets of word runs that share at least `near` of their union.

    Two such sets must share one of their rarest runs, so that only those are looked up: of a
    set of n, the n - ceil(near * n) + 1 rarest.
    """

    def __init__(self, questions: Sequence[list[str]], near: float) -> None:
        self._near = near
        self._sets = [set(_runs(tokens)) for tokens in questions]
        self._count = Counter(run for runs in self._sets for run in runs)
        self._index: dict[str, list[int]] = {}
        for number, runs in enumerate(self._sets):
            for run in self._rarest(runs):
                self._index.setdefault(run, []).append(number)

    def _rarest(self, runs: set[str]) -> list[str]:
        size = len(runs) - math.ceil(self._near * len(runs) - _ROUNDING) + 1
        return sorted(runs, key=lambda run: (self._count[run], run))[:size]

    def find(self, tokens: list[str]) -> int | None:
        """The number of the first question that is nearly this one."""
        runs = set(_runs(tokens))
        candidates = {n for run in self._rarest(runs) for n in self._index.get(run, ())}
        for number in sorted(candidates):
            other = self._sets[number]
            if len(runs & other) >= self._near * len(runs | other) - _ROUNDING:
                return number
        return None


def _runs(tokens: list[str]) -> Iterator[str]:
    """Runs of three words; none where there are too few words beside numbers and operators."""
    if sum(token[0].isalpha() for token in tokens) >= _FEWEST_WORDS:
        for start in range(len(tokens) - _RUN + 1):
            yield " ".join(tokens[start : start + _RUN])
