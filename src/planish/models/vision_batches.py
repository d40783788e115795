"""Batches for a model that sees: rows with as many images each, and text beside text.

batches = VisionBatches(model, writer, pad_id=0, size=8)        as `local_batches.Batches`

Images are opened and prepared batch by batch, so that memory does not grow with their number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from torch import Tensor

from planish.models.local_batches import Batches, Row
from planish.models.local_loading import Checkpoint
from planish.models.vision_prompts import VisionWriter

__all__ = ["VisionBatches", "senses"]

Result = TypeVar("Result")


class VisionBatches(Batches):
    """Left-padded batches of one vision-language model.

    Args:
        model: a vision-language model.
        writer: what wrote the rows' prompts.
        pad_id: what fills the rows up; masked, so any token will do.
        size: rows at once; halved for good when a GPU's memory does not hold them.
    """

    def __init__(self, model: Any, writer: VisionWriter, *, pad_id: int, size: int) -> None:
        super().__init__(model, pad_id=pad_id, size=size)
        self._writer = writer

    def run(
        self, rows: Sequence[Row], work: Callable[[Sequence[Row]], list[Result]]
    ) -> Iterator[tuple[Sequence[Row], list[Result] | None]]:
        """As `Batches.run`, the rows with the most images first.

        Not every processor takes a chat without an image beside one with, and some fill the
        missing ones up with black.
        """
        for _, group in itertools.groupby(sorted(rows, key=_images, reverse=True), _images):
            yield from super().run(list(group), work)

    def inputs(self, batch: Sequence[Row]) -> dict[str, Tensor]:
        """All that the model is called with, the pixels included, on the model's device."""
        if not _images(batch[0]):
            return super().inputs(batch)
        found = {}
        for name, tensor in self._writer.inputs(batch).items():
            # Processors make more than every model reads, and `generate` refuses the rest.
            if name in self._options:
                dtype = self.model.dtype if tensor.is_floating_point() else tensor.dtype
                found[name] = tensor.to(self.model.device, dtype)
        return found


def senses(opened: Checkpoint, name: str, size: int) -> tuple[VisionWriter, VisionBatches]:
    """What writes the prompts of a checkpoint that sees, and what runs them.

    Args:
        opened: with a processor.
        name: the model's name, for messages.
        size: rows at once.
    """
    writer = VisionWriter(opened.processor, name, pad_id=opened.pad_id)
    return writer, VisionBatches(opened.model, writer, pad_id=opened.pad_id, size=size)


def _images(row: Row) -> int:
    return len(row.sight.images) if row.sight else 0
