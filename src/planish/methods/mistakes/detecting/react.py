"""An agent: a model that thinks, calls a tool, reads what came of it, and so on to a verdict.

ReactDetector(model, box, Detecting(detector="react")).detect(cases)

Each turn is one JSON object in a block, so that any chat model can do it; tool calls of a server's
own kind are not needed. All programs advance together: one generate call and one batch of the
sandbox a turn. An episode ends with a verdict, or with an abstention that says why: the budget does
not hold another call, the model does not answer, or it does not find to the form. As everything
goes through the model, its reply cache plays whole episodes again (`replay:FILE`).

ReAct: arXiv 2210.03629; that it serves this purpose: arXiv 2411.01414. Tools, form, and budget are
ours, since the paper's are not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from planish.methods.mistakes.config import Detecting
from planish.methods.mistakes.data import Diagnosis
from planish.methods.mistakes.detecting import prompts
from planish.methods.mistakes.detecting.asking import Asker
from planish.methods.mistakes.detecting.base import Failed, Progress, abstention, settled
from planish.methods.mistakes.detecting.budget import Budget
from planish.methods.mistakes.detecting.reading import (
    Action,
    read_action,
    verdict_of,
    without_thinking,
)
from planish.methods.mistakes.detecting.tools import DESCRIPTIONS, Refused, Running, Tools
from planish.methods.mistakes.jobs import Box, LimitsOf, for_each
from planish.models.base import LanguageModel
from planish.records import Chat, Completion, Message
from planish.tasks.sandbox.contract import ExecResult, Limits

__all__ = ["ReactDetector"]

MISREAD = 3
"""Turns in a row without an action that can be done, after which an episode ends (ours)."""

_STOP = ("\nObservation:",)
_LONGEST = 3_000
"""Characters of what a tool says, and of a reply as the model sees it again."""


class ReactDetector:
    """The agent.

    Args:
        model: any.
        box: an open sandbox.
        dials: `calls`, `tokens` and `detect_max_tokens` bound each episode.
        threshold: confidence below which it abstains.
        limits: of one run, of all tasks or of each.
    """

    name = "react"

    def __init__(
        self,
        model: LanguageModel,
        box: Box,
        dials: Detecting,
        *,
        threshold: float = 0.45,
        limits: Limits | LimitsOf = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.box, self.dials, self.threshold = box, dials, threshold
        self.limits = for_each(limits)
        self.asker = Asker(model, max_tokens=dials.detect_max_tokens, stop=_STOP)

    def detect(self, cases: Sequence[Failed], progress: Progress | None = None) -> list[Diagnosis]:
        """See `Detector`."""
        episodes = [self._begin(case) for case in cases]
        while live := [each for each in episodes if each.diagnosis is None]:
            asking = [each for each in live if each.may_ask()]
            answers = self.asker.ask([each.next for each in asking])
            running = [
                (each, step)
                for each, answer in zip(asking, answers, strict=True)
                if (step := each.hear(answer)) is not None
            ]
            results = iter(self._run([step for _, step in running]))
            for each, step in running:
                each.see(step.read([next(results) for _ in step.jobs]))
            if progress is not None:
                progress(sum(each.diagnosis is not None for each in episodes), len(episodes))
        return [each.diagnosis for each in episodes if each.diagnosis is not None]

    def _begin(self, case: Failed) -> _Episode:
        dials = self.dials
        budget = Budget(calls=dials.calls, tokens=dials.tokens, reply=dials.detect_max_tokens)
        chat = prompts.agent(case, DESCRIPTIONS)
        return _Episode(case, Tools(case, self.limits(case.task)), budget, self.threshold, chat)

    def _run(self, steps: Sequence[Running]) -> list[ExecResult]:
        jobs = [
            job.model_copy(update={"key": f"{at}|{job.key}"})
            for at, job in enumerate(job for step in steps for job in step.jobs)
        ]
        return self.box.run(jobs) if jobs else []


@dataclass
class _Episode:
    """One program.

    Args:
        chat: until now; the model has the next turn.
        anew: the chat in which it writes the function anew, while that is what comes next.
        done: actions so far; misread: turns in a row that held none that could be done.
    """

    case: Failed
    tools: Tools
    budget: Budget
    threshold: float
    chat: Chat
    anew: Chat | None = None
    diagnosis: Diagnosis | None = None
    done: list[Action] = field(default_factory=list)
    misread: int = 0

    @property
    def next(self) -> Chat:
        """What the model is asked next."""
        return self.anew or self.chat

    def may_ask(self) -> bool:
        """Whether the budget holds the next call; if not, the episode ends."""
        if why := self.budget.refuses(self.next):
            self.end(why)
        return not why

    def hear(self, answer: Completion | str) -> Running | None:
        """Takes the model's turn; returns what has to be run."""
        if isinstance(answer, str):
            self.end(answer, lost=True)
            return None
        self.budget.take(self.next, answer)
        if self.anew is not None:
            self.anew = None
            return self.tools.written(answer.text)
        self.chat = (*self.chat, Message(role="assistant", content=_again(answer.text)))
        action = read_action(answer.text)
        if isinstance(action, str):
            cut = " (the reply was cut at its budget)" if answer.finish == "length" else ""
            self._refuse(f"{action}{cut}; answer with one JSON object in a block")
            return None
        if action.tool == "finish":
            self._finish(action)
            return None
        return self._do(action)

    def _do(self, action: Action) -> Running | None:
        if action in self.done:
            self._refuse("that was done before, and what came of it stands above")
            return None
        step = self._regenerate(action) if action.tool == "regenerate" else self.tools.start(action)
        if isinstance(step, Refused):
            self._refuse(step.why)
            return None
        self.done.append(action)
        self.misread = 0
        if isinstance(step, str):
            self.see(step)
        return step if isinstance(step, Running) else None

    def _regenerate(self, action: Action) -> Refused | None:
        """Puts the chat in which the function is written anew before the next turn."""
        chat = self.tools.anew(action)
        if isinstance(chat, Refused):
            return chat
        budget = self.budget
        twice = budget.worst(chat) + budget.worst(self.chat) + self.budget.reply
        if budget.calls - budget.spent_calls < 2 or budget.tokens - budget.spent_tokens < twice:
            return Refused("the budget does not hold that and a verdict; finish")
        self.anew = chat
        return None

    def _finish(self, action: Action) -> None:
        reading = verdict_of(action.arguments)
        if reading.problem:
            self._refuse(reading.problem)
            return
        spent = self.budget
        self.diagnosis = settled(
            self.case,
            ReactDetector.name,
            reading,
            self.threshold,
            spent.spent_calls,
            spent.spent_tokens,
        )

    def see(self, text: str) -> None:
        """Tells the model what came of its turn."""
        told = f"Observation: {prompts.shown(text, _LONGEST)}"
        self.chat = (*self.chat, Message(role="user", content=told))
        if self.budget.is_last(self.chat):
            told += "\n\nThis may be the last call: finish now."
            self.chat = (*self.chat[:-1], Message(role="user", content=told))

    def _refuse(self, why: str) -> None:
        """Tells the model why nothing was done, or ends the episode."""
        self.misread += 1
        if self.misread >= MISREAD:
            self.end(f"{MISREAD} turns in a row held nothing that could be done; the last: {why}")
        else:
            self.see(f"nothing was done: {why}.")

    def end(self, why: str, *, lost: bool = False) -> None:
        """Abstains; `lost`: because no reply came."""
        self.diagnosis = abstention(
            self.case.run.key,
            ReactDetector.name,
            why,
            lost=lost,
            calls=self.budget.spent_calls,
            tokens=self.budget.spent_tokens,
        )


def _again(text: str) -> str:
    """A reply as the model sees it again: without thinking, and not too long."""
    kept = "\n".join(line.rstrip() for line in without_thinking(text).split("\n"))
    return prompts.shown(re.sub(r"\n{3,}", "\n\n", kept).strip(), _LONGEST) or "(nothing)"
