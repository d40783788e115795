"""From chats to tokens, for checkpoints with and without a chat template.

    prompts = PromptWriter(tokenizer, "hf:./checkpoint")
    text = prompts.write(chat)
    prompt_ids, reply_ids = prompts.encode_reply(text, "[[A]]")

- A chat that ends with the assistant is continued, to the last space of what it says.
- A template that refuses a system turn (Gemma's) gets it at the head of the first user turn.
- A base model has no template. It sees the messages' texts joined by blank lines, with one more
  blank line before its own; a chat with an earlier assistant or tool turn is refused, because
  nothing would tell the speakers apart.
- Text is only text: `<|im_end|>` inside a message or a reply is spelled out, it never becomes
  the token that ends a turn.
- Images are refused here; `vision_prompts` writes the prompts of models that see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from planish.records import BadInput, Chat, Message

__all__ = ["TEXT_ONLY", "Prompt", "PromptWriter", "Sight", "Turn", "continued", "end_id"]

TEXT_ONLY = "this checkpoint is text-only"
"""Why a model takes no images, as the line says it that refuses one."""

# A code point that Unicode keeps free for uses like this. It stands on both sides of a special
# token's name that a message merely mentions, and behind the name's first character, so that
# nobody who looks for the name finds it there.
_MARK = "\ufdd0"
_JOINT = "\n\n"
_PROBE = "text-to-be-found"

Turn = tuple[str, str, int]
"""A message on its way into a template: role, marked text, number of images."""

_End = Literal["open", "continued", "closed"]  # the assistant's turn: begun, in its middle, over


@dataclass(frozen=True)
class Sight:
    """What a prompt shows.

    `text` is the prompt as the template wrote it, with one placeholder per image; `digest` is a
    hash of the images' pixels.
    """

    text: str
    images: tuple[str, ...]
    digest: bytes


@dataclass(frozen=True)
class Prompt:
    """A prompt as one text for `PromptWriter.encode`, and what it shows, if anything."""

    text: str
    sight: Sight | None = None


class PromptWriter:
    """Writes and encodes the prompts of one tokenizer.

    Args:
        tokenizer: any Hugging Face tokenizer.
        where: the model's name, for messages.
        blind: why the model takes no images.
        names: what else must stay text besides the tokenizer's special tokens.
    """

    def __init__(
        self, tokenizer: Any, where: str, *, blind: str = TEXT_ONLY, names: Iterable[str] = ()
    ) -> None:
        self.tokenizer, self.where, self._blind = tokenizer, where, blind
        special = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        known = sorted({*special, *tokenizer.all_special_tokens, *names}, key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, known)) or "(?!)")
        hidden = "|".join(re.escape(_hidden(name)) for name in known) or "(?!)"
        self._marked = re.compile(f"({hidden})|{_MARK}")
        # A template writes the token that opens a document; without one, nobody else would.
        bos = tokenizer.bos_token_id
        opens = tokenizer.chat_template is None and bos in tokenizer("")["input_ids"]
        self._opening: list[int] = [bos] if opens else []
        self._takes_parts = self._reads_parts()

    def write(self, chat: Chat) -> str:
        """The prompt as one text, up to where the model goes on. Feed it to `encode` only.

        Raises:
            BadInput: an empty chat, images, or a chat that the template cannot express.
        """
        if not chat:
            raise BadInput("the chat is empty", where=self.where)
        if self._blind and any(message.images for message in chat):
            raise BadInput(
                f"{self._blind} and the chat holds an image",
                where=self.where,
                fix="use a model that sees, or leave the image out",
            )
        turns = self._turns(chat)
        if self.tokenizer.chat_template is None:
            return self._join(turns)
        return self._render(turns)

    def _turns(self, chat: Chat) -> list[Turn]:
        return [
            (message.role, self._mark(message.content), len(message.images)) for message in chat
        ]

    def prepare(self, chat: Chat) -> Prompt:
        """The prompt with all that it shows; see `write`."""
        return Prompt(self.write(chat))

    def encode(self, text: str) -> list[int]:
        """Token ids of a text from `write`."""
        return self._opening + self._encode(text)

    def encode_reply(self, text: str, reply: str) -> tuple[list[int], list[int]]:
        """Token ids of a prompt from `write`, and of a reply to it, with a stable boundary.

        Both are encoded together, as the model would have written them, unless a token then
        spans the boundary: in that case the reply is encoded alone.
        """
        prompt_ids, marked = self.encode(text), self._mark(reply)
        both_ids = self.encode(text + marked)
        if both_ids[: len(prompt_ids)] == prompt_ids:
            return prompt_ids, both_ids[len(prompt_ids) :]
        return prompt_ids, self._encode(marked)

    def whole(self, chat: Chat, reply: str) -> list[int]:
        """Token ids of a conversation that is over, to the last token that the template writes.

        A reward head reads that token, and the usual templates write a line end behind the one
        that ends the turn. Where nothing ends the turn, that token is added.

        Raises:
            BadInput: as `write`.
        """
        prompt, turns = self.write(chat), self._turns(chat)
        end, answer = end_id(self.tokenizer), self._mark(reply)
        if turns[-1][0] == "assistant":
            answer = turns.pop()[1] + answer
        turns.append(("assistant", answer, 0))
        if self.tokenizer.chat_template is None:
            return [*self.encode(self._join(turns)), end]
        ids = self.encode(self._apply(turns, "closed"))
        return ids if ids.count(end) > self.encode(prompt).count(end) else [*ids, end]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for index, piece in enumerate(self._marked.split(text)):
            if piece:
                # Every second piece stood between marks: the name of a token, not the token.
                named = index % 2 == 1
                ids += self._plain(piece.replace(_MARK, "") if named else piece, named)
        return ids

    def _plain(self, text: str, split: bool) -> list[int]:
        ids: list[int] = self.tokenizer(
            text, add_special_tokens=False, split_special_tokens=split, verbose=False
        )["input_ids"]
        return ids

    def _mark(self, content: str) -> str:
        # Half a surrogate pair, as JSON may hold, is no text: no tokenizer takes it.
        content = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._special.sub(lambda found: _hidden(found[0]), content)

    def _join(self, turns: list[Turn]) -> str:
        if any(role in ("assistant", "tool") for role, *_ in turns[:-1]):
            raise BadInput(
                "this checkpoint has no chat template, and the chat has several turns",
                where=self.where,
                fix="use a chat model, or write the chat as one user turn",
            )
        text = _JOINT.join(self._content(content, images) for _, content, images in turns)
        return text if turns[-1][0] == "assistant" else text + _JOINT

    def _render(self, turns: list[Turn]) -> str:
        last_role, last, last_images = turns[-1]
        # Nothing to continue: an empty prefix is the same as none.
        if last_role == "assistant" and not last.strip() and not last_images and len(turns) > 1:
            return self._apply(turns[:-1], "open") + last
        if last_role != "assistant":
            return self._apply(turns, "open")
        # Many templates trim the turns they write, but the model goes on behind the last space.
        return self._apply(turns, "continued").rstrip() + last[len(last.rstrip()) :]

    def _apply(self, turns: list[Turn], end: _End) -> str:
        from jinja2 import TemplateError

        try:
            return self._template(turns, end)
        except (TemplateError, ValueError) as error:
            refusal = error
        if len(turns) > 1 and [role for role, *_ in turns[:2]] == ["system", "user"]:
            (_, system, above), (_, first, below), *others = turns
            folded: list[Turn] = [("user", system + _JOINT + first, above + below), *others]
            try:
                return self._template(folded, end)
            except (TemplateError, ValueError) as error:
                refusal = error
        reason = " ".join(str(refusal).replace(_MARK, "").split())[:160]
        raise BadInput(
            f"the chat template refuses this chat ({reason})",
            where=self.where,
            fix="check the roles and their order",
        ) from refusal

    def _template(self, turns: list[Turn], end: _End) -> str:
        text: str = self.tokenizer.apply_chat_template(
            [
                {"role": role, "content": self._content(content, images)}
                for role, content, images in turns
            ],
            tokenize=False,
            continue_final_message=end == "continued",
            add_generation_prompt=end == "open",
        )
        return text

    def _content(self, text: str, images: int) -> Any:
        """What stands in a message, as the template wants it."""
        return [{"type": "text", "text": text}] if self._takes_parts else text

    def _reads_parts(self) -> bool:
        """Whether the template must be given a message as a list of parts.

        Those of some models that see do, and write nothing where the message is a text.
        """
        return not self._shows(in_parts=False) and self._shows(in_parts=True)

    def _shows(self, *, in_parts: bool) -> bool:
        """Whether a message's text comes out of the template."""
        content = [{"type": "text", "text": _PROBE}] if in_parts else _PROBE
        if self.tokenizer.chat_template is None:
            return False
        try:
            text: str = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False
            )
        except Exception:  # a template fails in as many ways as there are
            return False
        # A list that is printed as it is has quotes around the text.
        return _PROBE in text and not any(f"{quote}{_PROBE}{quote}" in text for quote in "'\"")


