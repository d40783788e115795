"""A scalar reward model as a judge: one number per reply, the higher one wins.

    judge = ScalarJudge("./checkpoint")
    judgment = judge.judgments(cases)[0]
    judgment.score                         # sigmoid(reward of A - reward of B)

This is the baseline that a judge with words has to beat: a Bradley-Terry head on the same pairs
costs one forward pass per reply. It never sees both replies at once, so there is no order to sway
it; it cannot say why, and it never says tie unless two rewards are the same number.

The reward of a reply is kept as the text of its call, whose `perm` holds that reply alone.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from planish.judges.base import Call, Case, Judgment, Status, letter, verdict_of
from planish.models.base import Watcher
from planish.records import BadInput, Completion, Failure, Usage, Verdict

if TYPE_CHECKING:
    from planish.models.local_batches import Row

__all__ = ["ScalarJudge", "is_scalar", "rewards_of", "sigmoid"]

_SCHEME = "scalar:"


def is_scalar(spec: str) -> bool:
    """Whether a model's name, such as `scalar:./checkpoint`, means a reward head."""
    return spec.startswith(_SCHEME)


def rewards_of(judgment: Judgment) -> tuple[float | None, ...]:
    """The rewards that a reward head gave, one per reply; None where it could not be scored."""
    return tuple(_reward(call) for call in judgment.calls)


