"""Any Hugging Face language model on this machine, seeing ones too: replies and log-probabilities.

    model = LocalModel("./checkpoint", name="hf:./checkpoint")
    model.generate([user("2 + 2?")], Sampling(temperature=0))
    model.label_logprobs([user("Which is better, A or B?")], ("A", "B"), prefix="[[")
    model.generate([(Message(role="user", content="A cat?", images=("cat.png",)),)], Sampling())

Batches are padded on the left and change nothing: in float32 a batch gives what single calls
give, greedy or seeded. In bfloat16 two nearly equal logits may change places with the shape of
the batch. How chats become prompts, for base models too, is told in `local_prompts`; how images
get into them, in `vision_prompts`; how replies are scored, in `local_scoring`. With a memory
(`memory.loading`), replies are decoded through it; scores stay dense.

Shape suffixes: B rows, T positions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig

from planish.models.base import Watcher
from planish.models.local_batches import Batches, Row
from planish.models.local_decoding import NextToken, StopAtText, row_seed
from planish.models.local_loading import Checkpoint, fingerprint, open_checkpoint
from planish.models.local_prompts import PromptWriter, continued
from planish.models.local_scoring import Scorer, check_labels, check_prompt, too_long
from planish.records import (
    BadInput,
    Chat,
    Completion,
    Failure,
    Sampling,
    TokenScores,
    Usage,
)

if TYPE_CHECKING:
    from planish.models.memory.loading import Memory

__all__ = ["LocalModel"]


class LocalModel:
    """A causal language model in this process.

    Args:
        path: a folder that `save_pretrained` wrote, or a Hub id such as `Qwen/Qwen3-4B`.
        name: what the user typed, such as `hf:Qwen/Qwen3-4B`.
        device: by default "cuda" where there is one, else "cpu".
        dtype: "auto" (as saved), "float32", "bfloat16" or "float16"; by default "auto" on a
            GPU and "float32" on the CPU.
        batch_size: rows at once. Halved for good when a GPU's memory does not hold them.
        checkpoint: what is open already, in place of `path`, `device` and `dtype`; the model
            loses its own generation settings.
        memory: decodes with a part of the keys and values; see `memory.loading`.

    Raises:
        BadInput: nothing usable is there; see `local_loading.open_checkpoint`.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int = 8,
        checkpoint: Checkpoint | None = None,
        memory: Memory | None = None,
    ) -> None:
        if batch_size < 1:
            raise BadInput(f"must be at least 1, not {batch_size}", where="batch_size")
        self.path, self.name, self.memory = path, name, memory
        options: dict[str, Any] = {"device": device, "dtype": dtype, "images": True}
        self._checkpoint = checkpoint or open_checkpoint(path, **options)
        self.model, self.tokenizer = self._checkpoint.model, self._checkpoint.tokenizer
        # Whatever the checkpoint recommends (temperature, top_k, penalties) must not leak into
        # what was asked for: `generate` fills every gap of a request from here.
        self.model.generation_config = _plain_config()
        self._prompts, self._batches = _senses(self._checkpoint, name, batch_size)
        self._scorer = Scorer(
            self._prompts,
            self._batches,
            name=name,
            max_positions=self._checkpoint.max_positions,
        )
        self._ignored_ids = frozenset(self.tokenizer.all_special_ids)

    @property
    def checkpoint(self) -> Checkpoint:
        """What is open, for those who look inside."""
        return self._checkpoint

    @property
    def batch_size(self) -> int:
        """Rows at once, as far as the memory turned out to hold them."""
        return self._batches.size

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer has a chat template; without one this is a base model."""
        return self.tokenizer.chat_template is not None

    @cached_property
    def revision(self) -> str:
        """Hash of the folder's weights and tokenizer, or the Hub's commit; the dtype, a memory."""
        dense = f"{fingerprint(self.path, self.model)}-{self._checkpoint.dtype}"
        return dense if self.memory is None else f"{dense}-lookahead-{self.memory.identity}"

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """See `LanguageModel.generate`.

        A sample depends on the prompt's tokens and images, the seed and its index, not on the
        batch, so a resumed or reordered run draws the same. With stop strings, `text` ends
        before the string and `token_ids` with the token that completes this text.
        `usage.seconds` is the row's share of its batch.

        A chat that does not fit into the model's context together with `max_tokens` comes back
        as `finish="error"` with a failure of the kind "context"; nothing is ever cut.

        Raises:
            BadInput: an image that cannot be read, or any for a text-only model; a chat that the
                template refuses, an empty stop string, or `max_tokens` that leave no room.
        """
        watcher = watcher or Watcher()
        self._check_sampling(sampling)
        empty = Completion(text="", finish="error")
        results = [[empty] * sampling.n for _ in chats]
        rows: list[Row] = []
        for index, chat in enumerate(chats):
            prompt = self._prompts.prepare(chat)
            ids = self._prompts.encode(prompt.text)
            check_prompt(ids, self.name)
            rows += [Row(index, ids, [], sample, prompt.sight) for sample in range(sampling.n)]

        def finish(row: Row, completion: Completion) -> None:
            for failure in completion.failures:
                watcher.failed(row.index, row.sample, failure)
            results[row.index][row.sample] = completion
            watcher.completed(row.index, row.sample, completion)

        fitting, bound = [], self._checkpoint.max_positions
        for row in rows:
            if why := too_long(len(row.prompt_ids), sampling.max_tokens, bound):
                finish(row, _failed("context", why))
            else:
                fitting.append(row)
        for alike in self._alike(fitting):
            for batch, completions in self._batches.run(alike, lambda b: self._draw(b, sampling)):
                if completions is None:
                    lost = _failed("out of memory", "one row alone does not fit into the memory")
                    completions = [lost] * len(batch)
                for row, completion in zip(batch, completions, strict=True):
                    finish(row, completion)
        return results

    def logprobs(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[TokenScores]:
        """See `ScoringModel.logprobs`. No end-of-sequence token is added to a reply.

        Raises:
            BadInput: as `generate`, and for a prompt and reply longer than the context.
        """
        rows = []
        for index, (chat, reply) in enumerate(zip(chats, replies, strict=True)):
            rows.append(self._scorer.row(index, self._prompts.prepare(chat), reply))
        return self._scorer.score(rows)

    def label_logprobs(
        self, chats: Sequence[Chat], labels: Sequence[str], prefix: str = "[["
    ) -> list[tuple[float, ...]]:
        """See `ScoringModel.label_logprobs`.

        Raises:
            BadInput: as `logprobs`, and for labels that this tokenizer cannot tell apart.
        """
        if not labels:
            raise BadInput("there are none", where="labels", fix="give at least one")
        by_chat: list[list[Row]] = []
        for index, chat in enumerate(chats):
            prompt = self._prompts.prepare(continued(chat, prefix))
            rows = [self._scorer.row(index, prompt, label) for label in labels]
            check_labels(labels, rows, self.name)
            by_chat.append(rows)
        if all(len(row.reply_ids) == 1 for rows in by_chat for row in rows):
            return self._scorer.single_tokens(by_chat)
        flat = [
            replace(row, index=place)
            for place, row in enumerate(row for rows in by_chat for row in rows)
        ]
        totals = iter([scores.total for scores in self._scorer.score(flat)])
        return [tuple(next(totals) for _ in rows) for rows in by_chat]

    # -- generation ---------------------------------------------------------------------------

    def _draw(self, batch: Sequence[Row], sampling: Sampling) -> list[Completion]:
        begin = time.perf_counter()
        inputs = self._batches.inputs(batch)
        prompt_length = inputs["input_ids"].shape[1]
        hooks: dict[str, list[Any]] = {"logits_processor": [], "stopping_criteria": []}
        next_token = stop_at = None
        if sampling.temperature > 0 or sampling.logprobs:
            next_token = self._next_token(batch, sampling)
            hooks["logits_processor"].append(next_token)
        if sampling.stop:
            stop_at = StopAtText(self.tokenizer, sampling.stop, prompt_length, self._ignored_ids)
            hooks["stopping_criteria"].append(stop_at)
        with torch.inference_mode(), self._decoding():
            output_BT = self.model.generate(
                **inputs,
                generation_config=_plain_config(
                    max_new_tokens=sampling.max_tokens,
                    do_sample=False,
                    eos_token_id=list(self._checkpoint.eos_ids),
                    pad_token_id=self._checkpoint.pad_id,
                ),
                **hooks,
            )
        replies = output_BT[:, prompt_length:].tolist()
        logprobs_BT = next_token.logprobs_BT() if next_token else None
        share = (time.perf_counter() - begin) / len(batch)
        completions = []
        for index, (row, generated) in enumerate(zip(batch, replies, strict=True)):
            length = stop_at.lengths.get(index) if stop_at else None
            logprobs = None if logprobs_BT is None else logprobs_BT[index].tolist()
            completion = self._completion(generated[:length], logprobs, sampling.stop)
            usage = Usage(
                prompt_tokens=len(row.prompt_ids),
                completion_tokens=completion.usage.completion_tokens,
                seconds=share,
            )
            completions.append(completion.model_copy(update={"usage": usage}))
        return completions

    def _alike(self, rows: Sequence[Row]) -> list[list[Row]]:
        """Rows that may share a batch: in a memory, padding by whole chunks moves no chunk."""
        memory = self.memory
        chunk = 1 if memory is None else memory.chunk_tokens
        groups: dict[int, list[Row]] = {}
        for row in rows:
            padded = memory is None or memory.pads
            groups.setdefault(len(row) % chunk if padded else len(row), []).append(row)
        return list(groups.values())

    def _decoding(self) -> AbstractContextManager[Any]:
        return nullcontext() if self.memory is None else self.memory.decoding(self.model)

    def _next_token(self, batch: Sequence[Row], sampling: Sampling) -> NextToken:
        def seed(row: Row) -> int:
            first = sampling.seed
            seen = row.sight.digest if row.sight else b""
            return row_seed(None if first is None else first + row.sample, row.prompt_ids, seen)

        return NextToken(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seeds=[seed(row) for row in batch],
            keep_logprobs=sampling.logprobs,
            device=self.model.device,
        )

    def _completion(
        self, generated: list[int], logprobs: list[float] | None, stop: Sequence[str]
    ) -> Completion:
        """Cuts a row at its end token and its text at the first stop string."""
        ends = [place for place, i in enumerate(generated) if i in self._checkpoint.eos_ids]
        ids = generated[: ends[0]] if ends else generated
        text = self._decode(ids)
        cuts = [place for string in stop if (place := text.find(string)) >= 0]
        if cuts:
            text = text[: min(cuts)]
            while ids and self._decode(ids[:-1]).startswith(text):
                ids = ids[:-1]
        return Completion(
            text=text,
            token_ids=tuple(ids),
            logprobs=None if logprobs is None else tuple(logprobs[: len(ids)]),
            finish="stop" if ends or cuts else "length",
            # The end token was computed too.
            usage=Usage(completion_tokens=ends[0] + 1 if ends else len(generated)),
        )

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    # -- checks -------------------------------------------------------------------------------

    def _check_sampling(self, sampling: Sampling) -> None:
        if "" in sampling.stop:
            raise BadInput("a stop string is empty", where="stop", fix="leave it out")
        bound = self._checkpoint.max_positions
        most = sampling.max_tokens
        if bound is not None and most >= bound:
            raise BadInput(
                f"max_tokens={most} leaves no room for a prompt in a context of {bound}",
                where=self.name,
                fix="lower max_tokens",
            )


def _senses(opened: Checkpoint, name: str, size: int) -> tuple[PromptWriter, Batches]:
    if opened.processor is not None:
        from planish.models.vision_batches import senses

        return senses(opened, name, size)
    writer = PromptWriter(opened.tokenizer, name, blind=opened.blind)
    return writer, Batches(opened.model, pad_id=opened.pad_id, size=size)


def _failed(kind: str, message: str) -> Completion:
    failure = Failure(attempt=1, kind=kind, message=message)
    return Completion(text="", finish="error", failures=(failure,))


def _plain_config(**options: Any) -> Any:
    """A generation config without anybody's recommendations."""
    make: Any = GenerationConfig
    return make(**options)
