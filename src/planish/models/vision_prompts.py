"""From chats with images to what a vision-language model is called with.

    writer = VisionWriter(processor, "hf:./checkpoint", pad_id=0)
    prompt = writer.prepare((Message(role="user", content="What is it?", images=("cat.png",)),))
    row = Row(0, writer.encode(prompt.text), sight=prompt.sight)
    model.generate(**writer.inputs([row]))

The checkpoint's own processor does the work: it prepares the pixels, puts the tokens of an image
in place of its placeholder and adds what the architecture wants to know of them. Only the
tokenizer in it is wrapped, so that the text keeps the promises of `local_prompts`: a message that
mentions `<image>` shows none.

- Images stand before the text of their message, in their order.
- A template that takes only text gets one placeholder per image, each on a line of its own.
- A base model, without a template, gets them right before the text.

Shape suffixes: B rows, T positions.
"""

from __future__ import annotations

import copy
import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from planish.models.local_batches import Row
from planish.models.local_prompts import Prompt, PromptWriter, Sight
from planish.models.pictures import open_picture
from planish.records import BadInput, Chat

__all__ = ["VisionWriter"]

_SHOWN = 200


class VisionWriter(PromptWriter):
    """Writes, encodes and completes the prompts of one processor.

    Args:
        processor: with an image processor and a tokenizer.
        where: the model's name, for messages.
        pad_id: what fills batches up on the left.
    """

    def __init__(self, processor: Any, where: str, *, pad_id: int) -> None:
        tokenizer = processor.tokenizer
        names = {*_token_names(processor), *_token_names(tokenizer)}
        super().__init__(tokenizer, where, blind="", names=names)
        self._spelling = _Spelling(tokenizer, self.encode, pad_id)
        self.processor = copy.copy(processor)
        self.processor.tokenizer = self._spelling
        self._placeholder: str = getattr(processor, "image_token", None) or ""

    def prepare(self, chat: Chat) -> Prompt:
        """The prompt with the tokens of every image in it; see `PromptWriter.write`.

        Raises:
            BadInput: an image that cannot be read or used, or a chat that the template cannot
                express.
        """
        text = self.write(chat)
        images = tuple(image for message in chat for image in message.images)
        if not images:
            return Prompt(text)
        pictures = [open_picture(image) for image in images]
        digest = hashlib.sha256()
        for picture in pictures:
            digest.update(f"{picture.size}:".encode() + picture.tobytes())
        found = self._process([text], [pictures], [[]])
        prompt = Prompt(self._spelling.texts[0], Sight(text, images, digest.digest()))
        if found["input_ids"][0].tolist() != self.encode(prompt.text):
            raise self._unsupported()
        return prompt

    def inputs(self, batch: Sequence[Row]) -> dict[str, Tensor]:
        """All that the processor makes of rows with as many images each, padded on the left;
        replies stand behind their prompts.

        Raises:
            BadInput: an image that cannot be read any more, or has become another.
        """
        sights = [row.sight for row in batch if row.sight is not None]
        found = self._process(
            [sight.text for sight in sights],
            [[open_picture(image) for image in sight.images] for sight in sights],
            [row.reply_ids for row in batch],
        )
        for row, ids_T in zip(batch, found["input_ids"].tolist(), strict=True):
            if ids_T[-len(row) :] != row.ids:
                raise BadInput(
                    "the image has changed while it was being worked on",
                    where=row.sight.images[0][:_SHOWN] if row.sight else self.where,
                    fix="run it again",
                )
        return found

    def _process(
        self, texts: list[str], pictures: list[list[Any]], replies: list[list[int]]
    ) -> dict[str, Tensor]:
        self._spelling.replies = replies
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what transformers does to its own arrays
                found = self.processor(
                    text=texts, images=pictures, padding=True, return_tensors="pt"
                )
        except (ValueError, TypeError, IndexError, KeyError, StopIteration) as error:
            reason = " ".join(str(error).split())[:_SHOWN]
            count = len(pictures[0])
            raise BadInput(
                f"the processor refuses a chat with {count} image{'s'[: count - 1]} ({reason})",
                where=self.where,
                fix="check the images and the chat template",
            ) from error
        if not isinstance(found.get("input_ids"), Tensor):
            raise self._unsupported()
        found.pop("labels", None)  # for training
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}

    def _unsupported(self) -> BadInput:
        return BadInput(
            "its processor writes prompts in a way that is not supported",
            where=self.where,
            fix="name a model whose processor puts image tokens in place of a placeholder",
        )

    # -- text -----------------------------------------------------------------------------------

    def _plain(self, text: str, split: bool) -> list[int]:
        ids = super()._plain(text, split)
        # Tokenizers split only the tokens that are marked as special; not every placeholder is.
        if split and len(ids) == 1 and len(text) > 1:
            return super()._plain(text[:1], True) + super()._plain(text[1:], True)
        return ids

    def _content(self, text: str, images: int) -> Any:
        if self._takes_parts:
            return [*[{"type": "image"}] * images, {"type": "text", "text": text}]
        if images and not self._placeholder:
            raise BadInput(
                "neither its chat template nor its processor says where an image stands",
                where=self.where,
                fix="name a model whose template takes images",
            )
        line = "" if self.tokenizer.chat_template is None else "\n"
        return f"{self._placeholder}{line}" * images + text

    def _reads_parts(self) -> bool:
        # Only in a list of parts there is a place for an image.
        return self._shows(in_parts=True)


class _Spelling:
    """The tokenizer inside of a processor: encodes as a `PromptWriter` does, pads on the left and
    puts the replies behind. Whatever else it is asked, the real tokenizer answers.
    """

    def __init__(self, tokenizer: Any, encode: Callable[[str], list[int]], pad_id: int) -> None:
        self._tokenizer, self._encode, self._pad_id = tokenizer, encode, pad_id
        self.replies: list[list[int]] = []
        """Ids behind the texts that come next."""
        self.texts: list[str] = []
        """The texts that came last, with their images' tokens."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: str | Sequence[str], **options: Any) -> Any:
        self.texts = [text] if isinstance(text, str) else list(text)
        rows = [
            self._encode(text) + reply for text, reply in zip(self.texts, self.replies, strict=True)
        ]
        width = max(map(len, rows))

        def padded(value: int, lists: list[list[int]]) -> list[list[int]]:
            return [[value] * (width - len(each)) + each for each in lists]

        data = {
            "input_ids": padded(self._pad_id, rows),
            "attention_mask": padded(0, [[1] * len(row) for row in rows]),
        }
        if options.get("return_token_type_ids"):
            # PaliGemma reads its prompt both ways, and what stands behind it in order.
            ends = [len(reply) for reply in self.replies]
            data["token_type_ids"] = padded(0, [[1] * end for end in ends])
        return _encoded(data, options.get("return_tensors"))


def _encoded(data: dict[str, list[list[int]]], tensors: str | None) -> Any:
    from transformers import BatchEncoding

    class Encoded(BatchEncoding):
        def char_to_token(self, *_: Any) -> int:
            # Idefics 3 asks for it to make token types, which its model does not read.
            return 0

    make: Any = Encoded
    return make(data, tensor_type=tensors)


def _token_names(holder: Any) -> Iterator[str]:
    """Texts with a meaning: `image_token`, `boi_token`, `global_image_tag` and their kind."""
    for name in dir(holder):
        if name.endswith(("_token", "_tag")) and not name.startswith("_"):
            value = getattr(holder, name, None)
            if isinstance(value, str) and value:
                yield value
