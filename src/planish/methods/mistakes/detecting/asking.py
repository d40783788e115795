"""Asks a model about many programs at once, and takes whatever becomes of it for an answer.

    Asker(model, max_tokens=1024).ask(chats)      # a Completion for each, or why there is none

Equal chats are asked once. A server that refuses, dies or was never there costs the programs that
it did not answer, and no other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Chat, Completion, Sampling

__all__ = ["Asker"]

_FAST = 0.5
"""Seconds: a refusal that comes later costs too much to be heard for every chat."""


class _Heard(Watcher):
    """What came before a batch was broken off."""

    def __init__(self, answered: Callable[[], None] | None) -> None:
        self.replies: dict[int, Completion] = {}
        self.answered = answered

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        """Keeps it."""
        if chat not in self.replies and self.answered is not None:
            self.answered()
        self.replies[chat] = completion


class Asker:
    """A model, greedy, with its longest reply.

    Args:
        model: any; wrap it in a reply cache, and the file of that plays it all again (`replay:`).
        max_tokens: of one reply.
        stop: texts at which a reply ends.
    """

    def __init__(
        self, model: LanguageModel, *, max_tokens: int, stop: tuple[str, ...] = ()
    ) -> None:
        self.model = model
        self.sampling = Sampling(temperature=0.0, max_tokens=max_tokens, stop=stop, seed=0)

    def ask(
        self, chats: Sequence[Chat], answered: Callable[[], None] | None = None
    ) -> list[Completion | str]:
        """For each chat its reply, or one line that says why there is none; nothing is raised.

        Args:
            answered: is called as each answer comes, equal chats once.
        """
        fresh = list(dict.fromkeys(chats))
        answers, why = self._generate(fresh, answered)
        if why and len(fresh) > 1:  # one bad chat must not cost the others
            for chat in fresh:
                if chat in answers:
                    continue
                began = time.monotonic()
                answer, why = self._generate([chat], answered)
                answers |= answer or {chat: why}
                if why and time.monotonic() - began > _FAST:
                    break
        return [answers.get(chat, why) for chat in chats]

    def _generate(
        self, chats: Sequence[Chat], answered: Callable[[], None] | None
    ) -> tuple[dict[Chat, Completion | str], str]:
        """Chat -> answer, as far as they came, and why the others did not."""
        if not chats:
            return {}, ""
        heard, why = _Heard(answered), ""
        try:
            replies = self.model.generate(chats, self.sampling, watcher=heard)
        except BadInput as error:
            why = f"the model could not be asked: {error}"
        else:
            heard.replies |= {at: completions[0] for at, completions in enumerate(replies)}
        return {chats[at]: _answer(each) for at, each in heard.replies.items()}, why


def _answer(completion: Completion) -> Completion | str:
    if completion.finish != "error":
        return completion
    last = completion.failures[-1] if completion.failures else None
    said = f"{last.kind}: {last.message}".removesuffix(": ") if last else "no reason given"
    return f"the model did not answer ({said})"
