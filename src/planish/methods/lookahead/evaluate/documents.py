"""Documents as tokens, and batches of them that need no padding.

found = documents([task], tokenizer, split="report", number=20, seeds=(0,))
for batch in batches(found, size=8): ...
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from planish.errors import BadInput
from planish.methods.lookahead.data import Need
from planish.methods.lookahead.dumping.needs import needs_of
from planish.models.local_prompts import PromptWriter
from planish.records import Example
from planish.tasks.base import Task

__all__ = ["Document", "batches", "documents"]

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
    told, content = example.meta.get("needs"), example.prompt[-1].content
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
        needs=needs_of(told, content, text, prompt_ids, gold_ids, writer.tokenizer, where=name),
    )


def batches(found: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Documents that may be read at once, in order, at most `size` of them.

    Together come only those whose answers do not hang on one another: of one length, which needs
    no padding; of one task, family and seed; with replies of one length, because what a share buys
    depends on it; and either all or none of which the task tells what they need.
    """
    groups: dict[tuple[object, ...], list[Document]] = {}
    for document in found:
        key = (
            len(document.prompt_ids), document.task.name, document.family, document.seed,
            document.max_tokens, document.needs is None,
        )  # fmt: skip
        groups.setdefault(key, []).append(document)
    for group in groups.values():
        for first in range(0, len(group), size):
            yield group[first : first + size]
