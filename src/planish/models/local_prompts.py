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
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from planish.records import BadInput, Chat, Message

__all__ = ["PromptWriter", "continued", "end_id"]

# A code point that Unicode keeps free for uses like this; stands on both sides of a special
# token's name that a message merely mentions.
_MARK = "\ufdd0"
_JOINT = "\n\n"


class PromptWriter:
    """Writes and encodes the prompts of one tokenizer.

    Args:
        tokenizer: any Hugging Face tokenizer.
        where: the model's name, for messages.
    """

    def __init__(self, tokenizer: Any, where: str) -> None:
        self.tokenizer, self.where = tokenizer, where
        special = {
            token.content for token in tokenizer.added_tokens_decoder.values() if token.special
        }
        names = sorted(special | set(tokenizer.all_special_tokens), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)) or "(?!)")
        self._marked = re.compile(f"{_MARK}({self._special.pattern}){_MARK}|{_MARK}")
        # A template writes the token that opens a document; without one, nobody else would.
        bos = tokenizer.bos_token_id
        opens = tokenizer.chat_template is None and bos in tokenizer("")["input_ids"]
        self._opening: list[int] = [bos] if opens else []

    def write(self, chat: Chat) -> str:
        """The prompt as one text, up to where the model goes on. Feed it to `encode` only.

        Raises:
            BadInput: an empty chat, images, or a chat that the template cannot express.
        """
        if not chat:
            raise BadInput("the chat is empty", where=self.where)
        if any(message.images for message in chat):
            raise BadInput(
                "this checkpoint is text-only and the chat holds an image",
                where=self.where,
                fix="use a model that sees, or leave the image out",
            )
        messages: list[tuple[str, str]] = [
            (message.role, self._mark(message.content)) for message in chat
        ]
        if self.tokenizer.chat_template is None:
            return self._join(messages)
        return self._render(messages)

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

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for index, piece in enumerate(self._marked.split(text)):
            if piece:
                # Every second piece stood between marks: the name of a token, not the token.
                ids += self.tokenizer(
                    piece,
                    add_special_tokens=False,
                    split_special_tokens=index % 2 == 1,
                    verbose=False,
                )["input_ids"]
        return ids

    def _mark(self, content: str) -> str:
        # Half a surrogate pair, as JSON may hold, is no text: no tokenizer takes it.
        content = content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._special.sub(f"{_MARK}\\g<0>{_MARK}", content)

    def _join(self, messages: list[tuple[str, str]]) -> str:
        if any(role in ("assistant", "tool") for role, _ in messages[:-1]):
            raise BadInput(
                "this checkpoint has no chat template, and the chat has several turns",
                where=self.where,
                fix="use a chat model, or write the chat as one user turn",
            )
        text = _JOINT.join(content for _, content in messages)
        return text if messages[-1][0] == "assistant" else text + _JOINT

    def _render(self, messages: list[tuple[str, str]]) -> str:
        last_role, last = messages[-1]
        # Nothing to continue: an empty prefix is the same as none.
        if last_role == "assistant" and not last.strip() and len(messages) > 1:
            return self._apply(messages[:-1], False) + last
        if last_role != "assistant":
            return self._apply(messages, False)
        # Many templates trim the turns they write, but the model goes on behind the last space.
        return self._apply(messages, True).rstrip() + last[len(last.rstrip()) :]

    def _apply(self, messages: list[tuple[str, str]], continues: bool) -> str:
        from jinja2 import TemplateError

        try:
            return self._template(messages, continues)
        except (TemplateError, ValueError) as error:
            refusal = error
        if len(messages) > 1 and [role for role, _ in messages[:2]] == ["system", "user"]:
            folded = [("user", messages[0][1] + _JOINT + messages[1][1]), *messages[2:]]
            try:
                return self._template(folded, continues)
            except (TemplateError, ValueError) as error:
                refusal = error
        reason = " ".join(str(refusal).replace(_MARK, "").split())[:160]
        raise BadInput(
            f"the chat template refuses this chat ({reason})",
            where=self.where,
            fix="check the roles and their order",
        ) from refusal

    def _template(self, messages: list[tuple[str, str]], continues: bool) -> str:
        text: str = self.tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False,
            continue_final_message=continues,
            add_generation_prompt=not continues,
        )
        return text


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
