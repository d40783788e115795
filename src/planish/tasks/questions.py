"""Questions with targets from a file of your own, graded as mathematics, choice or exact words.

    task = QuestionTask("questions.jsonl")     # {"question": "2 + 2?", "target": "4"} a line
    [example] = task.examples("report", limit=1)
    task.verify(example, "It is 4.").score

A row holds `question` or `prompt` (text, or a chat of role and content), `target` or `answer`
(of an answer that ends in `#### 18`, as GSM8K's do, that end), and if it likes `id`, `choices`,
`grader` and `split`. Rows that name no split are spread by a hash of the question's text: 60 % to
"train", 20 % to "gate" and 20 % to "report", as the questions of `tasks.chain` are. So adding rows
moves none, and the same question is never in two splits.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from planish.records import (
    BadInput,
    Chat,
    Example,
    Verdict,
    explain,
    read_table,
    user,
    without_nulls,
)
from planish.tasks.base import SPLITS, Split, check_draw, split_of
from planish.tasks.grading import Grader, default_grader, grade, right_reply, wrong_replies

__all__ = ["SUFFIXES", "QuestionTask", "answered"]

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")

_LETTERS = "ABCDEFGHIJ"

_Number = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Row(BaseModel):
    """What is read of a row; other columns are left alone."""

    model_config = ConfigDict(extra="ignore")

    id: StrictStr | StrictInt | None = None
    question: StrictStr | Chat | None = None
    prompt: StrictStr | Chat | None = None
    target: StrictStr | _Number | None = None
    answer: StrictStr | _Number | None = None
    split: Split | None = None
    grader: Grader | None = None
    choices: tuple[str, ...] | None = None


class QuestionTask:
    """The questions of a file, each with the grader that its row names or its target suggests.

    math    compared by math-verify: numbers, LaTeX, expressions
    choice  the last well-formed letter: "answer is B", "\\boxed{B}", "(B)", a line of its own
    exact   the whole reply or its last line, whatever the case and the blanks

    Without `grader` a target that is one letter from A to J is a choice, one that reads as a number
    or an expression is math, and any other is exact. `choices` are written below the question
    unless it holds them already; the target may then be a letter, a choice's text, or its number
    from 0.

    Args:
        path: JSON Lines, plain or `.gz`, or parquet.

    Raises:
        BadInput: no such file, no rows, a row that is no question, an id that comes twice, or a
            question that stands in two splits; the message names the file and the line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        read = [
            _read(values, f"{self.name}:{number}", default_id=f"{Path(path).name}:{number}")
            for number, values in read_table(path)
        ]
        if not read:
            raise BadInput("holds no questions", where=self.name, fix="check the file")
        _check_ids(read)
        homes = _homes(read)
        self._splits: dict[Split, list[Example]] = {split: [] for split in SPLITS}
        for question in read:
            self._splits[homes[question.text]].append(question.example)

    def examples(self, split: str, limit: int, seed: int = 0) -> Iterator[Example]:
        """Draws `limit` different rows; a smaller limit draws a prefix of a larger one.

        Raises:
            BadInput: an unknown split, or more rows than the split holds.
        """
        check_draw(split, limit, where=self.name)
        most = self.capped(split, limit)
        if limit > most:
            raise BadInput(
                f"{limit} examples asked, but {split!r} has only {most} questions",
                where=self.name,
                fix="lower the limit or bring more rows",
            )
        drawn = list(self._of(split))
        random.Random(f"{split}/{seed}").shuffle(drawn)
        return iter(drawn[:limit])

    def capped(self, split: str, limit: int) -> int:
        """`limit`, or the number of rows in the split where that is smaller."""
        check_draw(split, 0, where=self.name)
        return min(limit, len(self._of(split)))

    def _of(self, split: str) -> list[Example]:
        return next(rows for name, rows in self._splits.items() if name == split)

    def verify(self, example: Example, reply: str) -> Verdict:
        """By the example's grader; None where it finds nothing to grade."""
        return grade(example, reply, by=self.name)

    def gold(self, example: Example) -> str:
        """The target, as a careful model would write it."""
        return right_reply(example)

    def wrong(self, example: Example) -> str:
        """Another choice, the next number, another row's target, or an altered one."""
        others = [other for rows in self._splits.values() for other in rows if other != example]
        near = random.Random(example.id).sample(others, min(8, len(others)))
        for reply in wrong_replies(example, near):
            if self.verify(example, reply).score == 0.0:
                return reply
        raise BadInput("no wrong answer could be made up", where=f"{self.name}, {example.id}")


@dataclass(frozen=True)
class _Question:
    """An example with what decides its split: what its row says, else its text."""

    example: Example
    split: Split | None
    text: str
    where: str


