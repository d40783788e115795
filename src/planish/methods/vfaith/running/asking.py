"""Asks a model every call of a bench, and writes every reply down the moment it comes.

    stage = Stage(plan, run, bench, model, calls, ledger, screen)
    stage.ask()
    stage.ledger, stage.lost

Pairs are read as their calls are made. An endpoint takes calls one by one, a model in this process
some at once; of the rest nothing is in memory but the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, islice
from typing import NamedTuple

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.config import Asking
from planish.methods.vfaith.running.ledger import Ledger
from planish.methods.vfaith.running.records import RESPONSE, Call, Calls, respond
from planish.models.base import Draw, LanguageModel, StreamingModel, Watcher
from planish.records import Completion, Failure, Sampling, Usage
from planish.runs import Run
from planish.runs.console import Screen

__all__ = ["CHUNK", "Stage"]

CHUNK = 256
"""Calls that a model in this process gets at once: no more pictures are ever in memory."""


class _Lost(NamedTuple):
    """A call that brought no reply: the last failure's kind, and what it cost."""

    kind: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float

    def completion(self) -> Completion:
        """As the model told it, without its failures."""
        usage = Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            seconds=self.seconds,
        )
        return Completion(text="", finish="error", usage=usage)


class _Asked(NamedTuple):
    """A reply that is asked for; `number` is its place in the ledger."""

    number: int
    call: Call
    repeat: int


@dataclass
class Stage:
    """A run under way.

    Args:
        model: with every reply kept.
        ledger: what came so far.
        lost: calls that brought no reply in this visit, by their number.
        failures: the first of every kind.
    """

    plan: Asking
    run: Run
    bench: Bench
    model: LanguageModel
    calls: Calls
    ledger: Ledger
    screen: Screen
    lost: dict[int, _Lost] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    @cached_property
    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return self.plan.sampling()

    def ask(self) -> None:
        """Makes every call that is not yet answered; those that are lost again at the end."""
        self.ledger.read(self.run)
        total, there = len(self.ledger), self.ledger.answered
        if there:
            self.screen.note(f"{there} of {total} replies were there before")
        wanted = self._wanted(lambda number: not self.ledger.has(number))
        self._make(wanted, total - there, f"{self.model.name} answers")
        for _ in range(self.plan.retries):
            # A prompt that does not fit will not fit the next time.
            again = {number for number, why in self.lost.items() if why.kind != "context"}
            if not again:
                break
            wanted = self._wanted(again.__contains__)
            self._make(wanted, len(again), f"{self.model.name} is asked again")
        if self.lost:
            self._record_lost()

    def _record_lost(self) -> None:
        for number, call, repeat in self._wanted(self.lost.__contains__):
            if not self.ledger.is_told(number):  # else an earlier visit has told it
                self._record(number, call, repeat, self.lost[number].completion())

    def _wanted(self, is_wanted: Callable[[int], bool]) -> Iterator[_Asked]:
        """Replies by their number, in the order of the bench; pairs are read on the way."""
        for place, call in enumerate(self.calls):
            for repeat in range(self.plan.repeats):
                if is_wanted(number := self.ledger.number(place, repeat)):
                    yield _Asked(number, call, repeat)

    def _make(self, wanted: Iterator[_Asked], left: int, what: str) -> None:
        sampling = self.sampling
        with self.screen.progress(what, left) as step:
            if isinstance(self.model, StreamingModel):
                keeper = _StreamKeeper(self, step)
                self.model.stream(keeper.draws(wanted), sampling, watcher=keeper)
                return
            places = groupby(wanted, lambda asked: asked.number // self.plan.repeats)
            calls = ((place, next(own).call) for place, own in places)
            while part := dict(islice(calls, CHUNK)):
                chats = [call.chat(self.bench) for call in part.values()]
                self.model.generate(chats, sampling, watcher=_ChunkKeeper(self, part, step))

    def keep(self, asked: _Asked, completion: Completion) -> bool:
        """Reads a reply and writes it down; False for one that was there."""
        number, call, repeat = asked
        if self.ledger.has(number):
            return False
        if completion.finish == "error":
            self._lose(number, completion)
            return True
        self.lost.pop(number, None)
        self._record(number, call, repeat, completion)
        return True

    def _lose(self, number: int, completion: Completion) -> None:
        kind, usage = "unknown", completion.usage
        if completion.failures:
            kind = self.failures.setdefault(
                completion.failures[-1].kind, completion.failures[-1]
            ).kind
        self.lost[number] = _Lost(
            kind, usage.prompt_tokens, usage.completion_tokens, usage.seconds
        )  # fmt: skip

    def told_lost(self) -> list[Completion]:
        """Lost calls as far as they are told: one message stands for all of a kind."""
        of_kind = {
            kind: Completion(text="", finish="error", failures=(failure,))
            for kind, failure in self.failures.items()
        }
        bare = Completion(text="", finish="error")
        return [of_kind.get(why.kind, bare) for why in self.lost.values()]

    def _record(self, number: int, call: Call, repeat: int, completion: Completion) -> None:
        key = call.key(self.model, self.sampling, repeat)
        reply = respond(call, completion, key=key, model=self.model, repeat=repeat)
        self.run.record(RESPONSE, reply, id=call.id(repeat))
        self.ledger.put(number, reply.outcome, reply.completion_tokens)


class _StreamKeeper(Watcher):
    """Writes every reply down the moment it comes; holds the calls that are under way."""

    def __init__(self, stage: Stage, step: Callable[[], None]) -> None:
        self.stage, self.step = stage, step
        self.under_way: dict[int, _Asked] = {}

    def draws(self, wanted: Iterator[_Asked]) -> Iterator[Draw]:
        """The draws to be made; one is under way from when it is taken."""
        for place, asked in enumerate(wanted):
            self.under_way[place] = asked
            yield Draw(asked.call.chat(self.stage.bench), asked.repeat)

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        if self.stage.keep(self.under_way.pop(chat), completion):
            self.step()


class _ChunkKeeper(Watcher):
    """The same for calls that are handed over together, every repeat of each."""

    def __init__(self, stage: Stage, calls: Mapping[int, Call], step: Callable[[], None]) -> None:
        self.stage, self.calls, self.step = stage, list(calls.items()), step

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        place, call = self.calls[chat]
        asked = _Asked(self.stage.ledger.number(place, sample), call, sample)
        if self.stage.keep(asked, completion):
            self.step()
