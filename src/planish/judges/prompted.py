"""Any `LanguageModel` as a judge of pairs, single replies or lists.

    judge = PairwiseJudge(load("hf:./checkpoint"), "plain")
    verdicts = judge.judge([Case(example=question, replies=(first, second))])

Every case is asked in every order at once; nothing about the result depends on concurrency.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Literal

from planish.judges.aggregate import (
    Aggregate,
    list_judgment,
    pair_judgment,
    rating_judgment,
)
from planish.judges.asking import Ask, OpenCase, PromptedJudge
from planish.judges.base import SCORED, Case, Judgment, ParsedReply
from planish.judges.templates import Template
from planish.models.base import LanguageModel, ScoringModel, Watcher
from planish.records import BadInput, Chat, Completion, Message, Sampling

__all__ = ["ListwiseJudge", "Orders", "PairwiseJudge", "PointwiseJudge", "Reading"]

Orders = Literal["both", "random", "fixed"]
Reading = Literal["text", "direct", "reasoned"]


def _hashed(seed: int, case_id: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{case_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


class PairwiseJudge(PromptedJudge):
    """Which of two replies is better?

    Args:
        model: any `LanguageModel`; a `ScoringModel` for a `reading` other than "text".
        template: a `Template`, the name of a shipped one, or a file.
        orders: "both"; "random", one order by a hash of seed and case id; or "fixed".
        aggregate: "vote", "strict" or "mean", see `planish.judges.aggregate`.
        reading: "text" parses the reply. "direct" forces the label's prefix at once and reads
            P(A) from the distribution; "reasoned" lets the model write, then reads P(A) where
            its verdict stands.
        samples: draws per order.
        sampling: temperature and budget; by default greedy for one sample, 0.7 for more.
        seed: draw `i` uses `seed + i`.
        parse_retries: how often an unreadable reply is asked for again.
        stop_early: with several samples, stop once the vote cannot change.
    """

    _kinds = ("choice",)

    def __init__(
        self,
        model: LanguageModel,
        template: Template | str = "plain",
        *,
        orders: Orders = "both",
        aggregate: Aggregate = "vote",
        reading: Reading = "text",
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
        parse_retries: int = 0,
        stop_early: bool = False,
    ) -> None:
        super().__init__(
            model,
            template,
            samples=samples,
            sampling=sampling,
            seed=seed,
            parse_retries=parse_retries,
            stop_early=stop_early,
        )
        if reading != "text" and not isinstance(model, ScoringModel):
            raise BadInput(
                f"{model.name} cannot tell the probability of a label",
                where=f"reading={reading!r}",
                fix="use an hf: or embedded: model, or reading='text'",
            )
        if stop_early and (reading != "text" or aggregate != "vote"):
            raise BadInput(
                "early stop watches the vote, which this judge does not go by",
                where="stop_early",
                fix="use reading='text' and aggregate='vote', or leave it out",
            )
        if reading != "text":
            self._words = _first_words(self.template)
        self.orders, self.aggregate, self.reading = orders, aggregate, reading

    def _check_replies(self, case: Case) -> None:
        if len(case.replies) != 2:
            raise BadInput(
                f"a pairwise judge needs 2 replies, found {len(case.replies)}",
                where=f"case {case.id}",
                fix="a list of replies is for ListwiseJudge",
            )
        # A published benchmark may hold such a pair; its reader marks it, and it is counted.
        if case.replies[0] == case.replies[1] and not case.example.meta.get("identical"):
            raise BadInput(
                "the two replies are identical",
                where=f"case {case.id}",
                fix="drop the case: nothing can tell its replies apart",
            )

    def _orders(self, case: Case) -> list[tuple[int, ...]]:
        if self.orders == "both":
            return [(0, 1), (1, 0)]
        swapped = self.orders == "random" and _hashed(self.seed, case.id) % 2
        return [(1, 0) if swapped else (0, 1)]

    def _add_up(self, state: OpenCase) -> Judgment:
        return pair_judgment(state.case.id, state.calls, state.readings, self.aggregate)

    @property
    def _reads_later(self) -> bool:  # type: ignore[override]
        return self.reading != "text"

    def _send(
        self,
        asks: Sequence[Ask],
        samples: int,
        keep: Callable[[Ask, int, Completion], None],
        watcher: Watcher | None,
    ) -> None:
        if self.reading != "direct":
            super()._send(asks, samples, keep, watcher)
            return
        for ask in asks:  # nothing is written: the distribution right after the prompt counts
            for sample in range(samples):
                keep(ask, sample, Completion(text=""))

    def _ask_again(self, reading: ParsedReply, attempt: int) -> bool:
        return self.reading == "text" and super()._ask_again(reading, attempt)

    def _read_distributions(self, states: Sequence[OpenCase]) -> None:
        """Replaces each call's reading by P(slot), where the verdict stands or would stand.

        A reply that was cut, refused or contradicts itself stays what it is: forcing a verdict
        on it would hide that.
        """
        assert isinstance(self.model, ScoringModel)
        places = [
            (state, index)
            for state in states
            for index, reading in enumerate(state.readings)
            if reading.status in SCORED or reading.status == "no_verdict"
        ]
        chats = [self._until_verdict(state, index) for state, index in places]
        scores = self.model.label_logprobs(chats, self._words, self.template.prefix)
        for (state, index), (score_a, score_b) in zip(places, scores, strict=True):
            first = 1 / (1 + math.exp(min(700.0, score_b - score_a)))
            label = "A" if first > 0.5 else "B" if first < 0.5 else "tie"
            state.readings[index] = state.readings[index].model_copy(
                update={"status": "tie" if label == "tie" else "ok", "label": label}
            )
            state.calls[index] = state.calls[index].model_copy(
                update={"probabilities": (first, 1 - first)}
            )

    def _until_verdict(self, state: OpenCase, index: int) -> Chat:
        """The chat up to where the verdict is read, what the model wrote before it included."""
        call, reading = state.calls[index], state.readings[index]
        chat = self.template.render(state.case, call.perm)
        written = call.text[: reading.span[0]].rstrip() if reading.span else call.text
        if not written:
            return chat
        # Text without a verdict ends its paragraph first, as the shipped prompts ask.
        gap = " " if reading.span or not self.template.prefix else "\n\n"
        return (*chat, Message(role="assistant", content=written + gap))


def _first_words(template: Template) -> tuple[str, str]:
    """What tells the two labels apart right after the forced prefix: "A" and "B" after "[[".

    Whatever closes or follows the word is the same for both, or says no more about the slot.
    """
    words = []
    for label in template.choices:
        if not label.startswith(template.prefix):
            raise BadInput(
                f"the label {label} does not begin with the prefix {template.prefix!r}",
                where=f"template {template.name}",
                fix="set the template's prefix to what its labels share",
            )
        rest = label.removeprefix(template.prefix)
        word = re.match(r"\w+", rest)
        words.append(word[0] if word and template.prefix else rest)
    if words[0] == words[1]:
        raise BadInput(
            f"both labels begin with {words[0]!r}",
            where=f"template {template.name}",
            fix="use labels that differ in their first word",
        )
    return words[0], words[1]


class PointwiseJudge(PromptedJudge):
    """How good is this reply? The rating is scaled to [0, 1] by the template's scale."""

    _kinds = ("score",)

    def __init__(
        self,
        model: LanguageModel,
        template: Template | str = "rating",
        *,
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
        parse_retries: int = 0,
    ) -> None:
        super().__init__(
            model,
            template,
            samples=samples,
            sampling=sampling,
            seed=seed,
            parse_retries=parse_retries,
        )

    def _check_replies(self, case: Case) -> None:
        if len(case.replies) != 1:
            raise BadInput(
                f"a rating takes 1 reply, found {len(case.replies)}", where=f"case {case.id}"
            )

    def _orders(self, case: Case) -> list[tuple[int, ...]]:
        return [(0,)]

    def _add_up(self, state: OpenCase) -> Judgment:
        return rating_judgment(state.case.id, state.calls, state.readings, self.template.scale)


