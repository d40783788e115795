"""Runs rows through a model, several at once, and halves the batch when memory runs out.

    batches = Batches(model, pad_id=0, size=8)
    for batch, results in batches.run([Row(0, [5, 6]), Row(1, [7])], lambda batch: ...):
        ...

Shape suffixes: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from planish.models.local_prompts import Sight
from planish.models.memory.native_topk import is_deepseek

__all__ = ["Batches", "Row"]

# Logits of one batch: 2^28 in float32 are 1 GiB.
_LOGITS_AT_ONCE = 2**28

Result = TypeVar("Result")


@dataclass(frozen=True)
class Row:
    """One row of a batch: a prompt, and the sample to be drawn or the reply to be scored.

    `index` is where its result belongs; `sight` is what the prompt shows.
    """

    index: int
    prompt_ids: list[int]
    reply_ids: list[int] = field(default_factory=list)
    sample: int = 0
    sight: Sight | None = None

    @property
    def ids(self) -> list[int]:
        """Prompt and reply."""
        return self.prompt_ids + self.reply_ids

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.reply_ids)


class Batches:
    """Left-padded batches for one model.

    Args:
        model: a causal language model.
        pad_id: what fills the rows up; masked, so any token will do.
        size: rows at once; halved for good when a GPU's memory does not hold them.
    """

    def __init__(self, model: Any, *, pad_id: int, size: int) -> None:
        self.model, self.pad_id, self.size = model, pad_id, size
        self._options = frozenset(inspect.signature(model.forward).parameters)
        self._vocabulary: int = model.config.get_text_config().vocab_size
        # DeepSeek-V4's compressed entries begin at the first column, padding included.
        self._pads = not is_deepseek(model)
        # Qwen's models count positions along an image's rows and columns, and do so themselves.
        self._places_images = hasattr(getattr(model, "model", None), "get_rope_index")

    def run(
        self, rows: Sequence[Row], work: Callable[[Sequence[Row]], list[Result]]
    ) -> Iterator[tuple[Sequence[Row], list[Result] | None]]:
        """Rows of similar length together, the longest first, so that a lack of memory shows
        at once; of equal length where the model cannot be padded. Yields each batch with its
        results, and None for a row that does not fit alone.
        """
        waiting = sorted(rows, key=lambda row: -len(row))
        while waiting:
            batch = waiting[: self.rows_at_once(waiting[: self.size])]
            if not self._pads:
                batch = [row for row in batch if len(row) == len(batch[0])]
            results: list[Result] | None = None
            try:
                results = work(batch)
            except torch.OutOfMemoryError:
                fits = False
            else:
                fits = True
            if not fits:
                # Outside of the handler: the traceback there still holds the batch's tensors.
                torch.cuda.empty_cache()
                if len(batch) > 1:
                    self.size = len(batch) // 2
                    continue
            yield batch, results
            waiting = waiting[len(batch) :]

    def inputs(self, batch: Sequence[Row]) -> dict[str, Tensor]:
        """All that the model is called with, first of all `input_ids` and `attention_mask`."""
        ids_BT, mask_BT = self.left_padded(batch)
        return {"input_ids": ids_BT, "attention_mask": mask_BT}

    def left_padded(self, batch: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Token ids (B, T) and attention mask (B, T) on the model's device."""
        width = max(map(len, batch))
        ids_BT = torch.full((len(batch), width), self.pad_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for place, row in enumerate(batch):
            ids_BT[place, width - len(row) :] = torch.tensor(row.ids, dtype=torch.long)
            mask_BT[place, width - len(row) :] = 1
        return ids_BT.to(self.model.device), mask_BT.to(self.model.device)

    def logits(
        self, input_ids: Tensor, attention_mask: Tensor, keep: int, **more: Tensor
    ) -> Tensor:
        """Logits (B, keep, V) of the last `keep` positions; the others are never computed.

        `more` is what else came from `inputs`.
        """
        return self._forward(input_ids, attention_mask, keep, more)[0]

    def logits_and_states(
        self, input_ids: Tensor, attention_mask: Tensor, keep: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same with the hidden states (B, keep, H) after every layer."""
        return self._forward(input_ids, attention_mask, keep, {}, output_hidden_states=True)

    def _forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        keep: int,
        more: Mapping[str, Tensor],
        **asked: bool,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        options: dict[str, Any] = {**more, **asked}
        if "position_ids" in self._options and not (more and self._places_images):
            options["position_ids"] = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        if "logits_to_keep" in self._options:
            options["logits_to_keep"] = keep
        with torch.inference_mode():
            output = self.model(
                input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **options
            )
        states = getattr(output, "hidden_states", None) or ()
        return output.logits[:, -keep:], tuple(state[:, -keep:] for state in states[1:])

    def rows_at_once(self, rows: Sequence[Row]) -> int:
        """How many of the rows' logits are computed at once, from the first on."""
        positions = max(len(row.reply_ids) for row in rows) + 1
        return max(1, min(len(rows), _LOGITS_AT_ONCE // (positions * self._vocabulary)))
