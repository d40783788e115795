"""The idea of labelling: a policy's replies to a prompt, their scores, and the pair they make.

    item = make_item(example, completions, task)
    pair = choose(item, verifier_scored(item), by="verifier", margin=0.25)

Only whole replies are paired: one that was cut would teach the policy to end there. Judge,
verifier and chance go the same way from the same replies, so that their labels can be compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from planish.judges.templates import question_text
from planish.records import (
    BadInput,
    Chat,
    Completion,
    Example,
    Pair,
    Record,
    explain,
    read_table,
    user,
    without_nulls,
)
from planish.tasks.base import Task
from planish.training.rewards import SAME, Reply, Scored, distinct, preference, random_scores

__all__ = [
    "By",
    "Item",
    "choose",
    "make_item",
    "random_scored",
    "read_prompts",
    "row",
    "verifier_scored",
]

By = Literal["judge", "verifier", "random"]


@dataclass(frozen=True)
class Item:
    """A prompt with every reply drawn to it.

    Args:
        example: what was asked.
        completions: the draws.
        verified: the verifier's score of each draw; None where nothing could be told.
    """

    example: Example
    completions: Sequence[Completion]
    verified: Sequence[float | None]

    @cached_property
    def replies(self) -> list[Reply]:
        """The different whole replies."""
        whole = [why_unused(draw) is None for draw in self.completions]
        return distinct(
            draw.text if good else None for draw, good in zip(self.completions, whole, strict=True)
        )

    def right(self, sample: int) -> bool | None:
        """Whether a draw is right; None where nothing could be told."""
        score = self.verified[sample]
        return None if score is None else score == 1


def why_unused(draw: Completion) -> str | None:
    """Why a draw is no reply to be paired; None if it is one."""
    if draw.finish == "error":
        return "no reply"
    if draw.finish == "length":
        return "cut at the budget"
    return None if draw.text.strip() else "empty"


def make_item(example: Example, completions: Sequence[Completion], task: Task | None) -> Item:
    """A prompt with its draws; each different text is verified once."""
    scores: dict[str, float | None] = {}
    if task is not None:
        for draw in completions:
            if draw.finish != "error" and draw.text not in scores:
                scores[draw.text] = task.verify(example, draw.text).score
    return Item(
        example,
        completions,
        [None if draw.finish == "error" else scores.get(draw.text) for draw in completions],
    )


def verifier_scored(item: Item) -> Scored:
    """What the verifier gives for each reply."""
    return Scored([item.verified[reply.samples[0]] for reply in item.replies])


def random_scored(item: Item, *, seed: int) -> Scored:
    """Scores that say nothing."""
    return Scored(random_scores(item.replies, f"{seed}\0{item.example.id}"))


def choose(item: Item, scored: Scored, *, by: By, margin: float) -> Pair | str:
    """Best against worst, or why there is no pair."""
    if not item.replies:
        [(why, _)] = Counter(map(why_unused, item.completions)).most_common(1)
        return f"no whole reply: {why}"
    found = preference(item.example.prompt, item.replies, scored.scores, margin=margin)
    if by != "verifier" or isinstance(found, Pair) or found == SAME:
        return found
    told = [score for score in scored.scores if score is not None]
    if not told:
        return "not verified"
    if max(told) < 1:
        return "never right"
    return "never wrong" if min(told) == 1 else found


def row(item: Item, pair: Pair, labels: Mapping[str, Any]) -> dict[str, Any]:
    """As TRL's DPO trainer reads it: conversational `prompt`, `chosen` and `rejected`.

    Args:
        item: the prompt.
        pair: of its replies.
        labels: where the label comes from.
    """
    samples: dict[str, Any] = {side: pair.meta[f"{side}_sample"] for side in ("chosen", "rejected")}
    return {
        "prompt": [{"role": turn.role, "content": turn.content} for turn in pair.prompt],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        "item_id": item.example.id,
        "question": question_text(pair.prompt),
        "source": "reward",
        **labels,
        **pair.meta,
        **{f"right_{side}": item.right(sample) for side, sample in samples.items()},
    }


class _Prompt(Record):
    """What is read of a row of prompts."""

    id: str
    prompt: str | Chat


def read_prompts(path: Path) -> list[Example]:
    """Prompts from JSON Lines or parquet: `prompt` or `question`, text or a chat, and an `id`.

    Raises:
        BadInput: no such file, no rows, a row without a prompt, or an id that comes twice; the
            message names the file and the line.
    """
    examples: dict[str, Example] = {}
    for number, values in read_table(path):
        where = f"{path}:{number}"
        prompt = without_nulls(values.get("prompt") or values.get("question"))
        if not prompt:
            raise BadInput("the row has no prompt", where=where, fix="fill in prompt or question")
        id = values.get("id", values.get("item_id"))
        id = f"{path.name}:{number}" if id is None else str(id)
        try:
            read = _Prompt.model_validate({"id": id, "prompt": prompt})
        except ValidationError as error:
            raise BadInput(
                f"not a prompt: {explain(error)}",
                where=where,
                fix='write text, or a chat: [{"role": "user", "content": "..."}]',
            ) from None
        if id in examples:
            raise BadInput(f"the id {id!r} comes twice", where=where, fix="give each its own")
        chat = user(read.prompt) if isinstance(read.prompt, str) else read.prompt
        examples[id] = Example(id=id, prompt=chat)
    if not examples:
        raise BadInput("holds no prompts", where=str(path), fix="check the file")
    return list(examples.values())
