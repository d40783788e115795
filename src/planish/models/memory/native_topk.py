"""DeepSeek-V4's own choice of compressed entries, kept within a resident set.

    native = NativeTopK(model)
    with native.attached():
        native.resident_BC = keep_BC
        model(ids_BT, past_key_values=cache)

Every compressed-sparse layer scores all compressed entries of the text and attends to the best
`index_topk`. Here absentees get -inf before that choice, and what still is chosen of them, where
fewer residents than `index_topk` are left, becomes the model's own mark for "nothing" (-1). Both
happen in forward hooks, which are gone afterwards. Section 2.2 of the specification;
arXiv 2606.09079.

Shape suffixes: B rows, T tokens, C compressed entries of the text, S entries chosen of a token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from planish.errors import BadInput

__all__ = ["NativeTopK", "is_deepseek"]

SPARSE = "compressed_sparse_attention"


def is_deepseek(model: Any) -> bool:
    """Whether it is a DeepSeek-V4 model, whose history is compressed already."""
    return getattr(getattr(model, "config", None), "model_type", "") == "deepseek_v4"


class NativeTopK:
    """The choice of all compressed-sparse layers of one model.

    Attributes:
        layers: the compressed-sparse layers.
        resident_BC: True where an entry may be chosen, one row a request; entries that came
            after it was set may be chosen too. None: the model chooses as it would alone.

    Raises:
        BadInput: no DeepSeek-V4, or one without compressed-sparse layers.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        if not is_deepseek(model):
            raise BadInput(
                "is no DeepSeek-V4 model",
                where=type(model).__name__,
                fix="use `lookahead` for models with ordinary attention",
            )
        self.layers = tuple(i for i, kind in enumerate(config.layer_types) if kind == SPARSE)
        if not self.layers:
            raise BadInput("has no compressed-sparse layers", where=type(model).__name__)
        self._indexers = [
            model.get_decoder().layers[layer].self_attn.compressor.indexer for layer in self.layers
        ]
        self.resident_BC: Tensor | None = None
        self._allowed_BC: Tensor | None = None

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Restricts the choice while it lasts; the hooks are gone also after an exception."""
        with ExitStack() as stack:
            for indexer in self._indexers:
                for module, hook in ((indexer.scorer, self._mask), (indexer, self._drop)):
                    stack.callback(module.register_forward_hook(hook).remove)
            yield

    def _mask(self, module: nn.Module, args: Any, scores_BTC: Tensor) -> Tensor:
        self._allowed_BC = None
        if self.resident_BC is None:
            return scores_BTC
        rows, _, chunks = scores_BTC.shape
        known_rows, known = self.resident_BC.shape
        if known_rows != rows or known > chunks:
            raise BadInput(
                f"it has {known_rows} rows and {known} entries, the text {rows} and {chunks}",
                where="resident set",
            )
        allowed_BC = torch.ones(rows, chunks, dtype=torch.bool, device=scores_BTC.device)
        allowed_BC[:, :known] = self.resident_BC.to(scores_BTC.device)
        self._allowed_BC = allowed_BC
        return scores_BTC.masked_fill(~allowed_BC[:, None], float("-inf"))

    def _drop(self, module: nn.Module, args: Any, chosen_BTS: Tensor) -> Tensor:
        """Runs right after `_mask` of the same layer, whose scores the choice was made from."""
        if self._allowed_BC is None:
            return chosen_BTS
        allowed_BTC = self._allowed_BC[:, None].expand(-1, chosen_BTS.shape[1], -1)
        allowed_BTS = allowed_BTC.gather(2, chosen_BTS.clamp(min=0))
        return chosen_BTS.masked_fill(~allowed_BTS, -1)
