"""What a model may spend on one program, kept to the token.

    budget = Budget(calls=12, tokens=20_000, reply=1024)
    budget.refuses(chat)                # "" or why the call is not made
    budget.take(chat, completion)

A call is made only if it fits at its worst: the tokens of its prompt, of which no more is known
beforehand than that they are not more than its bytes, and the longest reply. What the server has
counted for the beginning of a chat is taken from its last answer (ours).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from planish.records import Chat, Completion

__all__ = ["MARKS", "Budget"]

MARKS = 64
"""Tokens that a chat template puts around one message, at most."""

_BYTES = 3
"""Of a token, where a model does not tell how many there were."""


@dataclass
class Budget:
    """Of one program.

    Args:
        calls, tokens: that may be spent; reply: longest reply, tokens.
        spent_calls, spent_tokens: until now, prompts and replies together.
    """

    calls: int
    tokens: int
    reply: int
    spent_calls: int = 0
    spent_tokens: int = 0
    _counted: list[tuple[Chat, int]] = field(default_factory=list)

    def worst(self, chat: Chat) -> int:
        """Tokens that a call with this chat costs at most."""
        return self._prompt(chat) + self.reply

    def refuses(self, chat: Chat) -> str:
        """Why a call with this chat is not made; "" where it may be."""
        if self.spent_calls >= self.calls:
            return f"the budget of {self.calls} calls is spent"
        worst = self.worst(chat)
        if self.spent_tokens + worst > self.tokens:
            return (
                f"the budget of {self.tokens} tokens does not hold another call: "
                f"{self.spent_tokens} are spent, and it may take {worst}"
            )
        return ""

    def is_last(self, chat: Chat) -> bool:
        """Whether after this call there may be none."""
        return (
            self.calls - self.spent_calls <= 1
            or self.tokens - self.spent_tokens < 2 * self.worst(chat) + self.reply
        )

    def take(self, chat: Chat, completion: Completion) -> None:
        """Counts a call that was answered."""
        usage = completion.usage
        self.spent_calls += 1
        if usage.prompt_tokens:
            self.spent_tokens += usage.prompt_tokens + usage.completion_tokens
            self._counted.append((chat, usage.prompt_tokens))
        else:
            self.spent_tokens += -(-(_size(chat) + _bytes(completion.text)) // _BYTES)

    def _prompt(self, chat: Chat) -> int:
        """Tokens of a prompt, at most."""
        best = _size(chat) + MARKS * len(chat)
        for known, tokens in self._counted:
            rest = chat[len(known) :]
            if chat[: len(known)] == known:
                best = min(best, tokens + _size(rest) + MARKS * len(rest))
        return best


def _size(chat: Chat) -> int:
    return sum(_bytes(message.content) for message in chat)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