def _hidden(name: str) -> str:
    return f"{_MARK}{name[0]}{_MARK}{name[1:]}{_MARK}"


def end_id(tokenizer: Any) -> int:
    """The token that a reply ends with: what the chat template writes after an assistant's turn,
    or the end of sequence.
    """
    from jinja2 import TemplateError

    eos: int = tokenizer.eos_token_id
    if tokenizer.chat_template is None:
        return eos
    reply = "reply-to-be-found"
    chat = [{"role": "user", "content": "."}, {"role": "assistant", "content": reply}]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False)
    except (TemplateError, ValueError):
        return eos
    after = text.rpartition(reply)[2].lstrip()
    ids = tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
    special = {*tokenizer.all_special_ids, *_added_special(tokenizer)}
    return ids[0] if ids and ids[0] in special else eos


def _added_special(tokenizer: Any) -> Iterator[int]:
    for id, token in tokenizer.added_tokens_decoder.items():
        if token.special:
            yield id


def continued(chat: Chat, prefix: str) -> Chat:
    """The chat with `prefix` put into the assistant's mouth."""
    if not prefix:
        return chat
    if chat and chat[-1].role == "assistant":
        last = chat[-1].model_copy(update={"content": chat[-1].content + prefix})
        return (*chat[:-1], last)
    return (*chat, Message(role="assistant", content=prefix))
