"""A language model as a proposer of edits.

    proposer = ModelProposer(load_asker("openai:m@http://localhost:8000/v1"), history=history)
    patches = proposer.propose(diagnosis, library, budget)
    proposer.reason          why there are none, where there are none
    proposer.exchanges       every prompt and reply, for the run's records

A reply holds up to three candidates in JSON. Each is checked as any patch is. Where none passes,
the model is told why and may try again, three times at most. Whatever a model or its server does,
the worst that comes of it is no patch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planish.judges.parse import hide_thinking
from planish.methods.cowork.data import Diagnosis, GateResult, Patch
from planish.methods.cowork.improving.patches import Limits, Rejected, apply
from planish.methods.cowork.improving.prompts import Facts, Refused, ask, ask_again
from planish.methods.cowork.improving.proposing import Budget, History
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.skills import Library
from planish.models.base import LanguageModel, Watcher
from planish.models.keys import chat_key
from planish.models.load import load
from planish.records import BadInput, Chat, Completion, Failure, Message, Record, Sampling, Usage

__all__ = ["Exchange", "ModelProposer", "load_asker", "objects_in", "worst_case"]

_TIMEOUT_S, _RETRIES = 120, 2
_MOST_BYTES = 64_000
_MOST_STARTS = 200  # places in a reply where an object may begin
_PER_MESSAGE, _PER_CHAT = 16, 256  # tokens of a chat template, with a system turn of its own


class Exchange(Record):
    """One prompt and what came back. `replay:` can repeat it from the run's records.

    Args:
        model, chat, sample, seed: as in the reply cache.
        attempt: 0 for the first prompt of a round, 1 and more for repairs.
        prompt: the chat as it was sent.
        reserved: tokens set aside; charged: tokens that the budget was charged.
        verdicts: one a candidate: "passed: FINGERPRINT", or "CODE: DETAIL".
        problem: why there is no reply.
    """

    model: str
    chat: str
    seed: int
    sample: int = 0
    attempt: int
    library_hash: str
    prompt: tuple[Message, ...]
    text: str = ""
    finish: str = "stop"
    usage: Usage = Usage()
    reserved: int = 0
    charged: int = 0
    verdicts: tuple[str, ...] = ()
    problem: str = ""


def load_asker(spec: str, *, cache: Path | None = None) -> LanguageModel:
    """A model by name; a server is given two minutes and two retries, unless the name says more.

    Raises:
        BadInput: as `planish.models.load`.
    """
    options: dict[str, Any] = {}
    if spec.startswith("openai:"):
        given = spec.rpartition("?")[2]
        options = {"timeout": _TIMEOUT_S, "retries": _RETRIES}
        options = {name: value for name, value in options.items() if f"{name}=" not in given}
    return load(spec, cache=cache, **options)


def worst_case(chat: Chat, max_tokens: int) -> int:
    """Tokens that a call can cost at most: no tokenizer makes more tokens than there are bytes."""
    sent = json.dumps([[message.role, message.content] for message in chat])
    return len(sent) + _PER_MESSAGE * len(chat) + _PER_CHAT + max_tokens


def objects_in(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, outermost first, whatever stands around them.

    >>> list(objects_in('First: {"a": 1} and ```{"b": {}}```'))
    [{'a': 1}, {'b': {}}]
    """
    decoder, place = json.JSONDecoder(), 0
    for _ in range(_MOST_STARTS):
        start = text.find("{", place)
        if start < 0:
            return
        try:
            value, place = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            place = start + 1
        else:
            yield value