class ListwiseJudge(PromptedJudge):
    """Which of n replies is best?

    Args:
        model: any `LanguageModel`.
        template: a "pick" or "ranking" template; a pairwise one for `mode="copeland"`.
        mode: "pick" asks once, in an order drawn by a hash of seed and case id; "cyclic" asks
            once per rotation, so that every reply stands in every slot; "copeland" lets every
            two replies duel in both orders.
        samples, sampling, seed, parse_retries: as for `PairwiseJudge`.
    """

    def __init__(
        self,
        model: LanguageModel,
        template: Template | str | None = None,
        *,
        mode: Literal["pick", "cyclic", "copeland"] = "pick",
        samples: int = 1,
        sampling: Sampling | None = None,
        seed: int = 0,
        parse_retries: int = 0,
    ) -> None:
        self.mode = mode
        self._kinds = ("choice",) if mode == "copeland" else ("pick", "ranking")
        super().__init__(
            model,
            template or ("plain" if mode == "copeland" else "pick"),
            samples=samples,
            sampling=sampling,
            seed=seed,
            parse_retries=parse_retries,
        )

    def _check_replies(self, case: Case) -> None:
        if not 2 <= len(case.replies) <= 26:
            raise BadInput(
                f"a list needs 2 to 26 replies, found {len(case.replies)}", where=f"case {case.id}"
            )
        if len(set(case.replies)) < len(case.replies):
            raise BadInput("two of the replies are identical", where=f"case {case.id}")

    def _orders(self, case: Case) -> list[tuple[int, ...]]:
        indices = tuple(range(len(case.replies)))
        if self.mode == "copeland":
            return list(itertools.permutations(indices, 2))
        turns = [indices[turn:] + indices[:turn] for turn in indices]
        if self.mode == "cyclic":
            return turns
        order = list(indices)
        random.Random(_hashed(self.seed, case.id)).shuffle(order)
        return [tuple(order)]

    def _add_up(self, state: OpenCase) -> Judgment:
        return list_judgment(state.case.id, state.calls, state.readings, len(state.case.replies))
