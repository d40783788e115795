"""Documents to dump: from a task or a file, as tokens, each with the model's own continuation.

    for batch in batches(items_of_task("recall:ruler:2048", "train", 200, 0), 8, wanted):
        for text in continued(model, batch, 160, skipped): ...

What the indexer meets in use are tokens that the model decodes, so every document goes on with
the model's greedy continuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.lookahead.dumping.attending import Text
from planish.methods.lookahead.dumping.needs import needs_of
from planish.records import BadInput, Chat, Sampling, read_jsonl, user
from planish.tasks.base import split_of
from planish.tasks.load import load_task

if TYPE_CHECKING:
    from planish.models.local import LocalModel

__all__ = [
    "Item",
    "Skipped",
    "batches",
    "continued",
    "items_of_file",
    "items_of_task",
    "local_model",
]

_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Item:
    """A document before it is tokens.

    Args:
        needs: what the task says about it, in words; None: nothing. gold: the task's own answer.
    """

    id: str
    chat: Chat
    needs: Any = None
    gold: str = ""


@dataclass
class Skipped:
    """Documents that were left out, by reason."""

    too_long: int = 0
    too_short: int = 0
    twice: int = 0
    other_split: int = 0
    reasons: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All of them."""
        return self.too_long + self.too_short + self.twice + self.other_split


def items_of_task(spec: str, split: str, limit: int, seed: int) -> Iterator[Item]:
    """The examples of a task, with what it says that its answers need.

    Raises:
        BadInput: no such task or split, or needs that cannot be read.
    """
    task = load_task(spec)
    for example in task.examples(split, limit, seed):
        needs = example.meta.get("needs")
        gold = "" if needs is None else task.gold(example)
        yield Item(f"{task.name}/{example.id}", example.prompt, needs, gold)


def items_of_file(
    path: Path, split: str, limit: int | None, skipped: Skipped | None = None
) -> Iterator[Item]:
    """The documents of a JSON Lines file: {"text": ...} or {"prompt": ...}, and an "id" if any.

    A document is in a split by its text, so that no other split of the same file holds it.

    Raises:
        BadInput: a line without text or with half a character, or an id that was there before.
    """
    found = 0
    seen: set[str] = set()
    for number, row in read_jsonl(path):
        given = row.get("id")
        name = f"{path.name}:{number}" if given is None else str(given)
        text = row.get("text", row.get("prompt"))
        if not isinstance(text, str) or not text.strip():
            raise BadInput(
                "holds no text", where=f"{path}:{number}", fix='write {"text": "..."} on each line'
            )
        if _HALF.search(name + text):
            raise BadInput(
                "holds half of a character", where=f"{path}:{number}", fix="mend or remove the line"
            )
        if name in seen:
            raise BadInput(
                f"id {name[:60]!r} was there before",
                where=f"{path}:{number}",
                fix="give each its own",
            )
        seen.add(name)
        if split_of(text) != split:
            if skipped is not None:
                skipped.other_split += 1
            continue
        if limit is not None and found >= limit:
            return
        found += 1
        yield Item(name, user(text))


def local_model(spec: str) -> LocalModel:
    """A model whose layers can be looked into.

    Raises:
        BadInput: it is not on this machine, or cannot be opened.
    """
    from planish.models.load import load

    model: Any = load(spec)
    if not hasattr(model, "checkpoint"):
        raise BadInput(
            f"{spec} shows no hidden states",
            where="--model",
            fix="give a local model: hf:PATH-OR-ID or embedded:recall",
        )
    found: LocalModel = model
    return found


def continued(
    model: LocalModel, items: Sequence[Item], tokens: int, skipped: Skipped
) -> Iterator[Text]:
    """The items as tokens, each with what the model decodes after it, at most `tokens`.

    An item that does not fit into the model's context is left out and counted.
    """
    from planish.models.local_prompts import PromptWriter

    writer = PromptWriter(model.tokenizer, model.name)
    written = [writer.write(item.chat) for item in items]
    replies: list[tuple[int, ...]] = [()] * len(items)
    if tokens:
        drawn = model.generate(
            [item.chat for item in items], Sampling(temperature=0.0, max_tokens=tokens)
        )
        for index, (completion,) in enumerate(drawn):
            if completion.finish == "error":
                skipped.too_long += 1
                skipped.reasons.append(f"{items[index].id}: does not fit into the model's context")
                replies[index] = (-1,)
            else:
                replies[index] = completion.token_ids or ()
    for item, text, reply in zip(items, written, replies, strict=True):
        if reply != (-1,):
            yield _as_tokens(writer, item, text, reply)


def _as_tokens(writer: Any, item: Item, text: str, reply: tuple[int, ...]) -> Text:
    prompt: list[int] = writer.encode(text)
    if item.needs is None:
        return Text(item.id, prompt, reply)
    _, gold = writer.encode_reply(text, item.gold)
    agreed = 0
    while agreed < min(len(gold), len(reply)) and gold[agreed] == reply[agreed]:
        agreed += 1
    needs = needs_of(
        item.needs, item.chat[-1].content, text, prompt, gold, writer.tokenizer, where=item.id
    )
    return Text(item.id, prompt, reply, needs, agreed)


def batches(
    items: Iterable[Item], size: int, wanted: Callable[[str], bool]
) -> Iterator[list[Item]]:
    """The items that are wanted, by id, so many at a time."""
    waiting: list[Item] = []
    for item in items:
        if wanted(item.id):
            waiting.append(item)
        if len(waiting) == size:
            yield waiting
            waiting = []
    if waiting:
        yield waiting
