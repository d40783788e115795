"""The two hooks into transformers' `generate`: how the next token is drawn, and when to stop.

    draw = NextToken(temperature=0.7, top_p=1.0, seeds=[row_seed(7, ids) for ids in prompts],
                     keep_logprobs=True, device=model.device)
    model.generate(..., do_sample=False, logits_processor=[draw])

`generate` runs greedily over what `NextToken` returns, so every row draws from its own random
stream: neither its neighbours in the batch nor its place among them change the outcome.

Shape suffixes: B rows, T positions (prompt included), V vocabulary.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from planish.sampling import gumbel_argmax, temperature_scale, token_logprobs, top_p_filter

__all__ = ["NextToken", "StopAtText", "row_seed"]


def row_seed(seed: int | None, prompt_ids: Sequence[int], seen: bytes = b"") -> int:
    """Seed of one row's stream, from the sample's seed, the prompt and a hash of what it shows;
    None: unforeseeable.
    """
    if seed is None:
        return secrets.randbits(63)
    content = f"{seed}:".encode() + np.asarray(prompt_ids, "<i8").tobytes() + seen
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little") >> 1


class NextToken:
    """A logits processor that draws, and notes how likely the drawn token was.

    Args:
        temperature: 0 takes the most likely token.
        top_p: mass of the nucleus, measured at this temperature.
        seeds: one per row.
        keep_logprobs: note each drawn token's log-probability at temperature 1, before the
            nucleus is cut out.
        device: where the logits will be.
    """

    def __init__(
        self,
        *,
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
        keep_logprobs: bool,
        device: torch.device,
    ) -> None:
        self.temperature, self.top_p, self.keep_logprobs = temperature, top_p, keep_logprobs
        # Apple's GPUs know no float64.
        self._device = device if device.type == "cuda" else torch.device("cpu")
        self._streams = [torch.Generator(self._device).manual_seed(seed) for seed in seeds]
        self._logprobs_TB: list[Tensor] = []

    def __call__(self, input_ids_BT: Tensor, logits_BV: Tensor) -> Tensor:
        """Logits that leave one token per row, for `generate` to take."""
        chosen_B = self._choose(logits_BV)
        if self.keep_logprobs:
            logprobs_B1 = token_logprobs(logits_BV[:, None], chosen_B[:, None])
            self._logprobs_TB.append(logprobs_B1[:, 0])
        if self.temperature == 0:
            return logits_BV  # `generate` takes the most likely token by itself
        return torch.full_like(logits_BV, -torch.inf).scatter_(1, chosen_B[:, None], 0.0)

    def logprobs_BT(self) -> Tensor | None:
        """What was noted, one row per row of the batch, on the CPU."""
        return torch.stack(self._logprobs_TB, dim=1).cpu() if self._logprobs_TB else None

    def _choose(self, logits_BV: Tensor) -> Tensor:
        if self.temperature == 0:
            return logits_BV.argmax(-1)
        scaled_BV = top_p_filter(temperature_scale(logits_BV, self.temperature), self.top_p)
        uniform_BV = torch.empty(logits_BV.shape, dtype=torch.float64, device=self._device)
        for uniform_V, stream in zip(uniform_BV, self._streams, strict=True):
            uniform_V.uniform_(generator=stream)
        return gumbel_argmax(scaled_BV, uniform_BV)


class StopAtText:
    """A stopping criterion: a row ends once its reply holds one of the strings.

    It looks at the reply alone: a string that began in the prompt does not count.

    Args:
        tokenizer: decodes the reply.
        stop: the strings.
        prompt_length: columns of the padded prompts.
        ignored_ids: tokens without text (end of sequence, padding).
    """

    def __init__(
        self, tokenizer: Any, stop: Sequence[str], prompt_length: int, ignored_ids: frozenset[int]
    ) -> None:
        self._tokenizer, self._stop = tokenizer, tuple(stop)
        self._start, self._ignored = prompt_length, ignored_ids
        # A character takes four tokens at most (its bytes), so a match that ends in the newest
        # token began within these.
        self._window = 4 * max(map(len, stop)) + 8
        self._done: Tensor | None = None
        self.lengths: dict[int, int] = {}
        """For every row that ended here: how many tokens its reply has."""

    def __call__(self, input_ids_BT: Tensor, scores: object, **_: object) -> Tensor:
        """Which rows are finished."""
        if self._done is None:
            self._done = torch.zeros(
                len(input_ids_BT), dtype=torch.bool, device=input_ids_BT.device
            )
        for row in (~self._done).nonzero()[:, 0].tolist():
            ids = [i for i in input_ids_BT[row, self._start :].tolist() if i not in self._ignored]
            tail = self._tokenizer.decode(
                ids[-self._window :],
                skip_special_tokens=True,
                clean_up_tokenization_spaces=False,
            )
            if any(string in tail for string in self._stop):
                self._done[row] = True
                self.lengths[row] = input_ids_BT.shape[1] - self._start
        return self._done
