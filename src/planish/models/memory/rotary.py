"""How one layer of a model turns its keys by their position, forwards and backwards.

    rotary = Rotary.of(decoder, layer)
    rotary.rotate(keys_BKLD, positions_BL, inverse=True)

Frequencies and scalings (llama3, YaRN, linear) come from the model's own rotary module, the
layout of pairs (halves, interleaved, the first part of a head only) from the model's own
`apply_rotary_pos_emb`. Ours.

Shape suffixes: B rows, T tokens, L history, E hidden, K key/value heads, D head width.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from planish.errors import BadInput

__all__ = ["Rotary"]

# These turn by the length of the whole sequence: what is cached cannot be turned back later.
_CHANGING = ("dynamic", "longrope")


@dataclass(frozen=True)
class Rotary:
    """The rotation of one layer.

    Attributes:
        module: the model's rotary module.
        layer_type: the kind of layer, where the module distinguishes kinds.
        apply: the model's `apply_rotary_pos_emb`.
        width: numbers of a head that are turned, from the first on; None: as `apply` does.
        active: False for a layer without positions (NoPE).
    """

    module: nn.Module
    layer_type: str | None
    apply: Callable[..., tuple[Tensor, Tensor]]
    width: int | None = None
    active: bool = True

    @classmethod
    def of(cls, decoder: Any, attention: nn.Module, layer: int) -> Rotary:
        """The rotation of `attention`, not yet compared with what the module does.

        Raises:
            BadInput: no rotation of a known kind, or one that depends on the length.
        """
        where = type(decoder).__name__
        module = getattr(decoder, "rotary_emb", None)
        apply = getattr(sys.modules[type(attention).__module__], "apply_rotary_pos_emb", None)
        if module is None or apply is None:
            raise BadInput("its keys are not rotated by a rotary module", where=where)
        layer_type = None
        if "layer_type" in inspect.signature(module.forward).parameters:
            layer_type = decoder.config.layer_types[layer]
        kinds = getattr(module, "rope_type", "default")
        kind = kinds.get(layer_type, "default") if isinstance(kinds, dict) else kinds
        if any(name in kind for name in _CHANGING):
            raise BadInput(
                f"{kind!r} rotary scaling changes with the length of the text",
                where=where,
                fix="set a static one, such as yarn, in the model's config",
            )
        return cls(module, layer_type, apply)

    def embeddings(self, like: Tensor, positions_BL: Tensor) -> Any:
        """Position embeddings (cosines, sines) in `like`'s dtype and on its device."""
        more = () if self.layer_type is None else (self.layer_type,)
        return self.module(like, positions_BL, *more)

    def rotate(self, states_BKLD: Tensor, positions_BL: Tensor, *, inverse: bool = False) -> Tensor:
        """Turns states as the layer turns its keys, or turns cached keys back.

        Cosines and sines are made in float32 whatever the dtype of the states; a model in
        bfloat16 rounds its own, so turning back is exact to bfloat16's three digits there.

        Args:
            states_BKLD: keys or queries.
            positions_BL: position of each.
            inverse: undo the rotation, attention factors of scalings included.

        Returns:
            States of the same shape and dtype.
        """
        if not self.active:
            return states_BKLD
        states = states_BKLD.float()
        cos, sin = self.embeddings(states, positions_BL)
        if inverse:
            # Cosine and sine are both multiplied by the scaling's attention factor.
            square = cos.square() + sin.square()
            cos, sin = cos / square, -sin / square
        turned = states if self.width is None else states[..., : self.width]
        turned = self.apply(turned, turned, cos, sin)[0]
        if self.width is not None:
            turned = torch.cat((turned, states[..., self.width :]), dim=-1)
        return turned.to(states_BKLD.dtype)

    def matching(
        self, keys_at_zero_BKTD: Tensor, keys_BKTD: Tensor, positions_BT: Tensor
    ) -> Rotary | None:
        """This rotation as the layer really performs it, told from one and the same input.

        Args:
            keys_at_zero_BKTD: the layer's keys when all tokens are at position 0.
            keys_BKTD: the layer's keys at `positions_BT`.
            positions_BT: positions other than 0.

        Returns:
            The rotation that leads from the one to the other; None when there is none.
        """
        if torch.equal(keys_at_zero_BKTD, keys_BKTD):
            return replace(self, active=False)
        sines = self.embeddings(keys_BKTD.float(), positions_BT)[1].shape[-1]
        tolerance = 1e-4 if keys_BKTD.dtype == torch.float32 else 0.05
        # Some models rotate a part of each head and slice it off before the call.
        for width in (None, sines, 2 * sines):
            if width is not None and width >= keys_BKTD.shape[-1]:
                continue
            rotary = replace(self, width=width)
            try:
                plain = rotary.rotate(
                    keys_at_zero_BKTD.float(), torch.zeros_like(positions_BT), inverse=True
                )
                turned = rotary.rotate(plain, positions_BT)
            except (RuntimeError, ValueError):
                continue
            scale = keys_BKTD.float().abs().max()
            if turned.shape == keys_BKTD.shape and bool(
                (turned - keys_BKTD.float()).abs().max() <= tolerance * scale
            ):
                return rotary
        return None