class ModelProposer:
    """Asks a model for edits.

    Args:
        history: kept up to date by the loop; it adds the anchor, the best library and the rounds.
        candidates: patches that one reply may hold.
        repairs: how often the model may try again after a reply of which nothing can be used.
        max_tokens: of one reply.
        deadline_s: seconds after which a failed call is not tried again.

    Attributes:
        exchanges: every prompt and reply of the last `propose`.
        reason: why the last `propose` brought nothing; empty where it did.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        limits: Limits | None = None,
        history: History | None = None,
        candidates: int = 3,
        repairs: int = 3,
        max_tokens: int = 2048,
        temperature: float = 1.0,
        seed: int = 0,
        deadline_s: float = 300.0,
    ) -> None:
        self.model = model
        self.limits = limits or Limits()
        self.history = history or History()
        self.candidates, self.repairs = candidates, repairs
        self.max_tokens, self.temperature = max_tokens, temperature
        self.deadline_s = deadline_s
        self.exchanges: list[Exchange] = []
        self.reason = ""
        self._seed = seed
        self._refused: dict[str, Refused] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def skip(self, calls: int) -> None:
        """Goes on as if so many calls had been made, where a run takes up what it has on disk."""
        self._seed += calls

    def learn(self, result: GateResult) -> None:
        """Remembers what the gate refused, so that it is not proposed again."""
        if not result.is_refusal:
            return
        why = f"{result.reason}: {result.detail}" if result.detail else result.reason
        self._refused.pop(result.fingerprint, None)
        self._refused[result.fingerprint] = Refused(result.fingerprint, why, result.patch.rationale)

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        """Candidates that pass every check but the gate; none, and `reason` says why."""
        self.exchanges, self.reason = [], ""
        facts = Facts(
            library,
            diagnosis,
            self.limits,
            self.history,
            list(self._refused.values()),
            self.candidates,
            budget.left,
        )
        prompt = chat = ask(facts)
        for attempt in range(1 + self.repairs):
            completion, exchange = self._call(chat, attempt, library, budget)
            if completion is None:
                self.exchanges.append(exchange)
                self.reason = exchange.problem
                return []
            patches, verdicts = self._read(completion, library)
            self.exchanges.append(exchange.model_copy(update={"verdicts": tuple(verdicts)}))
            if patches:
                self.reason = ""
                return _priced(patches, sum(each.charged for each in self.exchanges))
            self.reason = f"nothing that could be used; {printable(verdicts[-1])}"
            chat = ask_again(prompt, completion.text, verdicts)
        return []

    # ---- one call

    def _call(
        self, chat: Chat, attempt: int, library: Library, budget: Budget
    ) -> tuple[Completion | None, Exchange]:
        """The reply, or None, and the record of it either way."""
        self._seed += 1
        worst = worst_case(chat, self.max_tokens)
        exchange = Exchange(
            model=self.name,
            chat=chat_key(chat),
            seed=self._seed,
            attempt=attempt,
            library_hash=library.digest,
            prompt=chat,
            reserved=worst,
            finish="error",
        )
        left = budget.left
        if not budget.reserve(worst):
            problem = f"budget: the call may cost {worst} tokens, {left} are left"
            return None, exchange.model_copy(update={"problem": problem, "reserved": 0})
        before, meter = budget.spent, _Meter(budget, worst, self.deadline_s)
        completion, problem = self._generate(chat, meter)
        told: dict[str, Any] = {"problem": problem, "charged": budget.spent - before}
        if completion is not None:
            told |= {
                "text": completion.text,
                "finish": completion.finish,
                "usage": completion.usage,
            }
        lost = completion is None or completion.finish == "error"
        return (None if lost else completion), exchange.model_copy(update=told)

    def _generate(self, chat: Chat, meter: _Meter) -> tuple[Completion | None, str]:
        """The completion, and what went wrong; every token is settled when this returns."""
        sampling = Sampling(
            temperature=self.temperature, max_tokens=self.max_tokens, seed=self._seed
        )
        try:
            completion = self.model.generate([chat], sampling, watcher=meter)[0][0]
        except _StoppedAsking as error:
            meter.settle(0)
            return None, str(error)
        except Exception as error:  # a model is foreign ground; the run goes on without it
            meter.settle(0 if meter.failures else None)
            return None, printable(_told(error), 300)
        except BaseException:
            meter.settle(None)
            raise
        if completion.finish == "error":
            meter.settle(0 if meter.failures else None)
            last = (*completion.failures, *meter.failures)[-1:]
            why = f"{last[0].kind}: {last[0].message}" if last else "no reply"
            return completion, printable(f"no reply: {why}", 300)
        usage = completion.usage
        prompt_tokens = usage.prompt_tokens or meter.worst - self.max_tokens
        meter.settle(prompt_tokens + (usage.completion_tokens or self.max_tokens))
        return completion, ""

    # ---- one reply

    def _read(self, completion: Completion, library: Library) -> tuple[list[Patch], list[str]]:
        """The patches that pass, and one verdict a candidate; at least one."""
        try:
            found = self._candidates(completion)
        except Rejected as error:
            return [], [str(error)]
        patches: list[Patch] = []
        seen: set[str] = set()
        verdicts: list[str] = []
        for candidate in found:
            try:
                patch = self._patch(candidate, library)
                made = self._apply(patch, library).digest
                if made in self._refused:
                    raise Rejected("repeated", f"refused before: {self._refused[made].reason}")
                if made in seen:
                    raise Rejected("repeated", "the same as the candidate before")
            except Rejected as error:
                verdicts.append(printable(str(error), 400))
                continue
            seen.add(made)
            patches.append(patch)
            verdicts.append(f"passed: {made}")
        return patches, verdicts

    def _candidates(self, completion: Completion) -> list[dict[str, Any]]:
        text = completion.text
        if len(text) > _MOST_BYTES:
            raise Rejected("too_large", f"a reply of {len(text)} characters")
        found: list[dict[str, Any]] = []
        for value in objects_in(hide_thinking(text)):
            listed = value.get("patches", value.get("candidates"))
            inside = listed if isinstance(listed, list) else [value]
            found += [each for each in inside if isinstance(each, dict) and "ops" in each]
        if found:
            return found[: self.candidates]
        cut = f"; it was cut off after {self.max_tokens} tokens, so write less"
        why = 'no JSON object with "ops" in the reply'
        raise Rejected("malformed", why + (cut if completion.finish == "length" else ""))

    def _patch(self, value: dict[str, Any], library: Library) -> Patch:
        """A candidate as a patch; what it says of its cost and its author is not read."""
        base, why = value.get("base_hash", library.digest), value.get("rationale", "")
        ops, evidence = value["ops"], value.get("evidence_ids", [])
        if not isinstance(base, str) or not isinstance(why, str):
            raise Rejected("malformed", "base_hash and rationale are texts")
        if not isinstance(ops, list) or not all(isinstance(op, dict) for op in ops):
            raise Rejected("malformed", "ops is a list of objects")
        if not isinstance(evidence, list) or not all(isinstance(id, str) for id in evidence):
            raise Rejected("malformed", "evidence_ids is a list of texts")
        return Patch(
            base_hash=base,
            rationale=printable(why, 500),
            ops=tuple(ops),
            evidence_ids=tuple(printable(id, 120) for id in evidence[:20]),
            proposer=self.name,
        )

    def _apply(self, patch: Patch, library: Library) -> Library:
        anchor = self.history.anchor or library
        original = self.history.original
        return apply(patch, library, limits=self.limits, anchor=anchor, original=original)


def _told(error: Exception) -> str:
    """An error in words; who reads it knows the model's name."""
    if isinstance(error, BadInput):
        return f"{error.what}; {error.fix}" if error.fix else error.what
    return f"{type(error).__name__}: {error}"


