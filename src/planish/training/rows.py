"""Training rows from files to token ids: what is trained on is what the model sees when it is used.

    >>> rows = read_rows("dpo.jsonl", "dpo")                          # doctest: +SKIP
    >>> encoder = Encoder(tokenizer, "hf:./checkpoint")               # doctest: +SKIP
    >>> encode_all(rows, encoder, max_length=None, context=4096)      # doctest: +SKIP

A row holds `prompt` and `completion` (SFT), or `prompt`, `chosen` and `rejected` (DPO, and a
scalar reward head), as TRL names them: chats, or strings that are taken as they are. Chats are
written and encoded by the same code that prompts the model later (`models.local_prompts`), and a
reply ends with the token at which generation stops. Nothing is ever cut: a row that does not fit
is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from planish.models.local_prompts import PromptWriter, end_id
from planish.records import BadInput, Chat, Record, explain, read_table, without_nulls

__all__ = [
    "COLUMNS",
    "EncodedRow",
    "Encoder",
    "Kind",
    "Row",
    "data_file",
    "encode_all",
    "read_rows",
    "split_batch",
]

Kind = Literal["sft", "dpo", "scalar"]

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "sft": ("completion",),
    "dpo": ("chosen", "rejected"),
    "scalar": ("chosen", "rejected"),
}
"""The reply columns of each kind of row; the first one is the one to learn."""

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


class _Fields(Record):
    """What a row is checked against; strings are raw text, chats go through the template."""

    prompt: str | Chat
    replies: tuple[str | Chat, ...]


@dataclass(frozen=True)
class Row:
    """One training row as it was read.

    Args:
        id: the item it belongs to; its place in the file if it has none.
        prompt: a chat, or raw text.
        replies: one for each of `COLUMNS`, as text.
        gold: the right verdict, where the row says it.
        where: file and line.
        question: what the prompt is about, where the row says it.
    """

    id: str
    prompt: str | Chat
    replies: tuple[str, ...]
    gold: str | None
    where: str
    question: str | None = None

    @property
    def prompt_text(self) -> str:
        """The whole prompt as one text."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n\n".join(turn.content for turn in self.prompt)


@dataclass(frozen=True)
class EncodedRow:
    """Token ids of a row; the replies in the order of `COLUMNS`, each with its end token."""

    prompt_ids: list[int]
    reply_ids: tuple[list[int], ...]

    @property
    def length(self) -> int:
        """Tokens of the prompt with its longest reply."""
        return len(self.prompt_ids) + max(map(len, self.reply_ids))

    @property
    def num_tokens(self) -> int:
        """Tokens of all its sequences: the prompt stands before each reply."""
        return len(self.prompt_ids) * len(self.reply_ids) + sum(map(len, self.reply_ids))


