"""Logits that nobody has computed yet: hidden states, a head, and what happens behind it.

    teacher = Logits(hidden_BTH, head.weight, head.bias, scale=1.0, cap=None).tempered(1.2)
    teacher.plus(reference, share=0.17)

A loss kernel that takes them apart again never holds a whole batch of them.

Shape suffixes: B rows, T positions, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Logits", "detached"]


@dataclass(frozen=True)
class Logits:
    """Logits that are not computed yet: cap(scale * (hidden @ weight + bias))."""

    hidden_BTH: Tensor
    weight_VH: Tensor
    bias_V: Tensor | None
    scale: float
    cap: float | None

    def tempered(self, temperature: float) -> Logits:
        """Divided by the temperature; see `tempered.temper`."""
        cap = None if self.cap is None else self.cap / temperature
        return replace(self, scale=self.scale / temperature, cap=cap)

    def plus(self, other: Logits, share: float) -> Logits:
        """With a share of other logits added: the hidden states stand side by side, and the heads
        do, so that the kernel adds the two up without holding either.
        """
        parts = ((self, self.scale), (other, share * other.scale))
        biases = [factor * each.bias_V for each, factor in parts if each.bias_V is not None]
        return Logits(
            torch.cat([each.hidden_BTH for each, _ in parts], dim=-1),
            torch.cat([factor * _whole(each.weight_VH) for each, factor in parts], dim=1),
            sum(biases[1:], biases[0]) if biases else None,
            1.0,
            None,
        )


def _whole(weight: Tensor) -> Tensor:
    """A weight that FSDP has spread over processes, in one piece."""
    gather = getattr(weight, "full_tensor", None)
    found: Tensor = weight if gather is None else gather()
    return found


def detached(tensor: Tensor | None) -> Tensor | None:
    """Without its gradient, if it is there at all."""
    return None if tensor is None else tensor.detach()