class ScalarJudge:
    """A checkpoint with a scalar head, as `planish rise train --scalar` makes it or as published.

    A conversation is written as its chat template writes one that is over: the head reads the last
    token, which was the same in training.

    Args:
        path: a folder that `save_pretrained` wrote, or a Hub id; `scalar:` before it may stay.
        device: by default "cuda" where there is one, else "cpu".
        dtype: as for `LocalModel`.
        batch_size: replies at once. Halved for good when a GPU's memory does not hold them.

    Raises:
        BadInput: nothing usable is there, or a model without a scalar head.
    """

    def __init__(
        self,
        path: str,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int = 8,
    ) -> None:
        from planish.models.local_batches import Batches
        from planish.models.local_loading import open_checkpoint
        from planish.models.local_prompts import PromptWriter

        self.path = os.path.expanduser(path.removeprefix(_SCHEME))
        self.name = _SCHEME + path.removeprefix(_SCHEME)
        if batch_size < 1:
            raise BadInput(f"must be at least 1, not {batch_size}", where="batch_size")
        self._checkpoint = open_checkpoint(self.path, device=device, dtype=dtype, scalar=True)
        if self._checkpoint.fresh_head:
            raise BadInput(
                "is a language model without a scalar head",
                where=self.name,
                fix="train one (planish rise train --scalar), or name it as hf:",
            )
        self._prompts = PromptWriter(self._checkpoint.tokenizer, self.name)
        self._batches = Batches(
            self._checkpoint.model, pad_id=self._checkpoint.pad_id, size=batch_size
        )

    @cached_property
    def revision(self) -> str:
        """Hash of the folder's weights and tokenizer, or the Hub's commit; and the dtype."""
        from planish.models.local_loading import fingerprint

        return f"{fingerprint(self.path, self._checkpoint.model)}-{self._checkpoint.dtype}"

    def check(self, cases: Sequence[Case]) -> None:
        """Everything that can be told before a reply is scored.

        Raises:
            BadInput: more than 26 replies, two that are the same, or a chat that the template
                refuses.
        """
        for case in cases:
            if len(case.replies) > 26:
                raise BadInput(
                    f"rewards compare up to 26 replies, found {len(case.replies)}",
                    where=f"case {case.id}",
                )
            # A published benchmark may hold such a pair; its reader marks it, and it is counted.
            if len(set(case.replies)) < len(case.replies) and not case.example.meta.get(
                "identical"
            ):
                raise BadInput(
                    "two of the replies are identical",
                    where=f"case {case.id}",
                    fix="drop the case: nothing can tell its replies apart",
                )
            try:
                self._prompts.write(case.example.prompt)
            except BadInput as error:
                raise BadInput(error.what, where=f"case {case.id}", fix=error.fix) from None

    def num_calls(self, cases: Sequence[Case]) -> int:
        """How many replies will be scored."""
        return sum(len(case.replies) for case in cases)

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """One verdict per case, in the case's own frame."""
        return [verdict_of(judgment, self.name) for judgment in self.judgments(cases)]

    def judgments(
        self,
        cases: Sequence[Case],
        *,
        on_judgment: Callable[[Judgment], None] | None = None,
        watcher: Watcher | None = None,
    ) -> list[Judgment]:
        """One judgment per case, with one call per reply.

        Of a pair the score is sigmoid(reward of A - reward of B); of a list it is the winner's
        share when rewards become probabilities; of a single reply it is sigmoid(reward), a rating
        that ranks as rewards do. A reply that does not fit into the model's context is never cut:
        its case is unscored, with the status of a call that was lost.

        Args:
            cases: with up to 26 replies.
            on_judgment: called with every judgment as soon as it is whole.
            watcher: hears of every reply that is scored.

        Raises:
            BadInput: as `check`.
        """
        self.check(cases)
        watcher = watcher or Watcher()
        calls: list[dict[int, Call]] = [{} for _ in cases]
        done: dict[int, Judgment] = {}

        def keep(row: Row, completion: Completion) -> None:
            case, place = cases[row.index], row.sample
            for failure in completion.failures:
                watcher.failed(row.index, place, failure)
            calls[row.index][place] = self._call(case, place, completion)
            watcher.completed(row.index, place, completion)
            if len(calls[row.index]) == len(case.replies):
                whole = [calls[row.index][place] for place in range(len(case.replies))]
                done[row.index] = _judgment(case, whole)
                if on_judgment is not None:
                    on_judgment(done[row.index])

        rows, longest = self._rows(cases), self._checkpoint.max_positions
        for row in rows:
            if longest is not None and len(row) > longest:
                message = f"{len(row)} tokens, more than the model's context of {longest}"
                keep(row, _failed("context", message))
        fitting = [row for row in rows if longest is None or len(row) <= longest]
        for batch, completions in self._batches.run(fitting, self._score):
            lost = _failed("out of memory", "one reply alone does not fit into the memory")
            for row, completion in zip(batch, completions or [lost] * len(batch), strict=True):
                keep(row, completion)
        return [done[index] for index in range(len(cases))]

    def rewards(self, cases: Sequence[Case]) -> list[tuple[float | None, ...]]:
        """The numbers themselves, one per reply; None where it could not be scored."""
        return [rewards_of(judgment) for judgment in self.judgments(cases)]

    def _rows(self, cases: Sequence[Case]) -> list[Row]:
        """One row per reply; its `sample` is the reply's place in the case."""
        from planish.models.local_batches import Row

        # The whole row counts as prompt: no logits of a vocabulary are kept in memory.
        return [
            Row(index, self._prompts.whole(case.example.prompt, reply), [], place)
            for index, case in enumerate(cases)
            for place, reply in enumerate(case.replies)
        ]

    def _score(self, batch: Sequence[Row]) -> list[Completion]:
        """The head reads the last token that is not padding, so padding goes to the right."""
        import torch

        start = time.perf_counter()
        model, width = self._checkpoint.model, max(map(len, batch))
        ids_BT = torch.full((len(batch), width), self._checkpoint.pad_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for place, row in enumerate(batch):
            ids_BT[place, : len(row)] = torch.tensor(row.ids, dtype=torch.long)
            mask_BT[place, : len(row)] = 1
        with torch.inference_mode():
            output = model(
                input_ids=ids_BT.to(model.device),
                attention_mask=mask_BT.to(model.device),
                use_cache=False,
            )
        rewards = output.logits[:, 0].float().tolist()
        seconds = (time.perf_counter() - start) / len(batch)
        return [
            Completion(text=repr(reward), usage=Usage(prompt_tokens=len(row), seconds=seconds))
            for row, reward in zip(batch, rewards, strict=True)
        ]

    def _call(self, case: Case, place: int, completion: Completion) -> Call:
        return Call(
            case_id=case.id,
            perm=(place,),
            model=self.name,
            revision=self.revision,
            text=completion.text,
            usage=completion.usage,
            finish=completion.finish,
            failures=completion.failures,
        )


def sigmoid(number: float) -> float:
    """1 / (1 + exp(-number)), without overflow.

    >>> sigmoid(0.0), sigmoid(-1000.0)
    (0.5, 0.0)
    """
    small = math.exp(-abs(number))
    return (1 if number >= 0 else small) / (1 + small)


def _failed(kind: str, message: str) -> Completion:
    failure = Failure(attempt=1, kind=kind, message=message)
    return Completion(text="", finish="error", failures=(failure,))


def _reward(call: Call) -> float | None:
    """The number that a call holds, if it is one."""
    reward = float(call.text) if call.finish == "stop" else math.nan
    return reward if math.isfinite(reward) else None


def _judgment(case: Case, calls: Sequence[Call]) -> Judgment:
    rewards = [_reward(call) for call in calls]
    known = [reward for reward in rewards if reward is not None]
    if len(known) < len(calls):  # what was scored says nothing alone
        lost = any(call.finish == "error" for call in calls)
        status: Status = "transport" if lost else "no_verdict"
        return Judgment(
            case_id=case.id,
            outcome=None,
            score=None,
            votes=(None,) * len(calls),
            statuses=(status,) * len(calls),
            calls=tuple(calls),
        )
    if len(known) == 1:
        return Judgment(
            case_id=case.id,
            outcome=None,
            score=sigmoid(known[0]),
            votes=(None,),
            statuses=("ok",),
            calls=tuple(calls),
        )
    best = max(known)
    winners = [letter(place) for place, reward in enumerate(known) if reward == best]
    outcome = winners[0] if len(winners) == 1 else "tie"
    weights = [math.exp(reward - best) for reward in known]
    shares = [weight / sum(weights) for weight in weights]
    second = sorted(shares)[-2]
    return Judgment(
        case_id=case.id,
        outcome=outcome,
        score=shares[0] if len(calls) == 2 else max(shares),
        margin=max(shares) - second,
        consistent=True,  # no reply is seen beside another
        votes=(outcome,) * len(calls),
        statuses=("tie" if outcome == "tie" else "ok",) * len(calls),
        calls=tuple(calls),
    )
