"""A model that is shown the prompt, the code and how its tests ended, and asked once.

DirectDetector(model, Detecting()).detect(cases)

All programs are asked about in one generate call.
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.mistakes.config import Detecting
from planish.methods.mistakes.data import Diagnosis
from planish.methods.mistakes.detecting import prompts
from planish.methods.mistakes.detecting.asking import Asker
from planish.methods.mistakes.detecting.base import Failed, Progress, abstention, settled
from planish.methods.mistakes.detecting.budget import Budget
from planish.methods.mistakes.detecting.reading import read_completion
from planish.models.base import LanguageModel
from planish.records import Chat, Completion

__all__ = ["DirectDetector"]


class DirectDetector:
    """One call for each program.

    Args:
        model: any.
        dials: `tokens` and `detect_max_tokens` bound the call.
        threshold: confidence below which it abstains.
    """

    name = "direct"

    def __init__(self, model: LanguageModel, dials: Detecting, *, threshold: float = 0.45) -> None:
        self.dials, self.threshold = dials, threshold
        self.asker = Asker(model, max_tokens=dials.detect_max_tokens)

    def chat(self, case: Failed) -> Chat:
        """What is asked of a program."""
        return prompts.direct(case)

    def shown(self, case: Failed) -> int:
        """How much of its evidence is in the chat."""
        return 0

    def detect(self, cases: Sequence[Failed], progress: Progress | None = None) -> list[Diagnosis]:
        """See `Detector`."""
        chats = [self.chat(case) for case in cases]
        budgets = [self._budget() for _ in cases]
        refused = [budget.refuses(chat) for budget, chat in zip(budgets, chats, strict=True)]
        asked = [chat for chat, why in zip(chats, refused, strict=True) if not why]
        done = len(cases) - len(asked)

        def answered() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, len(cases))

        replies = dict(zip(asked, self.asker.ask(asked, answered), strict=True))
        told = [
            self._told(case, chat, budget, replies[chat])
            if not why
            else abstention(case.run.key, self.name, why)
            for case, chat, budget, why in zip(cases, chats, budgets, refused, strict=True)
        ]
        if progress is not None:
            progress(len(told), len(cases))
        return told

    def _budget(self) -> Budget:
        dials = self.dials
        return Budget(calls=dials.calls, tokens=dials.tokens, reply=dials.detect_max_tokens)

    def _told(
        self, case: Failed, chat: Chat, budget: Budget, answer: Completion | str
    ) -> Diagnosis:
        if isinstance(answer, str):
            return abstention(case.run.key, self.name, answer, lost=True)
        budget.take(chat, answer)
        reading = read_completion(answer)
        return settled(
            case,
            self.name,
            reading,
            self.threshold,
            budget.spent_calls,
            budget.spent_tokens,
            shown=self.shown(case),
        )