def _check_ids(read: Sequence[_Question]) -> None:
    first: dict[str, str] = {}
    for question in read:
        id = question.example.id
        if id in first:
            raise BadInput(
                f"the id {id!r} comes twice (first at {first[id]})",
                where=question.where,
                fix="give every row an id of its own",
            )
        first[id] = question.where


def _homes(read: Sequence[_Question]) -> dict[str, Split]:
    """The one split of every question, whatever number of rows ask it."""
    named: dict[str, _Question] = {}
    homes: dict[str, Split] = {}
    for question in read:
        if question.split is None:
            continue
        first = named.setdefault(question.text, question)
        if first.split != question.split:
            raise BadInput(
                f"the question is in {question.split!r} here and in {first.split!r} at "
                f"{first.where}",
                where=question.where,
                fix="name one split for both",
            )
        homes[question.text] = question.split
    for question in read:
        homes.setdefault(question.text, split_of(question.text))
    return homes


def _read(values: dict[str, Any], where: str, *, default_id: str) -> _Question:
    try:
        row = _Row.model_validate({name: without_nulls(value) for name, value in values.items()})
    except ValidationError as error:
        asked = error.errors()[0]["loc"][0] in ("question", "prompt")
        raise BadInput(
            f"not a question: {explain(error)}",
            where=where,
            fix='write text, or a chat: [{"role": "user", "content": "..."}]' if asked else "",
        ) from None
    prompt = row.question if row.question is not None else row.prompt
    target = row.target if row.target is not None else row.answer
    chat = user(prompt) if isinstance(prompt, str) else prompt
    if not chat or not any(turn.content.strip() for turn in chat):
        raise BadInput("the row has no question", where=where, fix="fill in question or prompt")
    if target is None or not str(target).strip():
        raise BadInput("the row has no target", where=where, fix="fill in target or answer")
    # Case and blanks make no other question of it, and neither do other choices.
    text = " ".join(" ".join(turn.content for turn in chat).split()).casefold()
    chat, wanted, meta = answered(chat, target, choices=row.choices, grader=row.grader, where=where)
    id = default_id if row.id is None else str(row.id)
    example = Example(id=id, prompt=chat, target=wanted, meta=meta)
    return _Question(example, row.split, text, where)


def answered(
    chat: Chat,
    target: str | float,
    *,
    choices: tuple[str, ...] | None = None,
    grader: Grader | None = None,
    where: str = "",
) -> tuple[Chat, str, dict[str, Any]]:
    """What an example of a question and its answer holds: the prompt, the target, and the meta.

    Raises:
        BadInput: the target is no choice; `where` says of what.
    """
    meta: dict[str, Any] = {}
    if choices is not None:
        meta["choices"] = list(choices)
        wanted = _chosen(choices, target, where)
        chat = _with_choices(chat, choices)
    else:
        wanted = _target(target)
    meta["grader"] = grader or ("choice" if choices else default_grader(wanted))
    if meta["grader"] == "choice" and wanted not in set(_LETTERS):
        raise BadInput(
            f"the target {wanted!r:.40} is no choice", where=where, fix="write a letter from A to J"
        )
    return chat, wanted, meta


def _target(target: str | float) -> str:
    if isinstance(target, float):
        return format(Decimal(repr(target)), "f")
    text = str(target)
    return (text.rpartition("####")[2] or text).strip()


def _chosen(choices: tuple[str, ...], target: str | float, where: str) -> str:
    """The letter of the choice that the target names by letter, text or number."""
    if not 2 <= len(choices) <= len(_LETTERS):
        raise BadInput(f"{len(choices)} choices", where=where, fix=f"give 2 to {len(_LETTERS)}")
    letters = _LETTERS[: len(choices)]
    texts = [" ".join(choice.split()).casefold() for choice in choices]
    text = " ".join(_target(target).split())
    found = {letters[i] for i, choice in enumerate(texts) if choice == text.casefold()}
    if isinstance(target, str) and len(text) == 1 and text.upper() in letters:
        found.add(text.upper())
    if isinstance(target, int) and 0 <= target < len(choices):
        found.add(letters[target])
    if len(found) != 1:
        how = "names no choice" if not found else f"may be {' or '.join(sorted(found))}"
        raise BadInput(f"the target {text!r:.40} {how}", where=where, fix="write its letter")
    return found.pop()


def _with_choices(chat: Chat, choices: tuple[str, ...]) -> Chat:
    """The choices below the last turn, unless it holds all of them."""
    *before, last = chat
    if all(choice in last.content for choice in choices):
        return chat
    lines = [f"({letter}) {choice}" for letter, choice in zip(_LETTERS, choices, strict=False)]
    content = "\n".join([last.content, "", *lines])
    return (*before, last.model_copy(update={"content": content}))
