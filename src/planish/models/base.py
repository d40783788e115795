"""What a model is to the rest of the package: three small protocols.

A model takes a batch of chats and returns, for each, `sampling.n` completions. It is
synchronous; concurrency stays inside the backend. A call that fails after every retry comes
back as a `Completion` with `finish="error"`; it does not raise, so one bad item never costs
the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from planish.records import Chat, Completion, Failure, Sampling, TokenScores

__all__ = ["Draw", "LanguageModel", "ScoringModel", "Steps", "StreamingModel", "Watcher"]


class Watcher:
    """Hears of every reply and every failed attempt the moment it happens.

    Progress bars and the reply cache are watchers. `chat` is the index into the batch,
    `sample` the index of the draw. Methods are called from the thread that called `generate`.
    """

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        """One sample of one chat is final, `finish="error"` included."""

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        """One attempt failed; the backend may try again."""


class Steps(Watcher):
    """Calls a function once per final sample: a progress bar's step."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        """One step."""
        self._step()


@runtime_checkable
class LanguageModel(Protocol):
    """Anything that answers chats.

    `name` is what the user typed ("hf:./checkpoint"); `revision` pins what that meant (a hash
    of the weights or the files, a server's model id), because a cached reply is only worth
    keeping while the model behind the name stays the same.
    """

    @property
    def name(self) -> str:
        """As the user typed it."""
        ...

    @property
    def revision(self) -> str:
        """Fingerprint of what the name stands for now."""
        ...

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """Draws `sampling.n` completions for every chat, in the order of the chats.

        A chat whose last message is from the assistant is continued, not answered: this is
        how a verdict's prefix is forced.
        """
        ...


@runtime_checkable
class ScoringModel(LanguageModel, Protocol):
    """A model that can also tell how likely a given reply is."""

    def logprobs(self, chats: Sequence[Chat], replies: Sequence[str]) -> list[TokenScores]:
        """Scores `replies[i]` as the assistant's answer to `chats[i]`, token by token."""
        ...

    def label_logprobs(
        self, chats: Sequence[Chat], labels: Sequence[str], prefix: str = "[["
    ) -> list[tuple[float, ...]]:
        """Scores every label as what comes right after `prefix`, which is forced on the model.

        For each chat one log-probability per label, in the order of `labels`: a judge's verdict
        read from the distribution instead of from a text. They need not add up to one; divide
        them by their sum for that. A chat that ends with the assistant is continued by `prefix`.
        """
        ...


class Draw(NamedTuple):
    """One sample of one chat."""

    chat: Chat
    sample: int = 0


@runtime_checkable
class StreamingModel(LanguageModel, Protocol):
    """A model that takes its work as it has room for it, however much there is.

    Nothing is held but what is under way, and there is no end of a batch to wait for.
    """

    def stream(self, draws: Iterable[Draw], sampling: Sampling, *, watcher: Watcher) -> None:
        """Makes every draw; the watcher hears of it and is all that does.

        Args:
            draws: taken one by one, in order, as there is room; they may be made on the way.
            watcher: hears the number of the draw in place of the chat's.
        """
        ...
