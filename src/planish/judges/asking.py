"""Asking a model about cases: every order, several samples, unreadable replies once more.

What the three judges of `planish.judges.prompted` share. Cases are asked all at once; a case is
closed, and told, as soon as its own calls are back.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from planish.judges.aggregate import (
    case_votes,
    decided,
)
from planish.judges.base import SCORED, Call, Case, Judgment, ParsedReply, verdict_of
from planish.judges.parse import parse
from planish.judges.templates import Template, load_template
from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Completion, Failure, Sampling, Verdict

__all__ = ["Ask", "OnJudgment", "OpenCase", "PromptedJudge"]

OnJudgment = Callable[[Judgment], None]

_PORTION = 64  # cases whose distributions are read before they are told
_REASK_TEMPERATURE = 0.7  # asking a greedy model again must be able to bring something else


@dataclass
class OpenCase:
    """A case on its way: its orders, and the calls that came back so far."""

    case: Case
    perms: list[tuple[int, ...]]
    calls: list[Call] = field(default_factory=list)
    readings: list[ParsedReply] = field(default_factory=list)


@dataclass(frozen=True)
class Ask:
    """One chat to send: `samples` draws for one case in one order."""

    state: OpenCase
    perm: tuple[int, ...]
    first_sample: int
    attempt: int = 0


class _Collector(Watcher):
    """Turns completions into calls the moment they arrive, and tells when a case is whole."""

    def __init__(
        self,
        asks: Sequence[Ask],
        keep: Callable[[Ask, int, Completion], None],
        watcher: Watcher | None,
    ) -> None:
        self._asks, self._keep, self._watcher = asks, keep, watcher
        self.seen: set[tuple[int, int]] = set()

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        if (chat, sample) in self.seen:
            return
        self.seen.add((chat, sample))
        self._keep(self._asks[chat], sample, completion)
        if self._watcher is not None:
            self._watcher.completed(chat, sample, completion)

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        if self._watcher is not None:
            self._watcher.failed(chat, sample, failure)


class PromptedJudge(ABC):
    """What the three judges share: asking, reading, asking again, stopping early."""

    _kinds: tuple[str, ...]

    def __init__(
        self,
        model: LanguageModel,
        template: Template | str,
        *,
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
        parse_retries: int = 0,
        stop_early: bool = False,
    ) -> None:
        self.model = model
        self.template = load_template(template) if isinstance(template, str) else template
        if self.template.kind not in self._kinds:
            raise BadInput(
                f"is for a {self.template.kind}, not for {type(self).__name__}",
                where=f"template {self.template.name}",
                fix=f"use a template of kind {' or '.join(self._kinds)}",
            )
        default = Sampling(temperature=0.0 if samples == 1 else 0.7, max_tokens=2048)
        self.samples, self.seed = samples, seed
        self.sampling = (sampling or default).model_copy(update={"n": 1, "seed": seed})
        if samples > 1 and self.sampling.temperature == 0:
            raise BadInput(
                "several samples at temperature 0 are all the same",
                where="samples",
                fix="raise the temperature or take one sample",
            )
        if stop_early and samples == 1:
            raise BadInput(
                "one sample leaves nothing to stop",
                where="stop_early",
                fix="take several samples, or leave it out",
            )
        self.parse_retries, self.stop_early = parse_retries, stop_early

    @property
    def name(self) -> str:
        """Model and template."""
        return f"{self.model.name} ({self.template.name})"

    def num_calls(self, cases: Sequence[Case]) -> int:
        """Calls that these cases take, if each is read at once."""
        return self.samples * sum(len(self._orders(case)) for case in cases)

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """One verdict per case, in the case's own frame; `score=None` where unscored."""
        return [verdict_of(judgment, self.name) for judgment in self.judgments(cases)]

    def judgments(
        self,
        cases: Sequence[Case],
        *,
        on_judgment: OnJudgment | None = None,
        watcher: Watcher | None = None,
    ) -> list[Judgment]:
        """Every call and what they add up to, in the order of the cases.

        Args:
            cases: what to judge; ids must differ.
            on_judgment: called with each judgment as soon as its last call is back, so that a
                run can write it down before the batch is done.
            watcher: hears of every call, for progress.

        Raises:
            BadInput: a case that this judge cannot take; the message names it.
        """
        self.check(cases)
        states = [OpenCase(case, self._orders(case)) for case in cases]
        done: dict[str, Judgment] = {}

        def finish(state: OpenCase) -> None:
            if state.case.id not in done:
                judgment = done[state.case.id] = self._add_up(state)
                if on_judgment is not None:
                    on_judgment(judgment)

        # One round asks for everything; voting with early stop asks for one sample a round.
        rounds = range(self.samples) if self.stop_early else (0,)
        per_round = 1 if self.stop_early else self.samples
        running = states
        for first in rounds:
            remaining = self.samples - first - per_round
            self._round(running, first, per_round, remaining, finish, watcher)
            running = [state for state in running if state.case.id not in done]
        return [done[case.id] for case in cases]

    def _round(
        self,
        states: Sequence[OpenCase],
        first: int,
        samples: int,
        remaining: int,
        finish: Callable[[OpenCase], None],
        watcher: Watcher | None,
    ) -> None:
        """Asks `samples` draws of every order, asks unreadable ones again, closes cases."""
        pending = {id(state): len(state.perms) * samples for state in states}

        def settle(state: OpenCase) -> None:
            later = remaining * len(state.perms)
            if not later or (
                self.stop_early and decided(case_votes(state.calls, state.readings), later)
            ):
                finish(state)

        def keep(ask: Ask, sample: int, completion: Completion) -> None:
            state = ask.state
            index = ask.first_sample + sample
            reading = parse(completion, self.template, len(ask.perm))
            state.calls.append(self._call(ask, index, completion))
            state.readings.append(reading)
            if self._ask_again(reading, ask.attempt):
                again.append(Ask(state, ask.perm, index, ask.attempt + 1))
                return
            pending[id(state)] -= 1
            if not pending[id(state)] and not self._reads_later:
                settle(state)

        again: list[Ask] = []
        asks = [Ask(state, perm, first) for state in states for perm in state.perms]
        self._send(asks, samples, keep, watcher)
        while again:
            asks, again = again, []
            for index, group in itertools.groupby(
                sorted(asks, key=lambda ask: ask.first_sample), lambda ask: ask.first_sample
            ):
                del index
                self._send(list(group), 1, keep, watcher)
        if self._reads_later:
            # In portions, so that a run writes judgments down while it reads.
            for start in range(0, len(states), _PORTION):
                portion = states[start : start + _PORTION]
                self._read_distributions(portion)
                for state in portion:
                    settle(state)

    # Whether verdicts are read from the model's distribution once the texts are there.
    _reads_later = False

    def _read_distributions(self, states: Sequence[OpenCase]) -> None:
        raise AssertionError("only pairs are read from the distribution")

    def _ask_again(self, reading: ParsedReply, attempt: int) -> bool:
        # A lost call had its own retries; a cut one would be cut again.
        hopeless = reading.status in SCORED or reading.status in ("transport", "truncated")
        return attempt < self.parse_retries and not hopeless

    def _send(
        self,
        asks: Sequence[Ask],
        samples: int,
        keep: Callable[[Ask, int, Completion], None],
        watcher: Watcher | None,
    ) -> None:
        if not asks:
            return
        chats = [self.template.render(ask.state.case, ask.perm) for ask in asks]
        collector = _Collector(asks, keep, watcher)
        replies = self.model.generate(chats, self._draws(asks[0], samples), watcher=collector)
        # A backend that tells its watcher nothing is slower to save, but loses nothing.
        for chat, completions in enumerate(replies):
            for sample, completion in enumerate(completions):
                collector.completed(chat, sample, completion)

    def _draws(self, ask: Ask, samples: int) -> Sampling:
        update: dict[str, object] = {"n": samples, "seed": self._seed(ask.first_sample, ask)}
        if ask.attempt:
            update["temperature"] = max(self.sampling.temperature, _REASK_TEMPERATURE)
        return self.sampling.model_copy(update=update)

    def _seed(self, sample: int, ask: Ask) -> int:
        return self.seed + sample + 1_000_003 * ask.attempt

    def _call(self, ask: Ask, sample: int, completion: Completion) -> Call:
        return Call(
            case_id=ask.state.case.id,
            perm=ask.perm,
            sample=sample,
            attempt=ask.attempt,
            seed=self._seed(sample, ask),
            template_hash=self._template_hash,
            model=self.model.name,
            revision=self._revision,
            text=completion.text,
            usage=completion.usage,
            finish=completion.finish,
            failures=completion.failures,
        )

    # Both are asked for once per judge: a revision may be a hash of gigabytes of weights.
    @cached_property
    def _template_hash(self) -> str:
        return self.template.hash

    @cached_property
    def _revision(self) -> str:
        return self.model.revision

    def check(self, cases: Sequence[Case]) -> None:
        """Tries everything that can be tried before the first call.

        Raises:
            BadInput: a case that this judge cannot take, or a template that does not render.
        """
        seen: set[str] = set()
        if cases:
            self._check_replies(cases[0])
            self.template.render(cases[0], self._orders(cases[0])[0])
        for case in cases:
            if case.id in seen:
                raise BadInput("the id comes twice", where=f"case {case.id}")
            seen.add(case.id)
            self._check_replies(case)

    @abstractmethod
    def _check_replies(self, case: Case) -> None: ...

    @abstractmethod
    def _orders(self, case: Case) -> list[tuple[int, ...]]: ...

    @abstractmethod
    def _add_up(self, state: OpenCase) -> Judgment: ...