def data_file(path: Path, kind: Kind) -> Path:
    """The file of rows that `path` names: itself, or in a folder the one called after `kind`.

    Raises:
        BadInput: nothing there, or no such file in the folder.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise BadInput("no such file or folder", where=str(path), fix="check the path")
    for suffix in _SUFFIXES:
        if (path / f"{kind}{suffix}").is_file():
            return path / f"{kind}{suffix}"
    raise BadInput(
        f"the folder holds no {kind} rows",
        where=str(path),
        fix=f"name the file, or call it {kind}.jsonl or {kind}.parquet",
    )


def read_rows(path: Path, kind: Kind) -> list[Row]:
    """Reads the rows of a JSON Lines or parquet file.

    Raises:
        BadInput: a row that is not of this kind, by file and line; no rows; gold labels that all
            name one verdict; chosen and rejected that are the same.
    """
    columns = COLUMNS[kind]
    rows = [_row(value, columns, f"{path}:{number}") for number, value in read_table(path)]
    if not rows:
        raise BadInput("holds no rows", where=str(path), fix="check the file")
    _check_gold(rows, path)
    same = [row for row in rows if len(set(row.replies)) < len(row.replies)]
    if same:
        raise BadInput(
            f"chosen and rejected are the same in {len(same)} of {len(rows)} rows, "
            f"first {same[0].id}",
            where=same[0].where,
            fix="leave such pairs out: they teach nothing",
        )
    return rows


def _row(value: dict[str, Any], columns: Sequence[str], where: str) -> Row:
    lacking = [name for name in ("prompt", *columns) if value.get(name) is None]
    if lacking:
        raise BadInput(
            f"the row has no {lacking[0]!r}",
            where=where,
            fix=f"a row needs prompt, {' and '.join(columns)}",
        )
    try:
        fields = _Fields.model_validate(
            {
                "prompt": without_nulls(value["prompt"]),
                "replies": [without_nulls(value[name]) for name in columns],
            }
        )
    except ValidationError as error:
        raise BadInput(
            f"not a row for training: {explain(error)}",
            where=where,
            fix='write texts, or lists of {"role": ..., "content": ...}',
        ) from None
    replies = tuple(
        _reply(reply, name, where) for name, reply in zip(columns, fields.replies, strict=True)
    )
    meta = value.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    ids = (value.get("id"), value.get("item_id"), meta.get("item_id"), meta.get("id"))
    id = next((id for id in ids if id is not None and id != ""), where)
    gold = value.get("gold") or meta.get("gold")
    if gold is not None and not isinstance(gold, str):
        raise BadInput(
            f"gold must be a text, not {gold!r:.40}",
            where=where,
            fix='write "A" or "B", or leave it out',
        )
    question = value.get("question") or meta.get("question")
    return Row(
        id=str(id),
        prompt=fields.prompt,
        replies=replies,
        gold=gold,
        where=where,
        question=question if isinstance(question, str) else None,
    )


def _reply(reply: str | Chat, name: str, where: str) -> str:
    if isinstance(reply, str):
        text = reply
    elif len(reply) == 1 and reply[0].role == "assistant":
        text = reply[0].content
    else:
        raise BadInput(
            f"{name} must be one assistant turn", where=where, fix="put earlier turns into prompt"
        )
    if not text.strip():
        raise BadInput(f"{name} is empty", where=where, fix="leave the row out")
    return text


def _check_gold(rows: Sequence[Row], path: Path) -> None:
    """Of the rows that are judgments; rows of other work beside them name no verdict."""
    judgments = [row for row in rows if row.gold is not None]
    if len(judgments) > 1 and len({row.gold for row in judgments}) == 1:
        raise BadInput(
            f"all {len(judgments)} rows have gold {judgments[0].gold}, first {judgments[0].id}",
            where=str(path),
            fix="train on both orders: one class teaches a slot, not a judgment",
        )


class Encoder:
    """Turns rows into the token ids that the model sees when it is used.

    Args:
        tokenizer: of the model that is trained.
        where: the model's name, for messages.
        whole: for a reward head: every reply is the whole conversation as the template ends it,
            and the prompt is empty.

    Attributes:
        end_id: the token a reply ends with: what the chat template writes after an assistant's
            turn, or the end of sequence.
    """

    def __init__(self, tokenizer: Any, where: str, *, whole: bool = False) -> None:
        self.tokenizer, self.where, self._whole = tokenizer, where, whole
        self._prompts = PromptWriter(tokenizer, where)
        self.end_id = end_id(tokenizer)

    def encode(self, row: Row) -> EncodedRow:
        """Token ids of the prompt, and of each reply with its end token.

        Raises:
            BadInput: a chat that the template refuses.
        """
        if isinstance(row.prompt, str):
            return self._raw(row.prompt, row.replies)
        if self._whole:
            conversations = (self._prompts.whole(row.prompt, reply) for reply in row.replies)
            return EncodedRow([], tuple(conversations))
        text = self._prompts.write(row.prompt)
        encoded = [self._prompts.encode_reply(text, reply) for reply in row.replies]
        return EncodedRow(
            self._prompts.encode(text), tuple(self._ended(reply_ids) for _, reply_ids in encoded)
        )

    def _raw(self, prompt: str, replies: Sequence[str]) -> EncodedRow:
        """Strings as TRL reads them: special tokens by name are the tokens."""

        def ids(text: str, special: bool) -> list[int]:
            found: list[int] = self.tokenizer(text, add_special_tokens=special, verbose=False)[
                "input_ids"
            ]
            return found

        # Only what opens a document is wanted here; some tokenizers also close it.
        prompt_ids = ids(prompt, False)
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids("", True)[:1] == [bos] and prompt_ids[:1] != [bos]:
            prompt_ids = [bos, *prompt_ids]
        return EncodedRow(prompt_ids, tuple(self._ended(ids(reply, False)) for reply in replies))

    def _ended(self, reply_ids: list[int]) -> list[int]:
        return reply_ids if reply_ids[-1:] == [self.end_id] else [*reply_ids, self.end_id]


def encode_all(
    rows: Sequence[Row], encoder: Encoder, *, max_length: int | None, context: int | None
) -> list[EncodedRow]:
    """Encodes every row and makes sure that each fits.

    Args:
        max_length: longest row that is allowed; None for the model's context.
        context: what the model can hold; None where there is no bound.

    Raises:
        BadInput: a row that is longer, with its item, its length and what is needed.
    """
    encoded = [_told(encoder, row) for row in rows]
    bound = min(limit for limit in (max_length, context, 1 << 60) if limit is not None)
    longer = [
        (row, ids.length) for row, ids in zip(rows, encoded, strict=True) if ids.length > bound
    ]
    if longer:
        (first, length), longest = longer[0], max(length for _, length in longer)
        if context is not None and longest > context:
            limit = f"the model's context of {context}" if bound == context else f"{bound}"
            fix = f"the longest needs {longest}: leave such rows out or use a model that holds them"
        else:
            limit, fix = f"max_length {bound}", f"use --max-length {longest}"
        raise BadInput(
            f"item {first.id} has {length} tokens, more than {limit}; "
            f"{len(longer)} of {len(rows)} rows are too long and nothing is cut",
            where=first.where,
            fix=fix,
        )
    same = [
        row
        for row, ids in zip(rows, encoded, strict=True)
        if len(ids.reply_ids) == 2 and ids.reply_ids[0] == ids.reply_ids[1]
    ]
    if same:
        raise BadInput(
            f"chosen and rejected are the same tokens in {len(same)} rows, first {same[0].id}",
            where=same[0].where,
            fix="leave such pairs out: they teach nothing",
        )
    return encoded


def _told(encoder: Encoder, row: Row) -> EncodedRow:
    try:
        return encoder.encode(row)
    except BadInput as error:
        raise BadInput(f"item {row.id}: {error.what}", where=row.where, fix=error.fix) from None


def split_batch(batch_size: int, micro_batch_size: int | None, num_processes: int) -> int:
    """Rows that one process takes at once, so that all of them make up `batch_size` a step.

    Raises:
        BadInput: it does not come out even.
    """
    share, rest = divmod(batch_size, num_processes)
    if rest or not share:
        raise BadInput(
            f"{batch_size} rows a step do not divide among {num_processes} processes",
            where="batch size",
            fix=f"use a multiple of {num_processes}",
        )
    micro = min(micro_batch_size or share, share)
    if share % micro:
        raise BadInput(
            f"{share} rows a step and process are no multiple of {micro} at once",
            where="--micro-batch-size",
            fix=f"use a divisor of {share}",
        )
    return micro