def _priced(patches: list[Patch], tokens: int) -> list[Patch]:
    """The cost of asking, shared among the patches so that their sum is right."""
    share, rest = divmod(tokens, len(patches))
    return [
        patch.model_copy(update={"tokens": share + (rest if index == 0 else 0)})
        for index, patch in enumerate(patches)
    ]


class _StoppedAsking(Exception):
    """No further attempt: the budget or the time does not allow it."""


@dataclass
class _Meter(Watcher):
    """Charges for attempts that failed on the way, and stops them where the budget ends.

    A call that timed out or broke off may have been worked on, and be paid for.
    """

    budget: Budget
    worst: int
    deadline_s: float

    def __post_init__(self) -> None:
        self.failures: list[Failure] = []
        self._began = time.monotonic()
        self._is_held = True

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        """Settles the attempt and sets the next one aside."""
        self.failures.append(failure)
        if _may_have_cost(failure.kind):
            self.settle(None)
            self._is_held = self.budget.reserve(self.worst)
            if not self._is_held:
                raise _StoppedAsking(f"budget: no tokens for another attempt ({failure.kind})")
        if time.monotonic() - self._began > self.deadline_s:
            raise _StoppedAsking(f"timeout: {failure.kind} after {self.deadline_s:g} s")

    def settle(self, used: int | None) -> None:
        """Charges for the attempt under way; None: what it cost is unknown, so the worst case."""
        if self._is_held:
            self._is_held = False
            self.budget.settle(self.worst, self.worst if used is None else used)


def _may_have_cost(kind: str) -> bool:
    return not kind.startswith(("http 4", "http 503", "no connection"))
