"""Log-probabilities of replies: the half of a local model that writes nothing.

    scorer = Scorer(prompts, batches, name="hf:./checkpoint", max_positions=2048)
    scorer.score([scorer.row(0, prompts.prepare(user("2 + 2?")), "4")])

Shape suffixes: B rows, T positions, V vocabulary, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from planish.models.local_batches import Batches, Row
from planish.models.local_prompts import Prompt, PromptWriter
from planish.records import BadInput, TokenScores
from planish.sampling import log_softmax, token_logprobs

__all__ = ["Scorer", "check_labels", "check_prompt", "too_long"]

Result = TypeVar("Result")


class Scorer:
    """Scores rows, several at once.

    Args:
        prompts: makes rows of chats.
        batches: runs them.
        name: of the model, for what is refused.
        max_positions: the model's context; None: without a bound.
    """

    def __init__(
        self, prompts: PromptWriter, batches: Batches, *, name: str, max_positions: int | None
    ) -> None:
        self._prompts, self._batches = prompts, batches
        self._name, self._max_positions = name, max_positions

    def row(self, index: int, prompt: Prompt, reply: str) -> Row:
        """A prompt and a reply, to be scored."""
        prompt_ids, reply_ids = self._prompts.encode_reply(prompt.text, reply)
        return Row(index, prompt_ids, reply_ids, sight=prompt.sight)

    def score(self, rows: Sequence[Row]) -> list[TokenScores]:
        """Log-probabilities of every row's reply, in the order of `row.index` = 0, 1, ..."""
        results = [TokenScores(token_ids=(), logprobs=(), greedy=True)] * len(rows)
        waiting = [row for row in rows if row.reply_ids]
        for batch, scores in self._scored(waiting, self._score_batch):
            for row, (logprobs, greedy) in zip(batch, scores, strict=True):
                results[row.index] = TokenScores(
                    token_ids=tuple(row.reply_ids), logprobs=tuple(logprobs), greedy=greedy
                )
        return results

    def _score_batch(self, batch: Sequence[Row]) -> list[tuple[list[float], bool]]:
        inputs = self._batches.inputs(batch)
        longest = max(len(row.reply_ids) for row in batch)
        # The logits before a token are its prediction, so the last ones predict nothing here.
        logits_BTV = self._batches.logits(keep=longest + 1, **inputs)[:, :-1]
        reply_BT = inputs["input_ids"][:, -longest:]
        logprobs_BT = token_logprobs(logits_BTV, reply_BT)
        likeliest_BT = logits_BTV.argmax(-1) == reply_BT
        starts = [longest - len(row.reply_ids) for row in batch]
        return [
            (logprobs_T[start:].tolist(), bool(likeliest_T[start:].all()))
            for start, logprobs_T, likeliest_T in zip(
                starts, logprobs_BT, likeliest_BT, strict=True
            )
        ]

    def single_tokens(self, by_chat: Sequence[Sequence[Row]]) -> list[tuple[float, ...]]:
        """One forward pass per chat: all labels are read from the same last logits."""
        label_ids = {rows[0].index: [row.reply_ids[0] for row in rows] for rows in by_chat}

        def run(batch: Sequence[Row]) -> list[tuple[float, ...]]:
            inputs = self._batches.inputs(batch)
            logp_BV = log_softmax(self._batches.logits(keep=1, **inputs)[:, -1])
            ids_BL = torch.tensor([label_ids[row.index] for row in batch], device=logp_BV.device)
            return [tuple(logp_L) for logp_L in logp_BV.gather(-1, ids_BL).tolist()]

        results: list[tuple[float, ...]] = [()] * len(by_chat)
        prompts = [replace(rows[0], reply_ids=[]) for rows in by_chat]
        for batch, scores in self._scored(prompts, run):
            for row, logprobs in zip(batch, scores, strict=True):
                results[row.index] = logprobs
        return results

    def _scored(
        self, rows: Sequence[Row], run: Callable[[Sequence[Row]], list[Result]]
    ) -> Iterator[tuple[Sequence[Row], list[Result]]]:
        for row in rows:
            check_prompt(row.prompt_ids, self._name)
            if why := too_long(len(row.prompt_ids), len(row.reply_ids), self._max_positions):
                raise BadInput(why, where=f"{self._name}, text {row.index + 1}")
        for batch, scores in self._batches.run(rows, run):
            if scores is None:
                raise BadInput(
                    "one text alone does not fit into the memory",
                    where=f"{self._name}, text {batch[0].index + 1}",
                    fix="use a smaller dtype or device=cpu",
                )
            yield batch, scores


def too_long(prompt_tokens: int, more_tokens: int, bound: int | None) -> str:
    """What is wrong with so many tokens in a context of `bound`; empty: nothing."""
    if bound is None or prompt_tokens + more_tokens <= bound:
        return ""
    return (
        f"the prompt's {prompt_tokens} tokens and {more_tokens} more exceed "
        f"the model's context of {bound}"
    )


def check_prompt(prompt_ids: Sequence[int], name: str) -> None:
    """Refuses a prompt without tokens.

    Raises:
        BadInput: it is empty.
    """
    if not prompt_ids:
        raise BadInput("the prompt is empty", where=name, fix="write something")


def check_labels(labels: Sequence[str], rows: Sequence[Row], name: str) -> None:
    """Refuses labels that a tokenizer cannot tell apart.

    Raises:
        BadInput: one is empty, or two look the same.
    """
    seen: dict[tuple[int, ...], str] = {}
    for label, row in zip(labels, rows, strict=True):
        ids = tuple(row.reply_ids)
        if not ids or ids in seen:
            what = "is empty" if not ids else f"looks the same as {seen[ids]!r}"
            raise BadInput(
                f"label {label!r} {what} to the tokenizer of {name}",
                where="labels",
                fix="use labels that differ in this tokenizer's vocabulary",
            )
        seen[ids] = label
