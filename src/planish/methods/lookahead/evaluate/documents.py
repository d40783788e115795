"""Documents as tokens, and batches of them that need no padding.

found = documents([task], tokenizer, split="report", number=20, seeds=(0,))
for batch in batches(found, size=8): ...
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planish.errors import BadInput
from planish.methods.lookahead.data import Need
from planish.models.local_prompts import PromptWriter
from planish.records import Example
from planish.tasks.base import Task

__all__ = ["Document", "batches", "documents", "needs_of"]

_SPARE = 2
"""Tokens of a reply beyond the task's own: an end, and one that should not be there."""


@dataclass(frozen=True)
class Document:
    """One example, ready to be read by a model.

    Args:
        id: unique over tasks and seeds; the item that intervals are drawn over.
        prompt_ids: its tokens, the last one included that the reply follows.
        max_tokens: of a reply.
        needs: which context tokens each token of the answer needs; None: the task does not tell.
    """

    id: str
    task: Task
    seed: int
    family: str
    example: Example
    prompt_ids: tuple[int, ...]
    max_tokens: int
    needs: tuple[Need, ...] | None = None


def documents(
    tasks: Sequence[Task],
    tokenizer: Any,
    *,
    split: str,
    number: int,
    seeds: Sequence[int],
    where: str = "model",
    max_tokens: int | None = None,
) -> list[Document]:
    """`number` examples of each task and seed.

    Raises:
        BadInput: two of one name, a prompt of a single token, or none at all.
    """
    writer = PromptWriter(tokenizer, where)
    found: dict[str, Document] = {}
    for task in tasks:
        for seed in seeds:
            for example in task.examples(split, number, seed):
                document = _document(task, example, seed, writer, max_tokens)
                if document.id in found:
                    raise BadInput(
                        "comes twice", where=document.id, fix="name every task and seed once"
                    )
                found[document.id] = document
    if not found:
        raise BadInput("no examples", where=f"split {split}", fix="ask for at least one")
    return list(found.values())


def _document(
    task: Task, example: Example, seed: int, writer: PromptWriter, max_tokens: int | None
) -> Document:
    name = f"{task.name}/{seed}/{example.id}"
    text = writer.write(example.prompt)
    prompt_ids, gold_ids = writer.encode_reply(text, task.gold(example))
    if len(prompt_ids) < 2:
        raise BadInput("the prompt has fewer than two tokens", where=name)
    return Document(
        id=name,
        task=task,
        seed=seed,
        family=str(example.meta.get("family") or task.name),
        example=example,
        prompt_ids=tuple(prompt_ids),
        max_tokens=max_tokens or len(gold_ids) + _SPARE,
        needs=needs_of(example, text, prompt_ids, gold_ids, writer.tokenizer, where=name),
    )


def needs_of(
    example: Example,
    text: str,
    prompt_ids: Sequence[int],
    gold_ids: Sequence[int],
    tokenizer: Any,
    *,
    where: str = "",
) -> tuple[Need, ...] | None:
    """Which tokens of the prompt each token of the answer needs, as far as the task tells.

    `meta["needs"]` holds, for each part of the answer, its first word in the answer, its first
    word in the last user turn, and how many words it has.

    Args:
        text: the prompt as one text; prompt_ids: its tokens.
        gold_ids: of the answer.

    Returns:
        None where the task does not tell, a part hangs on all of the context, or the tokenizer
        does not tell which words its tokens are.

    Raises:
        BadInput: needs that are no such triples, or lie outside the prompt or the answer.
    """
    raw = example.meta.get("needs")
    if not raw or not isinstance(raw, list) or not tokenizer.is_fast:
        return None
    triples = [_triple(each, where) for each in raw]
    if any(begin < 0 for _, begin, _ in triples):
        return None
    content = example.prompt[-1].content
    answer = tokenizer.decode(list(gold_ids))
    heads = _word_tokens(tokenizer, text, text.rfind(content), content, prompt_ids)
    tails = _word_tokens(tokenizer, answer, 0, answer, gold_ids)
    if heads is None or tails is None:
        return None
    found: list[Need] = []
    for first, begin, words in triples:
        if begin + words > len(heads) or first >= len(tails):
            raise BadInput("a need lies outside the text", where=where)
        span = heads[begin][0], heads[begin + words - 1][1]
        last = tails[min(first + words, len(tails)) - 1][1]
        found += [(token, *span) for token in range(tails[first][0], last)]
    return tuple(found)


def _triple(raw: Any, where: str) -> tuple[int, int, int]:
    whole = isinstance(raw, list | tuple) and len(raw) == 3
    if not whole or not all(type(number) is int for number in raw) or raw[0] < 0 or raw[2] < 1:
        raise BadInput(
            f"cannot read the need {str(raw)[:60]}",
            where=where,
            fix="write [first word in the answer, first word in the prompt, words]",
        )
    return raw[0], raw[1], raw[2]


def _word_tokens(
    tokenizer: Any, text: str, start: int, part: str, ids: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Tokens [first, behind the last) of every word of `part`, which begins at `start` of `text`.

    None where the tokens of the text are not the given ones.
    """
    told = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    opening = len(ids) - len(told["input_ids"])
    if start < 0 or opening < 0 or list(ids[opening:]) != told["input_ids"]:
        return None
    begins = [begin for begin, _ in told["offset_mapping"]]
    ends = [end for _, end in told["offset_mapping"]]
    return [
        (
            opening + bisect_right(ends, start + word.start()),
            opening + bisect_left(begins, start + word.end()),
        )
        for word in re.finditer(r"\S+", part)
    ]


def batches(found: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Documents of one length and family together, in their order, at most `size` at once.

    Equal lengths need no padding, and equal families have replies of about one length.
    """
    groups: dict[tuple[int, str, str], list[Document]] = {}
    for document in found:
        key = len(document.prompt_ids), document.task.name, document.family
        groups.setdefault(key, []).append(document)
    for group in groups.values():
        for first in range(0, len(group), size):
            yield group[first : first + size]
