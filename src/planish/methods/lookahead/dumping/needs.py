"""What the task says that its answer needs, from words to tokens.

    needs_of(example.meta.get("needs"), content, text, prompt_ids, answer_ids, tokenizer)

A task counts words, because it knows no tokenizer.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from planish.methods.lookahead.data import Need
from planish.records import BadInput

__all__ = ["needs_of"]


def needs_of(
    raw: Any,
    content: str,
    text: str,
    prompt_ids: Sequence[int],
    answer_ids: Sequence[int],
    tokenizer: Any,
    *,
    where: str = "",
) -> tuple[Need, ...] | None:
    """Which tokens of the prompt each token of the answer needs.

    Args:
        raw: `Example.meta["needs"]`: [first word in the answer, first word in the context, words]
            for each part of the answer.
        content: the last user turn. text: the whole prompt; prompt_ids: its tokens.

    Returns:
        None where the task does not tell, a part hangs on all of the context (a word at -1), or
        the tokenizer does not tell which words its tokens are.

    Raises:
        BadInput: needs that are no such triples, or lie outside the text.
    """
    if not raw or not isinstance(raw, list) or not tokenizer.is_fast:
        return None
    triples = [_triple(each, where) for each in raw]
    if any(begin < 0 for _, begin, _ in triples):
        return None
    answer = tokenizer.decode(list(answer_ids))
    heads = _words(tokenizer, text, text.rfind(content), content, prompt_ids)
    tails = _words(tokenizer, answer, 0, answer, answer_ids)
    if heads is None or tails is None:
        return None
    found: list[Need] = []
    for first, begin, words in triples:
        if begin + words > len(heads) or first >= len(tails):
            raise BadInput("a need lies outside the text", where=where)
        behind = tails[min(first + words, len(tails)) - 1][1]
        span = heads[begin][0], heads[begin + words - 1][1]
        found += [(token, *span) for token in range(tails[first][0], behind)]
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


def _words(
    tokenizer: Any, text: str, start: int, part: str, ids: Sequence[int]
) -> list[tuple[int, int]] | None:
    """Tokens [first, behind the last) of each word of `part`, which begins at `start` of `text`."""
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
