"""What an attention module hands to the attention function, read without computing attention.

    call = probe(model.model.layers[3].self_attn, hidden_BTE, rotary, positions_BT)
    call.queries, call.keys, call.options["scaling"]

Architectures differ in where they norm, split, rotate and scale. All of them end in one call of
the attention function that their config names. A shallow twin of the module, which shares every
weight and names a function of ours, runs the module's own code up to that call; the model itself
is neither patched nor hooked. Ours.

Shape suffixes: B rows, T tokens, E hidden, H heads, K key/value heads, D head width.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

__all__ = ["Call", "probe"]

_NAME = "planish_probe"


@dataclass(frozen=True)
class Call:
    """One call of the attention function.

    Attributes:
        queries: [B,H,T,D], normed and rotated.
        keys: [B,K,T,D], normed and rotated as they would be cached.
        values: [B,K,T,D'].
        options: what else was passed and is not None, such as `scaling`, `softcap`, `s_aux`.
    """

    queries: Tensor
    keys: Tensor
    values: Tensor
    options: dict[str, Any]


class _Reached(Exception):
    def __init__(self, call: Call) -> None:
        super().__init__("the attention function was reached")
        self.call = call


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    **options: Any,
) -> None:
    given = {"attention_mask": attention_mask} | options
    raise _Reached(Call(query, key, value, {k: v for k, v in given.items() if v is not None}))


AttentionInterface.register(_NAME, _attend)


@torch.no_grad()
def probe(
    attention: nn.Module, hidden_BTE: Tensor, turned: Any, positions_BT: Tensor
) -> Call | None:
    """Runs `attention` up to its call of the attention function.

    Args:
        attention: a decoder layer's attention module.
        hidden_BTE: what enters the module.
        turned: position embeddings of `positions_BT`, as the model's rotary module makes them.
        positions_BT: positions of the tokens.

    Returns:
        The call; None where the module ends without one.
    """
    twin = copy.copy(attention)
    twin.config = copy.copy(attention.config)
    # Not through the property, which would write through to parts that the copy shares.
    twin.config.__dict__["_attn_implementation_internal"] = _NAME
    inputs: dict[str, Any] = {
        "hidden_states": hidden_BTE,
        "position_embeddings": turned,
        "attention_mask": None,
        "past_key_values": None,
        "position_ids": positions_BT,
    }
    # The class's own code: hooks and wrappers of the instance belong to the model's passes.
    forward = type(attention).forward
    parameters = inspect.signature(forward).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        inputs = {name: value for name, value in inputs.items() if name in parameters}
    try:
        forward(twin, **inputs)
    except _Reached as reached:
        reached.call.options.pop("position_ids", None)
        return reached.call
    return None
